//! The bound on bodies of all connections of one address, and of all together: of the process, so this test has one of
//! its own.

mod support;

use std::time::Duration;

use support::{
    LIMIT, Server,
    h2::{Line, told},
    http,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_end_are_bounded_and_leave_room_for_others() {
    let (server, mut c) = Server::start().await;
    let head = "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(server.rest()).await.expect("it listens");
        socket.write_all(head.as_bytes()).await.expect("it reads");
        callers.spawn(async move {
            // Some are refused and closed before they have sent this.
            let _ = socket.write_all(&vec![b' '; 900_000]).await;
            let mut answer = [0; 12];
            // Whoever has room waits for its last bytes.
            let read = tokio::time::timeout(Duration::from_secs(6), socket.read_exact(&mut answer)).await;
            (socket, matches!(read, Ok(Ok(_)) if &answer == b"HTTP/1.1 429"))
        });
    }
    let done = callers.join_all().await;
    let refused = done.iter().filter(|(_, refused)| *refused).count();
    // 24 MiB hold 27 of them.
    assert!((70..=80).contains(&refused), "{refused} of 100 were refused");
    // Somebody else's body comes in pieces and is read to its end.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.2:0".parse().expect("an address")).expect("it is ours");
    let mut other = socket.connect(server.rest()).await.expect("it listens");
    other.write_all(head.as_bytes()).await.expect("it reads");
    other.write_all(&vec![b' '; 1_000_000]).await.expect("it reads");
    let mut answer = [0; 12];
    other.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 400", "spaces are no request");
    // What is small needs no room, whoever took it.
    let small = http::post(server.rest(), "/v1/payments", "small", &serde_json::json!({})).await;
    assert_eq!(small.status, 400, "{}", small.text());
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    assert_eq!(c.balance("ann-usd").await, "10.00", "the gRPC ports are unharmed");
    drop(done);
    let answered = async {
        // The room of those who left is given back.
        let large = serde_json::json!({ "description": "x".repeat(400_000) });
        while http::post(server.rest(), "/v1/payments", "k", &large).await.status != 400 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, answered).await.expect("room again");
    grpc_messages_that_do_not_end(&server).await;
    c.balance("ann-usd").await;
    server.stop().await;
}

/// Messages of unary calls and of streams take of the same room.
async fn grpc_messages_that_do_not_end(server: &Server) {
    let mut kept = Vec::new();
    let mut refused = 0;
    // A connection's window holds some of them.
    for _ in 0..20 {
        let line = Line::open(server.addresses.payments).await;
        for path in ["CreatePayment", "StreamPayments"].repeat(2) {
            let path = format!("/payments.v1.PaymentsService/{path}");
            let (answer, mut body) = line.open_stream(&path, &[("content-type", "application/grpc")]).await;
            let mut message = vec![0, 0, 0x0f, 0x42, 0x40];
            message.resize(900_000, b' ');
            body.send_data(message.into(), false).expect("it is sent");
            kept.push((answer, body));
        }
    }
    // Those with room are told nothing: all are waited for at once.
    let until = tokio::time::Instant::now() + Duration::from_secs(6);
    for (answer, _body) in kept {
        let answer = tokio::time::timeout_at(until, told(answer)).await;
        refused += usize::from(answer.is_ok_and(|told| told.reason() == "BODIES"));
    }
    assert!((35..=60).contains(&refused), "{refused} of 80 were refused");
}
