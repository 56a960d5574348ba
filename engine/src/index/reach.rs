//! The INDEXED file: the furthest entry the index ever reached, and the run that is being built (P5).
//!
//! ```text
//! arus-indexed 1
//! data   32 hexadecimal digits: the data directory's fingerprint
//! upto   LSN BLOCK_HASH
//! run    LSN
//! check  16 hexadecimal digits
//! ```
//! Written and synced before a run's first row, it outlives the index: a journal that ends before `upto` has lost
//! entries that were acknowledged, whatever became of the index. And a table that is ahead of the watermark is known to
//! be so by the run that a crash interrupted.

use std::{io, path::PathBuf};

use super::Watermark;
use crate::{
    checked_text::{self, checked, with_check},
    keys::Fingerprint,
    money::Lsn,
};

const LINE: &str = "arus-indexed 1";

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The furthest entry and its block.
    pub upto: Watermark,
    /// The last entry of the run that was begun last.
    pub run: Lsn,
}

/// The file.
#[derive(Debug, Clone)]
pub struct ReachFile {
    path: PathBuf,
    fingerprint: Fingerprint,
}

/// Why the file is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The operating system said no.
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// Not what was written.
    #[error("{0} is damaged: {1}")]
    Damaged(PathBuf, &'static str),
    /// It belongs to another data directory.
    #[error("{0} belongs to the data directory {1}, but FORMAT is that of {2}; put back the file that belongs here")]
    Foreign(PathBuf, String, Fingerprint),
}

impl ReachFile {
    /// The file of a data directory.
    pub fn new(path: PathBuf, fingerprint: Fingerprint) -> Self {
        Self { path, fingerprint }
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Reads it; `None` if there is none.
    pub fn read(&self) -> Result<Option<Reach>, ReachError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(self.damaged("it is no text")),
            Err(error) => return Err(ReachError::Io(self.path.clone(), error)),
        };
        let lines = checked(&text).ok_or_else(|| self.damaged("its check is not that of its lines"))?;
        let mut lines = lines.lines();
        if lines.next() != Some(LINE) {
            return Err(self.damaged("its first line is not arus-indexed 1"));
        }
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).map(str::trim);
        let data = field("data ").ok_or_else(|| self.damaged("it has no data line"))?;
        if data != self.fingerprint.to_string() {
            return Err(ReachError::Foreign(self.path.clone(), data.to_owned(), self.fingerprint));
        }
        let upto = field("upto ").and_then(|upto| upto.split_once(' ')).and_then(|(lsn, hash)| {
            Some(Watermark { lsn: Lsn(lsn.parse().ok()?), block_hash: blake3::Hash::from_hex(hash).ok()?.into() })
        });
        let run = field("run ").and_then(|run| run.parse().ok()).map(Lsn);
        match (upto, run) {
            (Some(upto), Some(run)) => Ok(Some(Reach { upto, run })),
            (None, _) | (_, None) => Err(self.damaged("a line is not readable")),
        }
    }

    /// Reads it for a judgement that has the index as well: a damaged file proves nothing, and is as good as none.
    pub fn read_if_sound(&self) -> Result<Option<Reach>, ReachError> {
        match self.read() {
            Err(error @ ReachError::Damaged(..)) => {
                tracing::warn!(%error, "only the index says how far the journal must reach");
                Ok(None)
            }
            read => read,
        }
    }

    /// Replaces it, durably.
    pub fn write(&self, reach: &Reach) -> io::Result<()> {
        let Reach { upto: Watermark { lsn, block_hash }, run } = reach;
        let hash = blake3::Hash::from_bytes(*block_hash).to_hex();
        let text = format!("{LINE}\ndata {}\nupto {lsn} {hash}\nrun {run}\n", self.fingerprint);
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let unfinished = format!("{name}.tmp");
        checked_text::write(&folder.join(&unfinished), &with_check(&text))?;
        checked_text::rename(folder, &unfinished, name)
    }

    fn damaged(&self, what: &'static str) -> ReachError {
        ReachError::Damaged(self.path.clone(), what)
    }
}
