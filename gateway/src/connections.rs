//! A bound on the connections of one port, and on those of one address. One more is closed at once, so that the client
//! learns of it instead of waiting for an answer that nobody will give. One that says nothing gives its place back soon:
//! what counts is what the peer says, for the server of HTTP/2 speaks without being asked.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

/// How long a peer may take to say what it speaks.
pub(crate) const HELLO_MAX: Duration = Duration::from_secs(10);
/// So much it says at least: the preface of HTTP/2, or the head of a request in HTTP/1.1.
const HELLO_BYTES: usize = 24;

/// The places of one port.
pub(crate) struct Places {
    taken: Mutex<Taken>,
    connections_max: usize,
    per_peer_max: usize,
    /// Whether the last one was sent away: it is logged once.
    is_full: AtomicBool,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Places {
    pub(crate) fn new(connections_max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), connections_max, per_peer_max, is_full: AtomicBool::new(false) })
    }

    /// A place for a peer, if there is one.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = peer(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, of_peer) = (taken.all, taken.by_peer.get(&peer).copied().unwrap_or_default());
        if all >= self.connections_max || of_peer >= self.per_peer_max {
            drop(taken);
            if !self.is_full.swap(true, Relaxed) {
                let Self { connections_max, per_peer_max, .. } = **self;
                tracing::warn!(all, connections_max, %peer, of_peer, per_peer_max, "connections are closed: too many are open");
            }
            return None;
        }
        taken.all += 1;
        *taken.by_peer.entry(peer).or_default() += 1;
        self.is_full.store(false, Relaxed);
        Some(Place { places: Arc::clone(self), peer })
    }
}

/// Whom an address stands for: over IPv6 a site has 2^64 of them.
pub(crate) fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// A place, which is given back when its connection closes.
pub(crate) struct Place {
    places: Arc<Places>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_peer) = taken.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Runs until the peer has said what it speaks.
    hello: Option<Pin<Box<Sleep>>>,
    heard_bytes: usize,
    /// The socket takes no more. Nothing is read meanwhile: every call would have an answer that waits.
    is_blocked: bool,
    _place: Place,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, place: Place, hello_max: Duration) -> Self {
        let hello = Some(Box::pin(tokio::time::sleep(hello_max)));
        Self { stream, hello, heard_bytes: 0, is_blocked: false, _place: place }
    }

    /// What came of writing; reads again once the socket takes something.
    fn wrote<T>(&mut self, wrote: Poll<T>, context: &mut Context<'_>) -> Poll<T> {
        if std::mem::replace(&mut self.is_blocked, wrote.is_pending()) && wrote.is_ready() {
            context.waker().wake_by_ref();
        }
        wrote
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_blocked {
            // Whoever made it so waits for the socket to take something.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Some(hello) = &mut this.hello {
            this.heard_bytes += buffer.filled().len() - before;
            if this.heard_bytes >= HELLO_BYTES {
                this.hello = None;
            } else if hello.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.wrote(wrote, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.wrote(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_not_heard_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (stream, peer) = listener.accept().await.expect("a connection");
        let place = Places::new(1, 1).take(peer.ip()).expect("a place");
        let mut served = Connection::new(stream, place, HELLO_MAX);
        client.write_all(&[1; 64]).await.expect("it is sent");
        let full = async { while timeout(Duration::from_millis(100), served.write(&[0; 1 << 16])).await.is_ok() {} };
        timeout(HELLO_MAX, full).await.expect("sockets hold so much and no more");
        let mut some = [0; 64];
        timeout(Duration::from_millis(100), served.read(&mut some)).await.expect_err("it is not read");
        let reader = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
        let again = async {
            served.write_all(&[0]).await.expect("there is room again");
            served.read(&mut some).await.expect("it is read again")
        };
        assert_eq!(timeout(HELLO_MAX, again).await.expect("in time"), 64);
        drop(served);
        reader.await.expect("no panic").expect("it ends");
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_bounded_in_all_and_for_one_address() {
        let places = Places::new(3, 2);
        let mine: Vec<_> = (0..3).filter_map(|_| places.take(address("127.0.0.1"))).collect();
        assert_eq!(mine.len(), 2, "one address has two");
        let other = places.take(address("10.0.0.1")).expect("another has the third");
        assert!(places.take(address("10.0.0.2")).is_none(), "and then all are taken");
        drop(mine);
        assert!(places.take(address("127.0.0.1")).is_some(), "a place comes back");
        drop(other);
        assert!(places.taken.lock().expect("whole").by_peer.is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn the_addresses_of_one_site_are_one_peer() {
        let places = Places::new(9, 1);
        let _first = places.take(address("2001:db8:1:2::1")).expect("a place");
        assert!(places.take(address("2001:db8:1:2:ffff::9")).is_none());
        assert!(places.take(address("2001:db8:1:3::1")).is_some());
        let _fourth = places.take(address("192.0.2.1")).expect("a place");
        assert!(places.take(address("::ffff:192.0.2.1")).is_none(), "IPv4 by another spelling");
    }
}
