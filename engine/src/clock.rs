//! Time and randomness, the only source of either (P11): real, or set by hand in tests.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{ledger::time::Timestamp, money::OpId};

/// A shared clock and id source.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    seed: u64,
    ids: AtomicU64,
}

#[derive(Debug)]
enum Source {
    System,
    Manual(AtomicU64),
}

impl Clock {
    /// The machine's clock and randomness.
    pub fn system() -> Self {
        Self::new(Source::System, random_u64())
    }

    /// A clock that stands still at `start` until it is moved, with ids from `seed`.
    pub fn manual(start: Timestamp, seed: u64) -> Self {
        Self::new(Source::Manual(AtomicU64::new(start.0)), seed)
    }

    fn new(source: Source, seed: u64) -> Self {
        Self(Arc::new(Inner { source, seed, ids: AtomicU64::new(0) }))
    }

    /// The time now. It may go back with the machine's clock; a block's time never does.
    pub fn now(&self) -> Timestamp {
        match &self.0.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::default().plus(since)
            }
            Source::Manual(micros) => Timestamp(micros.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock on; the machine's clock is not ours to move.
    pub fn advance(&self, by: std::time::Duration) {
        if let Source::Manual(micros) = &self.0.source {
            micros.store(self.now().plus(by).0, Ordering::Relaxed);
        }
    }

    /// A new id, rising with time: UUID version 7 (RFC 9562) with a counter behind the milliseconds.
    pub fn new_id(&self) -> OpId {
        let count = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let [.., a, b, c, d] = (count << 2).to_be_bytes();
        let [e, f, g, h, i, j, ..] = self.random(count).to_be_bytes();
        // The version takes the upper half of the first byte, the variant the upper two bits of the third.
        let bytes = [(a << 4) | (b >> 4), (b << 4) | (c >> 4), c & 0x0f, d, e, f, g, h, i, j];
        OpId(uuid::Builder::from_unix_timestamp_millis(self.now().0 / 1_000, &bytes).into_uuid().as_u128())
    }

    /// A number that looks random, the same for one seed and `n` (SplitMix64).
    pub fn random(&self, n: u64) -> u64 {
        let mut z = self.0.seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Randomness from the operating system, by way of the standard library's hash keys.
pub fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_rise() {
        let clock = Clock::manual(Timestamp(1_700_000_000_000_000), 1);
        let ids: Vec<_> = (0..100_000).map(|_| clock.new_id()).collect();
        assert!(ids.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(uuid::Uuid::from_u128(ids[0].0).get_version_num(), 7);
        let same = Clock::manual(Timestamp(1_700_000_000_000_000), 1);
        assert_eq!(same.new_id(), ids[0]);
    }
}
