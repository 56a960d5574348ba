//! A count over a sliding window of time.

use std::time::Duration;

use crate::ledger::time::Timestamp;

/// How many slots a sliding window is cut into.
const SLOTS: usize = 6;

/// A count over the last [`SLOTS`] slots.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    /// The newest slot's number since the epoch.
    newest: u64,
    counts: [u32; SLOTS],
}

impl Window {
    /// How many there are as of `at`.
    pub(super) fn count(&mut self, at: Timestamp, slot: Duration) -> u32 {
        self.turn(at, slot);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// One more at `at`.
    pub(super) fn add(&mut self, at: Timestamp, slot: Duration) {
        self.turn(at, slot);
        if let Some(newest) = self.counts.first_mut() {
            *newest = newest.saturating_add(1);
        }
    }

    /// Takes one back that was added at `at`, if it still counts.
    pub(super) fn take_back(&mut self, at: Timestamp, slot: Duration) {
        let slots_ago = usize::try_from(self.newest.saturating_sub(number(at, slot))).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get_mut(slots_ago) {
            *count = count.saturating_sub(1);
        }
    }

    /// Shifts the slots so that the first is the one of `at`. Where time went back, what was counted is as old as it
    /// was, and slides on from there.
    fn turn(&mut self, at: Timestamp, slot: Duration) {
        let now = number(at, slot);
        let steps = usize::try_from(now.saturating_sub(self.newest)).unwrap_or(usize::MAX).min(SLOTS);
        if steps > 0 {
            self.counts.rotate_right(steps.checked_rem(SLOTS).unwrap_or_default());
            self.counts.iter_mut().take(steps).for_each(|count| *count = 0);
        }
        self.newest = now;
    }
}

/// A slot's number since the epoch.
fn number(at: Timestamp, slot: Duration) -> u64 {
    at.0.checked_div(u64::try_from(slot.as_micros()).unwrap_or(u64::MAX)).unwrap_or_default()
}
