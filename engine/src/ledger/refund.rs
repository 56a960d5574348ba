//! A refund: part of a payment that was given back (P9).

use minicbor::{Decode, Encode};

use super::fx::FxLeg;
use crate::money::{AccountId, Money, OpId};

/// At which rate a refund converts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundRate {
    /// The payment's own: a full refund is its exact reversal.
    #[n(0)]
    Original,
    /// That of now, as a payment the other way.
    #[n(1)]
    Current,
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RefundStatus {
    /// Money went back.
    #[n(0)]
    Completed,
    /// Declined; nothing moved.
    #[n(1)]
    Failed,
}

/// A refund as its entry left it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Refund {
    /// Its id.
    #[n(0)]
    pub id: OpId,
    /// The payment.
    #[n(1)]
    pub payment: OpId,
    /// Where it stands.
    #[n(2)]
    pub status: RefundStatus,
    /// How much was asked back, in the payment's currency.
    #[n(3)]
    pub amount: Money,
    /// At which rate.
    #[n(4)]
    pub rate: RefundRate,
    /// The account that gave it back, or was to.
    #[n(5)]
    pub source: AccountId,
    /// The account that got it, or was to.
    #[n(6)]
    pub destination: AccountId,
    /// What left the source.
    #[n(7)]
    pub debited: Option<Money>,
    /// What reached the destination.
    #[n(8)]
    pub credited: Option<Money>,
    /// Conversions at the rate of now, source's first.
    #[n(9)]
    pub fx: Vec<FxLeg>,
    /// What each part of a shared payment gave back, or was to, the fee last; those that gave nothing are left out.
    #[n(10)]
    pub parts: Option<Vec<RefundPart>>,
}

/// What one part of a shared payment gave back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RefundPart {
    /// Which split, from 0; nothing for the fee.
    #[n(0)]
    pub split: Option<u32>,
    /// The account that gave it: of the fee the house's, or that of the split it was taken out of.
    #[n(1)]
    pub account: AccountId,
    /// How much of the payment, in its currency.
    #[n(2)]
    pub amount: Money,
    /// What left the account.
    #[n(3)]
    pub debited: Option<Money>,
}

/// A split that a refund names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NamedSplit {
    /// Which of the payment's splits, from 0.
    #[n(0)]
    pub index: u32,
    /// How much it gives back, in the payment's currency; all that is left if not named.
    #[n(1)]
    pub amount: Option<Money>,
}

impl RefundStatus {
    /// The status as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

impl RefundRate {
    /// The rate as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "ORIGINAL",
            Self::Current => "CURRENT",
        }
    }
}
