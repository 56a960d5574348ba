//! One command in flight, a payment in almost every case: drives its flow from question to question.
//!
//! It keeps its own address until it is done, because an actor whose last address goes away right after a send may
//! stop with that message unhandled. It is done when its entry is handed to the journal: the answer goes with it, so
//! that it is given whoever left. The deadline is checked before Hold and before Append, never after (P6).

use std::sync::Arc;

use actix::{Actor, ActorContext, Context, Handler};
use smallvec::SmallVec;

use super::{
    directory::{AccountRef, OwnerRef},
    mailbox::{Mailbox, Order, Queued},
    risk::RiskActor,
};
use crate::{
    Refusal,
    answer::Answer,
    at_work::Place,
    engine::Core,
    journal::{Record, block::for_each_account, writer::Append},
    ledger::{
        entry::Entry,
        failure::Failure,
        flow::{Effect, Event, Flow},
        fx::{Pair, PairPrice},
        invariants,
        payment::Payment,
        risk::Counts,
        time::Timestamp,
    },
    messages::{Handed, PaymentMessage, PaymentRef, RiskMessage, WalletMessage},
    metrics::{ActorKind, Live},
    money::{AccountId, Money, OpId},
    trace::Trace,
};

/// All a command in flight starts with.
pub struct Launch {
    /// The engine.
    pub core: Arc<Core>,
    /// What decides.
    pub flow: Flow,
    /// Its id.
    pub op: OpId,
    /// Every account that may take part, pinned.
    pub cast: SmallVec<[AccountRef; 4]>,
    /// The owner whose record it may change, pinned.
    pub owner: Option<OwnerRef>,
    /// The risk actor of its arbiter.
    pub risk: Arc<Mailbox<RiskActor>>,
    /// When the risk rules let it through, and counted it so; what comes of it may take that back.
    pub let_through: Option<Timestamp>,
    /// Until when it may still be given up.
    pub deadline: Timestamp,
    /// Its place among those at work: given back when its entry is handed to the journal, so that others work while
    /// that syncs.
    pub at_work: Place,
    /// Who is told.
    pub answer: Answer,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Launch({})", self.op)
    }
}

/// See the module.
pub struct PaymentActor {
    me: PaymentRef,
    /// Gone once the command ended, or its entry is on its way.
    launch: Option<Box<Launch>>,
    /// What it begins with.
    first: Option<Event>,
    /// Accounts that were asked something and are to be told if nothing comes of it.
    asked: SmallVec<[(AccountRef, Asked); 2]>,
    prices: Vec<Option<Result<Box<PairPrice>, Failure>>>,
    _live: Live,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Money,
    Opening,
    Change,
}

impl PaymentActor {
    /// Starts a command on the arbiter this runs on, with the first event of its flow; its answer comes through the
    /// launch.
    pub fn start_here(launch: Box<Launch>, first: Event, order: &Order) {
        Mailbox::start_here(order, ActorKind::Payment, |me| Self {
            me,
            launch: Some(launch),
            first: Some(first),
            asked: SmallVec::new(),
            prices: Vec::new(),
            _live: Live::new(ActorKind::Payment),
        });
    }

    fn feed(&mut self, event: Event, context: &mut Context<Self>) {
        let Some(launch) = &mut self.launch else { return };
        let effect = launch.flow.on(event);
        self.carry_out(effect, context);
    }

    fn carry_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Quote(pairs) => self.quote(&pairs, context),
            Effect::Expect(account, amount) => {
                self.ask(&account, Asked::Money, context, |op, me| WalletMessage::Expect(op, amount, me));
            }
            Effect::Hold(account, amount) => self.hold(&account, amount, context),
            Effect::Open(account) => {
                let id = account.id.clone();
                self.ask(&id, Asked::Opening, context, |_, me| WalletMessage::Open(account, me));
            }
            Effect::Change(update) => {
                let id = update.account.clone();
                self.ask(&id, Asked::Change, context, |_, me| WalletMessage::Change(update, me));
            }
            Effect::Append(entry) => self.append(entry, context),
        }
    }

    fn hold(&mut self, account: &AccountId, amount: Money, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        self.ask(account, Asked::Money, context, |op, me| WalletMessage::Hold(op, amount, me));
    }

    fn ask(
        &mut self,
        account: &AccountId,
        asked: Asked,
        context: &mut Context<Self>,
        question: impl FnOnce(OpId, PaymentRef) -> WalletMessage,
    ) {
        let Some(launch) = &self.launch else { return };
        match launch.cast.iter().find(|party| party.id() == account) {
            Some(party) => {
                party.send(question(launch.op, Arc::clone(&self.me)));
                if !self.asked.iter().any(|(known, _)| known.id() == account) {
                    self.asked.push((Arc::clone(party), asked));
                }
            }
            None => self.give_up(Refusal::Internal(format!("account {account} has no part in this command")), context),
        }
    }

    fn quote(&mut self, pairs: &[Pair], context: &mut Context<Self>) {
        self.prices.clear();
        self.prices.resize(pairs.len(), None);
        let Some(core) = self.launch.as_ref().map(|launch| Arc::clone(&launch.core)) else { return };
        for (n, pair) in pairs.iter().enumerate() {
            match core.desk.pair(*pair) {
                Ok(actor) => actor.send(crate::messages::FxMessage::Quote(n, Arc::clone(&self.me))),
                Err(failure) => return self.feed(Event::Quoted(Err(failure)), context),
            }
        }
    }

    fn priced(&mut self, n: usize, price: Result<Box<PairPrice>, Failure>, context: &mut Context<Self>) {
        match self.prices.get_mut(n) {
            Some(place @ None) => *place = Some(price),
            // Not asked, or answered already.
            Some(Some(_)) | None => return,
        }
        if self.prices.iter().all(Option::is_some) {
            let prices = std::mem::take(&mut self.prices).into_iter().flatten().collect();
            self.feed(Event::Quoted(prices), context);
        }
    }

    fn is_late(&self) -> bool {
        self.launch.as_ref().is_some_and(|launch| launch.core.clock.now() > launch.deadline)
    }

    /// Hands the entry to the journal, with the answer. Nothing stops the command any more, and nothing of it is left
    /// to do here.
    fn append(&mut self, entry: Arc<Entry>, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        if let Err(broken) = invariants::check(&entry) {
            return self.give_up(Refusal::Internal(broken.to_string()), context);
        }
        let record = match Record::new(Arc::clone(&entry)) {
            Ok(record) => record,
            Err(error) => return self.give_up(Refusal::Internal(error.to_string()), context),
        };
        if entry.failure().is_some() {
            self.release_asked();
            self.take_back(entry.payment().map_or(Counts::Nothing, Payment::counts));
        }
        let Some(launch) = self.launch.take() else { return };
        let accounts = touched(&entry, &launch.cast);
        if let Some(trace) = &launch.answer.trace {
            trace.mark();
        }
        let Launch { core, owner, answer, at_work, .. } = *launch;
        core.append(Append { record, with: Handed { accounts, owner, answer } });
        drop(at_work);
        context.stop();
    }

    /// Tells the risk rules that what they let through came to nothing, and whose doing it was.
    fn take_back(&self, counts: Counts) {
        if let Some(launch) = &self.launch
            && let (Flow::Payment(payment), Some(at)) = (&launch.flow, launch.let_through)
        {
            launch.risk.send(RiskMessage::TakeBack(payment.customer().clone(), at, counts));
        }
    }

    fn release_asked(&mut self) {
        let Some(launch) = &self.launch else { return };
        for (account, asked) in self.asked.drain(..) {
            account.send(match asked {
                Asked::Money => WalletMessage::Release(launch.op),
                Asked::Opening => WalletMessage::AbandonOpen,
                Asked::Change => WalletMessage::AbandonChange,
            });
        }
    }

    /// Ends without an entry: nothing happened and nothing is held.
    fn give_up(&mut self, refusal: Refusal, context: &mut Context<Self>) {
        self.release_asked();
        self.take_back(Counts::Nothing);
        if let Some(launch) = self.launch.take() {
            if let Some(trace) = &launch.answer.trace {
                trace.mark();
            }
            launch.answer.refuse(refusal);
        }
        context.stop();
    }
}

/// The accounts of the cast that a durable entry changes.
fn touched(entry: &Entry, cast: &[AccountRef]) -> SmallVec<[AccountRef; 4]> {
    let mut accounts: SmallVec<[AccountRef; 4]> = SmallVec::new();
    if entry.failure().is_none() {
        for_each_account(entry, |id| {
            let party = cast.iter().find(|party| party.id() == id);
            let new = |party: &&AccountRef| !accounts.iter().any(|known| Arc::ptr_eq(known, party));
            if let Some(party) = party.filter(new) {
                accounts.push(Arc::clone(party));
            }
        });
    }
    accounts
}

impl Actor for PaymentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let trace = self.launch.as_ref().and_then(|launch| launch.answer.trace.clone());
        let _entered = trace.as_ref().map(Trace::enter);
        if let Some(first) = self.first.take() {
            self.feed(first, context);
        }
    }
}

impl Handler<Queued<PaymentMessage>> for PaymentActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<PaymentMessage>, context: &mut Self::Context) {
        queued.handle(|message| match message {
            PaymentMessage::Event(event) => self.feed(event, context),
            PaymentMessage::Priced(n, price) => self.priced(n, price, context),
        });
    }
}
