//! The index builder: folds whole blocks of the tail into one run, behind the commits (P5).
//!
//! It keeps the states of the accounts it saw last, so a hot account costs one row per run. It needs nothing from the
//! actors, never blocks a commit, and a run that is done twice changes nothing.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{AccountKey, HistoryRow, Index, IndexError, OwnerRow, Run, Watermark, rows::fold_with_history};
use crate::{
    journal::{block::for_each_account, tail::Tail},
    ledger::{
        account::Account,
        apply::{changes_rates, to_rates},
        entry::Committed,
        owner::Owned,
        rates::RateBook,
        settings::DefaultMark,
    },
    money::Lsn,
    planted::{Bug, is_planted},
};

/// How the builder folds.
pub struct Builder {
    tail: Arc<Tail>,
    index: Arc<dyn Index>,
    accounts_cached_max: usize,
    run_entries_max: usize,
    accounts: HashMap<AccountKey, Folded, RandomState>,
    /// The accounts of the run at hand.
    touched: Vec<AccountKey>,
    /// The rates as far as they are folded; read when they change first.
    rates: Option<RateBook>,
}

/// An account as far as it is folded, and what the run at hand adds to its history.
struct Folded {
    account: Option<Account>,
    lines: Vec<HistoryRow>,
    is_touched: bool,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// There was nothing to do.
    Idle,
    /// So many entries are indexed now that were not.
    Entries(usize),
}

impl Builder {
    /// A builder between a tail and an index.
    pub fn new(tail: Arc<Tail>, index: Arc<dyn Index>, config: &crate::config::EngineConfig) -> Self {
        Self {
            tail,
            index,
            accounts_cached_max: config.index_accounts_cached_max,
            run_entries_max: config.index_run_entries_max,
            accounts: HashMap::default(),
            touched: Vec::new(),
            rates: None,
        }
    }

    /// Makes the index ready for another try after a step that failed.
    pub fn reopen_index(&self) -> Result<(), IndexError> {
        self.index.reopen()
    }

    /// Builds one run from the oldest blocks, makes it visible, and lets the tail drop them.
    pub fn step(&mut self) -> Result<Built, IndexError> {
        // After a failure the remembered states may be ahead of the rows: they are read again.
        self.build_run().inspect_err(|_| {
            self.accounts.clear();
            self.touched.clear();
            self.rates = None;
        })
    }

    fn build_run(&mut self) -> Result<Built, IndexError> {
        let blocks = match self.index.unfinished_run() {
            // An interrupted run is built again with the very same end: some tables have all of it already.
            Some(end) if self.tail.committed() < end => return Ok(Built::Idle),
            Some(end) => self.tail.oldest_upto(end),
            None => self.tail.oldest_entries(self.run_entries_max),
        };
        let Some(last) = blocks.last() else { return Ok(Built::Idle) };
        let (upto, block_hash) = (last.block.last_lsn(), last.block.hash);
        let entries = blocks.iter().map(|tailed| tailed.block.entries.len()).sum();
        let mut run = Run { watermark: Some(Watermark { lsn: upto, block_hash }), ..Run::default() };
        for tailed in &blocks {
            for (committed, key) in tailed.block.committed().zip(&tailed.keys) {
                run.keys.push((committed.entry.tenant, *key, committed.lsn));
                self.fold(&committed, &mut run)?;
            }
        }
        self.collect_accounts(&mut run, blocks.first().map_or(Lsn(0), |tailed| tailed.block.first_lsn));
        if is_planted(Bug::TailFreedBeforeWatermark) {
            self.tail.retire(upto);
        }
        self.index.apply(run)?;
        self.tail.retire(upto);
        Ok(Built::Entries(entries))
    }

    fn fold(&mut self, committed: &Committed, run: &mut Run) -> Result<(), IndexError> {
        let entry = &committed.entry;
        let tenant = entry.tenant;
        run.objects.extend(entry.objects().map(|object| (tenant, object, committed.lsn)));
        let mut failed = None;
        for_each_account(entry, |account| {
            if failed.is_none() {
                failed = self.fold_account(&(tenant, account.clone()), committed).err();
            }
        });
        failed.map_or(Ok(()), Err)?;
        self.fold_small_tables(committed, run)
    }

    fn fold_account(&mut self, key: &AccountKey, committed: &Committed) -> Result<(), IndexError> {
        let folded = match self.accounts.entry(key.clone()) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                slot.insert(Folded { account: self.index.account(key)?, lines: Vec::new(), is_touched: false })
            }
        };
        if !std::mem::replace(&mut folded.is_touched, true) {
            self.touched.push(key.clone());
        }
        fold_with_history(&mut folded.account, &key.1, committed, &mut folded.lines)?;
        Ok(())
    }

    fn fold_small_tables(&mut self, committed: &Committed, run: &mut Run) -> Result<(), IndexError> {
        let (tenant, entry) = (committed.entry.tenant, &committed.entry);
        if let Some((account, default)) = entry.decision.changed_account() {
            let owner = (tenant, account.owner.clone());
            let owned = Owned {
                account: account.id.clone(),
                currency: account.currency,
                status: account.status,
                opened_lsn: if account.opened_lsn == Lsn(0) { committed.lsn } else { account.opened_lsn },
                changed_lsn: committed.lsn,
            };
            run.owners.push((owner.clone(), OwnerRow::Account(owned)));
            if default == DefaultMark::Default {
                run.owners.push((owner, OwnerRow::Default(account.id.clone(), committed.lsn)));
            }
        }
        if let Some(timer) = entry.decision.timer() {
            run.timers.push(((timer.due, tenant, timer.object), timer.frees.cloned()));
        }
        if changes_rates(entry) {
            let book = match &mut self.rates {
                Some(book) => book,
                none => none.insert(RateBook::of(self.index.rates()?)),
            };
            run.rates.extend(to_rates(book, entry, committed.at));
        }
        Ok(())
    }

    /// The states this run changed and the lines it adds; a cache that grew too large starts afresh.
    fn collect_accounts(&mut self, run: &mut Run, first_lsn: Lsn) {
        for key in self.touched.drain(..) {
            let Some(folded) = self.accounts.get_mut(&key) else { continue };
            folded.is_touched = false;
            if let Some(account) = folded.account.as_ref().filter(|account| account.applied_lsn >= first_lsn) {
                run.accounts.push((key.0, account.clone()));
            }
            if !folded.lines.is_empty() {
                run.history.push((key, std::mem::take(&mut folded.lines)));
            }
        }
        if self.accounts.len() > self.accounts_cached_max {
            self.accounts.clear();
        }
    }
}
