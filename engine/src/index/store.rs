//! The tables on disk: which there are, what each holds, and how rows come in (P5).
//!
//! An existing store is opened as it is: what is missing is never made up for, and nothing is deleted. Each table has a
//! mark, written in one step with its rows; the watermark's row says what all marks were. A table without its mark, or
//! with another one, is not what the journal made.

use std::{cmp::Ordering, error::Error, ffi::OsStr, io, path::Path, sync::Arc};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserKey, UserValue,
    compaction::Leveled,
    config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry},
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    IndexError, Watermark,
    layout::{MARK, decode, encode},
    reach::Reach,
    table_files::{TableFile, check_newest},
    unusable::{CONDEMNED_FILE, Unusable, condemned},
};
use crate::{journal::Hash, keys::Fingerprint, money::Lsn};

/// What the watermark's row says the rows look like; another number means rebuild.
const ROWS_FORMAT: u16 = 7;
const WATERMARK: &str = "watermark";
/// How many runs are merged at once: more runs cost reads a little, fewer cost the builder much.
const L0_RUNS: u8 = 8;

/// Too many open files in the process or in the system; no memory: ENFILE, EMFILE, ENOMEM.
const NO_ROOM: [i32; 3] = [23, 24, 12];

/// The tables that a run fills, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Key to lsn.
    Keys,
    /// Payment or reservation to its latest lsn.
    Objects,
    /// Owners' accounts and defaults.
    Owners,
    /// What happened to each account.
    History,
    /// Account states.
    Accounts,
    /// Timers that are set.
    Timers,
    /// Rates.
    Rates,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Keys, Self::Objects, Self::Owners, Self::History, Self::Accounts, Self::Timers, Self::Rates];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Objects => "objects",
            Self::Owners => "owners",
            Self::History => "history",
            Self::Accounts => "accounts",
            Self::Timers => "timers",
            Self::Rates => "rates",
        }
    }
}

/// How far a table is filled, and by how many rows since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last entry of the last run that had rows for the table.
    pub lsn: Lsn,
    /// Rows taken in, ends of timers included.
    pub rows: u64,
    /// The hash of that entry's block: tables of two journals may be equally long.
    pub block_hash: Hash,
}

/// The watermark's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    format: u16,
    lsn: Lsn,
    block_hash: Hash,
    fingerprint: [u8; 16],
    marks: [Mark; 7],
}

/// The open store.
pub(super) struct Store {
    db: Database,
    tables: [Keyspace; 7],
    pub(super) meta: Keyspace,
    /// Files that are to be checked beside everything else.
    pub(super) unchecked: Vec<TableFile>,
}

impl Store {
    /// Makes an empty one, where there is none.
    pub(super) fn create(folder: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let db = database(folder, cache_bytes).map_err(store("database"))?;
        Self::tables(db)
    }

    /// Opens an existing one; every table must be there.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, Unusable> {
        check_files(folder)?;
        let db = database(folder, cache_bytes).map_err(|error| refused("database", &error))?;
        let names = Table::ALL.map(Table::name).into_iter().chain(["meta"]);
        if let Some(lost) = names.into_iter().find(|name| !db.keyspace_exists(name)) {
            return Err(Unusable::damaged(format!("the index has no table {lost}")));
        }
        let mut store = Self::tables(db).map_err(Unusable::Unreadable)?;
        store.unchecked = check_newest(store.tables.iter().chain([&store.meta]))?;
        Ok(store)
    }

    fn tables(db: Database) -> Result<Self, IndexError> {
        let open = |name: &'static str| {
            let options = || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(8 << 20)
                    .filter_policy(filter_policy(name))
                    .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(L0_RUNS)))
            };
            db.keyspace(name, options).map_err(store(name))
        };
        let [keys, objects, owners, history, accounts, timers, rates] = Table::ALL.map(|table| open(table.name()));
        let tables = [keys?, objects?, owners?, history?, accounts?, timers?, rates?];
        let meta = open("meta")?;
        Ok(Self { db, tables, meta, unchecked: Vec::new() })
    }

    /// A table's rows.
    pub(super) fn table(&self, table: Table) -> &Keyspace {
        let [keys, objects, owners, history, accounts, timers, rates] = &self.tables;
        match table {
            Table::Keys => keys,
            Table::Objects => objects,
            Table::Owners => owners,
            Table::History => history,
            Table::Accounts => accounts,
            Table::Timers => timers,
            Table::Rates => rates,
        }
    }

    /// How far the whole index is, and what each table's mark is. A table may be ahead only by the run that a crash
    /// interrupted.
    pub(super) fn check(&self, fingerprint: Fingerprint, reach: Option<&Reach>) -> Result<Checked, Unusable> {
        let row = self.meta.get(WATERMARK).map_err(|error| refused("meta", &error))?;
        let Some(row) = row else { return self.check_without_watermark(fingerprint) };
        // What every format begins with.
        let begins: Result<((u16, Lsn), _), _> = postcard::take_from_bytes(&row);
        let Ok(((format, lsn), _)) = begins else {
            return Err(Unusable::damaged("the index's watermark cannot be read"));
        };
        let damaged = |why: String| Unusable::Damaged { why, reaches: lsn };
        if format != ROWS_FORMAT {
            return Err(damaged(format!("the index has rows of format {format}, this build makes {ROWS_FORMAT}")));
        }
        let stored: Stored = decode("meta", &row).map_err(|error| damaged(error.to_string()))?;
        let found = Fingerprint(stored.fingerprint);
        if found != fingerprint {
            return Err(Unusable::Foreign { found, expected: fingerprint });
        }
        let marks = self.marks(fingerprint).map_err(|error| error.reaching(lsn))?;
        let run = reach.map(|reach| reach.run).filter(|run| *run > lsn);
        for ((table, mark), expected) in Table::ALL.iter().zip(&marks).zip(&stored.marks) {
            let is_of_interrupted_run = Some(mark.lsn) == run && mark.rows >= expected.rows;
            if mark != expected && !is_of_interrupted_run {
                let why = format!(
                    "the index's table {} is at lsn {} with {} rows, its watermark says lsn {} with {}",
                    table.name(),
                    mark.lsn,
                    mark.rows,
                    expected.lsn,
                    expected.rows
                );
                return Err(damaged(why).reaching(mark.lsn));
            }
        }
        Ok(Checked { watermark: Some(Watermark { lsn, block_hash: stored.block_hash }), marks })
    }

    /// Without a watermark there are no rows. Those of a first run that was interrupted are of no use: nothing says which
    /// of the tables had been taken in, so one that was lost since could not be told from one whose turn had not come.
    fn check_without_watermark(&self, fingerprint: Fingerprint) -> Result<Checked, Unusable> {
        let marks = self.marks(fingerprint)?;
        match marks.iter().map(|mark| mark.lsn).max().filter(|reaches| *reaches > Lsn(0)) {
            None => Ok(Checked { watermark: None, marks }),
            Some(reaches) => {
                let why = "the index has rows but no watermark: its first run was not finished".into();
                Err(Unusable::Damaged { why, reaches })
            }
        }
    }

    fn marks(&self, fingerprint: Fingerprint) -> Result<[Mark; 7], Unusable> {
        let mut marks = [Mark::default(); 7];
        for (mark, table) in marks.iter_mut().zip(Table::ALL) {
            *mark = self.mark(table, fingerprint)?;
        }
        Ok(marks)
    }

    fn mark(&self, table: Table, fingerprint: Fingerprint) -> Result<Mark, Unusable> {
        let row = self.table(table).get(MARK).map_err(|error| refused(table.name(), &error))?;
        let Some(row) = row else { return Ok(Mark::default()) };
        match decode::<(Mark, [u8; 16], String)>(table.name(), &row) {
            Ok((_, _, name)) if name != table.name() => {
                Err(Unusable::damaged(format!("the index's table {} has the rows of {name}", table.name())))
            }
            Ok((mark, of, _)) if of == fingerprint.0 => Ok(mark),
            Ok(_) => Err(Unusable::damaged(format!("the index's table {} is another directory's", table.name()))),
            Err(error) => Err(Unusable::damaged(error.to_string())),
        }
    }

    /// Takes one table's rows of a run in, in the order of their keys, and its mark with them. The store asserts rising
    /// keys and would crash-loop; here it is an error.
    pub(super) fn ingest<K, V>(
        &self,
        table: Table,
        rows: impl IntoIterator<Item = (K, Option<V>)>,
        repeats: Repeats,
        mark: &mut Mark,
        (upto, fingerprint): (Watermark, Fingerprint),
    ) -> Result<(), IndexError>
    where
        K: Into<UserKey> + Ord,
        V: Into<UserValue>,
    {
        let name = table.name();
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() || mark.lsn >= upto.lsn {
            return Ok(());
        }
        let mut ingestion = self.table(table).start_ingestion().map_err(store(name))?;
        let mut next = Mark { lsn: upto.lsn, rows: mark.rows, block_hash: upto.block_hash };
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
            next.rows += 1;
        }
        ingestion.write(MARK, encode(name, &(next, fingerprint.0, name))?).map_err(store(name))?;
        ingestion.finish().map_err(store(name))?;
        *mark = next;
        Ok(())
    }

    /// Writes the watermark with all marks, and syncs it.
    pub(super) fn set_watermark(
        &self,
        watermark: Watermark,
        fingerprint: Fingerprint,
        marks: [Mark; 7],
    ) -> Result<(), IndexError> {
        let Watermark { lsn, block_hash } = watermark;
        let stored = Stored { format: ROWS_FORMAT, lsn, block_hash, fingerprint: fingerprint.0, marks };
        self.meta.insert(WATERMARK, encode("meta", &stored)?).map_err(store("meta"))?;
        self.db.persist(PersistMode::SyncAll).map_err(store("meta"))
    }
}

/// What [`Store::check`] found.
pub(super) struct Checked {
    pub(super) watermark: Option<Watermark>,
    /// As the tables are: some are ahead of the watermark after a run that was interrupted.
    pub(super) marks: [Mark; 7],
}

/// What two rows of one run under one key mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// A bug.
    Refused,
    /// The later one counts.
    LastWins,
}

fn database(folder: &Path, cache_bytes: u64) -> Result<Database, fjall::Error> {
    Database::builder(folder).cache_size(cache_bytes).worker_threads(1).open()
}

/// The store deletes a table's folder that lacks a file, and makes an empty database where its version is missing: both
/// are found before it is asked.
fn check_files(folder: &Path) -> Result<(), Unusable> {
    let unreadable = |error: io::Error| Unusable::Unreadable(IndexError::store("folder", &error));
    let must_be = |path: &str| match folder.join(path).try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unusable::damaged(format!("the index has no file {path}"))),
        Err(error) => Err(unreadable(error)),
    };
    must_be("version")?;
    must_be("keyspaces")?;
    check_kinds(folder, |name| name == "keyspaces")?;
    let keyspaces = folder.join("keyspaces");
    check_kinds(&keyspaces, |_| true)?;
    for entry in std::fs::read_dir(&keyspaces).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| name.parse().ok());
        let number = number.ok_or_else(|| Unusable::damaged(format!("the index has a foreign file {name:?}")))?;
        must_be(&format!("keyspaces/{number}/current"))?;
        must_be(&format!("keyspaces/{number}/tables"))?;
        check_kinds(&keyspaces.join(&name), |name| name == "tables")?;
        check_version(&keyspaces.join(&name))?;
        check_kinds(&keyspaces.join(&name).join("tables"), |_| false)?;
    }
    match std::fs::read_to_string(folder.join(CONDEMNED_FILE)) {
        Ok(note) => Err(condemned(&note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(error)),
    }
}

/// A table's list of files is what the store wrote down: it takes what it reads there for given, and stops the process
/// where that is not so.
fn check_version(keyspace: &Path) -> Result<(), Unusable> {
    let read = |path: &Path| match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Unusable::damaged(format!("the index has no file {}", path.display())))
        }
        Err(error) => Err(Unusable::Unreadable(IndexError::store("version", &error))),
    };
    let current = keyspace.join("current");
    let bytes = read(&current)?;
    let said = bytes.split_first_chunk::<8>().and_then(|(id, rest)| Some((id, rest.first_chunk::<16>()?)));
    let (id, checksum) = said.ok_or_else(|| {
        Unusable::damaged(format!("the index's file {} is not the one that was written", current.display()))
    })?;
    let list = keyspace.join(format!("v{}", u64::from_le_bytes(*id)));
    if xxh3_128(&read(&list)?) == u128::from_le_bytes(*checksum) {
        return Ok(());
    }
    Err(Unusable::damaged(format!("the index's file {} is not the one that was written", list.display())))
}

/// Of what stands in a folder all must be a folder that is to be one, and nothing else: the store takes that for given.
fn check_kinds(folder: &Path, is_folder: impl Fn(&OsStr) -> bool) -> Result<(), Unusable> {
    let unreadable = |error: io::Error| Unusable::Unreadable(IndexError::store("folder", &error));
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.path().metadata().map_err(unreadable)?;
        if kind.is_dir() != is_folder(&entry.file_name()) || !(kind.is_dir() || kind.is_file()) {
            let why = format!("{} in the index is a folder in a file's place, or no folder", entry.path().display());
            return Err(Unusable::damaged(why));
        }
    }
    Ok(())
}

/// An error on the way in: damage, unless it was the operating system or another process that said no.
fn refused(table: &'static str, error: &fjall::Error) -> Unusable {
    match error {
        fjall::Error::Locked => Unusable::Unreadable(IndexError::store(table, &"another process has it open")),
        _ if is_refusal_of_system(error) => Unusable::Unreadable(IndexError::store(table, error)),
        _ => Unusable::damaged(format!("the index's {table} cannot be read: {error}")),
    }
}

/// Whether the operating system said no, rather than that what it gave was wrong.
fn is_refusal_of_system(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    let said = system_error(error).map(io::Error::kind);
    said.is_some_and(|kind| !matches!(kind, InvalidData | InvalidInput | NotFound | UnexpectedEof))
}

/// What the operating system said, if it was behind an error.
fn system_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(said) = error.downcast_ref::<io::Error>() {
            return Some(said);
        }
        cause = error.source();
    }
    None
}

/// Only account states are looked up by a key that may be in any run: new keys are answered by the filters, objects
/// rise with time, and history is read by range.
fn filter_policy(name: &str) -> FilterPolicy {
    match name {
        "accounts" => FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0))),
        _ => FilterPolicy::disabled(),
    }
}

pub(super) fn store(table: &'static str) -> impl FnOnce(fjall::Error) -> IndexError {
    move |error| match system_error(&error).map(io::Error::raw_os_error) {
        Some(Some(code)) if NO_ROOM.contains(&code) => IndexError::NoRoom { table, error: error.to_string() },
        _ => IndexError::store(table, &error),
    }
}
