//! Group commit: collects what has been handed over, writes one block, syncs once (P4).
//!
//! A state machine with [`Writer::step`]; a thread, or a test, loops around it. A block is bounded by entries, bytes
//! and time; when the journal is idle the first record goes at once. What comes with each record (`T`) is given back
//! with the durable block, for the hand-over.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    time::{Duration, Instant},
};

use super::{Block, Head, Journal, JournalError, Record};
use crate::{clock::Clock, money::Lsn};

/// A block that holds fewer than one in so many of the commands in flight waits for more.
const LINGER_BELOW_ONE_IN: usize = 3;
/// How long one wait is.
const LINGER: Duration = Duration::from_micros(60);

/// Says how many commands are in flight.
pub type InFlightNow = Box<dyn Fn() -> usize + Send>;

/// One record on its way, with what its hand-over needs.
pub struct Append<T> {
    /// The record.
    pub record: Record,
    /// Given back with the block.
    pub with: T,
}

/// The sending end; cheap to clone. The queue has room for every admitted command, so sending never waits.
pub type Appender<T> = Sender<Append<T>>;

/// Bounds of one block.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of encoded entries.
    pub bytes_max: usize,
    /// How long it is collected while more arrives.
    pub collect_max: Duration,
    /// How often it waits for more while it holds few of the many commands in flight.
    pub lingers_max: u32,
}

/// What one step did.
pub enum Stepped<T> {
    /// A block is durable.
    Committed(Commit<T>),
    /// Nothing came in time.
    Idle,
    /// All senders are gone, everything is durable.
    Ended,
    /// The journal failed: these records' fate is unknown until recovery. The writer is done.
    Failed(JournalError, Vec<T>),
}

/// A durable block with what came along, in the order of its entries.
pub struct Commit<T> {
    /// The block.
    pub block: Arc<Block>,
    /// One per entry.
    pub with: Vec<T>,
    /// When the write began, and when the sync was done.
    pub synced: [Instant; 2],
    /// How many bytes of entries it holds.
    pub bytes: usize,
}

/// See the module.
pub struct Writer<T> {
    journal: Box<dyn Journal>,
    head: Head,
    queue: Receiver<Append<T>>,
    clock: Clock,
    bounds: Bounds,
    /// How many commands are somewhere on their way, this block's included.
    in_flight: InFlightNow,
    /// Came too late for the last block.
    carried: Option<Append<T>>,
    /// How many entries the last block held: the next will hold about as many.
    entries_last: usize,
}

impl<T> Writer<T> {
    /// A writer behind `head`.
    pub fn new(
        journal: Box<dyn Journal>,
        head: Head,
        queue: Receiver<Append<T>>,
        (clock, in_flight): (Clock, InFlightNow),
        bounds: Bounds,
    ) -> Self {
        Self { journal, head, queue, clock, bounds, in_flight, carried: None, entries_last: 0 }
    }

    /// Collects and commits one block; waits at most `wait` for the first record.
    pub fn step(&mut self, wait: Duration) -> Stepped<T> {
        let first = match self.carried.take() {
            Some(first) => first,
            None => match self.first(wait) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => return Stepped::Idle,
                Err(RecvTimeoutError::Disconnected) => return Stepped::Ended,
            },
        };
        let (records, with) = self.collect(first);
        let bytes = records.iter().map(|record| record.bytes.len() + 4).sum();
        let started = Instant::now();
        self.clock.note_timed(Lsn(self.head.lsn.0.saturating_add(records.len() as u64)));
        match self.journal.append(&self.head, &records, self.clock.now()) {
            Err(error) => Stepped::Failed(error, self.drain(with)),
            Ok(head) => {
                let synced = [started, Instant::now()];
                let first_lsn = Lsn(self.head.lsn.0 + 1);
                self.head = head;
                let entries = records.into_iter().map(|record| record.entry).collect();
                Stepped::Committed(Commit {
                    block: Arc::new(Block::new(first_lsn, head.at, head.hash, bytes, entries)),
                    with,
                    synced,
                    bytes,
                })
            }
        }
    }

    /// Everything that will never be committed: this block's, and all that is queued behind it.
    fn drain(&mut self, mut lost: Vec<T>) -> Vec<T> {
        lost.extend(self.carried.take().map(|append| append.with));
        lost.extend(self.queue.try_iter().map(|append| append.with));
        lost
    }

    fn first(&self, wait: Duration) -> Result<Append<T>, RecvTimeoutError> {
        match self.queue.try_recv() {
            Ok(first) => Ok(first),
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => self.queue.recv_timeout(wait),
        }
    }

    fn collect(&mut self, first: Append<T>) -> (Vec<Record>, Vec<T>) {
        let started = Instant::now();
        let (mut bytes, mut lingered) = (first.record.bytes.len(), 0);
        let mut records = Vec::with_capacity(self.entries_last + 1);
        let mut with = Vec::with_capacity(self.entries_last + 1);
        records.push(first.record);
        with.push(first.with);
        while records.len() < self.bounds.entries_max && started.elapsed() <= self.bounds.collect_max {
            let Ok(next) = self.queue.try_recv() else {
                // Idle, the first record goes at once; under load a sync for a few of many in flight is a waste.
                if lingered == self.bounds.lingers_max || records.len() * LINGER_BELOW_ONE_IN > (self.in_flight)() {
                    break;
                }
                lingered += 1;
                std::thread::sleep(LINGER);
                continue;
            };
            bytes += next.record.bytes.len();
            if bytes > self.bounds.bytes_max {
                self.carried = Some(next);
                break;
            }
            records.push(next.record);
            with.push(next.with);
        }
        self.entries_last = records.len();
        (records, with)
    }
}
