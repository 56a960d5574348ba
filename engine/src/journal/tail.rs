//! The tail: blocks that are committed and not yet indexed, in memory (P1, P5).
//!
//! A look-up goes to the tail first and to the index second; a block leaves only once its index rows and the
//! watermark are visible. So every committed entry is found in at least one of the two, at any moment. The tail is
//! bounded in bytes by admission; a commit itself never waits for room.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;

use super::Block;
use crate::{
    idempotency::{KeyHash, KeyHasher},
    ledger::entry::Committed,
    money::{Lsn, OpId},
};

/// See the module.
pub struct Tail {
    hasher: KeyHasher,
    blocks: RwLock<Blocks>,
    bytes: AtomicUsize,
    /// The last committed entry.
    committed: AtomicU64,
    /// The last entry that left the tail.
    indexed: AtomicU64,
}

#[derive(Default)]
struct Blocks {
    queue: VecDeque<Arc<Block>>,
    keys: HashMap<KeyHash, Lsn, RandomState>,
    objects: HashMap<OpId, Lsn, RandomState>,
}

impl Blocks {
    fn get(&self, lsn: Lsn) -> Option<Committed> {
        let after = self.queue.partition_point(|block| block.first_lsn <= lsn);
        after.checked_sub(1).and_then(|i| self.queue.get(i)).and_then(|block| block.get(lsn))
    }
}

impl Tail {
    /// An empty tail behind `indexed`.
    pub fn new(hasher: KeyHasher, indexed: Lsn) -> Self {
        Self {
            hasher,
            blocks: RwLock::default(),
            bytes: AtomicUsize::new(0),
            committed: AtomicU64::new(indexed.0),
            indexed: AtomicU64::new(indexed.0),
        }
    }

    /// Adds the next block. From here on its entries are found.
    pub fn publish(&self, block: &Arc<Block>) {
        let keys: Vec<_> = block.entries.iter().map(|entry| self.hasher.key(entry.tenant, &entry.tx_id)).collect();
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        for (committed, key) in block.committed().zip(keys) {
            blocks.keys.insert(key, committed.lsn);
            if let Some(object) = committed.entry.object() {
                blocks.objects.insert(object, committed.lsn);
            }
        }
        blocks.queue.push_back(Arc::clone(block));
        self.bytes.fetch_add(block.memory_bytes, Ordering::Relaxed);
        self.committed.store(block.last_lsn().0, Ordering::Release);
    }

    /// Drops all blocks up to `indexed`: the index answers for them now.
    pub fn retire(&self, indexed: Lsn) {
        let mut gone = Vec::new();
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(block) = blocks.queue.pop_front_if(|block| block.last_lsn() <= indexed) {
            for committed in block.committed() {
                blocks.keys.remove(&self.hasher.key(committed.entry.tenant, &committed.entry.tx_id));
                if let Some(object) = committed.entry.object()
                    && blocks.objects.get(&object) == Some(&committed.lsn)
                {
                    blocks.objects.remove(&object);
                }
            }
            self.bytes.fetch_sub(block.memory_bytes, Ordering::Relaxed);
            gone.push(block);
        }
        self.indexed.fetch_max(indexed.0, Ordering::Release);
        drop(blocks);
        // The blocks' memory is given back outside the lock.
        drop(gone);
    }

    fn read<T>(&self, f: impl FnOnce(&Blocks) -> T) -> T {
        f(&self.blocks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The entry under a key, if it is in the tail.
    pub fn by_key(&self, key: KeyHash) -> Option<Committed> {
        self.read(|blocks| blocks.get(*blocks.keys.get(&key)?))
    }

    /// The latest entry of a payment or reservation, if it is in the tail.
    pub fn by_object(&self, object: OpId) -> Option<Committed> {
        self.read(|blocks| blocks.get(*blocks.objects.get(&object)?))
    }

    /// The entry at `lsn`, if it is in the tail.
    pub fn by_lsn(&self, lsn: Lsn) -> Option<Committed> {
        self.read(|blocks| blocks.get(lsn))
    }

    /// All blocks that may touch an account, oldest first.
    pub fn touching(&self, account_hash: u64) -> Vec<Arc<Block>> {
        self.read(|blocks| blocks.queue.iter().filter(|block| block.may_touch(account_hash)).cloned().collect())
    }

    /// The oldest blocks that hold at most `entries_max` entries together; at least one block if there is any.
    pub fn oldest_entries(&self, entries_max: usize) -> Vec<Arc<Block>> {
        self.read(|blocks| {
            let mut entries = 0;
            let fits = |block: &&Arc<Block>| {
                let first = entries == 0;
                entries += block.entries.len();
                first || entries <= entries_max
            };
            blocks.queue.iter().take_while(fits).cloned().collect()
        })
    }

    /// All blocks, oldest first.
    pub fn all(&self) -> Vec<Arc<Block>> {
        self.read(|blocks| blocks.queue.iter().cloned().collect())
    }

    /// How much memory the tail takes, about, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The last committed entry.
    pub fn committed(&self) -> Lsn {
        Lsn(self.committed.load(Ordering::Acquire))
    }

    /// The last entry that is indexed for sure.
    pub fn indexed(&self) -> Lsn {
        Lsn(self.indexed.load(Ordering::Acquire))
    }
}
