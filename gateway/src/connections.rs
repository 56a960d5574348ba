//! A bound on the connections of one port. One more is closed at once, so that the client learns of it instead of
//! waiting for an answer that nobody will give. One that says nothing gives its place back soon.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// How long a connection may stay silent at first.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// The connections of a port, at most so many open at once. With `idle_max` a connection is also closed when nothing
/// was read or written for so long: HTTP/1.1 has no pings that would tell.
pub fn limited(
    incoming: TcpIncoming,
    connections_max: usize,
    idle_max: Option<Duration>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(connections_max));
    let mut is_full = false;
    incoming.filter_map(move |stream| match (stream, Arc::clone(&places).try_acquire_owned()) {
        (Ok(stream), Ok(place)) => {
            is_full = false;
            let silent = Some(Box::pin(tokio::time::sleep(SILENT_MAX)));
            Some(Ok(Connection { stream, silent, idle_max, _place: place }))
        }
        (Ok(_), Err(_)) => {
            if !std::mem::replace(&mut is_full, true) {
                tracing::warn!(connections_max, "connections are closed: as many as allowed are open");
            }
            None
        }
        (Err(error), _) => Some(Err(error)),
    })
}

/// An open connection with its place, which is given back when it closes.
pub struct Connection {
    stream: TcpStream,
    /// Runs until the first byte came, or from byte to byte where that is bounded.
    silent: Option<Pin<Box<Sleep>>>,
    idle_max: Option<Duration>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }

    /// Whether nothing came or went for too long; wakes whoever waits here when that is so.
    fn is_silent(&mut self, context: &mut Context<'_>) -> bool {
        self.silent.as_mut().is_some_and(|silent| silent.as_mut().poll(context).is_ready())
    }

    /// What came of reading or writing: who does neither for too long is let go.
    fn noted<T>(&mut self, did: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if did.is_ready() {
            self.heard();
        } else if self.is_silent(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        did
    }

    /// Something came or went.
    fn heard(&mut self) {
        match (&mut self.silent, self.idle_max) {
            (Some(silent), Some(idle_max)) => silent.as_mut().reset(Instant::now() + idle_max),
            (silent, _) => *silent = None,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.noted(read, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.noted(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.noted(written, context)
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
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut open = Box::pin(limited(TcpIncoming::from(listener), 1, Some(Duration::from_millis(200))));
        let _client = TcpStream::connect(address).await.expect("it listens");
        let mut served = open.next().await.expect("one").expect("accepted");
        let write = async {
            loop {
                if let Err(error) = served.write_all(&[0; 1 << 16]).await {
                    return error.kind();
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), write).await.expect("it does not wait for ever");
        assert_eq!(ended, io::ErrorKind::TimedOut);
    }
}
