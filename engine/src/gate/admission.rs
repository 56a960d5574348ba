//! Admission: the one bound on everything behind it. A command is let in, or refused with a reason and a pause.
//!
//! Refused here, nothing was begun. Past the half of the tail's bytes a share of the commands is refused that grows
//! with the lag, so that the index catches up without a stall (P5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::slots::Slots;
use crate::{
    config::EngineConfig,
    damage::Damage,
    journal::{spare::Spare, tail::Tail},
    ledger::commands::Request,
    metrics::{EngineCells, payments::Ended},
    refusal::{OverloadReason, Refusal, UnavailableReason},
};

/// See the module.
pub struct Admission {
    in_flight_max: usize,
    /// Who was let in and is not at work yet waits here.
    slots: Slots,
    reads: Arc<Semaphore>,
    tail_bytes_max: usize,
    tail: Arc<Tail>,
    spare: Option<Arc<Spare>>,
    damage: Arc<Damage>,
    cells: Arc<EngineCells>,
    draining: AtomicBool,
    journal_failed: AtomicBool,
    index_failed: AtomicBool,
    index_closed: AtomicBool,
    /// Counts arrivals while the index is behind: decides which of them are refused.
    arrivals: AtomicU64,
}

/// A command's place; given back when it is dropped. That of a payment knows when it was let in: it is measured from
/// there to its answer, however it ends (P14).
pub struct InFlight {
    cells: Arc<EngineCells>,
    /// Of a payment that is not measured yet.
    admitted: Option<Instant>,
    ended: Ended,
}

impl InFlight {
    /// Notes how a payment ends that leaves no entry of its own.
    pub fn note(&mut self, ended: Ended) {
        self.ended = ended;
    }

    /// How long a payment took until `now`. Whoever asks counts it, so it is told once.
    pub fn took(&mut self, now: Instant) -> Option<Duration> {
        self.admitted.take().map(|admitted| now.saturating_duration_since(admitted))
    }
}

/// A read's place; given back when it is dropped.
pub type Reading = OwnedSemaphorePermit;

impl Drop for InFlight {
    fn drop(&mut self) {
        self.cells.in_flight.fetch_sub(1, Ordering::Release);
        if let Some(took) = self.took(Instant::now()) {
            self.cells.payments.observe(self.ended, took);
        }
    }
}

impl Admission {
    /// Admission in front of a tail. `spare` says when the disk is full, `damage` what of the stores is not whole.
    pub fn new(
        config: &EngineConfig,
        tail: Arc<Tail>,
        (spare, damage): (Option<Arc<Spare>>, Arc<Damage>),
        cells: Arc<EngineCells>,
    ) -> Self {
        Self {
            in_flight_max: config.in_flight_max,
            slots: Slots::new(config.at_work_max),
            reads: Arc::new(Semaphore::new(config.reads_max)),
            tail_bytes_max: config.tail_bytes_max,
            tail,
            spare,
            damage,
            cells,
            draining: AtomicBool::new(false),
            journal_failed: AtomicBool::new(false),
            index_failed: AtomicBool::new(false),
            index_closed: AtomicBool::new(false),
            arrivals: AtomicU64::new(0),
        }
    }

    /// Lets a command in or says why not.
    pub fn enter(&self, request: &Request) -> Result<InFlight, Refusal> {
        if let Some(refusal) = self.closed() {
            return Err(refusal);
        }
        let overload = |reason| Err(Refusal::overloaded(reason));
        if self.is_index_behind() {
            return overload(OverloadReason::IndexBehind);
        }
        if self.cells.in_flight.fetch_add(1, Ordering::Acquire) >= self.in_flight_max {
            self.cells.in_flight.fetch_sub(1, Ordering::Release);
            return overload(OverloadReason::InFlight);
        }
        let admitted = matches!(request, Request::CreatePayment(_)).then(Instant::now);
        Ok(InFlight { cells: Arc::clone(&self.cells), admitted, ended: Ended::Refused })
    }

    /// Where commands that were let in go to work.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Lets a read in or says that too many are under way.
    pub fn begin_read(&self) -> Result<Reading, Refusal> {
        Arc::clone(&self.reads).try_acquire_owned().map_err(|_| Refusal::overloaded(OverloadReason::Reads))
    }

    /// Why nothing is let in, if nothing is.
    fn unavailable(&self) -> Option<UnavailableReason> {
        if self.journal_failed.load(Ordering::Relaxed) {
            Some(UnavailableReason::JournalFailed)
        } else if self.damage.found().is_some() {
            Some(UnavailableReason::Damaged)
        } else if self.draining.load(Ordering::Relaxed) {
            Some(UnavailableReason::Draining)
        } else if self.index_closed.load(Ordering::Relaxed)
            || (self.index_failed.load(Ordering::Relaxed) && self.tail.bytes() >= self.tail_bytes_max)
        {
            Some(UnavailableReason::IndexFailed)
        } else {
            None
        }
    }

    /// Why every command is refused, if every one is, whoever sends it: what readiness and health say too (P14). That
    /// only a share of them is refused, or that just now as many as may be are in flight, passes by itself.
    pub fn closed(&self) -> Option<Refusal> {
        if let Some(reason) = self.unavailable() {
            return Some(reason.into());
        }
        if self.tail.bytes() >= self.tail_bytes_max {
            return Some(Refusal::overloaded(OverloadReason::IndexBehind));
        }
        let is_short = self.spare.as_ref().is_some_and(|spare| spare.shortage().is_some());
        is_short.then(|| Refusal::overloaded(OverloadReason::DiskFull))
    }

    /// From none at half of the bound to all at the bound.
    fn is_index_behind(&self) -> bool {
        let half = self.tail_bytes_max / 2;
        let over = self.tail.bytes().saturating_sub(half);
        if over == 0 {
            return false;
        }
        let n = self.arrivals.fetch_add(1, Ordering::Relaxed);
        // Of every 64 arrivals as many are refused as the second half is full.
        let refused_of_64 = (over.saturating_mul(64) / half.max(1)).min(64) as u64;
        n % 64 < refused_of_64
    }

    /// Nothing is let in any more.
    pub fn close(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The journal is poisoned.
    pub fn note_journal_failed(&self) {
        self.journal_failed.store(true, Ordering::Relaxed);
    }

    /// The builder stopped, or works again.
    pub fn note_index(&self, failed: bool) {
        self.index_failed.store(failed, Ordering::Relaxed);
    }

    /// The index can be read, or cannot until it is opened again.
    pub fn note_index_closed(&self, closed: bool) {
        self.index_closed.store(closed, Ordering::Relaxed);
    }

    /// Commands let in and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.cells.in_flight.load(Ordering::Acquire)
    }
}
