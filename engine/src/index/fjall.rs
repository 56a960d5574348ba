//! The indexes on disk, in fjall 3: one keyspace a table, filled by sorted ingestion (P5).
//!
//! ```text
//! keys      tenant:4 partition:4 key_hash:16           -> lsn:8     partition = lsn / 2^20, so old runs are left alone
//! objects   tenant:4 id:16                             -> lsn:8
//! owners    tenant:4 owner 0 ("a" account | "d")       -> Owned | account
//! history   tenant:4 account 0 lsn:8 line:2            -> at, payment, moved
//! accounts  tenant:4 account                           -> Account
//! timers    tenant:4 due:8 id:16                       -> nothing
//! rates     tenant:4 base:2 quote:2                    -> BookRow
//! meta      "watermark"                                -> lsn, block hash, format
//! ```
//! Integers in keys are big-endian, values are postcard.

use std::{path::Path, sync::Arc};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, PersistMode,
    compaction::Leveled,
    config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    AccountKey, HistoryRow, Index, IndexError, OwnerKey, OwnerRow, Run, TimerKey, Watermark, filters::KeyFilters,
};
use crate::{
    idempotency::KeyHash,
    ledger::{account::Account, fx::BookRow, owner::Owned, time::Timestamp},
    money::{Lsn, OpId, TenantId},
};

/// What the watermark's row says the rows look like; another number means rebuild.
const ROWS_FORMAT: u16 = 1;
const WATERMARK: &str = "watermark";
/// How many runs are merged at once: more runs cost reads a little, fewer cost the builder much.
const L0_RUNS: u8 = 8;

/// See the module.
pub struct FjallIndex {
    db: Database,
    keys: Keyspace,
    objects: Keyspace,
    owners: Keyspace,
    history: Keyspace,
    accounts: Keyspace,
    timers: Keyspace,
    rates: Keyspace,
    meta: Keyspace,
    filters: KeyFilters,
}

type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl FjallIndex {
    /// Opens or creates the indexes in `folder`, and the filters of their keys.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let db =
            Database::builder(folder).cache_size(cache_bytes).worker_threads(1).open().map_err(store("database"))?;
        let table = |name: &'static str| {
            let options = || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(8 << 20)
                    .filter_policy(filter_policy(name))
                    .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(L0_RUNS)))
            };
            db.keyspace(name, options).map_err(store(name))
        };
        let mut index = Self {
            keys: table("keys")?,
            objects: table("objects")?,
            owners: table("owners")?,
            history: table("history")?,
            accounts: table("accounts")?,
            timers: table("timers")?,
            rates: table("rates")?,
            meta: table("meta")?,
            db,
            filters: KeyFilters::default(),
        };
        index.load_filters()?;
        Ok(index)
    }

    /// Filled partitions' filters are rows of `meta`; the open one's is made anew from its keys.
    fn load_filters(&mut self) -> Result<(), IndexError> {
        let Some(watermark) = self.watermark()? else { return Ok(()) };
        for partition in 0..=KeyFilters::partition(watermark.lsn) {
            let saved = self.meta.get(filter_name(partition)).map_err(store("meta"))?;
            if let Some(bytes) = saved {
                self.filters.restore(partition, &bytes);
                continue;
            }
            // One tenant after another: a partition's keys are contiguous per tenant.
            let mut tenant = Some(0_u32);
            while let Some(t) = tenant {
                let prefix = [t.to_be_bytes(), partition.to_be_bytes()].concat();
                for row in self.keys.prefix(&prefix) {
                    let key = row.key().map_err(store("keys"))?;
                    let hash = key.get(8..).and_then(|hash| hash.try_into().ok()).ok_or(IndexError::Row("keys"))?;
                    self.filters.insert(partition, u128::from_be_bytes(hash));
                }
                tenant = next_tenant(&self.keys, t)?;
            }
        }
        Ok(())
    }

    fn save_filled_filters(&self, from: Lsn, upto: Lsn) -> Result<(), IndexError> {
        for partition in KeyFilters::partition(from)..KeyFilters::partition(upto) {
            if let Some(bytes) = self.filters.bytes(partition) {
                self.meta.insert(filter_name(partition), bytes).map_err(store("meta"))?;
            }
        }
        Ok(())
    }
}

impl Index for FjallIndex {
    fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        let Some(bytes) = self.meta.get(WATERMARK).map_err(store("meta"))? else { return Ok(None) };
        let (format, lsn, block_hash): (u16, Lsn, [u8; 32]) = decode("meta", &bytes)?;
        if format != ROWS_FORMAT {
            return Err(IndexError::Row("meta"));
        }
        Ok(Some(Watermark { lsn, block_hash }))
    }

    fn may_have_key(&self, key: KeyHash) -> bool {
        self.filters.may_have(key)
    }

    fn key(&self, tenant: TenantId, key: KeyHash) -> Result<Option<Lsn>, IndexError> {
        for partition in self.filters.candidates(key) {
            if let Some(row) = self.keys.get(key_row(tenant, partition, key)).map_err(store("keys"))? {
                return lsn_of("keys", &row).map(Some);
            }
        }
        Ok(None)
    }

    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError> {
        let row = self.objects.get(object_row(tenant, object)).map_err(store("objects"))?;
        row.map(|row| lsn_of("objects", &row)).transpose()
    }

    fn account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        let row = self.accounts.get(account_row(key)).map_err(store("accounts"))?;
        row.map(|row| decode("accounts", &row)).transpose()
    }

    fn accounts(&self, after: Option<&AccountKey>, limit: usize) -> Result<Vec<(TenantId, Account)>, IndexError> {
        let start = after.map_or(Vec::new(), |key| {
            let mut row = account_row(key);
            row.push(0);
            row
        });
        let rows = self.accounts.range(start..).take(limit).map(|row| {
            let (key, value) = row.into_inner().map_err(store("accounts"))?;
            Ok((tenant_of("accounts", &key)?, decode("accounts", &value)?))
        });
        rows.collect()
    }

    fn owner(&self, key: &OwnerKey) -> Result<Vec<OwnerRow>, IndexError> {
        let rows = self.owners.prefix(named_row(key.0, &key.1)).map(|row| {
            let (key, value) = row.into_inner().map_err(store("owners"))?;
            let is_default = key.last() == Some(&b'd') && key.iter().rev().nth(1) == Some(&0);
            if is_default {
                decode("owners", &value).map(|(account, since)| OwnerRow::Default(account, since))
            } else {
                decode::<Owned>("owners", &value).map(OwnerRow::Account)
            }
        });
        rows.collect()
    }

    fn history(&self, key: &AccountKey, below: Lsn, limit: usize) -> Result<Vec<HistoryRow>, IndexError> {
        let prefix = named_row(key.0, &key.1);
        let mut end = prefix.clone();
        end.extend_from_slice(&below.0.to_be_bytes());
        let rows = self.history.range(prefix..end).rev().take(limit).map(|row| {
            let (key, value) = row.into_inner().map_err(store("history"))?;
            let (rest, line) = key.split_last_chunk::<2>().ok_or(IndexError::Row("history"))?;
            let (_, lsn) = rest.split_last_chunk::<8>().ok_or(IndexError::Row("history"))?;
            let (at, payment, moved) = decode("history", &value)?;
            let lsn = Lsn(u64::from_be_bytes(*lsn));
            Ok(HistoryRow { lsn, line: u16::from_be_bytes(*line), at, payment, moved })
        });
        rows.collect()
    }

    fn timers_due(&self, now: Timestamp, limit: usize) -> Result<Vec<TimerKey>, IndexError> {
        let mut due = Vec::new();
        let mut tenant = Some(0_u32);
        while let Some(t) = tenant {
            let end = [&t.to_be_bytes()[..], &now.0.saturating_add(1).to_be_bytes()].concat();
            for row in self.timers.range(t.to_be_bytes().to_vec()..end).take(limit - due.len()) {
                due.push(timer_of(&row.key().map_err(store("timers"))?).ok_or(IndexError::Row("timers"))?);
            }
            tenant = if due.len() < limit { next_tenant(&self.timers, t)? } else { None };
        }
        due.sort_unstable();
        Ok(due)
    }

    fn rates(&self) -> Result<Vec<BookRow>, IndexError> {
        let rows = self.rates.iter().map(|row| decode("rates", &row.value().map_err(store("rates"))?));
        rows.collect()
    }

    fn apply(&self, run: Run) -> Result<(), IndexError> {
        let Some(watermark) = run.watermark else { return Ok(()) };
        let first = run.keys.first().map_or(watermark.lsn, |(_, _, lsn)| *lsn);
        for (_, key, lsn) in &run.keys {
            self.filters.insert(KeyFilters::partition(*lsn), *key);
        }
        let keys = run.keys.iter().map(|(tenant, key, lsn)| {
            (key_row(*tenant, KeyFilters::partition(*lsn), *key), Some(lsn.0.to_be_bytes().to_vec()))
        });
        ingest("keys", &self.keys, keys.collect(), Repeats::Refused)?;
        let objects = run
            .objects
            .iter()
            .map(|(tenant, object, lsn)| (object_row(*tenant, *object), Some(lsn.0.to_be_bytes().to_vec())));
        ingest("objects", &self.objects, objects.collect(), Repeats::LastWins)?;
        let owners = run.owners.iter().map(|((tenant, owner), row)| {
            let mut key = named_row(*tenant, owner);
            match row {
                OwnerRow::Account(owned) => {
                    key.push(b'a');
                    key.extend_from_slice(owned.account.as_bytes());
                    (key, encode(owned))
                }
                OwnerRow::Default(account, since) => {
                    key.push(b'd');
                    (key, encode(&(account, since)))
                }
            }
        });
        ingest("owners", &self.owners, owners.collect(), Repeats::LastWins)?;
        let history = run.history.iter().map(|((tenant, account), row)| {
            let mut key = named_row(*tenant, account);
            key.extend_from_slice(&row.lsn.0.to_be_bytes());
            key.extend_from_slice(&row.line.to_be_bytes());
            (key, encode(&(row.at, row.payment, row.moved)))
        });
        ingest("history", &self.history, history.collect(), Repeats::Refused)?;
        let accounts =
            run.accounts.iter().map(|(tenant, account)| (account_row(&(*tenant, account.id.clone())), encode(account)));
        ingest("accounts", &self.accounts, accounts.collect(), Repeats::Refused)?;
        let timers = run.timers.iter().map(|((due, tenant, id), set)| {
            let key = [&tenant.0.to_be_bytes()[..], &due.0.to_be_bytes(), &id.0.to_be_bytes()].concat();
            (key, set.then(Vec::new))
        });
        ingest("timers", &self.timers, timers.collect(), Repeats::LastWins)?;
        let rates = run.rates.iter().map(|row| {
            let key = [&[0; 4][..], &row.base.numeric().to_be_bytes(), &row.quote.numeric().to_be_bytes()].concat();
            (key, encode(row))
        });
        ingest("rates", &self.rates, rates.collect(), Repeats::LastWins)?;
        self.save_filled_filters(first, watermark.lsn)?;
        let row = encode(&(ROWS_FORMAT, watermark.lsn, watermark.block_hash)).unwrap_or_default();
        self.meta.insert(WATERMARK, row).map_err(store("meta"))?;
        self.db.persist(PersistMode::SyncAll).map_err(store("meta"))
    }

    fn run_count(&self) -> usize {
        [&self.keys, &self.objects, &self.owners, &self.history, &self.accounts]
            .iter()
            .map(|table| table.l0_table_count())
            .max()
            .unwrap_or_default()
    }
}

/// What two rows of one run under one key mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// A bug.
    Refused,
    /// The later one counts.
    LastWins,
}

/// Sorts and hands over one table's rows. The store asserts rising keys and would crash-loop; here it is an error.
fn ingest(name: &'static str, table: &Keyspace, mut rows: Rows, repeats: Repeats) -> Result<(), IndexError> {
    if rows.is_empty() {
        return Ok(());
    }
    // Stable, so that of equal keys the later row stays behind the earlier.
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut ingestion = table.start_ingestion().map_err(store(name))?;
    let mut rows = rows.into_iter().peekable();
    while let Some((key, value)) = rows.next() {
        if rows.peek().is_some_and(|(next, _)| *next == key) {
            if repeats == Repeats::Refused {
                return Err(IndexError::Duplicate(name));
            }
            continue;
        }
        match value {
            Some(value) => ingestion.write(key, value),
            None => ingestion.write_tombstone(key),
        }
        .map_err(store(name))?;
    }
    ingestion.finish().map_err(store(name))
}

/// Only account states are looked up by a key that may be in any run: new keys are answered by [`KeyFilters`],
/// objects rise with time, and history is read by range.
fn filter_policy(name: &str) -> FilterPolicy {
    match name {
        "accounts" => FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0))),
        _ => FilterPolicy::disabled(),
    }
}

fn key_row(tenant: TenantId, partition: u32, key: KeyHash) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], &partition.to_be_bytes(), &key.to_be_bytes()].concat()
}

fn object_row(tenant: TenantId, object: OpId) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], &object.0.to_be_bytes()].concat()
}

fn account_row(key: &AccountKey) -> Vec<u8> {
    [&key.0.0.to_be_bytes()[..], key.1.as_bytes()].concat()
}

/// Tenant and a name that is ended, so that no name is a prefix of another.
fn named_row(tenant: TenantId, name: &str) -> Vec<u8> {
    [&tenant.0.to_be_bytes()[..], name.as_bytes(), &[0]].concat()
}

fn filter_name(partition: u32) -> String {
    format!("filter/{partition:08}")
}

fn timer_of(key: &[u8]) -> Option<TimerKey> {
    let (tenant, rest) = key.split_first_chunk::<4>()?;
    let (due, id) = rest.split_first_chunk::<8>()?;
    let id = u128::from_be_bytes(id.try_into().ok()?);
    Some((Timestamp(u64::from_be_bytes(*due)), TenantId(u32::from_be_bytes(*tenant)), OpId(id)))
}

fn tenant_of(table: &'static str, key: &[u8]) -> Result<TenantId, IndexError> {
    let (tenant, _) = key.split_first_chunk::<4>().ok_or(IndexError::Row(table))?;
    Ok(TenantId(u32::from_be_bytes(*tenant)))
}

/// The first tenant behind `tenant` that has rows in a table.
fn next_tenant(table: &Keyspace, tenant: u32) -> Result<Option<u32>, IndexError> {
    let Some(next) = tenant.checked_add(1) else { return Ok(None) };
    let first = table.range(next.to_be_bytes().to_vec()..).next();
    first.map(|row| tenant_of("keys", &row.key().map_err(store("keys"))?).map(|t| t.0)).transpose()
}

fn lsn_of(table: &'static str, row: &[u8]) -> Result<Lsn, IndexError> {
    row.try_into().map(|bytes| Lsn(u64::from_be_bytes(bytes))).map_err(|_| IndexError::Row(table))
}

fn encode<T: Serialize>(row: &T) -> Option<Vec<u8>> {
    postcard::to_stdvec(row).ok()
}

fn decode<T: DeserializeOwned>(table: &'static str, row: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(row).map_err(|_| IndexError::Row(table))
}

fn store(table: &'static str) -> impl FnOnce(fjall::Error) -> IndexError {
    move |error| IndexError::Store { table, error: error.to_string() }
}
