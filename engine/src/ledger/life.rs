//! What a payment has of its own once it is more than made (P9). What a step does to it is in [`super::steps`].

use minicbor::{Decode, Encode};

use super::{failure::Failure, notes::Notes, time::Timestamp};
use crate::money::{Lsn, Money, OwnerId, TxId};

/// What a payment has of its own once it is more than made: spelled out from its second entry on, and from the first
/// where it was only authorised.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Life {
    /// What was asked for.
    #[n(0)]
    pub amount: Money,
    /// How much of it was captured.
    #[n(1)]
    pub captured: Money,
    /// How much of that was given back.
    #[n(2)]
    pub refunded: Money,
    /// How many entries changed it, from 1.
    #[n(3)]
    pub version: u32,
    /// What is set aside for it, if it is captured by hand.
    #[n(4)]
    pub authorization: Option<Authorization>,
    /// What the payer got back in all, in the payer's currency, as the original rate has it.
    #[n(5)]
    pub given_back: Option<Money>,
    /// What was taken back from the payee in all, in the payee's currency, as the original rate has it.
    #[n(6)]
    pub taken_back: Option<Money>,
    /// How much the last entry captured or gave back.
    #[n(7)]
    pub step: Option<Money>,
    /// Where it comes from; nothing in the entry that made it.
    #[n(8)]
    pub before: Option<Before>,
}

/// Money set aside for a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Authorization {
    /// How much still is, in the payer's currency.
    #[n(0)]
    pub left: Money,
    /// The UTC day of the hold, whose daily limit it counts against.
    #[n(1)]
    pub held_on: u32,
    /// When what is left is freed.
    #[n(2)]
    pub expires_at: Timestamp,
}

/// The entries before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Before {
    /// The one that made the payment.
    #[n(0)]
    pub origin: Origin,
    /// The one before this about the payment.
    #[n(1)]
    pub previous: Lsn,
    /// The one before this that changed it: a declined one changes nothing.
    #[n(2)]
    pub changed: Lsn,
    /// When that was committed.
    #[n(3)]
    pub changed_at: Timestamp,
}

/// What the entry says that made a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Origin {
    /// Who pays.
    #[n(0)]
    pub customer: OwnerId,
    /// The key it was sent under.
    #[n(1)]
    pub tx_id: TxId,
    /// Its position.
    #[n(2)]
    pub lsn: Lsn,
    /// When it was committed.
    #[n(3)]
    pub at: Timestamp,
    /// What came with it.
    #[n(4)]
    pub notes: Notes,
    /// Why it was declined, if it was.
    #[n(5)]
    pub failure: Option<Failure>,
}

impl Life {
    /// Of a payment that was just made.
    pub fn begin(amount: Money, captured: Money, authorization: Option<Authorization>) -> Self {
        let refunded = Money::zero(amount.currency);
        Self {
            amount,
            captured,
            refunded,
            version: 1,
            authorization,
            given_back: None,
            taken_back: None,
            step: None,
            before: None,
        }
    }

    /// What of it was captured and not given back.
    pub fn refundable(&self) -> Money {
        Money::new(self.captured.minor.saturating_sub(self.refunded.minor), self.amount.currency)
    }
}
