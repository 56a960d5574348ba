//! The hand-over of a commit, in the order of P1: the tail, every account's apply, the replies.
//!
//! Runs on the journal thread right after the sync. An account that money moved on has its apply in the mailbox
//! before anybody hears of the payment, so whoever is told reads their own write.

use std::sync::{Arc, atomic::Ordering};

use smallvec::SmallVec;

use super::{
    directory::{AccountRef, OwnerRef},
    fx::Desk,
};
use crate::{
    admission::Admission,
    journal::{JournalError, tail::Tail, writer::Commit},
    ledger::{
        entry::{Committed, Outcome},
        request::Request,
    },
    messages::{Apply, Handed, PaymentMessage, WalletMessage},
    metrics::EngineCells,
};

/// What to do when the journal is poisoned or an invariant breaks: the process must not go on.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// See the module.
pub struct HandOver {
    /// Where blocks wait for the index.
    pub tail: Arc<Tail>,
    /// Where rates switch.
    pub desk: Arc<Desk>,
    /// What closes when the journal fails.
    pub admission: Arc<Admission>,
    /// What is counted.
    pub cells: Arc<EngineCells>,
    /// What ends the process.
    pub on_fatal: OnFatal,
}

impl HandOver {
    /// Hands one durable block over.
    pub fn commit(&self, commit: Commit<Handed>) {
        let block = commit.block;
        self.tail.publish(&block);
        let mut touches: Vec<(AccountRef, u32)> = Vec::with_capacity(commit.with.len() * 2);
        let mut waiting = Vec::with_capacity(commit.with.len());
        let mut shared = Vec::new();
        for ((position, handed), entry) in (0_u32..).zip(commit.with).zip(&block.entries) {
            touches.extend(handed.accounts.into_iter().map(|account| (account, position)));
            waiting.push(handed.payment);
            if handed.owner.is_some() || matches!(entry.outcome, Outcome::Rates) {
                shared.push((position, handed.owner));
            }
        }
        // Stable by account: positions of one account stay in order.
        touches.sort_by_key(|(account, _)| Arc::as_ptr(account).addr());
        for group in touches.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b)) {
            let entries: SmallVec<[u32; 4]> = group.iter().map(|(_, position)| *position).collect();
            if let Some((account, _)) = group.first() {
                // First the apply: whoever finds the account open finds it behind this message.
                account.send(WalletMessage::Apply(Apply { block: Arc::clone(&block), entries }));
                account.mark_open();
            }
        }
        for (position, owner) in shared {
            if let Some(committed) = block.get_at(position) {
                self.settle_shared(&committed, owner.as_ref());
            }
        }
        for entry in block.entries.iter().filter(|entry| entry.payment().is_some()) {
            let cell = if entry.failure().is_none() { &self.cells.captured } else { &self.cells.failed };
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.count(waiting.len() as u64, commit.bytes as u64, commit.sync_time);
        for (committed, payment) in block.committed().zip(waiting) {
            payment.send(PaymentMessage::Committed(committed.lsn, committed.at));
        }
    }

    /// What is shared between actors switches here: owners' records and rates.
    fn settle_shared(&self, committed: &Committed, owner: Option<&OwnerRef>) {
        let entry = &committed.entry;
        if let Some(owner) = owner {
            owner.apply(entry, committed.lsn);
        }
        if let (Outcome::Rates, Request::PublishRates(rates)) = (&entry.outcome, &entry.request) {
            self.desk.publish(self.desk.book().with(rates, entry.op, committed.at));
        }
    }

    fn count(&self, entries: u64, bytes: u64, sync_time: std::time::Duration) {
        let cells = &self.cells;
        cells.blocks.fetch_add(1, Ordering::Relaxed);
        cells.entries.fetch_add(entries, Ordering::Relaxed);
        cells.bytes.fetch_add(bytes, Ordering::Relaxed);
        cells.journal_queue.fetch_sub(entries, Ordering::Relaxed);
        cells.sync.observe(sync_time);
    }

    /// The journal is poisoned: nothing is let in, whoever waits hears that the outcome is unknown, the process ends.
    pub fn fail(&self, error: &JournalError, lost: Vec<Handed>) {
        self.admission.note_journal_failed();
        self.cells.journal_queue.fetch_sub(lost.len() as u64, Ordering::Relaxed);
        for handed in lost {
            handed.payment.send(PaymentMessage::Lost);
        }
        (self.on_fatal)(&error.to_string());
    }
}
