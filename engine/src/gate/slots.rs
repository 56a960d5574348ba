//! Commands at work, from launch to the journal: so many at once, and whoever comes later waits here, first come first
//! served. More at once would not be faster: their actors only push each other out of the processor's caches. Those in
//! the journal do not count, so that a large block syncs while the next one is worked on.
//!
//! Whoever is done starts the next. So a place is never held for a caller that nobody polls, such as the items of a
//! stream whose answers are not read.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::metrics::{Counts, Peak, Reader, Tally};

/// The places. Clones share them.
#[derive(Clone)]
pub struct Slots(Arc<Mutex<State>>);

struct State {
    all: usize,
    free: usize,
    /// Since when, and what. Bounded by admission.
    waiting: VecDeque<(Instant, Start)>,
    /// How long each waited that was given a place; plain cells, as they are changed under the lock alone.
    waits: Tally,
    waiting_max: Peak,
}

/// Who is at work, who waits for it, and how long those waited that were let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    /// Commands at work.
    pub at_work: u64,
    /// Commands that wait for a place.
    pub waiting: u64,
    /// The most that waited since this reader last asked.
    pub waiting_max: u64,
    /// The wait for a place of every command that was given one.
    pub waits: Counts,
}

type Start = Box<dyn FnOnce(Slot) + Send>;

impl Slots {
    /// So many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            all: places,
            free: places,
            waiting: VecDeque::new(),
            waits: Tally::default(),
            waiting_max: Peak::default(),
        })))
    }

    /// Runs `start` with a place: here and now if there is one, else wherever a place is given back.
    pub fn begin(&self, start: impl FnOnce(Slot) + Send + 'static) {
        let mut places = self.lock();
        match places.free.checked_sub(1) {
            Some(left) => {
                places.free = left;
                places.waits.note_time(Duration::ZERO);
                drop(places);
                start(Slot(self.clone()));
            }
            None => {
                places.waiting.push_back((Instant::now(), Box::new(start)));
                places.waiting_max.note(places.waiting.len() as u64);
            }
        }
    }

    /// Drops all who wait, outside the lock: their work will not be done.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut self.lock().waiting);
        drop(dropped);
    }

    /// How it stands, for one reader.
    pub fn occupancy(&self, reader: Reader) -> Occupancy {
        let places = self.lock();
        let waiting = places.waiting.len() as u64;
        Occupancy {
            at_work: places.all.saturating_sub(places.free) as u64,
            waiting,
            waiting_max: places.waiting_max.take(reader, waiting),
            waits: places.waits.read(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at work; dropped, it goes to whoever waits longest.
pub struct Slot(Slots);

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut places = self.0.lock();
            let next = places.waiting.pop_front();
            match &next {
                Some((since, _)) => places.waits.note_time(since.elapsed()),
                None => places.free += 1,
            }
            next
        };
        if let Some((_, start)) = next {
            start(Slot(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_ends_starts_the_next_in_order() {
        let (work, begun) = (Slots::new(2), Arc::new(Mutex::new(Vec::new())));
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
        let waits = |counts: Counts| counts.0.iter().sum::<u64>();
        let scraped = work.occupancy(Reader::Scrape);
        assert_eq!((scraped.at_work, scraped.waiting, scraped.waiting_max), (2, 2, 3), "three waited, two do");
        assert_eq!(waits(scraped.waits), 3, "and three were given a place");
        assert_eq!(work.occupancy(Reader::Scrape).waiting_max, 2, "since the last scrape");
        work.clear();
        end_first();
        end_first();
        assert!(numbers().is_empty(), "who was dropped does not begin");
        work.begin(drop);
        assert_eq!(work.lock().free, 2);
    }
}
