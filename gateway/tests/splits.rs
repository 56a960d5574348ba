//! Splits and a fee over the wire: told by field what is wrong, read back as they were decided, refunded by name.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{
    Server,
    http::{get, post},
};

fn usd(amount: &str) -> Value {
    json!({ "currency": "USD", "amount": amount })
}

fn to(account: &str, portion: (&str, Value)) -> Value {
    json!({ "destination_account": account, portion.0: portion.1 })
}

fn pay(more: &Value) -> Value {
    let mut body = json!({ "customer_id": "ann", "amount": usd("10.00") });
    let fields = more.as_object().expect("fields").clone();
    body.as_object_mut().expect("an object").extend(fields);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_payment_is_made_read_and_refunded_by_split() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    c.open("courier", "courier-usd", "USD").await;
    let rest = server.rest();
    let mut courier = to("courier-usd", ("basis_points", json!(2_000)));
    courier["reference"] = json!("trip 7");
    let splits = json!([courier, to("shop-usd", ("remainder", json!(true)))]);
    let body = pay(&json!({ "splits": splits, "fee": { "basis_points": 290 } }));
    let made = post(rest, "/v1/payments", "p1", &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let payment = made.json()["payment"].clone();
    let split = |n: u32, account: &str, amount: &str, refunded: &str| {
        let mut split = json!({ "split_index": n, "destination_account": account, "amount": usd(amount),
            "amount_captured": usd(amount), "amount_refunded": usd(refunded), "credited": usd(amount) });
        if n == 0 {
            split["reference"] = json!("trip 7");
        }
        split
    };
    assert_eq!(
        payment["splits"],
        json!([split(0, "courier-usd", "2.00", "0.00"), split(1, "shop-usd", "7.71", "0.00")])
    );
    let fee = json!({ "account_id": "sys/fees/USD", "amount": usd("0.29"), "amount_captured": usd("0.29"),
        "amount_refunded": usd("0.00"), "split_index": 1 });
    assert_eq!((&payment["fee"], &payment["credited"], &payment["debited"]), (&fee, &Value::Null, &usd("10.00")));
    assert_eq!(post(rest, "/v1/payments", "p1", &body).await.status, 200, "it is replayed");
    let id = payment["payment_id"].as_str().expect("an id");
    let back = json!({ "splits": [{ "split_index": 1, "amount": usd("4.00") }] });
    let back = post(rest, &format!("/v1/payments/{id}:refund"), "r1", &back).await;
    assert_eq!(back.status, 201, "{}", back.text());
    let refund = back.json()["refund"].clone();
    // Of 8.00 the fee was 0.29: of 4.00 it is 0.145, and the cent that is left over goes to the earlier of the two.
    let part = |n: u32, amount: &str| json!({ "split_index": n, "source_account": "shop-usd", "amount": usd(amount), "debited": usd(amount) });
    assert_eq!((&refund["splits"], &refund["fee"]), (&json!([part(1, "3.86")]), &part(1, "0.14")));
    let read = get(rest, &format!("/v1/payments/{id}")).await.json()["payment"].clone();
    assert_eq!(read["splits"][1]["amount_refunded"], usd("3.86"));
    let refunds = get(rest, &format!("/v1/payments/{id}/refunds")).await.json();
    assert_eq!(refunds["refunds"], json!([refund]));
    for (account, balance) in [("ann-usd", "94.00"), ("shop-usd", "3.71"), ("courier-usd", "2.00")] {
        assert_eq!(c.balance(account).await, balance, "{account}");
    }
    let fees = get(rest, "/v1/accounts/sys%2Ffees%2FUSD").await;
    assert_eq!(fees.json()["account"]["balance"], usd("0.29"), "{}", fees.text());
    // By account it is listed once, for each who has a part.
    for account in ["ann-usd", "shop-usd", "courier-usd"] {
        let list = get(rest, &format!("/v1/payments?account_id={account}")).await.json();
        assert_eq!(list["payments"].as_array().map(Vec::len), Some(1), "{account}");
    }
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_that_cannot_be_are_told_by_field() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let rest = server.rest();
    let rest_of = |account: &str| to(account, ("remainder", json!(true)));
    let bps = |bps: u32| to("shop-usd", ("basis_points", json!(bps)));
    let amount = |amount: &str| to("shop-usd", ("amount", usd(amount)));
    let bad = [
        (json!({ "splits": [rest_of("shop-usd"), rest_of("shop-usd")] }), "splits[1] is the second remainder"),
        (json!({ "splits": [amount("4.00"), amount("5.00")] }), "splits sum to 9.00 USD"),
        (json!({ "splits": [bps(10_001)] }), "splits[0].basis_points"),
        (json!({ "splits": [bps(5_000), bps(4_000)] }), "sum to 9000 basis points"),
        (json!({ "splits": vec![bps(100); 33] }), "at most 32"),
        (json!({ "splits": [{ "destination_account": "shop-usd" }] }), "splits[0] must say amount"),
        (json!({ "splits": [{ "destination_account": "shop-usd", "remainder": false }] }), "can only be true"),
        (json!({ "splits": [rest_of("sys/fees/USD")] }), "splits[0].destination_account"),
        (json!({ "splits": [amount("0.00"), rest_of("shop-usd")] }), "splits[0].amount"),
        (
            json!({ "splits": [rest_of("shop-usd")], "destination_account": "shop-usd" }),
            "goes not together with splits",
        ),
        (json!({ "fee": {} }), "fee must say amount or basis_points"),
        (json!({ "fee": { "amount": usd("10.00") } }), "at least one minor unit of that must be left"),
        (
            json!({ "fee": { "amount": { "currency": "EUR", "amount": "1.00" } } }),
            "fee.amount.currency \"EUR\" must be USD",
        ),
        (
            json!({ "splits": [to("shop-usd", ("amount", json!({ "currency": "EUR", "amount": "1.00" }))), bps(0)] }),
            "splits[0].amount.currency",
        ),
        (json!({ "fee": { "amount": usd("20.00") } }), "at least one minor unit of that must be left"),
        (json!({ "splits": [rest_of("ann-usd")], "source_account": "ann-usd" }), "must not be the source_account"),
        (json!({ "splits": [rest_of("shop-usd")], "quote_id": "q" }), "quote_id"),
    ];
    for (more, told) in bad {
        let detail = post(rest, "/v1/payments", "bad", &pay(&more)).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{more}: {detail}");
    }
    let unknown = pay(&json!({ "splits": [rest_of("nobody")] }));
    let detail = post(rest, "/v1/payments", "bad", &unknown).await.problem(404, "NOT_FOUND");
    assert!(detail.contains("nobody"), "{detail}");
    // Nothing was recorded: the key is free.
    let good = pay(&json!({ "splits": [rest_of("shop-usd")], "fee": { "amount": usd("9.99") } }));
    let made = post(rest, "/v1/payments", "bad", &good).await;
    assert_eq!((made.status, c.balance("shop-usd").await), (201, "0.01".to_owned()), "{}", made.text());
    let id = made.json()["payment"]["payment_id"].as_str().expect("an id").to_owned();
    let named = |splits: Value| json!({ "splits": splits });
    for (body, told) in [
        (named(json!([{ "split_index": 1 }])), "names split 1"),
        (named(json!([{ "split_index": 0 }, { "split_index": 0 }])), "names split 0 twice"),
        (named(json!([{}])), "splits[0].split_index"),
        (
            json!({ "splits": [{ "split_index": 0, "amount": usd("0.50") }], "amount": usd("0.40") }),
            "must sum to the amount",
        ),
        (
            json!({ "splits": [{ "split_index": 0 }], "rate": "REFUND_RATE_CURRENT" }),
            "goes not together with rate CURRENT",
        ),
        (named(json!([{ "split_index": 0, "amount": usd("-1") }])), "splits[0].amount"),
    ] {
        let detail =
            post(rest, &format!("/v1/payments/{id}:refund"), "bad-r", &body).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(told), "{body}: {detail}");
    }
    drop(c);
    server.stop().await;
}
