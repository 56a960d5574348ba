//! The table of all metrics against what a server exposes, both ways.

mod support;

use std::collections::BTreeSet;

use support::{Server, http, payment};

/// Name and type of every metric of a page.
fn exposed(page: &str) -> BTreeSet<(String, String)> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let full = |name: &str, kind: &str| format!("{name}{}", if kind == "counter" { "_total" } else { "" });
    types.map(|(name, kind)| (full(name, kind), kind.to_owned())).collect()
}

/// Name, type and services of every row of the table.
fn documented() -> Vec<[String; 3]> {
    let rows = include_str!("../../ops/metrics.md").lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
    cells.map(|cells| [cells[1].clone(), cells[2].clone(), cells[3].clone()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_table_and_every_row_is_exposed() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    c.open("shop", "shop-usd", "USD").await;
    c.pay(payment("p", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    assert_eq!(http::get(server.rest(), "/healthz").await.status, 200);
    let [payments, fx, wallet, risk] = server.addresses.metrics;
    let table = documented();
    assert!(table.len() > 30, "{} rows are no table", table.len());
    for (service, address) in
        [("payments", payments), ("fx", fx), ("wallet", wallet), ("risk", risk), ("rest", server.rest())]
    {
        let of_service = table.iter().filter(|[_, _, services]| services.split(", ").any(|of| of == service));
        let rows: BTreeSet<_> = of_service.map(|[name, kind, _]| (name.clone(), kind.clone())).collect();
        assert_eq!(exposed(&http::get(address, "/metrics").await.text()), rows, "{service}");
    }
    server.stop().await;
}
