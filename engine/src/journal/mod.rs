//! The journal: append-only, hash-chained commit blocks; the truth everything else is an index of (P4).
//!
//! [`record`] is the byte picture, [`segment_head`] and [`segments`] the files, [`spare`] the file that comes next, [`recovery`] what opening them checks, [`tail`] what is
//! committed and not yet indexed. Only [`writer`] writes, on one thread. It never retries a sync and never guesses.

pub mod audit;
pub mod block;
pub mod disk;
mod format_2;
pub mod memory;
mod merkle;
pub mod migration;
pub mod record;
pub mod recovery;
pub mod segment;
pub mod segment_head;
pub mod segments;
pub mod spare;
mod stored;
pub mod tail;
pub mod writer;

use std::sync::Arc;

use crate::{
    keys::Fingerprint,
    ledger::{entry::Committed, time::Timestamp},
    money::Lsn,
};
pub use block::Block;
pub use merkle::Hash;
pub use record::{BlockHead, Record};

/// Where the journal ends: what the next block chains to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last entry.
    pub lsn: Lsn,
    /// The last block's hash.
    pub hash: Hash,
    /// The last block's time.
    pub at: Timestamp,
}

impl Head {
    /// Before the first block.
    pub const EMPTY: Self = Self { lsn: Lsn(0), hash: [0; 32], at: Timestamp(0) };
}

/// The narrow door to durable storage: one append outstanding, a block is durable when it returns.
///
/// An error poisons the journal for good: what reached the disk is unknown, and only recovery may find out.
pub trait Journal: Send {
    /// Appends one block of records, at least one, and syncs it. `expected` must be the current head.
    fn append(&mut self, expected: &Head, records: &[Record], at: Timestamp) -> Result<Head, JournalError>;
}

/// Reading what is durable; works beside the writer.
pub trait JournalReader: Send + Sync {
    /// The entry at `lsn`.
    fn read(&self, lsn: Lsn) -> Result<Committed, JournalError>;

    /// The block that holds `lsn`, or `None` behind the head.
    fn block(&self, lsn: Lsn) -> Result<Option<(BlockHead, Arc<Block>)>, JournalError>;
}

/// What can be wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The operating system said no.
    #[error("journal {segment}: {what} failed: {error}")]
    Io {
        /// The file.
        segment: String,
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: String,
    },
    /// Bytes that were durable are not what they were.
    #[error(
        "journal corrupt at {segment} offset {offset}: {what}; restore the data directory from a backup (arus restore)"
    )]
    Corrupt {
        /// The file.
        segment: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A format that this build does not know.
    #[error(
        "journal format {found}.{minor} is of another build; this one knows format {expected}.{}: use the build that \
         wrote it, or a later one",
        stored::MINOR
    )]
    Format {
        /// In the file.
        found: u16,
        /// In the file: the highest minor that a record needs.
        minor: u16,
        /// In this build.
        expected: u16,
    },
    /// A format of an earlier build.
    #[error("journal {segment} has the format of an earlier build; arus migrate writes the journal in this build's")]
    Old {
        /// The file.
        segment: String,
    },
    /// A segment of another data directory, or the data directory has another's FORMAT file.
    #[error(
        "journal {segment} belongs to the data directory {found}, but FORMAT is that of {expected}; put back the file \
         that belongs here (FORMAT or the segment)"
    )]
    Foreign {
        /// The file.
        segment: String,
        /// In the file.
        found: Fingerprint,
        /// Of FORMAT.
        expected: Fingerprint,
    },
    /// The folder has no segment: it is not mounted, or somebody emptied it.
    #[error(
        "the journal folder is not there or holds no segment, but this data directory had one; mount or restore it (a new data \
         directory is made where there is nothing at all)"
    )]
    NoSegment,
    /// Entries that were acknowledged are not in the journal any more.
    #[error(
        "the journal ends at lsn {ends}, but entries up to lsn {proven} were acknowledged and indexed: {} are lost. \
         Restore the journal's files from where they are whole. Only to go on without these entries: arus recover \
         --accept-loss-after {ends}, which lists them first",
        .proven.0 - .ends.0
    )]
    Lost {
        /// The journal's last entry.
        ends: Lsn,
        /// The last entry that was durable for sure.
        proven: Lsn,
    },
    /// The open segment's name leads to another file, or to none.
    #[error(
        "journal {segment} was removed or replaced while this server wrote to it: what it acknowledged since may be \
         lost; find out who did, and restore the file"
    )]
    NotOurs {
        /// The file.
        segment: String,
    },
    /// There is no such entry.
    #[error("there is no entry at lsn {0}")]
    NoEntry(Lsn),
    /// What was asked of a migration or a recovery cannot be done.
    #[error("journal: {0}")]
    Unfit(String),
    /// An earlier write or sync failed, or the head is not where the caller thinks.
    #[error("journal is poisoned by an earlier error: {0}")]
    Poisoned(String),
}
