//! The durable part of an account: a pure function of the journal.
//!
//! What an entry does to it is in [`super::apply`]; what a crash forgets (holds) is in [`super::wallet`].

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::settings::AccountStatus;
use crate::money::{AccountId, Currency, Lsn, Money, NO_DAY, OwnerId, Posting, PostingKind};

/// An account as the journal up to `applied_lsn` says. All counters are minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Its one currency.
    pub currency: Currency,
    /// Whether it takes part.
    pub status: AccountStatus,
    /// All that ever left.
    pub debits_posted: i128,
    /// All that ever came in.
    pub credits_posted: i128,
    /// What is durably set aside (P6).
    pub authorized: i128,
    /// How far below zero the available balance may go.
    pub overdraft_limit: i128,
    /// How much has to stay, if it may not go below zero: a payment takes nothing of it.
    pub minimum_balance: i128,
    /// How much may leave on one UTC day.
    pub daily_debit_limit: Option<i128>,
    /// The UTC day `day_debits` counts, in days since 1970-01-01.
    pub day: u32,
    /// What left or was set aside on `day`.
    pub day_debits: i128,
    /// What names it, on either side: while there is any of it, the account stays open (P6).
    pub named_by: NamedBy,
    /// The entry that opened it, or that first touched an account of the house.
    pub opened_lsn: Lsn,
    /// The last entry that changed it; a declined one changes nothing.
    pub applied_lsn: Lsn,
}

/// How much of what is set aside names an account, as payer or payee.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct NamedBy {
    /// Authorised payments.
    #[n(0)]
    pub payments: u32,
    /// Active reservations.
    #[n(1)]
    pub reservations: u32,
    /// Held transfers.
    #[n(2)]
    pub transfers: u32,
}

impl NamedBy {
    /// Nothing does.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payments, reservations, transfers } = self;
        write!(f, "{payments} authorised payments, {reservations} active reservations and {transfers} held transfers")
    }
}

/// A counter left `i128`, or a line named another currency: the journal itself would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant broken at lsn {lsn}: posting {amount:?} cannot be applied to account {account} in {currency}")]
pub struct FoldError {
    /// Where.
    pub lsn: Lsn,
    /// Which account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// What was to be applied.
    pub amount: Money,
}

impl Account {
    /// An account as it is opened: empty and active.
    pub fn open(id: AccountId, owner: OwnerId, currency: Currency) -> Self {
        Self {
            id,
            owner,
            currency,
            status: AccountStatus::Active,
            debits_posted: 0,
            credits_posted: 0,
            authorized: 0,
            overdraft_limit: 0,
            minimum_balance: 0,
            daily_debit_limit: None,
            day: 0,
            day_debits: 0,
            named_by: NamedBy::default(),
            opened_lsn: Lsn(0),
            applied_lsn: Lsn(0),
        }
    }

    /// An account of the house, created on first use.
    pub fn system(id: AccountId, currency: Currency) -> Self {
        Self::open(id, OwnerId::system(), currency)
    }

    /// Credits minus debits. Counters are bounded by [`Account::post`], so the difference exists.
    pub fn balance(&self) -> Money {
        Money::new(self.credits_posted.saturating_sub(self.debits_posted), self.currency)
    }

    /// What left or was set aside on this UTC day, in minor units.
    pub fn debits_on(&self, day: u32) -> i128 {
        if self.day == day || self.is_of_wrong_clock(day) { self.day_debits } else { 0 }
    }

    /// Applies one line of a durable entry. Only a hold's day turns the day: a block's time may lie ahead, and would
    /// give a limit back that is used up.
    pub fn post(&mut self, posting: &Posting, lsn: Lsn) -> Result<(), FoldError> {
        let minor = posting.amount.minor;
        let done = (posting.amount.currency == self.currency).then_some(()).and_then(|()| match posting.kind {
            PostingKind::Debit { held_on } => {
                self.debits_posted = self.debits_posted.checked_add(minor)?;
                self.count_for(held_on, minor)
            }
            PostingKind::Credit => {
                self.credits_posted = self.credits_posted.checked_add(minor)?;
                Some(())
            }
            PostingKind::Authorize { held_on } => {
                self.authorized = self.authorized.checked_add(minor)?;
                self.count_for(held_on, minor)
            }
            PostingKind::Settle => {
                self.authorized = self.authorized.checked_sub(minor).filter(|left| *left >= 0)?;
                self.debits_posted = self.debits_posted.checked_add(minor)?;
                Some(())
            }
            PostingKind::Return => {
                self.debits_posted = self.debits_posted.checked_add(minor)?;
                Some(())
            }
            PostingKind::Void { held_on } => {
                self.authorized = self.authorized.checked_sub(minor).filter(|left| *left >= 0)?;
                if held_on == self.day && held_on != NO_DAY {
                    self.day_debits = self.day_debits.checked_sub(minor)?;
                }
                Some(())
            }
        });
        done.ok_or_else(|| FoldError { lsn, account: self.id.clone(), currency: self.currency, amount: posting.amount })
    }

    /// Counts against the daily limit of the day of the hold, if that day is not over.
    /// The day that a hold counts for which is made today. It does not go back over a midnight, so that a clock which does
    /// frees nothing. A day further ahead was written by a wrong clock: today takes over what was counted for it.
    pub fn day_of_hold(&self, today: u32) -> u32 {
        if self.is_of_wrong_clock(today) { today } else { today.max(self.day) }
    }

    fn is_of_wrong_clock(&self, today: u32) -> bool {
        self.day > today.saturating_add(1)
    }

    fn count_for(&mut self, held_on: u32, minor: i128) -> Option<()> {
        if held_on == NO_DAY {
            return Some(());
        }
        if self.is_of_wrong_clock(held_on) {
            self.day = held_on;
        }
        if held_on > self.day {
            self.day = held_on;
            self.day_debits = 0;
        }
        if held_on == self.day {
            self.day_debits = self.day_debits.checked_add(minor)?;
        }
        Some(())
    }
}
