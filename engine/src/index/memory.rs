//! The indexes in memory, with a fault point, for tests and the deterministic wiring.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{AccountKey, HistoryRow, Index, IndexError, OwnerKey, OwnerRow, Run, TimerKey, Watermark};
use crate::{
    keys::KeyHash,
    ledger::{account::Account, fx::Pair, rates::PairRow, time::Timestamp},
    money::{AccountId, Lsn, OpId, TenantId},
};

/// How many tables a run goes through before its watermark, in this order: keys, objects, owners, history, accounts,
/// timers, rates.
pub const STEPS: usize = 7;

/// See the module.
#[derive(Default)]
pub struct MemoryIndex {
    tables: Mutex<Tables>,
    /// Runs stop before this step; [`STEPS`] + 1 and more never stop.
    stop_before: AtomicUsize,
}

#[derive(Clone, Default)]
struct Tables {
    watermark: Option<Watermark>,
    keys: BTreeMap<(TenantId, KeyHash), Lsn>,
    objects: BTreeMap<(TenantId, OpId), Lsn>,
    owners: BTreeMap<(OwnerKey, Option<AccountId>), OwnerRow>,
    history: BTreeMap<(AccountKey, Lsn, u16), HistoryRow>,
    accounts: BTreeMap<AccountKey, Account>,
    timers: BTreeMap<TimerKey, AccountId>,
    rates: BTreeMap<Pair, PairRow>,
}

impl MemoryIndex {
    /// Empty, without faults.
    pub fn new() -> Self {
        let index = Self::default();
        index.fail_before(usize::MAX);
        index
    }

    /// Makes every run fail before its step `n` (0 is keys, [`STEPS`] the watermark); earlier steps stay visible.
    pub fn fail_before(&self, n: usize) {
        self.stop_before.store(n, Ordering::SeqCst);
    }

    /// What a crash leaves: everything, as rows are synced before the watermark.
    pub fn crash(&self) -> Self {
        let after = Self::new();
        *after.lock() = self.lock().clone();
        after
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn watermark(&self) -> Option<Watermark> {
        self.lock().watermark
    }

    fn unfinished_run(&self) -> Option<Lsn> {
        // Its tables are taken in by key, so that a run may be built again with any bounds.
        None
    }

    fn reopen(&self) -> Result<(), IndexError> {
        Ok(())
    }

    fn condemn(&self, _why: &str) {}

    fn may_have_key(&self, key: KeyHash) -> bool {
        self.lock().keys.keys().any(|(_, k)| *k == key)
    }

    fn key(&self, tenant: TenantId, key: KeyHash) -> Result<Option<Lsn>, IndexError> {
        Ok(self.lock().keys.get(&(tenant, key)).copied())
    }

    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError> {
        Ok(self.lock().objects.get(&(tenant, object)).copied())
    }

    fn account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        Ok(self.lock().accounts.get(key).cloned())
    }

    fn accounts(&self, after: Option<&AccountKey>, limit: usize) -> Result<Vec<(TenantId, Account)>, IndexError> {
        let tables = self.lock();
        let rows = tables.accounts.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        Ok(rows.take(limit).map(|(key, account)| (key.0, account.clone())).collect())
    }

    fn owner(&self, key: &OwnerKey) -> Result<Vec<OwnerRow>, IndexError> {
        let tables = self.lock();
        Ok(tables.owners.iter().filter(|((owner, _), _)| owner == key).map(|(_, row)| row.clone()).collect())
    }

    fn history(&self, key: &AccountKey, below: Lsn, limit: usize) -> Result<Vec<HistoryRow>, IndexError> {
        let tables = self.lock();
        let rows = tables.history.range((key.clone(), Lsn(0), 0)..(key.clone(), below, 0));
        Ok(rows.rev().take(limit).map(|(_, row)| row.clone()).collect())
    }

    fn timers_due(
        &self,
        from: Timestamp,
        upto: Timestamp,
        take: &mut dyn FnMut(TimerKey, AccountId),
    ) -> Result<(), IndexError> {
        let tables = self.lock();
        let due = tables.timers.iter().filter(|((due, _, _), _)| (from..=upto).contains(due));
        due.for_each(|(timer, account)| take(*timer, account.clone()));
        Ok(())
    }

    fn rates(&self) -> Result<Vec<PairRow>, IndexError> {
        Ok(self.lock().rates.values().cloned().collect())
    }

    fn apply(&self, run: Run) -> Result<(), IndexError> {
        let mut tables = self.lock();
        for step in 0..=STEPS {
            if step >= self.stop_before.load(Ordering::SeqCst) {
                return Err(IndexError::Store { table: "memory", error: format!("injected failure at step {step}") });
            }
            tables.take_step(step, &run)?;
        }
        Ok(())
    }

    fn run_count(&self) -> usize {
        0
    }
}

impl Tables {
    fn take_step(&mut self, step: usize, run: &Run) -> Result<(), IndexError> {
        match step {
            0 => self.keys.extend(run.keys.iter().map(|(tenant, key, lsn)| ((*tenant, *key), *lsn))),
            1 => self.objects.extend(run.objects.iter().map(|(tenant, id, lsn)| ((*tenant, *id), *lsn))),
            2 => {
                for (owner, row) in &run.owners {
                    let account = match row {
                        OwnerRow::Account(owned) => Some(owned.account.clone()),
                        OwnerRow::Default(..) => None,
                    };
                    self.owners.insert((owner.clone(), account), row.clone());
                }
            }
            3 => {
                let mut seen = std::collections::BTreeSet::new();
                let lines = run.history.iter().flat_map(|(account, lines)| lines.iter().map(move |row| (account, row)));
                for (account, row) in lines {
                    if !seen.insert((account, row.lsn, row.line)) {
                        return Err(IndexError::Duplicate("history"));
                    }
                    self.history.insert((account.clone(), row.lsn, row.line), row.clone());
                }
            }
            4 => self.accounts.extend(run.accounts.iter().map(|(t, a)| ((*t, a.id.clone()), a.clone()))),
            5 => {
                for (timer, account) in &run.timers {
                    match account {
                        Some(account) => self.timers.insert(*timer, account.clone()),
                        None => self.timers.remove(timer),
                    };
                }
            }
            6 => self.rates.extend(run.rates.iter().map(|row| (row.pair(), row.clone()))),
            _ => self.watermark = run.watermark,
        }
        Ok(())
    }
}
