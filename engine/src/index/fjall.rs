//! The indexes on disk, in fjall 3: one keyspace a table, filled by sorted ingestion (P5).
//!
//! ```text
//! keys      tenant:4 bucket:8 lsn:8                    -> (key_hash:16 lsn:8)*   bucket = partition, 12 bits of the hash
//! objects   tenant:4 bucket:8 lsn:8                    -> (id:16 lsn:8)*         bucket = 8 ms of the id's time
//! owners    tenant:4 owner 0 ("a" account | "d")       -> Owned | account
//! history   tenant:4 partition:4 account 0 lsn:8       -> lines from that lsn on, those of one run together
//! accounts  tenant:4 account                           -> Account
//! timers    tenant:4 due:8 id:16                       -> nothing
//! rates     tenant:4 base:2 quote:2                    -> BookRow
//! meta      "watermark"                                -> lsn, block hash, format
//! ```
//! A partition is a stretch of 2^20 entries: what is behind it is never merged again, so that a row costs the same
//! however many there are. Integers in keys are big-endian (see `layout`), values are postcard.

use std::{cmp::Ordering, path::Path, sync::Arc};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserKey, UserValue,
    compaction::Leveled,
    config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry},
};

use super::{
    AccountKey, HistoryRow, Index, IndexError, OwnerKey, OwnerRow, Run, TimerKey, Watermark,
    filters::KeyFilters,
    layout::{
        account_row, decode, encode, filter_name, history_row, key_bucket, key_buckets, named_row, object_bucket,
        partition, tenant_of, timer_of, timer_row,
    },
    packed::{self, Place},
};
use crate::{
    idempotency::KeyHash,
    ledger::{account::Account, fx::BookRow, owner::Owned, time::Timestamp},
    money::{Lsn, OpId, TenantId},
};

/// What the watermark's row says the rows look like; another number means rebuild.
const ROWS_FORMAT: u16 = 3;
const WATERMARK: &str = "watermark";
/// How many runs are merged at once: more runs cost reads a little, fewer cost the builder much.
const L0_RUNS: u8 = 8;
/// How many lines of one account's history stand in one row at most.
const CHUNK_LINES_MAX: usize = 128;

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
        for partition in 0..=partition(watermark.lsn) {
            let saved = self.meta.get(filter_name(partition)).map_err(store("meta"))?;
            if let Some(bytes) = saved {
                self.filters.restore(partition, &bytes);
                continue;
            }
            // One tenant after another: a partition's keys are contiguous per tenant.
            let mut tenant = Some(0_u32);
            while let Some(t) = tenant {
                packed::for_each(("keys", &self.keys), TenantId(t), key_buckets(partition), |key, _| {
                    self.filters.insert(partition, key);
                })?;
                tenant = next_tenant(&self.keys, t)?;
            }
        }
        Ok(())
    }

    fn save_filled_filters(&self, from: Lsn, upto: Lsn) -> Result<(), IndexError> {
        for partition in partition(from)..partition(upto) {
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
            let found = packed::find(("keys", &self.keys), tenant, key_bucket(partition, key), key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn object(&self, tenant: TenantId, object: OpId) -> Result<Option<Lsn>, IndexError> {
        packed::find(("objects", &self.objects), tenant, object_bucket(object), object.0)
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
        let Some(watermark) = self.watermark()? else { return Ok(Vec::new()) };
        let newest = partition(below.min(watermark.lsn));
        let chunks = (0..=newest).rev().flat_map(|partition| {
            let rows = history_row(key, partition, Lsn(0))..history_row(key, partition, below);
            self.history.range(rows).rev()
        });
        let mut found: Vec<HistoryRow> = Vec::new();
        for chunk in chunks {
            let lines: Vec<HistoryRow> = decode("history", &chunk.value().map_err(store("history"))?)?;
            for line in lines.into_iter().rev().filter(|line| line.lsn < below) {
                // A run that failed half-way may have left a chunk that ends behind the next one's beginning.
                if found.last().is_none_or(|last| (line.lsn, line.line) < (last.lsn, last.line)) {
                    found.push(line);
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn timers_due(&self, now: Timestamp, limit: usize) -> Result<Vec<TimerKey>, IndexError> {
        let mut due = Vec::new();
        let mut tenant = Some(0_u32);
        while let Some(t) = tenant {
            let end = [&t.to_be_bytes()[..], &now.0.saturating_add(1).to_be_bytes()].concat();
            for row in self.timers.range(t.to_be_bytes().to_vec()..end).take(limit - due.len()) {
                due.push(timer_of(&row.key().map_err(store("timers"))?)?);
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
        self.take_keys(&run)?;
        self.take_owners(&run)?;
        self.take_history(&run)?;
        let accounts = run.accounts.iter().map(|(tenant, account)| {
            let row = account_row(&(*tenant, account.id.clone()));
            encode("accounts", account).map(|value| (row, Some(value)))
        });
        ingest("accounts", &self.accounts, sorted(accounts)?, Repeats::Refused)?;
        let timers = run.timers.iter().map(|(timer, set)| Ok((timer_row(*timer).to_vec(), set.then(Vec::new))));
        ingest("timers", &self.timers, sorted(timers)?, Repeats::LastWins)?;
        let rates = run.rates.iter().map(|row| {
            let key = [&[0; 4][..], &row.base.numeric().to_be_bytes(), &row.quote.numeric().to_be_bytes()].concat();
            encode("rates", row).map(|value| (key, Some(value)))
        });
        ingest("rates", &self.rates, sorted(rates)?, Repeats::LastWins)?;
        self.save_filled_filters(first, watermark.lsn)?;
        let row = encode("meta", &(ROWS_FORMAT, watermark.lsn, watermark.block_hash))?;
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

impl FjallIndex {
    fn take_keys(&self, run: &Run) -> Result<(), IndexError> {
        for (_, key, lsn) in &run.keys {
            self.filters.insert(partition(*lsn), *key);
        }
        let keys = run.keys.iter().map(|&(tenant, key, lsn)| {
            let bucket = key_bucket(partition(lsn), key);
            Place { tenant, bucket, lsn, number: key }
        });
        ingest("keys", &self.keys, packed::rows(&mut keys.collect::<Vec<_>>()), Repeats::Refused)?;
        let objects = run.objects.iter().map(|&(tenant, id, lsn)| {
            let bucket = object_bucket(id);
            Place { tenant, bucket, lsn, number: id.0 }
        });
        ingest("objects", &self.objects, packed::rows(&mut objects.collect::<Vec<_>>()), Repeats::Refused)
    }

    fn take_owners(&self, run: &Run) -> Result<(), IndexError> {
        let owners = run.owners.iter().map(|((tenant, owner), row)| {
            let mut key = named_row(*tenant, owner);
            let value = match row {
                OwnerRow::Account(owned) => {
                    key.push(b'a');
                    key.extend_from_slice(owned.account.as_bytes());
                    encode("owners", owned)
                }
                OwnerRow::Default(account, since) => {
                    key.push(b'd');
                    encode("owners", &(account, since))
                }
            };
            value.map(|value| (key, Some(value)))
        });
        ingest("owners", &self.owners, sorted(owners)?, Repeats::LastWins)
    }

    /// An account's rows of one run stand together in chunks: a hot account costs few rows, not one per line.
    fn take_history(&self, run: &Run) -> Result<(), IndexError> {
        let chunks = run.history.iter().flat_map(|(key, lines)| {
            lines.chunks(CHUNK_LINES_MAX).map(move |chunk| {
                let first = chunk.first().map_or(Lsn(0), |line| line.lsn);
                encode("history", &chunk).map(|value| (history_row(key, partition(first), first), Some(value)))
            })
        });
        ingest("history", &self.history, sorted(chunks)?, Repeats::Refused)
    }
}

type Row = (Vec<u8>, Option<Vec<u8>>);

/// Rows in the order of their keys; of equal keys the later row stays behind the earlier.
fn sorted(rows: impl Iterator<Item = Result<Row, IndexError>>) -> Result<Vec<Row>, IndexError> {
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(rows)
}

/// What two rows of one run under one key mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// A bug.
    Refused,
    /// The later one counts.
    LastWins,
}

/// Hands over one table's rows, in the order of their keys. The store asserts rising keys and would crash-loop; here
/// it is an error.
fn ingest<K, V>(
    name: &'static str,
    table: &Keyspace,
    rows: impl IntoIterator<Item = (K, Option<V>)>,
    repeats: Repeats,
) -> Result<(), IndexError>
where
    K: Into<UserKey> + Ord,
    V: Into<UserValue>,
{
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut ingestion = table.start_ingestion().map_err(store(name))?;
    while let Some((key, value)) = rows.next() {
        match rows.peek().map(|(next, _)| next.cmp(&key)) {
            Some(Ordering::Less) => return Err(IndexError::Unsorted(name)),
            Some(Ordering::Equal) if repeats == Repeats::Refused => return Err(IndexError::Duplicate(name)),
            Some(Ordering::Equal) => continue,
            Some(Ordering::Greater) | None => {}
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

/// The first tenant behind `tenant` that has rows in a table.
fn next_tenant(table: &Keyspace, tenant: u32) -> Result<Option<u32>, IndexError> {
    let Some(next) = tenant.checked_add(1) else { return Ok(None) };
    let first = table.range(next.to_be_bytes().to_vec()..).next();
    first.map(|row| tenant_of("keys", &row.key().map_err(store("keys"))?).map(|t| t.0)).transpose()
}

pub(super) fn store(table: &'static str) -> impl FnOnce(fjall::Error) -> IndexError {
    move |error| IndexError::Store { table, error: error.to_string() }
}
