//! Objects in memory, found by id (P13): payments and reservations that commands are about.
//!
//! Whoever has an object's turn finds its latest entry here, reads it once if nobody did, and puts the next one in its
//! place when that is handed over. A handle pins the object: it leaves memory only when nobody has one, and everything
//! about it is in tail or index by then.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::{
    ledger::entry::Committed,
    money::{OpId, TenantId},
};

/// An object, by tenant and id.
pub type ObjectKey = (TenantId, OpId);
/// A pinned object.
pub type ObjectRef = Arc<ObjectHandle>;

/// An object in memory.
pub struct ObjectHandle {
    key: ObjectKey,
    /// Its latest entry, once that was read.
    latest: Mutex<Option<Committed>>,
    /// Used since the last sweep.
    used: AtomicBool,
}

impl ObjectHandle {
    /// Which it is.
    pub fn key(&self) -> ObjectKey {
        self.key
    }

    /// Its latest entry, if somebody read it.
    pub fn latest(&self) -> Option<Committed> {
        self.known().clone()
    }

    /// What was read of it; nothing if it is known by now.
    pub fn learn(&self, read: Committed) {
        self.known().get_or_insert(read);
    }

    /// An entry is durable: the object's next, if it is about this.
    pub fn apply(&self, committed: Committed) {
        if committed.entry.objects().any(|object| object == self.key.1) {
            *self.known() = Some(committed);
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Committed>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ObjectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({})", self.key.1)
    }
}

/// See the module.
pub struct Objects {
    handles: DashMap<ObjectKey, ObjectRef, RandomState>,
    resident_max: usize,
}

impl Objects {
    /// None yet; about so many stay in memory.
    pub fn new(resident_max: usize) -> Self {
        Self { handles: DashMap::default(), resident_max }
    }

    /// A handle on an object that may be there.
    pub fn pin(&self, key: ObjectKey) -> ObjectRef {
        if let Some(handle) = self.handles.get(&key) {
            handle.used.store(true, Ordering::Relaxed);
            return Arc::clone(&handle);
        }
        self.sweep();
        let new = || Arc::new(ObjectHandle { key, latest: Mutex::default(), used: AtomicBool::new(true) });
        Arc::clone(&self.handles.entry(key).or_insert_with(new))
    }

    /// Lets objects go that were not used since the last sweep: as many as are too many, once they are a few.
    fn sweep(&self) {
        let excess = self.handles.len().saturating_sub(self.resident_max);
        if excess > self.resident_max / 64 {
            let mut gone = 0;
            self.passivate(|handle| {
                let goes = !handle.used.swap(false, Ordering::Relaxed) && gone < excess;
                gone += usize::from(goes);
                goes
            });
        }
    }

    /// Lets those go that are chosen among those that nobody has a handle on.
    pub(crate) fn passivate(&self, mut goes: impl FnMut(&ObjectHandle) -> bool) {
        self.handles.retain(|_, handle| Arc::strong_count(handle) > 1 || !goes(handle));
    }
}
