//! A commit block in memory: entries with their place, and what look-ups need to skip it fast.

use std::{hash::BuildHasher, sync::Arc};

use super::merkle::Hash;
use crate::{
    ledger::{
        apply::naming,
        decision::{Change, Decision},
        entry::{Committed, Entry},
        time::Timestamp,
    },
    money::{AccountId, Lsn, OwnerId, TenantId},
};

/// What one entry costs in memory besides its encoded bytes: the structs and the allocations around them.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<Entry>() + size_of::<Decision>() + 256;

/// A durable block. Entry `i` has lsn `first_lsn + i`; all share one time.
#[derive(Debug)]
pub struct Block {
    /// The first entry's position.
    pub first_lsn: Lsn,
    /// When it was committed; never before an earlier block's.
    pub at: Timestamp,
    /// The block's hash.
    pub hash: Hash,
    /// The entries, at least one.
    pub entries: Vec<Arc<Entry>>,
    /// The entries that open or change an account: a hash of its owner, and the position.
    account_entries: Vec<(u64, u32)>,
    /// Sorted hashes of all accounts the entries touch.
    touched: Vec<u64>,
    /// What it costs in memory, about.
    pub memory_bytes: usize,
}

impl Block {
    /// A block of durable entries; `records_bytes` is their encoded length.
    pub fn new(first_lsn: Lsn, at: Timestamp, hash: Hash, records_bytes: usize, entries: Vec<Arc<Entry>>) -> Self {
        let mut touched = Vec::with_capacity(entries.len() * 2);
        let mut account_entries = Vec::new();
        for (position, entry) in (0..).zip(&entries) {
            if let Some((account, _)) = entry.decision.account() {
                account_entries.push((owner_hash(entry.tenant, &account.owner), position));
            }
            for_each_account(entry, |account| touched.push(account_hash(entry.tenant, account)));
        }
        touched.sort_unstable();
        touched.dedup();
        let memory_bytes = entries.len() * ENTRY_OVERHEAD_BYTES + records_bytes * 2;
        Self { first_lsn, at, hash, entries, account_entries, touched, memory_bytes }
    }

    /// The last entry's position.
    pub fn last_lsn(&self) -> Lsn {
        Lsn(self.first_lsn.0 + self.entries.len().saturating_sub(1) as u64)
    }

    /// The entries with their positions in the journal.
    pub fn placed(&self) -> impl Iterator<Item = (Lsn, &Arc<Entry>)> {
        (self.first_lsn.0..).map(Lsn).zip(&self.entries)
    }

    /// The entries with their place.
    pub fn committed(&self) -> impl DoubleEndedIterator<Item = Committed> + ExactSizeIterator {
        self.entries.iter().enumerate().map(|(i, entry)| Committed {
            entry: Arc::clone(entry),
            lsn: Lsn(self.first_lsn.0 + i as u64),
            at: self.at,
        })
    }

    /// The entry at `lsn`, if it is in this block.
    pub fn get(&self, lsn: Lsn) -> Option<Committed> {
        let i = usize::try_from(lsn.0.checked_sub(self.first_lsn.0)?).ok()?;
        self.entries.get(i).map(|entry| Committed { entry: Arc::clone(entry), lsn, at: self.at })
    }

    /// The entry at a position in this block.
    pub fn get_at(&self, position: u32) -> Option<Committed> {
        self.get(Lsn(self.first_lsn.0 + u64::from(position)))
    }

    /// The entries that may open or change an account of the owner with this hash.
    pub fn account_entries(&self, owner_hash: u64) -> impl Iterator<Item = Committed> {
        let mine = self.account_entries.iter().filter(move |(hash, _)| *hash == owner_hash);
        mine.filter_map(|(_, position)| self.get_at(*position))
    }

    /// Whether some entry may open or change an account.
    pub fn may_change_accounts(&self) -> bool {
        !self.account_entries.is_empty()
    }

    /// Whether some entry may touch the account with this hash; never wrong when it says no.
    pub fn may_touch(&self, account_hash: u64) -> bool {
        self.touched.binary_search(&account_hash).is_ok()
    }
}

/// Calls `f` for every account an entry is about: those that money moved on, the account that was opened or changed,
/// the payer of a payment that was made and moved nothing, and both sides of what is set aside or ended.
pub fn for_each_account(entry: &Entry, mut f: impl FnMut(&AccountId)) {
    entry.postings().iter().for_each(|posting| f(&posting.account));
    for change in &entry.decision.changes {
        match change {
            Change::Payment(payment) if entry.postings().is_empty() && entry.made_payment().is_some() => {
                f(&payment.payer);
            }
            Change::Account { account, .. } => f(&account.id),
            Change::Payment(_)
            | Change::Reservation(_)
            | Change::Refund(_)
            | Change::Transfer(_)
            | Change::Operation(_)
            | Change::Rates => {}
        }
    }
    naming(entry).into_iter().flat_map(|(named, ..)| named).for_each(f);
}

/// A hash of an account for skipping blocks; the same in every process.
pub fn account_hash(tenant: TenantId, account: &AccountId) -> u64 {
    foldhash::fast::FixedState::with_seed(u64::from(tenant.0)).hash_one(account)
}

/// A hash of an owner, for the same purpose.
pub fn owner_hash(tenant: TenantId, owner: &OwnerId) -> u64 {
    foldhash::fast::FixedState::with_seed(u64::from(tenant.0)).hash_one(owner)
}
