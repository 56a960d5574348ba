//! Where a migration makes the new data directory, and where it keeps the old: beside it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::format::FILE;

/// The names.
pub(super) struct Places {
    /// The data directory.
    pub(super) data: PathBuf,
    /// What is made of it, until it is whole.
    pub(super) new: PathBuf,
    /// What it was, once it is replaced.
    pub(super) kept: PathBuf,
    /// What is kept no more, until all of it is deleted.
    pub(super) dropped: PathBuf,
}

impl Places {
    /// Beside where the path really leads: a link stays a link.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "it has no name; name it by its path");
        let data = match path.canonicalize() {
            Ok(data) => data,
            Err(_) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                parent.canonicalize()?.join(path.file_name().ok_or_else(no_name)?)
            }
        };
        let name = data.file_name().ok_or_else(no_name)?.to_string_lossy().into_owned();
        let beside = |what: &str| data.with_file_name(format!("{name}.{what}"));
        let [new, kept, dropped] = ["migrating", "before-migration", "before-migration.dropped"].map(beside);
        Ok(Self { new, kept, dropped, data })
    }

    /// Why no new data directory is made in this place, if a migration was stopped here, or what it made is lost.
    pub(super) fn objection(path: &Path) -> Option<String> {
        let at = Self::of(path).ok()?;
        let stopped = || {
            let is_there = at.new.exists() || at.kept.exists() || at.dropped.exists();
            is_there.then(|| "was not migrated to its end; run: arus migrate --data-dir DIR".to_owned())
        };
        at.lost().or_else(stopped)
    }

    /// What is lost, if a migration came to its end and what it made is gone.
    pub(super) fn lost(&self) -> Option<String> {
        let kept = [&self.kept, &self.dropped].into_iter().find(|kept| kept.exists())?;
        let is_gone = !self.data.join(FILE).exists() && !self.new.exists();
        is_gone.then(|| {
            format!(
                "was migrated, and what the migration made is gone: restore it from a backup. Only to go back to the state \
                 before the migration, without all that was acknowledged since: rename {} to it",
                kept.display()
            )
        })
    }
}
