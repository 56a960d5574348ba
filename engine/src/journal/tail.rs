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
    keys::{KeyHash, KeyHasher},
    ledger::entry::Committed,
    money::{Lsn, OpId},
    planted::{Bug, is_planted},
};

/// A block in the tail, with the keys of its entries in their order.
#[derive(Debug)]
pub struct Tailed {
    /// The block.
    pub block: Arc<Block>,
    /// One per entry.
    pub keys: Vec<KeyHash>,
}

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
    queue: VecDeque<Arc<Tailed>>,
    keys: HashMap<KeyHash, Lsn, RandomState>,
    objects: HashMap<OpId, Lsn, RandomState>,
}

impl Blocks {
    fn get(&self, lsn: Lsn) -> Option<Committed> {
        self.block_of(lsn).and_then(|block| block.get(lsn))
    }

    fn block_of(&self, lsn: Lsn) -> Option<&Arc<Block>> {
        let after = self.queue.partition_point(|tailed| tailed.block.first_lsn <= lsn);
        let block = after.checked_sub(1).and_then(|i| self.queue.get(i)).map(|tailed| &tailed.block);
        block.filter(|block| lsn <= block.last_lsn())
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

    /// Adds a block as it was read from the journal.
    pub fn publish_recovered(&self, block: &Arc<Block>) {
        let keys = block.entries.iter().map(|entry| self.hasher.key(entry.tenant, &entry.tx_id));
        self.publish(block, keys.collect());
    }

    /// Adds the next block, with the keys of its entries. From here on its entries are found.
    pub fn publish(&self, block: &Arc<Block>, keys: Vec<KeyHash>) {
        let tailed = Arc::new(Tailed { block: Arc::clone(block), keys });
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        for ((lsn, entry), key) in block.placed().zip(&tailed.keys) {
            if !is_planted(Bug::KeyNotInTheEntry) || !lsn.0.is_multiple_of(8) {
                blocks.keys.insert(*key, lsn);
            }
            for object in entry.objects() {
                blocks.objects.insert(object, lsn);
            }
        }
        blocks.queue.push_back(tailed);
        self.bytes.fetch_add(block.memory_bytes, Ordering::Relaxed);
        self.committed.store(block.last_lsn().0, Ordering::Release);
    }

    /// Drops all blocks up to `indexed`: the index answers for them now.
    pub fn retire(&self, indexed: Lsn) {
        let mut gone = Vec::new();
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        while let Some(tailed) = blocks.queue.pop_front_if(|tailed| tailed.block.last_lsn() <= indexed) {
            for ((lsn, entry), key) in tailed.block.placed().zip(&tailed.keys) {
                blocks.keys.remove(key);
                for object in entry.objects() {
                    if blocks.objects.get(&object) == Some(&lsn) {
                        blocks.objects.remove(&object);
                    }
                }
            }
            self.bytes.fetch_sub(tailed.block.memory_bytes, Ordering::Relaxed);
            gone.push(tailed);
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

    /// The block of the entry at `lsn`, if it is in the tail.
    pub fn block_of(&self, lsn: Lsn) -> Option<Arc<Block>> {
        self.read(|blocks| blocks.block_of(lsn).cloned())
    }

    /// All blocks that may touch an account, oldest first.
    pub fn touching(&self, account_hash: u64) -> Vec<Arc<Block>> {
        self.collect(|block| block.may_touch(account_hash))
    }

    /// The oldest blocks that hold at most `entries_max` entries together; at least one block if there is any.
    pub fn oldest_entries(&self, entries_max: usize) -> Vec<Arc<Tailed>> {
        self.read(|blocks| {
            let mut entries = 0;
            let fits = |tailed: &&Arc<Tailed>| {
                let first = entries == 0;
                entries += tailed.block.entries.len();
                first || entries <= entries_max
            };
            blocks.queue.iter().take_while(fits).cloned().collect()
        })
    }

    /// The oldest blocks up to an entry.
    pub fn oldest_upto(&self, end: Lsn) -> Vec<Arc<Tailed>> {
        self.read(|blocks| blocks.queue.iter().take_while(|tailed| tailed.block.last_lsn() <= end).cloned().collect())
    }

    /// All blocks, oldest first.
    pub fn all(&self) -> Vec<Arc<Block>> {
        self.collect(|_| true)
    }

    /// All blocks that open or change accounts, oldest first.
    pub fn changing_accounts(&self) -> Vec<Arc<Block>> {
        self.collect(Block::may_change_accounts)
    }

    fn collect(&self, wanted: impl Fn(&Block) -> bool) -> Vec<Arc<Block>> {
        self.read(|blocks| {
            let wanted = blocks.queue.iter().filter(|tailed| wanted(&tailed.block));
            wanted.map(|tailed| Arc::clone(&tailed.block)).collect()
        })
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
