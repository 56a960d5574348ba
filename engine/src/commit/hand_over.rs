//! The hand-over of a commit, in the order of P1: the tail, every account's apply, the answers.
//!
//! Runs on the journal thread right after the sync, and sends one message per arbiter. An account that money moved on
//! has its apply in the mailbox before anybody hears of the payment, so whoever is told reads their own write.

use std::sync::{Arc, atomic::Ordering};

use smallvec::SmallVec;

use super::answers::Answers;
use crate::{
    actors::{
        door::{DoorActor, DoorMessage, Share},
        fx::Desk,
        handles::AccountRef,
        mailbox::Mailbox,
        sink::Handed,
    },
    clock::Clock,
    fatal::OnFatal,
    gate::{admission::Admission, caller::Answering},
    journal::{Block, JournalError, tail::Tail, writer::Commit},
    ledger::{apply, rates::RateBook},
    metrics::EngineCells,
    passed_on::PassedOn,
    refusal::UnavailableReason,
    trace::{CommittedIn, Kind},
    watch::Watchers,
};

/// See the module.
pub(crate) struct HandOver {
    /// Where blocks wait for the index.
    pub(crate) tail: Arc<Tail>,
    /// Where rates switch.
    pub(crate) desk: Arc<Desk>,
    /// What closes when the journal fails.
    pub(crate) admission: Arc<Admission>,
    /// The arbiters.
    pub(crate) doors: Vec<Arc<Mailbox<DoorActor>>>,
    /// Where answers are given.
    pub(crate) answering: Answering,
    /// How far clients may read.
    pub(crate) passed_on: Arc<PassedOn>,
    /// Who watches commits.
    pub(crate) watchers: Watchers,
    /// What is counted.
    pub(crate) cells: Arc<EngineCells>,
    /// What hears of each block's time.
    pub(crate) clock: Clock,
    /// What ends the process.
    pub(crate) on_fatal: OnFatal,
}

impl HandOver {
    /// Hands one durable block over.
    pub(crate) fn commit(&self, commit: Commit<Handed>) {
        let block = commit.block;
        self.clock.note_block(block.at);
        self.tail.publish(&block, commit.with.iter().map(|handed| handed.answer.key()).collect());
        self.publish_rates(&block);
        let [began, done] = commit.synced;
        self.count(&block, commit.bytes as u64, done.saturating_duration_since(began));
        let mut touches: Vec<(AccountRef, u32)> = Vec::with_capacity(commit.with.len() * 2);
        let mut answers = Vec::with_capacity(commit.with.len());
        let mut owners = Vec::new();
        for (position, handed) in (0_u32..).zip(commit.with) {
            touches.extend(handed.accounts.into_iter().map(|account| (account, position)));
            owners.extend(handed.owner.map(|owner| (position, owner)));
            // Before its turn goes to the next: that goes with the answer.
            if let Some((object, committed)) = handed.object.zip(block.get_at(position)) {
                object.apply(committed);
            }
            if let Some(trace) = &handed.answer.trace {
                trace.leg("journal", "queue", Kind::Wait, began);
                trace.leg("journal", "write_and_sync", Kind::Work, done);
                trace.committed(CommittedIn { first_lsn: block.first_lsn.0, entries: block.entries.len() as u64 });
            }
            answers.push(handed.answer);
        }
        let (answering, watchers, cells) = (self.answering.clone(), self.watchers.clone(), Arc::clone(&self.cells));
        let passed_on = Arc::clone(&self.passed_on);
        let answers = Answers { block: Arc::clone(&block), answers, owners, answering, passed_on, watchers, cells };
        self.share_out(&block, touches, &Arc::new(answers));
    }

    /// One message to each arbiter that is home to a touched account.
    fn share_out(&self, block: &Arc<Block>, mut touches: Vec<(AccountRef, u32)>, answers: &Arc<Answers>) {
        // Stable by account: positions of one account stay in order.
        touches.sort_by_key(|(account, _)| (account.arbiter(), Arc::as_ptr(account).addr()));
        for share in touches.chunk_by(|(a, _), (b, _)| a.arbiter() == b.arbiter()) {
            let accounts = share.chunk_by(|(a, _), (b, _)| Arc::ptr_eq(a, b));
            let touched = accounts.filter_map(|group| {
                let entries: SmallVec<[u32; 4]> = group.iter().map(|(_, position)| *position).collect();
                group.first().map(|(account, _)| (Arc::clone(account), entries))
            });
            let door = share.first().and_then(|(account, _)| self.doors.get(account.arbiter()));
            if let Some(door) = door {
                let (block, touched) = (Arc::clone(block), touched.collect());
                door.send(DoorMessage::Share(Share { block, touched, answers: Arc::clone(answers) as _ }));
            }
        }
    }

    /// Rates switch here, in the order of their entries.
    fn publish_rates(&self, block: &Block) {
        for entry in block.entries.iter().filter(|entry| apply::changes_rates(entry)) {
            let mut book = RateBook::clone(&self.desk.book());
            apply::to_rates(&mut book, entry, block.at);
            self.desk.publish(book);
        }
    }

    fn count(&self, block: &Block, bytes: u64, sync_time: std::time::Duration) {
        let cells = &self.cells;
        let entries = block.entries.len() as u64;
        cells.blocks.fetch_add(1, Ordering::Relaxed);
        cells.entries.fetch_add(entries, Ordering::Relaxed);
        cells.bytes.fetch_add(bytes, Ordering::Relaxed);
        cells.journal_queue.fetch_sub(entries, Ordering::Relaxed);
        cells.sync.observe(sync_time);
        cells.block_entries.observe(entries);
    }

    /// The journal is poisoned: nothing is let in, whoever waits hears that the outcome is unknown, the process ends.
    pub(crate) fn fail(&self, error: &JournalError, lost: Vec<Handed>) {
        self.admission.note_journal_failed();
        self.cells.journal_queue.fetch_sub(lost.len() as u64, Ordering::Relaxed);
        for handed in lost {
            handed.answer.refuse(UnavailableReason::JournalFailed.into());
        }
        (self.on_fatal)(&error.to_string());
    }
}
