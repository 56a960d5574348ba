//! A payment as it is after an entry.

use minicbor::{Decode, Encode};

use super::{
    failure::{Failure, FailureCode},
    fx::FxLeg,
    life::Life,
    parts::Parts,
    risk::{Counts, Verdict},
};
use crate::money::{AccountId, Money, OpId};

/// Where a payment stands (P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PaymentStatus {
    /// Money moved.
    #[n(0)]
    Captured,
    /// Declined; nothing moved.
    #[n(1)]
    Failed,
    /// Money is set aside, and something of it may be captured.
    #[n(2)]
    Authorized,
    /// Given up before anything was captured.
    #[n(3)]
    Voided,
    /// Its time was over before anything was captured.
    #[n(4)]
    Expired,
    /// All that was captured was given back.
    #[n(5)]
    Refunded,
}

impl PaymentStatus {
    /// The status as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Captured => "CAPTURED",
            Self::Failed => "FAILED",
            Self::Authorized => "AUTHORIZED",
            Self::Voided => "VOIDED",
            Self::Expired => "EXPIRED",
            Self::Refunded => "REFUNDED",
        }
    }
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

/// A payment as it is after an entry; who and how much is in the request of the entry that made it.
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
    /// The account that was credited, or was to be; of several the first.
    #[n(3)]
    pub payee: AccountId,
    /// What the payer was debited in all.
    #[n(4)]
    pub debited: Option<Money>,
    /// What the payee was credited in all; where it is shared, its parts say that.
    #[n(5)]
    pub credited: Option<Money>,
    /// Conversions, payer's first, then the payees' in the order of their parts.
    #[n(6)]
    pub fx: Vec<FxLeg>,
    /// What the risk rules said.
    #[n(7)]
    pub risk: Verdict,
    /// Every candidate that did not pay.
    #[n(8)]
    pub tried: Vec<Tried>,
    /// What became of it; nothing if it was decided as it was made.
    #[n(9)]
    pub life: Option<Box<Life>>,
    /// Who shares it, if it has splits or a fee.
    #[n(10)]
    pub shared: Option<Box<Parts>>,
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
        | FailureCode::TooManyPairs
        | FailureCode::PaymentNotCapturable
        | FailureCode::AmountExceedsCapturable
        | FailureCode::PaymentNotVoidable
        | FailureCode::PaymentNotRefundable
        | FailureCode::AmountExceedsRefundable
        | FailureCode::RefundDestinationClosed
        | FailureCode::TransferNotHeld
        | FailureCode::OperationNotReversible
        | FailureCode::OperationAlreadyReversed
        | FailureCode::OverdraftAndMinimum
        | FailureCode::MetadataTooLarge => false,
    };
    if is_customers { Counts::Declined } else { Counts::Nothing }
}
