//! Files as the journal needs them, behind a trait so that tests can lose writes.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder of fixed-length files. A file that is opened or created for writing belongs to its opener until it is
/// dropped: a second one is refused.
pub trait Disk: Send + Sync + 'static {
    /// Creates `name` with `len` zero bytes, durably (file and folder). Replaces what was there.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens `name`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames, durably; never over another file. After an error the file has its old name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Which file a name leads to.
    fn identity(&self, name: &str) -> io::Result<FileIdentity>;
    /// All names.
    fn list(&self) -> io::Result<Vec<String>>;
}

/// An open file; offsets in bytes.
pub trait DiskFile: Send + Sync {
    /// Reads exactly `buffer.len()` bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all; durable only after [`DiskFile::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all writes durable. After an error nobody knows what is: do not retry.
    fn sync(&self) -> io::Result<()>;
    /// The length.
    fn length(&self) -> io::Result<u64>;
    /// Which file this is, whatever its name.
    fn identity(&self) -> io::Result<FileIdentity>;
}

/// Tells files apart: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity(pub u64, pub u64);

/// A real folder.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    access: Access,
}

/// Whether files may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Write,
    /// Read only: beside a running server.
    ReadOnly,
}

impl RealDisk {
    /// Opens `folder`, which must be there.
    pub fn open(folder: &Path, access: Access) -> io::Result<Self> {
        std::fs::read_dir(folder)?;
        Ok(Self { folder: folder.to_owned(), access })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// What is written belongs to one process, whatever became of the LOCK file.
    fn lock(&self, file: &File) -> io::Result<()> {
        if self.access == Access::ReadOnly {
            return Ok(());
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another arus process writes to it; stop that one first")
            }
            TryLockError::Error(error) => error,
        })
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        const CHUNK_BYTES: usize = 1 << 20;
        let path = self.folder.join(name);
        // Another file, not the same one emptied: whoever has the old one open keeps it.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        self.lock(&file)?;
        // Written zeros, not a hole: later syncs then have no new extents to log, and a full disk shows here.
        let zeros = vec![0; CHUNK_BYTES];
        let mut at = 0;
        let filled = loop {
            let left = usize::try_from(len - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            if left == 0 {
                break file.sync_all();
            }
            match zeros.get(..left).map_or(Ok(()), |zeros| file.write_all_at(zeros, at)) {
                Ok(()) => at += left as u64,
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = filled {
            // A half-filled file only takes the space somebody else may need.
            std::fs::remove_file(&path).ok();
            return Err(error);
        }
        self.sync_folder()?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let write = self.access == Access::Write;
        let file = OpenOptions::new().read(true).write(write).open(self.folder.join(name))?;
        self.lock(&file)?;
        Ok(Arc::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&from, &to)?;
        // Whether the name is durable is unknown after an error, so it is taken back: a second try begins anew.
        self.sync_folder().inspect_err(|_| drop(std::fs::rename(&to, &from)))
    }

    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        std::fs::metadata(self.folder.join(name)).map(|file| FileIdentity(file.dev(), file.ino()))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.folder)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.metadata().map(|file| FileIdentity(file.dev(), file.ino()))
    }
}
