//! In-memory filters over the keys, one per stretch of the journal, so that a new key costs no disk read (P5).
//!
//! Keys are random, so their rows are partitioned by time; a filter says for each partition whether the key may be in
//! it. 12 bits a key with 6 hashes: about 1 in 250 new keys is looked up on disk in vain, per partition.

use std::sync::{PoisonError, RwLock};

use fastbloom::AtomicBloomFilter;

use super::layout::PARTITION_BITS;
use crate::keys::KeyHash;

const BITS_PER_KEY: usize = 12;
const HASHES: u32 = 6;

/// See the module.
#[derive(Default)]
pub(super) struct KeyFilters(RwLock<Vec<AtomicBloomFilter<foldhash::fast::FixedState>>>);

impl KeyFilters {
    /// Adds a key, with the partition if it is new.
    pub(super) fn insert(&self, partition: u32, key: KeyHash) {
        let partition = partition as usize;
        if self.0.read().unwrap_or_else(PoisonError::into_inner).len() <= partition {
            let mut filters = self.0.write().unwrap_or_else(PoisonError::into_inner);
            while filters.len() <= partition {
                let bits = vec![0; (BITS_PER_KEY << PARTITION_BITS) / 64];
                filters.push(filter(bits));
            }
        }
        if let Some(filter) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(partition) {
            filter.insert_hash(source(key));
        }
    }

    /// Whether any partition may have the key.
    pub(super) fn may_have(&self, key: KeyHash) -> bool {
        let filters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        filters.iter().any(|filter| filter.contains_hash(source(key)))
    }

    /// The partitions that may have the key, newest first.
    pub(super) fn candidates(&self, key: KeyHash) -> Vec<u32> {
        let filters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let numbered = (0..).zip(filters.iter()).filter(|(_, filter)| filter.contains_hash(source(key)));
        let mut found: Vec<_> = numbered.map(|(partition, _)| partition).collect();
        found.reverse();
        found
    }

    /// A partition's filter, to be kept.
    pub(super) fn bytes(&self, partition: u32) -> Option<Vec<u8>> {
        let filters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        filters.get(partition as usize).map(|filter| filter.iter().flat_map(u64::to_le_bytes).collect())
    }

    /// Puts back what [`KeyFilters::bytes`] gave.
    pub(super) fn restore(&self, partition: u32, bytes: &[u8]) {
        let bits = bytes.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).collect();
        let mut filters = self.0.write().unwrap_or_else(PoisonError::into_inner);
        filters.truncate(partition as usize);
        filters.push(filter(bits));
    }
}

fn filter(bits: Vec<u64>) -> AtomicBloomFilter<foldhash::fast::FixedState> {
    AtomicBloomFilter::from_vec(bits).hasher(foldhash::fast::FixedState::default()).hashes(HASHES)
}

/// The key is a keyed hash already; half of it is enough to place it.
fn source(key: KeyHash) -> u64 {
    key as u64
}
