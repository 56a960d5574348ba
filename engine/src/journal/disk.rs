//! Files as the journal needs them, behind a trait so that tests can lose writes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder of fixed-length files.
pub trait Disk: Send + Sync + 'static {
    /// Creates `name` with `len` zero bytes, durably (file and folder). Replaces what was there.
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens `name`.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames, durably.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
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
}

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
    /// Opens `folder`, creating it if it may be written.
    pub fn open(folder: &Path, access: Access) -> io::Result<Self> {
        if access == Access::Write {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self { folder: folder.to_owned(), access })
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        const CHUNK_BYTES: usize = 1 << 20;
        let path = self.folder.join(name);
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
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
        Ok(Arc::new(OpenOptions::new().read(true).write(write).open(self.folder.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))?;
        self.sync_folder()
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
}
