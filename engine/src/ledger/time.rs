//! Points in time as the journal keeps them: microseconds since 1970-01-01T00:00:00Z.

use std::{fmt, time::Duration};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::money::OpId;

/// How far a clock may step and still be believed (P6).
pub const STEP_MAX: Duration = Duration::from_secs(300);

const MICROS_PER_DAY: u64 = 86_400_000_000;

/// Microseconds since the Unix epoch. Read from `clock.rs` alone, or from a commit block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

impl Timestamp {
    /// Days since 1970-01-01 in UTC: what a daily limit is counted by.
    pub fn utc_day(self) -> u32 {
        u32::try_from(self.0.checked_div(MICROS_PER_DAY).unwrap_or_default()).unwrap_or(u32::MAX)
    }

    /// When an id was made, by the machine's clock of that moment: a UUID version 7 begins with its milliseconds. A
    /// block's time may lie ahead of it.
    pub fn of_id(id: OpId) -> Self {
        let millis = u64::try_from(id.0.checked_shr(80).unwrap_or_default()).unwrap_or_default();
        Self(millis.saturating_mul(1_000))
    }

    /// Milliseconds since the epoch: as fine as the time of an id.
    pub fn millis(self) -> u64 {
        self.0.checked_div(1_000).unwrap_or_default()
    }

    /// This much later, at most the end of time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// This much earlier, at the earliest the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
