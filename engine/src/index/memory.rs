//! The indexes in memory, with fault points, for tests and the deterministic wiring.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{AccountKey, HistoryRow, Index, IndexError, OwnerKey, OwnerRow, Run, TimerKey, Watermark};
use crate::{
    keys::KeyHash,
    ledger::{account::Account, fx::Pair, rates::PairRow, time::Timestamp},
    money::{AccountId, Lsn, OpId, TenantId},
    planted::{Bug, is_planted},
};

/// How many tables a run goes through before its watermark, in this order: keys, objects, owners, history, accounts,
/// timers, rates.
pub const STEPS: usize = 7;

/// See the module. Clones are the same index.
#[derive(Clone, Default)]
pub struct MemoryIndex(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tables: Mutex<Tables>,
    /// Runs stop before this step; [`STEPS`] + 1 and more never stop.
    stop_before: AtomicUsize,
    /// What happens before a read.
    overtakes: Mutex<Option<Overtakes>>,
}

/// Something that overtakes a read.
pub type Overtakes = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Default, PartialEq)]
struct Tables {
    watermark: Option<Watermark>,
    /// The last run that each table took in, in the order of the steps.
    marks: [Lsn; STEPS],
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

    /// Has something happen right before every read, such as a commit: what was read before it is old by then.
    pub fn overtake_reads(&self, overtakes: Option<Overtakes>) {
        *self.0.overtakes.lock().unwrap_or_else(PoisonError::into_inner) = overtakes;
    }

    /// Takes the rows of a step's table away, with its mark, as somebody with a shell would.
    pub fn lose(&self, step: usize) {
        self.lock().lose(step);
    }

    /// Whether every table is as far as the watermark says; without one there are no rows.
    pub fn is_whole(&self) -> bool {
        let tables = self.lock();
        match tables.watermark {
            Some(watermark) => tables.marks.iter().all(|mark| *mark >= watermark.lsn),
            None => tables.marks.iter().all(|mark| *mark == Lsn(0)),
        }
    }

    /// How far it is.
    pub fn covers(&self) -> Lsn {
        self.lock().watermark.map_or(Lsn(0), |watermark| watermark.lsn)
    }

    /// Whether both have the same rows, up to the same entry.
    pub fn equals(&self, other: &Self) -> bool {
        *self.lock() == *other.lock()
    }

    /// Makes every run fail before its step `n` (0 is keys, [`STEPS`] the watermark); earlier steps stay visible.
    pub fn fail_before(&self, n: usize) {
        self.0.stop_before.store(n, Ordering::SeqCst);
    }

    /// What a crash leaves: everything, as rows are synced before the watermark.
    pub fn crash(&self) -> Self {
        let after = Self::new();
        *after.lock() = self.lock().clone();
        after
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, and may be overtaken right before and right after it.
    fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        self.be_overtaken();
        let found = read(&self.lock());
        self.be_overtaken();
        found
    }

    fn be_overtaken(&self) {
        // Whatever overtakes may read as well: the lock must be free by then.
        let overtakes = self.0.overtakes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(overtakes) = overtakes {
            overtakes();
        }
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
        Ok(self.read(|tables| tables.keys.get(&(tenant, key)).copied()))
    }

    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError> {
        Ok(self.read(|tables| tables.objects.get(&(tenant, object)).copied()))
    }

    fn account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        Ok(self.read(|tables| tables.accounts.get(key).cloned()))
    }

    fn accounts(&self, after: Option<&AccountKey>, limit: usize) -> Result<Vec<(TenantId, Account)>, IndexError> {
        Ok(self.read(|tables| {
            let rows = tables.accounts.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
            rows.take(limit).map(|(key, account)| (key.0, account.clone())).collect()
        }))
    }

    fn owner(&self, key: &OwnerKey) -> Result<Vec<OwnerRow>, IndexError> {
        Ok(self.read(|tables| {
            tables.owners.iter().filter(|((owner, _), _)| owner == key).map(|(_, row)| row.clone()).collect()
        }))
    }

    fn history(&self, key: &AccountKey, below: Lsn, limit: usize) -> Result<Vec<HistoryRow>, IndexError> {
        Ok(self.read(|tables| {
            let rows = tables.history.range((key.clone(), Lsn(0), 0)..(key.clone(), below, 0));
            rows.rev().take(limit).map(|(_, row)| row.clone()).collect()
        }))
    }

    fn timers_due(
        &self,
        from: Timestamp,
        upto: Timestamp,
        take: &mut dyn FnMut(TimerKey, AccountId),
    ) -> Result<(), IndexError> {
        self.read(|tables| {
            let due = tables.timers.iter().filter(|((due, _, _), _)| (from..=upto).contains(due));
            due.for_each(|(timer, account)| take(*timer, account.clone()));
        });
        Ok(())
    }

    fn rates(&self) -> Result<Vec<PairRow>, IndexError> {
        Ok(self.lock().rates.values().cloned().collect())
    }

    fn apply(&self, run: Run) -> Result<(), IndexError> {
        let mut tables = self.lock();
        for position in 0..=STEPS {
            // The watermark is the last step, unless a planted bug makes it the first.
            let first = if is_planted(Bug::WatermarkBeforeRun) { STEPS } else { 0 };
            let step = (position + first) % (STEPS + 1);
            if position >= self.0.stop_before.load(Ordering::SeqCst) {
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
    fn lose(&mut self, step: usize) {
        if let Some(mark) = self.marks.get_mut(step) {
            *mark = Lsn(0);
        }
        match step {
            0 => self.keys.clear(),
            1 => self.objects.clear(),
            2 => self.owners.clear(),
            3 => self.history.clear(),
            4 => self.accounts.clear(),
            5 => self.timers.clear(),
            _ => self.rates.clear(),
        }
    }

    fn take_step(&mut self, step: usize, run: &Run) -> Result<(), IndexError> {
        if let (Some(mark), Some(watermark)) = (self.marks.get_mut(step), run.watermark) {
            *mark = watermark.lsn;
        }
        if is_planted(Bug::WatermarkBeforeRun) {
            self.marks = [run.watermark.map_or(Lsn(0), |watermark| watermark.lsn); STEPS];
        }
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
