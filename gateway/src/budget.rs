//! What callers may keep us holding: calls that are open, and bytes of answers that they do not take.
//!
//! Every connection has a [`Caller`]. A call is admitted before any work, and refused while too many bytes wait for its
//! connection or for all together; bytes count from the moment they are made until the socket has them ([`outgoing`]).
//!
//! [`outgoing`]: crate::outgoing

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    bodies::{self, BODY_MAX, ROOM_PAUSE},
    config::GrpcLimits,
    status::crowded,
};

/// Calls open at once on all ports together.
const CALLS_MAX: usize = 16_384;
/// Of those, calls that stream: they may stay for hours.
const STREAMS_MAX: usize = 512;
/// The same on one connection.
const STREAMS_PER_CONNECTION_MAX: usize = 128;
/// Of calls and of streams one address takes all but one in so many: others always find a place.
const LEFT_TO_OTHERS_ONE_IN: usize = 16;
/// Probes open at once: a few watch a process.
const PROBES_MAX: usize = 1_024;
/// Pages of lists that are put together at once: each is some megabytes, as rows, as a message and as bytes.
const PAGES_MAX: usize = 8;
/// What a header takes beside its name and value.
const HEADER_BYTES: usize = 32;
/// What each item of a list that is asked for at once takes, as long as it is at work.
pub(crate) const ITEM_BYTES: usize = 2 << 10;
/// How many items may come without room of their own: what one command lists.
const FEW_ITEMS: usize = 64;
/// Bytes that wait are counted by the period in which they last moved. A connection whose bytes did not move for all
/// of these but the current one takes nothing.
const PERIODS: usize = 4;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: AtomicUsize,
    calls: AtomicUsize,
    streams: AtomicUsize,
    probes: AtomicUsize,
    pages: Arc<Semaphore>,
    /// Those that have a connection.
    peers: Mutex<HashMap<IpAddr, Weak<Peer>>>,
    bytes_max: usize,
    connection_bytes_max: usize,
}

/// One address, whatever connections it has.
#[derive(Debug, Default)]
struct Peer {
    calls: AtomicUsize,
    streams: AtomicUsize,
    probes: AtomicUsize,
    bodies: bodies::Share,
}

impl Budget {
    pub(crate) fn new(limits: &GrpcLimits) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            peers: Mutex::default(),
            bytes_max: limits.answer_bytes_max,
            connection_bytes_max: limits.answer_bytes_per_connection_max,
        })
    }

    /// The address, as all its connections share it. Addresses are bounded by connections.
    fn peer(&self, address: IpAddr) -> Arc<Peer> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        peers.retain(|_, peer| peer.strong_count() > 0);
        let new = Arc::new(Peer::default());
        peers.insert(address, Arc::downgrade(&new));
        new
    }
}

/// What a call is to the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One question, one answer.
    Unary,
    /// Any number of answers.
    Stream,
    /// Asked by whoever watches the process: let in while others hold everything else.
    Probe,
}

/// One connection, as the budget sees it.
#[derive(Debug)]
pub(crate) struct Caller {
    budget: Arc<Budget>,
    peer: Arc<Peer>,
    bytes: AtomicUsize,
    /// Bytes given to the connection, by the period in which they last moved.
    waiting: [AtomicUsize; PERIODS],
    period: AtomicUsize,
    calls: AtomicUsize,
    calls_begun: AtomicUsize,
    streams: AtomicUsize,
}

impl Caller {
    pub(crate) fn new(budget: &Arc<Budget>, peer: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            budget: Arc::clone(budget),
            peer: budget.peer(peer),
            bytes: AtomicUsize::new(0),
            waiting: [const { AtomicUsize::new(0) }; PERIODS],
            period: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            calls_begun: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        })
    }

    /// A call begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Relaxed);
        self.calls_begun.fetch_add(1, Relaxed);
        self.budget.calls.fetch_add(1, Relaxed);
        self.peer.calls.fetch_add(1, Relaxed);
        Call { caller: Arc::clone(self), kind: Kind::Unary, head: self.peer.bodies.head() }
    }

    /// How many calls began so far, and how many of them are open.
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.calls_begun.load(Relaxed), self.calls.load(Relaxed))
    }

    /// The next period begins. True if something waits that did not move for all the others.
    pub(crate) fn next_period(&self) -> bool {
        let next = (self.period.load(Relaxed) + 1) % PERIODS;
        self.period.store(next, Relaxed);
        self.waiting(next).load(Relaxed) > 0
    }

    pub(crate) fn period(&self) -> usize {
        self.period.load(Relaxed)
    }

    /// So many bytes wait for the connection to take them.
    pub(crate) fn give(&self, bytes: usize, period: usize) {
        self.hold(bytes);
        self.waiting(period).fetch_add(bytes, Relaxed);
    }

    /// Of bytes that wait since a period so many were taken. The rest moved; gives the period it waits since now.
    pub(crate) fn take(&self, bytes: usize, rest: usize, since: usize) -> usize {
        self.release(bytes);
        let now = self.period();
        self.waiting(since).fetch_sub(bytes + rest, Relaxed);
        self.waiting(now).fetch_add(rest, Relaxed);
        now
    }

    /// Room for bytes of an answer that is yet to be made, if there is any; whoever finds none looks again after
    /// [`ROOM_PAUSE`].
    pub(crate) fn room(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        self.check(bytes, Share::Most).is_ok().then(|| self.reserve(bytes))
    }

    /// Waits for room for the items of a list, each of which is work and an answer of its own.
    pub(crate) async fn room_for_items(self: &Arc<Self>, items: usize) -> Result<Option<Room>, Status> {
        if items <= FEW_ITEMS {
            return Ok(None);
        }
        let bytes = items.saturating_mul(ITEM_BYTES);
        let until = tokio::time::Instant::now() + BODY_MAX;
        loop {
            if let Some(room) = self.room(bytes) {
                return Ok(Some(room));
            }
            if tokio::time::Instant::now() >= until {
                self.check(bytes, Share::Most)?;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    /// Counts bytes of an answer as long as they are held.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Room {
        self.hold(bytes);
        Room { caller: Arc::clone(self), bytes }
    }

    /// Room for a body on its way in.
    pub(crate) fn body_room(&self) -> bodies::Room {
        self.peer.bodies.body()
    }

    /// Waits for a turn to put a page together.
    pub(crate) async fn page(&self) -> Result<Page, Status> {
        self.check(0, Share::Most)?;
        let turn = Arc::clone(&self.budget.pages).acquire_owned().await;
        // Those before may have filled it.
        self.check(0, Share::Most)?;
        Ok(Page { _turn: turn.ok() })
    }

    fn check(&self, more: usize, share: Share) -> Result<(), Status> {
        let Budget { bytes_max, connection_bytes_max, bytes: all, .. } = &*self.budget;
        let all_max = match share {
            Share::All => *bytes_max,
            Share::Most => bytes_max / 4 * 3,
        };
        let (mine, all) = (self.bytes.load(Relaxed) + more, all.load(Relaxed) + more);
        if mine > *connection_bytes_max {
            let message = format!(
                "answers of {mine} bytes wait on this connection to be read; allowed: {connection_bytes_max}; read them first"
            );
            return Err(crowded("ANSWERS_NOT_READ", message));
        }
        if all > all_max {
            let message =
                format!("answers of {all} bytes wait on all connections to be read; allowed: {all_max}; try again");
            return Err(crowded("TOO_MANY_ANSWERS", message));
        }
        Ok(())
    }

    fn hold(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.budget.bytes.fetch_add(bytes, Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.budget.bytes.fetch_sub(bytes, Relaxed);
    }

    fn waiting(&self, period: usize) -> &AtomicUsize {
        let [first, ..] = &self.waiting;
        self.waiting.get(period).unwrap_or(first)
    }
}

/// How much of the budget of all may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// By calls whose answers are small.
    All,
    /// By what may be large, so that commands go on when large answers are not read.
    Most,
}

/// An open call. Dropped when its answer is complete, or given up.
#[derive(Debug)]
pub(crate) struct Call {
    caller: Arc<Caller>,
    /// As what it was let in.
    kind: Kind,
    head: bodies::Room,
}

/// What one address takes at most of what there is for all.
fn of_one(max: usize) -> usize {
    max - max / LEFT_TO_OTHERS_ONE_IN
}

impl Call {
    /// Lets the call in with its headers, or says what there is too much of.
    pub(crate) fn admit(&mut self, kind: Kind, headers: &HeaderMap) -> Result<(), Status> {
        self.head.add(headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES).sum())?;
        if kind == Kind::Probe {
            return self.admit_probe();
        }
        let Caller { budget, peer, streams, .. } = &*self.caller;
        let (all, of_peer) = (budget.calls.load(Relaxed), peer.calls.load(Relaxed));
        if all > CALLS_MAX || of_peer > of_one(CALLS_MAX) {
            let message = format!(
                "{all} calls are open, {of_peer} of them from this address; allowed: {CALLS_MAX} and {}; try again",
                of_one(CALLS_MAX)
            );
            return Err(crowded("TOO_MANY_CALLS", message));
        }
        self.caller.check(0, Share::All)?;
        if kind == Kind::Stream {
            self.kind = kind;
            let (mine, all) = (streams.fetch_add(1, Relaxed), budget.streams.fetch_add(1, Relaxed));
            let of_peer = peer.streams.fetch_add(1, Relaxed);
            if mine >= STREAMS_PER_CONNECTION_MAX || of_peer >= of_one(STREAMS_MAX) || all >= STREAMS_MAX {
                let message = format!(
                    "{mine} streams are open on this connection, {of_peer} from this address, {all} in all; allowed: \
                     {STREAMS_PER_CONNECTION_MAX}, {} and {STREAMS_MAX}; end one first",
                    of_one(STREAMS_MAX)
                );
                return Err(crowded("TOO_MANY_STREAMS", message));
            }
        }
        Ok(())
    }

    fn admit_probe(&mut self) -> Result<(), Status> {
        let Caller { budget, peer, .. } = &*self.caller;
        self.kind = Kind::Probe;
        let (all, of_peer) = (budget.probes.fetch_add(1, Relaxed), peer.probes.fetch_add(1, Relaxed));
        if all >= PROBES_MAX || of_peer >= of_one(PROBES_MAX) {
            let message = format!(
                "{all} probes are open, {of_peer} of them from this address; allowed: {PROBES_MAX} and {}; try again",
                of_one(PROBES_MAX)
            );
            return Err(crowded("TOO_MANY_PROBES", message));
        }
        Ok(())
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Caller { budget, peer, calls, streams, .. } = &*self.caller;
        calls.fetch_sub(1, Relaxed);
        budget.calls.fetch_sub(1, Relaxed);
        peer.calls.fetch_sub(1, Relaxed);
        match self.kind {
            Kind::Unary => {}
            Kind::Stream => {
                streams.fetch_sub(1, Relaxed);
                budget.streams.fetch_sub(1, Relaxed);
                peer.streams.fetch_sub(1, Relaxed);
            }
            Kind::Probe => {
                budget.probes.fetch_sub(1, Relaxed);
                peer.probes.fetch_sub(1, Relaxed);
            }
        }
    }
}

/// Bytes of an answer that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    caller: Arc<Caller>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.caller.release(self.bytes);
    }
}

/// A turn to put a page together, until its bytes are counted.
#[derive(Debug)]
pub(crate) struct Page {
    _turn: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn caller(bytes_max: usize, connection_bytes_max: usize) -> (Arc<Budget>, Arc<Caller>) {
        let limits = GrpcLimits {
            answer_bytes_max: bytes_max,
            answer_bytes_per_connection_max: connection_bytes_max,
            ..GrpcLimits::default()
        };
        let budget = Budget::new(&limits);
        (Arc::clone(&budget), Caller::new(&budget, ADDRESS))
    }

    #[test]
    fn what_is_not_read_is_bounded_for_one_and_for_all() {
        let (budget, first) = caller(400, 200);
        let second = Caller::new(&budget, ADDRESS);
        let admitted = |caller: &Arc<Caller>| caller.begin().admit(Kind::Unary, &HeaderMap::new()).is_ok();
        let held = first.reserve(201);
        assert_eq!((admitted(&first), admitted(&second)), (false, true), "one holds too much");
        let more = second.reserve(200);
        assert_eq!((admitted(&first), admitted(&second)), (false, false), "all hold too much");
        assert!(second.begin().admit(Kind::Probe, &HeaderMap::new()).is_ok(), "whoever watches is told all the same");
        drop(held);
        assert_eq!((admitted(&first), admitted(&second)), (true, true));
        drop(more);
        assert_eq!(budget.bytes.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn pages_leave_a_quarter_to_commands() {
        let (_, caller) = caller(400, 400);
        let held = caller.reserve(301);
        assert!(caller.begin().admit(Kind::Unary, &HeaderMap::new()).is_ok());
        caller.page().await.expect_err("too much waits");
        drop(held);
        caller.page().await.expect("there is room");
    }

    #[test]
    fn streams_are_bounded_on_a_connection_and_in_all_and_end() {
        let (budget, caller) = caller(400, 400);
        let open = |caller: &Arc<Caller>, count: usize| {
            let calls = (0..count).map(|_| caller.begin());
            calls
                .filter_map(|mut call| call.admit(Kind::Stream, &HeaderMap::new()).is_ok().then_some(call))
                .collect::<Vec<_>>()
        };
        let mine = open(&caller, 200);
        assert_eq!(mine.len(), STREAMS_PER_CONNECTION_MAX);
        let same: Vec<_> = (0..10).map(|_| open(&Caller::new(&budget, ADDRESS), 100)).collect();
        let of_one = STREAMS_MAX - STREAMS_MAX / LEFT_TO_OTHERS_ONE_IN;
        assert_eq!(mine.len() + same.iter().map(Vec::len).sum::<usize>(), of_one, "one address leaves some to others");
        let others = open(&Caller::new(&budget, IpAddr::from([10, 0, 0, 2])), 100);
        assert_eq!(others.len(), STREAMS_MAX - of_one);
        drop((mine, same, others));
        assert_eq!(open(&caller, 1).len(), 1, "there is room again");
        assert_eq!(caller.calls().1, 0);
    }

    #[test]
    fn what_moves_is_never_called_stalled_and_what_does_not_is() {
        let (_, caller) = caller(400, 400);
        let mut since = caller.period();
        caller.give(100, since);
        for rest in (50..100).rev() {
            assert!(!caller.next_period());
            since = caller.take(1, rest, since);
        }
        let stalled: Vec<_> = (0..PERIODS).map(|_| caller.next_period()).collect();
        assert_eq!(stalled, [false, false, false, true]);
    }
}
