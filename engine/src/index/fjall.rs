//! The indexes on disk, in fjall 3: one keyspace a table, filled by sorted ingestion (P5).
//!
//! ```text
//! keys      tenant:4 bucket:8 lsn:8                    -> (key_hash:16 lsn:8)*   bucket = partition, 12 bits of the hash
//! objects   tenant:4 bucket:8 lsn:8                    -> (id:16 lsn:8)*         bucket = 8 ms of the id's time
//! owners    tenant:4 owner 0 ("a" account | "d")       -> Owned | account
//! history   tenant:4 partition:4 account 0 lsn:8       -> lines from that lsn on, those of one run together
//! accounts  tenant:4 account                           -> Account
//! timers    tenant:4 due:8 id:16                       -> account
//! rates     tenant:4 currency:2 currency:2             -> PairRow
//! meta      "watermark"                                -> format, lsn, block hash, fingerprint, marks (see `store`)
//! meta      "filter/" partition                        -> that partition's filter of keys
//! ```
//! A partition is a stretch of 2^20 entries: what is behind it is never merged again, so that a row costs the same
//! however many there are. Integers in keys are big-endian (see `layout`), values are postcard.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use fjall::Keyspace;

use super::{
    AccountKey, HistoryRow, Index, IndexError, OwnerKey, OwnerRow, Run, TimerKey, Watermark,
    filters::{KeyFilters, SIDE_BY_SIDE},
    layout::{
        ROWS_END, account_row, decode, filter_name, history_row, key_bucket, key_buckets, named_row, object_bucket,
        partition, tenant_of, timer_of,
    },
    packed,
    reach::{Reach, ReachFile},
    run_rows::take_run,
    store::{Checked, Mark, Store, Table, store},
    table_files::check_later,
    unusable::{Unusable, condemn},
};
use crate::{
    damage::Damage,
    keys::{Fingerprint, KeyHash},
    ledger::{account::Account, owner::Owned, rates::PairRow, time::Timestamp},
    money::{AccountId, Lsn, OpId, TenantId},
};

/// See the module.
pub struct FjallIndex {
    at: Located,
    /// `None` between an error and a successful try to open it again.
    store: RwLock<Option<Store>>,
    progress: Mutex<Progress>,
    filters: KeyFilters,
}

/// Where an index lies, and what it is held against.
#[derive(Debug, Clone)]
pub struct Located {
    /// Its folder.
    pub folder: PathBuf,
    /// The file that says how far it reached.
    pub reach: ReachFile,
    /// The data directory it belongs to.
    pub fingerprint: Fingerprint,
    /// Memory for what is read often, in bytes.
    pub cache_bytes: u64,
    /// Where damage is reported.
    pub damage: Arc<Damage>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    watermark: Option<Watermark>,
    marks: [Mark; 7],
    reach: Option<Reach>,
}

impl FjallIndex {
    /// Makes an empty index where there is none.
    pub fn create(at: Located, reach: Option<Reach>) -> Result<Self, IndexError> {
        let store = Store::create(&at.folder, at.cache_bytes)?;
        // What was once reached counts on; which run an older index was at does not.
        let reach = reach.map(|reach| Reach { run: Lsn(0), ..reach });
        Ok(Self::new(at, store, Checked { watermark: None, marks: [Mark::default(); 7] }, reach))
    }

    /// Opens an existing index as it is, and the filters of its keys.
    pub fn open(at: Located, reach: Option<Reach>) -> Result<Self, Unusable> {
        let mut store = Store::open(&at.folder, at.cache_bytes)?;
        let unchecked = std::mem::take(&mut store.unchecked);
        let checked = store.check(at.fingerprint, reach.as_ref())?;
        let index = Self::new(at, store, checked, reach);
        index.load_filters().map_err(|error| match error {
            IndexError::NoRoom { .. } => Unusable::Unreadable(error),
            error => Unusable::Damaged {
                why: error.to_string(),
                reaches: index.watermark().map_or(Lsn(0), |watermark| watermark.lsn),
            },
        })?;
        let reaches = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
        check_later(unchecked, (index.at.folder.clone(), reaches), Arc::clone(&index.at.damage));
        Ok(index)
    }

    fn new(at: Located, store: Store, Checked { watermark, marks }: Checked, reach: Option<Reach>) -> Self {
        Self {
            at,
            store: RwLock::new(Some(store)),
            progress: Mutex::new(Progress { watermark, marks, reach }),
            filters: KeyFilters::default(),
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No row is of a later entry. The watermark is not that bound: it follows the rows of its run, and a reader that
    /// has seen an account's new state must find the lines that led to it.
    fn rows_end(&self) -> Lsn {
        let Progress { watermark, reach, .. } = *self.progress();
        let run = reach.map_or(Lsn(0), |reach| reach.run);
        watermark.map_or(run, |watermark| watermark.lsn.max(run))
    }

    /// Payments and reservations whose latest entry stands behind `lsn`, by their ids; walks the whole table.
    pub fn objects_above(&self, lsn: Lsn) -> Result<Vec<(TenantId, OpId, Lsn)>, IndexError> {
        self.with(|stored| {
            let objects = ("objects", stored.table(Table::Objects));
            let mut found = std::collections::BTreeMap::new();
            let mut tenant = Some(0_u32);
            while let Some(t) = tenant {
                packed::for_each(objects, TenantId(t), 0..u64::MAX, |id, at| {
                    if at > lsn {
                        let latest: &mut Lsn = found.entry((TenantId(t), OpId(id))).or_default();
                        *latest = at.max(*latest);
                    }
                })?;
                tenant = next_tenant(objects.1, t)?;
            }
            Ok(found.into_iter().map(|((tenant, id), lsn)| (tenant, id, lsn)).collect())
        })
    }

    /// How far each table is filled.
    pub(super) fn marks(&self) -> [Mark; 7] {
        self.progress().marks
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&Store) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        work(store.as_ref().ok_or(IndexError::Closed)?)
    }

    /// A read that fails is damage: it is reported, and the next start builds the index anew.
    fn read<T>(&self, work: impl FnOnce(&Store) -> Result<T, IndexError>) -> Result<T, IndexError> {
        self.with(work).inspect_err(|error| {
            if !matches!(error, IndexError::Closed | IndexError::NoRoom { .. }) {
                self.condemn(&error.to_string());
            }
        })
    }

    /// Filled partitions' filters are rows of `meta`; the open one's is made anew from its keys.
    fn load_filters(&self) -> Result<(), IndexError> {
        let Some(watermark) = self.watermark() else { return Ok(()) };
        self.with(|stored| {
            for first in (0..=partition(watermark.lsn)).step_by(SIDE_BY_SIDE) {
                let mut kept: [_; SIDE_BY_SIDE] = std::array::from_fn(|_| None);
                let group = first..=partition(watermark.lsn);
                for (place, partition) in kept.iter_mut().zip(group.clone()) {
                    *place = stored.meta.get(filter_name(partition)).map_err(store("meta"))?;
                }
                if !self.filters.restore(first, &kept) {
                    return Err(IndexError::Row("meta"));
                }
                for (_, partition) in kept.iter().zip(group).filter(|(kept, _)| kept.is_none()) {
                    self.make_filter(stored, partition)?;
                }
            }
            Ok(())
        })
    }

    /// A partition's filter from its keys: they are contiguous per tenant.
    fn make_filter(&self, stored: &Store, partition: u32) -> Result<(), IndexError> {
        let keys = stored.table(Table::Keys);
        let mut tenant = Some(0_u32);
        while let Some(t) = tenant {
            packed::for_each(("keys", keys), TenantId(t), key_buckets(partition), |key, _| {
                self.filters.insert(partition, key);
            })?;
            tenant = next_tenant(keys, t)?;
        }
        Ok(())
    }
}

impl Index for FjallIndex {
    fn watermark(&self) -> Option<Watermark> {
        self.progress().watermark
    }

    fn unfinished_run(&self) -> Option<Lsn> {
        let Progress { watermark, marks, reach } = *self.progress();
        // Of an index that was made anew no run was begun: 0 is none.
        let ahead = |run: &Lsn| *run > watermark.map_or(Lsn(0), |watermark| watermark.lsn);
        // A run that brought no table any rows yet may be built with any bounds.
        reach.map(|reach| reach.run).filter(ahead).filter(|run| marks.iter().any(|mark| mark.lsn == *run))
    }

    fn reopen(&self) -> Result<(), IndexError> {
        let mut place = self.store.write().unwrap_or_else(PoisonError::into_inner);
        // The old one is closed before the folder is opened again: its threads and its lock go with it.
        place.take();
        let mut progress = self.progress();
        let opened = Store::open(&self.at.folder, self.at.cache_bytes);
        let checked = opened.and_then(|store| {
            let checked = store.check(self.at.fingerprint, progress.reach.as_ref())?;
            Ok((store, checked))
        });
        let (store, Checked { watermark, marks }) = checked.map_err(|error| {
            if let Unusable::Damaged { why, .. } = &error {
                self.at.damage.report(why);
            }
            IndexError::store("database", &error)
        })?;
        (progress.watermark, progress.marks) = (watermark, marks);
        *place = Some(store);
        Ok(())
    }

    fn may_have_key(&self, key: KeyHash) -> bool {
        self.filters.may_have(key)
    }

    fn condemn(&self, why: &str) {
        self.at.damage.report(why);
        let reaches = self.progress().reach.map_or(Lsn(0), |reach| reach.upto.lsn);
        if let Err(unnoted) = condemn(&self.at.folder, why, reaches) {
            tracing::error!(%unnoted, "delete the index folder by hand once the server is down");
        }
    }

    fn key(&self, tenant: TenantId, key: KeyHash) -> Result<Option<Lsn>, IndexError> {
        self.read(|store| {
            for partition in self.filters.candidates(key) {
                let keys = ("keys", store.table(Table::Keys));
                let found = packed::find(keys, tenant, key_bucket(partition, key), key)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        })
    }

    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError> {
        self.read(|store| {
            packed::find(("objects", store.table(Table::Objects)), tenant, object_bucket(object), object.0)
        })
    }

    fn account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        self.read(|stored| {
            let row = stored.table(Table::Accounts).get(account_row(key)).map_err(store("accounts"))?;
            row.map(|row| decode("accounts", &row)).transpose()
        })
    }

    fn accounts(&self, after: Option<&AccountKey>, limit: usize) -> Result<Vec<(TenantId, Account)>, IndexError> {
        let start = after.map_or(Vec::new(), |key| {
            let mut row = account_row(key);
            row.push(0);
            row
        });
        self.read(|stored| {
            let rows = stored.table(Table::Accounts).range(start..ROWS_END.to_vec()).take(limit).map(|row| {
                let (key, value) = row.into_inner().map_err(store("accounts"))?;
                Ok((tenant_of("accounts", &key)?, decode("accounts", &value)?))
            });
            rows.collect()
        })
    }

    fn owner(&self, key: &OwnerKey) -> Result<Vec<OwnerRow>, IndexError> {
        self.read(|stored| {
            let rows = stored.table(Table::Owners).prefix(named_row(key.0, &key.1)).map(|row| {
                let (key, value) = row.into_inner().map_err(store("owners"))?;
                let is_default = key.last() == Some(&b'd') && key.iter().rev().nth(1) == Some(&0);
                if is_default {
                    decode("owners", &value).map(|(account, since)| OwnerRow::Default(account, since))
                } else {
                    decode::<Owned>("owners", &value).map(OwnerRow::Account)
                }
            });
            rows.collect()
        })
    }

    fn history(&self, key: &AccountKey, below: Lsn, limit: usize) -> Result<Vec<HistoryRow>, IndexError> {
        let newest = partition(below.min(self.rows_end()));
        self.read(|stored| {
            let table = stored.table(Table::History);
            let chunks = (0..=newest).rev().flat_map(|partition| {
                let rows = history_row(key, partition, Lsn(0))..history_row(key, partition, below);
                table.range(rows).rev()
            });
            let mut found: Vec<HistoryRow> = Vec::new();
            for chunk in chunks {
                let lines: Vec<HistoryRow> = decode("history", &chunk.value().map_err(store("history"))?)?;
                found.extend(lines.into_iter().rev().filter(|line| line.lsn < below));
                if found.len() >= limit {
                    break;
                }
            }
            found.truncate(limit);
            Ok(found)
        })
    }

    fn timers_due(
        &self,
        from: Timestamp,
        upto: Timestamp,
        take: &mut dyn FnMut(TimerKey, AccountId),
    ) -> Result<(), IndexError> {
        self.read(|stored| {
            let timers = stored.table(Table::Timers);
            let mut tenant = Some(0_u32);
            while let Some(t) = tenant {
                let row_at = |due: u64| [&t.to_be_bytes()[..], &due.to_be_bytes()].concat();
                for row in timers.range(row_at(from.0)..row_at(upto.0.saturating_add(1))) {
                    let (key, account) = row.into_inner().map_err(store("timers"))?;
                    take(timer_of(&key)?, decode("timers", &account)?);
                }
                tenant = next_tenant(timers, t)?;
            }
            Ok(())
        })
    }

    fn rates(&self) -> Result<Vec<PairRow>, IndexError> {
        self.read(|stored| {
            let rows = stored.table(Table::Rates).range(..ROWS_END.to_vec());
            rows.map(|row| decode("rates", &row.value().map_err(store("rates"))?)).collect()
        })
    }

    fn apply(&self, run: Run) -> Result<(), IndexError> {
        let Some(upto) = run.watermark else { return Ok(()) };
        let Progress { watermark, mut marks, reach } = *self.progress();
        if watermark.is_some_and(|watermark| upto.lsn <= watermark.lsn) {
            return Ok(());
        }
        self.begin_run(upto, reach)?;
        let done = self.with(|store| {
            let first = run.keys.iter().map(|(_, _, lsn)| *lsn).min().unwrap_or(upto.lsn);
            let taken = take_run(store, &self.filters, &run, (upto, self.at.fingerprint), &mut marks);
            // Also of tables that came in before one that failed: the next try leaves them out.
            self.progress().marks = marks;
            taken?;
            self.save_filled_filters(store, first, upto.lsn)?;
            store.set_watermark(upto, self.at.fingerprint, marks)
        });
        done.inspect(|()| self.progress().watermark = Some(upto))
    }

    fn run_count(&self) -> usize {
        let counted = self.with(|store| {
            let tables = [Table::Keys, Table::Objects, Table::Owners, Table::History, Table::Accounts];
            Ok(tables.map(|table| store.table(table).l0_table_count()).into_iter().max().unwrap_or_default())
        });
        counted.unwrap_or_default()
    }
}

impl FjallIndex {
    /// Says how far the index is about to reach, before any row of the run is there.
    fn begin_run(&self, upto: Watermark, before: Option<Reach>) -> Result<(), IndexError> {
        let furthest = before.map(|reach| reach.upto).filter(|reached| reached.lsn > upto.lsn).unwrap_or(upto);
        let reach = Reach { upto: furthest, run: upto.lsn };
        if before != Some(reach) {
            self.at.reach.write(&reach).map_err(|error| IndexError::store("INDEXED", &error))?;
            self.progress().reach = Some(reach);
        }
        Ok(())
    }

    fn save_filled_filters(&self, stored: &Store, from: Lsn, upto: Lsn) -> Result<(), IndexError> {
        for partition in partition(from)..partition(upto) {
            if let Some(bytes) = self.filters.bytes(partition) {
                stored.meta.insert(filter_name(partition), bytes).map_err(store("meta"))?;
            }
        }
        Ok(())
    }
}

/// The first tenant behind `tenant` that has rows in a table.
fn next_tenant(table: &Keyspace, tenant: u32) -> Result<Option<u32>, IndexError> {
    let Some(next) = tenant.checked_add(1) else { return Ok(None) };
    let first = table.range(next.to_be_bytes().to_vec()..ROWS_END.to_vec()).next();
    first.map(|row| tenant_of("keys", &row.key().map_err(store("keys"))?).map(|t| t.0)).transpose()
}
