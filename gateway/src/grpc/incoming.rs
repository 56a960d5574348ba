//! Messages on their way in, in gRPC's framing: one whole message for a unary call, any number for a stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use prost::encoding::{DecodeContext, decode_key, skip_field};
use tonic::Status;

use crate::{
    bodies::Room,
    status::{flagged, not_one_message, too_large, too_many_fields, torn},
};

/// A flag and the length of the message (gRPC over HTTP/2).
const PREFIX_BYTES: usize = 5;
/// A message up to here comes in one piece as a rule, and is not counted among bodies that are on their way.
const PIECE_BYTES: usize = 16 << 10;

/// More fields than any message here has: a batch of 1,024 payments is the longest list.
const FIELDS_MAX: usize = 4_096;

/// The body of a call that was let in.
pub(crate) enum Asked {
    /// The only message of a unary call.
    Whole(Option<Bytes>),
    /// Messages as they come.
    Stream(Messages),
}

impl Body for Asked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream(messages) => messages.poll_frame(context),
        }
    }
}

/// Reads the one message of a unary call, and gives the room it takes besides. Two are refused, as none is: the caller
/// would never hear of the other.
pub(super) async fn one(mut body: Incoming, bytes_max: usize, mut room: Room) -> Result<(Bytes, Room), Status> {
    let (mut whole, mut pieces) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| Status::from_error(error.into()))?.into_data() else { continue };
        let bytes = data.len();
        if whole.is_empty() && pieces.is_empty() {
            whole = data;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut whole));
            pieces.extend_from_slice(&data);
        }
        let read = if pieces.is_empty() { &whole } else { pieces.as_slice() };
        if let Some(length) = length(read, bytes_max)?
            && read.len() > PREFIX_BYTES + length
        {
            return Err(not_one_message("more than one came"));
        }
        if body.is_end_stream() {
            break;
        }
        // It is waited for with what is there.
        room.add(bytes)?;
    }
    let whole = if pieces.is_empty() { whole } else { pieces.into() };
    match length(&whole, bytes_max)? {
        Some(length) if whole.len() == PREFIX_BYTES + length => Ok((whole, room)),
        None if whole.is_empty() => Err(not_one_message("none came")),
        _ => Err(torn()),
    }
}

/// How many fields the message of a unary call has, which stands behind its prefix: members of lists, most of them. What
/// cannot be read is refused as it is decoded.
pub(super) fn fields(whole: &[u8]) -> Result<usize, Status> {
    let mut rest = whole.get(PREFIX_BYTES..).unwrap_or_default();
    let mut fields = 0;
    while !rest.is_empty() {
        let skipped =
            decode_key(&mut rest).and_then(|(tag, wire)| skip_field(wire, tag, &mut rest, DecodeContext::default()));
        if skipped.is_err() {
            return Ok(fields);
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(too_many_fields(FIELDS_MAX));
        }
    }
    Ok(fields)
}

/// The length a message says it has, once that is read. Messages come as they are: the gate refuses encodings.
fn length(read: &[u8], bytes_max: usize) -> Result<Option<usize>, Status> {
    let Some([flag, length @ ..]) = read.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    if *flag != 0 {
        return Err(flagged(*flag));
    }
    let fits = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= bytes_max);
    fits.map(Some).ok_or_else(|| too_large(bytes_max))
}

/// The messages of a stream. Whatever came before a message that is too large is passed on before that is told.
pub(crate) struct Messages {
    body: Incoming,
    bytes_max: usize,
    /// The prefix under way.
    prefix: Vec<u8>,
    /// What is missing of the message under way, and the room it takes.
    missing_bytes: usize,
    room: Room,
    failed: Option<Status>,
}

impl Messages {
    pub(super) fn new(body: Incoming, bytes_max: usize, room: Room) -> Self {
        let prefix = Vec::with_capacity(PREFIX_BYTES);
        Self { body, bytes_max, prefix, missing_bytes: 0, room, failed: None }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(status) = self.failed.take() {
            return Poll::Ready(Some(Err(status)));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(self.end().map(Err));
        };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        // A caller's trailers end what it asks, and say nothing more.
        let Ok(data) = frame.into_data() else { return Poll::Ready(self.end().map(Err)) };
        let (good, read) = self.read(&data);
        match read {
            Ok(()) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Err(status) => {
                self.failed = Some(status);
                Poll::Ready(Some(Ok(Frame::data(data.slice(..good)))))
            }
        }
    }

    /// What is wrong with an end here, if it is within a message.
    fn end(&mut self) -> Option<Status> {
        let is_torn = self.missing_bytes > 0 || !self.prefix.is_empty();
        (self.missing_bytes, self.prefix) = (0, Vec::new());
        is_torn.then(torn)
    }

    /// The length of the message that begins, once its prefix is read, with the room it takes.
    fn begin(&mut self) -> Result<Option<usize>, Status> {
        let Some(length) = length(&self.prefix, self.bytes_max)? else { return Ok(None) };
        self.prefix.clear();
        if length > PIECE_BYTES {
            self.room.add(length)?;
        }
        Ok(Some(length))
    }

    /// Follows the framing; gives how much of it belongs to messages that may be passed on.
    fn read(&mut self, data: &[u8]) -> (usize, Result<(), Status>) {
        let mut rest = data;
        let mut good = 0;
        while !rest.is_empty() {
            if self.missing_bytes == 0 {
                let (prefix, after) = rest.split_at((PREFIX_BYTES - self.prefix.len()).min(rest.len()));
                self.prefix.extend_from_slice(prefix);
                rest = after;
                match self.begin() {
                    Ok(Some(length)) => self.missing_bytes = length,
                    Ok(None) => break,
                    Err(status) => return (good, Err(status)),
                }
            }
            let taken = self.missing_bytes.min(rest.len());
            rest = rest.split_at(taken).1;
            self.missing_bytes -= taken;
            if self.missing_bytes == 0 {
                self.room.free();
                good = data.len() - rest.len();
            }
        }
        (data.len(), Ok(()))
    }
}
