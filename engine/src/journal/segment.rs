//! One segment: its file, its name, and the block at an offset (P4).

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Hash, JournalError,
    disk::{Disk, DiskFile},
    record::{ALIGN_BYTES, BlockHead, crc_is_right, decode_head},
    segment_head::SegmentHead,
};
use crate::planted::{Bug, is_planted};

/// A segment's file name.
pub fn segment_name(seq: u32) -> String {
    format!("{seq:08}.seg")
}

/// A segment as the reader knows it.
pub(super) struct Segment {
    pub(super) head: SegmentHead,
    pub(super) file: Arc<dyn DiskFile>,
    /// Where it is sealed; `None` for the open one.
    pub(super) seal_offset: Option<u64>,
    /// The last block of entries before this segment: what its first block chains to, through the seal.
    pub(super) prev_block_hash: Hash,
}

impl Segment {
    pub(super) fn name(&self) -> String {
        segment_name(self.head.seq)
    }

    pub(super) fn sealed_at(&self, offset: u64) -> Self {
        let file = Arc::clone(&self.file);
        Self { head: self.head, file, seal_offset: Some(offset), prev_block_hash: self.prev_block_hash }
    }

    pub(super) fn length(&self) -> Result<u64, JournalError> {
        self.file.length().map_err(|error| io_error(&self.name(), "read", &error))
    }

    /// The name must still lead to the file that is open here: one that was removed or replaced keeps nothing.
    pub(super) fn check_is_ours(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let name = self.name();
        match (disk.identity(&name), self.file.identity()) {
            (Ok(there), Ok(here)) if there == here => Ok(()),
            (Ok(_), Ok(_)) => Err(JournalError::NotOurs { segment: name }),
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Err(JournalError::NotOurs { segment: name }),
            (Err(error), _) | (_, Err(error)) => Err(io_error(&name, "look-up", &error)),
        }
    }

    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> JournalError {
        JournalError::Corrupt { segment: self.name(), offset, what: what.into() }
    }

    /// The whole block at `offset`, checked by its CRC; `Ok(None)` if there is no valid block.
    pub(super) fn block_at(&self, offset: u64) -> Result<Option<(BlockHead, Vec<u8>)>, JournalError> {
        let failed = |error: io::Error| io_error(&self.name(), "read", &error);
        let len = self.file.length().map_err(failed)?;
        if offset + ALIGN_BYTES as u64 > len {
            return Ok(None);
        }
        let mut bytes = vec![0; ALIGN_BYTES];
        self.file.read_at(&mut bytes, offset).map_err(failed)?;
        let Some(head) = decode_head(&bytes).filter(|head| head.format == self.head.format) else { return Ok(None) };
        let whole = head.padded_bytes();
        if offset + whole as u64 > len {
            return Ok(None);
        }
        bytes.resize(whole, 0);
        if let Some(rest) = bytes.get_mut(ALIGN_BYTES..) {
            self.file.read_at(rest, offset + ALIGN_BYTES as u64).map_err(failed)?;
        }
        let is_whole = crc_is_right(&bytes, &head) || is_planted(Bug::TornBlockAccepted);
        Ok(is_whole.then_some((head, bytes)))
    }
}

pub(super) fn io_error(segment: &str, what: &'static str, error: &io::Error) -> JournalError {
    JournalError::Io { segment: segment.to_owned(), what, error: error.to_string() }
}

/// Nothing panics under these locks; a poisoned one still holds whole values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
