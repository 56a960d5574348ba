//! Pure money values: currencies, exact amounts, rates, ids and postings.
//!
//! Nothing here knows actors, disks, clocks or the wire. All arithmetic is checked and integral; a number is never
//! rounded without naming the direction. Next on a payment's path: [`crate::ledger`].
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test may overflow: that is a failure"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]
#![warn(clippy::as_conversions, clippy::float_arithmetic, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod amount;
mod currency;
mod ids;
mod posting;
mod rate;
pub mod wide;

pub use amount::{ACCOUNT_MINOR_MAX, AmountError, Money, POSTING_MINOR_MAX};
pub use currency::{Currency, CurrencyError};
pub use ids::{AccountId, IdError, Lsn, OpId, OwnerId, SYSTEM_PREFIX, TenantId, TxId};
pub use posting::{NO_DAY, Posting, PostingKind};
pub use rate::{Conversion, Crossed, Rate, RateError, Rounding};
