//! In-memory filters over the keys, one per stretch of the journal, so that a new key costs no disk read (P5).
//!
//! Keys are random, so their rows are partitioned by time; a filter says for each partition whether the key may be in it:
//! a Bloom filter of 20 bits a key with 10 hashes, about 1 in 14,000 new keys is looked up on disk in vain, per partition.
//!
//! Filters stand side by side: one place holds the bit of each partition of a group, so that one probe asks them all.
//! Eight make a group of bytes (20 MiB, in which the newest partition is filled), eight full groups one of words.
//! For 1,000,000,000 keys (954 partitions) that is 2.4 GiB of memory, 2.1 microseconds for a new key (measured), and one
//! look-up on disk in vain for each twelve of them; a start reads them back in 2.3 s.

use std::sync::{
    PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use super::layout::PARTITION_BITS;
use crate::keys::KeyHash;

const BITS_PER_KEY: usize = 20;
const HASHES: u64 = 10;
/// Partitions in a group of bytes, and groups of bytes in one of words.
pub(super) const SIDE_BY_SIDE: usize = 8;
/// Partitions in a group of words.
const WIDE: usize = SIDE_BY_SIDE * SIDE_BY_SIDE;

/// See the module.
pub(super) struct KeyFilters {
    /// How many places a filter has.
    places: usize,
    groups: RwLock<Groups>,
}

#[derive(Default)]
struct Groups {
    /// Of words: the oldest partitions, 64 each.
    wide: Vec<Vec<AtomicU64>>,
    /// Of bytes: those behind them, 8 each.
    narrow: Vec<Vec<AtomicU8>>,
}

impl Default for KeyFilters {
    fn default() -> Self {
        Self::with_places(BITS_PER_KEY << PARTITION_BITS)
    }
}

impl KeyFilters {
    fn with_places(places: usize) -> Self {
        Self { places, groups: RwLock::default() }
    }

    /// Adds a key, with the partition's group if it is new.
    pub(super) fn insert(&self, partition: u32, key: KeyHash) {
        let partition = partition as usize;
        let groups = self.groups_with(partition);
        let places = self.places_of(key);
        if let Some(group) = groups.wide.get(partition / WIDE) {
            for word in places.filter_map(|place| group.get(place)) {
                word.fetch_or(1 << (partition % WIDE), Relaxed);
            }
        } else if let Some(group) = groups.narrow_of(partition) {
            for byte in places.filter_map(|place| group.get(place)) {
                byte.fetch_or(1 << (partition % SIDE_BY_SIDE), Relaxed);
            }
        }
    }

    /// Whether any partition may have the key.
    pub(super) fn may_have(&self, key: KeyHash) -> bool {
        let groups = self.read();
        groups.narrow.iter().any(|group| self.in_narrow(group, key) != 0)
            || groups.wide.iter().any(|group| self.in_wide(group, key) != 0)
    }

    /// The partitions that may have the key, newest first.
    pub(super) fn candidates(&self, key: KeyHash) -> Vec<u32> {
        let groups = self.read();
        let mut found = Vec::new();
        let mut note = |first: usize, bits: u64| {
            let set = (0..WIDE).filter(|bit| bits >> bit & 1 == 1);
            found.extend(set.filter_map(|bit| u32::try_from(first + bit).ok()));
        };
        for (at, group) in groups.wide.iter().enumerate() {
            note(at * WIDE, self.in_wide(group, key));
        }
        for (at, group) in groups.narrow.iter().enumerate() {
            note(groups.wide.len() * WIDE + at * SIDE_BY_SIDE, u64::from(self.in_narrow(group, key)));
        }
        found.reverse();
        found
    }

    /// A partition's filter, to be kept: its bits, eight places a byte.
    pub(super) fn bytes(&self, partition: u32) -> Option<Vec<u8>> {
        let (partition, groups) = (partition as usize, self.read());
        let bit = partition % SIDE_BY_SIDE;
        let eight =
            |bytes: &[AtomicU8]| bytes.iter().rev().fold(0, |bits, byte| bits << 1 | (byte.load(Relaxed) >> bit & 1));
        Some(groups.narrow_of(partition)?.chunks(SIDE_BY_SIDE).map(eight).collect())
    }

    /// Puts a group of bytes back, from what [`KeyFilters::bytes`] gave of its partitions; those that were not kept stay
    /// empty. Says whether each has the length it must have; nothing is put back otherwise.
    pub(super) fn restore(&self, first: u32, kept: &[Option<impl AsRef<[u8]>>; SIDE_BY_SIDE]) -> bool {
        let kept = kept.each_ref().map(|bytes| bytes.as_ref().map(AsRef::as_ref));
        let length = self.places / SIDE_BY_SIDE;
        if kept.iter().flatten().any(|bytes| bytes.len() != length) {
            return false;
        }
        let groups = self.groups_with(first as usize);
        let Some(group) = groups.narrow_of(first as usize) else { return false };
        for (at, places) in group.chunks(SIDE_BY_SIDE).enumerate() {
            let rows = kept.map(|bytes| bytes.and_then(|bytes| bytes.get(at)).copied().unwrap_or_default());
            let columns = transposed(u64::from_le_bytes(rows)).to_le_bytes();
            places.iter().zip(columns).for_each(|(place, bits)| place.store(bits, Relaxed));
        }
        true
    }

    fn read(&self) -> RwLockReadGuard<'_, Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups, up to a partition's own: it is made, and what is full before it is widened. Who asks of keys waits for
    /// neither.
    fn groups_with(&self, partition: usize) -> RwLockReadGuard<'_, Groups> {
        loop {
            let groups = self.read();
            if groups.has(partition) {
                return groups;
            }
            let full = (groups.narrow.len() == SIDE_BY_SIDE).then(|| widened(&groups.narrow, self.places));
            drop(groups);
            let new = (0..self.places).map(|_| AtomicU8::new(0)).collect();
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            let replaced = full.map(|full| {
                groups.wide.push(full);
                std::mem::take(&mut groups.narrow)
            });
            groups.narrow.push(new);
            drop(groups);
            drop(replaced);
        }
    }

    /// The places of a key, which is a keyed hash of 128 bits already: its halves make all (Kirsch and Mitzenmacher).
    fn places_of(&self, key: KeyHash) -> impl Iterator<Item = usize> + use<> {
        let (one, other, places) = (key as u64, (key >> 64) as u64 | 1, self.places as u128);
        (0..HASHES).map(move |n| {
            let hash = one.wrapping_add(other.wrapping_mul(n));
            ((u128::from(hash) * places) >> 64) as usize
        })
    }

    fn in_narrow(&self, group: &[AtomicU8], key: KeyHash) -> u8 {
        let mut bits = u8::MAX;
        for byte in self.places_of(key).filter_map(|place| group.get(place)) {
            bits &= byte.load(Relaxed);
            if bits == 0 {
                break;
            }
        }
        bits
    }

    fn in_wide(&self, group: &[AtomicU64], key: KeyHash) -> u64 {
        let mut bits = u64::MAX;
        for word in self.places_of(key).filter_map(|place| group.get(place)) {
            bits &= word.load(Relaxed);
            if bits == 0 {
                break;
            }
        }
        bits
    }
}

impl Groups {
    fn has(&self, partition: usize) -> bool {
        partition / WIDE < self.wide.len() || self.narrow_of(partition).is_some()
    }

    fn narrow_of(&self, partition: usize) -> Option<&Vec<AtomicU8>> {
        self.narrow.get((partition / SIDE_BY_SIDE).checked_sub(self.wide.len() * SIDE_BY_SIDE)?)
    }
}

/// Groups of bytes as one of words.
fn widened(groups: &[Vec<AtomicU8>], places: usize) -> Vec<AtomicU64> {
    let mut rows: Vec<_> = groups.iter().map(|group| group.iter()).collect();
    let mut word = || {
        let bytes = rows.iter_mut().map(|row| row.next().map_or(0, |byte| byte.load(Relaxed)));
        AtomicU64::new(bytes.zip(0..).fold(0, |word, (byte, at)| word | u64::from(byte) << (at * SIDE_BY_SIDE)))
    };
    (0..places).map(|_| word()).collect()
}

/// Eight rows of eight bits as eight columns (Hacker's Delight, 7-3).
fn transposed(mut bits: u64) -> u64 {
    for (mask, by) in [(0x00aa_00aa_00aa_00aa, 7), (0x0000_cccc_0000_cccc, 14), (0x0000_0000_f0f0_f0f0, 28)] {
        let moved = (bits ^ (bits >> by)) & mask;
        bits ^= moved ^ (moved << by);
    }
    bits
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    /// Keys of so many partitions, a few each.
    fn keys(partitions: u32, each: u32) -> Vec<(u32, KeyHash)> {
        let hasher = foldhash::fast::FixedState::with_seed(7);
        let key = |n: u32| u128::from(hasher.hash_one(n)) << 64 | u128::from(hasher.hash_one((n, n)));
        (0..partitions).flat_map(|p| (0..each).map(move |n| (p, p * each + n))).map(|(p, n)| (p, key(n))).collect()
    }

    fn filled(keys: &[(u32, KeyHash)], each: usize) -> KeyFilters {
        let filters = KeyFilters::with_places(BITS_PER_KEY * each);
        keys.iter().for_each(|(partition, key)| filters.insert(*partition, *key));
        filters
    }

    #[test]
    fn every_key_is_found_in_its_partition_and_hardly_any_other_anywhere() {
        let all = keys(150, 1_024);
        let (known, new) = all.split_at(140 * 1_024);
        let filters = filled(known, 1_024);
        assert_eq!(filters.read().wide.len(), 2, "what is full is widened");
        for (partition, key) in known {
            assert!(filters.may_have(*key));
            assert!(filters.candidates(*key).contains(partition), "{partition}");
        }
        let wrong = new.iter().filter(|(_, key)| filters.may_have(*key)).count();
        // 140 partitions at 1 in 14,000: some 100 of 10,240.
        assert!((20..400).contains(&wrong), "{wrong} of {}", new.len());
        let newest_first = filters.candidates(known.last().expect("a key").1);
        assert!(newest_first.is_sorted_by(|a, b| a > b));
    }

    /// A run that is built again after an error may begin before the last widening.
    #[test]
    fn a_key_may_come_late() {
        let known = keys(80, 64);
        let filters = filled(&known[64..], 64);
        known[..64].iter().for_each(|(partition, key)| filters.insert(*partition, *key));
        assert!(known.iter().all(|(partition, key)| filters.candidates(*key).contains(partition)));
    }

    #[test]
    fn what_is_kept_is_what_is_put_back() {
        let known = keys(12, 512);
        let filters = filled(&known, 512);
        let kept: Vec<_> = (0..12).map(|partition| filters.bytes(partition)).collect();
        assert!(filters.bytes(16).is_none(), "no such group");
        let again = KeyFilters::with_places(BITS_PER_KEY * 512);
        for first in [0, 8] {
            let group = std::array::from_fn(|at| kept.get(first + at).cloned().flatten());
            assert!(again.restore(u32::try_from(first).expect("small"), &group));
        }
        assert!((0..12).all(|partition| again.bytes(partition) == kept[partition as usize]));
        assert!(known.iter().all(|(partition, key)| again.candidates(*key).contains(partition)));
        let mut torn: [Option<Vec<u8>>; SIDE_BY_SIDE] = Default::default();
        torn[0] = kept[0].clone().map(|mut bytes| bytes.split_off(1));
        assert!(!again.restore(16, &torn), "a filter that is too short says no where it must not");
    }
}
