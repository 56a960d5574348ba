//! One line of an entry: what it does to one account.
//!
//! Amounts are positive; the kind gives the direction. Posted lines ([`PostingKind::Debit`], `Settle`, `Return`, `Credit`) sum
//! to zero per currency in every entry; `Authorize` and `Void` only move the durable part of what is pending (P6).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{AccountId, Money};

/// In place of a hold's day: it counts against no day's limit, and gives none back.
pub const NO_DAY: u32 = 0;

/// What a posting does to its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub enum PostingKind {
    /// Takes money out that was held on this UTC day (days since 1970-01-01), whose daily limit it counts against.
    #[n(0)]
    Debit {
        /// The day of the hold.
        #[n(0)]
        held_on: u32,
    },
    /// Puts money in.
    #[n(1)]
    Credit,
    /// Sets money aside for a client who was told so: a durable hold, made on this UTC day (days since 1970-01-01).
    #[n(2)]
    Authorize {
        /// The day of the hold.
        #[n(0)]
        held_on: u32,
    },
    /// Takes out money that was set aside.
    #[n(3)]
    Settle,
    /// Frees money that was set aside on this UTC day (days since 1970-01-01), so that its daily limit is given back.
    #[n(4)]
    Void {
        /// The day of the authorisation.
        #[n(0)]
        held_on: u32,
    },
    /// Takes back money that was put in, for whoever it came from; it counts against no daily limit.
    #[n(5)]
    Return,
}

/// One line of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Posting {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// What happens to it.
    #[n(1)]
    pub kind: PostingKind,
    /// How much, above zero, in the account's currency.
    #[n(2)]
    pub amount: Money,
}

impl PostingKind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debit { .. } => "debit",
            Self::Credit => "credit",
            Self::Authorize { .. } => "authorization",
            Self::Settle => "settlement",
            Self::Void { .. } => "release",
            Self::Return => "return",
        }
    }
}

impl Posting {
    /// A line.
    pub const fn new(account: AccountId, kind: PostingKind, amount: Money) -> Self {
        Self { account, kind, amount }
    }

    /// The change of the posted balance in minor units: credits above zero, debits below.
    pub fn signed_minor(&self) -> i128 {
        match self.kind {
            PostingKind::Credit => self.amount.minor,
            // An amount is at most POSTING_MINOR_MAX, so its negation always exists.
            PostingKind::Debit { .. } | PostingKind::Settle | PostingKind::Return => self.amount.minor.saturating_neg(),
            PostingKind::Authorize { .. } | PostingKind::Void { .. } => 0,
        }
    }
}
