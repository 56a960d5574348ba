//! Indexes: a pure function of the journal, built behind the commits in sorted runs (P5).
//!
//! Nothing is decided here. Delete the folder and it is rebuilt. Look-ups may block on a disk, so they never run on
//! an arbiter; [`Index::may_have_key`] alone is asked on a payment's path and answers from memory.

pub mod builder;
mod compare;
mod filters;
pub mod fjall;
mod layout;
pub mod memory;
mod packed;
pub mod reach;
pub mod rows;
mod run_rows;
pub mod store;
mod table_files;
pub mod unusable;

use crate::{
    journal::Hash,
    keys::KeyHash,
    ledger::{account::Account, owner::Owned, rates::PairRow, time::Timestamp},
    money::{AccountId, Lsn, OpId, OwnerId, TenantId},
    refusal::{Refusal, UnavailableReason, internal},
};
pub use rows::{HistoryRow, Moved};

/// How far the index is, and on which journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The last entry in it.
    pub lsn: Lsn,
    /// The hash of that entry's block.
    pub block_hash: Hash,
}

/// An account, by tenant and id.
pub type AccountKey = (TenantId, AccountId);
/// An owner, by tenant and id.
pub type OwnerKey = (TenantId, OwnerId);
/// A due time and whose reservation it ends.
pub type TimerKey = (Timestamp, TenantId, OpId);

/// One step of an owner's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerRow {
    /// An account with its status.
    Account(Owned),
    /// Which is the default, since which entry.
    Default(AccountId, Lsn),
}

/// All rows some whole blocks make. The index sorts each table before it takes it in.
#[derive(Debug, Default)]
pub struct Run {
    /// Key to lsn.
    pub keys: Vec<(TenantId, KeyHash, Lsn)>,
    /// Payment or reservation to its latest lsn.
    pub objects: Vec<(TenantId, OpId, Lsn)>,
    /// Owners' accounts and defaults, oldest first.
    pub owners: Vec<(OwnerKey, OwnerRow)>,
    /// What happened to each account, oldest first; every account once.
    pub history: Vec<(AccountKey, Vec<HistoryRow>)>,
    /// Account states after the run.
    pub accounts: Vec<(TenantId, Account)>,
    /// Timers that were set, with the account they free money of, and that ended (`None`), oldest first.
    pub timers: Vec<(TimerKey, Option<AccountId>)>,
    /// Pairs whose rate changed, oldest first.
    pub rates: Vec<PairRow>,
    /// How far the run goes.
    pub watermark: Option<Watermark>,
}

/// The indexes.
pub trait Index: Send + Sync {
    /// How far it is; `None` if it is empty.
    fn watermark(&self) -> Option<Watermark>;
    /// The last entry of a run that was begun and not finished, if some tables have its rows: the next run must end
    /// there too.
    fn unfinished_run(&self) -> Option<Lsn>;
    /// Makes it ready for another try after a run that failed.
    fn reopen(&self) -> Result<(), IndexError>;
    /// Whether a key may be in it: `false` is sure, and costs no disk read.
    fn may_have_key(&self, key: KeyHash) -> bool;
    /// The entry of a key.
    fn key(&self, tenant: TenantId, key: KeyHash) -> Result<Option<Lsn>, IndexError>;
    /// The latest entry of a payment or reservation.
    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError>;
    /// An account's state.
    fn account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError>;
    /// Says that it is not what the journal made: nothing is let in any more, and the next start builds it anew.
    fn condemn(&self, why: &str);
    /// All accounts, in order of tenant and id, from `after` on.
    fn accounts(&self, after: Option<&AccountKey>, limit: usize) -> Result<Vec<(TenantId, Account)>, IndexError>;
    /// An owner's rows.
    fn owner(&self, key: &OwnerKey) -> Result<Vec<OwnerRow>, IndexError>;
    /// An account's history below `below`, newest first.
    fn history(&self, key: &AccountKey, below: Lsn, limit: usize) -> Result<Vec<HistoryRow>, IndexError>;
    /// Hands over the timers due from one time up to another, with their accounts, each tenant's oldest first.
    fn timers_due(
        &self,
        from: Timestamp,
        upto: Timestamp,
        take: &mut dyn FnMut(TimerKey, AccountId),
    ) -> Result<(), IndexError>;
    /// What stands for every pair.
    fn rates(&self) -> Result<Vec<PairRow>, IndexError>;
    /// Takes a run in: keys, objects, owners, history, accounts, timers, rates, then the watermark, durably. What an
    /// interrupted run already brought is not taken in twice.
    fn apply(&self, run: Run) -> Result<(), IndexError>;
    /// How many sorted runs wait to be merged: a measure of the cost of a look-up.
    fn run_count(&self) -> usize;
}

/// The index failed. Payments go on until the tail is full; the journal holds everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The store said no.
    #[error("index {table}: {error}")]
    Store {
        /// The table.
        table: &'static str,
        /// What it said.
        error: String,
    },
    /// The operating system has no room for what a read needs: open files, memory. Nothing is wrong with the store.
    #[error("index {table}: {error}; raise the limit of open files or memory")]
    NoRoom {
        /// The table.
        table: &'static str,
        /// What it said.
        error: String,
    },
    /// A row cannot be read.
    #[error("index {0}: a row cannot be read")]
    Row(&'static str),
    /// It is between an error and another try.
    #[error("the index is closed after an error")]
    Closed,
    /// A run with two rows under one key: a bug in the builder, refused before the store would crash on it.
    #[error("index {0}: a run holds one key twice")]
    Duplicate(&'static str),
    /// A run with rows out of order: a bug, refused for the same reason.
    #[error("index {0}: a run is not sorted")]
    Unsorted(&'static str),
    /// The fold of an entry failed.
    #[error("index accounts: {0}")]
    Fold(#[from] crate::ledger::account::FoldError),
}

/// Whoever asked for what cannot be read is told so.
impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::NoRoom { .. } | IndexError::Closed => internal(error),
            _ => UnavailableReason::Damaged.into(),
        }
    }
}

impl IndexError {
    /// What a store said.
    pub(crate) fn store(table: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self::Store { table, error: error.to_string() }
    }
}
