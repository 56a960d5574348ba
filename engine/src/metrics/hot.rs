//! Which accounts are hot: those that handle [`EngineConfig::hot_account_per_second`] messages a second or more.
//!
//! Each account's actor counts for itself, in a plain cell, and says once a second how many they were if they were
//! many. So naming the hot ones costs nothing per message and no walk over all accounts.
//!
//! [`EngineConfig::hot_account_per_second`]: crate::config::EngineConfig::hot_account_per_second

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::money::AccountId;

/// How many are named at most.
pub const HOT_ACCOUNTS_MAX: usize = 10;
/// A pace is that of so long at least: a burst alone makes nobody hot.
const WINDOW: Duration = Duration::from_secs(1);
/// Who was not hot for so long is named no more.
const HOT_FOR: Duration = Duration::from_secs(3);
/// The time is looked at once in so many messages.
const LOOK_EVERY: u64 = 64;

/// How many messages an actor handles: one plain cell of its own.
#[derive(Debug, Default)]
pub struct Pace {
    messages: u64,
    since: Option<Instant>,
}

impl Pace {
    /// Counts one message; says how many there were a second, about once a second while there are many.
    pub fn count(&mut self) -> Option<u64> {
        self.messages += 1;
        if self.messages.is_multiple_of(LOOK_EVERY) { self.look(Instant::now()) } else { None }
    }

    fn look(&mut self, now: Instant) -> Option<u64> {
        let took = self.since.map(|since| now.saturating_duration_since(since));
        if took.is_some_and(|took| took < WINDOW) {
            return None;
        }
        let messages = std::mem::take(&mut self.messages);
        self.since = Some(now);
        let took_ms = u64::try_from(took?.as_millis()).unwrap_or(u64::MAX);
        (messages * 1_000).checked_div(took_ms)
    }
}

/// A hot account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotAccount {
    /// Which.
    pub account: AccountId,
    /// Messages it handled a second.
    pub per_second: u64,
    /// Messages in its mailbox.
    pub depth: u32,
}

/// The hot accounts, at most [`HOT_ACCOUNTS_MAX`].
#[derive(Debug, Default)]
pub struct HotAccounts {
    /// From how many messages a second on an account is hot.
    from_per_second: u64,
    named: Mutex<Vec<Named>>,
}

#[derive(Debug)]
struct Named {
    account: AccountId,
    per_second: u64,
    seen: Instant,
    queued: Arc<AtomicU32>,
}

impl HotAccounts {
    /// None yet.
    pub fn new(from_per_second: u32) -> Self {
        Self { from_per_second: from_per_second.into(), named: Mutex::default() }
    }

    /// An account says how many messages a second it handles; it is named if they are enough to be hot. Where all places are taken it takes the coolest one's if it is twice as hot, so
    /// that those of about one heat do not take turns.
    pub fn note(&self, account: &AccountId, per_second: u64, queued: &Arc<AtomicU32>) {
        if per_second >= self.from_per_second {
            self.note_at(Instant::now(), account, per_second, queued);
        }
    }

    fn note_at(&self, seen: Instant, account: &AccountId, per_second: u64, queued: &Arc<AtomicU32>) {
        let mut named = self.hot_at(seen);
        let new = Named { account: account.clone(), per_second, seen, queued: Arc::clone(queued) };
        if let Some(known) = named.iter_mut().find(|known| known.account == *account) {
            *known = new;
        } else if named.len() < HOT_ACCOUNTS_MAX {
            named.push(new);
        } else if let Some(coolest) = named.iter_mut().min_by_key(|known| known.per_second)
            && per_second / 2 > coolest.per_second
        {
            *coolest = new;
        }
    }

    /// All that are hot now, the hottest first.
    pub fn hottest(&self) -> Vec<HotAccount> {
        self.hottest_at(Instant::now())
    }

    fn hottest_at(&self, now: Instant) -> Vec<HotAccount> {
        let named = self.hot_at(now);
        let shown = named.iter().map(|hot| HotAccount {
            account: hot.account.clone(),
            per_second: hot.per_second,
            depth: hot.queued.load(Ordering::Relaxed),
        });
        let mut shown: Vec<_> = shown.collect();
        drop(named);
        shown.sort_by(|a, b| b.per_second.cmp(&a.per_second).then_with(|| a.account.cmp(&b.account)));
        shown
    }

    /// Those that are still hot; the others are forgotten.
    fn hot_at(&self, now: Instant) -> MutexGuard<'_, Vec<Named>> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.retain(|hot| now.saturating_duration_since(hot.seen) <= HOT_FOR);
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> AccountId {
        AccountId::parse(&format!("a{n}")).expect("an id")
    }

    #[test]
    fn a_pace_is_that_of_a_second_and_a_burst_is_none() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut after = |messages: u64, ms: u64| {
            pace.messages += messages;
            pace.look(start + Duration::from_millis(ms))
        };
        assert_eq!(after(64, 0), None, "it begins");
        assert_eq!(after(10_000, 500), None, "a burst");
        assert_eq!(after(64, 60_000), Some(167), "over all the time since");
        assert_eq!(after(3_000, 62_000), Some(1_500));
        assert_eq!(after(499, 63_000), Some(499));
    }

    #[test]
    fn at_most_ten_are_named_while_they_are_hot_the_hottest_first() {
        let (hot, start, queued) = (HotAccounts::new(500), Instant::now(), Arc::new(AtomicU32::new(7)));
        for n in 0..12 {
            hot.note_at(start, &id(n), 1_000 + n, &queued);
        }
        let names = |at| hot.hottest_at(at).into_iter().map(|hot| hot.account.to_string()).collect::<Vec<_>>();
        assert_eq!(names(start).len(), HOT_ACCOUNTS_MAX);
        assert_eq!(names(start)[0], "a9", "a little hotter is no reason to take a place");
        hot.note_at(start, &id(77), 90_000, &queued);
        let shown = hot.hottest_at(start);
        assert_eq!(shown.len(), HOT_ACCOUNTS_MAX);
        assert_eq!(shown[0], HotAccount { account: id(77), per_second: 90_000, depth: 7 });
        hot.note(&id(88), 499, &queued);
        assert!(!names(start).contains(&"a88".to_owned()), "below the threshold");
        // Only one of them stays hot.
        let later = start + Duration::from_secs(2);
        hot.note_at(later, &id(5), 700, &queued);
        assert_eq!(names(later + Duration::from_secs(2)), ["a5"]);
        assert!(names(later + Duration::from_secs(4)).is_empty());
    }
}
