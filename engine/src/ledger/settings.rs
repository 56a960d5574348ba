//! What may be set of an account: its status, its limits, whether it is its owner's default.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Whether an account takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum AccountStatus {
    /// Pays and receives.
    #[n(0)]
    Active,
    /// Neither pays nor receives until it is made active again.
    #[n(1)]
    Frozen,
    /// Ended, for good.
    #[n(2)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct SettingsChange {
    /// The new status.
    #[n(0)]
    pub status: Option<AccountStatus>,
    /// The new overdraft limit.
    #[n(1)]
    pub overdraft_limit: Option<Money>,
    /// The new daily debit limit.
    #[n(2)]
    pub daily_debit_limit: Option<DailyLimit>,
    /// The new minimum balance.
    #[n(3)]
    pub minimum_balance: Option<Money>,
}

/// A new daily limit, or none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum DailyLimit {
    /// At most this much.
    #[n(0)]
    AtMost(#[n(0)] Money),
    /// No limit.
    #[n(1)]
    Unlimited,
}

/// Whether a change makes its account the owner's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DefaultMark {
    /// It does.
    #[n(0)]
    Default,
    /// It leaves the default as it is.
    #[n(1)]
    Unchanged,
}
