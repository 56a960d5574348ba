//! Why an index on disk is not used, and the note that says so to the next start.

use std::{io, path::Path};

use super::IndexError;
use crate::{checked_text, keys::Fingerprint, money::Lsn};

/// A file in the folder that says why the next start must build the index anew.
pub(super) const CONDEMNED_FILE: &str = "DAMAGED";

/// Why an index on disk is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The operating system said no, or another process has it: it may well be whole, so nothing is done to it.
    #[error(
        "the index cannot be opened: {0}; if its disk is damaged there, move the index folder away to have it rebuilt"
    )]
    Unreadable(IndexError),
    /// It is not what the journal made, and is to be built anew. `reaches` is the furthest entry that was found in it.
    #[error("{why}")]
    Damaged {
        /// What is wrong.
        why: String,
        /// As far as it could be read.
        reaches: Lsn,
    },
    /// It belongs to another data directory.
    #[error(
        "the index belongs to the data directory {found}, but FORMAT is that of {expected}; put back the one that \
         belongs here (an index that is not there is rebuilt)"
    )]
    Foreign {
        /// In the index.
        found: Fingerprint,
        /// Of FORMAT.
        expected: Fingerprint,
    },
}

impl Unusable {
    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged { why: why.into(), reaches: Lsn(0) }
    }

    /// Damage of an index that shows an entry as far as this.
    pub(super) fn reaching(self, lsn: Lsn) -> Self {
        match self {
            Self::Damaged { why, reaches } => Self::Damaged { why, reaches: reaches.max(lsn) },
            other => other,
        }
    }
}

/// Notes in the folder that the index is to be built anew by the next start, and how far it reached: that proves how far
/// the journal must.
pub(super) fn condemn(folder: &Path, why: &str, reaches: Lsn) -> io::Result<()> {
    checked_text::write(&folder.join(CONDEMNED_FILE), &format!("{why}\nreaches {reaches}\n"))
}

/// What such a note says.
pub(super) fn condemned(note: &str) -> Unusable {
    let (why, reaches) = note.trim_end().rsplit_once("\nreaches ").unwrap_or((note.trim_end(), ""));
    let why = format!("the index was found damaged while serving: {why}");
    Unusable::Damaged { why, reaches: reaches.parse().map_or(Lsn(0), Lsn) }
}
