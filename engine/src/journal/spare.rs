//! The segment that comes next: zero-filled and synced before it is needed.
//!
//! A background thread calls [`Spare::prepare`]. The journal thread takes the file and gives it its name; whatever
//! fails on that way is tried again with admission closed, since nothing that was acknowledged depends on it.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Hash, JournalError,
    disk::{Disk, DiskFile},
    segment::{Segment, io_error, lock, segment_name},
    segment_head::{Made, SegmentHead, encode_segment_head},
};

/// The file that becomes the next segment.
const SPARE_NAME: &str = "spare.tmp";
/// How long the journal waits before it tries to begin a segment again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Spare {
    disk: Arc<dyn Disk>,
    pub(super) made: Made,
    state: Mutex<SpareState>,
    changed: Condvar,
    /// Held while the file is filled, so that nobody else makes it anew.
    filling: Mutex<()>,
}

#[derive(Default)]
struct SpareState {
    ready: Option<Arc<dyn DiskFile>>,
    /// Taken, but not yet renamed: its name must not be used again.
    taken: bool,
    /// The open segment is three quarters full.
    is_needed_soon: bool,
    /// The open segment is sealed, and the next could not be begun.
    is_overdue: bool,
    error: Option<String>,
    stopped: bool,
    /// How often a segment is tried to be begun before the journal gives up; without an end in service.
    tries_max: Option<u32>,
}

/// What [`Spare::wait_until_needed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareNeed {
    /// Prepare another.
    Needed,
    /// End the thread.
    Stopped,
}

impl Spare {
    pub(super) fn new(disk: Arc<dyn Disk>, made: Made) -> Arc<Self> {
        Arc::new(Self { disk, made, state: Mutex::default(), changed: Condvar::new(), filling: Mutex::default() })
    }

    /// Makes the next segment ready if it is not. Slow: it writes a whole segment.
    pub fn prepare(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.filling);
        let state = lock(&self.state);
        if state.ready.is_some() || state.taken {
            return Ok(());
        }
        drop(state);
        let created = self.disk.create(SPARE_NAME, self.made.segment_bytes);
        let mut state = lock(&self.state);
        match created {
            Ok(file) => {
                state.ready = Some(file);
                state.error = None;
                self.changed.notify_all();
                Ok(())
            }
            Err(error) => {
                state.error = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Waits until the spare was taken, or `stop` was called; says which.
    pub fn wait_until_needed(&self) -> SpareNeed {
        let mut state = lock(&self.state);
        while (state.ready.is_some() || state.taken) && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped { SpareNeed::Stopped } else { SpareNeed::Needed }
    }

    /// Ends [`Spare::wait_until_needed`] for good.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Gives up after so many tries to begin a segment, or never.
    pub fn give_up_after(&self, tries: Option<u32>) {
        lock(&self.state).tries_max = tries;
    }

    /// Why admission must close: the open segment is three quarters full and the next one is not ready.
    pub fn shortage(&self) -> Option<String> {
        let state = lock(&self.state);
        let missing = state.ready.is_none() && !state.taken;
        let late = state.is_overdue || (missing && state.is_needed_soon);
        late.then(|| state.error.clone().unwrap_or_else(|| "the next segment is still being written".into()))
    }

    /// How far the open segment is filled, of how many bytes.
    pub(super) fn note_fill(&self, filled: u64, bytes: u64) {
        lock(&self.state).is_needed_soon = filled.saturating_mul(4) >= bytes.saturating_mul(3);
    }

    /// Gives the spare file a header and its name, durably; tries until it works, unless the engine stops.
    pub(super) fn begin_segment(&self, head: SegmentHead, prev_block_hash: Hash) -> Result<Arc<Segment>, JournalError> {
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            match self.try_begin(&head) {
                Ok(file) => return Ok(Arc::new(Segment { head, file, seal_offset: None, prev_block_hash })),
                Err(error) => {
                    if tries == 1 {
                        tracing::warn!(%error, "the next journal segment cannot be begun; it is tried until it can");
                    }
                    let mut state = lock(&self.state);
                    (state.error, state.is_overdue) = (Some(error.to_string()), true);
                    match state.tries_max {
                        _ if state.stopped => return Err(error),
                        Some(max) if tries >= max => return Err(error),
                        // Whoever counts tries does not wait for somebody to make room.
                        Some(_) => continue,
                        None => {}
                    }
                }
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    fn try_begin(&self, head: &SegmentHead) -> Result<Arc<dyn DiskFile>, JournalError> {
        let name = segment_name(head.seq);
        self.prepare().map_err(|error| io_error(SPARE_NAME, "create", &error))?;
        let taken = {
            let mut state = lock(&self.state);
            state.taken = true;
            state.ready.take()
        };
        let begun = match taken {
            Some(file) => self.give_name(file, head, &name),
            None => Err(io_error(SPARE_NAME, "create", &io::ErrorKind::NotFound.into())),
        };
        let mut state = lock(&self.state);
        state.taken = false;
        if begun.is_ok() {
            (state.is_needed_soon, state.is_overdue) = (false, false);
        }
        self.changed.notify_all();
        begun
    }

    fn give_name(
        &self,
        file: Arc<dyn DiskFile>,
        head: &SegmentHead,
        name: &str,
    ) -> Result<Arc<dyn DiskFile>, JournalError> {
        // A file whose write or sync failed is not used again: it is dropped, and the next try makes another.
        file.write_at(&encode_segment_head(head), 0).map_err(|error| io_error(name, "write", &error))?;
        file.sync().map_err(|error| io_error(name, "sync", &error))?;
        // Another file in its place would become a segment that nobody wrote.
        let there = self.disk.identity(SPARE_NAME).map_err(|error| io_error(SPARE_NAME, "look-up", &error))?;
        if file.identity().map_err(|error| io_error(SPARE_NAME, "look-up", &error))? != there {
            return Err(JournalError::NotOurs { segment: SPARE_NAME.to_owned() });
        }
        self.disk.rename(SPARE_NAME, name).map_err(|error| io_error(name, "rename", &error))?;
        Ok(file)
    }
}
