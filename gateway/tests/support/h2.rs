//! gRPC as frames of HTTP/2, so that a test can send what no client library would, and not read what it is sent.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, Request};
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use prost::{
    Message,
    bytes::{BufMut, Bytes, BytesMut},
};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::LIMIT;

/// What came back.
#[derive(Debug)]
pub struct Told {
    pub http: u16,
    pub headers: HeaderMap,
    /// None if there was no gRPC status.
    pub status: Option<Status>,
    pub body: Bytes,
}

impl Told {
    pub fn code(&self) -> Option<Code> {
        self.status.as_ref().map(Status::code)
    }

    /// The reason in the details; empty if there are none.
    pub fn reason(&self) -> String {
        let info = self.status.as_ref().and_then(StatusExt::get_details_error_info);
        info.map(|info| info.reason).unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.status.as_ref().map_or("", Status::message)
    }

    /// The messages of the body.
    pub fn messages<M: Message + Default>(&self) -> Vec<M> {
        let mut rest = self.body.as_ref();
        let mut messages = Vec::new();
        while rest.len() >= 5 {
            let length = u32::from_be_bytes(rest[1..5].try_into().expect("four bytes")) as usize;
            messages.push(M::decode(&rest[5..5 + length]).expect("a message"));
            rest = &rest[5 + length..];
        }
        messages
    }
}

/// Messages in gRPC's framing.
pub fn framed(messages: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for message in messages {
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.len()).expect("it is short"));
        bytes.put_slice(message);
    }
    bytes.freeze()
}

/// One message in gRPC's framing.
pub fn message(message: &impl Message) -> Bytes {
    framed(&[message.encode_to_vec().into()])
}

/// A connection.
#[derive(Clone)]
pub struct Line(SendRequest<Bytes>);

impl Line {
    pub async fn open(address: SocketAddr) -> Self {
        Self::with_windows(address, 1 << 20, 1 << 20).await
    }

    /// With how much the server may send unasked, on one call and on all.
    pub async fn with_windows(address: SocketAddr, call: u32, all: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(call).initial_connection_window_size(all);
        let (send, connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        Self(send)
    }

    /// Sends a call whose body is complete; its answer may be read or not.
    pub async fn ask(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> ResponseFuture {
        self.ask_by(Method::POST, path, &[headers, &[("content-type", "application/grpc")]].concat(), Some(body)).await
    }

    /// Without a body the call stays open.
    pub async fn ask_by(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> ResponseFuture {
        let (answer, mut stream) = self.begin(method, path, headers).await;
        match body {
            // It may be answered already: then nobody wants the body any more.
            Some(body) => drop(stream.send_data(body, true)),
            // Dropped, the call would be reset.
            None => std::mem::forget(stream),
        }
        answer
    }

    /// The same of a complete call, where the connection may be cut.
    pub async fn try_ask_by(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Option<ResponseFuture> {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.ready().await.ok()?;
        send.send_request(request.body(()).expect("a request"), true).ok().map(|(answer, _)| answer)
    }

    /// A call whose messages the test sends.
    pub async fn open_stream(&self, path: &str, headers: &[(&str, &str)]) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin(Method::POST, path, headers).await
    }

    async fn ready(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        tokio::time::timeout(LIMIT, self.0.clone().ready()).await.expect("it takes calls in time")
    }

    async fn begin(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.ready().await.expect("it takes calls");
        send.send_request(request.body(()).expect("a request"), false).expect("it is sent")
    }

    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Told {
        told(self.ask(path, headers, body).await).await
    }
}

/// Reads an answer whole.
pub async fn told(answer: ResponseFuture) -> Told {
    let read = async {
        let response = answer.await.expect("an answer");
        let (parts, mut stream) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(data) = stream.data().await {
            let data = data.expect("it is whole");
            let _ = stream.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await.expect("it ends well");
        let status = trailers.as_ref().map_or(&parts.headers, |trailers| trailers);
        let status = status.contains_key("grpc-status").then(|| Status::from_header_map(status)).flatten();
        Told { http: parts.status.as_u16(), headers: parts.headers, status, body: body.freeze() }
    };
    tokio::time::timeout(LIMIT, read).await.expect("an answer in time")
}
