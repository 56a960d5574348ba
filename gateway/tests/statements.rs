//! What an account was, over the wire: statements by date, as CSV too, balances as of a time or a position.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{
    Server,
    http::{get, post},
    settings,
};

fn usd(amount: &str) -> Value {
    json!({ "currency": "USD", "amount": amount })
}

/// Deposits under these references, 1.00 each; gives the positions.
async fn deposit(rest: std::net::SocketAddr, references: &[&str]) -> Vec<u64> {
    let mut positions = Vec::new();
    for (n, reference) in references.iter().enumerate() {
        let body = json!({ "account_id": "ann-usd", "amount": usd("1.00"), "reference": reference });
        let told = post(rest, "/v1/deposits", &format!("d{n}"), &body).await.json();
        assert_eq!(told["balance_after"], usd(&format!("{}.00", 101 + n)), "{told}");
        positions.push(told["operation"]["lsn"].as_str().expect("a position").parse().expect("a number"));
    }
    positions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_adds_up_page_by_page_and_as_csv() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    let rest = server.rest();
    let references = ["rent, May", "say \"hi\"", "=1+1", "two\nlines", "", "+49", "last"];
    deposit(rest, &references).await;
    let withdraw = |amount: &str| json!({ "account_id": "ann-usd", "amount": usd(amount) });
    let withdrawn = post(rest, "/v1/withdrawals", "w", &withdraw("7.00")).await.json();
    assert_eq!(withdrawn["balance_after"], usd("100.00"));
    let short = post(rest, "/v1/withdrawals", "s", &withdraw("700.00")).await.json();
    assert_eq!(short["operation"]["failure"]["code"], "FAILURE_CODE_INSUFFICIENT_FUNDS");
    assert!(short["balance_after"].is_null(), "nothing moved: {short}");

    let path = "/v1/accounts/ann-usd/statement?from=2020-01-01";
    let whole = get(rest, path).await.json();
    let figure = |name: &str| whole[name]["amount"].clone();
    assert_eq!(figure("opening_balance"), "0.00", "{whole}");
    assert_eq!(
        (figure("closing_balance"), figure("total_credits"), figure("total_debits")),
        (json!("100.00"), json!("107.00"), json!("7.00"))
    );
    assert_eq!(whole["from"], "2020-01-01T00:00:00Z");
    let to = whole["to"].as_str().expect("a time").to_owned();
    let (mut token, mut lines) = (String::new(), Vec::new());
    loop {
        let page = get(rest, &format!("{path}&to={to}&page_size=2&page_token={token}")).await.json();
        lines.extend(page["entries"].as_array().expect("lines").clone());
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(Value::from(lines.clone()), whole["entries"]);
    assert_eq!(lines.len(), 9);
    // All before, nothing after: the day of today has all of it.
    let before = get(rest, "/v1/accounts/ann-usd/statement?from=2020-01-01&to=2020-02-01").await.json();
    assert_eq!((&before["closing_balance"]["amount"], &before["entries"]), (&json!("0.00"), &Value::Null));

    let csv = get(rest, "/v1/accounts/ann-usd/statement.csv?from=2020-01-01").await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"statement-ann-usd.csv\"");
    let mut reader = csv::Reader::from_reader(csv.body.as_slice());
    assert_eq!(
        reader.headers().expect("a header").iter().take(4).collect::<Vec<_>>(),
        ["time", "lsn", "kind", "amount"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("it is CSV");
    let column = |n: usize| rows.iter().map(|row| row[n].to_owned()).collect::<Vec<_>>();
    let of = |name: &str, part: &str| {
        lines.iter().map(|line| line[name][part].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((column(3), column(5)), (of("amount", "amount"), of("balance_after", "amount")));
    let told: Vec<_> = column(9).into_iter().skip(1).take(references.len()).rev().collect();
    assert_eq!(told, ["rent, May", "say \"hi\"", "'=1+1", "two\nlines", "", "'+49", "last"], "no cell is a formula");
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_read_as_of_a_time_or_a_position() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    let rest = server.rest();
    let positions = deposit(rest, &["a", "b", "c"]).await;
    for (n, lsn) in positions.iter().enumerate() {
        let told = get(rest, &format!("/v1/accounts/ann-usd?as_of_lsn={lsn}")).await.json();
        let then =
            json!({ "balance": usd(&format!("{}.00", 101 + n)), "authorized": usd("0.00"), "lsn": lsn.to_string() });
        assert_eq!((&told["balance_as_of"], &told["account"]["balance"]), (&then, &usd("103.00")));
    }
    let lines = get(rest, "/v1/accounts/ann-usd/entries").await.json();
    let at = lines["entries"][1]["at"].as_str().expect("a time");
    let told = get(rest, &format!("/v1/accounts/ann-usd?as_of_time={at}")).await.json();
    assert_eq!(told["balance_as_of"]["balance"], usd("102.00"), "{told}");
    assert!(get(rest, "/v1/accounts/ann-usd").await.json()["balance_as_of"].is_null());
    let house = get(rest, &format!("/v1/accounts/sys%2Fworld%2FUSD?as_of_lsn={}", positions[0])).await.json();
    assert_eq!(house["balance_as_of"]["balance"], usd("-101.00"), "{house}");
    drop(c);
    server.stop().await;
}

/// Pages of a statement without an end are all of the time of the first, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_statement_is_whole_and_of_one_time() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let legs = vec![json!({ "from": "ann-usd", "to": "shop-usd", "amount": usd("0.01") }); 64];
    let group = json!({ "legs": legs });
    for n in 0..33 {
        assert_eq!(post(rest, "/v1/transfers", &format!("t{n}"), &group).await.status, 201);
    }
    let csv = get(rest, "/v1/accounts/shop-usd/statement.csv?from=2020-01-01").await;
    assert_eq!(csv::Reader::from_reader(csv.body.as_slice()).into_records().count(), 33 * 64);
    let path = "/v1/accounts/shop-usd/statement?from=2020-01-01&page_size=1000";
    let first = get(rest, path).await.json();
    assert_eq!(post(rest, "/v1/transfers", "later", &group).await.status, 201);
    let token = first["next_page_token"].as_str().expect("there is more");
    let second = get(rest, &format!("{path}&page_token={token}")).await.json();
    for name in ["from", "to", "opening_balance", "closing_balance"] {
        assert_eq!(first[name], second[name], "{name}");
    }
    // The same time, spelled another way.
    let to = first["to"].as_str().expect("a time").replace('Z', "%2B00:00");
    let same = get(rest, &format!("{path}&to={to}&page_token={token}")).await.json();
    assert_eq!(same["entries"], second["entries"]);
    get(rest, &format!("{path}&to=2026-01-01&page_token={token}")).await.problem(400, "INVALID_REQUEST");
    drop(c);
    server.stop().await;
}

/// What was decided is answered, however busy reads are.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_answered_while_reads_are_refused() {
    let mut settings = settings();
    settings.engine.reads_max = 1;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    let rest = server.rest();
    let reader = |_| {
        tokio::spawn(async move {
            for _ in 0..60 {
                get(rest, "/v1/accounts/ann-usd/statement?from=2020-01-01").await;
            }
        })
    };
    let readers: Vec<_> = (0..8).map(reader).collect();
    let mut refused = 0;
    for n in 0..60 {
        let body = json!({ "account_id": "ann-usd", "amount": usd("1.00") });
        assert_eq!(post(rest, "/v1/deposits", &format!("d{n}"), &body).await.status, 201);
        refused += usize::from(get(rest, "/v1/accounts/ann-usd").await.status == 429);
    }
    for reader in readers {
        reader.await.expect("it reads");
    }
    assert!(refused > 0, "reads were refused");
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn periods_that_cannot_be_are_told_by_field() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    let rest = server.rest();
    for (query, told) in [
        ("", "from"),
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("from=2026-02-01&to=2026-02-01", "must be before to"),
        ("from=2020-01-01&to=2999-01-01", "lies ahead"),
        ("from=2020-01-01&until=2021-01-01", "until"),
    ] {
        for path in ["statement", "statement.csv"] {
            let detail =
                get(rest, &format!("/v1/accounts/ann-usd/{path}?{query}")).await.problem(400, "INVALID_REQUEST");
            assert!(detail.contains(told), "{path}?{query}: {detail}");
        }
    }
    for query in ["as_of_lsn=1000000", "as_of_time=2999-01-01T00:00:00Z", "as_of_lsn=1&as_of_time=2020-01-01T00:00:00Z"]
    {
        let detail = get(rest, &format!("/v1/accounts/ann-usd?{query}")).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains("as_of"), "{query}: {detail}");
    }
    get(rest, "/v1/accounts/nobody/statement.csv?from=2020-01-01").await.problem(404, "NOT_FOUND");
    drop(c);
    server.stop().await;
}
