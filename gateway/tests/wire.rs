//! What the protos, the README and the named standards say about values, held against the REST port.

mod support;

use arus_proto::{payments::v1::ListPaymentsRequest, payments::v1::list_payments_request::Of};
use prost::Message;
use serde_json::{Value, json};
use support::{
    Clients, Server, http,
    http::{get, post},
    payment,
};

/// What gRPC clients take by default.
const CLIENT_BYTES_MAX: usize = 4 << 20;

fn usd(amount: &str) -> Value {
    json!({ "currency": "USD", "amount": amount })
}

async fn shop() -> (Server, Clients) {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    (server, c)
}

/// Posts under a key of its own and gives the detail of the refusal.
async fn refused(server: &Server, path: &str, body: &Value) -> String {
    let answer = post(server.rest(), path, &format!("refused-{path}"), body).await;
    answer.problem(400, "INVALID_REQUEST")
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_absent_and_times_end_in_z() {
    let (server, _c) = shop().await;
    let body = json!({
        "customer_id": "ann", "destinationAccount": "shop-usd", "amount": usd("1"), "source_account": null,
        "description": null, "metadata": null, "capture_method": null, "quote_id": null, "tx_id": null,
        "context": { "ip": null, "billingCountry": null, "mcc": null },
    });
    let paid = post(server.rest(), "/v1/payments", "nulls", &body).await;
    assert_eq!(paid.status, 201, "{}", paid.text());
    let at = paid.json()["payment"]["created_at"].as_str().expect("a time").to_owned();
    assert!(at.ends_with('Z') && !at.contains('+'), "{at}");
    let limits =
        json!({ "overdraft_limit": null, "daily_debit_limit": null, "clear_daily_debit_limit": null, "status": null });
    let nothing = http::send(
        server.rest(),
        "PATCH /v1/accounts/ann-usd",
        &["Content-Type: application/json", "Idempotency-Key: nothing"],
        limits.to_string().as_bytes(),
    )
    .await;
    assert!(nothing.problem(400, "INVALID_REQUEST").contains("status is not given, and nothing else to change"));
    let limits = json!({ "overdraft_limit": null, "status": null, "make_default": true });
    let headers = ["Content-Type: application/json", "Idempotency-Key: limits"];
    let updated =
        http::send(server.rest(), "PATCH /v1/accounts/ann-usd", &headers, limits.to_string().as_bytes()).await;
    assert_eq!(updated.status, 200, "{}", updated.text());
    let rates = json!({
        "source": "RATE_SOURCE_ECB", "as_of": "2026-01-01T19:00:00+07:00",
        "rates": [{ "base": "EUR", "quote": "USD", "mid": "1.1", "spread_bps": null }],
    });
    assert_eq!(post(server.rest(), "/v1/fx/rates", "offset", &rates).await.status, 201);
    let listed = get(server.rest(), "/v1/fx/rates").await.json();
    assert_eq!(listed["rates"][0]["at"], "2026-01-01T12:00:00Z");
    // Null is no name and no item.
    let unknown = refused(&server, "/v1/payments", &json!({ "customer_id": "ann", "colour": null })).await;
    assert!(unknown.contains("colour is not a field here"), "{unknown}");
    refused(&server, "/v1/payments:batch", &json!({ "payments": [null] })).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_beyond_range_are_refused() {
    let (server, mut c) = shop().await;
    for as_of in ["2026-01-01T00:00:00.0000000001Z", "2016-12-31T23:59:60Z", "2026-01-01", "yesterday", ""] {
        let rates = json!({ "source": "RATE_SOURCE_ECB", "as_of": as_of, "rates": [{ "base": "EUR", "quote": "USD", "mid": "1" }] });
        let detail = refused(&server, "/v1/fx/rates", &rates).await;
        assert!(detail.contains("as_of") && detail.contains("such as 2026-01-31T09:30:00Z"), "{detail}");
    }
    for (seconds, nanos) in [(1, 1_000_000_000), (1, -1), (-1, 0), (253_402_300_800, 0)] {
        let request = arus_proto::fx::v1::PublishRatesRequest {
            tx_id: "nanos".into(),
            source: arus_proto::fx::v1::RateSource::Ecb.into(),
            as_of: Some(arus_proto::Timestamp { seconds, nanos }),
            rates: vec![arus_proto::fx::v1::PublishedRate {
                base: "EUR".into(),
                quote: "USD".into(),
                mid: "1".into(),
                spread_bps: None,
            }],
        };
        let status = c.fx.publish_rates(request).await.expect_err("beyond range");
        assert!(status.message().contains("as_of"), "{status}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_that_is_broken_is_named_with_a_good_value() {
    let (server, _c) = shop().await;
    let open = |limit: &str| json!({ "owner_id": "bob", "currency": "USD", "overdraft_limit": usd(limit) });
    for sign in ["-0.00", "-0", "-5"] {
        assert!(refused(&server, "/v1/accounts", &open(sign)).await.contains("without sign"), "{sign}");
    }
    let deposit = |amount: String| json!({ "account_id": "ann-usd", "amount": usd(&amount) });
    for zeros in [3, 34, 100] {
        let detail = refused(&server, "/v1/deposits", &deposit(format!("0.{}1", "0".repeat(zeros)))).await;
        assert!(detail.contains("has more fraction digits than USD allows (2), such as 250.00"), "{detail}");
    }
    let detail = refused(&server, "/v1/deposits", &deposit("9".repeat(100))).await;
    assert!(detail.contains("must be at most 10^18 minor units"), "{detail}");
    let rate =
        |mid: &str| json!({ "source": "RATE_SOURCE_ECB", "rates": [{ "base": "EUR", "quote": "USD", "mid": mid }] });
    for mid in [".5", "5.", "-1", "0.00", "1e3"] {
        let detail = refused(&server, "/v1/fx/rates", &rate(mid)).await;
        assert!(detail.contains("plain decimal number greater than zero, such as 1.0835"), "{mid}: {detail}");
    }
    let detail = refused(&server, "/v1/fx/rates", &rate(&format!("1.{}", "0".repeat(29)))).await;
    assert!(detail.contains("at most 18 significant digits and 18 fraction digits"), "{detail}");
    for (path, rule) in [
        (
            "/v1/accounts?owner_id=ann&page_size=abc",
            "page_size \"abc\" must be a whole number that fits its field, such as 50",
        ),
        ("/v1/accounts?owner_id=ann&page_size=99999999999", "must be a whole number that fits its field, such as 50"),
        ("/v1/accounts?owner_id=ann&page_size=", "page_size \"\" must be a whole number"),
        ("/v1/accounts?owner_id=ann&page_size=-1", "a good value is 50"),
    ] {
        let detail = get(server.rest(), path).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(rule), "{detail}");
    }
    let reserve = |expires_in: Value| json!({ "account_id": "ann-usd", "amount": usd("1"), "expires_in": expires_in });
    for expires_in in [json!("1h"), json!("x"), json!(60), json!("1.0000000001s")] {
        let detail = refused(&server, "/v1/reservations", &reserve(expires_in)).await;
        assert!(detail.contains("must be a duration in seconds, such as 60s"), "{detail}");
    }
    let detail = refused(&server, "/v1/reservations", &reserve(json!("-1.5s"))).await;
    assert!(detail.contains("expires_in \"-1.5s\" must be 1 to"), "{detail}");
    let many = vec![json!({}); 1_025];
    let detail = refused(&server, "/v1/payments:batch", &json!({ "payments": many })).await;
    assert_eq!(detail, "invalid request: payments has 1025 payments; send 1 to 1024 at once");
    let detail = refused(&server, "/v1/fx/rates", &json!({ "source": "RATE_SOURCE_ECB" })).await;
    assert_eq!(detail, "invalid request: rates has 0 pairs; publish 1 to 512 at once");
    let metadata: serde_json::Map<_, _> = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
    let body = json!({ "customer_id": "ann", "amount": usd("1"), "metadata": metadata });
    let detail = refused(&server, "/v1/payments", &body).await;
    assert_eq!(detail, "invalid request: metadata has 51 pairs; at most 50 are allowed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_a_wrong_type_is_told_by_field_value_and_example() {
    let (server, _) = Server::start().await;
    for (path, body, rules) in [
        ("/v1/accounts", json!({ "owner_id": 5 }), vec!["owner_id 5 must be a text, such as \"CUST-1\""]),
        ("/v1/accounts", json!({ "currency": ["USD"] }), vec!["currency [\"USD\"] must be a text, such as \"USD\""]),
        (
            "/v1/accounts",
            json!({ "daily_debit_limit": "5" }),
            vec!["daily_debit_limit \"5\" must be an object, such as {\"currency\": \"USD\", \"amount\": \"10.00\"}"],
        ),
        (
            "/v1/payments",
            json!({ "amount": { "amount": 5.5 }, "capture_method": "CAPTURE_METHOD_X", "metadata": [1], "description": 7 }),
            vec![
                "amount.amount 5.5 must be a decimal number as a text, such as \"10.00\"",
                "capture_method \"CAPTURE_METHOD_X\" must be one of CAPTURE_METHOD_AUTOMATIC, CAPTURE_METHOD_MANUAL;",
                "metadata [1] must be an object of texts",
                "description 7 must be a text",
            ],
        ),
        (
            "/v1/fx/rates",
            json!({ "rates": { "base": "EUR" }, "as_of": "yesterday", "source": true }),
            vec![
                "rates {\"base\":\"EUR\"} must be a list, of which each is an object",
                "as_of \"yesterday\" must be a time of RFC 3339",
                "source true must be one of RATE_SOURCE_",
            ],
        ),
        (
            "/v1/fx/rates",
            json!({ "rates": [5, { "mid": 1 }, null, { "base": [] }] }),
            vec!["rates[0] 5 must be an object", "rates[1].mid 1 must", "rates[2] null must", "rates[3].base [] must"],
        ),
        ("/v1/payments", json!({ "metadata": { "a": 1 } }), vec!["metadata.a 1 must be a text, such as \"1001\""]),
        (
            "/v1/payments",
            json!({ "context": { "country": 5 } }),
            vec!["context.country 5 must be a text, such as \"ID\""],
        ),
        ("/v1/payments:batch", json!({ "payments": vec![json!({}); 5_000] }), vec!["payments has 5000 items"]),
        (
            "/v1/payments",
            json!({ "customer_id": "a", "customerId": "a", "amount": { "currency": "USD" } }),
            vec!["customer_id is given as customer_id and as customerId; give it once"],
        ),
        ("/v1/payments", json!({ "\u{1b}[31m": 1 }), vec!["\\u{1b}[31m is not a field here"]),
        ("/v1/payments", json!({ "tx_id": "x".repeat(3_000) }), vec!["tx_id is \"xxx"]),
    ] {
        let answer = post(server.rest(), path, "k", &body).await;
        let detail = answer.problem(400, "INVALID_REQUEST");
        assert!(detail.len() < 700, "{detail}");
        for rule in rules {
            assert!(detail.contains(rule), "{detail} does not say {rule}");
        }
    }
    for (query, rule) in [
        ("customer_id=a&customerId=b", "customer_id is given as customer_id and as customerId; give it once"),
        ("customer_id=a&customer_id=b", "customer_id is \"a\" in the request and \"b\" in the query a second time"),
        ("customer_id=a&account_id=b", "exclude each other; give one of them"),
    ] {
        let detail = get(server.rest(), &format!("/v1/payments?{query}")).await.problem(400, "INVALID_REQUEST");
        assert!(detail.contains(rule), "{detail}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_context_says_is_checked() {
    let (server, c) = shop().await;
    let pay = |context: &Value| json!({ "customer_id": "ann", "destination_account": "shop-usd", "amount": usd("1"), "context": context });
    for (field, value) in [
        ("ip", "not an ip\u{0}\u{1b}[31m"),
        ("ip", "1.2.3"),
        ("mcc", "\u{1f642}"),
        ("mcc", "541"),
        ("country", "UK"),
        ("country", "id"),
        ("billing_country", "ZZ"),
        ("device_id", "a\u{7}"),
        ("channel", "we\nb"),
    ] {
        let body = pay(&json!({ field: value }));
        let detail = refused(&server, "/v1/payments", &body).await;
        assert!(detail.contains(&format!("context.{field}")) && !detail.contains(char::is_control), "{detail}");
        let score = json!({ "customer_id": "ann", "amount": usd("1"), "context": { field: value } });
        let detail = refused(&server, "/v1/risk/score", &score).await;
        assert!(detail.contains(&format!("context.{field}")), "{detail}");
    }
    let good = json!({ "ip": "2001:db8::1", "mcc": "5411", "country": "ID", "billing_country": "GB", "device_id": "a b\u{e9}" });
    assert_eq!(post(server.rest(), "/v1/payments", "good", &pay(&good)).await.status, 201);
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_currency_opens_no_account() {
    let (server, _c) = shop().await;
    for currency in ["BGN", "CUC", "HRK", "SLL", "ZWL", "ANG"] {
        let detail = refused(&server, "/v1/accounts", &json!({ "owner_id": "bob", "currency": currency })).await;
        assert!(detail.contains(&format!("currency \"{currency}\"")), "{detail}");
    }
    // Rates of accounts that go on are published as before.
    let rates = json!({ "source": "RATE_SOURCE_ECB", "rates": [{ "base": "EUR", "quote": "HRK", "mid": "7.5345" }] });
    assert_eq!(post(server.rest(), "/v1/fx/rates", "hrk", &rates).await.status, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_fits_any_client() {
    let (server, mut c) = shop().await;
    let mut all = Vec::new();
    let metadata: std::collections::HashMap<_, _> =
        (0..50).map(|n| (format!("key-{n:02}-{}", "x".repeat(30)), "v".repeat(120))).collect();
    for n in 0..160 {
        let mut request = payment(&format!("p{n:03}"), "ann", "USD", "0.01", "shop-usd");
        (request.metadata, request.description) = (metadata.clone(), "d".repeat(500));
        all.push(c.pay(request).await.expect("decided").payment_id);
    }
    all.reverse();
    let (mut listed, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let of = Some(Of::CustomerId("ann".into()));
        let request = ListPaymentsRequest { of, page_size: 1_000, page_token, ..Default::default() };
        let page = c.payments.list_payments(request).await.expect("a page").into_inner();
        assert!(
            !page.payments.is_empty() && page.encoded_len() <= CLIENT_BYTES_MAX / 4 + 100,
            "{}",
            page.encoded_len()
        );
        pages += 1;
        listed.extend(page.payments.into_iter().map(|payment| payment.payment_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(pages > 1, "it is more than one page");
    assert_eq!(listed, all);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_page_is_as_long_as_asked() {
    let (server, _c) = shop().await;
    let reserve = json!({ "account_id": "ann-usd", "amount": usd("10"), "destination_account": "shop-usd" });
    let reserved = post(server.rest(), "/v1/reservations", "r", &reserve).await.json();
    let id = reserved["reservation"]["reservation_id"].as_str().expect("an id").to_owned();
    let capture = json!({ "amount": usd("4"), "final": true });
    assert_eq!(post(server.rest(), &format!("/v1/reservations/{id}:capture"), "c", &capture).await.status, 201);
    let (mut kinds, mut token) = (Vec::new(), String::new());
    loop {
        let page =
            get(server.rest(), &format!("/v1/accounts/ann-usd/entries?page_size=1&page_token={token}")).await.json();
        let lines = page["entries"].as_array().expect("lines");
        assert_eq!(lines.len(), 1, "{page}");
        kinds.push(lines[0]["kind"].as_str().expect("a kind").to_owned());
        match page["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(kinds, ["LINE_KIND_VOID", "LINE_KIND_SETTLE", "LINE_KIND_AUTHORIZE", "LINE_KIND_CREDIT"]);
    server.stop().await;
}

/// A proxy in front may believe the other of the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_framed_once() {
    let (server, mut c) = shop().await;
    let body = json!({ "customer_id": "ann", "destination_account": "shop-usd", "amount": usd("1") }).to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head =
        "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let (length, coding) = (format!("content-length: {}\r\n", chunked.len()), "transfer-encoding: chunked\r\n");
    for (n, framing) in [format!("{length}{coding}"), format!("{coding}{length}")].iter().enumerate() {
        let request = format!("{head}idempotency-key: twice-{n}\r\n{framing}\r\n{chunked}");
        assert_eq!(http::raw(server.rest(), request.as_bytes()).await.status, 400, "{framing}");
        // It is refused at once, also if no body ever comes that would end it.
        let request = format!("{head}{framing}\r\n");
        assert_eq!(http::raw(server.rest(), request.as_bytes()).await.status, 400, "{framing}");
    }
    assert_eq!(c.balance("shop-usd").await, "0.00");
    let request = format!("{head}idempotency-key: once\r\n{coding}\r\n{chunked}");
    assert_eq!(http::raw(server.rest(), request.as_bytes()).await.status, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_is_required_and_shows_answers() {
    let (server, _c) = shop().await;
    let document = get(server.rest(), "/openapi.json").await.json();
    let required = |schema: &Value| -> Vec<String> {
        schema["required"].as_array().expect("a list").iter().filter_map(|n| n.as_str().map(str::to_owned)).collect()
    };
    let body = |path: &str| &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(required(body("/v1/payments")), ["customer_id", "amount"]);
    assert!(body("/v1/payments")["properties"]["tx_id"].is_object(), "in the header's place");
    assert_eq!(required(body("/v1/fx/rates")), ["source", "rates"]);
    assert_eq!(required(body("/v1/payments:batch")), ["payments"]);
    let create = &document["paths"]["/v1/payments"]["post"];
    assert!(create["responses"]["201"]["headers"]["Idempotent-Replayed"].is_object());
    let key = create["parameters"][0]["schema"]["pattern"].as_str().expect("a pattern");
    assert!(
        key.starts_with(r"^([\x21-\x7e]{1,255}|") && key.contains(r#""[\x20-\x7e]{1,510}""#),
        "bare or in quotes: {key}"
    );
    assert_eq!(body("/v1/payments")["properties"]["description"]["anyOf"][0]["maxLength"], 500);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["common.v1.PaymentContext"]["properties"]["mcc"]["anyOf"][0]["pattern"], "^([0-9]{4})?$");
    for (schema, field) in [
        ("payments.v1.Payment", "payment_id"),
        ("payments.v1.CreatePaymentResponse", "payment"),
        ("wallet.v1.Account", "balance"),
        ("common.v1.Operation", "status"),
        ("fx.v1.Rate", "mid"),
    ] {
        assert!(required(&schemas[schema]).contains(&field.to_owned()), "{schema}: {}", schemas[schema]["required"]);
    }
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for (verb, operation) in verbs.as_object().expect("verbs") {
            let content = &operation["responses"]["200"]["content"];
            match path.as_str() {
                "/v1/events" => {}
                "/healthz" | "/readyz" => assert!(content["text/plain"]["example"].is_string()),
                csv if csv.ends_with(".csv") => assert!(content["text/csv"]["example"].is_string(), "{csv}"),
                _ => assert!(content["application/json"]["example"].is_object(), "{verb} {path} shows no answer"),
            }
            let is_later = operation["responses"]["501"].is_object();
            // A later field, or a transfer coding that is not undone.
            assert_eq!(is_later, verb != "get", "{verb} {path}");
        }
    }
    server.stop().await;
}
