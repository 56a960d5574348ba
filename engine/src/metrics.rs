//! What the engine counts: plain per-thread cells, read when somebody asks (P11).
//!
//! Hot counters are sharded by thread, so two arbiters never write one cache line. Depth and rejections are exact;
//! wait and handler times are sampled, one message in [`SAMPLE_ONE_IN`], and so is the highest depth. The gateway turns
//! these into Prometheus series; nothing here knows that format. Cells are of the process: one engine runs in it.

pub mod hot;
pub mod payments;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{hot::HotAccounts, payments::PaymentCells};
use crate::{
    config::EngineConfig,
    ledger::{
        failure::FailureCode,
        risk::{Decision, Reason},
    },
    refusal::OverloadReason,
    trace::Trace,
};

/// One message in so many is timed, and every one of a traced command.
pub const SAMPLE_ONE_IN: u64 = 64;
/// Up to this depth every send looks whether it is the highest, so that a quiet server shows what little waits.
const EXACT_DEPTH: u64 = 8;
/// Threads share a shard beyond this.
const SHARDS: usize = 8;
/// Upper bounds of all time histograms, in microseconds; the last bucket is everything above.
pub const BUCKETS_US: [u64; 16] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

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
    /// One per arbiter: where others' messages arrive.
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

/// Upper bounds of all size histograms; the last bucket is everything above.
pub const BUCKETS_SIZE: [u64; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768];

/// Counts per bucket (not cumulative; the last is above all bounds) and the sum.
pub type Counts = ([u64; BUCKETS_US.len() + 1], u64);

/// A histogram's cells, whatever its bounds.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum: AtomicU64,
}

impl Buckets {
    const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS_US.len() + 1], sum: AtomicU64::new(0) }
    }

    fn add(&self, bounds: &[u64], value: u64) {
        if let Some(cell) = self.counts.get(bounds.partition_point(|bound| *bound < value)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn fold(&self, (counts, sum): Counts) {
        for (cell, count) in self.counts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    fn read(&self) -> Counts {
        let counts = std::array::from_fn(|i| self.counts.get(i).map_or(0, |cell| cell.load(Ordering::Relaxed)));
        (counts, self.sum.load(Ordering::Relaxed))
    }
}

/// A histogram of times in plain cells, of whoever alone writes it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally(Counts);

impl Tally {
    /// Adds one observation.
    pub fn note_time(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (counts, sum) = &mut self.0;
        if let Some(count) = counts.get_mut(BUCKETS_US.partition_point(|bound| *bound < us)) {
            *count += 1;
        }
        *sum = sum.saturating_add(us);
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0
    }
}

/// Who asks for the highest value since it last asked: each has an answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The metrics port.
    Scrape,
    /// The console.
    Console,
}

/// The highest value since each reader last asked.
#[derive(Debug, Default)]
pub struct Peak([AtomicU64; 2]);

impl Peak {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 2])
    }

    /// Notes a value.
    pub fn note(&self, value: u64) {
        for cell in self.0.iter().filter(|cell| cell.load(Ordering::Relaxed) < value) {
            cell.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Whether some reader was told of less, so far.
    fn is_below(&self, value: u64) -> bool {
        self.0.iter().any(|cell| cell.load(Ordering::Relaxed) < value)
    }

    /// The highest since this reader last asked, `now` included.
    pub fn take(&self, reader: Reader, now: u64) -> u64 {
        let [scrape, console] = &self.0;
        let cell = match reader {
            Reader::Scrape => scrape,
            Reader::Console => console,
        };
        cell.swap(now, Ordering::Relaxed).max(now)
    }
}

/// A histogram of times, in microseconds.
#[derive(Debug, Default)]
pub struct Times(Buckets);

impl Times {
    const fn new() -> Self {
        Self(Buckets::new())
    }

    /// Adds one observation.
    pub fn observe(&self, time: Duration) {
        self.0.add(&BUCKETS_US, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of a tally.
    pub fn fold(&self, tally: &Tally) {
        self.0.fold(tally.read());
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0.read()
    }
}

/// A histogram of sizes.
#[derive(Debug, Default)]
pub struct Sizes(Buckets);

impl Sizes {
    /// Adds one observation.
    pub fn observe(&self, size: u64) {
        self.0.add(&BUCKETS_SIZE, size);
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0.read()
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

/// What the engine counts besides its mailboxes. One per engine.
#[derive(Debug, Default)]
pub struct EngineCells {
    /// How payments ended, how long each took, what moved.
    pub payments: PaymentCells,
    /// Accounts with many messages a second.
    pub hot: HotAccounts,
    /// Payments that captured.
    pub captured: AtomicU64,
    /// Payments that were declined.
    pub failed: AtomicU64,
    /// Commands that were declined, by [`FailureCode::ALL`].
    pub declined: [AtomicU64; FailureCode::ALL.len()],
    /// Answers that were replays.
    pub replayed: AtomicU64,
    /// Refusals for overload, by [`OverloadReason::ALL`].
    pub rejected: [AtomicU64; OverloadReason::ALL.len()],
    /// Verdicts: accept, review, reject.
    pub decisions: [AtomicU64; 3],
    /// Rules that fired, by [`Reason::ALL`].
    pub reasons: [AtomicU64; Reason::ALL.len()],
    /// Commit blocks.
    pub blocks: AtomicU64,
    /// Entries committed.
    pub entries: AtomicU64,
    /// Bytes of entries committed.
    pub bytes: AtomicU64,
    /// Entries per commit block.
    pub block_entries: Sizes,
    /// Write and sync of a block.
    pub sync: Times,
    /// Records handed to the journal and not yet committed.
    pub journal_queue: AtomicU64,
    /// Index runs.
    pub index_runs: AtomicU64,
    /// Time of an index run.
    pub index_run: Times,
    /// Commands admitted and not yet answered.
    pub in_flight: AtomicUsize,
}

impl EngineCells {
    /// Nothing was counted yet.
    pub fn new(config: &EngineConfig) -> Self {
        Self { hot: HotAccounts::new(config.hot_account_per_second), ..Self::default() }
    }

    /// Counts a decline.
    pub fn count_decline(&self, code: FailureCode) {
        count(&self.declined, FailureCode::ALL.iter().position(|c| *c == code));
    }

    /// Counts a refusal for overload.
    pub fn count_rejected(&self, reason: OverloadReason) {
        count(&self.rejected, OverloadReason::ALL.iter().position(|r| *r == reason));
    }

    /// Counts a verdict.
    pub fn count_verdict(&self, decision: Decision, reasons: &[Reason]) {
        let which = match decision {
            Decision::Accept => 0,
            Decision::Review => 1,
            Decision::Reject => 2,
        };
        count(&self.decisions, Some(which));
        for reason in reasons {
            count(&self.reasons, Reason::ALL.iter().position(|r| r == reason));
        }
    }
}

fn count(cells: &[AtomicU64], which: Option<usize>) {
    if let Some(cell) = which.and_then(|which| cells.get(which)) {
        cell.fetch_add(1, Ordering::Relaxed);
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

    #[test]
    fn a_tally_folded_in_counts_as_its_observations_do() {
        let (mut tally, times, single) = (Tally::default(), Times::default(), Times::default());
        for us in [10, 11, 60_000_000] {
            tally.note_time(Duration::from_micros(us));
            single.observe(Duration::from_micros(us));
        }
        times.fold(&tally);
        assert_eq!(times.read(), single.read());
    }

    #[test]
    fn times_fall_into_their_buckets() {
        let times = Times::default();
        times.observe(Duration::from_micros(10));
        times.observe(Duration::from_micros(11));
        times.observe(Duration::from_secs(60));
        let (counts, sum) = times.read();
        assert_eq!((counts[0], counts[1], counts[16], sum), (1, 1, 1, 60_000_021));
    }
}
