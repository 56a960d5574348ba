//! REST connections that stay: events as payments commit, readers that are slow, callers that send nothing.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{net::SocketAddr, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{LIMIT, Server, http, payment, settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn open(rest: SocketAddr, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(rest).await.expect("it listens");
    socket.write_all(text.as_bytes()).await.expect("it reads");
    socket
}

async fn follow(rest: SocketAddr) -> TcpStream {
    open(rest, "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await
}

/// Reads until the text is there; gives everything back.
async fn read_until(socket: &mut TcpStream, needle: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        let mut some = vec![0; 1 << 16];
        loop {
            let text = String::from_utf8_lossy(&seen).into_owned();
            if text.contains(needle) {
                return text;
            }
            let count = socket.read(&mut some).await.expect("it reads");
            assert!(count > 0, "the stream ended before {needle}: {text}");
            seen.extend_from_slice(&some[..count]);
        }
    };
    tokio::time::timeout(LIMIT, reading).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_seen_as_they_commit() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let mut reader = follow(server.rest()).await;
    let head = read_until(&mut reader, "event: ready").await;
    assert!(head.contains("text/event-stream"), "{head}");
    let paid = c.pay(payment("seen-1", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    let seen = read_until(&mut reader, "\"seen-1\"").await;
    assert!(seen.contains("event: payment") && seen.contains(&format!("id: {}", paid.lsn)), "{seen}");
    assert!(seen.contains(&paid.payment_id), "{seen}");
    let metrics = http::get(server.rest(), "/metrics").await.text();
    assert!(metrics.contains("arus_http_event_readers 1"), "{metrics}");
    drop(reader);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_went_give_their_places_back_while_other_things_commit() {
    let (server, mut c) = Server::start().await;
    let mut reader = follow(server.rest()).await;
    read_until(&mut reader, "event: ready").await;
    drop(reader);
    let given_back = async {
        for n in 0.. {
            // No payment: readers are told nothing of it.
            c.open("ann", &format!("ann-{n}"), "USD").await;
            let metrics = http::get(server.rest(), "/metrics").await.text();
            if metrics.contains("arus_http_event_readers 0") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, given_back).await.expect("its place is given back");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_told_when_the_server_drains() {
    let (server, _) = Server::start().await;
    let mut reader = follow(server.rest()).await;
    read_until(&mut reader, "event: ready").await;
    server.stop().await;
    // The last chunk is empty: the body is complete.
    let end = read_until(&mut reader, "\r\n0\r\n\r\n").await;
    assert!(end.contains("event: dropped") && end.contains("DRAINING"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_and_let_go_and_slows_nobody() {
    let mut settings = settings();
    settings.engine.risk.velocity_per_minute_max = 1_000_000;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "100000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let mut reader = follow(server.rest()).await;
    read_until(&mut reader, "event: ready").await;
    // It reads nothing while far more commits than socket buffers and the watch hold.
    let mut calls = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let mut c = c.clone();
        calls.spawn(async move {
            for n in 0..200 {
                c.pay(payment(&format!("slow-{caller}-{n}"), "ann", "USD", "0.01", "shop-usd")).await.expect("decided");
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("no panic");
    }
    assert_eq!(c.balance("shop-usd").await, "128.00");
    let seen = read_until(&mut reader, "event: dropped").await;
    assert!(seen.contains("TOO_SLOW"), "{}", &seen[seen.len().saturating_sub(500)..]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_given_up() {
    let (server, _) = Server::start().await;
    let head = "POST /v1/payments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut socket = open(server.rest(), head).await;
    let answer = read_until(&mut socket, "BODY_TIMEOUT").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.stop().await;
}

const IDLE: u64 = 10_000;

/// Lets this process have so many files open.
fn raise_files_to(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).unwrap_or_else(|error| {
            panic!("this test opens {files} files and may not ({error}); raise the hard limit (ulimit -Hn)")
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_harm_nobody() {
    // They are all open at this end, and as many as allowed at the other.
    raise_files_to(IDLE + 4_096);
    let (server, mut c) = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        // Beyond the limit the server closes them; that is not an error of the caller.
        idle.extend(TcpStream::connect(server.rest()).await.ok());
    }
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    assert_eq!(c.balance("ann-usd").await, "10.00", "the gRPC ports are unharmed");
    // Silent ones are closed after a while, and then there is room again.
    let answered = async {
        loop {
            let mut socket = open(server.rest(), "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            let mut head = [0; 12];
            if socket.read_exact(&mut head).await.is_ok() {
                return head;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let head = tokio::time::timeout(LIMIT, answered).await.expect("room again");
    assert_eq!(&head, b"HTTP/1.1 200");
    drop(idle);
    server.stop().await;
}
