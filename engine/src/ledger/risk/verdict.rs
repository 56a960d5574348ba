//! What the rules say of a payment, and why. It is part of the entry.

use serde::{Deserialize, Serialize};

/// What to do with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskDecision {
    /// Go on.
    Accept,
    /// A person should look.
    Review,
    /// Decline.
    Reject,
}

impl RiskDecision {
    /// The decision as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Review => "REVIEW",
            Self::Reject => "REJECT",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The amount is above the maximum of one payment in its currency.
    AmountAboveMax,
    /// Too many of the customer's payments were let through within a minute.
    VelocityPerMinute,
    /// The customer, or one of the accounts, is on the block list.
    AccountBlocked,
    /// The country, or the billing country, is on the block list.
    CountryBlocked,
    /// Country and billing country differ.
    CountryMismatch,
    /// The customer was declined too often within ten minutes.
    RecentDeclines,
    /// The verdict was review, and this build has no reviewers: declined (P9).
    ReviewUnavailable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::AmountAboveMax,
        Self::VelocityPerMinute,
        Self::AccountBlocked,
        Self::CountryBlocked,
        Self::CountryMismatch,
        Self::RecentDeclines,
        Self::ReviewUnavailable,
    ];

    /// The reason as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AmountAboveMax => "amount_above_max",
            Self::VelocityPerMinute => "velocity_per_minute",
            Self::AccountBlocked => "account_blocked",
            Self::CountryBlocked => "country_blocked",
            Self::CountryMismatch => "country_mismatch",
            Self::RecentDeclines => "recent_declines",
            Self::ReviewUnavailable => "review_unavailable",
        }
    }
}

/// A decision with its score and reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to do.
    pub decision: RiskDecision,
    /// 0 (nothing found) to 100.
    pub score: u8,
    /// Every rule that fired.
    pub reasons: Vec<Reason>,
}
