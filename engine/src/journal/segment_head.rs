//! A segment's header: which file this is, what it follows, whose it is, how long it was made (P4).
//!
//! ```text
//! "ARUSSEG1" version:u16 minor:u16 seq:u32 first_lsn:u64 prev_seal_offset:u64 prev_hash:32
//!     [ from version 3 on: fingerprint:16 segment_bytes:u64 ] crc32c:u32 zeros to 4096 bytes
//! ```
//! `minor` is the highest that a record of the segment may need (see `stored`): 0 of versions 2 and 3, whose records are
//! those of format 2; they are read to be migrated. The first segment of a migrated journal carries the hash of the old
//! one's last block as `prev_hash`. All integers are little-endian.

use super::{
    Hash, JournalError,
    record::{ALIGN_BYTES, Fields, RecordFormat},
    stored,
};
use crate::{keys::Fingerprint, money::Lsn};

const MAGIC: [u8; 8] = *b"ARUSSEG1";
const VERSION: u16 = 4;
const VERSION_OF_FORMAT_2: u16 = 3;
const VERSION_WITHOUT_MADE: u16 = 2;
/// How much stands before the checksum, from version 3 on.
const CHECKED_BYTES: usize = 88;

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
    /// How its records are written.
    pub format: RecordFormat,
    /// The highest minor that one of them may need.
    pub minor: u16,
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
    let version = match (head.format, head.made) {
        (RecordFormat::Four, _) => VERSION,
        (RecordFormat::Two, Some(_)) => VERSION_OF_FORMAT_2,
        (RecordFormat::Two, None) => VERSION_WITHOUT_MADE,
    };
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&head.minor.to_le_bytes());
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
    let (found, minor) = (fields.u16().unwrap_or_default(), fields.u16().unwrap_or_default());
    let format = match found {
        VERSION => RecordFormat::Four,
        VERSION_OF_FORMAT_2 | VERSION_WITHOUT_MADE => RecordFormat::Two,
        _ if is_whole(bytes) => return Err(JournalError::Format { found, minor, expected: VERSION }),
        // No build wrote that: it is damaged.
        _ => return Ok(None),
    };
    if minor > stored::MINOR && is_whole(bytes) {
        return Err(JournalError::Format { found, minor, expected: VERSION });
    }
    let mut read = || {
        let (seq, first_lsn, prev_seal_offset) = (fields.u32()?, Lsn(fields.u64()?), fields.u64()?);
        let prev_hash = fields.take()?;
        let made = match found {
            VERSION | VERSION_OF_FORMAT_2 => {
                Some(Made { fingerprint: Fingerprint(fields.take()?), segment_bytes: fields.u64()? })
            }
            _ => None,
        };
        Some(SegmentHead { seq, first_lsn, prev_seal_offset, prev_hash, made, format, minor })
    };
    // Written again it must be the very same page: CRC and padding are checked with everything else.
    Ok(read().filter(|head| bytes.get(..ALIGN_BYTES) == Some(&*encode_segment_head(head))))
}

/// Whether the checksum fits that every version from 3 on has in one place.
fn is_whole(bytes: &[u8]) -> bool {
    let sum =
        bytes.split_at_checked(CHECKED_BYTES).and_then(|(checked, rest)| Some((checked, rest.first_chunk::<4>()?)));
    sum.is_some_and(|(checked, sum)| crc32c::crc32c(checked) == u32::from_le_bytes(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<u8> {
        let made = Some(Made { fingerprint: Fingerprint([7; 16]), segment_bytes: 1 << 20 });
        let (format, minor) = (RecordFormat::Four, stored::MINOR);
        encode_segment_head(&SegmentHead {
            seq: 1,
            first_lsn: Lsn(1),
            prev_seal_offset: 0,
            prev_hash: [0; 32],
            made,
            format,
            minor,
        })
    }

    #[test]
    fn a_later_builds_header_is_told_from_a_damaged_one() {
        for at in 0..CHECKED_BYTES + 4 {
            let mut damaged = page();
            damaged[at] ^= 0x11;
            assert_eq!(decode_segment_head(&damaged), Ok(None), "byte {at}");
        }
        for (at, what) in [(8, "version"), (10, "minor")] {
            let mut later = page();
            later[at] += 1;
            let sum = crc32c::crc32c(&later[..CHECKED_BYTES]).to_le_bytes();
            later[CHECKED_BYTES..CHECKED_BYTES + 4].copy_from_slice(&sum);
            let refused = decode_segment_head(&later).expect_err(what).to_string();
            assert!(refused.contains("use the build that wrote it, or a later one"), "{refused}");
        }
    }
}
