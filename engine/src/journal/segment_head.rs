//! A segment's header: which file this is, what it follows, whose it is, how long it was made (P4).
//!
//! ```text
//! "ARUSSEG1" version:u16 0:u16 seq:u32 first_lsn:u64 prev_seal_offset:u64 prev_hash:32
//!     [ version 3: fingerprint:16 segment_bytes:u64 ] crc32c:u32 zeros to 4096 bytes
//! ```
//! Version 2 is read for ever, and no longer written. All integers are little-endian.

use super::{
    Hash, JournalError,
    record::{ALIGN_BYTES, Fields},
};
use crate::{keys::Fingerprint, money::Lsn};

const MAGIC: [u8; 8] = *b"ARUSSEG1";
const VERSION: u16 = 3;
const VERSION_WITHOUT_MADE: u16 = 2;

/// A segment's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// Its number, from 1 without gaps.
    pub seq: u32,
    /// Its first entry's position.
    pub first_lsn: Lsn,
    /// Where the segment before is sealed, in bytes; 0 for the first segment.
    pub prev_seal_offset: u64,
    /// The segment before's last hash: its seal's.
    pub prev_hash: Hash,
    /// How it was made; `None` in segments of before format 3.
    pub made: Option<Made>,
}

/// What a segment was made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The data directory it belongs to: what idempotency depends on.
    pub fingerprint: Fingerprint,
    /// The file's length.
    pub segment_bytes: u64,
}

/// The header, padded.
pub fn encode_segment_head(head: &SegmentHead) -> Vec<u8> {
    let mut out = Vec::with_capacity(ALIGN_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&if head.made.is_some() { VERSION } else { VERSION_WITHOUT_MADE }.to_le_bytes());
    out.extend_from_slice(&0_u16.to_le_bytes());
    out.extend_from_slice(&head.seq.to_le_bytes());
    out.extend_from_slice(&head.first_lsn.0.to_le_bytes());
    out.extend_from_slice(&head.prev_seal_offset.to_le_bytes());
    out.extend_from_slice(&head.prev_hash);
    if let Some(made) = &head.made {
        out.extend_from_slice(&made.fingerprint.0);
        out.extend_from_slice(&made.segment_bytes.to_le_bytes());
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out.resize(ALIGN_BYTES, 0);
    out
}

/// Reads a header: `Ok(None)` if these bytes are none, or anything in them is not as it was written.
pub fn decode_segment_head(bytes: &[u8]) -> Result<Option<SegmentHead>, JournalError> {
    let mut fields = Fields(bytes);
    if fields.take() != Some(MAGIC) {
        return Ok(None);
    }
    let found = fields.u16().unwrap_or_default();
    if found != VERSION && found != VERSION_WITHOUT_MADE {
        return Err(JournalError::Format { found, expected: VERSION });
    }
    let mut read = || {
        fields.u16()?;
        let (seq, first_lsn, prev_seal_offset) = (fields.u32()?, Lsn(fields.u64()?), fields.u64()?);
        let prev_hash = fields.take()?;
        let made = match found {
            VERSION => Some(Made { fingerprint: Fingerprint(fields.take()?), segment_bytes: fields.u64()? }),
            _ => None,
        };
        Some(SegmentHead { seq, first_lsn, prev_seal_offset, prev_hash, made })
    };
    // Written again it must be the very same page: CRC and padding are checked with everything else.
    Ok(read().filter(|head| bytes.get(..ALIGN_BYTES) == Some(&*encode_segment_head(head))))
}
