//! Idempotency as clients meet it: one key however it is spelled, one body however it is written, and a replay
//! whatever has changed since.

mod support;

use arus_proto::payments::v1::{
    BatchCreatePaymentsRequest, PaymentStatus, StreamPaymentsRequest, get_payment_request::By,
};
use serde_json::{Value, json};
use support::{
    LIMIT, Server, http,
    http::{get, post},
    payment, settings,
};
use tokio_stream::StreamExt;

const JSON: &str = "Content-Type: application/json";

fn pay(amount: &str) -> Value {
    json!({ "customer_id": "ann", "destination_account": "shop-usd", "amount": { "currency": "USD", "amount": amount } })
}

async fn shop(c: &mut support::Clients) {
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_quotes_is_the_key() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    let long = "k".repeat(255);
    for key in ["order-1", "a/b:c;d=\"e\"", &long] {
        let quoted = format!("\"{}\"", key.replace('"', "\\\""));
        let first = post(rest, "/v1/payments", &quoted, &pay("1.00")).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let payment = &first.json()["payment"];
        assert_eq!(payment["tx_id"], key);
        for spelled in [key.to_owned(), format!("{quoted};v=1"), format!("{quoted}; a; b=2")] {
            let again = post(rest, "/v1/payments", &spelled, &pay("1.00")).await;
            assert_eq!((again.status, &again.json()["payment"]["payment_id"]), (200, &payment["payment_id"]));
        }
        for spelled in [key, &quoted] {
            let in_path: String = spelled.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let found = get(rest, &format!("/v1/payments/by-tx-id/{in_path}")).await;
            assert_eq!(found.json()["payment"]["payment_id"], payment["payment_id"], "{spelled}");
        }
        let mut body = pay("1.00");
        body["tx_id"] = json!(quoted);
        let (line, text) = ("POST /v1/payments", body.to_string());
        let again = http::send(rest, line, &["Content-Type: application/json"], text.as_bytes()).await;
        assert_eq!(again.json()["payment"]["payment_id"], payment["payment_id"], "in the body");
        let batch = post(rest, "/v1/payments:batch", "k", &json!({ "payments": [body] })).await;
        assert_eq!(batch.json()["outcomes"][0]["replayed"], true, "in an item: {}", batch.text());
        let by = arus_proto::payments::v1::GetPaymentRequest { by: Some(By::TxId(key.into())) };
        let found = c.payments.get_payment(by).await.expect("gRPC knows the same key").into_inner();
        assert_eq!(found.payment.expect("one").payment_id, payment["payment_id"]);
    }
    assert_eq!(c.balance("shop-usd").await, "3.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_looked_at_only_where_one_is_needed() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    c.rates("r", arus_proto::fx::v1::RateSource::Live, &[("EUR", "USD", "1.1")]).await;
    let amount = json!({ "currency": "USD", "amount": "1.00" });
    let convert = json!({ "amount": amount, "to_currency": "EUR" });
    assert_eq!(post(rest, "/v1/fx/convert", "k", &convert).await.status, 200);
    let score = json!({ "customer_id": "ann", "amount": amount });
    assert_eq!(post(rest, "/v1/risk/score", "\"not even one", &score).await.status, 200);
    let item =
        json!({ "tx_id": "in-the-item", "customer_id": "ann", "amount": amount, "destination_account": "shop-usd" });
    let batch = post(rest, "/v1/payments:batch", "k", &json!({ "payments": [item] })).await;
    assert_eq!(batch.json()["outcomes"][0]["status"], "PAYMENT_STATUS_CAPTURED", "{}", batch.text());
    let read = http::send(rest, "GET /v1/payments/by-tx-id/in-the-item", &["Idempotency-Key: other"], &[]).await;
    assert_eq!(read.status, 200, "{}", read.text());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_over_http_name_the_header() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let rest = server.rest();
    assert_eq!(post(rest, "/v1/payments", "used", &pay("1.00")).await.status, 201);
    let reused = post(rest, "/v1/payments", "used", &pay("2.00")).await.problem(422, "TX_ID_REUSED");
    assert_eq!(
        reused,
        "Idempotency-Key was used before with another amount; use a new Idempotency-Key for a new request"
    );
    let missing = http::send(rest, "POST /v1/payments", &[JSON], pay("1.00").to_string().as_bytes()).await;
    assert!(missing.problem(400, "INVALID_REQUEST").contains("Idempotency-Key is required"), "{}", missing.text());
    assert_eq!(missing.json()["errors"][0]["field"], "Idempotency-Key");
    let too_long = post(rest, "/v1/payments", &"k".repeat(256), &pay("1.00")).await;
    let detail = too_long.problem(400, "INVALID_REQUEST");
    assert!(detail.contains("must be 1 to 255 visible ASCII characters, such as"), "{detail}");
    assert!(!detail.contains("tx_id"), "{detail}");
    for broken in ["\"open", "\"a\" b", "\"a\", \"b\""] {
        let detail = post(rest, "/v1/payments", broken, &pay("1.00")).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains("Idempotency-Key") && detail.contains("RFC 8941"), "{detail}");
    }
    let unknown = get(rest, "/v1/payments/by-tx-id/nobodys").await.problem(404, "NOT_FOUND");
    assert_eq!(unknown, "payment with Idempotency-Key nobodys does not exist");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_body_however_it_is_written() {
    let mut settings = settings();
    settings.engine.house_owner = "shop".into();
    let (server, mut c) = Server::with(settings).await;
    shop(&mut c).await;
    let rest = server.rest();
    let usd = |amount: &str| json!({ "currency": "USD", "amount": amount });
    // Each first, then what says the same.
    let pairs =
        json!([{ "base": "EUR", "quote": "USD", "mid": "1.1" }, { "base": "EUR", "quote": "CZK", "mid": "25" }]);
    let turned = json!([pairs[1], { "base": "EUR", "quote": "USD", "mid": "1.10", "spread_bps": 50 }]);
    let publish = |rates: &Value| json!({ "source": "RATE_SOURCE_ECB", "rates": rates });
    let spread = server.running.as_ref().expect("it runs").engine().config().fx.spread_bps_default;
    let mut spelled = publish(&turned);
    spelled["rates"][1]["spread_bps"] = json!(spread);
    let reserve = json!({ "account_id": "ann-usd", "amount": usd("5") });
    let pay_house = json!({ "customer_id": "ann", "amount": usd("1") });
    for (path, first, again) in [
        ("/v1/fx/rates", publish(&pairs), spelled),
        ("/v1/reservations", reserve.clone(), with(&reserve, &json!({ "expires_in": "3600s", "amount": usd("5.00") }))),
        (
            "/v1/payments",
            pay_house.clone(),
            with(
                &pay_house,
                &json!({ "capture_method": "CAPTURE_METHOD_AUTOMATIC", "destination_account": "shop-usd" }),
            ),
        ),
    ] {
        let (one, other) = (format!("one{path}"), format!("other{path}"));
        assert_eq!(post(rest, path, &one, &first).await.status, 201, "{path}");
        let replayed = post(rest, path, &one, &again).await;
        assert_eq!((replayed.status, replayed.header("idempotent-replayed")), (200, "true"), "{}", replayed.text());
        // And the other way round.
        assert_eq!(post(rest, path, &other, &again).await.status, 201, "{path}");
        assert_eq!(post(rest, path, &other, &first).await.status, 200, "{path}");
    }
    let other = with(&reserve, &json!({ "expires_in": "3601s" }));
    post(rest, "/v1/reservations", "one/v1/reservations", &other).await.problem(422, "TX_ID_REUSED");
    server.stop().await;
}

fn with(body: &Value, fields: &Value) -> Value {
    let mut all = body.as_object().expect("an object").clone();
    all.extend(fields.as_object().expect("an object").clone());
    Value::Object(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changed_refuses_no_replay() {
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let reserve =
        json!({ "account_id": "ann-usd", "amount": { "currency": "USD", "amount": "5" }, "expires_in": "7200s" });
    assert_eq!(post(server.rest(), "/v1/reservations", "r", &reserve).await.status, 201);
    let dir = server.stop().await;
    let mut smaller = settings();
    (smaller.engine.reservation_max_s, smaller.engine.reservation_default_s) = (60, 60);
    smaller.engine.accounts_per_owner_max = 1;
    let (server, _) = Server::on(dir, smaller).await;
    let again = post(server.rest(), "/v1/reservations", "r", &reserve).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"), "{}", again.text());
    let new = post(server.rest(), "/v1/reservations", "new", &reserve).await.problem(400, "INVALID_REQUEST");
    assert!(new.contains("expires_in \"7200s\" must be 1 to 60 whole seconds, such as 60s"), "{new}");
    // A body that is another is another, whatever is allowed now.
    let longer = with(&reserve, &json!({ "expires_in": "9999s" }));
    post(server.rest(), "/v1/reservations", "r", &longer).await.problem(422, "TX_ID_REUSED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_keys_of_one_batch_or_stream_are_replays() {
    const ITEMS: usize = 1_024;
    let (server, mut c) = Server::start().await;
    shop(&mut c).await;
    let payments = vec![payment("same", "ann", "USD", "1.00", "shop-usd"); ITEMS];
    let answer = c.payments.batch_create_payments(BatchCreatePaymentsRequest { payments }).await;
    let outcomes = answer.expect("a batch is answered").into_inner().outcomes;
    assert!(outcomes.iter().all(|outcome| outcome.status() == PaymentStatus::Captured), "{:?}", outcomes[1]);
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
    let requests = (0..ITEMS)
        .map(|_| StreamPaymentsRequest { payment: Some(payment("streamed", "ann", "USD", "1.00", "shop-usd")) });
    let answers = c.payments.stream_payments(tokio_stream::iter(requests.collect::<Vec<_>>())).await;
    let mut answers = answers.expect("it streams").into_inner();
    let mut decided = 0;
    while let Some(answer) = tokio::time::timeout(LIMIT, answers.next()).await.expect("in time") {
        let outcome = answer.expect("an answer").outcome.expect("an outcome");
        assert_eq!(outcome.status(), PaymentStatus::Captured, "{outcome:?}");
        decided += usize::from(!outcome.replayed);
    }
    assert_eq!((decided, c.balance("shop-usd").await), (1, "2.00".into()));
    // What bound nothing is asked again by each, one after another.
    let payments = vec![payment("nobodys", "nobody", "USD", "1.00", "shop-usd"); ITEMS];
    let answer = c.payments.batch_create_payments(BatchCreatePaymentsRequest { payments }).await;
    let outcomes = answer.expect("a batch is answered").into_inner().outcomes;
    assert!(outcomes.iter().all(|outcome| outcome.error.as_ref().is_some_and(|error| error.reason == "NOT_FOUND")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_of_one_owner_are_opened_at_once() {
    let (server, mut c) = Server::start().await;
    let rest = server.rest();
    let calls: Vec<_> = (0..60)
        .map(|n| {
            let open = json!({ "account_id": format!("acct-{n}"), "owner_id": "ann", "currency": "USD" });
            tokio::spawn(async move { post(rest, "/v1/accounts", &format!("open-{n}"), &open).await })
        })
        .collect();
    for call in calls {
        let opened = call.await.expect("no panic");
        assert_eq!(opened.status, 201, "{}", opened.text());
    }
    assert_eq!(
        get(rest, "/v1/accounts?owner_id=ann&page_size=1000").await.json()["accounts"].as_array().map(Vec::len),
        Some(60)
    );
    assert_eq!(c.balance("acct-59").await, "0.00");
    server.stop().await;
}
