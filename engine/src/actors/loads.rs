//! One load per key at a time: everybody else who wants the key waits for it, boundedly.
//!
//! While a key is loading it is never passivated, so what a load read cannot have become old when it is put in place.

use std::hash::Hash;

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::{OverloadReason, Refusal};

/// How many callers may wait for one load.
const WAITERS_MAX: usize = 1_024;

/// What a load gives.
pub(super) type Loaded<T> = Result<T, Refusal>;

/// Loads under way.
pub(super) struct Loads<K, T>(DashMap<K, Vec<oneshot::Sender<Loaded<T>>>, RandomState>);

/// Whether a caller is the one to start the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// It is.
    First,
    /// Somebody did.
    Later,
}

impl<K: Eq + Hash + Clone, T: Clone> Loads<K, T> {
    pub(super) fn new() -> Self {
        Self(DashMap::default())
    }

    /// Joins the load of a key. The guard is gone when this returns.
    pub(super) fn join(&self, key: &K) -> Result<(oneshot::Receiver<Loaded<T>>, Join), Refusal> {
        let (sender, receiver) = oneshot::channel();
        match self.0.entry(key.clone()) {
            Slot::Occupied(mut slot) => {
                if slot.get().len() >= WAITERS_MAX {
                    return Err(Refusal::overloaded(OverloadReason::Loads));
                }
                slot.get_mut().push(sender);
                Ok((receiver, Join::Later))
            }
            Slot::Vacant(slot) => {
                slot.insert(vec![sender]);
                Ok((receiver, Join::First))
            }
        }
    }

    /// Ends the load of a key and tells all who wait.
    pub(super) fn end(&self, key: &K, loaded: &Loaded<T>) {
        if let Some((_, waiters)) = self.0.remove(key) {
            for waiter in waiters {
                // A waiter that went away needs no answer.
                let _ = waiter.send(loaded.clone());
            }
        }
    }

    /// Whether a key is loading.
    pub(super) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
}
