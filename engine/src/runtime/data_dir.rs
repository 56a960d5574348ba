//! The data directory: who may use it, which format it has, where journal and index lie.
//!
//! ```text
//! LOCK     held by the one process that writes
//! FORMAT   the format and the secret that keys are hashed with (see `format`)
//! journal/ segments, the truth
//! index/   an index of it; may be deleted while the server is down
//! INDEXED  how far the index ever reached: the journal must reach as far (see `index::reach`)
//! DAMAGED  what a server met that was not what it had been (see `damage`): the next start walks the whole journal
//! ```

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    format::{FILE, Format, UNFINISHED_FILE},
    places::Places,
    recovery::StartError,
};
use crate::{
    index::{
        Watermark,
        reach::{Reach, ReachFile},
    },
    journal::{
        Head,
        disk::{Access, RealDisk},
        recovery as journal_recovery,
        segment_head::Made,
    },
    keys::KeyHasher,
    money::Lsn,
};

/// The file that says how far the index ever reached.
pub const INDEXED: &str = "INDEXED";
/// A fresh ext4 volume has it, wherever it is mounted.
const LOST_AND_FOUND: &str = "lost+found";

/// Whether somebody else has the data directory open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// A server does.
    Server,
    /// Nobody does.
    NoServer,
}

/// An opened data directory; the lock is held until it is dropped.
pub struct DataDir {
    path: PathBuf,
    format: Format,
    _lock: Option<File>,
}

impl DataDir {
    /// Opens for writing. Where there is nothing a new one is made, with a journal in segments of `segment_bytes`; where
    /// there is something, nothing that is missing is made up for. A second process is refused.
    pub fn open(path: &Path, segment_bytes: u64) -> Result<Self, StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        // Before anything is made: the name is the migration's to give.
        if let Some(why) = Places::objection(path).filter(|_| !path.join(FILE).exists()) {
            return Err(error(why));
        }
        make_folder(path).map_err(|e| error(format!("cannot be created: {e}")))?;
        check_kinds(path)?;
        let lock = Self::lock(path)?;
        let is_there = |name: &str| path.join(name).try_exists().map_err(|e| error(format!("cannot be read: {e}")));
        if !is_there(FILE)? {
            let begun: &[&str] =
                if is_there(UNFINISHED_FILE)? { &[UNFINISHED_FILE, "journal", INDEXED, "INDEXED.tmp"] } else { &[] };
            let names = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let names = names.map_err(|e| error(format!("cannot be read: {e}")))?;
            let is_ours = |name: &str| ["LOCK", LOST_AND_FOUND].contains(&name) || begun.contains(&name);
            let mut names = names.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
            if let Some(name) = names.find(|name| !is_ours(name)) {
                return Err(error(format!(
                    "has no FORMAT file, and is not empty: {name} is there. If it held payments, restore FORMAT, with which \
                     keys are hashed; a new data directory is made where there is nothing"
                )));
            }
            create(path, segment_bytes).map_err(|e| error(format!("cannot be made: {e}")))?;
        }
        Self::read(path, Some(lock))
    }

    /// Opens for writing what is there, as it is.
    pub fn open_existing(path: &Path) -> Result<Self, StartError> {
        Self::read(path, None)?;
        let lock = Self::lock(path)?;
        Self::read(path, Some(lock))
    }

    pub(super) fn lock(path: &Path) -> Result<File, StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join("LOCK"));
        let lock = lock.map_err(|e| error(format!("cannot be written: {e}")))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                Err(error("is in use by another arus process; stop it or choose another directory".into()))
            }
            Err(TryLockError::Error(e)) => Err(error(format!("cannot be locked: {e}"))),
        }
    }

    /// Opens for reading only and creates nothing. Says whether a server is running on it; if none is, none can start
    /// until this is dropped, so the index may be opened too.
    pub fn open_read_only(path: &Path) -> Result<(Self, Beside), StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        let dir = Self::read(path, None)?;
        let lock = File::open(path.join("LOCK")).map_err(|e| {
            let to_do =
                "once no server runs on it, make an empty file of that name in it (or start and stop arus serve)";
            error(format!("its LOCK file cannot be opened: {e}; {to_do}"))
        })?;
        match lock.try_lock() {
            Ok(()) => Ok((Self { _lock: Some(lock), ..dir }, Beside::NoServer)),
            Err(TryLockError::WouldBlock) => Ok((dir, Beside::Server)),
            Err(TryLockError::Error(e)) => Err(error(format!("cannot be locked: {e}"))),
        }
    }

    fn read(path: &Path, lock: Option<File>) -> Result<Self, StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        check_kinds(path)?;
        let mut text = String::new();
        let read = File::open(path.join(FILE)).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|e| error(format!("is not an arus data directory (no readable FORMAT file: {e})")))?;
        let format = Format::parse(&text).map_err(error)?;
        Ok(Self { path: path.to_owned(), format, _lock: lock })
    }

    /// Sets aside whatever says that the journal reached further than its end now, or that something was damaged; says
    /// where it is now. From here on the journal must reach as far as it does.
    pub fn accept_loss(&self, end: &Head) -> Result<Vec<PathBuf>, StartError> {
        let mut kept = Vec::new();
        for path in [self.index(), self.indexed(), self.damaged()].into_iter().filter(|path| path.exists()) {
            let aside = aside_name(&path, &format!("lost-after-{}", end.lsn));
            let renamed = aside.and_then(|aside| std::fs::rename(&path, &aside).map(|()| aside));
            kept.push(
                renamed.map_err(|e| StartError::DataDir { path: path.display().to_string(), why: e.to_string() })?,
            );
        }
        self.reaches(end)?;
        Ok(kept)
    }

    /// Says that the journal reaches as far as this: one that ends before has lost something.
    fn reaches(&self, end: &Head) -> Result<(), StartError> {
        let upto = Watermark { lsn: end.lsn, block_hash: end.hash };
        let written = ReachFile::new(self.indexed(), self.hasher().fingerprint()).write(&Reach { upto, run: Lsn(0) });
        written.map_err(|e| StartError::DataDir { path: self.indexed().display().to_string(), why: e.to_string() })
    }

    /// How keys are hashed here.
    pub fn hasher(&self) -> KeyHasher {
        self.format.hasher
    }

    /// Where the segments are.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the indexes are.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// The file that says what damage a server met.
    pub fn damaged(&self) -> PathBuf {
        self.path.join("DAMAGED")
    }

    /// The file that says how far the index ever reached.
    pub fn indexed(&self) -> PathBuf {
        self.path.join(INDEXED)
    }
}

/// The first free name of the kind `index.set-aside-1`: what may prove something is never deleted.
pub(super) fn aside_name(path: &Path, what: &str) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut names = (1_u32..).map(|n| path.with_file_name(format!("{name}.{what}-{n}")));
    let free = names.find_map(|name| match name.try_exists() {
        Ok(true) => None,
        Ok(false) => Some(Ok(name)),
        Err(error) => Some(Err(error)),
    });
    free.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))
}

/// A journal without an entry, then FORMAT: without that file there is no data directory yet, and a start that was cut
/// short begins anew.
fn create(path: &Path, segment_bytes: u64) -> Result<(), Box<dyn std::error::Error>> {
    // A segment that an earlier try left was made with that try's secret.
    let left = std::fs::read_to_string(path.join(UNFINISHED_FILE)).ok();
    let format = match left.and_then(|text| Format::parse(&text).ok()) {
        Some(format) => format,
        None => {
            let format = Format::new(Lsn(1));
            format.write_unfinished(path)?;
            format
        }
    };
    let journal = path.join("journal");
    make_folder(&journal)?;
    let disk = Arc::new(RealDisk::open(&journal, Access::Write)?);
    let fingerprint = format.hasher.fingerprint();
    journal_recovery::create(disk, Made { fingerprint, segment_bytes }, Head::EMPTY.hash)?;
    DataDir { path: path.to_owned(), format, _lock: None }.reaches(&Head::EMPTY)?;
    Ok(Format::finish(path)?)
}

/// Payments are nobody else's business on this machine.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Nothing here is a pipe or a device, which a read may wait for without end, and no folder stands in a segment's place.
fn check_kinds(path: &Path) -> Result<(), StartError> {
    let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
    for (folder, has_folders) in [(path.to_owned(), true), (path.join("journal"), false)] {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(error(format!("cannot be read: {e}"))),
        };
        for entry in entries {
            let entry = entry.map_err(|e| error(format!("cannot be read: {e}")))?;
            let may_be_folder = has_folders || entry.file_name() == LOST_AND_FOUND;
            let kind = entry.path().metadata().map_err(|e| error(format!("cannot be read: {e}")))?;
            if !(kind.is_file() || kind.is_dir() && may_be_folder) {
                let name = entry.path().strip_prefix(path).unwrap_or(&entry.path()).display().to_string();
                return Err(error(format!("{name} is no file; put back the one that was there, or take it away")));
            }
        }
    }
    Ok(())
}
