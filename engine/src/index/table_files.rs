//! The files of the tables, each held against the checksum that the store wrote down when it made it (P5).
//!
//! The store itself looks at one block at a time, when it is read: a whole file that is older, or another directory's, is
//! sound in each of its blocks. What does not take long is checked before the index is used, the rest behind it.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

use fjall::{AbstractTree, Keyspace};
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    IndexError,
    unusable::{Unusable, condemn},
};
use crate::{damage::Damage, money::Lsn};

/// How much is checked before the index is used: about a second's reading.
const CHECKED_FIRST_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 1 << 20;

/// A file with the checksum it must have.
pub(super) struct TableFile {
    path: PathBuf,
    bytes: u64,
    checksum: u128,
    /// Files rise with time; the newest are read most.
    id: u64,
}

/// All files of some tables, the newest first.
fn files<'a>(tables: impl Iterator<Item = &'a Keyspace>) -> Vec<TableFile> {
    let mut files = Vec::new();
    for table in tables {
        for file in table.tree.current_version().iter_tables() {
            let path = table.path().join("tables").join(file.id().to_string());
            // A file that cannot be looked at is found out as it is read.
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            files.push(TableFile { path, bytes, checksum: file.checksum().into_u128(), id: file.id() });
        }
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.id));
    files
}

/// Checks the newest files; gives back those that are left for later.
pub(super) fn check_newest<'a>(tables: impl Iterator<Item = &'a Keyspace>) -> Result<Vec<TableFile>, Unusable> {
    let mut files = files(tables);
    let mut checked = 0;
    let later = files.iter().position(|file| {
        checked += file.bytes;
        checked > CHECKED_FIRST_BYTES
    });
    let later = files.split_off(later.unwrap_or(files.len()));
    files.iter().try_for_each(TableFile::check)?;
    Ok(later)
}

/// Checks the rest beside everything else.
pub(super) fn check_later(files: Vec<TableFile>, (folder, reaches): (PathBuf, Lsn), damage: Arc<Damage>) {
    if files.is_empty() {
        return;
    }
    let check = move || {
        for file in &files {
            // One that was merged away meanwhile is not read any more.
            if let Err(Unusable::Damaged { why, .. }) = file.check()
                && file.path.exists()
            {
                damage.report(&why);
                drop(condemn(&folder, &why, reaches));
                return;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("arus-index-check".into()).spawn(check) {
        tracing::warn!(%error, "the index's older files are not checked; arus verify checks them");
    }
}

impl TableFile {
    fn check(&self) -> Result<(), Unusable> {
        let refused = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Unusable::damaged(format!("the index has no file {}", self.path.display())),
            _ => Unusable::Unreadable(IndexError::store("table file", error)),
        };
        let mut file = File::open(&self.path).map_err(|error| refused(&error))?;
        let (mut hasher, mut chunk) = (Xxh3Default::new(), vec![0; CHUNK_BYTES]);
        loop {
            let read = file.read(&mut chunk).map_err(|error| refused(&error))?;
            if read == 0 {
                break;
            }
            hasher.update(chunk.get(..read).unwrap_or_default());
        }
        if hasher.digest128() == self.checksum {
            return Ok(());
        }
        Err(Unusable::damaged(format!("the index's file {} is not the one that was written", self.path.display())))
    }
}
