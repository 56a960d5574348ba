//! The index for tools that only read: the store writes even when it is only opened, so it is opened on a copy.
//!
//! Tables never change once written, so they are linked where the file system allows; all else is small and copied.

use std::{io, path::Path, sync::Arc};

use anyhow::Context;
use arus_engine::{
    index::{
        fjall::{FjallIndex, Located},
        reach::ReachFile,
    },
    runtime::data_dir::DataDir,
};
use tempfile::TempDir;

/// Memory for the index while it is read, in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// The folders of files that never change.
const TABLES: &str = "tables";

/// An index opened on a copy, which goes when this is dropped.
pub struct IndexCopy {
    /// The index.
    pub index: FjallIndex,
    copy: TempDir,
}

impl IndexCopy {
    /// Copies and opens the index of a data directory; nothing in it changes. No server may run on it.
    pub fn open(dir: &DataDir) -> anyhow::Result<Self> {
        let copy = temporary_folder(&dir.index())?;
        let at = located(dir, copy.path());
        let folder = dir.index();
        copy_folder(&folder, &at.folder).with_context(|| format!("{} cannot be copied", folder.display()))?;
        let reach = ReachFile::new(dir.indexed(), dir.hasher().fingerprint()).read_if_sound()?;
        Ok(Self { index: FjallIndex::open(at, reach)?, copy })
    }

    /// An empty one, to be built from the journal.
    pub fn empty(dir: &DataDir) -> anyhow::Result<Self> {
        let copy = temporary_folder(&dir.index())?;
        Ok(Self { index: FjallIndex::create(located(dir, copy.path()), None)?, copy })
    }

    /// The index and the folder, which goes when it is dropped.
    pub fn into_parts(self) -> (FjallIndex, TempDir) {
        (self.index, self.copy)
    }
}

fn located(dir: &DataDir, folder: &Path) -> Located {
    let fingerprint = dir.hasher().fingerprint();
    Located {
        folder: folder.join("index"),
        reach: ReachFile::new(folder.join("INDEXED"), fingerprint),
        fingerprint,
        cache_bytes: CACHE_BYTES,
        damage: Arc::default(),
    }
}

fn temporary_folder(index: &Path) -> anyhow::Result<TempDir> {
    // An image that has nothing but the binary has no folder for what is temporary.
    let beside = || TempDir::new_in(index.parent().unwrap_or(index));
    let copy = TempDir::new().or_else(|_| beside());
    copy.context("a temporary folder for a copy of the index cannot be made; TMPDIR names another place")
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let never_changes = from.file_name().is_some_and(|name| name == TABLES);
    for item in std::fs::read_dir(from)? {
        let item = item?;
        let target = to.join(item.file_name());
        if item.file_type()?.is_dir() {
            copy_folder(&item.path(), &target)?;
        } else if !never_changes || std::fs::hard_link(item.path(), &target).is_err() {
            // Another file system, or links are forbidden there.
            std::fs::copy(item.path(), &target)?;
        }
    }
    Ok(())
}
