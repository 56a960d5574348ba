//! The life of a payment over REST and gRPC: authorised, captured in parts, refunded, voided; read back and listed.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use arus_proto::payments::v1::{
    CaptureMethod, CapturePaymentRequest, CreatePaymentRequest, GetPaymentRequest, PaymentStatus, RefundPaymentRequest,
    RefundRate, get_payment_request::By,
};
use serde_json::{Value, json};
use support::{
    Clients, Server, http,
    http::{get, post},
    money, payment,
};

async fn shop(c: &mut Clients) {
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
}

fn usd(amount: &str) -> Value {
    json!({ "currency": "USD", "amount": amount })
}

/// Status, captured, capturable, refunded and version of a payment.
fn stands(payment: &Value) -> (String, [String; 3], u64) {
    let amount = |name: &str| payment[name]["amount"].as_str().unwrap_or_default().to_owned();
    let status = payment["status"].as_str().unwrap_or_default().replace("PAYMENT_STATUS_", "");
    let sums = ["amount_captured", "amount_capturable", "amount_refunded"].map(amount);
    (status, sums, payment["version"].as_u64().unwrap_or_default())
}

fn is(status: &str, sums: [&str; 3], version: u64) -> (String, [String; 3], u64) {
    (status.to_owned(), sums.map(str::to_owned), version)
}

async fn authorised(rest: SocketAddr, key: &str) -> String {
    let body = json!({ "customer_id": "ann", "amount": usd("40.00"), "destination_account": "shop-usd",
        "capture_method": "CAPTURE_METHOD_MANUAL", "expires_in": "3600s", "metadata": { "order": "7" } });
    let made = post(rest, "/v1/payments", key, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let payment = &made.json()["payment"];
    assert_eq!(stands(payment), is("AUTHORIZED", ["0.00", "40.00", "0.00"], 1));
    assert!(payment["expires_at"].is_string() && payment["debited"].is_null(), "{payment}");
    payment["payment_id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_captured_in_parts_refunded_and_read_back_over_rest() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    let id = authorised(rest, "order-7").await;
    let at = |what: &str| format!("/v1/payments/{id}{what}");
    let part = json!({ "amount": usd("15.00") });
    let first = post(rest, &at(":capture"), "c1", &part).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(first.json()["operation"]["status"], "OPERATION_STATUS_COMPLETED");
    assert_eq!(stands(&first.json()["payment"]), is("AUTHORIZED", ["15.00", "25.00", "0.00"], 2));
    assert_eq!(first.json()["payment"]["tx_id"], "order-7", "the payment keeps its own key");
    let again = post(rest, &at(":capture"), "c1", &part).await;
    assert_eq!((again.status, stands(&again.json()["payment"])), (200, stands(&first.json()["payment"])));
    let above = post(rest, &at(":capture"), "c2", &json!({ "amount": usd("25.01") })).await;
    assert_eq!(above.json()["operation"]["failure"]["code"], "FAILURE_CODE_AMOUNT_EXCEEDS_CAPTURABLE");
    let back = json!({ "amount": usd("5.00"), "reason": "one was broken" });
    let back = post(rest, &at(":refund"), "r1", &back).await;
    let refund = back.json()["refund"].clone();
    assert_eq!((&refund["status"], &refund["reason"]), (&json!("REFUND_STATUS_COMPLETED"), &json!("one was broken")));
    assert_eq!((&refund["debited"], &refund["credited"]), (&usd("5.00"), &usd("5.00")));
    let voided = post(rest, &at(":void"), "v1", &json!({})).await;
    assert_eq!(stands(&voided.json()["payment"]), is("CAPTURED", ["15.00", "0.00", "5.00"], 4));
    let too_much = post(rest, &at(":refund"), "r2", &json!({ "amount": usd("10.01") })).await;
    assert_eq!(too_much.json()["operation"]["failure"]["code"], "FAILURE_CODE_AMOUNT_EXCEEDS_REFUNDABLE");
    assert_eq!(too_much.json()["refund"]["status"], "REFUND_STATUS_FAILED");
    // Reads say the same, by either id, and a list has the payment once.
    for path in [at(""), "/v1/payments/by-tx-id/order-7".to_owned()] {
        let read = get(rest, &path).await.json()["payment"].clone();
        assert_eq!(stands(&read), is("CAPTURED", ["15.00", "0.00", "5.00"], 4), "{path}");
        assert_eq!((&read["failure"], &read["metadata"]["order"]), (&Value::Null, &json!("7")), "{path}");
    }
    for of in ["", "?customer_id=ann", "?account_id=shop-usd"] {
        let list = get(rest, &format!("/v1/payments{of}")).await.json()["payments"].clone();
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{of}: {list}");
        assert_eq!(stands(&list[0]), is("CAPTURED", ["15.00", "0.00", "5.00"], 4), "{of}");
    }
    let refunds = get(rest, &at("/refunds?page_size=1")).await.json();
    assert_eq!(refunds["refunds"][0]["tx_id"], "r2", "the newest first, declined too");
    let next = refunds["next_page_token"].as_str().expect("there is more");
    let older = get(rest, &at(&format!("/refunds?page_token={next}"))).await.json();
    assert_eq!(older["refunds"], json!([refund]));
    let one = get(rest, &format!("/v1/refunds/{}", refund["refund_id"].as_str().expect("an id"))).await;
    assert_eq!(one.json()["refund"], refund);
    // An id of another kind is nothing.
    let refund_id = refund["refund_id"].as_str().expect("an id");
    get(rest, &format!("/v1/payments/{refund_id}")).await.problem(404, "NOT_FOUND");
    get(rest, &format!("/v1/refunds/{id}")).await.problem(404, "NOT_FOUND");
    get(rest, "/v1/payments/by-tx-id/c1").await.problem(404, "NOT_FOUND");
    assert_eq!((c.balance("ann-usd").await, c.balance("shop-usd").await), ("90.00".into(), "10.00".into()));
    // The statement of the payee has what came and what went back.
    let lines = get(rest, "/v1/accounts/shop-usd/entries").await.json()["entries"].clone();
    let lines: Vec<_> = lines.as_array().expect("lines").iter().map(|line| line["kind"].clone()).collect();
    assert_eq!(lines, ["LINE_KIND_RETURN", "LINE_KIND_CREDIT"]);
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_told_by_field_and_moves_nothing() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    let pay = |more: Value| {
        let mut body = json!({ "customer_id": "ann", "amount": usd("1.00"), "destination_account": "shop-usd" });
        let fields = more.as_object().expect("fields").clone();
        body.as_object_mut().expect("fields").extend(fields);
        body
    };
    for (more, told) in [
        (json!({ "expires_in": "60s" }), "expires_in"),
        (
            json!({ "capture_method": "CAPTURE_METHOD_MANUAL", "expires_in": "0s" }),
            "must be 1 to 2592000 whole seconds",
        ),
        (json!({ "capture_method": "CAPTURE_METHOD_MANUAL", "expires_in": "2678400s" }), "expires_in"),
        (json!({ "capture_method": "MANUAL" }), "capture_method"),
    ] {
        let detail = post(rest, "/v1/payments", "bad", &pay(more)).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{detail}");
    }
    let id = authorised(rest, "good").await;
    for (path, body, told) in [
        ("not-an-id:capture", json!({}), "payment_id"),
        (&format!("{id}:capture"), json!({ "amount": usd("0.00") }), "amount"),
        (&format!("{id}:refund"), json!({ "rate": "REFUND_RATE_BEST" }), "REFUND_RATE_ORIGINAL"),
        (&format!("{id}:capture"), json!({ "splits": [] }), "splits is not a field here; fields: "),
    ] {
        let detail = post(rest, &format!("/v1/payments/{path}"), "bad", &body).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{path}: {detail}");
    }
    let unknown = "/v1/payments/018f0000-0000-7000-8000-000000000000:void";
    post(rest, unknown, "bad", &json!({})).await.problem(404, "NOT_FOUND");
    let euros = json!({ "amount": { "currency": "EUR", "amount": "1.00" } });
    let answer = post(rest, &format!("/v1/payments/{id}:capture"), "euros", &euros).await.json();
    assert_eq!(answer["operation"]["failure"]["code"], "FAILURE_CODE_CURRENCY_MISMATCH");
    assert_eq!(c.balance("shop-usd").await, "0.00");
    drop(c);
    server.stop().await;
}

/// Whatever can be made can be read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_read_back() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    let body = json!({ "account_id": "ann-usd", "amount": usd("7.00"), "destination_account": "shop-usd" });
    let made = post(rest, "/v1/reservations", "res", &body).await.json()["reservation"].clone();
    let path = format!("/v1/reservations/{}", made["reservation_id"].as_str().expect("an id"));
    assert_eq!(get(rest, &path).await.json()["reservation"], made);
    let captured = post(rest, &format!("{path}:capture"), "cap", &json!({ "final": true })).await;
    let captured = captured.json()["reservation"].clone();
    assert_eq!(get(rest, &path).await.json()["reservation"], captured);
    let payment = authorised(rest, "no-reservation").await;
    get(rest, &format!("/v1/reservations/{payment}")).await.problem(404, "NOT_FOUND");
    let wrong_verb = http::send(rest, &format!("GET {path}:capture"), &[], &[]).await;
    assert_eq!((wrong_verb.status, wrong_verb.header("allow")), (405, "POST"));
    let head = http::send(rest, &format!("HEAD {path}"), &[], &[]).await;
    assert_eq!(head.status, 200);
    let posted = http::send(rest, &format!("POST {path}"), &["Content-Type: application/json"], b"{}").await;
    assert_eq!((posted.status, posted.header("allow")), (405, "GET,HEAD"));
    drop(c);
    server.stop().await;
}

/// 100 captures, voids and refunds of one payment at once: each is decided, and the sums hold.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_steps_at_once_are_all_decided() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let manual = CreatePaymentRequest {
        capture_method: CaptureMethod::Manual.into(),
        ..payment("order", "ann", "USD", "50.00", "shop-usd")
    };
    let id = c.pay(manual).await.expect("it is authorised").payment_id;
    let mut calls = Vec::new();
    for n in 0..100 {
        let (mut client, id) = (c.payments.clone(), id.clone());
        calls.push(tokio::spawn(async move {
            let (tx_id, amount) = (format!("step-{n}"), Some(money("USD", "1.00")));
            if n % 2 == 0 {
                let capture = CapturePaymentRequest { tx_id, payment_id: id, amount, r#final: false };
                return client.capture_payment(capture).await.map(|answer| answer.into_inner().operation);
            }
            let rate = RefundRate::Original.into();
            let refund = RefundPaymentRequest { tx_id, payment_id: id, amount, rate, ..Default::default() };
            client.refund_payment(refund).await.map(|answer| answer.into_inner().operation)
        }));
    }
    let (mut captured, mut refunded) = (0, 0);
    for (n, call) in calls.into_iter().enumerate() {
        let operation = call.await.expect("no panic").expect("it is decided").expect("an operation");
        let done = i128::from(operation.failure.is_none());
        if n % 2 == 0 { captured += done } else { refunded += done }
    }
    assert_eq!(captured, 50, "all of it is captured");
    let now = c.payments.get_payment(GetPaymentRequest { by: Some(By::PaymentId(id)) }).await.expect("it is there");
    let now = now.into_inner().payment.expect("one");
    let refunds = now.amount_refunded.clone().expect("a sum").amount;
    assert_eq!(refunds, format!("{refunded}.00"));
    let status = if refunded == 50 { PaymentStatus::Refunded } else { PaymentStatus::Captured };
    assert_eq!(now.status(), status);
    assert_eq!(c.balance("shop-usd").await, format!("{}.00", captured - refunded));
    server.stop().await;
}

/// The table of declines names every code once.
#[test]
fn every_decline_is_in_the_table() {
    let table = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/declines.md")).expect("it reads");
    let codes = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let codes: Vec<_> = codes.collect();
    let all: Vec<_> = arus_engine::ledger::failure::FailureCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(codes, all);
}
