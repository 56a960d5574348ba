//! REST over real sockets: every route, every status code, every kind of bad input.

mod support;

use serde_json::{Value, json};
use support::{
    Server, http,
    http::{get, post},
    settings,
};

async fn shop(server: &Server) -> std::net::SocketAddr {
    let rest = server.rest();
    for (owner, account, funds) in [("ann", "ann-usd", Some("100.00")), ("shop", "shop-usd", None)] {
        let open = json!({ "account_id": account, "owner_id": owner, "currency": "USD" });
        assert_eq!(post(rest, "/v1/accounts", &format!("open-{account}"), &open).await.status, 201);
        if let Some(amount) = funds {
            let deposit = json!({ "account_id": account, "amount": { "currency": "USD", "amount": amount } });
            assert_eq!(post(rest, "/v1/deposits", &format!("fund-{account}"), &deposit).await.status, 201);
        }
    }
    rest
}

fn pay(amount: &str) -> Value {
    json!({ "customer_id": "ann", "destination_account": "shop-usd", "amount": { "currency": "USD", "amount": amount } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_made_once_and_read_again() {
    let (server, mut c) = Server::start().await;
    let rest = shop(&server).await;
    let first = post(rest, "/v1/payments", "key-1", &pay("12.34")).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, "false"), "{}", first.text());
    let payment = &first.json()["payment"];
    assert_eq!((&payment["status"], &payment["tx_id"]), (&json!("PAYMENT_STATUS_CAPTURED"), &json!("key-1")));
    assert_eq!(payment["debited"], json!({ "currency": "USD", "amount": "12.34" }));
    let again = post(rest, "/v1/payments", "key-1", &pay("12.34")).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, "true"));
    assert_eq!(again.json()["payment"]["payment_id"], payment["payment_id"]);
    assert_eq!(c.balance("ann-usd").await, "87.66", "gRPC sees what REST did");

    let id = payment["payment_id"].as_str().expect("an id");
    assert_eq!(&get(rest, &format!("/v1/payments/{id}")).await.json()["payment"], payment);
    assert_eq!(&get(rest, "/v1/payments/by-tx-id/key-1").await.json()["payment"], payment);
    let list = get(rest, "/v1/payments?customer_id=ann&page_size=1").await.json();
    assert_eq!(list["payments"], json!([payment]));
    assert_eq!(get(rest, "/v1/accounts/ann-usd").await.json()["account"]["balance"]["amount"], "87.66");
    let lines = get(rest, "/v1/accounts/ann-usd/entries").await.json();
    assert_eq!(lines["entries"].as_array().map(Vec::len), Some(2), "{lines}");
    // A decline is an answer, and durable like any other.
    let declined = post(rest, "/v1/payments", "key-2", &pay("1000.00")).await;
    assert_eq!(declined.status, 201);
    assert_eq!(declined.json()["payment"]["failure"]["code"], "FAILURE_CODE_INSUFFICIENT_FUNDS");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_reserved_captured_and_released() {
    let (server, _) = Server::start().await;
    let rest = shop(&server).await;
    let reserve = json!({ "account_id": "ann-usd", "amount": { "currency": "USD", "amount": "20.00" } });
    let reserved = post(rest, "/v1/reservations", "r1", &reserve).await;
    assert_eq!(reserved.status, 201, "{}", reserved.text());
    let id = reserved.json()["reservation"]["reservation_id"].as_str().expect("an id").to_owned();
    let capture = json!({ "amount": { "currency": "USD", "amount": "5.00" }, "destination_account": "shop-usd" });
    let captured = post(rest, &format!("/v1/reservations/{id}:capture"), "c1", &capture).await;
    assert_eq!(captured.status, 201, "{}", captured.text());
    let released = post(rest, &format!("/v1/reservations/{id}:release"), "l1", &json!({})).await;
    assert_eq!(released.status, 201, "{}", released.text());
    assert_eq!(get(rest, "/v1/accounts/ann-usd").await.json()["account"]["available"]["amount"], "95.00");
    post(rest, &format!("/v1/reservations/{id}:steal"), "x1", &json!({})).await.problem(404, "NO_SUCH_PATH");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_risk_and_account_changes_have_their_twins() {
    let (server, _) = Server::start().await;
    let rest = shop(&server).await;
    let rates = json!({ "source": "RATE_SOURCE_LIVE", "rates": [{ "base": "USD", "quote": "IDR", "mid": "16250.5" }] });
    assert_eq!(post(rest, "/v1/fx/rates", "rates-1", &rates).await.status, 201);
    assert_eq!(post(rest, "/v1/fx/rates", "rates-1", &rates).await.status, 200);
    assert_eq!(get(rest, "/v1/fx/rates").await.json()["rates"].as_array().map(Vec::len), Some(1));
    assert_eq!(get(rest, "/v1/fx/rates/USD/IDR").await.status, 200);
    let convert = json!({ "amount": { "currency": "USD", "amount": "1.00" }, "to_currency": "IDR" });
    let headers = ["Content-Type: application/json; charset=utf-8"];
    let converted = http::send(rest, "POST /v1/fx/convert", &headers, convert.to_string().as_bytes()).await;
    assert_eq!((converted.status, converted.header("idempotent-replayed")), (200, ""), "{}", converted.text());
    let score = json!({ "customer_id": "ann", "amount": { "currency": "USD", "amount": "1.00" } });
    let scored = http::send(rest, "POST /v1/risk/score", &headers, score.to_string().as_bytes()).await;
    assert_eq!(scored.status, 200, "{}", scored.text());
    let freeze = json!({ "status": "ACCOUNT_STATUS_FROZEN" }).to_string();
    let headers = ["Content-Type: application/json", "Idempotency-Key: freeze-1"];
    let frozen = http::send(rest, "PATCH /v1/accounts/ann-usd", &headers, freeze.as_bytes()).await;
    assert_eq!(frozen.status, 200, "{}", frozen.text());
    assert_eq!(get(rest, "/v1/accounts/ann-usd").await.json()["account"]["status"], "ACCOUNT_STATUS_FROZEN");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_name() {
    let (server, _) = Server::start().await;
    let rest = shop(&server).await;
    let json_type = ["Content-Type: application/json"];
    let send = |body: &'static str| http::send(rest, "POST /v1/payments", &json_type, body.as_bytes());
    assert!(send("{\"amount\":").await.problem(400, "MALFORMED_JSON").contains("line 1"));
    send("[1]").await.problem(400, "MALFORMED_JSON");
    assert!(send(r#"{"amuont":{}}"#).await.problem(400, "INVALID_REQUEST").contains("amuont"));
    assert!(send(r#"{"amount":{"currency":5}}"#).await.problem(400, "INVALID_REQUEST").contains("amount.currency"));
    assert!(send(r#"{"amount":{"curency":"USD"}}"#).await.problem(400, "INVALID_REQUEST").contains("curency"));
    let rules = send(r#"{"amount":{"currency":"usd","amount":"-1"}}"#).await;
    rules.problem(400, "INVALID_REQUEST");
    let named: Vec<_> = rules.json()["errors"].as_array().expect("errors").iter().map(|e| e["field"].clone()).collect();
    for field in ["Idempotency-Key", "customer_id"] {
        assert!(named.contains(&json!(field)), "{named:?}");
    }
    let text = http::send(rest, "POST /v1/payments", &["Content-Type: text/plain"], b"{}").await;
    assert!(text.problem(415, "UNSUPPORTED_MEDIA_TYPE").contains("text/plain"));
    http::send(rest, "POST /v1/payments", &[], b"{}").await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let twice = ["Content-Type: application/json", "Content-Type: text/plain"];
    http::send(rest, "POST /v1/payments", &twice, b"{}").await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let query = http::send(rest, "POST /v1/payments?source_account=a", &twice[..1], b"{}").await;
    assert!(query.problem(400, "INVALID_REQUEST").contains("source_account stands in the query"));
    let wrong = br#"{"customer_id":5,"amount":{"currency":1,"amount":"2","colour":3},"foo":2}"#;
    let told = http::send(rest, "POST /v1/payments", &twice[..1], wrong).await;
    told.problem(400, "INVALID_REQUEST");
    let mut fields: Vec<_> =
        told.json()["errors"].as_array().expect("errors").iter().map(|e| e["field"].to_string()).collect();
    fields.sort();
    assert_eq!(
        fields,
        [r#""amount.colour""#, r#""amount.currency""#, r#""customer_id""#, r#""foo""#],
        "{}",
        told.text()
    );
    let keyless = http::send(rest, "POST /v1/payments", &twice[..1], b"{}").await;
    assert!(keyless.problem(400, "INVALID_REQUEST").contains("send it as the Idempotency-Key header"));
    let huge = format!("{{\"description\":\"{}\"}}", "x".repeat(2 << 20));
    http::send(rest, "POST /v1/payments", &json_type, huge.as_bytes()).await.problem(413, "MESSAGE_TOO_LARGE");
    let two_keys = json!({ "tx_id": "a", "customer_id": "ann" });
    assert!(post(rest, "/v1/payments", "b", &two_keys).await.problem(400, "INVALID_REQUEST").contains("tx_id"));
    get(rest, "/v1/payments?customer_id=ann&customer_id=bob").await.problem(400, "INVALID_REQUEST");
    assert!(get(rest, "/v1/payments?colour=red").await.problem(400, "INVALID_REQUEST").contains("colour"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_twice_is_not_guessed() {
    let (server, _) = Server::start().await;
    let (rest, json_type) = (server.rest(), ["Content-Type: application/json"]);
    for body in [&br#"{"amount":{"amount":"1.00","amount":"2.00"}}"#[..], br#"{"tx_id":"a","tx_id":"a"}"#] {
        let detail = http::send(rest, "POST /v1/payments", &json_type, body).await.problem(400, "MALFORMED_JSON");
        assert!(detail.contains("is given twice at line 1") && detail.contains("such as"), "{detail}");
    }
    let keys = [json_type[0], "Idempotency-Key: k1", "Idempotency-Key: k2"];
    let detail = http::send(rest, "POST /v1/payments", &keys, b"{}").await.problem(400, "INVALID_REQUEST");
    assert!(detail.contains("k1") && detail.contains("k2"), "{detail}");
    let packed = [json_type[0], "Content-Encoding: gzip"];
    http::send(rest, "POST /v1/payments", &packed, b"{}").await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let spelt = json!({ "txId": "a", "customerId": "ann" });
    let detail = post(rest, "/v1/payments", "b", &spelt).await.problem(400, "INVALID_REQUEST");
    assert!(detail.contains(r#"tx_id is "a" in the request and "b" in the Idempotency-Key header"#), "{detail}");
    get(rest, "/v1/payments?customer_id=ann&customerId=bob").await.problem(400, "INVALID_REQUEST");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_enough_to_refuse_a_body() {
    let (server, _) = Server::start().await;
    let rest = server.rest();
    for kind in ["text/plain", "application/json; charset=utf-16", "application/jsonp", ""] {
        let header = format!("Content-Type: {kind}");
        http::send(rest, "POST /v1/payments", &[&header], b"{}").await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    for kind in ["application/json;charset=\"UTF-8\"", "Application/JSON ; v=1; Charset=utf-8"] {
        let header = format!("Content-Type: {kind}");
        http::send(rest, "POST /v1/payments", &[&header], b"{}").await.problem(400, "INVALID_REQUEST");
    }
    // The rest of these bodies never comes, and is not waited for.
    for (headers, status) in [
        ("content-type: application/json\r\ncontent-length: 2000000", 413),
        ("content-type: text/plain\r\ncontent-length: 2", 415),
    ] {
        let head = format!("POST /v1/payments HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{headers}\r\n\r\n");
        let begun = std::time::Instant::now();
        assert_eq!(http::raw(rest, head.as_bytes()).await.status, status);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    let long = format!("X-Long: {}", "x".repeat(20_000));
    http::send(rest, "GET /healthz", &[&long], &[]).await.problem(431, "HEADERS_TOO_LARGE");
    let path = format!("GET /v1/accounts/{}", "x".repeat(20_000));
    http::send(rest, &path, &[], &[]).await.problem(431, "HEADERS_TOO_LARGE");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_status() {
    let (server, _) = Server::start().await;
    let rest = shop(&server).await;
    get(rest, "/v1/nothing").await.problem(404, "NO_SUCH_PATH");
    assert_eq!(get(rest, "/v1/accounts/nobody").await.status, 404);
    let verb = http::send(rest, "DELETE /v1/payments", &[], &[]).await;
    verb.problem(405, "METHOD_NOT_ALLOWED");
    assert!(verb.header("allow").contains("POST"), "{:?}", verb.headers);
    assert_eq!(post(rest, "/v1/payments", "one", &pay("1.00")).await.status, 201);
    assert!(post(rest, "/v1/payments", "one", &pay("2.00")).await.problem(422, "TX_ID_REUSED").contains("amount"));
    // An id with an encoded slash is one part of the path, and a wrong id.
    assert_eq!(get(rest, "/v1/accounts/a%2Fb").await.status, 404);
    assert_eq!(get(rest, "/v1/accounts/..%2F..%2Fetc").await.status, 404);
    get(rest, "/v1/accounts/%FF").await.problem(400, "INVALID_REQUEST");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_and_drain_say_when_to_come_again() {
    let mut settings = settings();
    settings.engine.in_flight_max = 1;
    let (server, _) = Server::with(settings).await;
    let rest = shop(&server).await;
    let calls: Vec<_> = (0..100)
        .map(|n| tokio::spawn(async move { post(rest, "/v1/payments", &format!("o{n}"), &pay("0.01")).await }))
        .collect();
    let mut refused = 0;
    for call in calls {
        let answer = call.await.expect("no panic");
        if answer.status != 201 {
            answer.problem(429, "TOO_MANY_IN_FLIGHT");
            assert_eq!(answer.header("retry-after"), "1");
            refused += 1;
        }
    }
    assert!(refused > 0, "100 at once do not fit 1");
    assert_eq!(get(rest, "/readyz").await.status, 200);
    server.running.as_ref().expect("it runs").engine().close();
    get(rest, "/readyz").await.problem(503, "DRAINING");
    assert_eq!(get(rest, "/healthz").await.status, 200);
    let draining = post(rest, "/v1/payments", "late", &pay("0.01")).await;
    draining.problem(503, "DRAINING");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_not_trusted() {
    let (server, _) = Server::start().await;
    let rest = server.rest();
    let own = http::send(rest, "GET /healthz", &["X-Request-Id: mine-1"], &[]).await;
    assert_eq!(own.header("x-request-id"), "mine-1");
    let long = format!("X-Request-Id: {}", "x".repeat(100));
    let made = http::send(rest, "GET /healthz", &[&long], &[]).await;
    assert!(made.header("x-request-id").len() == 36, "{:?}", made.headers);
    // A header that would begin another one is refused before anything reads it.
    let head =
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\rset-cookie: b\r\nconnection: close\r\n\r\n";
    let injected = http::raw(rest, head.as_bytes()).await;
    assert_eq!((injected.status, injected.header("set-cookie")), (400, ""));
    assert_eq!(own.header("x-content-type-options"), "nosniff");
    assert!(own.header("content-security-policy").contains("default-src 'self'"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_need_to_be_named() {
    let preflight = ["Origin: https://shop.example", "Access-Control-Request-Method: POST"];
    let (server, _) = Server::start().await;
    let closed = http::send(server.rest(), "OPTIONS /v1/payments", &preflight, &[]).await;
    assert_eq!(closed.header("access-control-allow-origin"), "");
    server.stop().await;
    let mut settings = settings();
    settings.rest.cors_origins = vec!["https://shop.example".into()];
    let (server, _) = Server::with(settings).await;
    let rest = server.rest();
    let open = http::send(rest, "OPTIONS /v1/payments", &preflight, &[]).await;
    assert_eq!((open.status, open.header("access-control-allow-origin")), (200, "https://shop.example"));
    assert!(open.header("access-control-allow-headers").contains("idempotency-key"));
    let other = http::send(rest, "GET /v1/fx/rates", &["Origin: https://evil.example"], &[]).await;
    assert_eq!(other.header("access-control-allow-origin"), "");
    // A page whose name was pointed here (DNS rebinding) changes nothing.
    let own = format!("http://{rest}");
    let by = |origin: &str| vec![format!("Origin: {origin}"), "Content-Type: application/json".into()];
    for origin in [
        "http://evil.example:8080",
        "null",
        "http://8.8.8.8",
        "http://127.0.0.1.evil.example",
        "http://localhost:1",
        "http://evil.example@127.0.0.1",
        "",
    ] {
        let headers = by(origin);
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        http::send(rest, "POST /v1/payments", &headers, b"{}").await.problem(403, "ORIGIN_NOT_ALLOWED");
    }
    for origin in ["https://shop.example", &own] {
        let headers = by(origin);
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        http::send(rest, "POST /v1/payments", &headers, b"{}").await.problem(400, "INVALID_REQUEST");
    }
    // A page of a named site may read what is wrong with its request.
    let named = http::send(rest, "GET /v1/payments?colour=red", &["Origin: https://shop.example"], &[]).await;
    assert_eq!((named.status, named.header("access-control-allow-origin")), (400, "https://shop.example"));
    assert!(named.header("access-control-expose-headers").contains("idempotent-replayed"));
    // Nor does a page of another site read: its requests carry its own name.
    for (host, status) in [
        ("host: evil.example:8080", 421),
        ("host: shop.example", 200),
        ("host: LocalHost:1", 200),
        ("host: [::1]", 200),
        ("accept: */*", 400),
        ("host: localhost\r\nhost: localhost", 400),
        ("host: localhost\r\ntransfer-encoding: gzip, chunked", 501),
    ] {
        let head = format!("GET /v1/fx/rates HTTP/1.1\r\n{host}\r\nconnection: close\r\n\r\n0\r\n\r\n");
        let answer = http::raw(rest, head.as_bytes()).await;
        assert_eq!((answer.status, answer.header("x-content-type-options")), (status, "nosniff"), "{host}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_can_be_left_out() {
    let mut settings = settings();
    settings.rest.enabled = false;
    let (server, mut c) = Server::with(settings).await;
    assert_eq!(server.addresses.rest, None);
    c.account_with("ann", "ann-usd", "USD", "1.00").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_every_route_and_is_packed_if_asked() {
    let (server, _) = Server::start().await;
    let rest = server.rest();
    let plain = get(rest, "/openapi.json").await;
    let document = plain.json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/v1/payments", "/v1/reservations/{reservation_id}:capture", "/v1/fx/convert", "/v1/events"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let packed = http::send(rest, "GET /openapi.json", &["Accept-Encoding: gzip"], &[]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() < plain.body.len() / 4, "{} of {}", packed.body.len(), plain.body.len());
    for refuses_plain in ["identity;q=0", "gzip;q=0, *; q=0.0"] {
        let accepts = format!("Accept-Encoding: {refuses_plain}");
        let answer = http::send(rest, "GET /openapi.json", &[&accepts], &[]).await;
        assert_eq!((answer.status, answer.body.len()), (200, plain.body.len()), "{refuses_plain}");
    }
    assert!(get(rest, "/docs").await.text().contains("/docs/docs.js"));
    assert!(get(rest, "/docs/docs.js").await.text().contains("openapi.json"));
    assert!(get(rest, "/docs/docs.css").await.header("content-type").starts_with("text/css"));
    let metrics = get(rest, "/metrics").await.text();
    assert!(
        metrics.contains(r#"arus_http_requests_total{verb="GET",path="/openapi.json",status="200"} 4"#),
        "{metrics}"
    );
    server.stop().await;
}
