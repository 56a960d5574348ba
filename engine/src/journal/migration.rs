//! Writes the journal of an earlier format in this build's: lsns, ids, times and keys stay, block by block.

use std::sync::Arc;

use super::{
    Hash, Head, Journal, JournalError, JournalReader, Record,
    audit::{Walked, torn_bytes_of, walk_segments},
    disk::Disk,
    record::RecordFormat,
    recovery::{create, find, load_any},
    segment_head::Made,
};
use crate::{keys::Fingerprint, money::Lsn};

/// What a migrated journal follows: the last block of the one it was made of; `None` if it is not begun.
pub fn origin(disk: &dyn Disk) -> Result<Option<Hash>, JournalError> {
    Ok(load_any(disk)?.first().map(|segment| segment.head.prev_hash))
}

/// A journal of an earlier format.
pub struct OldJournal<'a> {
    disk: &'a dyn Disk,
    fingerprint: Fingerprint,
    /// How long its segments are, in bytes.
    pub segment_bytes: u64,
}

impl<'a> OldJournal<'a> {
    /// A journal of the data directory of `fingerprint`, of which everything is still to be checked.
    pub fn open(disk: &'a dyn Disk, fingerprint: Fingerprint) -> Result<Self, JournalError> {
        let segments = load_any(disk)?;
        let first = segments.first().ok_or(JournalError::NoSegment)?;
        if first.head.format == RecordFormat::Four {
            return Err(JournalError::Unfit("this journal has this build's format".into()));
        }
        Ok(Self { disk, fingerprint, segment_bytes: first.length()? })
    }

    /// Walks all of it. What was never synced behind its last block is left where it is.
    pub fn walk(&self) -> Result<Walked, JournalError> {
        walk_segments(&load_any(self.disk)?, self.fingerprint, |_, _| Ok(()))
    }

    /// How many bytes stand behind the end of a walk.
    pub fn torn_bytes(&self, walked: &Walked) -> Result<usize, JournalError> {
        torn_bytes_of(&load_any(self.disk)?, walked)
    }

    /// Appends what is missing to the new journal, which is begun if it is not there.
    pub fn write_to(&self, new: &Arc<dyn Disk>, made: Made, old_head: &Head) -> Result<(), JournalError> {
        if load_any(&**new)?.is_empty() {
            create(Arc::clone(new), made, old_head.hash)?;
        }
        let mut segments = find(Arc::clone(new), made.fingerprint)?.open(made.segment_bytes, Lsn(0))?.segments;
        let spare = segments.spare();
        let written = segments.head().lsn;
        let mut failed = None;
        let walked = walk_segments(&load_any(self.disk)?, self.fingerprint, |_, block| {
            if block.last_lsn() <= written {
                return Ok(());
            }
            let mut append = || {
                spare.prepare().map_err(|error| super::segment::io_error("spare.tmp", "create", &error))?;
                let records = block.entries.iter().map(|entry| Record::new(Arc::clone(entry)));
                let records = records.collect::<Result<Vec<_>, _>>();
                let records = records.map_err(|error| JournalError::Unfit(error.to_string()))?;
                let head = segments.head();
                segments.append(&head, &records, block.at)
            };
            append().map(drop).map_err(|error| {
                let said = error.to_string();
                failed = Some(error);
                said
            })
        });
        // What failed was the writing: the old journal is not to blame.
        match failed {
            Some(error) => Err(error),
            None => walked.map(drop),
        }
    }

    /// Looks for every entry of the old journal in the new one.
    pub fn compare(&self, new: &dyn JournalReader) -> Result<Walked, JournalError> {
        walk_segments(&load_any(self.disk)?, self.fingerprint, |_, block| {
            let there = new.block(block.first_lsn).map_err(|error| error.to_string())?;
            let (_, there) = there.ok_or_else(|| format!("lsn {} is not in the new journal", block.first_lsn))?;
            let is_same = there.first_lsn == block.first_lsn && there.at == block.at && there.entries == block.entries;
            if is_same { Ok(()) } else { Err(format!("the block at lsn {} is not the same", block.first_lsn)) }
        })
    }
}
