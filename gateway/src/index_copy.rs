//! The index for tools that only read: the store writes even when it is only opened, so it is opened on a copy.
//!
//! Tables never change once written, so they are linked where the file system allows; all else is small and copied.

use std::{io, path::Path};

use anyhow::Context;
use arus_engine::index::fjall::FjallIndex;
use tempfile::TempDir;

/// Memory for the index while it is read, in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// The folders of files that never change.
const TABLES: &str = "tables";

/// An index opened on a copy, which goes when this is dropped.
pub struct IndexCopy {
    /// The index.
    pub index: FjallIndex,
    _copy: TempDir,
}

impl IndexCopy {
    /// Copies and opens the index in `folder`; nothing in it changes. No server may run on it.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        // An image that has nothing but the binary has no folder for what is temporary.
        let beside = || TempDir::new_in(folder.parent().unwrap_or(folder));
        let copy = TempDir::new().or_else(|_| beside());
        let copy =
            copy.context("a temporary folder for a copy of the index cannot be made; TMPDIR names another place")?;
        copy_folder(folder, copy.path()).with_context(|| format!("{} cannot be copied", folder.display()))?;
        Ok(Self { index: FjallIndex::open(copy.path(), CACHE_BYTES)?, _copy: copy })
    }
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
