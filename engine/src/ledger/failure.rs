//! Why a command was declined: the one list of codes (P3, class 3).
//!
//! A decline is an answer: it is recorded in an entry, binds its key and replays. What is malformed or unknown never
//! gets here; see [`crate::Refusal`].

use std::fmt;

use minicbor::{Decode, Encode};

/// Every code a decided command can fail with. The wire spells them in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum FailureCode {
    /// The payer's available balance does not cover the amount.
    #[n(0)]
    InsufficientFunds,
    /// Risk rules said no.
    #[n(1)]
    RiskRejected,
    /// An account is frozen: it neither pays nor receives.
    #[n(2)]
    AccountFrozen,
    /// An account is closed.
    #[n(3)]
    AccountClosed,
    /// The amount is not in the account's currency.
    #[n(4)]
    CurrencyMismatch,
    /// The payer's daily debit limit would be passed.
    #[n(5)]
    DailyLimitExceeded,
    /// The account's balance would pass 10^27 minor units.
    #[n(6)]
    AccountLimitExceeded,
    /// No rate, directly or through a pivot.
    #[n(7)]
    FxRateUnavailable,
    /// The rate is older than its source allows, or the two legs could not be priced from one rate set.
    #[n(8)]
    FxRateStale,
    /// A leg would be worth less than one minor unit.
    #[n(9)]
    AmountTooSmall,
    /// A leg would be above 10^18 minor units.
    #[n(10)]
    AmountTooLarge,
    /// Payer and payee are one account.
    #[n(11)]
    SameAccount,
    /// The given source account is not the customer's.
    #[n(12)]
    SourceNotOwned,
    /// An account with this id exists.
    #[n(13)]
    AccountExists,
    /// The account still holds money, or money is pending on it.
    #[n(14)]
    AccountNotEmpty,
    /// The owner has as many accounts as one owner may have.
    #[n(15)]
    TooManyAccounts,
    /// The reservation is captured, released or expired.
    #[n(16)]
    ReservationNotActive,
    /// More than what is left of the reservation.
    #[n(17)]
    AmountExceedsReservation,
    /// Neither the capture nor its reservation names an account to credit.
    #[n(18)]
    DestinationRequired,
    /// The published pairs would be more than are kept.
    #[n(19)]
    TooManyPairs,
    /// The payment has nothing set aside: it was captured, voided, expired or declined.
    #[n(20)]
    PaymentNotCapturable,
    /// More than what is left to capture of the payment.
    #[n(21)]
    AmountExceedsCapturable,
    /// The payment has nothing set aside that could be freed.
    #[n(22)]
    PaymentNotVoidable,
    /// Nothing of the payment was captured that was not given back.
    #[n(23)]
    PaymentNotRefundable,
    /// More than what was captured of the payment and not given back.
    #[n(24)]
    AmountExceedsRefundable,
    /// The account that paid is closed, and the customer has no other active one in its currency.
    #[n(25)]
    RefundDestinationClosed,
    /// The transfer holds nothing: it was posted, voided, expired or declined.
    #[n(26)]
    TransferNotHeld,
    /// The operation moved nothing that could be taken back: it was declined, or it is itself a reversal.
    #[n(27)]
    OperationNotReversible,
    /// The operation was taken back before.
    #[n(28)]
    OperationAlreadyReversed,
    /// The account would have an overdraft limit and a minimum balance.
    #[n(29)]
    OverdraftAndMinimum,
    /// The payment would have more metadata than one may.
    #[n(30)]
    MetadataTooLarge,
}

impl FailureCode {
    /// All codes, in the order of the list above.
    pub const ALL: [Self; 31] = [
        Self::InsufficientFunds,
        Self::RiskRejected,
        Self::AccountFrozen,
        Self::AccountClosed,
        Self::CurrencyMismatch,
        Self::DailyLimitExceeded,
        Self::AccountLimitExceeded,
        Self::FxRateUnavailable,
        Self::FxRateStale,
        Self::AmountTooSmall,
        Self::AmountTooLarge,
        Self::SameAccount,
        Self::SourceNotOwned,
        Self::AccountExists,
        Self::AccountNotEmpty,
        Self::TooManyAccounts,
        Self::ReservationNotActive,
        Self::AmountExceedsReservation,
        Self::DestinationRequired,
        Self::TooManyPairs,
        Self::PaymentNotCapturable,
        Self::AmountExceedsCapturable,
        Self::PaymentNotVoidable,
        Self::PaymentNotRefundable,
        Self::AmountExceedsRefundable,
        Self::RefundDestinationClosed,
        Self::TransferNotHeld,
        Self::OperationNotReversible,
        Self::OperationAlreadyReversed,
        Self::OverdraftAndMinimum,
        Self::MetadataTooLarge,
    ];

    /// The code as metrics and logs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::RiskRejected => "RISK_REJECTED",
            Self::AccountFrozen => "ACCOUNT_FROZEN",
            Self::AccountClosed => "ACCOUNT_CLOSED",
            Self::CurrencyMismatch => "CURRENCY_MISMATCH",
            Self::DailyLimitExceeded => "DAILY_LIMIT_EXCEEDED",
            Self::AccountLimitExceeded => "ACCOUNT_LIMIT_EXCEEDED",
            Self::FxRateUnavailable => "FX_RATE_UNAVAILABLE",
            Self::FxRateStale => "FX_RATE_STALE",
            Self::AmountTooSmall => "AMOUNT_TOO_SMALL",
            Self::AmountTooLarge => "AMOUNT_TOO_LARGE",
            Self::SameAccount => "SAME_ACCOUNT",
            Self::SourceNotOwned => "SOURCE_NOT_OWNED",
            Self::AccountExists => "ACCOUNT_EXISTS",
            Self::AccountNotEmpty => "ACCOUNT_NOT_EMPTY",
            Self::TooManyAccounts => "TOO_MANY_ACCOUNTS",
            Self::ReservationNotActive => "RESERVATION_NOT_ACTIVE",
            Self::AmountExceedsReservation => "AMOUNT_EXCEEDS_RESERVATION",
            Self::DestinationRequired => "DESTINATION_REQUIRED",
            Self::TooManyPairs => "TOO_MANY_PAIRS",
            Self::PaymentNotCapturable => "PAYMENT_NOT_CAPTURABLE",
            Self::AmountExceedsCapturable => "AMOUNT_EXCEEDS_CAPTURABLE",
            Self::PaymentNotVoidable => "PAYMENT_NOT_VOIDABLE",
            Self::PaymentNotRefundable => "PAYMENT_NOT_REFUNDABLE",
            Self::AmountExceedsRefundable => "AMOUNT_EXCEEDS_REFUNDABLE",
            Self::RefundDestinationClosed => "REFUND_DESTINATION_CLOSED",
            Self::TransferNotHeld => "TRANSFER_NOT_HELD",
            Self::OperationNotReversible => "OPERATION_NOT_REVERSIBLE",
            Self::OperationAlreadyReversed => "OPERATION_ALREADY_REVERSED",
            Self::OverdraftAndMinimum => "OVERDRAFT_AND_MINIMUM",
            Self::MetadataTooLarge => "METADATA_TOO_LARGE",
        }
    }
}

/// A decline: its code and one sentence that says what happened and with which figures.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// The stable code.
    #[n(0)]
    pub code: FailureCode,
    /// For people; may change between versions.
    #[n(1)]
    pub message: String,
}

impl Failure {
    /// A decline.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}
