//! What is noted about payments: changed later, and lists by status, time and metadata.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{
    Server,
    http::{Answer, get, post, send},
};

/// Pays one USD; gives the payment.
async fn pay(rest: std::net::SocketAddr, key: &str, customer: &str, metadata: Value, manual: bool) -> Value {
    let method = if manual { "CAPTURE_METHOD_MANUAL" } else { "CAPTURE_METHOD_AUTOMATIC" };
    let body = json!({
        "customer_id": customer, "amount": { "currency": "USD", "amount": "1.00" }, "destination_account": "shop-usd",
        "metadata": metadata, "capture_method": method, "description": "as made",
    });
    post(rest, "/v1/payments", key, &body).await.json()["payment"].clone()
}

async fn update(rest: std::net::SocketAddr, id: &str, key: &str, body: &Value) -> Answer {
    let (key, json) = (format!("Idempotency-Key: {key}"), "Content-Type: application/json");
    send(rest, &format!("PATCH /v1/payments/{id}"), &[&key, json], body.to_string().as_bytes()).await
}

/// The keys of all payments that a query lists, page by page.
async fn keys(rest: std::net::SocketAddr, query: &str) -> BTreeSet<String> {
    let (mut token, mut found) = (String::new(), BTreeSet::new());
    loop {
        let page = get(rest, &format!("/v1/payments?page_size=2&page_token={token}&{query}")).await.json();
        for payment in page["payments"].as_array().unwrap_or(&Vec::new()) {
            assert!(found.insert(payment["tx_id"].as_str().expect("a key").to_owned()), "each once: {payment}");
        }
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            return found;
        }
    }
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_a_payment_change_and_nothing_else_does() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let made = pay(rest, "p", "ann", json!({ "order": "7", "gift": "yes" }), true).await;
    let id = made["payment_id"].as_str().expect("an id");
    let body = json!({ "metadata": { "gift": "", "delivered": "2026-02-02" }, "description": "delivered" });
    let told = update(rest, id, "u1", &body).await;
    assert_eq!((told.status, told.header("idempotent-replayed")), (200, "false"), "{}", told.text());
    let now = told.json()["payment"].clone();
    assert_eq!(now["metadata"], json!({ "order": "7", "delivered": "2026-02-02" }));
    assert_eq!((&now["description"], &now["version"]), (&json!("delivered"), &json!(2)));
    for field in ["status", "amount_capturable", "tx_id", "created_at", "expires_at", "source_account"] {
        assert_eq!(now[field], made[field], "{field}");
    }
    assert_eq!(update(rest, id, "u1", &body).await.header("idempotent-replayed"), "true");
    update(rest, id, "u1", &json!({ "description": "x" })).await.problem(422, "TX_ID_REUSED");
    // The rest of its life goes on with them, and the payee reads them.
    assert_eq!(post(rest, &format!("/v1/payments/{id}:capture"), "c", &json!({})).await.status, 201);
    let lines = get(rest, "/v1/accounts/shop-usd/entries").await.json();
    assert_eq!(lines["entries"][0]["reference"], "delivered", "{lines}");
    let read = get(rest, &format!("/v1/payments/{id}")).await.json()["payment"].clone();
    assert_eq!((&read["metadata"], &read["version"]), (&now["metadata"], &json!(3)));
    assert_eq!(keys(rest, "customer_id=ann&metadata[order]=7&metadata[delivered]=2026-02-02").await, set(&["p"]));
    let cleared = update(rest, id, "u2", &json!({ "description": "" })).await.json();
    assert!(cleared["payment"]["description"].is_null(), "{cleared}");

    assert!(update(rest, id, "u3", &json!({})).await.problem(400, "INVALID_REQUEST").contains("metadata"));
    let many: Value = (0..49).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let told = update(rest, id, "u4", &json!({ "metadata": many })).await.json();
    assert_eq!(told["operation"]["failure"]["code"], "FAILURE_CODE_METADATA_TOO_LARGE");
    assert_eq!(told["payment"]["metadata"], now["metadata"]);
    update(rest, "019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60", "u5", &body).await.problem(404, "NOT_FOUND");
    drop(c);
    let dir = server.stop().await;
    support::assert_verified(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_of_what_is_asked_for() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "5.00").await;
    c.account_with("bob", "bob-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let mut times = Vec::new();
    for n in 0..7 {
        let order = json!({ "order": (n % 2).to_string() });
        let made = pay(rest, &format!("a{n}"), "ann", order.clone(), n == 3).await;
        times.push(made["created_at"].as_str().expect("a time").to_owned());
        pay(rest, &format!("b{n}"), "bob", order, false).await;
    }
    let status = |name: &str| format!("status=PAYMENT_STATUS_{name}");
    assert_eq!(keys(rest, &format!("customer_id=ann&{}", status("FAILED"))).await, set(&["a5", "a6"]));
    assert_eq!(keys(rest, &status("AUTHORIZED")).await, set(&["a3"]));
    let captured = format!("account_id=ann-usd&{}", status("CAPTURED"));
    assert_eq!(keys(rest, &captured).await, set(&["a0", "a1", "a2", "a4"]));
    // From one payment to another, itself not within.
    let time = format!("created_from={}&created_to={}", times[1], times[4]);
    assert_eq!(keys(rest, &format!("customer_id=ann&{time}")).await, set(&["a1", "a2", "a3"]));
    assert_eq!(keys(rest, &time).await, set(&["a1", "b1", "a2", "b2", "a3", "b3"]));
    assert_eq!(keys(rest, &format!("{time}&{}", status("AUTHORIZED"))).await, set(&["a3"]));
    // Between two microseconds is after the first.
    let between = |n: usize| times[n].replace('Z', "5Z");
    if [1, 4].iter().all(|n| times[*n].len() == times[0].len() && times[*n].contains('.')) {
        let time = format!("created_from={}&created_to={}", between(1), between(4));
        assert_eq!(keys(rest, &format!("customer_id=ann&{time}")).await, set(&["a2", "a3", "a4"]));
    }
    assert_eq!(keys(rest, "account_id=shop-usd&metadata[order]=1").await, set(&["a1", "b1", "a3", "b3", "b5"]));
    assert_eq!(keys(rest, "customer_id=bob&metadata%5Border%5D=2").await, set(&[]));
    for (query, told) in [
        ("metadata[order]=1", "goes only together with"),
        ("customer_id=ann&status=7", "status"),
        ("customer_id=ann&created_from=yesterday", "created_from"),
        ("created_from=2026-01-02T00:00:00Z&created_to=2026-01-01T00:00:00Z", "must be before created_to"),
        ("customer_id=ann&metadata[order]=1&metadata[order]=2", "metadata[order]"),
        ("customer_id=ann&owner[x]=1", "owner"),
        ("customer_id=ann&metadata[]=1", "metadata"),
    ] {
        let detail = get(rest, &format!("/v1/payments?{query}")).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{query}: {detail}");
    }
    let first = get(rest, "/v1/payments?customer_id=bob&page_size=2").await.json();
    let token = first["next_page_token"].as_str().expect("there is more");
    let other = format!("/v1/payments?customer_id=bob&page_size=2&status=PAYMENT_STATUS_CAPTURED&page_token={token}");
    get(rest, &other).await.problem(400, "INVALID_REQUEST");
    drop(c);
    server.stop().await;
}
