//! A disk in memory with fault points: writes are lost at a crash unless they were synced, and syncs can fail.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    disk::{Disk, DiskFile, FileIdentity},
    record::ALIGN_BYTES,
};

/// Never reached: no fault is set.
const NO_FAULT: u64 = u64::MAX;

/// A shared folder in memory. Clones are the same folder.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Shared>);

struct Shared {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    faults: Arc<Faults>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { files: Mutex::default(), faults: Arc::new(Faults::default()) }
    }
}

struct Faults {
    syncs: AtomicU64,
    fail_from_sync: AtomicU64,
    fail_create: AtomicU64,
    fail_renames: AtomicU64,
    fail_writes: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            syncs: AtomicU64::new(0),
            fail_from_sync: AtomicU64::new(NO_FAULT),
            fail_create: AtomicU64::new(0),
            fail_renames: AtomicU64::new(0),
            fail_writes: AtomicU64::new(0),
        }
    }
}

struct MemoryFile {
    content: Mutex<Content>,
    faults: Arc<Faults>,
}

struct Content {
    /// What a crash leaves for sure.
    durable: Vec<u8>,
    /// What a reader sees.
    seen: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

impl Content {
    fn of(durable: Vec<u8>) -> Mutex<Self> {
        Mutex::new(Self { seen: durable.clone(), durable, unsynced: Vec::new() })
    }
}

impl MemoryDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many syncs were asked for so far.
    pub fn syncs(&self) -> u64 {
        self.0.faults.syncs.load(Ordering::SeqCst)
    }

    /// Makes sync number `n` (from 1) and all later ones fail.
    pub fn fail_from_sync(&self, n: u64) {
        self.0.faults.fail_from_sync.store(n, Ordering::SeqCst);
    }

    /// Makes every creation of a file fail, as on a full disk, or work again.
    pub fn set_full(&self, full: bool) {
        self.0.faults.fail_create.store(u64::from(full), Ordering::SeqCst);
    }

    /// Makes the next `n` renames fail.
    pub fn fail_renames(&self, n: u64) {
        self.0.faults.fail_renames.store(n, Ordering::SeqCst);
    }

    /// Makes the next `n` writes fail half-way: the first half of the bytes is written.
    pub fn fail_writes(&self, n: u64) {
        self.0.faults.fail_writes.store(n, Ordering::SeqCst);
    }

    /// The same bytes in files of their own.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.crash(|_, _| true)
    }

    /// Takes a file away, as somebody with a shell would.
    pub fn remove(&self, name: &str) {
        lock(&self.0.files).remove(name);
    }

    /// What a power cut leaves: synced bytes, and of the unsynced writes the pages `keep` says (file, page number).
    pub fn crash(&self, mut keep: impl FnMut(&str, u64) -> bool) -> Self {
        let after = Self::new();
        for (name, file) in lock(&self.0.files).iter() {
            let content = lock(&file.content);
            let mut durable = content.durable.clone();
            for (offset, bytes) in &content.unsynced {
                for (i, page) in bytes.chunks(ALIGN_BYTES).enumerate() {
                    let at = offset + (i * ALIGN_BYTES) as u64;
                    if keep(name, at / ALIGN_BYTES as u64) {
                        put(&mut durable, at, page);
                    }
                }
            }
            let faults = Arc::clone(&after.0.faults);
            let content = Content::of(durable);
            lock(&after.0.files).insert(name.clone(), Arc::new(MemoryFile { content, faults }));
        }
        after
    }

    /// Changes one durable byte, as a failing disk would.
    pub fn flip(&self, name: &str, offset: usize) {
        let files = lock(&self.0.files);
        let Some(mut content) = files.get(name).map(|file| lock(&file.content)) else { return };
        let Content { durable, seen, .. } = &mut *content;
        for byte in [durable.get_mut(offset), seen.get_mut(offset)].into_iter().flatten() {
            *byte ^= 0xff;
        }
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        if self.0.faults.fail_create.load(Ordering::SeqCst) != 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let durable = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let content = Content::of(durable);
        let file = Arc::new(MemoryFile { content, faults: Arc::clone(&self.0.faults) });
        lock(&self.0.files).insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let files = lock(&self.0.files);
        let file = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if takes_one(&self.0.faults.fail_renames) {
            return Err(io::Error::other("injected rename failure"));
        }
        let mut files = lock(&self.0.files);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0.files).keys().cloned().collect())
    }

    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        lock(&self.0.files).get(name).ok_or(io::ErrorKind::NotFound)?.identity()
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = lock(&self.content);
        let bytes = content.seen.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fails = takes_one(&self.faults.fail_writes);
        let written = bytes.get(..bytes.len() / 2).filter(|_| fails).unwrap_or(bytes);
        let mut content = lock(&self.content);
        put(&mut content.seen, offset, written);
        content.unsynced.push((offset, written.to_vec()));
        if fails { Err(io::Error::other("injected write failure")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let n = self.faults.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if n >= self.faults.fail_from_sync.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected sync failure"));
        }
        let mut content = lock(&self.content);
        let unsynced = std::mem::take(&mut content.unsynced);
        for (at, bytes) in unsynced {
            put(&mut content.durable, at, &bytes);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.content).durable.len() as u64)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity(0, std::ptr::from_ref(self).addr() as u64))
    }
}

/// Whether a fault that is to happen some more times happens now.
fn takes_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn put(target: &mut [u8], offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    if let Some(place) = start.checked_add(bytes.len()).and_then(|end| target.get_mut(start..end)) {
        place.copy_from_slice(bytes);
    }
}

/// A poisoned lock here means a test already failed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
