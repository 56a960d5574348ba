//! What the engine counts besides its mailboxes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{
    histogram::{Peak, Sizes, Times},
    hot::HotAccounts,
    payments::PaymentCells,
};
use crate::{
    config::EngineConfig,
    ledger::{
        failure::FailureCode,
        risk::{Reason, RiskDecision},
    },
    refusal::OverloadReason,
};

/// What the engine counts besides its mailboxes. One per engine.
#[derive(Debug, Default)]
pub struct EngineCells {
    /// How payments ended, how long each took, what moved.
    pub payments: PaymentCells,
    /// Accounts with many messages a second.
    pub hot: HotAccounts,
    /// Payments that captured.
    pub captured: AtomicU64,
    /// Payments that set money aside.
    pub authorized: AtomicU64,
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
    /// Timers that are due and were not given out yet.
    pub expiries_due: AtomicU64,
    /// How late the latest timer was given out, in microseconds.
    pub expiry_late: Peak,
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
    pub fn count_verdict(&self, decision: RiskDecision, reasons: &[Reason]) {
        let which = match decision {
            RiskDecision::Accept => 0,
            RiskDecision::Review => 1,
            RiskDecision::Reject => 2,
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
