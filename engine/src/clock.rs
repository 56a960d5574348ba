//! Time and randomness, the only source of either (P11): real, or set by hand in tests.
//!
//! The one rule of time (P6). [`Clock::now`] is the machine's time and may step: an age is measured against it, and
//! what lies ahead of it is never fresh. A step of more than five minutes between two ticks is not believed until time
//! has agreed for five minutes: until then nothing is freed by time and nothing is priced ([`Clock::trust`]), and what
//! is counted by time goes on as if the clock had not stepped ([`Clock::believed`]). Whether an object's time is over
//! says [`Moment::is_over`] alone.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;

use crate::{
    ledger::{
        needs::Moment,
        time::{STEP_MAX, Timestamp},
    },
    money::{Lsn, OpId},
};

/// How long the clock must agree again.
const AGREE_FOR: Duration = Duration::from_secs(300);

/// A shared clock and id source.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    seed: u64,
    ids: AtomicU64,
    /// The last tick; none before the first.
    ticked: ArcSwapOption<Tick>,
    /// The time of the last commit block, in microseconds.
    block_at: AtomicU64,
    /// The last entry whose block has its time, or is about to.
    timed: AtomicU64,
}

/// Whether the machine's clock is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is.
    Trusted,
    /// It jumped lately.
    Distrusted,
}

/// What a look at the clock found.
#[derive(Debug, Clone, Copy)]
struct Tick {
    at: Timestamp,
    /// How far the clock is ahead of the time that is believed, in microseconds; below zero where it is behind.
    ahead: i128,
    distrusted_until: Option<Timestamp>,
}

impl Tick {
    fn first(now: Timestamp) -> Self {
        Self { at: now, ahead: 0, distrusted_until: None }
    }

    fn next(self, now: Timestamp) -> Self {
        if self.is_jump(now) {
            let ahead = self.ahead + i128::from(now.0) - i128::from(self.at.0);
            return Self { at: now, ahead, distrusted_until: Some(now.plus(AGREE_FOR)) };
        }
        match self.distrusted_until {
            Some(until) if now < until => Self { at: now, ..self },
            _ => Self::first(now),
        }
    }

    fn is_jump(&self, now: Timestamp) -> bool {
        now.since(self.at).max(self.at.since(now)) > STEP_MAX
    }

    fn trust(&self, now: Timestamp) -> Trust {
        if self.distrusted_until.is_some() || self.is_jump(now) { Trust::Distrusted } else { Trust::Trusted }
    }

    fn believed(&self, now: Timestamp) -> Timestamp {
        // A jump that no tick has seen yet: time stands still until one does.
        let read = if self.is_jump(now) { self.at } else { now };
        Timestamp(u64::try_from(i128::from(read.0) - self.ahead).unwrap_or_default())
    }
}

#[derive(Debug)]
enum Source {
    System,
    Manual(AtomicU64),
}

impl Clock {
    /// The machine's clock and randomness.
    pub fn system() -> Self {
        Self::new(Source::System, random_u64())
    }

    /// A clock that stands still at `start` until it is moved, with ids from `seed`.
    pub fn manual(start: Timestamp, seed: u64) -> Self {
        Self::new(Source::Manual(AtomicU64::new(start.0)), seed)
    }

    fn new(source: Source, seed: u64) -> Self {
        let (ticked, block_at, timed) = (ArcSwapOption::empty(), AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { source, seed, ids: AtomicU64::new(0), ticked, block_at, timed }))
    }

    /// The time now. It may go back with the machine's clock; a block's time never does.
    pub fn now(&self) -> Timestamp {
        match &self.0.source {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::default().plus(since)
            }
            Source::Manual(micros) => Timestamp(micros.load(Ordering::Relaxed)),
        }
    }

    /// Looks at the clock, a few times a second and from one thread, and says whether it is believed.
    pub fn tick(&self) -> Trust {
        let now = self.now();
        let last = self.0.ticked.load();
        let tick = last.as_ref().map_or(Tick::first(now), |last| last.next(now));
        if last.as_ref().is_some_and(|last| last.is_jump(now)) {
            tracing::error!(
                "the clock jumped by more than five minutes; nothing expires and no rate prices until it has agreed for \
                 five minutes"
            );
        }
        self.0.ticked.store(Some(Arc::new(tick)));
        tick.trust(now)
    }

    /// Whether the machine's clock is believed.
    pub fn trust(&self) -> Trust {
        let now = self.now();
        self.0.ticked.load().as_ref().map_or(Trust::Trusted, |tick| tick.trust(now))
    }

    /// The machine's time without jumps that are not believed yet: what daily limits and risk windows are counted by,
    /// so that a jump frees nothing.
    pub fn believed(&self) -> Timestamp {
        let now = self.now();
        self.0.ticked.load().as_ref().map_or(now, |tick| tick.believed(now))
    }

    /// Notes the last entry of a block that is about to be given its time.
    pub(crate) fn note_timed(&self, last: Lsn) {
        self.0.timed.store(last.0, Ordering::SeqCst);
    }

    /// The last entry that may have its time: all later ones get one that is no earlier than now.
    pub(crate) fn timed(&self) -> Lsn {
        Lsn(self.0.timed.load(Ordering::SeqCst))
    }

    /// Notes the time of a commit block.
    pub(crate) fn note_block(&self, at: Timestamp) {
        self.0.block_at.fetch_max(at.0, Ordering::Relaxed);
    }

    /// One look at it, for what is decided now.
    ///
    /// The latest is that of what the clock says, what is believed, and the last block's time, so a clock that goes back
    /// undoes nothing. A block further ahead than a jump was written by a wrong clock and does not count: an object of
    /// today would end before it began.
    pub fn moment(&self) -> Moment {
        let now = self.now();
        let tick = self.0.ticked.load();
        let believed = tick.as_ref().map_or(now, |tick| tick.believed(now));
        let is_trusted = tick.as_ref().is_none_or(|tick| tick.trust(now) == Trust::Trusted);
        let block_at = Timestamp(self.0.block_at.load(Ordering::Relaxed));
        let with_block = |time: Timestamp| if block_at.since(time) > STEP_MAX { time } else { time.max(block_at) };
        let latest = with_block(now.max(believed));
        let begins = if is_trusted { latest } else { with_block(believed) };
        Moment { believed, latest, begins, is_trusted }
    }

    /// The latest time that is known of: see [`Clock::moment`].
    pub fn latest(&self) -> Timestamp {
        self.moment().latest
    }

    /// Moves a manual clock on; the machine's clock is not ours to move.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }

    /// Moves a manual clock back, as an administrator or a time server may the machine's.
    pub fn set_back(&self, by: Duration) {
        self.set(self.now().minus(by));
    }

    fn set(&self, now: Timestamp) {
        if let Source::Manual(micros) = &self.0.source {
            micros.store(now.0, Ordering::Relaxed);
        }
    }

    /// A new id, rising with time: UUID version 7 (RFC 9562) with a counter behind the milliseconds.
    pub fn new_id(&self) -> OpId {
        let count = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let [.., a, b, c, d] = (count << 2).to_be_bytes();
        let [e, f, g, h, i, j, ..] = self.random(count).to_be_bytes();
        // The version takes the upper half of the first byte, the variant the upper two bits of the third.
        let bytes = [(a << 4) | (b >> 4), (b << 4) | (c >> 4), c & 0x0f, d, e, f, g, h, i, j];
        OpId(uuid::Builder::from_unix_timestamp_millis(self.now().0 / 1_000, &bytes).into_uuid().as_u128())
    }

    /// A number that looks random, the same for one seed and `n` (SplitMix64).
    pub fn random(&self, n: u64) -> u64 {
        let mut z = self.0.seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Randomness from the operating system, by way of the standard library's hash keys.
pub fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_rise() {
        let clock = Clock::manual(Timestamp(1_700_000_000_000_000), 1);
        let ids: Vec<_> = (0..100_000).map(|_| clock.new_id()).collect();
        assert!(ids.windows(2).all(|two| two[0] < two[1]));
        assert_eq!(uuid::Uuid::from_u128(ids[0].0).get_version_num(), 7);
        let same = Clock::manual(Timestamp(1_700_000_000_000_000), 1);
        assert_eq!(same.new_id(), ids[0]);
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_jump_is_not_believed_until_time_agrees_again() {
        let start = Timestamp(1_700_000_000_000_000);
        let clock = Clock::manual(start, 1);
        assert_eq!(clock.tick(), Trust::Trusted);
        clock.advance(Duration::from_secs(301));
        assert_eq!((clock.trust(), clock.believed()), (Trust::Distrusted, start), "before any tick saw it");
        assert_eq!(clock.tick(), Trust::Distrusted);
        clock.advance(Duration::from_secs(299));
        assert_eq!(clock.tick(), Trust::Distrusted);
        assert_eq!(clock.believed(), start.plus(Duration::from_secs(299)), "it goes on as if nothing had happened");
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.tick(), clock.believed()), (Trust::Trusted, clock.now()));
        clock.set_back(HOUR);
        assert_eq!(clock.tick(), Trust::Distrusted, "going back is a jump too");
        clock.advance(HOUR);
        assert_eq!((clock.tick(), clock.believed()), (Trust::Distrusted, clock.now()), "there and back");
    }

    #[test]
    fn an_end_is_judged_by_the_last_block_too_unless_a_wrong_clock_wrote_it() {
        let clock = Clock::manual(Timestamp(1_700_000_000_000_000), 1);
        let end = clock.now().plus(Duration::from_secs(60));
        assert!(!clock.moment().is_over(end));
        clock.note_block(end);
        assert!(clock.moment().is_over(end), "a block of that time stands");
        clock.note_block(end.plus(24 * HOUR));
        assert!(!clock.moment().is_over(end), "that was written by a clock a day ahead");
        clock.advance(Duration::from_secs(60));
        assert!(clock.moment().is_over(end));
        clock.tick();
        clock.advance(HOUR);
        assert!(!clock.moment().is_over(end), "nothing is over while the clock is not trusted");
    }
}
