//! The data directory: who may use it, which format it has, where journal and index lie.
//!
//! ```text
//! LOCK     held by the one process that writes
//! FORMAT   "arus-data 1" and the secret that keys are hashed with
//! journal/ segments, the truth
//! index/   an index of it; may be deleted while the server is down
//! ```

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{clock::random_u64, idempotency::KeyHasher, recovery::StartError};

const FORMAT_LINE: &str = "arus-data 1";

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
    hasher: KeyHasher,
    _lock: Option<File>,
}

impl DataDir {
    /// Opens for writing, creating what is missing. A second process is refused.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        // Payments are nobody else's business on this machine.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| error(format!("cannot be created: {e}")))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("LOCK"));
        let lock = lock.map_err(|e| error(format!("cannot be written: {e}")))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(error("is in use by another arus process; stop it or choose another directory".into()));
            }
            Err(TryLockError::Error(e)) => return Err(error(format!("cannot be locked: {e}"))),
        }
        let format = path.join("FORMAT");
        let exists = format.try_exists().map_err(|e| error(format!("cannot be read: {e}")))?;
        if !exists && (path.join("journal").exists() || path.join("index").exists()) {
            return Err(error(
                "has a journal or an index but no FORMAT file; restore it: keys are hashed with it".into(),
            ));
        }
        if !exists {
            create_format(path, &format).map_err(|e| error(format!("cannot be initialised: {e}")))?;
        }
        Self::read(path, Some(lock))
    }

    /// Opens for reading only and creates nothing. Says whether a server is running on it; if none is, none can start
    /// until this is dropped, so the index may be opened too.
    pub fn open_read_only(path: &Path) -> Result<(Self, Beside), StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        let dir = Self::read(path, None)?;
        let lock = File::open(path.join("LOCK")).map_err(|e| error(format!("its LOCK file cannot be opened: {e}")))?;
        match lock.try_lock() {
            Ok(()) => Ok((Self { _lock: Some(lock), ..dir }, Beside::NoServer)),
            Err(TryLockError::WouldBlock) => Ok((dir, Beside::Server)),
            Err(TryLockError::Error(e)) => Err(error(format!("cannot be locked: {e}"))),
        }
    }

    fn read(path: &Path, lock: Option<File>) -> Result<Self, StartError> {
        let error = |why: String| StartError::DataDir { path: path.display().to_string(), why };
        let mut text = String::new();
        let read = File::open(path.join("FORMAT")).and_then(|mut file| file.read_to_string(&mut text));
        read.map_err(|e| error(format!("is not an arus data directory (no readable FORMAT file: {e})")))?;
        let mut lines = text.lines();
        let format = lines.next().unwrap_or_default();
        if format != FORMAT_LINE {
            return Err(error(format!("has format {format:?}, this build reads {FORMAT_LINE:?}")));
        }
        let secret = lines.next().and_then(|line| line.strip_prefix("key "));
        let secret = secret.and_then(|hex| u128::from_str_radix(hex, 16).ok());
        let secret = secret.ok_or_else(|| error("has a damaged FORMAT file: its key line is not readable".into()))?;
        Ok(Self { path: path.to_owned(), hasher: KeyHasher(secret.to_be_bytes()), _lock: lock })
    }

    /// How keys are hashed here.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Where the segments are.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the indexes are.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }
}

fn create_format(path: &Path, format: &Path) -> std::io::Result<()> {
    let temporary = path.join("FORMAT.tmp");
    // It holds the secret that keys are hashed with.
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{FORMAT_LINE}\nkey {:016x}{:016x}", random_u64(), random_u64())?;
    file.sync_all()?;
    std::fs::rename(temporary, format)?;
    File::open(path)?.sync_all()
}
