//! Who answers: once every arbiter has passed its share of a block on, its answers are given here (P1).

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    actors::{door::GivenWhenDropped, handles::OwnerRef},
    gate::caller::{Answer, Answering},
    journal::Block,
    ledger::payment::PaymentStatus,
    metrics::{EngineCells, payments::PaymentTally},
    passed_on::PassedOn,
    watch::Watchers,
};

/// What waits until all accounts of a block have their applies: owners' records, readers, then the answers. Dropping the last
/// reference gives them, so they can be neither forgotten nor given early.
pub(crate) struct Answers {
    /// The block.
    pub(crate) block: Arc<Block>,
    /// One per entry of the block, in order.
    pub(crate) answers: Vec<Answer>,
    /// Owners whose record an entry changes, by the entry's position.
    pub(crate) owners: Vec<(u32, OwnerRef)>,
    /// Where answers are given.
    pub(crate) answering: Answering,
    /// How far clients may read.
    pub(crate) passed_on: Arc<PassedOn>,
    /// Who is told of the block after them.
    pub(crate) watchers: Watchers,
    /// Where its payments are counted.
    pub(crate) cells: Arc<EngineCells>,
}

/// Counts a block's decisions, before anybody is told of them: whoever is told finds them counted. One clock reading and
/// one fold per block (P11).
fn count(cells: &EngineCells, block: &Block, answers: &mut [Answer]) {
    let (now, mut tally) = (Instant::now(), PaymentTally::default());
    let (mut captured, mut authorized, mut failed) = (0, 0, 0);
    for (entry, answer) in block.entries.iter().zip(answers) {
        match entry.payment() {
            Some(payment) if entry.made_payment().is_some() => {
                tally.count(entry, payment, answer.in_flight.took(now));
                failed += u64::from(payment.status == PaymentStatus::Failed);
                authorized += u64::from(payment.status == PaymentStatus::Authorized);
                captured += u64::from(payment.status == PaymentStatus::Captured);
            }
            Some(payment) if entry.failure().is_none() => tally.count_step(entry, payment),
            Some(_) | None => {}
        }
        if let Some(failure) = entry.failure() {
            cells.count_decline(failure.code);
        }
    }
    cells.captured.fetch_add(captured, Ordering::Relaxed);
    cells.authorized.fetch_add(authorized, Ordering::Relaxed);
    cells.failed.fetch_add(failed, Ordering::Relaxed);
    cells.payments.fold(&tally);
}

impl GivenWhenDropped for Answers {}

impl Drop for Answers {
    fn drop(&mut self) {
        for (position, owner) in std::mem::take(&mut self.owners) {
            if let Some(committed) = self.block.get_at(position) {
                owner.apply(&committed.entry, committed.lsn);
            }
        }
        self.passed_on.note(&self.block);
        let (block, mut answers) = (Arc::clone(&self.block), std::mem::take(&mut self.answers));
        let (watchers, cells) = (self.watchers.clone(), Arc::clone(&self.cells));
        self.answering.run(move || {
            count(&cells, &block, &mut answers);
            for (committed, answer) in block.committed().zip(answers) {
                answer.give(Ok(committed));
            }
            watchers.tell(&block);
        });
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({} answers)", self.answers.len())
    }
}
