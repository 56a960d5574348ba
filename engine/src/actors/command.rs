//! One command in flight, a payment in almost every case: drives its flow from question to question.
//!
//! It keeps its own address until it is done, because an actor whose last address goes away right after a send may
//! stop with that message unhandled. It is done when its entry is handed to the journal: the answer goes with it, so
//! that it is given whoever left. The deadline is checked before Hold and before Append, never after (P6).

use std::{fmt, sync::Arc};

use actix::{Actor, ActorContext, Context, Handler};
use smallvec::SmallVec;

use super::{
    fx::Desk,
    handles::{AccountRef, OwnerRef},
    mailbox::{DeliveryOrder, Mailbox, Queued},
    messages::{CommandMessage, CommandRef, FxMessage, Judged, RiskMessage, Told, WalletMessage},
    objects::ObjectRef,
    risk::RiskActor,
    sink::{Handed, Sink},
};
use crate::{
    clock::Clock,
    gate::{caller::Answer, claims::Claim, slots::Slot},
    journal::{Record, block::for_each_account, writer::Append},
    ledger::{
        decision::Decision,
        entry::{Entry, Order},
        failure::Failure,
        flow::{Effect, Event, Flow},
        fx::{Pair, PairPrice},
        invariants,
        moves::ByAccount,
        payment,
        risk::{Assessment, Counts},
        time::Timestamp,
        transfer::Demands,
    },
    metrics::{ActorKind, Live},
    money::{AccountId, Money, OpId, OwnerId},
    planted::{Bug, is_planted},
    refusal::Refusal,
    trace::Trace,
};

/// What commands in flight work with.
pub struct Environment {
    /// The engine's clock.
    pub clock: Clock,
    /// Who prices.
    pub desk: Arc<Desk>,
    /// The way into the journal.
    pub sink: Sink,
}

/// All a command in flight starts with.
pub struct Launch {
    /// What it works with.
    pub environment: Arc<Environment>,
    /// The command's id.
    pub op: OpId,
    /// What was asked; gone once it is decided.
    pub order: Option<Order>,
    /// What decides.
    pub flow: Box<dyn Flow>,
    /// Every account that may take part, pinned.
    pub cast: SmallVec<[AccountRef; 4]>,
    /// The owner whose record it may change, pinned.
    pub owner: Option<OwnerRef>,
    /// The object that it is about, pinned.
    pub object: Option<ObjectRef>,
    /// The risk actor of its arbiter.
    pub risk: Arc<Mailbox<RiskActor>>,
    /// Whose payment the risk rules let through, and counted so, and when; what comes of it may take that back.
    pub let_through: Option<(OwnerId, Timestamp)>,
    /// Until when it may still be given up.
    pub deadline: Timestamp,
    /// Its place among those at work, once it has one: given back when its entry is handed to the journal, so that
    /// others work while that syncs.
    pub slot: Option<Slot>,
    /// Who is told.
    pub answer: Answer,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Launch({})", self.op)
    }
}

impl Judged for Launch {
    fn deadline(&self) -> Timestamp {
        self.deadline
    }

    fn give_up(self: Box<Self>) {
        self.answer.refuse(Refusal::DeadlineExceeded);
    }

    fn assessment(&self) -> Option<Assessment> {
        self.order.as_ref().and_then(|order| self.flow.assessment(&order.notes))
    }

    fn begin(mut self: Box<Self>, told: Told, order: &DeliveryOrder) {
        let first = match told {
            Told::Nothing => Event::Start,
            Told::Verdict(verdict) => Event::Assessed(verdict),
            Told::LetThrough(verdict, customer, at) => {
                self.let_through = Some((customer, at));
                Event::Assessed(verdict)
            }
        };
        CommandActor::start_here(self, first, order);
    }
}

/// See the module.
pub struct CommandActor {
    me: CommandRef,
    /// Gone once the command ended, or its entry is on its way.
    launch: Option<Box<Launch>>,
    /// What it begins with.
    first: Option<Event>,
    /// Accounts that were asked something and are to be told if nothing comes of it.
    asked: SmallVec<[(AccountRef, Asked); 2]>,
    prices: Vec<Option<Result<Box<PairPrice>, Failure>>>,
    /// What accounts said that were asked to take part.
    joined: Vec<Option<Result<u32, Failure>>>,
    /// How many accounts that were asked at once have not answered yet.
    unanswered: usize,
    /// Why one of them will not.
    refused: Option<Failure>,
    _live: Live,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Money,
    Opening,
    Change,
}

impl CommandActor {
    /// Starts a command on the arbiter this runs on, with the first event of its flow; its answer comes through the
    /// launch.
    pub fn start_here(launch: Box<Launch>, first: Event, order: &DeliveryOrder) {
        Mailbox::start_here(order, ActorKind::Payment, |me| Self {
            me,
            launch: Some(launch),
            first: Some(first),
            asked: SmallVec::new(),
            prices: Vec::new(),
            joined: Vec::new(),
            unanswered: 0,
            refused: None,
            _live: Live::new(ActorKind::Payment),
        });
    }

    fn feed(&mut self, event: Event, context: &mut Context<Self>) {
        let Some(launch) = &mut self.launch else { return };
        match launch.flow.on(event) {
            Ok(effect) => self.carry_out(effect, context),
            Err(unexpected) => self.give_up(Refusal::Internal(unexpected.to_string()), context),
        }
    }

    fn carry_out(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Quote(pairs) => self.quote(&pairs, context),
            Effect::Expect(accounts) => self.ask_all(accounts, context, WalletMessage::Expect),
            Effect::Hold(account, amount) => self.hold(&account, amount, context),
            Effect::Join(demands) => self.join(demands, context),
            Effect::TakeBack(accounts) => self.take_back(accounts, context),
            Effect::Open(account) => {
                let id = account.id.clone();
                self.unanswered = 1;
                self.ask(&id, Asked::Opening, context, |_, me| WalletMessage::Open(account, me));
            }
            Effect::Change(account, change) => {
                self.ask(&account, Asked::Change, context, |_, me| WalletMessage::Change(change, me));
            }
            Effect::Decide(decision) => self.append(decision, context),
        }
    }

    fn hold(&mut self, account: &AccountId, amount: Money, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        self.ask(account, Asked::Money, context, |op, me| WalletMessage::Hold(op, amount, me));
    }

    fn take_back(&mut self, accounts: ByAccount, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        self.ask_all(accounts, context, WalletMessage::TakeBack);
    }

    fn join(&mut self, demands: Demands, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        self.joined = vec![None; demands.len()];
        for (n, (account, demand)) in demands.into_iter().enumerate() {
            let demand = Box::new(demand);
            self.ask(&account, Asked::Money, context, |op, me| WalletMessage::Join(op, n, demand, me));
        }
    }

    fn has_joined(&mut self, n: usize, answer: Result<u32, Failure>, context: &mut Context<Self>) {
        match self.joined.get_mut(n) {
            Some(place @ None) => *place = Some(answer),
            // Not asked, or answered already.
            Some(Some(_)) | None => return,
        }
        if self.joined.iter().all(Option::is_some) {
            let answers = std::mem::take(&mut self.joined).into_iter().flatten().enumerate();
            let joined = answers.map(|(n, answer)| answer.map_err(|failure| (n, failure))).collect();
            self.feed(Event::Joined(joined), context);
        }
    }

    /// Asks several accounts one thing each; of the house alone nobody has to be asked.
    fn ask_all(
        &mut self,
        accounts: ByAccount,
        context: &mut Context<Self>,
        question: fn(OpId, Money, CommandRef) -> WalletMessage,
    ) {
        if accounts.is_empty() {
            return self.feed(Event::Granted(Ok(())), context);
        }
        self.unanswered = accounts.len();
        for (account, amount) in accounts {
            self.ask(&account, Asked::Money, context, |op, me| question(op, amount, me));
        }
    }

    /// One of those that were asked at once answered: the flow goes on when all have, with what one refused, if one did.
    fn granted(&mut self, granted: Result<(), Failure>, context: &mut Context<Self>) {
        if let Err(failure) = granted {
            self.refused.get_or_insert(failure);
        }
        match self.unanswered {
            0 => self.give_up(Refusal::Internal("an account answered that was not asked".into()), context),
            1 => {
                self.unanswered = 0;
                let granted = self.refused.take().map_or(Ok(()), Err);
                self.feed(Event::Granted(granted), context);
            }
            more => self.unanswered = more.saturating_sub(1),
        }
    }

    fn ask(
        &mut self,
        account: &AccountId,
        asked: Asked,
        context: &mut Context<Self>,
        question: impl FnOnce(OpId, CommandRef) -> WalletMessage,
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
        let Some(environment) = self.launch.as_ref().map(|launch| Arc::clone(&launch.environment)) else { return };
        for (n, pair) in pairs.iter().enumerate() {
            match environment.desk.pair(*pair) {
                Ok(actor) => {
                    let me: CommandRef = Arc::clone(&self.me);
                    actor.send(FxMessage::Quote(n, me));
                }
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
        self.launch.as_ref().is_some_and(|launch| launch.environment.clock.now() > launch.deadline)
    }

    /// Makes the entry and hands it to the journal, with the answer. Nothing stops the command any more, and nothing of
    /// it is left to do here.
    fn append(&mut self, decision: Box<Decision>, context: &mut Context<Self>) {
        if self.is_late() {
            return self.give_up(Refusal::DeadlineExceeded, context);
        }
        let Some(launch) = &mut self.launch else { return };
        let Some(order) = launch.order.take() else {
            return self.give_up(Refusal::Internal("a command was decided twice".into()), context);
        };
        let entry = Arc::new(Entry::new(order, decision));
        let (record, accounts) = match ready(&entry, &launch.cast) {
            Ok(ready) => ready,
            Err(broken) => return self.give_up(Refusal::Internal(broken), context),
        };
        if let Some(failure) = entry.failure() {
            self.release_asked();
            self.take_back_of_risk(payment::counts(Some(failure)));
        } else {
            // Who was asked, and has no part in what came of it, never hears of the entry.
            let takes_part = |account: &AccountRef| accounts.iter().any(|part| Arc::ptr_eq(part, account));
            self.asked.retain(|(account, asked)| *asked == Asked::Money && !takes_part(account));
            self.release_asked();
        }
        let Some(launch) = self.launch.take() else { return };
        if let Some(trace) = &launch.answer.trace {
            trace.mark();
        }
        let Launch { environment, owner, object, answer, slot, .. } = *launch;
        if is_planted(Bug::ClaimFreedEarly) {
            answer.claims.iter().for_each(Claim::forget);
        }
        let owner = owner.filter(|_| entry.decision.changed_account().is_some());
        environment.sink.append(Append { record, with: Handed { accounts, owner, object, answer } });
        drop(slot);
        context.stop();
    }

    /// Tells the risk rules that what they let through came to nothing, and whose doing it was.
    fn take_back_of_risk(&mut self, counts: Counts) {
        if let Some(launch) = &mut self.launch
            && let Some((customer, at)) = launch.let_through.take()
        {
            launch.risk.send(RiskMessage::TakeBack(customer, at, counts));
        }
    }

    fn release_asked(&mut self) {
        let Some(launch) = &self.launch else { return };
        if is_planted(Bug::HoldLeakedByAFailedSplit) && self.asked.len() > 2 {
            self.asked.truncate(1);
        }
        let asked = self.asked.drain(..);
        for (account, asked) in asked.filter(|(_, asked)| *asked != Asked::Money || !is_planted(Bug::LostRelease)) {
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
        self.take_back_of_risk(Counts::Nothing);
        if let Some(launch) = self.launch.take() {
            if let Some(trace) = &launch.answer.trace {
                trace.mark();
            }
            launch.answer.refuse(refusal);
        }
        context.stop();
    }
}

/// The record of an entry, and the accounts that it changes; why it must not become durable, if it must not.
fn ready(entry: &Arc<Entry>, cast: &[AccountRef]) -> Result<(Record, SmallVec<[AccountRef; 4]>), String> {
    invariants::check(entry).map_err(|broken| broken.to_string())?;
    let accounts = touched(entry, cast)?;
    let record = Record::new(Arc::clone(entry)).map_err(|error| error.to_string())?;
    Ok((record, accounts))
}

/// The accounts of the cast that an entry changes, once it is durable. A change to any other account would never be
/// applied.
fn touched(entry: &Entry, cast: &[AccountRef]) -> Result<SmallVec<[AccountRef; 4]>, String> {
    let mut accounts: SmallVec<[AccountRef; 4]> = SmallVec::new();
    if entry.failure().is_some() {
        return Ok(accounts);
    }
    let mut stranger = None;
    for_each_account(entry, |id| match cast.iter().find(|party| party.id() == id) {
        None => stranger = Some(id.clone()),
        Some(party) => {
            if !accounts.iter().any(|known| Arc::ptr_eq(known, party)) {
                accounts.push(Arc::clone(party));
            }
        }
    });
    match stranger.filter(|_| !is_planted(Bug::PostingOutsideTheCast)) {
        None => Ok(accounts),
        Some(id) => Err(format!("account {id} has no part in this command, and would be changed by it")),
    }
}

impl Actor for CommandActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let trace = self.launch.as_ref().and_then(|launch| launch.answer.trace.clone());
        let _entered = trace.as_ref().map(Trace::enter);
        if let Some(first) = self.first.take() {
            self.feed(first, context);
        }
    }
}

impl Handler<Queued<CommandMessage>> for CommandActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<CommandMessage>, context: &mut Self::Context) {
        queued.handle(|message| match message {
            CommandMessage::Event(Event::Granted(granted)) => self.granted(granted, context),
            CommandMessage::Event(event) => self.feed(event, context),
            CommandMessage::Joined(n, answer) => self.has_joined(n, answer, context),
            CommandMessage::Priced(n, price) => self.priced(n, price, context),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{
            commands::{Deposit, Request, funds::Funds},
            failure::FailureCode,
            notes::Notes,
        },
        money::{Currency, Posting, PostingKind, TenantId, TxId},
    };

    #[test]
    fn an_entry_that_changes_an_account_outside_the_cast_never_gets_ready() {
        let usd = |minor| Money::new(minor, Currency::from_code("USD").expect("USD"));
        let account = |id: &str| AccountId::parse(id).expect("an id");
        let entry = |decision| {
            let request = Request::Deposit(Deposit(Funds { account: account("a"), amount: usd(1) }));
            let tx_id = TxId::parse("key").expect("a key");
            let order = Order { tenant: TenantId(0), op: OpId(1), tx_id, request, notes: Notes::default() };
            Arc::new(Entry::new(order, Box::new(decision)))
        };
        let lines = vec![
            Posting::new(account("w"), PostingKind::Debit { held_on: 1 }, usd(1)),
            Posting::new(account("a"), PostingKind::Credit, usd(1)),
        ];
        let moved = entry(Decision { postings: lines, ..Decision::default() });
        let why = ready(&moved, &[]).map(|_| ()).expect_err("nobody takes part");
        assert_eq!(why, "account a has no part in this command, and would be changed by it");
        let declined = entry(Decision::declined(Failure::new(FailureCode::AccountFrozen, "frozen")));
        assert!(ready(&declined, &[]).is_ok_and(|(_, accounts)| accounts.is_empty()));
    }
}
