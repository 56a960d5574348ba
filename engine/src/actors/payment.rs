//! One command in flight, a payment in almost every case: drives its flow from question to question.
//!
//! It keeps its own address until it is done, because an actor whose last address goes away right after a send may
//! stop with that message unhandled. It is detached from whoever asked: once its entry is appended it always ends in
//! an answer, whoever left. The deadline is checked before Hold and before Append, never after (P6).

use std::sync::Arc;

use actix::{Actor, ActorContext, Context, Handler};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    directory::{AccountRef, OwnerRef},
    mailbox::{Mailbox, Place, Queued},
    risk::RiskActor,
};
use crate::{
    Refusal, UnavailableReason,
    admission::InFlight,
    engine::Core,
    idempotency::Claim,
    journal::{Record, block::for_each_account, writer::Append},
    ledger::{
        entry::{Committed, Entry, Outcome},
        failure::Failure,
        flow::{Effect, Event, Flow},
        fx::{Pair, PairPrice},
        invariants,
        request::Request,
        time::Timestamp,
    },
    messages::{Handed, PaymentMessage, PaymentRef, RiskMessage, WalletMessage},
    metrics::{ActorKind, Live},
    money::{AccountId, Lsn, Money, OpId},
};

/// All a command in flight starts with.
pub struct Launch {
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
    /// Its keys, in the order they were claimed.
    pub claims: SmallVec<[Claim; 3]>,
    /// Until when it may still be given up.
    pub deadline: Timestamp,
    /// Its place in admission.
    pub in_flight: InFlight,
    /// Who asked.
    pub reply: oneshot::Sender<Result<Committed, Refusal>>,
}

/// See the module.
pub struct PaymentActor {
    core: Arc<Core>,
    me: PaymentRef,
    launch: Option<Box<Launch>>,
    /// Accounts that were asked something and are to be told if nothing comes of it.
    asked: SmallVec<[(AccountRef, Asked); 2]>,
    prices: Vec<Option<Result<Box<PairPrice>, Failure>>>,
    entry: Option<Arc<Entry>>,
    _live: Live,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Money,
    Opening,
    Change,
}

impl PaymentActor {
    /// Starts a command on its arbiter; its answer comes through the launch's reply.
    pub fn launch(core: Arc<Core>, place: &Place, launch: Launch) {
        let order = place.order.clone();
        // Boxed: an actor is moved several times before it runs.
        let launch = Box::new(launch);
        Mailbox::start(place, ActorKind::Payment, move |context| Self {
            core,
            me: Mailbox::own(context, ActorKind::Payment, &order),
            launch: Some(launch),
            asked: SmallVec::new(),
            prices: Vec::new(),
            entry: None,
            _live: Live::new(ActorKind::Payment),
        });
    }

    fn feed(&mut self, event: Event, context: &mut Context<Self>) {
        // Behind the append only the commit counts.
        let (Some(launch), None) = (&mut self.launch, &self.entry) else { return };
        let effect = launch.flow.on(event);
        self.carry_out(effect, context);
    }

    fn carry_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        let Some(launch) = &self.launch else { return };
        match effect {
            Effect::Assess(ask) => launch.risk.send(RiskMessage::Assess(ask, Arc::clone(&self.me))),
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
            Effect::Append(entry) => self.append(*entry, context),
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
        for (n, pair) in pairs.iter().enumerate() {
            match self.core.desk.pair(*pair) {
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
        self.launch.as_ref().is_some_and(|launch| self.core.clock.now() > launch.deadline)
    }

    /// Hands the entry to the journal. Nothing stops the command any more.
    fn append(&mut self, entry: Entry, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        if let Err(broken) = invariants::check(&entry) {
            return self.give_up(Refusal::Internal(broken.to_string()), context);
        }
        if let Some(failure) = entry.failure() {
            self.core.cells.count_decline(failure.code);
            self.release_asked();
            self.note_decline(&entry);
        }
        let entry = Arc::new(entry);
        let record = match Record::new(Arc::clone(&entry)) {
            Ok(record) => record,
            Err(error) => return self.give_up(Refusal::Internal(error.to_string()), context),
        };
        let Some(launch) = &self.launch else { return };
        let mut accounts = SmallVec::new();
        if entry.failure().is_none() {
            for_each_account(&entry, |id| {
                let party = launch.cast.iter().find(|party| party.id() == id);
                let new = |party: &&AccountRef| !accounts.iter().any(|known| Arc::ptr_eq(known, party));
                if let Some(party) = party.filter(new) {
                    accounts.push(Arc::clone(party));
                }
            });
        }
        let handed = Handed { accounts, owner: launch.owner.clone(), payment: Arc::clone(&self.me) };
        self.entry = Some(entry);
        if !self.core.append(Append { record, with: handed }) {
            self.give_up(Refusal::Unavailable { reason: UnavailableReason::JournalFailed }, context);
        }
    }

    fn note_decline(&self, entry: &Entry) {
        if let (Outcome::Payment(_), Request::CreatePayment(request), Some(launch)) =
            (&entry.outcome, &entry.request, &self.launch)
        {
            launch.risk.send(RiskMessage::Declined(request.customer.clone()));
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

    fn committed(&mut self, lsn: Lsn, at: Timestamp, context: &mut Context<Self>) {
        if let Some(entry) = self.entry.take() {
            self.end(&Ok(Committed { entry, lsn, at }), context);
        }
    }

    /// Ends without an entry: nothing happened and nothing is held.
    fn give_up(&mut self, refusal: Refusal, context: &mut Context<Self>) {
        self.release_asked();
        self.end(&Err(refusal), context);
    }

    /// The key's claim goes first, so that whoever is told can use the key at once.
    fn end(&mut self, end: &Result<Committed, Refusal>, context: &mut Context<Self>) {
        if let Some(launch) = self.launch.take() {
            for claim in launch.claims {
                claim.end(end);
            }
            drop(launch.in_flight);
            // A caller that went away finds the outcome under its tx_id.
            let _ = launch.reply.send(end.clone());
        }
        context.stop();
    }
}

impl Actor for PaymentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.feed(Event::Start, context);
    }
}

impl Handler<Queued<PaymentMessage>> for PaymentActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<PaymentMessage>, context: &mut Self::Context) {
        queued.handle(|message| match message {
            PaymentMessage::Event(event) => self.feed(event, context),
            PaymentMessage::Priced(n, price) => self.priced(n, price, context),
            PaymentMessage::Committed(lsn, at) => self.committed(lsn, at, context),
            PaymentMessage::Lost => {
                self.end(&Err(Refusal::Unavailable { reason: UnavailableReason::JournalFailed }), context);
            }
        });
    }
}
