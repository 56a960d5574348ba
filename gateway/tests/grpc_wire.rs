//! What gRPC's framing allows and what it does not: every call hears of us, in our form, and nothing is lost or paid
//! by the way.

mod support;

use std::time::Duration;

use arus_proto::{
    payments::v1::{
        BatchCreatePaymentsRequest, BatchCreatePaymentsResponse, CreatePaymentRequest, GetPaymentRequest,
        PaymentStatus, StreamPaymentsRequest, StreamPaymentsResponse, get_payment_request::By,
    },
    wallet::v1::ListEntriesRequest,
};
use axum::http::Method;
use prost::{Message, bytes::Bytes};
use support::{
    Clients, LIMIT, Server,
    h2::{Line, Told, framed, message, told},
    payment,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

const CREATE: &str = "/payments.v1.PaymentsService/CreatePayment";
const BATCH: &str = "/payments.v1.PaymentsService/BatchCreatePayments";
const STREAM: &str = "/payments.v1.PaymentsService/StreamPayments";

async fn world() -> (Server, Clients) {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    (server, c)
}

fn dollar(key: &str) -> CreatePaymentRequest {
    payment(key, "ann", "USD", "1.00", "shop-usd")
}

fn item(key: &str) -> Bytes {
    StreamPaymentsRequest { payment: Some(dollar(key)) }.encode_to_vec().into()
}

/// Either it was in time, or it says that it was not, as we say it.
fn is_late(told: &Told) -> bool {
    if told.code() == Some(Code::Ok) {
        return false;
    }
    assert_eq!((told.code(), told.reason().as_str()), (Some(Code::DeadlineExceeded), "DEADLINE_EXCEEDED"), "{told:?}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_is_told_as_one_by_every_method() {
    let (server, c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let wallet = Line::open(server.addresses.wallet).await;
    let mut late = 0;
    for n in 0..25 {
        for timeout in ["1n", "1u", "300u", "1m"] {
            let within = [("grpc-timeout", timeout)];
            let paid = line.call(CREATE, &within, message(&dollar(&format!("d-{timeout}-{n}")))).await;
            let get = GetPaymentRequest { by: Some(By::TxId("d-1u-0".into())) };
            let got = line.call("/payments.v1.PaymentsService/GetPayment", &within, message(&get)).await;
            let list = ListEntriesRequest { account_id: "ann-usd".into(), ..Default::default() };
            let listed = wallet.call("/wallet.v1.WalletService/ListEntries", &within, message(&list)).await;
            late += usize::from(is_late(&paid)) + usize::from(is_late(&listed));
            // It may not be there yet.
            late += usize::from(got.code() != Some(Code::NotFound) && is_late(&got));
        }
    }
    assert!(late > 0, "a nanosecond is too short for anything");
    // A message that does not come is waited for until then as well.
    let headers = [("content-type", "application/grpc"), ("grpc-timeout", "100m")];
    let never = told(line.ask_by(Method::POST, CREATE, &headers, None).await).await;
    assert!(is_late(&never));
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_late_gives_the_outcomes_it_has() {
    let (server, mut c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let (mut late, mut paid) = (0, 0);
    for timeout in ["1m", "5m", "20m", "60m", "150m", "9S"] {
        let payments = (0..500).map(|n| dollar(&format!("b-{timeout}-{n}"))).collect();
        let batch = message(&BatchCreatePaymentsRequest { payments });
        let told = line.call(BATCH, &[("grpc-timeout", timeout)], batch).await;
        // So late that not even the batch was there: nothing is decided, and the whole call says so.
        if timeout != "9S" && is_late(&told) {
            late += 500;
            continue;
        }
        assert_eq!(told.code(), Some(Code::Ok), "{timeout}: {told:?}");
        let outcomes = told.messages::<BatchCreatePaymentsResponse>().pop().expect("an answer").outcomes;
        assert_eq!(outcomes.len(), 500);
        for outcome in &outcomes {
            match &outcome.error {
                Some(error) => assert_eq!((error.code, error.reason.as_str()), (4, "DEADLINE_EXCEEDED")),
                None => assert_eq!(outcome.status(), PaymentStatus::Captured),
            }
            *(if outcome.error.is_some() { &mut late } else { &mut paid }) += 1;
        }
    }
    assert!(late > 0 && paid >= 500, "{late} late, {paid} paid");
    c.pay(dollar("after")).await.expect("it goes on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_read_is_told_behind_the_answers_before_it() {
    const ITEMS: usize = 200;
    let (server, mut c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let not_utf8 = Bytes::from_static(&[0x0a, 0x04, 0x0a, 0x02, 0xff, 0xfe]);
    let too_large = Bytes::from(vec![b'y'; 1_100_000]);
    for (kind, bad, reason) in [
        ("not protobuf", Bytes::from_static(&[0xff, 0xff]), "MALFORMED_MESSAGE"),
        ("not UTF-8", not_utf8, "MALFORMED_MESSAGE"),
        ("too large", too_large, "MESSAGE_TOO_LARGE"),
        ("compressed", Bytes::new(), "MALFORMED_MESSAGE"),
        ("torn", Bytes::new(), "MALFORMED_MESSAGE"),
    ] {
        let keys = (0..ITEMS).map(|n| format!("{kind}-{n}").replace(' ', "-"));
        let mut items: Vec<_> = keys.map(|key| item(&key)).collect();
        items.push(bad);
        // What comes behind the bad one is not read.
        items.push(item("behind"));
        let bytes = match kind {
            "compressed" => {
                let (before, after) = (framed(&items[..ITEMS]), framed(&items[ITEMS..]));
                [&before[..], &[1], &after[1..]].concat().into()
            }
            "torn" => framed(&items).split_to(framed(&items[..=ITEMS]).len() + 9),
            _ => framed(&items),
        };
        let told = line.call(STREAM, &[], bytes).await;
        assert_eq!((told.code(), told.reason().as_str()), (Some(Code::InvalidArgument), reason), "{kind}");
        let answers = told.messages::<StreamPaymentsResponse>();
        let paid = answers.iter().filter_map(|answer| answer.outcome.as_ref());
        assert_eq!(paid.filter(|outcome| outcome.status() == PaymentStatus::Captured).count(), ITEMS, "{kind}");
    }
    // Trailers of the caller end its stream as well.
    let (answer, mut body) = line.open_stream(STREAM, &[("content-type", "application/grpc")]).await;
    let torn = framed(&[item("before"), item("torn")]);
    body.send_data(torn.slice(..torn.len() - 5), false).expect("it is sent");
    body.send_trailers(axum::http::HeaderMap::new()).expect("they are sent");
    let told = told(answer).await;
    assert_eq!((told.code(), told.reason().as_str()), (Some(Code::InvalidArgument), "MALFORMED_MESSAGE"));
    assert_eq!(told.messages::<StreamPaymentsResponse>().len(), 1);
    assert_eq!(c.balance("shop-usd").await, format!("{}.00", 5 * ITEMS + 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_its_callers_deadline_behind_its_answers() {
    let (server, c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let headers = [("content-type", "application/grpc"), ("grpc-timeout", "500m")];
    let (answer, mut items) = line.open_stream(STREAM, &headers).await;
    items.send_data(framed(&[item("s-1"), item("s-2")]), false).expect("it is sent");
    let told = told(answer).await;
    assert!(is_late(&told));
    assert_eq!(told.messages::<StreamPaymentsResponse>().len(), 2);
    drop(c);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_pays_nothing() {
    let (server, mut c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let ask = async |method: Method, kind: &[(&str, &str)]| {
        told(line.ask_by(method, CREATE, kind, Some(message(&dollar("none")))).await).await
    };
    for kind in [
        "text/plain",
        "application/json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc+json",
    ] {
        let told = ask(Method::POST, &[("content-type", kind)]).await;
        assert_eq!((told.http, told.code()), (415, None), "{kind}");
        assert!(String::from_utf8_lossy(&told.body).contains(kind), "{told:?}");
    }
    assert_eq!(ask(Method::POST, &[]).await.http, 415);
    for method in [Method::GET, Method::PUT, Method::PATCH] {
        let told = ask(method.clone(), &[("content-type", "application/grpc")]).await;
        assert_eq!((told.http, told.headers["allow"].to_str().ok()), (405, Some("POST")), "{method}");
    }
    assert_eq!(c.balance("shop-usd").await, "0.00");
    let paid = ask(Method::POST, &[("content-type", "application/grpc+proto")]).await;
    assert_eq!(paid.code(), Some(Code::Ok), "its full name");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_call_has_exactly_one_message() {
    let (server, mut c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let one: Bytes = dollar("one").encode_to_vec().into();
    let two = framed(&[one.clone(), dollar("two").encode_to_vec().into()]);
    for (title, body, code, reason) in [
        ("two", two.clone(), Code::Unimplemented, "NOT_ONE_MESSAGE"),
        ("none", Bytes::new(), Code::Unimplemented, "NOT_ONE_MESSAGE"),
        ("half a prefix", two.slice(..3), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("half a message", two.slice(..20), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("compressed", [&[1], &two[1..]].concat().into(), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("of an unknown kind", [&[2], &two[1..]].concat().into(), Code::InvalidArgument, "MALFORMED_MESSAGE"),
        ("one and a half", two.slice(..two.len() - 5), Code::Unimplemented, "NOT_ONE_MESSAGE"),
    ] {
        let told = line.call(CREATE, &[], body).await;
        assert_eq!((told.code(), told.reason().as_str()), (Some(code), reason), "{title}");
    }
    assert_eq!(c.balance("shop-usd").await, "0.00");
    // In pieces it is still one.
    let (answer, mut pieces) = line.open_stream(CREATE, &[("content-type", "application/grpc")]).await;
    let whole = framed(&[one]);
    for at in 0..whole.len() {
        pieces.send_data(whole.slice(at..=at), at + 1 == whole.len()).expect("it is sent");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    assert_eq!(told(answer).await.code(), Some(Code::Ok));
    assert_eq!(c.balance("shop-usd").await, "1.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_errors_and_wrong_ports_are_told_in_our_form() {
    let (server, c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    // `service` is field 1 of HealthCheckRequest.
    let unknown = framed(&[Bytes::from_static(b"\x0a\x04none")]);
    let health = line.call("/grpc.health.v1.Health/Check", &[], unknown).await;
    assert_eq!((health.code(), health.reason().as_str()), (Some(Code::NotFound), "NOT_FOUND"));
    let zipped = line.call(CREATE, &[("grpc-encoding", "gzip")], message(&dollar("z"))).await;
    assert_eq!((zipped.code(), zipped.reason().as_str()), (Some(Code::Unimplemented), "UNSUPPORTED_ENCODING"));
    assert_eq!(zipped.headers["grpc-accept-encoding"], "identity");
    let garbage = line.call("/grpc.health.v1.Health/Check", &[], framed(&[Bytes::from_static(b"\xff\xff")])).await;
    assert_eq!((garbage.code(), garbage.reason().as_str()), (Some(Code::InvalidArgument), "MALFORMED_MESSAGE"));
    // An amount whose currency is not UTF-8: fields 3 and 1.
    let not_utf8 = framed(&[Bytes::from_static(b"\x1a\x03\x0a\x01\xff")]);
    let told = line.call(CREATE, &[], not_utf8).await;
    assert_eq!(told.reason(), "MALFORMED_MESSAGE");
    let named = told.status.and_then(|status| status.get_details_bad_request()).expect("a field").field_violations;
    assert_eq!(named[0].field, "amount.currency");
    let unread = framed(&[Bytes::from_static(b"\xff\xff")]);
    let reflection = line.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &[], unread).await;
    assert_eq!((reflection.code(), reflection.reason().as_str()), (Some(Code::InvalidArgument), "MALFORMED_MESSAGE"));
    let watched = framed(&[Bytes::from_static(b"\x0a\x04none")]);
    let watch = line.call("/grpc.health.v1.Health/Watch", &[("grpc-timeout", "50m")], watched).await;
    assert_eq!((watch.code(), watch.reason().as_str()), (Some(Code::DeadlineExceeded), "DEADLINE_EXCEEDED"));
    let untimed = line.call(CREATE, &[("grpc-timeout", "-1S")], message(&dollar("u"))).await;
    assert_eq!((untimed.code(), untimed.reason().as_str()), (Some(Code::InvalidArgument), "INVALID_TIMEOUT"));
    let elsewhere = line.call("/wallet.v1.WalletService/GetAccount", &[], Bytes::new()).await;
    assert_eq!((elsewhere.code(), elsewhere.reason().as_str()), (Some(Code::Unimplemented), "NO_SUCH_METHOD"));
    let port = server.addresses.wallet.port();
    assert!(elsewhere.message().contains(&format!("WalletService is on {port}")), "{}", elsewhere.message());
    let nothing = line.call("/payments.v1.PaymentsService/PayAll", &[], Bytes::new()).await;
    assert_eq!((nothing.code(), nothing.reason().as_str()), (Some(Code::Unimplemented), "NO_SUCH_METHOD"));
    drop(c);
    server.stop().await;
}

/// As the health checking protocol has it: whoever watches is told at once, of a service that is not here as well.
#[tokio::test(flavor = "multi_thread")]
async fn health_is_watched_also_of_what_is_not_here() {
    let (server, c) = world().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.addresses.fx)).expect("a URI");
    let mut health = HealthClient::new(channel.connect().await.expect("it listens"));
    let mut watched = Vec::new();
    for (service, status) in [
        ("", ServingStatus::Serving),
        ("fx.v1.FxService", ServingStatus::Serving),
        ("wallet.v1.WalletService", ServingStatus::ServiceUnknown),
    ] {
        let ask = HealthCheckRequest { service: service.to_owned() };
        let mut told = health.watch(ask).await.expect("it is watched").into_inner();
        let first = tokio::time::timeout(LIMIT, told.message()).await.expect("at once").expect("no error");
        assert_eq!(first.map(|told| told.status()), Some(status), "{service}");
        watched.push(told);
    }
    let more = tokio::time::timeout(Duration::from_millis(300), watched[2].message()).await;
    assert!(more.is_err(), "it may come yet: {more:?}");
    drop((watched, c));
    server.stop().await;
}

/// A call that its caller gives up does not keep the connection's room.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_left_make_room_for_others() {
    let (server, mut c) = world().await;
    let line = Line::open(server.addresses.payments).await;
    let headers = [("content-type", "application/grpc")];
    let mut open = Vec::new();
    for _ in 0..128 {
        let (answer, items) = line.open_stream(STREAM, &headers).await;
        let head = tokio::time::timeout(LIMIT, answer).await.expect("in time").expect("an answer");
        open.push((head, items));
    }
    let crowded = line.call(STREAM, &[], Bytes::new()).await;
    assert_eq!((crowded.code(), crowded.reason().as_str()), (Some(Code::ResourceExhausted), "TOO_MANY_STREAMS"));
    c.pay(dollar("aside")).await.expect("others go on");
    drop(open);
    let room = async {
        while line.call(STREAM, &[], framed(&[item("room")])).await.code() != Some(Code::Ok) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, room).await.expect("room again");
    server.stop().await;
}
