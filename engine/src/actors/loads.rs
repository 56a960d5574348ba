//! One load per key at a time: everybody else who wants the key waits for it, boundedly.
//!
//! While a key is loading it is never passivated, so what a load read cannot have become old when it is put in place.

use std::hash::Hash;

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::refusal::{OverloadReason, Refusal};

/// What a load gives.
pub(super) type Loaded<T> = Result<T, Refusal>;

/// Loads under way.
pub(super) struct Loads<K, T> {
    under_way: DashMap<K, Vec<oneshot::Sender<Loaded<T>>>, RandomState>,
    waiters_max: usize,
}

/// Whether a caller is the one to start the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// It is.
    First,
    /// Somebody did.
    Later,
}

impl<K: Eq + Hash + Clone, T: Clone> Loads<K, T> {
    /// Nothing under way; so many callers may wait for one load.
    pub(super) fn new(waiters_max: usize) -> Self {
        Self { under_way: DashMap::default(), waiters_max }
    }

    /// Joins the load of a key. The guard is gone when this returns.
    pub(super) fn join(&self, key: &K) -> Result<(oneshot::Receiver<Loaded<T>>, Join), Refusal> {
        let (sender, receiver) = oneshot::channel();
        match self.under_way.entry(key.clone()) {
            Slot::Occupied(mut slot) => {
                if slot.get().len() >= self.waiters_max {
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
        if let Some((_, waiters)) = self.under_way.remove(key) {
            for waiter in waiters {
                // A waiter that went away needs no answer.
                let _ = waiter.send(loaded.clone());
            }
        }
    }

    /// Whether a key is loading.
    pub(super) fn has(&self, key: &K) -> bool {
        self.under_way.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_load_serves_all_who_wait_and_they_are_bounded() {
        let loads: Loads<u8, u8> = Loads::new(2);
        let (mut first, join) = loads.join(&1).expect("there is room");
        assert_eq!(join, Join::First);
        let (mut second, join) = loads.join(&1).expect("there is room");
        assert_eq!(join, Join::Later);
        assert_eq!(loads.join(&1).err(), Some(Refusal::overloaded(OverloadReason::Loads)));
        assert!(loads.join(&2).is_ok(), "another key has room of its own");
        loads.end(&1, &Ok(7));
        assert_eq!((first.try_recv(), second.try_recv()), (Ok(Ok(7)), Ok(Ok(7))));
        assert!(!loads.has(&1));
    }
}
