//! Callers who take places and answers and give nothing back: they are bounded, and nobody else is.

mod support;

use std::{net::SocketAddr, time::Duration};

use arus_proto::payments::v1::{
    BatchCreatePaymentsRequest, CreatePaymentRequest, ListPaymentsRequest, list_payments_request::Of,
};
use axum::http::Method;
use prost::bytes::Bytes;
use support::{
    LIMIT, Server,
    h2::{Line, framed, message, told},
    http, payment, settings,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const LIST: &str = "/payments.v1.PaymentsService/ListPayments";

/// Whether the other end closes within some time.
async fn is_closed(socket: &mut TcpStream, within: Duration) -> bool {
    let mut some = [0; 64];
    let closed = async { while matches!(socket.read(&mut some).await, Ok(1..)) {} };
    tokio::time::timeout(within, closed).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_gives_the_place_back_on_every_port() {
    let mut settings = settings();
    settings.grpc.connections_max = 8;
    let (server, _c) = Server::with(settings).await;
    let ports = [server.addresses.payments, server.addresses.risk, server.rest(), server.addresses.metrics[0]];
    let mut held = Vec::new();
    for port in ports {
        for text in [&b""[..], b"PRI * HTTP/2.0\r\n"].repeat(5) {
            let mut socket = TcpStream::connect(port).await.expect("it listens");
            let _ = socket.write_all(text).await;
            held.push(socket);
        }
    }
    for port in [server.addresses.payments, server.rest()] {
        let mut one_more = TcpStream::connect(port).await.expect("it listens");
        assert!(is_closed(&mut one_more, LIMIT).await, "all places are taken");
    }
    for mut socket in held {
        assert!(is_closed(&mut socket, LIMIT).await, "a silent connection holds its place");
    }
    let line = Line::open(server.addresses.risk).await;
    let health = line.call("/grpc.health.v1.Health/Check", &[], framed(&[Bytes::new()])).await;
    assert_eq!(health.code(), Some(Code::Ok));
    assert_eq!(http::get(server.rest(), "/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_every_place() {
    let mut settings = settings();
    settings.grpc.connections_per_peer_max = 2;
    let (server, _c) = Server::with(settings).await;
    let from = async |address: &str, to: SocketAddr| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(address.parse().expect("an address"), 0)).expect("the loopback has it");
        socket.connect(to).await.expect("it listens")
    };
    let payments = server.addresses.payments;
    let mut second = from("127.0.0.1", payments).await;
    let mut third = from("127.0.0.1", payments).await;
    assert!(is_closed(&mut third, LIMIT).await, "the address has two");
    assert!(!is_closed(&mut second, Duration::from_millis(300)).await);
    let mut other = from("127.0.0.2", payments).await;
    assert!(!is_closed(&mut other, Duration::from_millis(300)).await, "another address has its own");
    server.stop().await;
}

/// Calls that watch the process are let in while others hold everything; so they have a bound of their own.
#[tokio::test(flavor = "multi_thread")]
async fn probes_that_do_not_end_are_bounded() {
    let (server, _c) = Server::start().await;
    let line = Line::open(server.addresses.payments).await;
    let mut held = Vec::new();
    for _ in 0..1_100 {
        let (answer, mut body) =
            line.open_stream("/grpc.health.v1.Health/Check", &[("content-type", "application/grpc")]).await;
        body.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1]), false).expect("it is sent");
        held.push((answer, body));
    }
    let refused = held.split_off(960);
    for (answer, _body) in refused {
        assert_eq!(told(answer).await.reason(), "TOO_MANY_PROBES");
    }
    let too_large = line.call("/grpc.health.v1.Health/Check", &[], framed(&[vec![0; 1_100].into()])).await;
    assert_eq!(too_large.reason(), "TOO_MANY_PROBES");
    drop(held);
    let again = async {
        while line.call("/grpc.health.v1.Health/Check", &[], framed(&[Bytes::new()])).await.code() != Some(Code::Ok) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.expect("places come back");
    let too_large = line.call("/grpc.health.v1.Health/Check", &[], framed(&[vec![0; 1_100].into()])).await;
    assert_eq!(too_large.reason(), "MESSAGE_TOO_LARGE");
    server.stop().await;
}

/// A list of nothing is small on the wire and large once it is read.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_counted_before_they_are_read() {
    let (server, _c) = Server::start().await;
    let line = Line::open(server.addresses.payments).await;
    let empty = Bytes::from([0x0a, 0].repeat(500_000));
    let told = line.call("/payments.v1.PaymentsService/BatchCreatePayments", &[], framed(&[empty])).await;
    assert_eq!((told.code(), told.reason().as_str()), (Some(Code::InvalidArgument), "MESSAGE_TOO_LARGE"));
    assert!(told.message().contains("more than 4096 fields"), "{}", told.message());
    let some = Bytes::from([0x0a, 0].repeat(1_025));
    let told = line.call("/payments.v1.PaymentsService/BatchCreatePayments", &[], framed(&[some])).await;
    assert!(told.message().contains("1025 payments"), "{}", told.message());
    server.stop().await;
}

fn list() -> Bytes {
    let of = Some(Of::CustomerId("ann".into()));
    message(&ListPaymentsRequest { of, page_size: 40, ..Default::default() })
}

/// The status an answer begins with, if it is nothing but one; else the answer, its body unread.
async fn refused(answer: h2::client::ResponseFuture) -> Result<Status, axum::http::Response<h2::RecvStream>> {
    let head = tokio::time::timeout(LIMIT, answer).await.expect("in time").expect("an answer");
    Status::from_header_map(head.headers()).ok_or(head)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_bounded_and_payments_go_on() {
    let mut settings = settings();
    (settings.grpc.answer_bytes_per_connection_max, settings.grpc.answer_bytes_max) = (300_000, 1_200_000);
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    // About 8 KB each: a page of 40 is more than a connection's share.
    let metadata: std::collections::HashMap<_, _> = (0..17).map(|n| (format!("key-{n}"), "v".repeat(450))).collect();
    let long = |n| CreatePaymentRequest {
        metadata: metadata.clone(),
        ..payment(&format!("l{n}"), "ann", "USD", "1.00", "shop-usd")
    };
    let batch = BatchCreatePaymentsRequest { payments: (0..40).map(long).collect() };
    c.payments.batch_create_payments(batch).await.expect("decided");

    let mut lines = Vec::new();
    let (mut reasons, mut unread) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let line = Line::with_windows(server.addresses.payments, 0, 0xffff).await;
        for _ in 0..10 {
            match refused(line.ask(LIST, &[], list()).await).await {
                Ok(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    assert!(status.get_details_retry_info().is_some());
                    reasons.push(Some(status.get_details_error_info().expect("an ErrorInfo").reason));
                }
                Err(head) => {
                    reasons.push(None);
                    unread.push(head);
                }
            }
        }
        lines.push(line);
    }
    let count = |of: Option<&str>| reasons.iter().filter(|reason| reason.as_deref() == of).count();
    // Three quarters of the whole are three pages; the fourth and fifth connection get none.
    assert_eq!((count(None), count(Some("ANSWERS_NOT_READ"))), (3, 27), "{reasons:?}");
    assert_eq!(count(Some("TOO_MANY_ANSWERS")), 20, "{reasons:?}");
    c.pay(payment("on", "ann", "USD", "1.00", "shop-usd")).await.expect("commands have a quarter to themselves");
    assert_eq!(http::get(server.rest(), "/healthz").await.status, 200);
    let rest = http::get(server.rest(), "/v1/payments?customer_id=ann&page_size=1").await;
    rest.problem(429, "TOO_MANY_ANSWERS");
    assert_eq!(rest.header("retry-after"), "1");
    // A batch that finds no room waits as long as its caller does, and is not begun afterwards.
    let items = (0..70).map(|n| payment(&format!("late-{n}"), "ann", "USD", "1.00", "shop-usd"));
    let late = message(&BatchCreatePaymentsRequest { payments: items.collect() });
    let line = Line::open(server.addresses.payments).await;
    let begun = std::time::Instant::now();
    let batch = "/payments.v1.PaymentsService/BatchCreatePayments";
    let late = line.call(batch, &[("grpc-timeout", "300m")], late).await;
    assert_eq!(late.code(), Some(Code::DeadlineExceeded));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop((lines, unread));
    let again = async {
        let line = Line::open(server.addresses.payments).await;
        while told(line.ask(LIST, &[], list()).await).await.code() != Some(Code::Ok) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, again).await.expect("who leaves gives the room back");
    assert_eq!(c.balance("shop-usd").await, "41.00", "nothing of the late batch was paid");
    server.stop().await;
}

/// HTTP/2 keeps the room for all calls that were ever open at once on a connection, also for those that were refused.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_many_calls_are_bounded_together_and_small_ones_are_served() {
    let (server, _c) = Server::start().await;
    let payments = server.addresses.payments;
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    // Refused, and its answer is never taken: the call has no window.
    let ask = async |line: &Line| line.try_ask_by(Method::POST, LIST, &[("content-type", "text/plain")]).await;
    'all: for _ in 0..24 {
        let line = Line::with_windows(payments, 0, 1 << 16).await;
        lines.push(line.clone());
        for _ in 0..4_000 {
            match ask(&line).await {
                Some(answer) => answers.push(answer),
                None => break 'all,
            }
        }
    }
    // The server may still be reading what was sent.
    let cut = async {
        loop {
            for line in &lines {
                match ask(line).await {
                    Some(answer) => answers.push(answer),
                    None => return,
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, cut).await.expect("connections of so many calls are cut");
    for address in ["127.0.0.1", "127.0.0.2"] {
        let status = http::get_from(address, server.rest(), "/readyz").await.status;
        assert_eq!(status, 200, "{address}");
    }
    let line = Line::open(server.addresses.risk).await;
    let health = line.call("/grpc.health.v1.Health/Check", &[], framed(&[Bytes::new()])).await;
    assert_eq!(health.code(), Some(Code::Ok));
    server.stop().await;
}

/// What was refused takes nobody's place, however long its answer waits.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_nobody_reads_take_no_place_of_others() {
    let (server, _c) = Server::start().await;
    let line = Line::with_windows(server.rest(), 0, 1 << 16).await;
    let mut held = Vec::new();
    for _ in 0..1_500 {
        held.push(line.ask_by(Method::GET, "/healthz", &[], Some(Bytes::new())).await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = http::get_from("127.0.0.2", server.rest(), "/readyz").await.status;
    assert_eq!(status, 200, "another address has places of its own");
    drop(held);
    server.stop().await;
}
