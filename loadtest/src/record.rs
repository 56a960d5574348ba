//! What a run measures: latencies, and how the calls ended, in all and second by second.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// Latencies above this are counted as this.
const LATENCY_US_MAX: u64 = 120_000_000;
/// How many seconds of a run are kept apart; what is later goes to the last.
const SECONDS_MAX: usize = 3_600;

/// One second of a run.
pub(crate) struct Second {
    /// Payments answered in it.
    pub(crate) answered: u64,
    /// Their latencies, in microseconds.
    pub(crate) times: Histogram<u64>,
}

/// See the module.
pub(crate) struct Record {
    /// All latencies, in microseconds.
    pub(crate) times: Histogram<u64>,
    /// How many ended so: `CAPTURED`, `FAILED INSUFFICIENT_FUNDS`, `UNAVAILABLE DRAINING`.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Second by second.
    pub(crate) seconds: Vec<Second>,
}

impl Record {
    fn new() -> Self {
        Self { times: histogram(3), ends: BTreeMap::new(), seconds: Vec::new() }
    }

    /// Answers counted.
    pub(crate) fn answered(&self) -> u64 {
        self.ends.values().sum()
    }
}

/// The bounds are constants that the library allows; it says so only at run time.
#[allow(clippy::expect_used, reason = "constant arguments, covered by the test")]
fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, digits).expect("the bounds are allowed")
}

/// A record that many callers write to.
pub(crate) struct Recorder {
    started: Instant,
    record: Mutex<Record>,
}

impl Recorder {
    /// The clock of the run starts here.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), record: Mutex::new(Record::new()) }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes that `count` payments ended so, now, after `latency`.
    pub(crate) fn note(&self, end: &str, latency: Duration, count: u64) {
        let second = usize::try_from(self.elapsed().as_secs()).unwrap_or(usize::MAX).min(SECONDS_MAX - 1);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
        let mut record = self.lock();
        record.times.saturating_record_n(us, count);
        match record.ends.get_mut(end) {
            Some(known) => *known += count,
            None => drop(record.ends.insert(end.to_owned(), count)),
        }
        while record.seconds.len() <= second {
            record.seconds.push(Second { answered: 0, times: histogram(2) });
        }
        if let Some(second) = record.seconds.get_mut(second) {
            second.answered += count;
            second.times.saturating_record_n(us, count);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was measured.
    pub(crate) fn finish(&self) -> Record {
        std::mem::replace(&mut self.lock(), Record::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_end_and_second() {
        let recorder = Recorder::start();
        recorder.note("CAPTURED", Duration::from_micros(500), 3);
        recorder.note("FAILED X", Duration::from_secs(1_000), 1);
        let record = recorder.finish();
        assert_eq!((record.answered(), record.ends["CAPTURED"]), (4, 3));
        assert_eq!(record.seconds[0].answered, 4);
        assert!(record.times.max() >= LATENCY_US_MAX);
    }
}
