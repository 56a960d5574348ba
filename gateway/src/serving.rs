//! One port: takes connections in, serves each until it is done, and lets go whoever keeps a place for nothing.
//!
//! A peer that does not say what it speaks within seconds, that answers no ping, or that takes nothing of its answers is
//! cut. One that has made no call for minutes is told to go (GOAWAY): clients connect again with their next call.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::http::{Request, Response};
use futures_util::{FutureExt, stream::FuturesUnordered};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

use crate::{
    budget::{Budget, Caller, call::Call},
    calls::Calls,
    connection::{Connection, HELLO_MAX},
    connections::{Place, Places, peer},
    framing::Watched,
    outgoing::Held,
};

/// How long a client of HTTP/1.1 may take for the head of a request, and stay silent between two.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(60);
/// What a client of HTTP/1.1 may send ahead of what is read, and how much of an answer is copied ahead of the socket.
const HTTP_BUFFER_BYTES: usize = 96 << 10;
/// What one call may send ahead of what is read. HTTP/2 sees an attack in many unread small frames (by the size of the
/// connection's window), and ends the connection: this is so small that a stream of payments is held back before.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all calls of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How much of a stream's answers is made ahead of what the client takes.
const STREAM_AHEAD_BYTES: usize = 64 << 10;
/// How often HTTP/2 asks whether the peer is there, and how long that may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_MAX: Duration = Duration::from_secs(10);
/// How often a connection is looked at; one that took nothing for three times as long is cut.
const PERIOD: Duration = Duration::from_secs(10);
/// How long a connection that was told to go may take.
const LEAVE_MAX: Duration = Duration::from_secs(10);
/// Why a connection is cut at once.
const TOO_LARGE: &str = "too many calls were open at once, on this connection and on others";
/// A pause after an error of `accept`: there are no files left, which waiting may change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/2 only.
    Grpc,
    /// HTTP/1.1 as well.
    Http,
}

/// The limits of a port.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) wire: Wire,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_peer_max: usize,
    pub(crate) streams_per_connection_max: u32,
    pub(crate) header_bytes_max: u32,
    /// How long a connection may be without a call.
    pub(crate) idle_max: Duration,
    pub(crate) pace: Pace,
}

/// How fast a peer has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    hello_max: Duration,
    ping_interval: Duration,
    ping_max: Duration,
    period: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { hello_max: HELLO_MAX, ping_interval: PING_INTERVAL, ping_max: PING_MAX, period: PERIOD }
    }
}

/// Answers the calls of a port.
pub(crate) trait Serve: Clone + Send + Sync + 'static {
    /// The answer's body.
    type Body: Body<Data = Held, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one call.
    fn serve(
        self,
        request: Request<Incoming>,
        call: Call,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

/// Serves a port until it is told to stop and everybody has left.
pub(crate) async fn serve<S: Serve>(
    listener: TcpListener,
    server: S,
    limits: Limits,
    budget: Arc<Budget>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let places = Places::new(limits.connections_max, limits.connections_per_peer_max);
    let limits = Arc::new(limits);
    let (mut connections, mut stopped) = (JoinSet::new(), stop.clone());
    loop {
        tokio::select! {
            () = told_to(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => if let Some(place) = places.take(from.ip()) {
                    let caller = Caller::new(&budget, peer(from.ip()));
                    let served = Served { server: server.clone(), limits: Arc::clone(&limits) };
                    connections.spawn(served.run(stream, place, caller, stop.clone()));
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Waits for the word to stop.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    // The sender going away is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn builder(limits: &Limits, calls: &Calls) -> Builder<Calls> {
    let mut builder = Builder::new(calls.clone());
    if limits.wire == Wire::Grpc {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_IDLE_MAX)
        .max_buf_size(HTTP_BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_AHEAD_BYTES)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_bytes_max)
        .max_pending_accept_reset_streams(1_024)
        .keep_alive_interval(limits.pace.ping_interval)
        .keep_alive_timeout(limits.pace.ping_max);
    builder
}

/// What one connection is served with.
struct Served<S> {
    server: S,
    limits: Arc<Limits>,
}

impl<S: Serve> Served<S> {
    async fn run(self, stream: TcpStream, place: Place, caller: Arc<Caller>, mut stop: watch::Receiver<bool>) {
        let Pace { hello_max, period, .. } = self.limits.pace;
        // Nagle costs 40 ms.
        let _ = stream.set_nodelay(true);
        let watch = if self.limits.wire == Wire::Http { Watched::new } else { Watched::unwatched };
        let connection = Connection::new(stream, place, hello_max);
        let (outbox, calls) = (connection.outbox(), Calls::default());
        let (stream, http) = (TokioIo::new(watch(connection)), builder(&self.limits, &calls));
        let (server, of) = (self.server, Arc::clone(&caller));
        let service = service_fn(move |request| server.clone().serve(request, of.begin()).map(Ok::<_, Infallible>));
        let mut connection = pin!(http.serve_connection(stream, service));
        let mut under_way = FuturesUnordered::new();
        let mut looks = tokio::time::interval_at(Instant::now() + period, period);
        let (mut idle, mut is_leaving, mut leaves_by) = (Idle::new(), false, None);
        loop {
            tokio::select! {
                ended = poll_fn(|context| {
                    // First what the socket did not take the last time: nothing is read before.
                    if let Poll::Ready(Err(error)) = outbox.poll_send(context) {
                        return Poll::Ready(Err(error.into()));
                    }
                    let ended = calls.poll_all(connection.as_mut(), &mut under_way, context);
                    // Then, at once, all that the connection and its calls have to say now.
                    match outbox.poll_send(context) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                        Poll::Ready(Ok(())) | Poll::Pending if caller.must_go() => Poll::Ready(Err(TOO_LARGE.into())),
                        Poll::Ready(Ok(())) | Poll::Pending => ended,
                    }
                }) => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection failed");
                    }
                    return;
                }
                // The drain says how long that may take.
                () = told_to(&mut stop), if !is_leaving => {
                    connection.as_mut().graceful_shutdown();
                    is_leaving = true;
                }
                now = looks.tick() => {
                    if caller.next_period() {
                        tracing::info!("a connection is cut: nothing of its answers was taken for {:?}", period * 3);
                        return;
                    }
                    if leaves_by.is_some_and(|by| by <= now) && caller.calls().1 == 0 {
                        return;
                    }
                    if !is_leaving && (idle.is_over(&caller, now, self.limits.idle_max) || caller.should_go()) {
                        connection.as_mut().graceful_shutdown();
                        (is_leaving, leaves_by) = (true, Some(now + LEAVE_MAX));
                    }
                }
            }
        }
    }
}

/// Since when a connection has no call.
struct Idle {
    since: Instant,
    calls_begun: usize,
}

impl Idle {
    fn new() -> Self {
        Self { since: Instant::now(), calls_begun: 0 }
    }

    fn is_over(&mut self, caller: &Caller, now: Instant, idle_max: Duration) -> bool {
        let (begun, open) = caller.calls();
        if open > 0 || begun != self.calls_begun {
            (self.since, self.calls_begun) = (now, begun);
        }
        now.duration_since(self.since) >= idle_max
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http_body_util::Full;
    use hyper::body::Bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::{config::GrpcLimits, outgoing::Answer};

    const ANSWER_BYTES: usize = 32 << 20;
    const LIMIT: Duration = Duration::from_secs(20);

    /// Answers everything at length, but `/never`.
    #[derive(Clone)]
    struct Long;

    impl Serve for Long {
        type Body = Answer<Full<Bytes>>;

        async fn serve(self, request: Request<Incoming>, call: Call) -> Response<Self::Body> {
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            Response::new(Answer::new(Full::from(vec![b'x'; ANSWER_BYTES]), call))
        }
    }

    /// A server that is in a hurry; it stops with the sender.
    async fn hurried(idle_max: Duration) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let limits = Limits {
            wire: Wire::Http,
            connections_max: 10,
            connections_per_peer_max: 10,
            streams_per_connection_max: 10,
            header_bytes_max: 16 << 10,
            idle_max,
            pace: Pace {
                hello_max: Duration::from_millis(100),
                ping_interval: Duration::from_millis(200),
                ping_max: Duration::from_millis(200),
                period: Duration::from_millis(100),
            },
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, Long, limits, Budget::new(&GrpcLimits::default()), stopped));
        (address, stop)
    }

    async fn says(address: SocketAddr, text: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        socket.write_all(text).await.expect("it reads");
        socket
    }

    /// How much comes until the server closes.
    async fn read_all(socket: &mut TcpStream, pause: Duration) -> usize {
        let (mut all, mut some) = (0, vec![0; 1 << 20]);
        while let Ok(Ok(count @ 1..)) = timeout(LIMIT, socket.read(&mut some)).await {
            all += count;
            sleep(pause).await;
        }
        all
    }

    fn get(path: &str) -> Request<()> {
        Request::get(format!("http://localhost{path}")).body(()).expect("a request")
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn who_takes_nothing_is_cut_and_who_takes_it_slowly_is_not() {
        let (address, _stop) = hurried(LIMIT).await;
        let mut slow = says(address, GET).await;
        let slow = tokio::spawn(async move { read_all(&mut slow, Duration::from_millis(5)).await });
        let mut stalled = says(address, GET).await;
        sleep(Duration::from_secs(1)).await;
        let read = read_all(&mut stalled, Duration::ZERO).await;
        assert!(read < ANSWER_BYTES, "it was cut: only what the sockets held came, {read}");
        assert!(slow.await.expect("no panic") > ANSWER_BYTES);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_opens_no_window_is_cut() {
        let (address, _stop) = hurried(LIMIT).await;
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let connection = tokio::spawn(connection);
        let mut send = send.ready().await.expect("it takes calls");
        let (answer, _) = send.send_request(get("/"), true).expect("it is sent");
        let _unread = timeout(LIMIT, answer).await.expect("in time").expect("an answer");
        // Its pings are answered all the while.
        let _ = timeout(Duration::from_secs(5), connection).await.expect("it is cut").expect("no panic");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_makes_no_call_is_told_to_go_and_who_waits_for_an_answer_is_not() {
        let (address, _stop) = hurried(Duration::from_millis(300)).await;
        let connect = async || {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let (send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
            (send, tokio::spawn(connection))
        };
        // Dropping a connection's last handle closes it from this end.
        let (_handle, idle) = connect().await;
        let (send, waiting) = connect().await;
        let mut send = send.ready().await.expect("it takes calls");
        let _answer = send.send_request(get("/never"), true).expect("it is sent");
        let ended = timeout(Duration::from_secs(5), idle).await.expect("it is told to go").expect("no panic");
        ended.expect("GOAWAY without an error");
        sleep(Duration::from_millis(500)).await;
        assert!(!waiting.is_finished(), "a call is open");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_says_nothing_or_half_a_preface_or_answers_no_ping_is_closed() {
        let (address, _stop) = hurried(LIMIT).await;
        let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
        for (title, text) in [("nothing", &b""[..]), ("half a preface", b"PRI * HTTP"), ("a preface", settings)] {
            let mut socket = says(address, text).await;
            let closed = timeout(Duration::from_secs(5), read_all(&mut socket, Duration::ZERO)).await;
            closed.unwrap_or_else(|_| unreachable!("{title} holds its place"));
        }
    }
}
