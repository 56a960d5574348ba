//! Histograms in fixed buckets, and highest values: of whoever alone writes one, or of many.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of all time histograms, in microseconds; the last bucket is everything above.
pub const BUCKETS_US: [u64; 16] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// Upper bounds of all size histograms; the last bucket is everything above.
pub const BUCKETS_SIZE: [u64; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768];

/// Counts per bucket (not cumulative; the last is above all bounds) and the sum.
pub type Counts = ([u64; BUCKETS_US.len() + 1], u64);

/// A histogram's cells, whatever its bounds.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    sum: AtomicU64,
}

impl Buckets {
    const fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS_US.len() + 1], sum: AtomicU64::new(0) }
    }

    fn add(&self, bounds: &[u64], value: u64) {
        if let Some(cell) = self.counts.get(bounds.partition_point(|bound| *bound < value)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn fold(&self, (counts, sum): Counts) {
        for (cell, count) in self.counts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            cell.fetch_add(count, Ordering::Relaxed);
        }
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    fn read(&self) -> Counts {
        let counts = std::array::from_fn(|i| self.counts.get(i).map_or(0, |cell| cell.load(Ordering::Relaxed)));
        (counts, self.sum.load(Ordering::Relaxed))
    }
}

/// A histogram of times in plain cells, of whoever alone writes it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally(Counts);

impl Tally {
    /// Adds one observation.
    pub fn note_time(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (counts, sum) = &mut self.0;
        if let Some(count) = counts.get_mut(BUCKETS_US.partition_point(|bound| *bound < us)) {
            *count += 1;
        }
        *sum = sum.saturating_add(us);
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0
    }
}

/// Who asks for the highest value since it last asked: each has an answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The metrics port.
    Scrape,
    /// The console.
    Console,
}

/// The highest value since each reader last asked.
#[derive(Debug, Default)]
pub struct Peak([AtomicU64; 2]);

impl Peak {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 2])
    }

    /// Notes a value.
    pub fn note(&self, value: u64) {
        for cell in self.0.iter().filter(|cell| cell.load(Ordering::Relaxed) < value) {
            cell.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Whether some reader was told of less, so far.
    pub(super) fn is_below(&self, value: u64) -> bool {
        self.0.iter().any(|cell| cell.load(Ordering::Relaxed) < value)
    }

    /// The highest since this reader last asked, `now` included.
    pub fn take(&self, reader: Reader, now: u64) -> u64 {
        let [scrape, console] = &self.0;
        let cell = match reader {
            Reader::Scrape => scrape,
            Reader::Console => console,
        };
        cell.swap(now, Ordering::Relaxed).max(now)
    }
}

/// A histogram of times, in microseconds.
#[derive(Debug, Default)]
pub struct Times(Buckets);

impl Times {
    pub(super) const fn new() -> Self {
        Self(Buckets::new())
    }

    /// Adds one observation.
    pub fn observe(&self, time: Duration) {
        self.0.add(&BUCKETS_US, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of a tally.
    pub fn fold(&self, tally: &Tally) {
        self.0.fold(tally.read());
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0.read()
    }
}

/// A histogram of sizes.
#[derive(Debug, Default)]
pub struct Sizes(Buckets);

impl Sizes {
    /// Adds one observation.
    pub fn observe(&self, size: u64) {
        self.0.add(&BUCKETS_SIZE, size);
    }

    /// What was observed so far.
    pub fn read(&self) -> Counts {
        self.0.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_folded_in_counts_as_its_observations_do() {
        let (mut tally, times, single) = (Tally::default(), Times::default(), Times::default());
        for us in [10, 11, 60_000_000] {
            tally.note_time(Duration::from_micros(us));
            single.observe(Duration::from_micros(us));
        }
        times.fold(&tally);
        assert_eq!(times.read(), single.read());
    }

    #[test]
    fn times_fall_into_their_buckets() {
        let times = Times::default();
        times.observe(Duration::from_micros(10));
        times.observe(Duration::from_micros(11));
        times.observe(Duration::from_secs(60));
        let (counts, sum) = times.read();
        assert_eq!((counts[0], counts[1], counts[16], sum), (1, 1, 1, 60_000_021));
    }
}
