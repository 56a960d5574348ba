//! The rules, what each is worth, and the least score of each decision.

use std::collections::{BTreeMap, BTreeSet};

use super::verdict::RiskDecision;
use crate::money::{Currency, Money};

/// The rules and what each is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskRules {
    /// The most one payment may be, per currency; a currency that is not listed has no maximum.
    pub amount_max: BTreeMap<u16, Money>,
    /// Payments let through per customer and minute before the rule fires.
    pub velocity_per_minute_max: u32,
    /// Declines of the customer's own doing per ten minutes before the rule fires.
    pub recent_declines_max: u32,
    /// Blocked customers and accounts, by id.
    pub blocked_ids: BTreeSet<String>,
    /// Blocked countries, ISO 3166-1 alpha-2.
    pub blocked_countries: BTreeSet<String>,
    /// Points of each rule, 0 to 100.
    pub points: RiskPoints,
    /// From this score on: review.
    pub review_score: u8,
    /// From this score on: reject.
    pub reject_score: u8,
    /// How many customers' windows are kept at most, per risk actor.
    pub tracked_customers_max: usize,
}

/// What each rule adds to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiskPoints {
    /// [`super::Reason::AmountAboveMax`].
    pub amount: u8,
    /// [`super::Reason::VelocityPerMinute`].
    pub velocity: u8,
    /// [`super::Reason::AccountBlocked`] and [`super::Reason::CountryBlocked`].
    pub blocked: u8,
    /// [`super::Reason::CountryMismatch`].
    pub country_mismatch: u8,
    /// [`super::Reason::RecentDeclines`].
    pub declines: u8,
}

impl RiskRules {
    /// Whether an amount is above what one payment may be.
    pub fn is_above_max(&self, amount: Money) -> bool {
        self.max_of(amount.currency).is_some_and(|max| amount.minor > max.minor)
    }

    /// The most one payment may be in `currency`.
    pub fn max_of(&self, currency: Currency) -> Option<Money> {
        self.amount_max.get(&currency.numeric()).copied()
    }

    /// What a score leads to.
    pub fn decide(&self, score: u8) -> RiskDecision {
        if score >= self.reject_score {
            RiskDecision::Reject
        } else if score >= self.review_score {
            RiskDecision::Review
        } else {
            RiskDecision::Accept
        }
    }
}
