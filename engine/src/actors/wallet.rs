//! One account's actor: serialises everything that happens to its balance. All rules are in [`crate::ledger::wallet`].

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use actix::{Actor, Context, Handler};

use super::{
    mailbox::Queued,
    messages::{Apply, CommandMessage, CommandRef, WalletMessage},
};
use crate::{
    clock::Clock,
    fatal::OnFatal,
    ledger::{
        account::Account,
        apply::fold,
        failure::{Failure, FailureCode},
        flow::Event,
        wallet::Wallet,
    },
    metrics::{ActorKind, EngineCells, Live, hot::Pace},
    money::AccountId,
    planted::{Bug, is_planted},
};

/// See the module.
pub struct WalletActor {
    id: AccountId,
    state: State,
    /// Messages sent here and not yet handled: while there are any, the account stays resident.
    queued: Arc<AtomicU32>,
    clock: Clock,
    on_fatal: OnFatal,
    cells: Arc<EngineCells>,
    pace: Pace,
    _live: Live,
}

enum State {
    /// No such account; an opening may be on its way to the journal.
    Absent {
        opening: bool,
    },
    Open(Box<Wallet>),
}

impl WalletActor {
    /// An actor for an account as it was loaded, or for one that does not exist yet.
    pub fn new(
        id: AccountId,
        account: Option<Account>,
        queued: Arc<AtomicU32>,
        (clock, on_fatal, cells): (Clock, OnFatal, Arc<EngineCells>),
    ) -> Self {
        let state = match account {
            Some(account) => State::Open(Box::new(Wallet::new(account))),
            None => State::Absent { opening: false },
        };
        Self { id, state, queued, clock, on_fatal, cells, pace: Pace::default(), _live: Live::new(ActorKind::Wallet) }
    }

    fn on(&mut self, message: WalletMessage) {
        match message {
            WalletMessage::Expect(op, amount, reply) => {
                let granted = self.ask(|wallet, _| wallet.expect(op, amount));
                answer(&reply, Event::Granted(granted));
            }
            WalletMessage::Hold(op, amount, reply) => {
                let held = self.ask(|wallet, clock| wallet.hold(op, amount, clock.believed()));
                answer(&reply, Event::Held(held));
            }
            WalletMessage::Join(op, n, demand, reply) => {
                let joined = self.ask(|wallet, clock| wallet.join(op, &demand, clock.believed()));
                reply.tell(CommandMessage::Joined(n, joined));
            }
            WalletMessage::TakeBack(op, amount, reply) => {
                let granted = self.ask(|wallet, _| wallet.take_back(op, amount));
                answer(&reply, Event::Granted(granted));
            }
            WalletMessage::Release(op) => self.tell(|wallet| wallet.release(op)),
            WalletMessage::Open(account, reply) => {
                let granted = self.open(&account);
                answer(&reply, Event::Granted(granted));
            }
            WalletMessage::AbandonOpen => {
                if let State::Absent { opening } = &mut self.state {
                    *opening = false;
                }
            }
            WalletMessage::Change(update, reply) => {
                let changed = self.ask(|wallet, _| wallet.change(&update)).map(Box::new);
                answer(&reply, Event::Changed(changed));
            }
            WalletMessage::AbandonChange => self.tell(Wallet::abandon_change),
            WalletMessage::Apply(apply) => self.apply(&apply),
            WalletMessage::Read(reply) => {
                let view = match &self.state {
                    State::Open(wallet) => Some(wallet.view()),
                    State::Absent { .. } => None,
                };
                // A reader that went away needs no answer.
                let _ = reply.send(view);
            }
        }
    }

    fn ask<T>(&mut self, f: impl FnOnce(&mut Wallet, &Clock) -> Result<T, Failure>) -> Result<T, Failure> {
        match &mut self.state {
            State::Open(wallet) => f(wallet, &self.clock),
            State::Absent { .. } => {
                Err(Failure::new(FailureCode::AccountClosed, format!("account {} is not open", self.id)))
            }
        }
    }

    fn tell(&mut self, f: impl FnOnce(&mut Wallet)) {
        if let State::Open(wallet) = &mut self.state {
            f(wallet);
        }
    }

    fn open(&mut self, account: &Account) -> Result<(), Failure> {
        match &mut self.state {
            State::Absent { opening } if !*opening => {
                *opening = true;
                Ok(())
            }
            State::Absent { .. } | State::Open(_) => {
                Err(Failure::new(FailureCode::AccountExists, format!("account {} exists", account.id)))
            }
        }
    }

    fn apply(&mut self, apply: &Apply) {
        let block = &apply.block;
        let times = if is_planted(Bug::ApplyTwice) { 2 } else { 1 };
        let entries = apply.entries.iter().flat_map(|position| std::iter::repeat_n(position, times));
        for committed in entries.filter_map(|position| block.get_at(*position)) {
            if is_planted(Bug::ApplySkipped) && committed.lsn.0.is_multiple_of(16) {
                continue;
            }
            let folded = match &mut self.state {
                State::Open(wallet) => wallet.apply(&committed.entry, committed.lsn),
                State::Absent { .. } => {
                    let mut account = None;
                    let folded = fold(&mut account, &self.id, &committed.entry, committed.lsn);
                    if let Some(account) = account {
                        self.state = State::Open(Box::new(Wallet::new(account)));
                    }
                    folded
                }
            };
            if let Err(error) = folded {
                (self.on_fatal)(&error.to_string());
            }
        }
    }
}

fn answer(reply: &CommandRef, event: Event) {
    reply.tell(CommandMessage::Event(event));
}

impl Actor for WalletActor {
    type Context = Context<Self>;
}

impl Handler<Queued<WalletMessage>> for WalletActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<WalletMessage>, _: &mut Self::Context) {
        queued.handle(|message| self.on(message));
        self.queued.fetch_sub(1, Ordering::Release);
        if let Some(per_second) = self.pace.count() {
            self.cells.hot.note(&self.id, per_second, &self.queued);
        }
    }
}
