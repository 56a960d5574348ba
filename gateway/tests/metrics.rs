//! What is measured: the table of all metrics against what a server exposes, every payment whatever it came by, money,
//! and the accounts that are hot.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use arus_proto::{
    fx::v1::RateSource,
    payments::v1::{BatchCreatePaymentsRequest, StreamPaymentsRequest},
};
use serde_json::json;
use support::{Clients, LIMIT, Server, http, payment};

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

/// The value of one series, by its whole name.
async fn value(address: SocketAddr, series: &str) -> f64 {
    let page = http::get(address, "/metrics").await.text();
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().expect("a number")
}

async fn shop(c: &mut Clients) {
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_table_and_every_row_is_exposed() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
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

/// P14: one histogram has them all, whichever way they came, by how they ended.
#[tokio::test(flavor = "multi_thread")]
async fn every_payment_is_measured_whatever_it_came_by() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let pay = |tx_id: &str| payment(tx_id, "ann", "USD", "1.00", "shop-usd");
    c.pay(pay("unary")).await.expect("decided");
    let batch = BatchCreatePaymentsRequest { payments: (0..5).map(|n| pay(&format!("batch-{n}"))).collect() };
    c.payments.batch_create_payments(batch).await.expect("decided");
    let items = (0..7).map(|n| StreamPaymentsRequest { payment: Some(pay(&format!("stream-{n}"))) });
    let items = tokio_stream::iter(items.collect::<Vec<_>>());
    let mut answers = c.payments.stream_payments(items).await.expect("it begins").into_inner();
    while tokio::time::timeout(LIMIT, answers.message()).await.expect("in time").expect("an answer").is_some() {}
    let body = json!({ "customer_id": "ann", "amount": { "currency": "USD", "amount": "1.00" }, "destination_account": "shop-usd" });
    assert_eq!(http::post(server.rest(), "/v1/payments", "rest", &body).await.status, 201);
    c.pay(pay("unary")).await.expect("given again");
    c.pay(payment("poor", "ann", "USD", "1000000.00", "shop-usd")).await.expect("declined");
    c.pay(payment("lost", "nobody", "USD", "1.00", "shop-usd")).await.expect_err("an unknown customer");
    let page = server.addresses.metrics[0];
    for (outcome, count) in [("captured", 14.0), ("declined", 1.0), ("replayed", 1.0), ("refused", 1.0), ("late", 0.0)]
    {
        let series = format!("arus_payment_seconds_count{{outcome=\"{outcome}\"}}");
        assert_eq!(value(page, &series).await, count, "{outcome}");
    }
    assert!(value(page, "arus_payment_seconds_sum{outcome=\"captured\"}").await > 0.0);
    // Deposits and openings go to work as well; what was given again or unknown does not.
    assert!(value(page, "arus_at_work_wait_seconds_count").await >= 15.0);
    let console = http::get(server.rest(), "/console/now.json").await.json();
    let counts = console["latency_counts"].as_array().expect("counts").iter().filter_map(serde_json::Value::as_u64);
    assert_eq!(counts.sum::<u64>(), 16, "the console draws them all: {console}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_and_spread_are_counted_by_currency() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    c.open("fr", "fr-eur", "EUR").await;
    c.rates("rates", RateSource::Live, &[("EUR", "USD", "1.25")]).await;
    c.pay(payment("usd", "ann", "USD", "12.50", "shop-usd")).await.expect("decided");
    let paid = c.pay(payment("eur", "ann", "EUR", "100.00", "fr-eur")).await.expect("decided");
    assert_eq!(paid.debited.expect("captured").amount, "125.63", "125.00 and 50 basis points, rounded up");
    c.pay(payment("poor", "ann", "USD", "1000000.00", "shop-usd")).await.expect("declined");
    let [payments, fx, ..] = server.addresses.metrics;
    assert_eq!(value(payments, "arus_payment_volume_total{currency=\"USD\"}").await, 12.5, "a decline moves nothing");
    assert_eq!(value(payments, "arus_payment_volume_total{currency=\"EUR\"}").await, 100.0);
    assert_eq!(value(fx, "arus_fx_spread_earned_total{currency=\"USD\"}").await, 0.63);
    server.stop().await;
}

/// Failures begin at zero: a rate over a series that appears with its first failure would not show it.
#[tokio::test(flavor = "multi_thread")]
async fn failures_that_never_came_are_zero() {
    let (server, _) = Server::start().await;
    let series = "arus_rpc_requests_total{method=\"CreatePayment\",code=\"INTERNAL\"}";
    assert_eq!(value(server.addresses.metrics[0], series).await, 0.0);
    server.stop().await;
}

/// P14: hot accounts are named by messages a second, the hottest first, and only while they are hot.
#[tokio::test(flavor = "multi_thread")]
async fn a_hot_account_is_named_while_it_is_hot() {
    // Few enough that the slowest machine has them.
    let mut settings = support::settings();
    settings.engine.hot_account_per_second = 20;
    let (server, mut c) = Server::with(settings).await;
    shop(&mut c).await;
    c.account_with("bob", "bob-usd", "USD", "10000.00").await;
    let wallet = server.addresses.metrics[2];
    let named = |page: &str| page.lines().any(|line| line.starts_with("arus_hot_account_messages_per_second{"));
    c.pay(payment("one", "bob", "USD", "1.00", "shop-usd")).await.expect("decided");
    assert!(!named(&http::get(wallet, "/metrics").await.text()), "nobody is hot");
    let until = Instant::now() + LIMIT;
    let hot = "arus_hot_account_messages_per_second{account=\"shop-usd\"}";
    for round in 0.. {
        // Half of them by ann, half by bob: the payee hears of all.
        let by = |n: u32| if n.is_multiple_of(2) { "ann" } else { "bob" };
        let payments = (0..100).map(|n| payment(&format!("{round}-{n}"), by(n), "USD", "0.01", "shop-usd")).collect();
        c.payments.batch_create_payments(BatchCreatePaymentsRequest { payments }).await.expect("decided");
        if http::get(wallet, "/metrics").await.text().contains(hot) {
            break;
        }
        assert!(Instant::now() < until, "the payee is never named");
    }
    let now = http::get(server.rest(), "/console/now.json").await.json();
    assert!(now["hot"].as_array().is_some_and(|hot| hot.len() <= 10), "{now}");
    assert_eq!(now["hot"][0]["account"], "shop-usd", "{now}");
    while named(&http::get(wallet, "/metrics").await.text()) {
        assert!(Instant::now() < until, "it is named for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}
