//! What may be set of an account: its status, its limits, whether it is its owner's default.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Whether an account takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AccountStatus {
    /// Pays and receives.
    Active,
    /// Neither pays nor receives until it is made active again.
    Frozen,
    /// Ended, for good.
    Closed,
}

impl AccountStatus {
    /// The status as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Frozen => "FROZEN",
            Self::Closed => "CLOSED",
        }
    }
}

/// A change of settings. `None` leaves a setting as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The new status.
    pub status: Option<AccountStatus>,
    /// The new overdraft limit.
    pub overdraft_limit: Option<Money>,
    /// The new daily debit limit.
    pub daily_debit_limit: Option<DailyLimit>,
}

/// A new daily limit, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DailyLimit {
    /// At most this much.
    AtMost(Money),
    /// No limit.
    Unlimited,
}

/// Whether a change makes its account the owner's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultMark {
    /// It does.
    Default,
    /// It leaves the default as it is.
    Unchanged,
}
