//! One connection: what its peer says, and what is said to it.
//!
//! A peer that says nothing gives its place back soon: what counts is what the peer says, for the server of HTTP/2 speaks
//! without being asked.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::net::{Shutdown, shutdown};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use crate::connections::Place;

/// How long a peer may take to say what it speaks.
pub(crate) const HELLO_MAX: Duration = Duration::from_secs(10);
/// So much it says at least: the preface of HTTP/2, or the head of a request in HTTP/1.1.
const HELLO_BYTES: usize = 24;
/// How much is gathered before it is sent at once.
const GATHERED_BYTES_MAX: usize = 64 << 10;

/// An open connection. What it writes is gathered in its [`Outbox`].
pub(crate) struct Connection {
    outbox: Arc<Outbox>,
    /// Runs until the peer has said what it speaks.
    hello: Option<Pin<Box<Sleep>>>,
    heard_bytes: usize,
    _place: Place,
}

/// The socket of a connection, and what waits to be sent on it: gathered while the connection's task runs and sent at
/// its end, so that one system call takes many answers. A call for each would be the largest cost of a payment.
pub(crate) struct Outbox {
    stream: TcpStream,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
    /// The socket takes no more. Nothing is read meanwhile: every call would have an answer that waits.
    is_blocked: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, place: Place, hello_max: Duration) -> Self {
        let hello = Some(Box::pin(tokio::time::sleep(hello_max)));
        let outbox = Arc::new(Outbox { stream, gathered: Mutex::default() });
        Self { outbox, hello, heard_bytes: 0, _place: place }
    }

    /// Where its task finds what is to be sent.
    pub(crate) fn outbox(&self) -> Arc<Outbox> {
        Arc::clone(&self.outbox)
    }
}

impl Outbox {
    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends all that was gathered, as far as the socket takes it.
    pub(crate) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(&mut self.gathered(), context)
    }

    fn send(&self, gathered: &mut Gathered, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while gathered.sent < gathered.bytes.len() {
            // Asked first each time, as tokio counts how much a task does by it.
            if self.stream.poll_write_ready(context)?.is_pending() {
                gathered.is_blocked = true;
                return Poll::Pending;
            }
            match self.stream.try_write(gathered.bytes.get(gathered.sent..).unwrap_or_default()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => gathered.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        gathered.bytes.clear();
        (gathered.sent, gathered.is_blocked) = (0, false);
        Poll::Ready(Ok(()))
    }

    /// Gathers what there is room for; makes room first if there is none.
    fn gather(&self, slices: &[io::IoSlice<'_>], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut gathered = self.gathered();
        if gathered.bytes.len() >= GATHERED_BYTES_MAX {
            ready!(self.send(&mut gathered, context))?;
        }
        let before = gathered.bytes.len();
        for slice in slices {
            let room = GATHERED_BYTES_MAX.saturating_sub(gathered.bytes.len());
            gathered.bytes.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        Poll::Ready(Ok(gathered.bytes.len() - before))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.outbox.gathered().is_blocked {
            // The task sends first, and comes back here once the socket took it.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        // The readiness is asked first each time: tokio counts by it how much a task does, so that a peer which never
        // stops sending cannot keep a thread for itself.
        let read = loop {
            match this.outbox.stream.poll_read_ready(context) {
                Poll::Ready(Ok(())) => match this.outbox.stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => break Poll::Ready(read.map(drop)),
                },
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
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
        self.outbox.gather(&[io::IoSlice::new(bytes)], context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.gather(slices, context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The task sends what was gathered when it has nothing more to do.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outbox.poll_send(context))?;
        Poll::Ready(shutdown(&self.outbox.stream, Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;
    use crate::connections::Places;

    #[tokio::test]
    async fn who_takes_nothing_is_not_heard_until_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (stream, peer) = listener.accept().await.expect("a connection");
        let place = Places::new(1, 1).take(peer.ip()).expect("a place");
        let mut served = Connection::new(stream, place, HELLO_MAX);
        client.write_all(&[1; 64]).await.expect("it is sent");
        let outbox = served.outbox();
        let full = async { while timeout(Duration::from_millis(100), served.write(&[0; 1 << 16])).await.is_ok() {} };
        timeout(HELLO_MAX, full).await.expect("sockets hold so much and no more");
        let mut some = [0; 64];
        timeout(Duration::from_millis(100), served.read(&mut some)).await.expect_err("it is not read");
        let reader = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
        let again = async {
            poll_fn(|context| outbox.poll_send(context)).await.expect("there is room again");
            served.read(&mut some).await.expect("it is read again")
        };
        assert_eq!(timeout(HELLO_MAX, again).await.expect("in time"), 64);
        drop((served, outbox));
        reader.await.expect("no panic").expect("it ends");
    }
}
