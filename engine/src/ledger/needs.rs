//! What a command has to know before it is decided, as data, and what of it was found.
//!
//! A command says what it still needs, given what was found so far, until it needs nothing more. `intake/resolve.rs` finds
//! it, the same for every command.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use super::{
    account::Account, decision::Change, life::Life, owner::Owner, payment::Payment, rates::RateBook,
    reservation::Reservation, reversal::Original, time::Timestamp, transfer::Transfer,
};
use crate::money::{AccountId, Currency, OpId, OwnerId};

/// What a command needs in one go: a payment two things at most, as long as it has one candidate.
pub type Needs = SmallVec<[Need; 2]>;

/// One thing a command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Commands that take the same turn are decided one after another.
    Turn(Turn),
    /// The record of an owner; it is empty where nobody knows the owner.
    Owner(OwnerId),
    /// The same of an owner whose record the command changes.
    OwnerToChange(OwnerId),
    /// An account that has to be open.
    Account(AccountId),
    /// An account that takes part if it is open.
    AccountIfOpen(AccountId),
    /// An open account's settings and counters, as its own actor knows them.
    AccountNow(AccountId),
    /// An account that is to be opened.
    NewAccount(AccountId, Currency, OwnerId),
    /// An account of the house, made on first use: what it is for, in a currency.
    System(&'static str, Currency),
    /// The object under an id, as the latest entry about it left it.
    Object(OpId),
    /// All rates that stand.
    Rates,
    /// The time, once all that stands before it in the list was found.
    Now,
    /// The time of an object is over: it has to expire before the command is decided.
    Expired(OpId, Timestamp),
}

/// What commands take turns at. Where a command takes several, they are claimed in the order of this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The opening of an owner's accounts.
    Owner(OwnerId),
    /// The settings of an account.
    Settings(AccountId),
    /// What becomes of an object.
    Object(OpId),
    /// The rates that stand.
    Rates,
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

/// What was found of it.
#[derive(Debug, Default)]
pub struct Found {
    /// Owners that were asked for.
    pub owners: SmallVec<[(OwnerId, Arc<Owner>); 2]>,
    /// Accounts that were asked for and are open.
    pub parties: SmallVec<[Party; 4]>,
    /// An account's settings and counters. Boxed as the next, which payments do not need either.
    pub account_now: Option<Box<Account>>,
    /// The object that was asked for.
    pub object: Option<Box<Change>>,
    /// All rates that stand.
    pub rates: Option<Arc<RateBook>>,
    /// The time.
    pub now: Option<Moment>,
    /// How often something was asked for.
    pub rounds: usize,
}

impl Found {
    /// An owner's record.
    pub fn owner(&self, id: &OwnerId) -> Option<&Arc<Owner>> {
        self.owners.iter().find(|(known, _)| known == id).map(|(_, owner)| owner)
    }

    /// The owner of an account that was found.
    pub fn owner_of(&self, id: &AccountId) -> OwnerId {
        self.party(id).map_or_else(OwnerId::system, |party| party.owner.clone())
    }

    /// The reservation that was asked for.
    pub fn reservation(&self, id: OpId) -> Result<&Reservation, Missing> {
        match self.object.as_deref() {
            Some(Change::Reservation(reservation)) if reservation.id == id => Ok(reservation),
            _ => Err(Missing::unknown("reservation", id)),
        }
    }

    /// The payment that was asked for, with its life.
    pub fn payment(&self, id: OpId) -> Result<(&Payment, &Life), Missing> {
        match self.object.as_deref() {
            Some(Change::Payment(payment)) if payment.id == id => {
                let life = payment.life.as_deref().ok_or(Missing::NotAsked("the payment's life"))?;
                Ok((payment, life))
            }
            _ => Err(Missing::unknown("payment", id)),
        }
    }

    /// The transfer that was asked for.
    pub fn transfer(&self, id: OpId) -> Result<&Transfer, Missing> {
        match self.object.as_deref() {
            Some(Change::Transfer(transfer)) if transfer.id == id => Ok(transfer),
            _ => Err(Missing::unknown("transfer", id)),
        }
    }

    /// The deposit, withdrawal, reversal or transfer that was asked for.
    pub fn original(&self, id: OpId) -> Result<Original, Missing> {
        let found = self.object.as_deref().filter(|change| change.object() == Some(id));
        found.and_then(Original::of).ok_or_else(|| Missing::unknown("operation", id))
    }

    /// The owner of the account that gives first.
    pub fn home_of_transfer(&self, id: OpId) -> OwnerId {
        let from = self.transfer(id).ok().and_then(|transfer| transfer.legs.first()).map(|leg| &leg.from);
        from.map_or_else(OwnerId::system, |from| self.owner_of(from))
    }

    /// The customer of a payment.
    pub fn customer_of_payment(&self, id: OpId) -> OwnerId {
        let before = self.payment(id).ok().and_then(|(_, life)| life.before.as_ref());
        before.map_or_else(OwnerId::system, |before| before.origin.customer.clone())
    }

    /// The owner of the account that a reservation holds money of.
    pub fn owner_of_reservation(&self, id: OpId) -> OwnerId {
        self.reservation(id).map_or_else(|_| OwnerId::system(), |reservation| self.owner_of(&reservation.account))
    }

    /// All rates that stand.
    pub fn rates(&self) -> Result<&RateBook, Missing> {
        self.rates.as_deref().ok_or(Missing::NotAsked("the rates"))
    }

    /// The time.
    pub fn now(&self) -> Result<Moment, Missing> {
        self.now.ok_or(Missing::NotAsked("the time"))
    }

    /// An account that is open.
    pub fn party(&self, id: &AccountId) -> Option<&Party> {
        self.parties.iter().find(|party| party.account == *id)
    }
}

/// Something a command cannot do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It does not exist: the command is refused and not recorded.
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The request says what no state can make right: it is refused and not recorded.
    OutOfBounds {
        /// Which of its fields, as the wire names it.
        field: &'static str,
        /// What it says, and the rule that this breaks.
        rule: String,
    },
    /// The command did not ask for it first: a bug.
    NotAsked(&'static str),
}

impl Missing {
    /// Nothing of this kind has this id.
    pub fn unknown(what: &'static str, id: impl ToString) -> Self {
        Self::Unknown { what, id: id.to_string() }
    }
}

/// Under what terms a command is decided.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The command's own id; that of the object it makes, if it makes one.
    pub op: OpId,
    /// What the house says.
    pub house: &'a House,
}

/// One look at the engine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time that is believed: daily limits and risk windows count by it.
    pub believed: Timestamp,
    /// The latest time that is known of: objects' times begin and end by it.
    pub latest: Timestamp,
    /// From when on the time of an object made now counts: the latest time, unless that is of a clock that is not believed.
    pub begins: Timestamp,
    /// Whether the clock is trusted; while it is not, nothing's time is over.
    pub is_trusted: bool,
}

impl Moment {
    /// Whether the time of an object that ends at `end` is over.
    pub fn is_over(&self, end: Timestamp) -> bool {
        self.is_trusted && end <= self.latest
    }
}

/// What the house puts where a request leaves something open, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct House {
    /// The merchant that is paid where a payment names no destination.
    pub merchant: OwnerId,
    /// How long a reservation lasts that names no time.
    pub reservation_default: Duration,
    /// How long a reservation may last.
    pub reservation_max: Duration,
    /// How long an authorisation lasts that names no time.
    pub authorization_default: Duration,
    /// How long an authorisation may last.
    pub authorization_max: Duration,
    /// How long a transfer is held that names no time.
    pub transfer_default: Duration,
    /// How long a transfer may be held.
    pub transfer_max: Duration,
    /// The spread of a published rate that names none, in basis points.
    pub spread_bps_default: u16,
    /// Accounts one owner may have.
    pub accounts_per_owner_max: usize,
}

impl House {
    /// Which account the merchant takes an amount of a currency with.
    pub fn account_of(merchant: &Owner, currency: Currency) -> Option<&AccountId> {
        merchant.candidates(currency).next().map(|owned| &owned.account)
    }
}
