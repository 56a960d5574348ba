//! What every command in flight is: a pure machine that takes events and returns the next effect as data.
//!
//! The shell (`actors/command.rs`) carries effects out by message and feeds the answers back. A flow never waits and never
//! asks twice for one thing; it ends with [`Effect::Decide`]. An answer that it did not ask for ends the command with an
//! error before anything is durable.

use std::fmt;

use smallvec::SmallVec;

use super::{
    account::Account,
    decision::Decision,
    failure::Failure,
    fx::{Pair, PairPrice},
    moves::ByAccount,
    notes::Notes,
    risk::{Assessment, Verdict},
    settings::SettingsChange,
    transfer::Demands,
};
use crate::money::{AccountId, Money};

/// The UTC days that accounts' debits count for, or which of the accounts will not take part, and why.
pub type Joined = Result<Vec<u32>, (usize, Failure)>;

/// What the shell does next.
#[derive(Debug)]
pub enum Effect {
    /// Price these pairs.
    Quote(SmallVec<[Pair; 2]>),
    /// Ask the payees, all at once, whether they will take the money.
    Expect(ByAccount),
    /// Ask the payer to hold the money.
    Hold(AccountId, Money),
    /// Ask the accounts that got money, all at once, to give it back, whatever their daily limit.
    TakeBack(ByAccount),
    /// Ask accounts, all at once, to take part in a transfer: to give and to take.
    Join(Demands),
    /// Ask an account to decide a change of its settings.
    Change(AccountId, Box<SettingsChange>),
    /// Ask an account that is not there yet to be this one.
    Open(Box<Account>),
    /// Make the entry and hand it to the journal, if nothing speaks against it: a deadline, a broken rule.
    Decide(Box<Decision>),
}

/// An answer. Rare large parts are boxed: every message to a command is as large as the largest.
#[derive(Debug)]
pub enum Event {
    /// A command that the risk rules do not judge begins.
    Start,
    /// A command begins that they judge: what they say of it.
    Assessed(Verdict),
    /// From the desk, in the order asked.
    Quoted(Result<Vec<Box<PairPrice>>, Failure>),
    /// From all accounts that were asked to expect or to give back, or from one that was asked to open.
    Granted(Result<(), Failure>),
    /// From an account that was asked to hold: the UTC day it counts for (P6).
    Held(Result<u32, Failure>),
    /// From all accounts that were asked to take part: the UTC days their debits count for, or which of them will not.
    Joined(Joined),
    /// From an account that was asked to change: its settings afterwards.
    Changed(Result<Box<Account>, Failure>),
}

/// An answer to something that was not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the flow was told {event} while it waited for {waiting}")]
pub struct Unexpected {
    event: &'static str,
    waiting: &'static str,
}

impl Event {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Assessed(_) => "assessed",
            Self::Quoted(_) => "quoted",
            Self::Granted(_) => "granted",
            Self::Held(_) => "held",
            Self::Joined(_) => "joined",
            Self::Changed(_) => "changed",
        }
    }

    /// Not what a flow waits for.
    pub fn unexpected(&self, waiting: &'static str) -> Unexpected {
        Unexpected { event: self.name(), waiting }
    }

    /// The answer of an account that was asked to expect, to give back or to open.
    pub fn granted(self) -> Result<Result<(), Failure>, Unexpected> {
        if let Self::Granted(granted) = self { Ok(granted) } else { Err(self.unexpected("a grant")) }
    }

    /// The answer of an account that was asked to hold.
    pub fn held(self) -> Result<Result<u32, Failure>, Unexpected> {
        if let Self::Held(held) = self { Ok(held) } else { Err(self.unexpected("a hold")) }
    }

    /// The answer of all accounts that were asked to take part.
    pub fn joined(self) -> Result<Joined, Unexpected> {
        if let Self::Joined(joined) = self { Ok(joined) } else { Err(self.unexpected("all accounts")) }
    }

    /// The answer of an account that was asked to change.
    pub fn changed(self) -> Result<Result<Box<Account>, Failure>, Unexpected> {
        if let Self::Changed(changed) = self { Ok(changed) } else { Err(self.unexpected("a change")) }
    }
}

/// A command in flight.
pub trait Flow: fmt::Debug + Send {
    /// Whether the risk rules judge it before it begins.
    fn is_judged(&self) -> bool {
        false
    }

    /// What they are asked, if they do.
    fn assessment(&self, _notes: &Notes) -> Option<Assessment> {
        None
    }

    /// The next effect.
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected>;
}

type Decide = Box<dyn FnOnce(Event) -> Result<Decision, Unexpected> + Send>;

/// A flow of one question to one account, or of none.
struct OneQuestion {
    ask: Option<Effect>,
    decide: Option<Decide>,
}

impl fmt::Debug for OneQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneQuestion({:?})", self.ask)
    }
}

/// Asks one account one thing; the answer decides.
pub fn ask(
    question: Effect,
    decide: impl FnOnce(Event) -> Result<Decision, Unexpected> + Send + 'static,
) -> Box<dyn Flow> {
    Box::new(OneQuestion { ask: Some(question), decide: Some(Box::new(decide)) })
}

/// Asks nobody: decided by what was found.
pub fn decided(decision: Decision) -> Box<dyn Flow> {
    Box::new(OneQuestion { ask: Some(Effect::Decide(Box::new(decision))), decide: None })
}

/// Asks accounts for their leave before another flow begins, which was not begun if one refuses.
struct LeaveFirst {
    ask: Option<ByAccount>,
    declined: Option<Box<dyn FnOnce(Failure) -> Decision + Send>>,
    then: Box<dyn Flow>,
}

impl fmt::Debug for LeaveFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaveFirst({:?}, {:?})", self.ask, self.then)
    }
}

/// Asks whoever is to be credited before money is held: Expect comes before Hold (P6).
pub fn expect_first(
    ask: ByAccount,
    declined: impl FnOnce(Failure) -> Decision + Send + 'static,
    then: Box<dyn Flow>,
) -> Box<dyn Flow> {
    Box::new(LeaveFirst { ask: Some(ask), declined: Some(Box::new(declined)), then })
}

impl Flow for LeaveFirst {
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        if let Some(ask) = self.ask.take() {
            let begins = matches!(event, Event::Start);
            return if begins { Ok(Effect::Expect(ask)) } else { Err(event.unexpected("its start")) };
        }
        let Some(declined) = self.declined.take() else { return self.then.on(event) };
        match event.granted()? {
            Ok(()) => self.then.on(Event::Start),
            Err(failure) => Ok(Effect::Decide(Box::new(declined(failure)))),
        }
    }
}

impl Flow for OneQuestion {
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        match (event, self.ask.take()) {
            (Event::Start, Some(question)) => Ok(question),
            (event, None) => {
                let decide = self.decide.take().ok_or(event.unexpected("nothing"))?;
                Ok(Effect::Decide(Box::new(decide(event)?)))
            }
            (event, Some(_)) => Err(event.unexpected("its start")),
        }
    }
}
