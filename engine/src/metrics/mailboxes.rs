//! What is counted of mailboxes and actors: hot counters are sharded by thread, so two arbiters never write one cache line.
//!
//! Depth is exact; wait and handler times are sampled, one message in [`SAMPLE_ONE_IN`], and so is the highest depth.
//! Cells are of the process: one engine runs in it.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::histogram::{Peak, Reader, Times};
use crate::trace::Trace;

/// One message in so many is timed, and every one of a traced command.
pub const SAMPLE_ONE_IN: u64 = 64;
/// Up to this depth every send looks whether it is the highest, so that a quiet server shows what little waits.
const EXACT_DEPTH: u64 = 8;
/// Threads share a shard beyond this.
const SHARDS: usize = 8;
/// The kinds of actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// One per command in flight.
    Payment,
    /// One per resident account.
    Wallet,
    /// One per currency pair.
    Fx,
    /// One per arbiter.
    Risk,
    /// One per arbiter: its door, where others' messages arrive. Metrics call it a partition.
    Partition,
}

impl ActorKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Payment, Self::Wallet, Self::Fx, Self::Risk, Self::Partition];

    /// As metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Wallet => "wallet",
            Self::Fx => "fx",
            Self::Risk => "risk",
            Self::Partition => "partition",
        }
    }
}

/// Aligned so that two shards never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    sent: AtomicU64,
    done: AtomicU64,
}

/// What is counted of one kind of actor.
#[derive(Debug)]
pub struct KindCells {
    shards: [Shard; SHARDS],
    live: AtomicU64,
    peak: Peak,
    /// Time from send to handler.
    pub wait: Times,
    /// Time in the handler.
    pub handle: Times,
}

impl KindCells {
    const fn new() -> Self {
        let shards = [const { Shard { sent: AtomicU64::new(0), done: AtomicU64::new(0) } }; SHARDS];
        Self { shards, live: AtomicU64::new(0), peak: Peak::new(), wait: Times::new(), handle: Times::new() }
    }

    fn shard(&self) -> &Shard {
        // SHARD is always below SHARDS; the first is a harmless default.
        self.shards.get(SHARD.get()).unwrap_or(&self.shards[0])
    }

    /// Messages sent and not yet handled or thrown away.
    pub fn depth(&self) -> u64 {
        let sum = |of: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| of(shard).load(Ordering::Acquire)).fold(0, u64::wrapping_add)
        };
        // `done` first: a message is sent before it is done.
        let done = sum(|shard| &shard.done);
        sum(|shard| &shard.sent).saturating_sub(done)
    }

    /// The highest depth since this reader last asked: exact up to `EXACT_DEPTH`, beyond it as one send in
    /// [`SAMPLE_ONE_IN`] of each thread saw it.
    pub fn depth_max(&self, reader: Reader) -> u64 {
        self.peak.take(reader, self.depth())
    }

    /// Messages sent so far.
    pub fn sent(&self) -> u64 {
        self.shards.iter().map(|shard| shard.sent.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }

    /// Actors alive.
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }
}

thread_local! {
    static SHARD: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS)
    };
}

static KINDS: [KindCells; ActorKind::ALL.len()] = [const { KindCells::new() }; ActorKind::ALL.len()];

/// The cells of one kind of actor.
pub fn kind(kind: ActorKind) -> &'static KindCells {
    match kind {
        ActorKind::Payment => &KINDS[0],
        ActorKind::Wallet => &KINDS[1],
        ActorKind::Fx => &KINDS[2],
        ActorKind::Risk => &KINDS[3],
        ActorKind::Partition => &KINDS[4],
    }
}

/// Counts one message from send until it is handled or thrown away.
#[derive(Debug)]
pub struct Ticket {
    kind: ActorKind,
    sent_at: Option<Instant>,
    trace: Option<Arc<Trace>>,
}

impl Ticket {
    /// Counts a message as sent. It belongs to the trace of whoever sends it.
    pub fn new(of: ActorKind) -> Self {
        let cells = kind(of);
        let is_sample = cells.shard().sent.fetch_add(1, Ordering::Release).is_multiple_of(SAMPLE_ONE_IN);
        if is_sample || cells.peak.is_below(EXACT_DEPTH) {
            cells.peak.note(cells.depth());
        }
        let trace = Trace::current();
        Self { kind: of, sent_at: (is_sample || trace.is_some()).then(Instant::now), trace }
    }

    /// Runs the handler of a message called `name`, timing it if it is a sample or traced.
    pub fn run(mut self, name: &'static str, handler: impl FnOnce()) {
        let Some(sent_at) = self.sent_at else { return handler() };
        let cells = kind(self.kind);
        let started = Instant::now();
        match self.trace.take() {
            None => handler(),
            Some(trace) => {
                let entered = Trace::enter(&trace);
                handler();
                drop(entered);
                trace.message(self.kind.name(), name, [sent_at, started, Instant::now()]);
            }
        }
        cells.wait.observe(started.saturating_duration_since(sent_at));
        cells.handle.observe(started.elapsed());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        kind(self.kind).shard().done.fetch_add(1, Ordering::Release);
    }
}

/// Counts an actor as alive as long as it holds this.
#[derive(Debug)]
pub struct Live(ActorKind);

impl Live {
    /// One more.
    pub fn new(of: ActorKind) -> Self {
        kind(of).live.fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        kind(self.0).live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_counts_until_it_is_dropped_even_unhandled() {
        let cells = kind(ActorKind::Fx);
        let before = cells.depth();
        let tickets: Vec<_> = (0..10).map(|_| Ticket::new(ActorKind::Fx)).collect();
        assert_eq!(cells.depth(), before + 10);
        tickets.into_iter().for_each(drop);
        assert_eq!(cells.depth(), before);
    }

    #[test]
    fn each_reader_is_told_the_highest_depth_since_it_last_asked() {
        let cells = kind(ActorKind::Risk);
        let tickets: Vec<_> = (0..1_000).map(|_| Ticket::new(ActorKind::Risk)).collect();
        tickets.into_iter().for_each(drop);
        assert_eq!(cells.depth(), 0);
        // A sample is at most so many messages from the highest.
        assert!(cells.depth_max(Reader::Scrape) > 1_000 - SAMPLE_ONE_IN);
        assert!(cells.depth_max(Reader::Console) > 1_000 - SAMPLE_ONE_IN, "the other reader took nothing away");
        assert_eq!(cells.depth_max(Reader::Scrape), 0, "nothing has come since");
        let few: Vec<_> = (0..3).map(|_| Ticket::new(ActorKind::Risk)).collect();
        drop(few);
        assert_eq!(cells.depth_max(Reader::Scrape), 3, "few are not missed");
    }
}
