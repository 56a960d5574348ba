//! What a run measures: the latencies of decided payments, and how all ended, in all and second by second. Errors are
//! counted apart: an instant refusal is no fast payment. Whoever hears nothing but silence is told to give up.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::ends::{is_decided, is_lost};

/// Latencies above this are counted as this.
const LATENCY_US_MAX: u64 = 120_000_000;
/// How many seconds of a run are kept apart; what is later goes to the last.
const SECONDS_MAX: usize = 3_600;
/// A server is given up after so many lost answers in a row, if it has decided nothing for so long: a restart is shorter.
const LOST_MAX: u64 = 100;
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// One second of a run.
pub(crate) struct Second {
    /// Payments decided in it.
    pub(crate) answered: u64,
    /// Their latencies, in microseconds.
    pub(crate) times: Histogram<u64>,
}

/// See the module.
pub(crate) struct Record {
    /// The latencies of decided payments, in microseconds.
    pub(crate) times: Histogram<u64>,
    /// How many ended so: `CAPTURED`, `FAILED INSUFFICIENT_FUNDS`, `UNAVAILABLE DRAINING`.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Second by second.
    pub(crate) seconds: Vec<Second>,
    /// Answers lost since the last decision, and when that was.
    lost: u64,
    decided_at: Duration,
}

impl Record {
    fn new() -> Self {
        Self { times: histogram(3), ends: BTreeMap::new(), seconds: Vec::new(), lost: 0, decided_at: Duration::ZERO }
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
    is_silent: AtomicBool,
}

impl Recorder {
    /// The clock of the run starts here.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), record: Mutex::new(Record::new()), is_silent: AtomicBool::new(false) }
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes that `count` payments ended so, now, after `latency`.
    pub(crate) fn note(&self, end: &str, latency: Duration, count: u64) {
        let now = self.elapsed();
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
        let mut record = self.lock();
        match record.ends.get_mut(end) {
            Some(known) => *known += count,
            None => drop(record.ends.insert(end.to_owned(), count)),
        }
        if !is_decided(end) {
            record.lost = if is_lost(end) { record.lost + count } else { 0 };
            if record.lost >= LOST_MAX && now.saturating_sub(record.decided_at) >= SILENCE_MAX {
                self.is_silent.store(true, Ordering::Relaxed);
            }
            return;
        }
        (record.lost, record.decided_at) = (0, now);
        record.times.saturating_record_n(us, count);
        let second = usize::try_from(now.as_secs()).unwrap_or(usize::MAX).min(SECONDS_MAX - 1);
        while record.seconds.len() <= second {
            record.seconds.push(Second { answered: 0, times: histogram(2) });
        }
        if let Some(second) = record.seconds.get_mut(second) {
            second.answered += count;
            second.times.saturating_record_n(us, count);
        }
    }

    /// Whether nothing comes from the server any more, so that sending on is of no use.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
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

    #[test]
    fn errors_are_counted_and_have_no_latency() {
        let recorder = Recorder::start();
        recorder.note("CAPTURED", Duration::from_millis(5), 1);
        recorder.note("ResourceExhausted TOO_MANY_IN_FLIGHT", Duration::from_micros(10), 99);
        let record = recorder.finish();
        assert_eq!((record.answered(), record.times.len(), record.seconds[0].answered), (100, 1, 1));
        assert!(record.times.min() > 4_000, "{}", record.times.min());
    }

    #[test]
    fn only_long_silence_is_given_up() {
        let recorder = Recorder::start();
        recorder.note("Unavailable ", Duration::ZERO, 1_000);
        assert!(!recorder.is_silent(), "a restart is short");
        let recorder = Recorder { started: Instant::now() - SILENCE_MAX, ..Recorder::start() };
        recorder.note("ResourceExhausted X", Duration::ZERO, 1_000);
        recorder.note("Unavailable ", Duration::ZERO, LOST_MAX - 1);
        assert!(!recorder.is_silent());
        recorder.note("Unavailable ", Duration::ZERO, 1);
        assert!(recorder.is_silent());
    }
}
