//! One actor per arbiter: the door through which other threads reach the actors that live there.
//!
//! A command is launched by one message (a payment by way of the risk actor). A durable block comes as one message too,
//! however many accounts it touches (P1); from here each account's apply is a short hop on the same thread. When the
//! last arbiter has passed its share on, the block's [`Release`] goes, and with it the answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use actix::{Actor, Context, Handler};
use smallvec::SmallVec;

use super::{
    directory::{AccountRef, OwnerRef},
    mailbox::{Order, Queued},
    payment::PaymentActor,
};
use crate::{
    answer::{Answer, Answering},
    journal::Block,
    ledger::flow::Event,
    messages::{Apply, PartitionMessage, WalletMessage},
    metrics::{ActorKind, EngineCells, Live, payments::PaymentTally},
    passed_on::PassedOn,
    watch::Watchers,
};

/// See the module.
pub struct PartitionActor {
    order: Order,
    _live: Live,
}

impl PartitionActor {
    /// An actor that starts others whose messages are delivered in `order`.
    pub fn new(order: Order) -> Self {
        Self { order, _live: Live::new(ActorKind::Partition) }
    }
}

/// One arbiter's share of a durable block.
#[derive(Debug)]
pub struct Share {
    /// Each touched account that lives here, with the positions of its entries in order.
    pub touched: Vec<(AccountRef, SmallVec<[u32; 4]>)>,
    /// The block, and what waits for it: gone once every share was passed on.
    pub release: Arc<Release>,
}

/// What waits until all accounts of a block have their applies: owners' records, readers, then the answers. Dropping the last
/// reference releases them, so they can be neither forgotten nor given early.
pub struct Release {
    /// The block.
    pub block: Arc<Block>,
    /// One per entry of the block, in order.
    pub answers: Vec<Answer>,
    /// Owners whose record an entry changes, by the entry's position.
    pub owners: Vec<(u32, OwnerRef)>,
    /// Where answers are given.
    pub answering: Answering,
    /// How far clients may read.
    pub passed_on: Arc<PassedOn>,
    /// Who is told of the block after them.
    pub watchers: Watchers,
    /// Where its payments are counted.
    pub cells: Arc<EngineCells>,
}

/// Counts a block's decisions, before anybody is told of them: whoever is told finds them counted. One clock reading and
/// one fold per block (P11).
fn count(cells: &EngineCells, block: &Block, answers: &mut [Answer]) {
    let (now, mut tally) = (Instant::now(), PaymentTally::default());
    let (mut captured, mut failed) = (0, 0);
    for (entry, answer) in block.entries.iter().zip(answers) {
        if let Some(payment) = entry.payment() {
            tally.count(entry, payment, answer.in_flight.took(now));
            let of = if payment.failure.is_some() { &mut failed } else { &mut captured };
            *of += 1;
        }
        if let Some(failure) = entry.failure() {
            cells.count_decline(failure.code);
        }
    }
    cells.captured.fetch_add(captured, Ordering::Relaxed);
    cells.failed.fetch_add(failed, Ordering::Relaxed);
    cells.payments.fold(&tally);
}

impl Drop for Release {
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

impl std::fmt::Debug for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Release({} answers)", self.answers.len())
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;
}

impl Handler<Queued<PartitionMessage>> for PartitionActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<PartitionMessage>, _: &mut Self::Context) {
        queued.handle(|message| match message {
            PartitionMessage::Launch(launch) => PaymentActor::start_here(launch, Event::Start, &self.order),
            PartitionMessage::Share(Share { touched, release }) => {
                for (account, entries) in touched {
                    // First the apply: whoever finds the account open finds it behind this message.
                    account.send(WalletMessage::Apply(Apply { block: Arc::clone(&release.block), entries }));
                    account.mark_open();
                }
                drop(release);
            }
        });
    }
}
