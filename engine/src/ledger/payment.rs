//! A payment as it is after an entry.

use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, FailureCode},
    fx::FxLeg,
    risk::{Counts, Verdict},
};
use crate::money::{AccountId, Money, OpId};

/// Where a payment stands. Wire values for later states are reserved in the protos (P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentStatus {
    /// Money moved.
    Captured,
    /// Declined; nothing moved.
    Failed,
}

/// A candidate that did not pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The account.
    pub account: AccountId,
    /// Why not.
    pub code: FailureCode,
}

/// A payment as it is after an entry; who and how much is in the entry's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: OpId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The account that paid, or the last that was to.
    pub payer: AccountId,
    /// The account that was credited, or was to be.
    pub payee: AccountId,
    /// What the payer was debited.
    pub debited: Option<Money>,
    /// What the payee was credited.
    pub credited: Option<Money>,
    /// Conversions, payer's first.
    pub fx: Vec<FxLeg>,
    /// What the risk rules said.
    pub risk: Verdict,
    /// Every candidate that did not pay.
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
