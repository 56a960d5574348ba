//! `arus migrate`: a data directory of an earlier format becomes one of this build's, and is kept.
//!
//! The new one is made beside the old (`DIR.migrating`), compared entry by entry, and only then are names changed: the
//! old is `DIR.before-migration` from then on. Whatever stops it on the way, a second call goes on.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    data_dir::{DataDir, INDEXED, make_folder},
    format::{FILE, Format, FormatOf},
    recovery::StartError,
};
use crate::{
    index::{
        Watermark,
        reach::{Reach, ReachFile},
    },
    journal::{
        JournalError,
        audit::Walked,
        disk::{Access, Disk, RealDisk},
        migration::OldJournal,
        recovery::open_read_only,
        segment_head::Made,
    },
    keys::KeyHasher,
    money::Lsn,
};

/// What was migrated.
#[derive(Debug)]
pub struct Migrated {
    /// What the old journal held, and the new one holds.
    pub walked: Walked,
    /// Where the old data directory is now.
    pub kept: PathBuf,
}

/// See the module.
pub fn migrate(path: &Path) -> Result<Migrated, StartError> {
    let at = Paths::of(path)?;
    if !at.old.exists() && at.new.join(FILE).exists() && at.kept.exists() {
        // Stopped between the two renames.
        let old = Old::open(&at.kept)?;
        let walked = old.compare(&at.new)?;
        return at.finish(walked);
    }
    let old = Old::open(&at.old)?;
    if at.kept.exists() {
        let why = format!("an earlier migration's old data is there: {}; move it away first", at.kept.display());
        return Err(refused(path, why));
    }
    let walked = old.check(path)?;
    make_folder(&at.new).map_err(|error| refused(&at.new, error))?;
    let _new_is_ours = DataDir::lock(&at.new)?;
    old.write_to(&at.new, &walked)?;
    let walked = old.compare(&at.new)?;
    let (_, head) = open_read_only(&old.disk_of(&at.new)?, old.hasher.fingerprint())?;
    if head.lsn != walked.head.lsn {
        let why = format!("ends at lsn {}, the old journal at {}; move it away", head.lsn, walked.head.lsn);
        return Err(refused(&at.new, why));
    }
    // Whatever of it is lost from here on is found out.
    let reach = ReachFile::new(at.new.join(INDEXED), old.hasher.fingerprint());
    let upto = Watermark { lsn: head.lsn, block_hash: head.hash };
    reach.write(&Reach { upto, run: Lsn(0) }).map_err(|error| refused(&at.new, error))?;
    if !at.new.join(FILE).exists() {
        Format::finish(&at.new).map_err(|error| refused(&at.new, error))?;
    }
    std::fs::rename(&at.old, &at.kept).map_err(|error| refused(&at.old, error))?;
    at.finish(walked)
}

/// Deletes the data directory that a migration kept, once all of it is in the new one.
pub fn drop_old(path: &Path) -> Result<Migrated, StartError> {
    let at = Paths::of(path)?;
    if !at.kept.exists() {
        return Err(refused(path, format!("there is no {}: nothing was kept", at.kept.display())));
    }
    let walked = Old::open(&at.kept)?.compare(&at.old)?;
    std::fs::remove_dir_all(&at.kept).map_err(|error| refused(&at.kept, error))?;
    Ok(Migrated { walked, kept: at.kept })
}

/// The three names.
struct Paths {
    old: PathBuf,
    new: PathBuf,
    kept: PathBuf,
}

impl Paths {
    fn of(path: &Path) -> Result<Self, StartError> {
        let name = path.file_name().ok_or_else(|| refused(path, "it has no name; name it by its path"))?;
        let beside = |what: &str| path.with_file_name(format!("{}.{what}", name.to_string_lossy()));
        Ok(Self { old: path.to_owned(), new: beside("migrating"), kept: beside("before-migration") })
    }

    fn finish(self, walked: Walked) -> Result<Migrated, StartError> {
        std::fs::rename(&self.new, &self.old).map_err(|error| refused(&self.new, error))?;
        let parent = self.old.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| refused(parent, error))?;
        Ok(Migrated { walked, kept: self.kept })
    }
}

/// A data directory of before.
struct Old {
    path: PathBuf,
    hasher: KeyHasher,
    disk: RealDisk,
    _lock: File,
}

impl Old {
    fn open(path: &Path) -> Result<Self, StartError> {
        let text = std::fs::read_to_string(path.join(FILE));
        let text = text.map_err(|error| refused(path, format!("has no readable FORMAT file: {error}")))?;
        let hasher = match FormatOf::parse(&text).map_err(|why| refused(path, why))? {
            FormatOf::Before(hasher) => hasher,
            FormatOf::Now(_) => return Err(refused(path, "has this build's format already; nothing is to be done")),
        };
        let lock = DataDir::lock(path)?;
        let disk = RealDisk::open(&path.join("journal"), Access::ReadOnly).map_err(|error| refused(path, error))?;
        Ok(Self { path: path.to_owned(), hasher, disk, _lock: lock })
    }

    fn journal(&self) -> Result<OldJournal<'_>, StartError> {
        Ok(OldJournal::open(&self.disk, self.hasher.fingerprint())?)
    }

    /// All of it, which must reach as far as its index ever did.
    fn check(&self, path: &Path) -> Result<Walked, StartError> {
        let walked = self.journal()?.walk()?;
        let reach = ReachFile::new(path.join(INDEXED), self.hasher.fingerprint()).read()?;
        match reach.map(|reach| reach.upto.lsn).filter(|proven| *proven > walked.head.lsn) {
            Some(proven) => Err(JournalError::Lost { ends: walked.head.lsn, proven }.into()),
            None => Ok(walked),
        }
    }

    fn write_to(&self, new: &Path, walked: &Walked) -> Result<(), StartError> {
        let (journal, fingerprint) = (self.journal()?, self.hasher.fingerprint());
        make_folder(&new.join("journal")).map_err(|error| refused(new, error))?;
        if !new.join(FILE).exists() {
            let format = Format { hasher: self.hasher, slots_from: Lsn(walked.head.lsn.0 + 1) };
            format.write_unfinished(new).map_err(|error| refused(new, error))?;
        }
        let disk = RealDisk::open(&new.join("journal"), Access::Write).map_err(|error| refused(new, error))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let made = Made { fingerprint, segment_bytes: journal.segment_bytes };
        Ok(journal.write_to(&disk, made, &walked.head)?)
    }

    fn disk_of(&self, new: &Path) -> Result<RealDisk, StartError> {
        RealDisk::open(&new.join("journal"), Access::ReadOnly).map_err(|error| refused(&self.path, error))
    }

    fn compare(&self, new: &Path) -> Result<Walked, StartError> {
        let (reader, _) = open_read_only(&self.disk_of(new)?, self.hasher.fingerprint())?;
        Ok(self.journal()?.compare(&reader)?)
    }
}

fn refused(path: &Path, why: impl ToString) -> StartError {
    StartError::DataDir { path: path.display().to_string(), why: why.to_string() }
}
