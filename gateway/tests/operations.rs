//! Deposits and withdrawals by their ids: read back, and taken back once; accounts that have to keep something.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{
    Server,
    http::{get, post, send},
};

fn usd(amount: &str) -> Value {
    json!({ "currency": "USD", "amount": amount })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mis_keyed_deposit_is_read_back_and_reversed_once() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let body = json!({ "account_id": "ann-usd", "amount": usd("70.00"), "reference": "bank transfer 8812" });
    let made = post(rest, "/v1/deposits", "in", &body).await.json();
    let id = made["operation"]["operation_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/operations/{id}");
    let read = get(rest, &path).await.json();
    assert_eq!(read["operation"], made["operation"]);
    assert_eq!((&read["method"], &read["account_id"]), (&json!("Deposit"), &json!("ann-usd")));
    assert_eq!((&read["amount"], &read["reference"]), (&usd("70.00"), &json!("bank transfer 8812")));
    assert!(read["reversed_by"].is_null() && read["reverses"].is_null(), "{read}");

    let back = post(rest, &format!("{path}:reverse"), "back", &json!({ "reason": "keyed twice" })).await;
    assert_eq!((back.status, back.json()["reverses"].as_str()), (201, Some(id.as_str())), "{}", back.text());
    assert_eq!(c.balance("ann-usd").await, "100.00");
    let reversal = back.json()["operation"]["operation_id"].clone();
    let read = get(rest, &path).await.json();
    assert_eq!((&read["reversed_by"], &read["operation"]), (&reversal, &made["operation"]));
    let own = get(rest, &format!("/v1/operations/{}", reversal.as_str().expect("an id"))).await.json();
    assert_eq!((&own["method"], own["reverses"].as_str()), (&json!("ReverseOperation"), Some(id.as_str())));
    assert_eq!(own["reference"], "keyed twice");
    assert_eq!(post(rest, &format!("{path}:reverse"), "back", &json!({})).await.status, 200, "it is replayed");
    let again = post(rest, &format!("{path}:reverse"), "again", &json!({})).await.json();
    assert_eq!(again["operation"]["failure"]["code"], "FAILURE_CODE_OPERATION_ALREADY_REVERSED");

    let legs = json!([{ "from": "ann-usd", "to": "shop-usd", "amount": usd("30.00") }]);
    let moved = post(rest, "/v1/transfers", "t", &json!({ "legs": legs })).await.json();
    let transfer = moved["transfer"]["transfer_id"].as_str().expect("an id").to_owned();
    let back = post(rest, &format!("/v1/operations/{transfer}:reverse"), "tb", &json!({})).await.json();
    assert_eq!(back["transfer"]["status"], "TRANSFER_STATUS_REVERSED");
    assert_eq!(back["transfer"]["reversed_by"], back["operation"]["operation_id"]);
    assert_eq!((c.balance("ann-usd").await.as_str(), c.balance("shop-usd").await.as_str()), ("100.00", "0.00"));
    for id in [transfer.as_str(), "019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60"] {
        get(rest, &format!("/v1/operations/{id}")).await.problem(404, "NOT_FOUND");
    }
    let path = "/v1/operations/019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60:reverse";
    post(rest, path, "x", &json!({})).await.problem(404, "NOT_FOUND");
    let bad = post(rest, "/v1/operations/one:reverse", "y", &json!({})).await.problem(400, "INVALID_REQUEST");
    assert!(bad.contains("operation_id"), "{bad}");
    drop(c);
    let dir = server.stop().await;
    support::assert_verified(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_to_stay_stays() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    let rest = server.rest();
    let patch = async |key: &str, body: Value| {
        let (key, json) = (format!("Idempotency-Key: {key}"), "Content-Type: application/json");
        send(rest, "PATCH /v1/accounts/ann-usd", &[&key, json], body.to_string().as_bytes()).await
    };
    let set = patch("m1", json!({ "minimum_balance": usd("40.00") })).await.json();
    assert_eq!(set["account"]["minimum_balance"], usd("40.00"), "{set}");
    let withdraw = async |key: &str, amount: &str| {
        let body = json!({ "account_id": "ann-usd", "amount": usd(amount) });
        post(rest, "/v1/withdrawals", key, &body).await.json()["operation"]["failure"]["code"].clone()
    };
    assert_eq!(withdraw("w1", "60.01").await, "FAILURE_CODE_INSUFFICIENT_FUNDS");
    assert_eq!(withdraw("w2", "60.00").await, Value::Null);
    let account = get(rest, "/v1/accounts/ann-usd").await.json()["account"].clone();
    assert_eq!((&account["balance"], &account["available"]), (&usd("40.00"), &usd("0.00")));
    // Both is neither asked for nor come to.
    let both = json!({ "minimum_balance": usd("1.00"), "overdraft_limit": usd("1.00") });
    assert!(patch("m2", both.clone()).await.problem(400, "INVALID_REQUEST").contains("minimum_balance"));
    let told = patch("m3", json!({ "overdraft_limit": usd("1.00") })).await.json();
    assert_eq!(told["operation"]["failure"]["code"], "FAILURE_CODE_OVERDRAFT_AND_MINIMUM");
    let moved = patch("m4", json!({ "overdraft_limit": usd("1.00"), "minimum_balance": usd("0") })).await.json();
    assert_eq!(moved["account"]["minimum_balance"], Value::Null, "{moved}");
    let mut open = json!({ "account_id": "new", "owner_id": "bob", "currency": "USD" });
    for (name, value) in both.as_object().expect("fields") {
        open[name] = value.clone();
    }
    assert!(post(rest, "/v1/accounts", "o1", &open).await.problem(400, "INVALID_REQUEST").contains("minimum_balance"));
    open["overdraft_limit"] = usd("0");
    let opened = post(rest, "/v1/accounts", "o2", &open).await.json();
    assert_eq!((&opened["account"]["minimum_balance"], &opened["account"]["available"]), (&usd("1.00"), &usd("-1.00")));
    drop(c);
    let dir = server.stop().await;
    support::assert_verified(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_of_an_account_are_listed_and_say_what_keeps_it_open() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let mut ids = Vec::new();
    for n in 0..5 {
        let amount = if n == 4 { "1000.00" } else { "1.00" };
        let body = json!({ "account_id": "ann-usd", "amount": usd(amount), "destination_account": "shop-usd" });
        let made = post(rest, "/v1/reservations", &format!("r{n}"), &body).await.json();
        ids.push(made["reservation"]["reservation_id"].as_str().unwrap_or_default().to_owned());
    }
    for (n, step) in [(0, "release"), (1, "capture")] {
        let path = format!("/v1/reservations/{}:{step}", ids[n]);
        assert_eq!(post(rest, &path, &format!("s{n}"), &json!({})).await.status, 201);
    }
    let list = async |query: &str| {
        let (mut token, mut found) = (String::new(), Vec::new());
        loop {
            let path = format!("/v1/accounts/ann-usd/reservations?page_size=1&page_token={token}{query}");
            let page = get(rest, &path).await.json();
            for one in page["reservations"].as_array().unwrap_or(&Vec::new()) {
                let (id, status) = (one["reservation_id"].as_str(), one["status"].as_str());
                found.push((id.expect("an id").to_owned(), status.expect("a status").to_owned()));
            }
            token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return found;
            }
        }
    };
    let is = |n: usize, status: &str| (ids[n].clone(), format!("RESERVATION_STATUS_{status}"));
    let all = [is(3, "ACTIVE"), is(2, "ACTIVE"), is(1, "CAPTURED"), is(0, "RELEASED")];
    assert_eq!(list("").await, all, "what was declined is none");
    assert_eq!(list("&status=RESERVATION_STATUS_ACTIVE").await, all[..2]);
    let shop = get(rest, "/v1/accounts/shop-usd/reservations").await.json();
    assert!(shop["reservations"].is_null(), "it only gets: {shop}");
    get(rest, "/v1/accounts/nobody/reservations").await.problem(404, "NOT_FOUND");
    get(rest, "/v1/accounts/ann-usd/reservations?status=9").await.problem(400, "INVALID_REQUEST");

    let body = json!({ "account_id": "shop-usd", "amount": usd("1.00") });
    assert_eq!(post(rest, "/v1/withdrawals", "empty", &body).await.status, 201);
    let (key, json) = ("Idempotency-Key: close", "Content-Type: application/json");
    let close = json!({ "status": "ACCOUNT_STATUS_CLOSED" }).to_string();
    let told = send(rest, "PATCH /v1/accounts/shop-usd", &[key, json], close.as_bytes()).await.json();
    let message = told["operation"]["failure"]["message"].as_str().expect("it is declined");
    assert!(message.contains("0 authorised payments, 2 active reservations and 0 held transfers"), "{message}");
    drop(c);
    server.stop().await;
}
