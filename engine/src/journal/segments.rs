//! The journal's files: one open segment, sealed ones before it, the next one made ready behind (P4).
//!
//! [`Segments`] appends; [`SegmentReader`] finds an entry by its lsn through a sparse table, which for a sealed
//! segment stands in its seal. [`Spare`] makes the next segment ready, so a rotation waits for no zeros.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::{
    Block, Head, Journal, JournalError, JournalReader, Record,
    disk::Disk,
    record::{
        ALIGN_BYTES, BLOCK_HEADER_BYTES, BlockHead, BlockKind, RecordFormat, decode_entries, decode_entry,
        decode_table, encode_entries, encode_seal, padded,
    },
    segment::{Segment, io_error, lock},
    segment_head::SegmentHead,
    spare::Spare,
    stored,
};
use crate::{
    ledger::{entry::Committed, time::Timestamp},
    money::Lsn,
    planted::{Bug, is_planted},
};

/// How many sealed segments' tables are kept in memory.
const TABLES_MAX: usize = 64;

type Table = Vec<(Lsn, u64)>;

/// What writer and readers share.
pub(super) struct Shared {
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    /// The open segment's blocks.
    pub(super) open_table: RwLock<Table>,
    tables: Mutex<VecDeque<(u32, Arc<Table>)>>,
}

impl Shared {
    pub(super) fn new(segments: Vec<Arc<Segment>>, open_table: Table) -> Arc<Self> {
        Arc::new(Self {
            segments: RwLock::new(segments),
            open_table: RwLock::new(open_table),
            tables: Mutex::default(),
        })
    }
}

/// The writing end.
pub struct Segments {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    current: Arc<Segment>,
    /// How long the open segment's file is.
    current_bytes: u64,
    offset: u64,
    head: Head,
    spare: Arc<Spare>,
    buffer: Vec<u8>,
    poisoned: Option<String>,
}

impl Segments {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        current: Arc<Segment>,
        offset: u64,
        head: Head,
        spare: Arc<Spare>,
    ) -> Result<Self, JournalError> {
        let current_bytes = current.length()?;
        spare.note_fill(offset, current_bytes);
        Ok(Self { disk, shared, current, current_bytes, offset, head, spare, buffer: Vec::new(), poisoned: None })
    }

    /// Where it ends.
    pub fn head(&self) -> Head {
        self.head
    }

    /// What makes the next segment ready.
    pub fn spare(&self) -> Arc<Spare> {
        Arc::clone(&self.spare)
    }

    /// A reader on the same files.
    pub fn reader(&self) -> SegmentReader {
        SegmentReader(Arc::clone(&self.shared))
    }

    fn try_append(&mut self, records: &[Record], at: Timestamp) -> Result<Head, JournalError> {
        let block_bytes = padded(BLOCK_HEADER_BYTES + records.iter().map(|r| r.bytes.len() + 4).sum::<usize>()) as u64;
        let table_bytes = |blocks: usize| padded(BLOCK_HEADER_BYTES + (blocks + 1) * 16) as u64;
        let blocks = read_lock(&self.shared.open_table).len();
        // A segment's header says what its records may need: an earlier build that knows less refuses it by that.
        let is_older = self.current.head.minor != stored::MINOR;
        if is_older || self.offset + block_bytes + table_bytes(blocks) > self.current_bytes {
            self.rotate()?;
        }
        let first_lsn = Lsn(self.head.lsn.0 + 1);
        let at = if is_planted(Bug::ClockBack) { at } else { at.max(self.head.at) };
        let head = encode_entries(&mut self.buffer, records, first_lsn, at, self.head.hash);
        self.write_buffer()?;
        write_lock(&self.shared.open_table).push((first_lsn, self.offset));
        self.offset += self.buffer.len() as u64;
        self.head = Head { lsn: Lsn(self.head.lsn.0 + records.len() as u64), hash: head.hash, at: head.at };
        self.spare.note_fill(self.offset, self.current_bytes);
        Ok(self.head)
    }

    fn write_buffer(&self) -> Result<(), JournalError> {
        let name = self.current.name();
        self.current.file.write_at(&self.buffer, self.offset).map_err(|error| io_error(&name, "write", &error))?;
        if is_planted(Bug::ReplyBeforeSync) {
            return Ok(());
        }
        self.current.file.sync().map_err(|error| io_error(&name, "sync", &error))
    }

    /// Seals the open segment and begins the next one in the spare file. Waits for it if it must: only a write or a
    /// sync of the open segment that fails ends the journal.
    fn rotate(&mut self) -> Result<(), JournalError> {
        self.current.check_is_ours(&*self.disk)?;
        let table = read_lock(&self.shared.open_table).clone();
        let next_lsn = Lsn(self.head.lsn.0 + 1);
        let seal = encode_seal(&mut self.buffer, &table, next_lsn, self.head.at, self.head.hash);
        self.write_buffer()?;
        let head = SegmentHead {
            seq: self.current.head.seq + 1,
            first_lsn: next_lsn,
            prev_seal_offset: self.offset,
            prev_hash: seal.hash,
            made: Some(self.spare.made),
            format: RecordFormat::Four,
            minor: stored::MINOR,
        };
        let sealed = Arc::new(self.current.sealed_at(self.offset));
        self.current = self.spare.begin_segment(head, self.head.hash)?;
        self.current_bytes = self.spare.made.segment_bytes;
        let mut segments = write_lock(&self.shared.segments);
        segments.pop();
        segments.extend([sealed, Arc::clone(&self.current)]);
        write_lock(&self.shared.open_table).clear();
        self.offset = ALIGN_BYTES as u64;
        self.head.hash = seal.hash;
        self.spare.note_fill(self.offset, self.current_bytes);
        Ok(())
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segments({} at {})", self.current.name(), self.head.lsn)
    }
}

impl Journal for Segments {
    fn append(&mut self, expected: &Head, records: &[Record], at: Timestamp) -> Result<Head, JournalError> {
        if let Some(why) = &self.poisoned {
            return Err(JournalError::Poisoned(why.clone()));
        }
        if expected.lsn != self.head.lsn || records.is_empty() {
            return Err(JournalError::Poisoned(format!(
                "append of {} records expected head {}, the journal ends at {}",
                records.len(),
                expected.lsn,
                self.head.lsn
            )));
        }
        self.try_append(records, at).inspect_err(|error| self.poisoned = Some(error.to_string()))
    }
}

/// The reading end; cheap to clone.
#[derive(Clone)]
pub struct SegmentReader(pub(super) Arc<Shared>);

impl SegmentReader {
    fn segment_of(&self, lsn: Lsn) -> Option<Arc<Segment>> {
        let segments = read_lock(&self.0.segments);
        let after = segments.partition_point(|segment| segment.head.first_lsn <= lsn);
        after.checked_sub(1).and_then(|i| segments.get(i)).map(Arc::clone)
    }

    fn offset_of(&self, segment: &Segment, lsn: Lsn) -> Result<Option<u64>, JournalError> {
        let find = |table: &Table| {
            let after = table.partition_point(|(first, _)| *first <= lsn);
            after.checked_sub(1).and_then(|i| table.get(i)).map(|(_, offset)| *offset)
        };
        match segment.seal_offset {
            None => Ok(find(&read_lock(&self.0.open_table))),
            Some(seal_offset) => Ok(find(&*self.sealed_table(segment, seal_offset)?)),
        }
    }

    fn sealed_table(&self, segment: &Segment, seal_offset: u64) -> Result<Arc<Table>, JournalError> {
        let seq = segment.head.seq;
        if let Some((_, table)) = lock(&self.0.tables).iter().find(|(of, _)| *of == seq) {
            return Ok(Arc::clone(table));
        }
        let table = segment
            .block_at(seal_offset)?
            .filter(|(head, _)| head.kind == BlockKind::Seal)
            .and_then(|(head, bytes)| decode_table(&bytes, &head))
            .map(Arc::new)
            .ok_or_else(|| segment.corrupt(seal_offset, "the seal is not readable"))?;
        let mut tables = lock(&self.0.tables);
        tables.push_back((seq, Arc::clone(&table)));
        if tables.len() > TABLES_MAX {
            tables.pop_front();
        }
        Ok(table)
    }
}

impl JournalReader for SegmentReader {
    fn read(&self, lsn: Lsn) -> Result<Committed, JournalError> {
        let found = self.stored(lsn)?.ok_or(JournalError::NoEntry(lsn))?;
        let entry = decode_entry(&found.bytes, &found.head, lsn).map_err(|what| found.corrupt(what))?;
        Ok(Committed { entry: Arc::new(entry), lsn, at: found.head.at })
    }

    fn block(&self, lsn: Lsn) -> Result<Option<(BlockHead, Arc<Block>)>, JournalError> {
        let Some(found) = self.stored(lsn)? else { return Ok(None) };
        let block = decode_entries(&found.bytes, &found.head).map_err(|what| found.corrupt(what))?;
        Ok(Some((found.head, Arc::new(block))))
    }
}

/// A block of entries as it lies on disk, its checksum checked.
struct Stored {
    segment: Arc<Segment>,
    offset: u64,
    head: BlockHead,
    bytes: Vec<u8>,
}

impl Stored {
    fn corrupt(&self, what: String) -> JournalError {
        self.segment.corrupt(self.offset, what)
    }
}

impl SegmentReader {
    /// The block that holds an entry.
    fn stored(&self, lsn: Lsn) -> Result<Option<Stored>, JournalError> {
        // A rotation between the two look-ups moves the open table away; the second try then finds it sealed.
        for _ in 0..2 {
            let Some(segment) = self.segment_of(lsn) else { return Ok(None) };
            let Some(offset) = self.offset_of(&segment, lsn)? else { continue };
            let found = segment.block_at(offset)?.filter(|(head, _)| head.kind == BlockKind::Entries);
            let Some((mut head, bytes)) = found else {
                return Err(segment.corrupt(offset, "a block that was durable is not readable"));
            };
            if lsn < head.first_lsn || lsn.0 >= head.first_lsn.0 + u64::from(head.count) {
                return Ok(None);
            }
            if offset == ALIGN_BYTES as u64 {
                if head.prev_hash != segment.head.prev_hash {
                    return Err(segment.corrupt(offset, "the first block does not chain to the segment's header"));
                }
                // A reader sees the chain of entries; seals are the files' own.
                head.prev_hash = segment.prev_block_hash;
            }
            return Ok(Some(Stored { segment, offset, head, bytes }));
        }
        Ok(None)
    }
}

fn read_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
