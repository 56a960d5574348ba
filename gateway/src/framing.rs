//! Where an HTTP/1.1 request ends must not be a matter of taste: one with `Content-Length` and `Transfer-Encoding` is
//! refused, since a proxy in front may believe the other of the two (request smuggling; RFC 9112, 6.1).
//!
//! hyper drops the length before any of our code sees the request, so the bytes are looked at here, on their way in.
//! The end of such a head is made unreadable, and hyper answers 400 and closes, as for anything that is not HTTP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line that is looked at; hyper takes no longer head.
const LINE_BYTES_MAX: usize = 1 << 19;
/// What stands where the end of a refused head stood: no head has it anywhere.
const UNREADABLE: u8 = 0;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
struct Framing {
    state: State,
    line: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or on the first line of a request.
    #[default]
    Begin,
    /// Among the headers.
    Headers { length: Option<u64>, is_chunked: bool },
    /// So many bytes of a body, or of a chunk, are still to come.
    Body { left: u64, after: After },
    /// On the line that says how long the next chunk is.
    ChunkSize,
    /// On the line that ends a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// HTTP/2, or what hyper refuses by itself.
    Unwatched,
}

/// What follows a stretch of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Request,
    Chunk,
}

impl Framing {
    /// Looks at the next bytes, and makes the end of a head unreadable that frames its body twice.
    fn watch(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Unwatched => return,
                State::Body { left, after } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - here as u64;
                    self.state = match (left, after) {
                        (1.., _) => State::Body { left, after },
                        (0, After::Request) => State::Begin,
                        (0, After::Chunk) => State::ChunkEnd,
                    };
                    bytes = bytes.split_at_mut(here).1;
                }
                _ => {
                    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
                    let (line, rest) = bytes.split_at_mut(end);
                    self.take(line);
                    bytes = rest;
                }
            }
        }
    }

    /// Takes a line, or the beginning of one.
    fn take(&mut self, bytes: &mut [u8]) {
        self.line.extend_from_slice(bytes);
        if self.line.len() > LINE_BYTES_MAX {
            self.state = State::Unwatched;
        }
        if bytes.last() != Some(&b'\n') {
            return;
        }
        let line = std::mem::take(&mut self.line);
        match self.next(line.trim_ascii_end()) {
            Some(state) => self.state = state,
            None => {
                // Within the line, so that the head still ends where it did: else its end would be waited for.
                let within = bytes.trim_ascii_end().len().saturating_sub(1);
                if let Some(byte) = bytes.get_mut(within) {
                    *byte = UNREADABLE;
                }
                self.state = State::Unwatched;
            }
        }
    }

    /// What comes after a line; `None` where a head frames its body a second time.
    fn next(&self, line: &[u8]) -> Option<State> {
        Some(match self.state {
            State::Begin | State::Trailers if line.is_empty() => State::Begin,
            State::Begin if line.starts_with(b"PRI * HTTP/2") => State::Unwatched,
            State::Begin => State::Headers { length: None, is_chunked: false },
            State::Headers { length, is_chunked } if line.is_empty() => match (length, is_chunked) {
                (_, true) => State::ChunkSize,
                (Some(left @ 1..), false) => State::Body { left, after: After::Request },
                (Some(0) | None, false) => State::Begin,
            },
            State::Headers { length, is_chunked } => {
                let mut parts = line.splitn(2, |byte| *byte == b':');
                let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                if name.eq_ignore_ascii_case(b"content-length") {
                    let value = std::str::from_utf8(value).unwrap_or_default();
                    if is_chunked {
                        return None;
                    }
                    State::Headers { length: Some(value.trim().parse().unwrap_or_default()), is_chunked }
                } else {
                    let is_coding = name.eq_ignore_ascii_case(b"transfer-encoding");
                    if is_coding && length.is_some() {
                        return None;
                    }
                    State::Headers { length, is_chunked: is_chunked || is_coding }
                }
            }
            State::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                match size {
                    Some(0) => State::Trailers,
                    Some(left) => State::Body { left, after: After::Chunk },
                    None => State::Unwatched,
                }
            }
            State::ChunkEnd => State::ChunkSize,
            State::Trailers => State::Trailers,
            State::Body { .. } | State::Unwatched => self.state,
        })
    }
}

/// A connection whose requests are followed.
pub struct Watched<C> {
    connection: C,
    framing: Framing,
}

impl<C> Watched<C> {
    /// Follows a connection from its beginning.
    pub fn new(connection: C) -> Self {
        Self { connection, framing: Framing::default() }
    }

    /// Leaves a connection alone: it is no HTTP/1.1.
    pub fn unwatched(connection: C) -> Self {
        let framing = Framing { state: State::Unwatched, line: Vec::new() };
        Self { connection, framing }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.connection).poll_read(context, buffer))?;
        if let Some(read) = buffer.filled_mut().get_mut(before..) {
            this.framing.watch(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether anything of it was made unreadable, however it is cut.
    fn is_refused(text: &str) -> bool {
        let refused = [1, 7, text.len()].map(|size| {
            let (mut framing, mut bytes) = (Framing::default(), text.as_bytes().to_vec());
            bytes.chunks_mut(size).for_each(|part| framing.watch(part));
            bytes.contains(&UNREADABLE)
        });
        assert!(refused.iter().all(|one| *one == refused[0]), "{text:?}: {refused:?}");
        refused[0]
    }

    #[test]
    fn a_request_is_framed_once() {
        let length = "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n";
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for fine in [length, chunked, get, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert!(!is_refused(fine), "{fine:?}");
        }
        assert!(!is_refused(&[length, get, chunked, length, chunked, get].concat()));
        // What a body says is no head.
        let body = "POST / HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(!is_refused(&format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())));
        for twice in [
            "POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nx: y\r\ncontent-length:2\r\n\r\n{}",
            "POST / HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 0\n\n",
        ] {
            assert!(is_refused(twice), "{twice:?}");
            assert!(is_refused(&[length, chunked, get, twice].concat()), "behind others: {twice:?}");
        }
    }
}
