//! HTTP/1.1 as bytes, so that a test can send what no client library would.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::LIMIT;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Checks that it is a problem with this status and reason, and gives its detail.
    pub fn problem(&self, status: u16, reason: &str) -> String {
        let problem = self.json();
        assert_eq!((self.status, problem["reason"].as_str()), (status, Some(reason)), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request with these header lines and body; `Host`, `Content-Length` and `Connection: close` are added.
pub async fn send(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut text = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text += "\r\n";
    raw(address, &[text.as_bytes(), body].concat()).await
}

/// GET from one of the loopback's addresses.
pub async fn get_from(from: &str, address: SocketAddr, path: &str) -> Answer {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("the loopback has it");
    let socket = socket.connect(address).await.expect("it listens");
    let text = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    exchange(socket, text.as_bytes()).await
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), &[], &[]).await
}

/// A command under a key, as JSON.
pub async fn post(address: SocketAddr, path: &str, key: &str, body: &Value) -> Answer {
    let (key, json) = (format!("Idempotency-Key: {key}"), "Content-Type: application/json");
    send(address, &format!("POST {path}"), &[&key, json], body.to_string().as_bytes()).await
}

/// Sends bytes and reads until the server closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    exchange(TcpStream::connect(address).await.expect("it listens"), bytes).await
}

async fn exchange(mut socket: TcpStream, bytes: &[u8]) -> Answer {
    let exchange = async {
        // A server may answer and close before it has read everything.
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        answer
    };
    parse(&tokio::time::timeout(LIMIT, exchange).await.expect("an answer in time"))
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == "chunked" {
        answer.body = unchunked(&answer.body);
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).expect("a chunk's size");
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    body
}
