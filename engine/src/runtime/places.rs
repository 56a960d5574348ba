//! Where a migration makes the new data directory, and where it keeps the old: beside it.

use std::{
    io,
    path::{Path, PathBuf},
};

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

    /// Whether a migration was stopped, or is under way: then no new data directory is made in this place.
    pub(super) fn is_under_way(path: &Path) -> bool {
        Self::of(path).is_ok_and(|at| at.new.exists() || at.kept.exists())
    }
}
