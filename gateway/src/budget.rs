//! What callers may keep us holding: calls that are open, and bytes of answers that they do not take.
//!
//! Every connection has a [`Caller`]. A call is admitted before any work, and refused while too many bytes wait for its
//! connection or for all together; bytes count from the moment they are made until the socket has them ([`outgoing`]).
//!
//! [`outgoing`]: crate::outgoing

pub(crate) mod call;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    bodies::{self, BODY_MAX, ROOM_PAUSE},
    config::GrpcLimits,
    status::crowded,
};

/// Of calls and of streams one address takes all but one in so many: others always find a place.
const LEFT_TO_OTHERS_ONE_IN: usize = 16;
/// How many calls all connections had open at once, each at its peak, let in or not: some 4 KiB each, as long as the
/// connection lasts.
const PEAKS_MAX: usize = 65_536;
/// A connection of so few counts for nothing.
const SMALL_PEAK: usize = 16;
/// Pages of lists that are put together at once: each is some megabytes, as rows, as a message and as bytes.
const PAGES_MAX: usize = 8;
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
    peaks: AtomicUsize,
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
    peaks: AtomicUsize,
    bodies: bodies::Share,
}

impl Budget {
    pub(crate) fn new(limits: &GrpcLimits) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            peaks: AtomicUsize::new(0),
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
    /// How many calls were open at once at most, let in or not.
    peak: AtomicUsize,
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
            peak: AtomicUsize::new(0),
        })
    }

    /// So many calls are open at once. HTTP/2 keeps the room for as many as long as the connection lasts, so all
    /// connections' peaks are bounded together.
    fn note_open(&self, open: usize) {
        let more = open.saturating_sub(self.peak.fetch_max(open, Relaxed));
        if more > 0 {
            self.budget.peaks.fetch_add(more, Relaxed);
            self.peer.peaks.fetch_add(more, Relaxed);
        }
    }

    /// Whether the connection should be told to go: it had many calls open at once, and so had others.
    pub(crate) fn should_go(&self) -> bool {
        self.is_large_beside(PEAKS_MAX / 2)
    }

    /// Whether the connection has to be cut: there are twice as many.
    pub(crate) fn must_go(&self) -> bool {
        self.is_large_beside(PEAKS_MAX)
    }

    fn is_large_beside(&self, max: usize) -> bool {
        let Self { budget, peer, peak, .. } = self;
        peak.load(Relaxed) > SMALL_PEAK && (budget.peaks.load(Relaxed) > max || peer.peaks.load(Relaxed) > of_one(max))
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

/// What one address takes at most of what there is for all.
fn of_one(max: usize) -> usize {
    max - max / LEFT_TO_OTHERS_ONE_IN
}

impl Drop for Caller {
    fn drop(&mut self) {
        let peak = self.peak.load(Relaxed);
        self.budget.peaks.fetch_sub(peak, Relaxed);
        self.peer.peaks.fetch_sub(peak, Relaxed);
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
    use axum::http::HeaderMap;

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
