//! Which accounts and owners are in memory, and how they get there and leave (P1, P6).
//!
//! Nothing outside this file knows where an account lives. A caller takes an [`AccountRef`] once; it pins the account.
//! An absent one is loaded once for all who wait, on the loading pool: the tail first, then the index row, then the
//! tail's blocks folded on top. An idle account leaves when nothing else refers to it and its mailbox is empty.

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering, fence},
    },
};

use super::{
    loads::{Join, Loads},
    mailbox::{Mailbox, Place},
    wallet::WalletActor,
};
use crate::{
    OverloadReason, Refusal,
    clock::Clock,
    config::EngineConfig,
    fatal::OnFatal,
    index::{AccountKey, Index, IndexError, OwnerKey, OwnerRow},
    journal::{
        block::{account_hash, owner_hash},
        tail::Tail,
    },
    ledger::{
        account::{Account, fold},
        entry::Entry,
        flow::Party,
        owner::Owner,
    },
    messages::WalletMessage,
    metrics::{ActorKind, EngineCells},
    money::{AccountId, Currency, Lsn, OwnerId, TenantId},
    pool::Pool,
};
use arc_swap::ArcSwap;
use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::{FixedState, RandomState};

/// A pinned account.
pub type AccountRef = Arc<AccountHandle>;
/// A pinned owner.
pub type OwnerRef = Arc<OwnerHandle>;

/// An account in memory: its mailbox and what never changes about it.
pub struct AccountHandle {
    key: AccountKey,
    /// The arbiter it lives on.
    partition: usize,
    /// Known once the account is open.
    facts: OnceLock<(Currency, OwnerId)>,
    /// What it becomes if an opening commits.
    intended: Option<(Currency, OwnerId)>,
    mailbox: Arc<Mailbox<WalletActor>>,
    queued: Arc<AtomicU32>,
    /// Used since the last sweep.
    used: AtomicBool,
}

impl AccountHandle {
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
        self.mailbox.send(message);
    }

    /// The arbiter it lives on.
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// An entry touched it, so it exists from here on.
    pub fn mark_open(&self) {
        if let (None, Some(intended)) = (self.facts.get(), &self.intended) {
            // Only its own arbiter gets here; a second call finds it set.
            let _ = self.facts.set(intended.clone());
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
    /// The record now.
    pub fn record(&self) -> Arc<Owner> {
        self.record.load_full()
    }

    /// Applies a durable entry.
    pub fn apply(&self, entry: &Entry, lsn: Lsn) {
        self.record.rcu(|owner| {
            let mut owner = Owner::clone(owner);
            owner.apply(&self.key.1, entry, lsn);
            owner
        });
    }
}

/// See the module.
pub struct Directory {
    accounts: DashMap<AccountKey, AccountRef, RandomState>,
    owners: DashMap<OwnerKey, OwnerRef, RandomState>,
    account_loads: Loads<AccountKey, Option<AccountRef>>,
    owner_loads: Loads<OwnerKey, OwnerRef>,
    tail: Arc<Tail>,
    index: Arc<dyn Index>,
    pool: Pool,
    places: Vec<Place>,
    clock: Clock,
    on_fatal: OnFatal,
    cells: Arc<EngineCells>,
    resident_max: usize,
}

impl Directory {
    /// An empty directory.
    pub(crate) fn new(
        tail: Arc<Tail>,
        index: Arc<dyn Index>,
        pool: Pool,
        places: Vec<Place>,
        (clock, on_fatal, cells): (Clock, OnFatal, Arc<EngineCells>),
        config: &EngineConfig,
    ) -> Self {
        // Whoever was let in may wait: many items of one batch are of one customer.
        let waiters_max = config.in_flight_max.saturating_add(config.reads_max);
        Self {
            accounts: DashMap::default(),
            owners: DashMap::default(),
            account_loads: Loads::new(waiters_max),
            owner_loads: Loads::new(waiters_max),
            tail,
            index,
            pool,
            places,
            clock,
            on_fatal,
            cells,
            resident_max: config.resident_accounts_max,
        }
    }

    /// The partition of an owner; of a house account, its own, so that they spread.
    pub fn partition(&self, tenant: TenantId, owner: &OwnerId, account: Option<&AccountId>) -> usize {
        let hasher = FixedState::with_seed(u64::from(tenant.0));
        let hash = match account.filter(|account| account.is_system()) {
            Some(account) => hasher.hash_one(account),
            None => hasher.hash_one(owner),
        };
        usize::try_from(hash).unwrap_or_default().checked_rem(self.places.len()).unwrap_or_default()
    }

    /// The place of a partition.
    pub fn place(&self, partition: usize) -> Option<&Place> {
        self.places.get(partition)
    }

    /// Accounts in memory.
    pub fn resident(&self) -> usize {
        self.accounts.len()
    }

    /// An account, loaded if need be; `None` if there is none.
    pub async fn account(self: &Arc<Self>, key: &AccountKey) -> Result<Option<AccountRef>, Refusal> {
        if let Some(handle) = self.accounts.get(key) {
            handle.used.store(true, Ordering::Relaxed);
            return Ok(handle.facts.get().is_some().then(|| Arc::clone(&handle)));
        }
        // Boxed: a payment whose accounts are all in memory, almost every one, does not carry room for this.
        Box::pin(self.wait_for_account(key)).await
    }

    async fn wait_for_account(self: &Arc<Self>, key: &AccountKey) -> Result<Option<AccountRef>, Refusal> {
        let (receiver, join) = self.account_loads.join(key)?;
        if join == Join::First {
            let (directory, wanted) = (Arc::clone(self), key.clone());
            if !self.pool.submit(Box::new(move || directory.load_account(&wanted))) {
                self.account_loads.end(key, &Err(Refusal::overloaded(OverloadReason::Loads)));
            }
        }
        receiver.await.unwrap_or_else(|_| Err(Refusal::Internal("a load was dropped".into())))
    }

    /// An account of the house, which exists as soon as somebody asks.
    pub async fn system(
        self: &Arc<Self>,
        tenant: TenantId,
        role: &str,
        currency: Currency,
    ) -> Result<AccountRef, Refusal> {
        let key = (tenant, AccountId::system(role, currency));
        match self.account(&key).await? {
            Some(handle) => Ok(handle),
            None => Ok(self.absent(key, currency, OwnerId::system())),
        }
    }

    /// The actor that will be this account if an opening commits, or the one that is.
    pub async fn to_open(
        self: &Arc<Self>,
        key: AccountKey,
        currency: Currency,
        owner: OwnerId,
    ) -> Result<AccountRef, Refusal> {
        match self.account(&key).await? {
            Some(handle) => Ok(handle),
            None => Ok(self.absent(key, currency, owner)),
        }
    }

    fn absent(&self, key: AccountKey, currency: Currency, owner: OwnerId) -> AccountRef {
        let intended = (currency, owner);
        match self.accounts.entry(key.clone()) {
            // Left behind by an opening that did not commit, perhaps with another owner: it was never used.
            Slot::Occupied(mut slot) if slot.get().facts.get().is_none() && !slot.get().key.1.is_system() => {
                let handle = self.start(key, intended, None);
                slot.insert(Arc::clone(&handle));
                handle
            }
            Slot::Occupied(slot) => Arc::clone(slot.get()),
            Slot::Vacant(slot) => {
                let handle = self.start(key, intended, None);
                slot.insert(Arc::clone(&handle));
                handle
            }
        }
    }

    fn start(&self, key: AccountKey, facts: (Currency, OwnerId), account: Option<Account>) -> AccountRef {
        let queued = Arc::new(AtomicU32::new(0));
        let (id, counter) = (key.1.clone(), Arc::clone(&queued));
        let with = (self.clock.clone(), Arc::clone(&self.on_fatal), Arc::clone(&self.cells));
        let is_open = account.is_some() || key.1.is_system();
        let account = account.or_else(|| key.1.is_system().then(|| Account::system(key.1.clone(), facts.0)));
        let partition = self.partition(key.0, &facts.1, Some(&key.1));
        let build = move |_: &mut _| WalletActor::new(id, account, counter, with);
        let place = self.place(partition).or(self.places.first());
        let Some(place) = place else { std::process::abort() };
        let mailbox = Mailbox::start(place, ActorKind::Wallet, build);
        let known = OnceLock::new();
        if is_open {
            let _ = known.set(facts.clone());
        }
        let used = AtomicBool::new(true);
        Arc::new(AccountHandle { key, partition, facts: known, intended: Some(facts), mailbox, queued, used })
    }

    /// On the pool: loads, makes resident, tells all who wait.
    fn load_account(&self, key: &AccountKey) {
        let resident = self.accounts.get(key).map(|handle| Arc::clone(&handle));
        let loaded = match resident {
            Some(handle) => Ok(handle.facts.get().is_some().then_some(handle)),
            None => match self.read_account(key) {
                Ok(account) => Ok(account.map(|account| self.make_resident(key, account))),
                Err(error) => Err(Refusal::Internal(error.to_string())),
            },
        };
        self.account_loads.end(key, &loaded);
        self.sweep();
    }

    /// The load rule of P1: tail, then index, then the tail's blocks above the row. Blocks.
    pub fn read_account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        let blocks = self.tail.touching(account_hash(key.0, &key.1));
        let mut account = self.index.account(key)?;
        for committed in blocks.iter().flat_map(|block| block.committed()) {
            if committed.entry.tenant == key.0 {
                fold(&mut account, &key.1, &committed.entry, committed.lsn)?;
            }
        }
        Ok(account)
    }

    fn make_resident(&self, key: &AccountKey, account: Account) -> AccountRef {
        match self.accounts.entry(key.clone()) {
            Slot::Occupied(slot) => Arc::clone(slot.get()),
            Slot::Vacant(slot) => {
                let facts = (account.currency, account.owner.clone());
                let handle = self.start(key.clone(), facts, Some(account));
                slot.insert(Arc::clone(&handle));
                handle
            }
        }
    }

    /// Passivates accounts that nobody refers to, whose mailbox is empty and that were not used since the last sweep:
    /// as many as are too many, once they are a few. The guard of the map is held while that is decided.
    pub fn sweep(&self) {
        let too_many =
            |len: usize| len.checked_sub(self.resident_max).filter(|excess| *excess > self.resident_max / 64);
        if let Some(mut excess) = too_many(self.accounts.len()) {
            self.accounts.retain(|key, handle| {
                let used = handle.used.swap(false, Ordering::Relaxed);
                // The house's accounts are few, and so hot that they are never let go.
                let stays =
                    used || key.1.is_system() || self.account_loads.has(key) || !is_idle(handle, &handle.queued);
                keeps(stays, &mut excess)
            });
        }
        if let Some(mut excess) = too_many(self.owners.len()) {
            self.owners.retain(|key, handle| {
                let used = handle.used.swap(false, Ordering::Relaxed);
                let stays = used || self.owner_loads.has(key) || Arc::strong_count(handle) > 1;
                keeps(stays, &mut excess)
            });
        }
    }

    /// An owner's record, loaded if need be; an owner nobody knows has no accounts.
    pub async fn owner(self: &Arc<Self>, key: &OwnerKey) -> Result<OwnerRef, Refusal> {
        if let Some(handle) = self.owners.get(key) {
            handle.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(&handle));
        }
        Box::pin(self.wait_for_owner(key)).await
    }

    async fn wait_for_owner(self: &Arc<Self>, key: &OwnerKey) -> Result<OwnerRef, Refusal> {
        let (receiver, join) = self.owner_loads.join(key)?;
        if join == Join::First {
            let (directory, wanted) = (Arc::clone(self), key.clone());
            let job = move || {
                let loaded = directory.load_owner(&wanted).map_err(|error| Refusal::Internal(error.to_string()));
                directory.owner_loads.end(&wanted, &loaded);
                directory.sweep();
            };
            if !self.pool.submit(Box::new(job)) {
                self.owner_loads.end(key, &Err(Refusal::overloaded(OverloadReason::Loads)));
            }
        }
        receiver.await.unwrap_or_else(|_| Err(Refusal::Internal("a load was dropped".into())))
    }

    /// The load rule of P1, on the pool.
    fn load_owner(&self, key: &OwnerKey) -> Result<OwnerRef, IndexError> {
        if let Some(handle) = self.owners.get(key) {
            return Ok(Arc::clone(&handle));
        }
        let blocks = self.tail.changing_accounts();
        let mut owner = Owner::default();
        for row in self.index.owner(key)? {
            match row {
                OwnerRow::Account(owned) => owner.accounts.push(owned),
                OwnerRow::Default(account, since) => owner.default = Some((account, since)),
            }
        }
        owner.accounts.sort_by_key(|owned| owned.opened_lsn);
        let hash = owner_hash(key.0, &key.1);
        for committed in blocks.iter().flat_map(|block| block.account_entries(hash)) {
            if committed.entry.tenant == key.0 {
                owner.apply(&key.1, &committed.entry, committed.lsn);
            }
        }
        let build = || {
            Arc::new(OwnerHandle {
                key: key.clone(),
                record: ArcSwap::from_pointee(owner),
                used: AtomicBool::new(true),
            })
        };
        Ok(Arc::clone(&self.owners.entry(key.clone()).or_insert_with(build)))
    }
}

/// Whether a resident is kept: because it must stay, or because enough others went.
fn keeps(stays: bool, excess: &mut usize) -> bool {
    if stays || *excess == 0 {
        return true;
    }
    *excess -= 1;
    false
}

/// Nobody but the map refers to it, and nothing is in its mailbox.
fn is_idle(handle: &AccountRef, queued: &AtomicU32) -> bool {
    if Arc::strong_count(handle) > 1 {
        return false;
    }
    // Pairs with the release of whoever dropped the last other reference: its sends are visible.
    fence(Ordering::Acquire);
    queued.load(Ordering::Acquire) == 0
}
