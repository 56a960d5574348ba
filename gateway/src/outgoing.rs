//! The body of every answer: its bytes are counted from here until the connection has written them.
//!
//! The count travels with the bytes: hyper and h2 keep [`Held`], take from it as the socket takes, and drop it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::http::HeaderMap;
use hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::budget::{Caller, Page, Room, call::Call};

/// Bytes that wait for a connection to take them.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Bytes,
    caller: Arc<Caller>,
    /// The period in which they last moved.
    since: usize,
}

impl Held {
    fn new(bytes: Bytes, caller: &Arc<Caller>) -> Self {
        let since = caller.period();
        caller.give(bytes.len(), since);
        Self { bytes, caller: Arc::clone(caller), since }
    }
}

impl Buf for Held {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.since = self.caller.take(count, self.bytes.len(), self.since);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.caller.take(self.bytes.len(), 0, self.since);
        }
    }
}

pin_project! {
    /// An answer on its way.
    pub(crate) struct Answer<B> {
        #[pin]
        body: B,
        call: Call,
        page: Option<Page>,
        room: Option<Room>,
        trailers: fn(&mut HeaderMap),
    }
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, call: Call) -> Self {
        Self { body, call, page: None, room: None, trailers: |_| {} }
    }

    /// Whoever waits to put a page together waits until the bytes of this one are counted.
    pub(crate) fn with_page(mut self, page: Option<Page>) -> Self {
        self.page = page;
        self
    }

    /// What the body holds besides the bytes it has given out.
    pub(crate) fn with_room(mut self, room: Option<Room>) -> Self {
        self.room = room;
        self
    }

    /// What is done with trailers before they go.
    pub(crate) fn with_trailers(mut self, trailers: fn(&mut HeaderMap)) -> Self {
        self.trailers = trailers;
        self
    }
}

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Held;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        let frame = frame.map(|frame| {
            frame.map(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    (this.trailers)(trailers);
                }
                frame.map_data(|bytes| Held::new(bytes, this.call.caller()))
            })
        });
        *this.page = None;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
