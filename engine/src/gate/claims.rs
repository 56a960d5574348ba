//! Claims: at most one command in flight per tx_id, and the same answer for everyone who asks (P2).
//!
//! A look-up follows the direction of travel: claim the key here (one atomic step), then the tail, then the index.
//! The claim goes only after the entry is in the tail, so no second command can slip between.

use std::{collections::VecDeque, sync::Arc};

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use crate::{
    keys::KeyHash,
    ledger::entry::Committed,
    money::OpId,
    refusal::{Refusal, UnavailableReason},
};

/// How many callers may wait for one key; a batch or a stream is one, however many of its items have it.
pub const WAITERS_MAX: usize = 16;

/// How many commands may wait for their turn on one reservation, account or owner (P13).
pub const TURNS_MAX: usize = 128;

/// What a claim ends in.
pub type ClaimEnd = Result<Committed, Refusal>;

/// What somebody who waits for a key hears.
pub enum Heard {
    /// How the one before ended: the same for all who wait.
    End(ClaimEnd),
    /// The key is yours now.
    Turn(Claim),
}

/// Who waits for one key, in order of arrival: callers, each with its items.
#[derive(Default)]
struct Waiting(VecDeque<Caller>);

struct Caller {
    bundle: Option<OpId>,
    items: VecDeque<oneshot::Sender<Heard>>,
}

impl Waiting {
    /// Lets one more wait, unless `callers_max` others do.
    fn join(&mut self, bundle: Option<OpId>, callers_max: usize) -> Option<oneshot::Receiver<Heard>> {
        let (sender, receiver) = oneshot::channel();
        if let Some(caller) = self.0.iter_mut().find(|caller| bundle.is_some() && caller.bundle == bundle) {
            caller.items.push_back(sender);
            return Some(receiver);
        }
        if self.0.len() >= callers_max {
            self.0.retain(|caller| caller.items.iter().any(|item| !item.is_closed()));
        }
        if self.0.len() >= callers_max {
            return None;
        }
        self.0.push_back(Caller { bundle, items: [sender].into() });
        Some(receiver)
    }

    fn next(&mut self) -> Option<oneshot::Sender<Heard>> {
        let first = self.0.front_mut()?;
        let item = first.items.pop_front();
        if first.items.is_empty() {
            self.0.pop_front();
        }
        item
    }
}

/// What a key is claimed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// To decide one command: who waits is told how it ended.
    Command,
    /// To work on something: who waits works on it next.
    Turn,
}

/// All keys in flight. Bounded by admission: a command holds at most three.
#[derive(Clone, Default)]
pub struct Claims(Arc<DashMap<KeyHash, Waiting, RandomState>>);

/// What came of asking for a key.
pub enum Claimed {
    /// It is yours.
    Mine(Claim),
    /// Somebody is at it: what comes of that is heard here.
    Theirs(oneshot::Receiver<Heard>),
    /// Too many are waiting already.
    Crowded,
}

impl Claims {
    /// Asks for a command's key: one atomic step. `bundle` is the batch or stream the command came in.
    pub fn claim(&self, key: KeyHash, bundle: Option<OpId>) -> Claimed {
        self.ask(key, Sort::Command, bundle, WAITERS_MAX)
    }

    /// Asks for a turn on what a key stands for; turns are given in order of arrival.
    pub fn take_turn(&self, key: KeyHash) -> Claimed {
        self.ask(key, Sort::Turn, None, TURNS_MAX)
    }

    fn ask(&self, key: KeyHash, sort: Sort, bundle: Option<OpId>, callers_max: usize) -> Claimed {
        match self.0.entry(key) {
            Slot::Vacant(slot) => {
                slot.insert(Waiting::default());
                Claimed::Mine(Claim { claims: self.clone(), key, sort, ended: false })
            }
            Slot::Occupied(mut slot) => {
                slot.get_mut().join(bundle, callers_max).map_or(Claimed::Crowded, Claimed::Theirs)
            }
        }
    }

    /// Who is next; if nobody is, the key is free.
    fn next(&self, key: KeyHash) -> Option<oneshot::Sender<Heard>> {
        let Slot::Occupied(mut slot) = self.0.entry(key) else { return None };
        let next = slot.get_mut().next();
        if next.is_none() {
            slot.remove();
        }
        next
    }

    /// How many keys are in flight.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The right to decide a key. Dropped without an end, all waiters are told to try again.
pub struct Claim {
    claims: Claims,
    key: KeyHash,
    sort: Sort,
    ended: bool,
}

impl Claim {
    /// Its key.
    pub fn key(&self) -> KeyHash {
        self.key
    }

    /// Gives the key away while it still counts: what a planted bug does.
    pub(crate) fn forget(&self) {
        self.claims.0.remove(&self.key);
    }

    /// Ends the claim: the entry is in the tail, or there will be none.
    pub fn end(mut self, end: &ClaimEnd) {
        self.release(end);
    }

    fn release(&mut self, end: &ClaimEnd) {
        self.ended = true;
        // Malformed or unknown: that was about this caller's body, and bound nothing. The next one's is its own.
        if self.sort == Sort::Turn || matches!(end, Err(Refusal::Invalid(_) | Refusal::NotFound { .. })) {
            return self.pass_on();
        }
        let waiting = self.claims.0.remove(&self.key).map(|(_, waiting)| waiting).unwrap_or_default();
        for waiter in waiting.0.into_iter().flat_map(|caller| caller.items) {
            // A waiter that went away needs no answer.
            let _ = waiter.send(Heard::End(end.clone()));
        }
    }

    /// Gives the key to the first who still waits. No guard of the map is held while somebody is told: a claim that
    /// nobody takes comes back here.
    fn pass_on(&self) {
        while let Some(waiter) = self.claims.next(self.key) {
            let claim = Self { claims: self.claims.clone(), key: self.key, sort: self.sort, ended: false };
            match waiter.send(Heard::Turn(claim)) {
                Err(Heard::Turn(mut untaken)) => untaken.ended = true,
                Ok(()) | Err(Heard::End(_)) => return,
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.ended {
            self.release(&Err(UnavailableReason::Interrupted.into()));
        }
    }
}
