//! A payment as it is after an entry.

use minicbor::{Decode, Encode};

use super::{
    failure::{Failure, FailureCode},
    fx::FxLeg,
    risk::{Counts, Verdict},
};
use crate::money::{AccountId, Money, OpId};

/// Where a payment stands. Wire values for later states are reserved in the protos (P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PaymentStatus {
    /// Money moved.
    #[n(0)]
    Captured,
    /// Declined; nothing moved.
    #[n(1)]
    Failed,
}

/// A candidate that did not pay.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tried {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// Why not.
    #[n(1)]
    pub code: FailureCode,
}

/// A payment as it is after an entry; who and how much is in the entry's request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Payment {
    /// Its id.
    #[n(0)]
    pub id: OpId,
    /// Where it stands.
    #[n(1)]
    pub status: PaymentStatus,
    /// The account that paid, or the last that was to.
    #[n(2)]
    pub payer: AccountId,
    /// The account that was credited, or was to be.
    #[n(3)]
    pub payee: AccountId,
    /// What the payer was debited.
    #[n(4)]
    pub debited: Option<Money>,
    /// What the payee was credited.
    #[n(5)]
    pub credited: Option<Money>,
    /// Conversions, payer's first.
    #[n(6)]
    pub fx: Vec<FxLeg>,
    /// What the risk rules said.
    #[n(7)]
    pub risk: Verdict,
    /// Every candidate that did not pay.
    #[n(8)]
    pub tried: Vec<Tried>,
}

/// What a payment that ended so says of its customer to the risk rules (P14). What failed by the house's doing (rates,
/// limits and freezes it set, the rules themselves) or the payee's says nothing.
pub fn counts(failure: Option<&Failure>) -> Counts {
    let Some(failure) = failure else { return Counts::LetThrough };
    let is_customers = match failure.code {
        FailureCode::InsufficientFunds | FailureCode::SourceNotOwned => true,
        FailureCode::RiskRejected
        | FailureCode::AccountFrozen
        | FailureCode::AccountClosed
        | FailureCode::DailyLimitExceeded
        | FailureCode::CurrencyMismatch
        | FailureCode::AccountLimitExceeded
        | FailureCode::FxRateUnavailable
        | FailureCode::FxRateStale
        | FailureCode::AmountTooSmall
        | FailureCode::AmountTooLarge
        | FailureCode::SameAccount
        | FailureCode::AccountExists
        | FailureCode::AccountNotEmpty
        | FailureCode::TooManyAccounts
        | FailureCode::ReservationNotActive
        | FailureCode::AmountExceedsReservation
        | FailureCode::DestinationRequired
        | FailureCode::TooManyPairs => false,
    };
    if is_customers { Counts::Declined } else { Counts::Nothing }
}
