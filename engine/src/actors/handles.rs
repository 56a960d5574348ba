//! An account and an owner in memory: what pins them, and how an account is reached.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering, fence},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::{mailbox::Hears, messages::WalletMessage};
use crate::{
    index::{AccountKey, OwnerKey},
    ledger::{apply::to_owner, entry::Entry, needs::Party, owner::Owner, wallet::AccountView},
    money::{AccountId, Currency, Lsn, OwnerId},
    planted::{Bug, is_planted},
    refusal::{Refusal, interrupted},
};

/// A pinned account.
pub type AccountRef = Arc<AccountHandle>;
/// A pinned owner.
pub type OwnerRef = Arc<OwnerHandle>;

/// An account in memory: its mailbox and what never changes about it.
pub struct AccountHandle {
    key: AccountKey,
    /// Which arbiter it lives on.
    arbiter: usize,
    /// Known once the account is open.
    facts: OnceLock<(Currency, OwnerId)>,
    /// What it becomes if an opening commits.
    intended: (Currency, OwnerId),
    mailbox: Arc<dyn Hears<WalletMessage>>,
    queued: Arc<AtomicU32>,
    /// Used since the last sweep.
    used: AtomicBool,
}

impl AccountHandle {
    /// An account whose actor is `mailbox` on an arbiter; open if its facts are known.
    pub(super) fn new(
        key: AccountKey,
        arbiter: usize,
        facts: (Currency, OwnerId),
        is_open: bool,
        (mailbox, queued): (Arc<dyn Hears<WalletMessage>>, Arc<AtomicU32>),
    ) -> AccountRef {
        let known = OnceLock::new();
        if is_open {
            // A new cell is empty.
            let _ = known.set(facts.clone());
        }
        let used = AtomicBool::new(true);
        Arc::new(Self { key, arbiter, facts: known, intended: facts, mailbox, queued, used })
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.facts.get().is_some()
    }

    /// Notes that somebody wants it.
    pub(super) fn note_use(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Whether somebody wanted it since this was last asked.
    pub(super) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Nobody but the map refers to it, and nothing is in its mailbox.
    pub(super) fn is_idle(self: &Arc<Self>) -> bool {
        if Arc::strong_count(self) > 1 && !is_planted(Bug::PassivatedWithAHold) {
            return false;
        }
        // Pairs with the release of whoever dropped the last other reference: its sends are visible.
        fence(Ordering::Acquire);
        self.queued.load(Ordering::Acquire) == 0
    }

    /// Its id.
    pub fn id(&self) -> &AccountId {
        &self.key.1
    }

    /// As a party of a payment; `None` while there is no such account.
    pub fn party(&self) -> Option<Party> {
        let (currency, owner) = self.facts.get()?;
        Some(Party { account: self.key.1.clone(), currency: *currency, owner: owner.clone() })
    }

    /// Sends to its actor.
    pub fn send(&self, message: WalletMessage) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.mailbox.tell(message);
    }

    /// What it is, as its own actor knows it: behind every apply that was sent before. `None` if it is not open.
    pub async fn view(&self) -> Result<Option<AccountView>, Refusal> {
        let (sender, receiver) = oneshot::channel();
        self.send(WalletMessage::Read(sender));
        receiver.await.map_err(|_| interrupted())
    }

    /// Which arbiter it lives on.
    pub fn arbiter(&self) -> usize {
        self.arbiter
    }

    /// An entry touched it, so it exists from here on.
    pub fn mark_open(&self) {
        if !self.is_open() {
            // Only its own arbiter gets here; a second call finds it set.
            let _ = self.facts.set(self.intended.clone());
        }
    }
}

impl fmt::Debug for AccountHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.key.1)
    }
}

/// An owner's record in memory.
#[derive(Debug)]
pub struct OwnerHandle {
    key: OwnerKey,
    record: ArcSwap<Owner>,
    used: AtomicBool,
}

impl OwnerHandle {
    /// An owner as its record was read.
    pub(super) fn new(key: OwnerKey, owner: Owner) -> OwnerRef {
        Arc::new(Self { key, record: ArcSwap::from_pointee(owner), used: AtomicBool::new(true) })
    }

    /// Notes that somebody wants it.
    pub(super) fn note_use(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Whether somebody wanted it since this was last asked.
    pub(super) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// The record now.
    pub fn record(&self) -> Arc<Owner> {
        self.record.load_full()
    }

    /// Applies a durable entry.
    pub fn apply(&self, entry: &Entry, lsn: Lsn) {
        self.record.rcu(|owner| {
            let mut owner = Owner::clone(owner);
            to_owner(&mut owner, &self.key.1, entry, lsn);
            owner
        });
    }
}
