//! The byte picture of the journal's blocks, format 4 (P4). All integers are little-endian.
//!
//! ```text
//! segment  = header (4096 bytes, see `segment_head`) block* zeros
//! block    = "ABLK" version:u16 kind:u16 first_lsn:u64 count:u32 records_bytes:u32 at:u64
//!            prev_hash:32 merkle_root:32 block_hash:32 crc32c:u32 record* zeros to a multiple of 4096
//! record   = length:u32 bytes;  bytes as `stored` has them, those of format 2 as `format_2` has them
//! ```
//! `kind` 0 holds entries; kind 1 seals a segment: its records' place holds the (lsn:u64, offset:u64) of every block.
//! `block_hash = BLAKE3(block up to merkle_root)`, so it covers the previous hash and, through the Merkle root, every
//! entry; an inclusion proof is a Merkle path plus block headers. The CRC covers the header without itself and the
//! records. The sender encodes and hashes its record; lsn and time are the block's.

use std::sync::Arc;

use super::{
    block::Block,
    format_2,
    merkle::{Hash, merkle_root},
    stored::{self, StoredError},
};
use crate::{
    ledger::{entry::Entry, time::Timestamp},
    money::Lsn,
};

/// How the records of a block are written: the block's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordFormat {
    /// As builds before format 4 wrote them: read to be migrated.
    Two = 2,
    /// As this build writes them.
    Four = 4,
}

impl RecordFormat {
    fn of(version: u16) -> Option<Self> {
        [Self::Two, Self::Four].into_iter().find(|format| *format as u16 == version)
    }

    fn decode(self, record: &[u8]) -> Result<Entry, String> {
        let entry = match self {
            Self::Two => format_2::decode(record).map_err(|error| error.to_string()),
            Self::Four => stored::decode(record).map_err(|error| error.to_string()),
        };
        entry.map_err(|error| format!("an entry cannot be decoded: {error}"))
    }
}

/// Blocks start and end at multiples of this.
pub const ALIGN_BYTES: usize = 4096;
/// The length of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 132;
const BLOCK_MAGIC: [u8; 4] = *b"ABLK";
const HASHED_BYTES: usize = 96;
const CRC_AT: usize = 128;

/// An entry as its sender hands it over: encoded and hashed, without a place.
#[derive(Debug, Clone)]
pub struct Record {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Encoded.
    pub bytes: Vec<u8>,
    /// The hash of `bytes`.
    pub hash: Hash,
}

impl Record {
    /// Encodes and hashes.
    pub fn new(entry: Arc<Entry>) -> Result<Self, StoredError> {
        let bytes = stored::encode(&entry)?;
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(Self { entry, bytes, hash })
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Entries.
    Entries,
    /// The end of a segment.
    Seal,
}

/// A block's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// How its records are written.
    pub format: RecordFormat,
    /// What it holds.
    pub kind: BlockKind,
    /// The first entry's position; of a seal, the position after the last.
    pub first_lsn: Lsn,
    /// How many entries.
    pub count: u32,
    /// How many bytes of records follow the header.
    pub records_bytes: usize,
    /// When.
    pub at: Timestamp,
    /// The block before.
    pub prev_hash: Hash,
    /// The root of the entries' hashes.
    pub merkle_root: Hash,
    /// This block.
    pub hash: Hash,
}

impl BlockHead {
    /// How many bytes the block takes, padding included.
    pub fn padded_bytes(&self) -> usize {
        padded(BLOCK_HEADER_BYTES + self.records_bytes)
    }
}

/// Rounded up to whole pages.
pub fn padded(bytes: usize) -> usize {
    bytes.div_ceil(ALIGN_BYTES) * ALIGN_BYTES
}

/// Writes a block of entries into `out`, padded.
pub fn encode_entries(
    out: &mut Vec<u8>,
    records: &[Record],
    first_lsn: Lsn,
    at: Timestamp,
    prev_hash: Hash,
) -> BlockHead {
    let records_bytes = records.iter().map(|record| record.bytes.len() + 4).sum();
    let root = merkle_root(records.iter().map(|record| record.hash).collect());
    let count = records.len() as u32;
    encode(out, BlockKind::Entries, first_lsn, count, at, prev_hash, root, records_bytes, |out| {
        for record in records {
            out.extend_from_slice(&(record.bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(&record.bytes);
        }
    })
}

/// Writes a seal into `out`, padded: the end of a segment with the place of each of its blocks.
pub fn encode_seal(
    out: &mut Vec<u8>,
    table: &[(Lsn, u64)],
    next_lsn: Lsn,
    at: Timestamp,
    prev_hash: Hash,
) -> BlockHead {
    let mut rows = Vec::with_capacity(table.len() * 16);
    for (lsn, offset) in table {
        rows.extend_from_slice(&lsn.0.to_le_bytes());
        rows.extend_from_slice(&offset.to_le_bytes());
    }
    let root = *blake3::hash(&rows).as_bytes();
    let count = table.len() as u32;
    encode(out, BlockKind::Seal, next_lsn, count, at, prev_hash, root, rows.len(), |out| out.extend_from_slice(&rows))
}

#[allow(clippy::too_many_arguments, reason = "one private function writes the header's fields in their order")]
fn encode(
    out: &mut Vec<u8>,
    kind: BlockKind,
    first_lsn: Lsn,
    count: u32,
    at: Timestamp,
    prev_hash: Hash,
    merkle_root: Hash,
    records_bytes: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> BlockHead {
    out.clear();
    out.extend_from_slice(&BLOCK_MAGIC);
    out.extend_from_slice(&(RecordFormat::Four as u16).to_le_bytes());
    out.extend_from_slice(&u16::from(kind == BlockKind::Seal).to_le_bytes());
    out.extend_from_slice(&first_lsn.0.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&(records_bytes as u32).to_le_bytes());
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(&prev_hash);
    out.extend_from_slice(&merkle_root);
    let hash = *blake3::hash(out).as_bytes();
    out.extend_from_slice(&hash);
    out.extend_from_slice(&[0; 4]);
    body(out);
    let crc = block_crc(out);
    if let Some(place) = out.get_mut(CRC_AT..BLOCK_HEADER_BYTES) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    out.resize(padded(out.len()), 0);
    let format = RecordFormat::Four;
    BlockHead { format, kind, first_lsn, count, records_bytes, at, prev_hash, merkle_root, hash }
}

fn block_crc(block: &[u8]) -> u32 {
    let (head, rest) = block.split_at(CRC_AT.min(block.len()));
    crc32c::crc32c_append(crc32c::crc32c(head), rest.get(4..).unwrap_or_default())
}

/// Reads little-endian fields one after another.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Reads a block's header: `None` if these bytes do not begin a block.
pub fn decode_head(bytes: &[u8]) -> Option<BlockHead> {
    let mut fields = Fields(bytes);
    if fields.take::<4>()? != BLOCK_MAGIC {
        return None;
    }
    let format = RecordFormat::of(fields.u16()?)?;
    let kind = match fields.u16()? {
        0 => BlockKind::Entries,
        1 => BlockKind::Seal,
        _ => return None,
    };
    let first_lsn = Lsn(fields.u64()?);
    let count = fields.u32()?;
    let records_bytes = usize::try_from(fields.u32()?).ok()?;
    let at = Timestamp(fields.u64()?);
    let (prev_hash, merkle_root, hash) = (fields.take()?, fields.take()?, fields.take()?);
    let hashed = bytes.get(..HASHED_BYTES)?;
    (*blake3::hash(hashed).as_bytes() == hash).then_some(BlockHead {
        format,
        kind,
        first_lsn,
        count,
        records_bytes,
        at,
        prev_hash,
        merkle_root,
        hash,
    })
}

/// Whether the CRC of a whole block (header and records, no padding needed) is right.
pub fn crc_is_right(block: &[u8], head: &BlockHead) -> bool {
    block.get(..BLOCK_HEADER_BYTES + head.records_bytes).is_some_and(|block| {
        let stored = Fields(block.get(CRC_AT..).unwrap_or_default()).u32();
        stored == Some(block_crc(block))
    })
}

/// Splits a block's records; `None` if lengths do not fit.
pub fn split_records<'a>(block: &'a [u8], head: &BlockHead) -> Option<Vec<&'a [u8]>> {
    let mut rest = block.get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + head.records_bytes)?;
    let mut records = Vec::with_capacity(head.count as usize);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (record, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(record);
        rest = after;
    }
    (records.len() == head.count as usize).then_some(records)
}

/// Decodes the one entry at `lsn` of a block whose CRC is right.
pub fn decode_entry(block: &[u8], head: &BlockHead, lsn: Lsn) -> Result<Entry, String> {
    let records = split_records(block, head).ok_or("record lengths do not add up")?;
    let position = lsn.0.checked_sub(head.first_lsn.0).and_then(|position| usize::try_from(position).ok());
    let record = position.and_then(|position| records.get(position)).ok_or("the entry is not in the block")?;
    head.format.decode(record)
}

/// Decodes a block of entries whose CRC is right.
pub fn decode_entries(block: &[u8], head: &BlockHead) -> Result<Block, String> {
    let records = split_records(block, head).ok_or("record lengths do not add up")?;
    let entries =
        records.iter().map(|record| head.format.decode(record).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    Ok(Block::new(head.first_lsn, head.at, head.hash, head.records_bytes, entries))
}

/// Reads a seal's table.
pub fn decode_table(block: &[u8], head: &BlockHead) -> Option<Vec<(Lsn, u64)>> {
    let mut fields = Fields(block.get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + head.records_bytes)?);
    (0..head.count).map(|_| Some((Lsn(fields.u64()?), fields.u64()?))).collect()
}
