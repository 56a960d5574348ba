//! What the house does on its own account, on a real server: rates that stand, and reservations it frees.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use arus_engine::{
    Engine,
    ledger::{
        commands::{Request, Reserve},
        notes::Notes,
    },
    money::{AccountId, Currency, Money, TxId},
};
use arus_proto::fx::v1::{ListRatesRequest, RateSource};
use serde_json::{Value, json};
use support::{
    LIMIT, Server,
    http::{get, post},
    payment,
};

fn rates(source: &str, as_of: Option<&str>, pair: [&str; 2], mid: &str) -> Value {
    let [base, quote] = pair;
    let mut set = json!({ "source": source, "rates": [{ "base": base, "quote": quote, "mid": mid }] });
    if let Some(as_of) = as_of {
        set["as_of"] = json!(as_of);
    }
    set
}

async fn mid(rest: std::net::SocketAddr, base: &str, quote: &str) -> String {
    let answer = get(rest, &format!("/v1/fx/rates/{base}/{quote}")).await.json();
    let said = answer["rate"]["mid"].as_str().or_else(|| answer["failure"]["code"].as_str());
    said.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Two currencies have one rate: who publishes the pair the other way round replaces it, what is older does not, and
/// what is removed stays away, also after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn two_currencies_have_one_rate_and_it_can_be_removed() {
    let (server, mut c) = Server::start().await;
    let rest = server.rest();
    for (account, currency) in [("sek", "SEK"), ("nok", "NOK")] {
        c.open("arb", account, currency).await;
    }
    c.fund("sek", "SEK", "100.00").await;
    let yesterday = rates("RATE_SOURCE_ECB", Some("2025-01-05T00:00:00Z"), ["SEK", "NOK"], "1.00");
    assert_eq!(post(rest, "/v1/fx/rates", "r1", &yesterday).await.status, 201);
    let now = rates("RATE_SOURCE_ECB", None, ["NOK", "SEK"], "1.25");
    assert_eq!(post(rest, "/v1/fx/rates", "r2", &now).await.status, 201);
    let late = post(rest, "/v1/fx/rates", "r3", &yesterday).await;
    assert_eq!((late.status, &late.json()["operation"]["status"]), (201, &json!("OPERATION_STATUS_COMPLETED")));
    assert_eq!((mid(rest, "NOK", "SEK").await, mid(rest, "SEK", "NOK").await), ("1.25".into(), "0.8".into()));
    for n in 0..3 {
        for (from, to, currency) in [("sek", "nok", "SEK"), ("nok", "sek", "NOK")] {
            let amount = c.balance(from).await;
            let mut round = payment(&format!("{from}-{n}"), "arb", currency, &amount, to);
            round.source_account = from.into();
            assert!(c.pay(round).await.expect("decided").failure.is_none());
        }
        let left: f64 = c.balance("sek").await.parse().expect("a number");
        assert!(left < 100.0, "{left} SEK after {} rounds", n + 1);
    }
    // Both directions in one set are one pair twice.
    let twice = json!({ "source": "RATE_SOURCE_ECB", "rates": [
        { "base": "NOK", "quote": "SEK", "mid": "1" }, { "base": "SEK", "quote": "NOK", "mid": "1" } ] });
    let detail = post(rest, "/v1/fx/rates", "r4", &twice).await.problem(400, "INVALID_REQUEST");
    assert!(detail.contains("rates[1] \"SEK/NOK\" is given twice"), "{detail}");
    // The pairs of one set may come in any order.
    let pairs = [("EUR", "USD", "1.1"), ("EUR", "CZK", "25")]
        .map(|(base, quote, mid)| json!({ "base": base, "quote": quote, "mid": mid }));
    let [first, second] = pairs;
    for (order, status) in [([&first, &second], 201), ([&second, &first], 200)] {
        let set = json!({ "source": "RATE_SOURCE_ECB", "rates": order });
        assert_eq!(post(rest, "/v1/fx/rates", "set", &set).await.status, status);
    }

    let remove = |pairs: Value| json!({ "pairs": pairs });
    let unknown = remove(json!([{ "base": "SEK", "quote": "NOK" }, { "base": "SEK", "quote": "JPY" }]));
    let declined = post(rest, "/v1/fx/rates:remove", "x1", &unknown).await;
    assert_eq!(declined.json()["operation"]["failure"]["code"], "FAILURE_CODE_FX_RATE_UNAVAILABLE");
    let removed = remove(json!([{ "base": "SEK", "quote": "NOK" }]));
    for status in [201, 200] {
        assert_eq!(post(rest, "/v1/fx/rates:remove", "x2", &removed).await.status, status);
    }
    post(rest, "/v1/fx/rates:remove", "x3", &remove(json!([]))).await.problem(400, "INVALID_REQUEST");
    assert_eq!(mid(rest, "NOK", "SEK").await, "FAILURE_CODE_FX_RATE_UNAVAILABLE");
    assert_eq!(post(rest, "/v1/fx/rates", "r5", &yesterday).await.status, 201);
    let before = c.fx.list_rates(ListRatesRequest {}).await.expect("answered").into_inner().rates;
    assert_eq!(before.len(), 2, "{before:?}");
    let (server, mut c) = Server::on(server.stop().await, support::settings()).await;
    let after = c.fx.list_rates(ListRatesRequest {}).await.expect("answered").into_inner().rates;
    assert_eq!(after, before);
    c.rates("r6", RateSource::Ecb, &[("SEK", "NOK", "2")]).await;
    assert_eq!(mid(server.rest(), "NOK", "SEK").await, "0.5");
    server.stop().await;
}

async fn reserve(engine: &Engine, account: &str, minor: i128, n: u32, expires_in: Duration) {
    let amount = Money::new(minor, Currency::from_code("USD").expect("USD"));
    let account_id = AccountId::parse(account).expect("an id");
    let request = Reserve { account: account_id, amount, destination: None, expires_in: Some(expires_in) };
    let tx_id = TxId::parse(&format!("{account}-{n}")).expect("a key");
    let command = arus::convert::command(tx_id, Request::Reserve(request), Notes::default());
    let reply = engine.submit(command).await.expect("decided");
    assert_eq!(reply.committed.entry.failure(), None);
}

/// Thousands of one customer's reservations that end together are freed together, and never delay another's money.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_expiries_is_freed_at_once_and_fairly() {
    const NOISE: u32 = 4_000;
    let (server, mut c) = Server::start().await;
    for account in ["noisy", "quiet"] {
        c.account_with(account, account, "USD", "10000.00").await;
    }
    let engine = server.running.as_ref().expect("it runs").engine().clone();
    let until = Instant::now() + Duration::from_secs(6);
    let left = || Duration::from_secs(until.saturating_duration_since(Instant::now()).as_secs().max(1));
    for batch in 0..NOISE / 200 {
        let made = (0..200).map(|n| {
            let (engine, n, left) = (engine.clone(), batch * 200 + n, left());
            tokio::spawn(async move { reserve(&engine, "noisy", 1, n, left).await })
        });
        for made in made.collect::<Vec<_>>() {
            tokio::time::timeout(LIMIT, made).await.expect("in time").expect("no panic");
        }
    }
    let mine = left();
    reserve(&engine, "quiet", 1_000_000, 0, mine).await;
    tokio::time::sleep(mine + Duration::from_secs(5)).await;
    let freed = c.account("quiet").await;
    assert_eq!(freed.available, Some(support::money("USD", "10000.00")), "five seconds after it was due");
    let until = Instant::now() + LIMIT;
    while c.account("noisy").await.pending_debits != Some(support::money("USD", "0.00")) {
        assert!(Instant::now() < until, "not all is freed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // None of it counts as something that clients did.
    assert_eq!(engine.cells().replayed.load(Ordering::Relaxed), 0);
    drop(engine);
    server.stop().await;
}
