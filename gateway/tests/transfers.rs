//! Groups of transfers over the wire: made, read back, posted and voided; what is wrong is told by field, a refusal by leg.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{
    Server,
    http::{get, post},
};

fn leg(from: &str, to: &str, amount: &str) -> Value {
    json!({ "from": from, "to": to, "amount": { "currency": "USD", "amount": amount } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_held_read_posted_and_voided() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    c.open("courier", "courier-usd", "USD").await;
    let rest = server.rest();
    let mut second = leg("shop-usd", "courier-usd", "2.00");
    second["reference"] = json!("trip 7");
    let legs = json!([leg("ann-usd", "shop-usd", "10.00"), second]);
    let hold = json!({ "legs": legs, "mode": "TRANSFER_MODE_HOLD", "expires_in": "60s" });
    let held = post(rest, "/v1/transfers", "t1", &hold).await;
    assert_eq!(held.status, 201, "{}", held.text());
    let transfer = held.json()["transfer"].clone();
    assert_eq!((&transfer["status"], &transfer["legs"]), (&json!("TRANSFER_STATUS_HELD"), &legs));
    assert!(transfer["expires_at"].is_string(), "{transfer}");
    let path = format!("/v1/transfers/{}", transfer["transfer_id"].as_str().expect("an id"));
    assert_eq!(get(rest, &path).await.json()["transfer"], transfer);
    let ann = get(rest, "/v1/accounts/ann-usd").await.json()["account"].clone();
    assert_eq!((&ann["available"]["amount"], &ann["pending_debits"]["amount"]), (&json!("90.00"), &json!("10.00")));
    let posted = post(rest, &format!("{path}:post"), "p1", &json!({})).await;
    assert_eq!((posted.status, &posted.json()["transfer"]["status"]), (201, &json!("TRANSFER_STATUS_POSTED")));
    assert_eq!(post(rest, &format!("{path}:post"), "p1", &json!({})).await.status, 200, "it is replayed");
    let late = post(rest, &format!("{path}:void"), "v1", &json!({})).await;
    assert_eq!(late.json()["operation"]["failure"]["code"], "FAILURE_CODE_TRANSFER_NOT_HELD");
    for (account, balance) in [("ann-usd", "90.00"), ("shop-usd", "8.00"), ("courier-usd", "2.00")] {
        assert_eq!(c.balance(account).await, balance, "{account}");
    }
    let lines = get(rest, "/v1/accounts/shop-usd/entries").await.json()["entries"].clone();
    assert_eq!((&lines[0]["reference"], &lines[1]["reference"]), (&json!("trip 7"), &Value::Null), "{lines}");
    let line = |n: usize| (lines[n]["kind"].clone(), lines[n]["method"].clone(), lines[n]["operation_id"].clone());
    assert_eq!(line(0), (json!("LINE_KIND_RETURN"), json!("PostTransfer"), transfer["transfer_id"].clone()), "{lines}");
    // At once, and one that cannot be.
    let at_once = post(rest, "/v1/transfers", "t2", &json!({ "legs": [leg("shop-usd", "ann-usd", "1.00")] })).await;
    assert_eq!(at_once.json()["transfer"]["status"], "TRANSFER_STATUS_POSTED");
    let legs = json!([leg("ann-usd", "shop-usd", "1.00"), leg("courier-usd", "shop-usd", "2.01")]);
    let short = post(rest, "/v1/transfers", "t3", &json!({ "legs": legs })).await;
    let failure = short.json()["operation"]["failure"].clone();
    assert_eq!((short.status, &failure["code"]), (201, &json!("FAILURE_CODE_INSUFFICIENT_FUNDS")));
    assert!(failure["message"].as_str().is_some_and(|text| text.starts_with("legs[1]: ")), "{failure}");
    assert_eq!(short.json()["transfer"]["status"], "TRANSFER_STATUS_FAILED");
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_cannot_be_are_told_by_field() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let one = || leg("ann-usd", "shop-usd", "1.00");
    let euros = json!({ "from": "ann-usd", "to": "ann-eur", "amount": { "currency": "EUR", "amount": "1" } });
    for (body, told) in [
        (json!({}), "legs"),
        (json!({ "legs": vec![one(); 65] }), "has 65 legs"),
        (json!({ "legs": [leg("ann-usd", "ann-usd", "1.00")] }), "legs[0].to"),
        (json!({ "legs": [one(), leg("sys/fx/USD", "shop-usd", "1.00")] }), "legs[1].from"),
        (json!({ "legs": [one(), leg("ann-usd", "shop-usd", "0")] }), "legs[1].amount"),
        (json!({ "legs": [one(), euros] }), "in another currency"),
        (json!({ "legs": [one()], "expires_in": "60s" }), "expires_in"),
        (json!({ "legs": [one()], "mode": "TRANSFER_MODE_HOLD", "expires_in": "2592001s" }), "expires_in"),
        (json!({ "legs": [one()], "mode": "HOLD" }), "mode"),
    ] {
        let detail = post(rest, "/v1/transfers", "bad", &body).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{body}: {detail}");
    }
    let unknown = json!({ "legs": [leg("ann-usd", "nobody", "1.00")] });
    post(rest, "/v1/transfers", "bad", &unknown).await.problem(404, "NOT_FOUND");
    let nothing = "/v1/transfers/018f0000-0000-7000-8000-000000000000";
    get(rest, nothing).await.problem(404, "NOT_FOUND");
    post(rest, &format!("{nothing}:post"), "bad", &json!({})).await.problem(404, "NOT_FOUND");
    get(rest, "/v1/transfers/x").await.problem(400, "INVALID_REQUEST");
    assert_eq!(c.balance("ann-usd").await, "100.00");
    drop(c);
    server.stop().await;
}
