//! Walks the whole journal from its first byte, checking everything that can be checked: what `arus verify` does.

use std::sync::Arc;

use super::{
    Block, Head, JournalError,
    disk::Disk,
    merkle::merkle_root,
    record::{ALIGN_BYTES, BLOCK_HEADER_BYTES, BlockHead, BlockKind, decode_entries, split_records},
    recovery::{block_behind, check_chain, check_owner, load, torn_tail},
    segment::{Segment, io_error},
};
use crate::{keys::Fingerprint, money::Lsn};

/// What a walk went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Segments.
    pub segments: usize,
    /// Commit blocks.
    pub blocks: u64,
    /// Entries.
    pub entries: u64,
    /// Where it ended.
    pub head: Head,
    /// Behind the last block, in bytes of the last segment.
    pub end: u64,
}

/// Walks all synced blocks in order: chain, Merkle roots and every entry's decoding are checked, and `visit` sees
/// each. In the last segment the walk ends at the first block that is not whole, as a running server may be writing it.
/// Every segment must belong to the data directory of `fingerprint`.
pub fn walk(
    disk: &dyn Disk,
    fingerprint: Fingerprint,
    visit: impl FnMut(&BlockHead, &Arc<Block>) -> Result<(), String>,
) -> Result<Walked, JournalError> {
    walk_segments(&load(disk)?, fingerprint, visit)
}

/// The same, of segments that were read already.
pub(super) fn walk_segments(
    segments: &[Arc<Segment>],
    fingerprint: Fingerprint,
    mut visit: impl FnMut(&BlockHead, &Arc<Block>) -> Result<(), String>,
) -> Result<Walked, JournalError> {
    let first = segments.first().ok_or(JournalError::NoSegment)?;
    check_owner(segments, fingerprint)?;
    let begun = Head { hash: first.head.prev_hash, ..Head::EMPTY };
    let mut walked = Walked { segments: segments.len(), blocks: 0, entries: 0, head: begun, end: 0 };
    for segment in segments {
        if segment.head.prev_hash != walked.head.hash || segment.head.first_lsn.0 != walked.head.lsn.0 + 1 {
            return Err(segment.corrupt(0, "the segment does not chain to the one before"));
        }
        walk_segment(segment, &mut walked, &mut visit)?;
    }
    Ok(walked)
}

/// What a start will cut off behind the end of a walk, in bytes: a block that was not written to its end. Only where no
/// server runs, which may be writing one.
pub fn torn_bytes(disk: &dyn Disk, walked: &Walked) -> Result<usize, JournalError> {
    torn_bytes_of(&load(disk)?, walked)
}

pub(super) fn torn_bytes_of(segments: &[Arc<Segment>], walked: &Walked) -> Result<usize, JournalError> {
    let last = segments.last().ok_or(JournalError::NoSegment)?;
    Ok(torn_tail(last, walked.end)?.map_or(0, |pages| pages.len() * ALIGN_BYTES))
}

fn walk_segment(
    segment: &Segment,
    walked: &mut Walked,
    visit: &mut impl FnMut(&BlockHead, &Arc<Block>) -> Result<(), String>,
) -> Result<(), JournalError> {
    let mut offset = ALIGN_BYTES as u64;
    loop {
        walked.end = offset;
        let found = match segment.block_at(offset)? {
            Some(found) => Some(found),
            None if segment.seal_offset.is_some() => {
                return Err(segment.corrupt(offset, "a block of a sealed segment is not readable"));
            }
            // A running server may have finished the block since: it is read once more before it is blamed.
            None => match block_behind(segment, offset)? {
                None => None,
                Some(behind) => Some(segment.block_at(offset)?.ok_or_else(|| {
                    segment.corrupt(offset, format!("a bad block, but a valid one follows at offset {behind}"))
                })?),
            },
        };
        let Some((head, bytes)) = found else { return Ok(()) };
        check_chain(segment, offset, &walked.head, &head)?;
        // No CRC covers what fills a block up, and nothing is read from there; a changed byte tells of a failing disk.
        if !is_zero(bytes.get(BLOCK_HEADER_BYTES + head.records_bytes..)) {
            return Err(segment.corrupt(offset, "the padding behind the block's records is not zero"));
        }
        if head.kind == BlockKind::Seal {
            walked.head.hash = head.hash;
            walked.end = offset + head.padded_bytes() as u64;
            return check_empty_behind(segment, walked.end);
        }
        let records =
            split_records(&bytes, &head).ok_or_else(|| segment.corrupt(offset, "record lengths do not add up"))?;
        let hashes = records.iter().map(|record| *blake3::hash(record).as_bytes()).collect();
        if merkle_root(hashes) != head.merkle_root {
            return Err(segment.corrupt(offset, "the Merkle root is not that of the entries"));
        }
        let block = decode_entries(&bytes, &head).map_err(|what| segment.corrupt(offset, what))?;
        visit(&head, &Arc::new(block)).map_err(|what| segment.corrupt(offset, what))?;
        walked.blocks += 1;
        walked.entries += u64::from(head.count);
        let lsn = Lsn(head.first_lsn.0 + u64::from(head.count) - 1);
        walked.head = Head { lsn, hash: head.hash, at: head.at };
        offset += head.padded_bytes() as u64;
    }
}

/// Nothing is ever written behind a seal.
fn check_empty_behind(segment: &Segment, end: u64) -> Result<(), JournalError> {
    let read = |error| io_error(&segment.name(), "read", &error);
    let length = segment.length()?;
    let mut page = vec![0; ALIGN_BYTES];
    let mut at = end;
    while at + ALIGN_BYTES as u64 <= length {
        segment.file.read_at(&mut page, at).map_err(read)?;
        if !is_zero(Some(&page)) {
            return Err(segment.corrupt(at, "bytes stand behind the seal"));
        }
        at += ALIGN_BYTES as u64;
    }
    Ok(())
}

fn is_zero(padding: Option<&[u8]>) -> bool {
    padding.unwrap_or_default().iter().all(|byte| *byte == 0)
}
