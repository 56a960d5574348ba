//! What every command in flight is: a pure machine that takes events and returns the next effect as data.
//!
//! The shell (`actors/payment.rs`) carries effects out by message and feeds the answers back. A flow never waits and
//! never asks twice for one thing; it ends with [`Effect::Append`].

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    account::Account,
    command::CommandFlow,
    entry::Entry,
    failure::Failure,
    fx::{Pair, PairPrice},
    payment::PaymentFlow,
    request::UpdateAccount,
    risk::Verdict,
};
use crate::money::{AccountId, Currency, Money, OwnerId};

/// What the shell does next.
#[derive(Debug)]
pub enum Effect {
    /// Price these pairs.
    Quote(SmallVec<[Pair; 2]>),
    /// Ask the payee whether it will take the money.
    Expect(AccountId, Money),
    /// Ask the payer to hold the money.
    Hold(AccountId, Money),
    /// Ask an account to decide a change of its settings.
    Change(Box<UpdateAccount>),
    /// Ask an account that is not there yet to be this one.
    Open(Box<Account>),
    /// Hand the entry to the journal. Nothing stops the command any more.
    Append(Arc<Entry>),
}

/// An answer. Rare large parts are boxed: every message to a payment is as large as the largest.
#[derive(Debug)]
pub enum Event {
    /// A command that the risk rules do not judge begins.
    Start,
    /// A payment begins: what the risk rules say of it.
    Assessed(Verdict),
    /// From the desk, in the order asked.
    Quoted(Result<Vec<Box<PairPrice>>, Failure>),
    /// From an account that was asked to expect or open.
    Granted(Result<(), Failure>),
    /// From an account that was asked to hold: the UTC day it counts for (P6).
    Held(Result<u32, Failure>),
    /// From an account that was asked to change: its settings afterwards.
    Changed(Result<Box<Account>, Failure>),
}

/// An account that may take part, as known when the command was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// Its owner.
    pub owner: OwnerId,
}

/// A command in flight.
#[derive(Debug)]
pub enum Flow {
    /// A payment.
    Payment(Box<PaymentFlow>),
    /// Any other command: at most one question to one account, then the entry.
    Command(Box<CommandFlow>),
}

impl Flow {
    /// The next effect.
    pub fn on(&mut self, event: Event) -> Effect {
        match self {
            Self::Payment(flow) => flow.on(event),
            Self::Command(flow) => flow.on(event),
        }
    }
}
