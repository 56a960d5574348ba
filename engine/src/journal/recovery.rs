//! Opening the journal: what is checked, what is cut, what is refused (P4).
//!
//! Never more than one block is unsynced, so only the last block of the last segment may be torn: it is kept aside,
//! zeroed and synced before work is accepted. A bad block with a valid one behind it, one that a seal or other evidence
//! covers, a broken chain, a file of another length or of another data directory: the start is refused by name.

use std::sync::Arc;

use super::{
    Hash, Head, JournalError,
    disk::Disk,
    record::{ALIGN_BYTES, BlockHead, BlockKind, RecordFormat, decode_head},
    segment::{Segment, io_error, segment_name},
    segment_head::{Made, SegmentHead, decode_segment_head},
    segments::{SegmentReader, Segments, Shared},
    spare::Spare,
    stored,
};
use crate::{
    keys::Fingerprint,
    ledger::time::Timestamp,
    money::Lsn,
    planted::{Bug, is_planted},
};

/// An opened journal.
#[derive(Debug)]
pub struct Opened {
    /// The writing end.
    pub segments: Segments,
    /// What was cut off, if the last stop was not clean.
    pub torn: Option<Torn>,
}

/// A torn last block: written but never synced, so nobody was told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub segment: String,
    /// Where it began, in bytes.
    pub offset: u64,
    /// The file beside the segments that has its bytes now.
    pub kept: String,
}

/// A journal as it was found: its files are this process's own, everything about them is checked, nothing is changed.
pub struct Found {
    disk: Arc<dyn Disk>,
    segments: Vec<Arc<Segment>>,
    last: Arc<Segment>,
    scan: Scan,
    fingerprint: Fingerprint,
}

/// What a scan of the last segment found.
struct Scan {
    table: Vec<(Lsn, u64)>,
    head: Head,
    /// Behind the last valid block.
    offset: u64,
    seal: Option<BlockHead>,
}

/// Begins a journal where there is none. A file that an earlier try left is used if no entry is in it. What came before
/// the first entry is `origin`: nothing, or the last block of the journal that it is migrated from.
pub fn create(disk: Arc<dyn Disk>, made: Made, origin: Hash) -> Result<(), JournalError> {
    if !load(&*disk)?.is_empty() {
        let begun = find(disk, made.fingerprint)?.head();
        return match begun {
            Head { lsn: Lsn(0), hash, .. } if hash == origin => Ok(()),
            Head { lsn, .. } => {
                Err(JournalError::Unfit(format!("a journal that ends at lsn {lsn} is not to be created")))
            }
        };
    }
    let head = SegmentHead {
        seq: 1,
        first_lsn: Lsn(1),
        prev_seal_offset: 0,
        prev_hash: origin,
        made: Some(made),
        format: RecordFormat::Four,
        minor: stored::MINOR,
    };
    let spare = Spare::new(disk, made);
    spare.stop();
    spare.begin_segment(head, head.prev_hash).map(drop)
}

/// Finds the journal of a data directory, for writing.
pub fn find(disk: Arc<dyn Disk>, fingerprint: Fingerprint) -> Result<Found, JournalError> {
    let segments = load(&*disk)?;
    check_owner(&segments, fingerprint)?;
    let (scan, last) = scan_last(&segments)?;
    Ok(Found { disk, segments, last, scan, fingerprint })
}

/// Every segment must be of this data directory.
pub(super) fn check_owner(segments: &[Arc<Segment>], expected: Fingerprint) -> Result<(), JournalError> {
    for segment in segments {
        match segment.head.made {
            Some(made) if made.fingerprint != expected => {
                return Err(JournalError::Foreign { segment: segment.name(), found: made.fingerprint, expected });
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

impl Found {
    /// Where it ends.
    pub fn head(&self) -> Head {
        self.scan.head
    }

    /// Whether it reaches as far as something else says it did. Gives back the pages of a torn tail.
    pub fn check_reaches(&self, proven: Lsn) -> Result<Option<Vec<u64>>, JournalError> {
        let Self { last, scan, .. } = self;
        let torn = if scan.seal.is_some() { None } else { torn_tail(last, scan.offset)? };
        match torn {
            _ if scan.head.lsn >= proven => Ok(torn),
            Some(_) => Err(last.corrupt(scan.offset, format!("a bad block, but lsn {proven} was durable for sure"))),
            None => Err(JournalError::Lost { ends: scan.head.lsn, proven }),
        }
    }

    /// Makes it ready to be written to, in segments of `segment_bytes`. `proven` is the last entry that was durable for
    /// sure, as something else than the journal says: one that ends before has lost entries, and is left as it is.
    pub fn open(self, segment_bytes: u64, proven: Lsn) -> Result<Opened, JournalError> {
        let torn = self.check_reaches(proven)?;
        let Self { disk, mut segments, last, scan, fingerprint } = self;
        let spare = Spare::new(Arc::clone(&disk), Made { fingerprint, segment_bytes });
        let torn = torn.map(|torn| cut(&*disk, &last, scan.offset, &torn)).transpose()?;
        let (mut current, mut head, mut offset, mut table) = (last, scan.head, scan.offset, scan.table);
        if let Some(seal) = scan.seal {
            // The stop came between seal and rename: begin the next segment now.
            let seal_offset = offset - seal.padded_bytes() as u64;
            segments.pop();
            segments.push(Arc::new(current.sealed_at(seal_offset)));
            let next = SegmentHead {
                seq: current.head.seq + 1,
                first_lsn: Lsn(head.lsn.0 + 1),
                prev_seal_offset: seal_offset,
                prev_hash: seal.hash,
                made: Some(spare.made),
                format: RecordFormat::Four,
                minor: stored::MINOR,
            };
            // A start that cannot go on says so rather than to wait.
            spare.give_up_after(Some(1));
            current = spare.begin_segment(next, seal.prev_hash)?;
            spare.give_up_after(None);
            segments.push(Arc::clone(&current));
            (head.hash, offset, table) = (seal.hash, ALIGN_BYTES as u64, Vec::new());
        }
        let shared = Shared::new(segments, table);
        Ok(Opened { segments: Segments::new(disk, shared, current, offset, head, spare)?, torn })
    }
}

/// Opens for reading only, beside a running server or without one: a block that is still being written is not there.
pub fn open_read_only(disk: &dyn Disk, fingerprint: Fingerprint) -> Result<(SegmentReader, Head), JournalError> {
    let segments = load(disk)?;
    check_owner(&segments, fingerprint)?;
    let (scan, _) = scan_last(&segments)?;
    Ok((SegmentReader(Shared::new(segments, scan.table)), scan.head))
}

/// The segments of a journal of this build's format.
pub(super) fn load(disk: &dyn Disk) -> Result<Vec<Arc<Segment>>, JournalError> {
    let segments = load_any(disk)?;
    match segments.iter().find(|segment| segment.head.format != RecordFormat::Four) {
        Some(old) => Err(JournalError::Old { segment: old.name() }),
        None => Ok(segments),
    }
}

/// Reads all headers and checks that every segment follows the seal of the one before.
pub(super) fn load_any(disk: &dyn Disk) -> Result<Vec<Arc<Segment>>, JournalError> {
    let mut names = disk.list().map_err(|error| io_error("folder", "list", &error))?;
    names.retain(|name| name.ends_with(".seg"));
    names.sort_unstable();
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(names.len());
    for (seq, name) in (1..).zip(&names) {
        let corrupt = |what: String| JournalError::Corrupt { segment: name.clone(), offset: 0, what };
        if *name != segment_name(seq) {
            return Err(corrupt(format!("{} is missing", segment_name(seq))));
        }
        let file = disk.open(name).map_err(|error| io_error(name, "open", &error))?;
        let length = file.length().map_err(|error| io_error(name, "read", &error))?;
        if length < ALIGN_BYTES as u64 {
            return Err(corrupt(format!("it is {length} bytes long, shorter than its header")));
        }
        let mut bytes = vec![0; ALIGN_BYTES];
        file.read_at(&mut bytes, 0).map_err(|error| io_error(name, "read", &error))?;
        let head = decode_segment_head(&bytes)?.ok_or_else(|| corrupt("the segment header is not readable".into()))?;
        if head.seq != seq {
            return Err(corrupt(format!("the header says segment {}", head.seq)));
        }
        if let Some(made) = head.made.filter(|made| made.segment_bytes != length) {
            return Err(corrupt(format!("it is {length} bytes long, but was made with {}", made.segment_bytes)));
        }
        let mut prev_block_hash = head.prev_hash;
        if let Some(before) = segments.pop() {
            let (sealed, last_hash) = sealed_by(&before, &head)?;
            segments.push(Arc::new(sealed));
            prev_block_hash = last_hash;
        }
        segments.push(Arc::new(Segment { head, file, seal_offset: None, prev_block_hash }));
    }
    Ok(segments)
}

/// The segment, sealed, and the hash of its last block of entries.
fn sealed_by(segment: &Segment, next: &SegmentHead) -> Result<(Segment, Hash), JournalError> {
    let offset = next.prev_seal_offset;
    let seal = segment.block_at(offset)?.map(|(head, _)| head).filter(|head| head.kind == BlockKind::Seal);
    match seal {
        Some(seal) if seal.hash == next.prev_hash && seal.first_lsn == next.first_lsn => {
            Ok((segment.sealed_at(offset), seal.prev_hash))
        }
        Some(_) => Err(segment.corrupt(offset, "the next segment does not chain to this seal")),
        None => Err(segment.corrupt(offset, "the seal is not readable")),
    }
}

/// Walks the last segment's blocks, each checked against the one before.
fn scan_last(segments: &[Arc<Segment>]) -> Result<(Scan, Arc<Segment>), JournalError> {
    let (last, sealed) = segments.split_last().ok_or(JournalError::NoSegment)?;
    let at = match sealed.last().and_then(|before| Some((before, before.seal_offset?))) {
        Some((before, offset)) => before.block_at(offset)?.map_or(Timestamp(0), |(seal, _)| seal.at),
        None => Timestamp(0),
    };
    let start = Head { lsn: Lsn(last.head.first_lsn.0.saturating_sub(1)), hash: last.head.prev_hash, at };
    let mut scan = Scan { table: Vec::new(), head: start, offset: ALIGN_BYTES as u64, seal: None };
    while scan.seal.is_none() {
        let Some((block, _)) = last.block_at(scan.offset)? else { break };
        check_chain(last, scan.offset, &scan.head, &block)?;
        match block.kind {
            BlockKind::Seal => scan.seal = Some(block),
            BlockKind::Entries => {
                scan.table.push((block.first_lsn, scan.offset));
                let lsn = Lsn(block.first_lsn.0 + u64::from(block.count).saturating_sub(1));
                scan.head = Head { lsn, hash: block.hash, at: block.at };
            }
        }
        scan.offset += block.padded_bytes() as u64;
    }
    Ok((scan, Arc::clone(last)))
}

/// A valid block must follow the one before: position, hash and time.
pub(super) fn check_chain(
    segment: &Segment,
    offset: u64,
    before: &Head,
    block: &BlockHead,
) -> Result<(), JournalError> {
    if block.first_lsn.0 != before.lsn.0 + 1 {
        return Err(segment.corrupt(offset, format!("lsn {} follows lsn {}", block.first_lsn, before.lsn)));
    }
    if block.prev_hash != before.hash {
        return Err(segment.corrupt(offset, "the block does not chain to the one before"));
    }
    if block.at < before.at {
        return Err(segment.corrupt(offset, "time goes back"));
    }
    Ok(())
}

/// Whether a block begins anywhere behind `offset`.
pub(super) fn block_behind(segment: &Segment, offset: u64) -> Result<Option<u64>, JournalError> {
    let read = |error| io_error(&segment.name(), "read", &error);
    let len = segment.file.length().map_err(read)?;
    let mut page = vec![0; ALIGN_BYTES];
    let mut at = offset + ALIGN_BYTES as u64;
    while at + ALIGN_BYTES as u64 <= len {
        segment.file.read_at(&mut page, at).map_err(read)?;
        if decode_head(&page).is_some() {
            return Ok(Some(at));
        }
        at += ALIGN_BYTES as u64;
    }
    Ok(None)
}

/// The pages that were written behind the last valid block, by their offsets; none if nothing was. A valid block among
/// them, or more than one block's worth, is no torn tail.
pub(super) fn torn_tail(segment: &Segment, from: u64) -> Result<Option<Vec<u64>>, JournalError> {
    let read = |error| io_error(&segment.name(), "read", &error);
    let len = segment.length()?;
    let mut page = vec![0; ALIGN_BYTES];
    let mut dirty = Vec::new();
    let mut offset = from;
    let mut torn_end = len;
    while offset + ALIGN_BYTES as u64 <= len {
        segment.file.read_at(&mut page, offset).map_err(read)?;
        let head = decode_head(&page);
        if offset == from {
            torn_end = head.map_or(len, |head| from + head.padded_bytes() as u64);
        } else if head.is_some() && !is_planted(Bug::SealedBlockCut) {
            return Err(segment.corrupt(from, format!("a bad block, but a valid one follows at offset {offset}")));
        }
        if page.iter().any(|byte| *byte != 0) {
            if offset >= torn_end && !is_planted(Bug::SealedBlockCut) {
                return Err(segment.corrupt(from, format!("a bad block, but offset {offset} behind it is written")));
            }
            dirty.push(offset);
        }
        offset += ALIGN_BYTES as u64;
    }
    Ok(Some(dirty).filter(|dirty| !dirty.is_empty()))
}

/// Keeps a torn tail's bytes in a file of their own, then zeroes them: whoever doubts that nobody was told of them has
/// something to look at.
fn cut(disk: &dyn Disk, segment: &Segment, from: u64, dirty: &[u64]) -> Result<Torn, JournalError> {
    let name = segment.name();
    let names = disk.list().map_err(|error| io_error("folder", "list", &error))?;
    let mut free = (1_u32..).map(|n| format!("{name}.torn-at-{from}-{n}")).filter(|kept| !names.contains(kept));
    let kept = free.next().unwrap_or_default();
    let end = dirty.last().map_or(from, |last| last + ALIGN_BYTES as u64);
    let aside = disk.create(&kept, end - from).map_err(|error| io_error(&kept, "create", &error))?;
    let mut page = vec![0; ALIGN_BYTES];
    for offset in dirty {
        segment.file.read_at(&mut page, *offset).map_err(|error| io_error(&name, "read", &error))?;
        aside.write_at(&page, offset - from).map_err(|error| io_error(&kept, "write", &error))?;
    }
    aside.sync().map_err(|error| io_error(&kept, "sync", &error))?;
    let zeros = vec![0; ALIGN_BYTES];
    for offset in dirty {
        segment.file.write_at(&zeros, *offset).map_err(|error| io_error(&name, "write", &error))?;
    }
    segment.file.sync().map_err(|error| io_error(&name, "sync", &error))?;
    Ok(Torn { segment: name, offset: from, kept })
}
