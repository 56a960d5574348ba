//! Commands at work, from launch to the journal: so many at once, and whoever comes later waits here, first come first
//! served. More at once would not be faster: their actors only push each other out of the processor's caches. Those in
//! the journal do not count, so that a large block syncs while the next one is worked on.
//!
//! Whoever is done starts the next. So a place is never held for a caller that nobody polls, such as the items of a
//! stream whose answers are not read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places. Clones share them.
#[derive(Clone)]
pub struct AtWork(Arc<Mutex<Places>>);

struct Places {
    free: usize,
    /// Bounded by admission.
    waiting: VecDeque<Start>,
}

type Start = Box<dyn FnOnce(Place) + Send>;

impl AtWork {
    /// So many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(Places { free: places, waiting: VecDeque::new() })))
    }

    /// Runs `start` with a place: here and now if there is one, else wherever a place is given back.
    pub fn begin(&self, start: impl FnOnce(Place) + Send + 'static) {
        let mut places = self.lock();
        match places.free.checked_sub(1) {
            Some(left) => {
                places.free = left;
                drop(places);
                start(Place(self.clone()));
            }
            None => places.waiting.push_back(Box::new(start)),
        }
    }

    /// Drops all who wait, outside the lock: their work will not be done.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut self.lock().waiting);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at work; dropped, it goes to whoever waits longest.
pub struct Place(AtWork);

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut places = self.0.lock();
            let next = places.waiting.pop_front();
            if next.is_none() {
                places.free += 1;
            }
            next
        };
        if let Some(start) = next {
            start(Place(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_ends_starts_the_next_in_order() {
        let (work, begun) = (AtWork::new(2), Arc::new(Mutex::new(Vec::new())));
        for n in 0..5 {
            let begun = Arc::clone(&begun);
            work.begin(move |place| begun.lock().expect("not poisoned").push((n, place)));
        }
        let numbers = || begun.lock().expect("not poisoned").iter().map(|(n, _)| *n).collect::<Vec<_>>();
        let end_first = || {
            let first = begun.lock().expect("not poisoned").remove(0);
            drop(first);
        };
        assert_eq!(numbers(), [0, 1]);
        end_first();
        assert_eq!(numbers(), [1, 2]);
        work.clear();
        end_first();
        end_first();
        assert!(numbers().is_empty(), "who was dropped does not begin");
        work.begin(drop);
        assert_eq!(work.lock().free, 2);
    }
}
