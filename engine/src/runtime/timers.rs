//! Timers: reservations and authorisations whose time is over are freed by commands of the house's own, durably (P6, P10).
//!
//! Each round takes what is due from tail and index into queues, one per account, and gives out one timer of each
//! account in turn, so that nobody's thousands delay another's. A command that is refused is simply due again. Nothing
//! is given out while the clock is not trusted.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use foldhash::fast::RandomState;

use crate::{
    actors::objects::ObjectKey,
    clock::Trust,
    core::Core,
    engine::Engine,
    index::{AccountKey, TimerKey},
    intake::command::Command,
    ledger::{decision::Timer, time::Timestamp},
    money::OpId,
    pages::Entries,
    refusal::Refusal,
};

/// How many timers one round fires at most; what becomes due meanwhile waits for the next.
const ROUND_MAX: usize = 8_192;
/// How many timers are queued at most, apart from the first of each account; the others stay in the index.
const QUEUED_MAX: usize = 262_144;
/// How many of one account.
const QUEUED_PER_ACCOUNT_MAX: usize = 65_536;

/// The state between rounds.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: Due,
    /// All that was due by then has been queued, or left out where the queue was full.
    read_upto: Timestamp,
}

impl Timers {
    /// The commands of the next round.
    pub(crate) async fn due(&mut self, engine: &Engine) -> Vec<Command> {
        if engine.clock().tick() == Trust::Distrusted {
            *self = Self::default();
            return Vec::new();
        }
        match self.round(engine).await {
            Ok(round) => round.into_iter().filter_map(|(due, tenant, id)| Command::expire(tenant, id, due)).collect(),
            Err(error) => {
                tracing::warn!(%error, "timers cannot be read; they are tried again");
                Vec::new()
            }
        }
    }

    /// The next round, its objects in memory: many stand in one block, which is read once.
    async fn round(&mut self, engine: &Engine) -> Result<Vec<TimerKey>, Refusal> {
        self.read(engine).await?;
        let round = self.due.round(ROUND_MAX);
        let late = round.iter().map(|(due, ..)| self.read_upto.since(*due)).max().unwrap_or_default();
        let cells = engine.cells();
        cells.expiries_due.store(self.due.len as u64, Relaxed);
        cells.expiry_late.note(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
        let objects: Vec<_> = round.iter().map(|(_, tenant, id)| (*tenant, *id)).collect();
        engine.0.on_load_pool(move |core| load_all(core, &objects)).await?;
        Ok(round)
    }

    /// Queues what has become due since the last round; once all that was queued is done, everything that is due, so
    /// that nothing is left out for good.
    async fn read(&mut self, engine: &Engine) -> Result<(), Refusal> {
        let mut due = std::mem::take(&mut self.due);
        let from = if due.is_empty() { Timestamp::default() } else { self.read_upto.plus(Duration::from_micros(1)) };
        let upto = engine.clock().latest();
        self.due = engine.0.on_load_pool(move |core| due.read(core, from, upto).map(|()| due)).await?;
        self.read_upto = upto.max(self.read_upto);
        Ok(())
    }
}

/// Reads the objects that are not in memory, in the order of the journal.
fn load_all(core: &Core, objects: &[ObjectKey]) -> Result<(), Refusal> {
    let mut unread = Vec::new();
    for object in objects.iter().map(|key| core.objects.pin(*key)).filter(|object| object.latest().is_none()) {
        let (tenant, id) = object.key();
        if core.tail.by_object(id).is_none() {
            unread.extend(core.index.object(tenant, id)?.map(|lsn| (lsn, object)));
        }
    }
    unread.sort_unstable_by_key(|(lsn, _)| *lsn);
    let mut entries = Entries::new(core);
    unread.into_iter().try_for_each(|(lsn, object)| entries.read(lsn).map(|read| object.learn(read)))
}

/// Due timers by account, each account's oldest first.
#[derive(Debug, Default)]
struct Due {
    accounts: HashMap<AccountKey, VecDeque<TimerKey>, RandomState>,
    /// Every account with timers once: whose turn is next.
    turns: VecDeque<AccountKey>,
    len: usize,
}

impl Due {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tail first and the index second (P1): what the tail says of an object is newer.
    fn read(&mut self, core: &Core, from: Timestamp, upto: Timestamp) -> Result<(), Refusal> {
        let mut ended: HashSet<OpId, RandomState> = HashSet::default();
        let mut set: BTreeMap<TimerKey, AccountKey> = BTreeMap::new();
        for committed in core.tail.all().iter().flat_map(|block| block.committed()) {
            let Some(Timer { due, object, frees }) = committed.entry.decision.timer() else { continue };
            let timer = (due, committed.entry.tenant, object);
            match frees {
                None => {
                    set.remove(&timer);
                    ended.insert(object);
                }
                Some(account) if (from..=upto).contains(&due) => {
                    set.insert(timer, (committed.entry.tenant, account.clone()));
                }
                Some(_) => {}
            }
        }
        let mut push = |timer: TimerKey, account| {
            if !ended.contains(&timer.2) && !set.contains_key(&timer) {
                self.push(timer, (timer.1, account));
            }
        };
        core.index.timers_due(from, upto, &mut push)?;
        set.into_iter().for_each(|(timer, account)| self.push(timer, account));
        Ok(())
    }

    fn push(&mut self, timer: TimerKey, account: AccountKey) {
        if let Some(queue) = self.accounts.get_mut(&account) {
            if queue.len() < QUEUED_PER_ACCOUNT_MAX && self.len < QUEUED_MAX {
                queue.push_back(timer);
                self.len += 1;
            }
        } else if self.accounts.len() < QUEUED_MAX {
            self.turns.push_back(account.clone());
            self.accounts.insert(account, VecDeque::from([timer]));
            self.len += 1;
        }
    }

    /// One timer of each account in turn.
    fn round(&mut self, timers_max: usize) -> Vec<TimerKey> {
        let mut round = Vec::with_capacity(self.len.min(timers_max));
        while round.len() < timers_max {
            let Some(account) = self.turns.pop_front() else { break };
            let Some(queue) = self.accounts.get_mut(&account) else { continue };
            round.extend(queue.pop_front());
            if queue.is_empty() {
                self.accounts.remove(&account);
            } else {
                self.turns.push_back(account);
            }
        }
        self.len -= round.len();
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{AccountId, TenantId};

    fn timer(n: u64) -> TimerKey {
        (Timestamp(n), TenantId(0), OpId(u128::from(n)))
    }

    fn account(id: &str) -> AccountKey {
        (TenantId(0), AccountId::parse(id).expect("an id"))
    }

    #[test]
    fn nobodys_thousands_delay_another() {
        let mut due = Due::default();
        (0..100_000).for_each(|n| due.push(timer(n), account("noisy")));
        due.push(timer(100_000), account("quiet"));
        due.push(timer(100_001), account("other"));
        let round = due.round(4);
        assert_eq!(round, [timer(0), timer(100_000), timer(100_001), timer(1)]);
        assert!(due.round(ROUND_MAX).into_iter().eq((2..).map(timer).take(ROUND_MAX)), "then the oldest first");
    }

    #[test]
    fn the_queue_is_bounded_and_has_room_for_everybodys_first() {
        let mut due = Due::default();
        for id in ["a", "b", "c", "d", "e"] {
            (0..100_000).for_each(|n| due.push(timer(n), account(id)));
        }
        assert_eq!(due.len, QUEUED_PER_ACCOUNT_MAX * 4 + 1);
        assert!(due.accounts.values().all(|queue| queue.len() <= QUEUED_PER_ACCOUNT_MAX));
        let mut given = 0;
        while !due.is_empty() {
            given += due.round(ROUND_MAX).len();
        }
        assert_eq!(given, QUEUED_PER_ACCOUNT_MAX * 4 + 1);
        assert!(due.accounts.is_empty() && due.turns.is_empty());
    }
}
