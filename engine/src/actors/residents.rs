//! Which accounts and owners are in memory, and how they get there and leave (P1, P6).
//!
//! Nothing outside this file knows where an account lives. A caller takes an [`AccountRef`] once; it pins the account.
//! An absent one is loaded once for all who wait, on the loading pool: the tail first, then the index row, then the
//! tail's blocks folded on top. An idle account leaves when nothing else refers to it and its mailbox is empty.

use std::{
    hash::BuildHasher,
    sync::{Arc, atomic::AtomicU32},
};

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use foldhash::fast::{FixedState, RandomState};

use super::{
    handles::{AccountHandle, AccountRef, OwnerHandle, OwnerRef},
    loads::{Join, Loads},
    mailbox::{Arbiter, Mailbox},
    wallet::WalletActor,
};
use crate::{
    clock::Clock,
    config::EngineConfig,
    fatal::OnFatal,
    index::{AccountKey, Index, IndexError, OwnerKey, OwnerRow},
    journal::{
        block::{account_hash, owner_hash},
        tail::Tail,
    },
    ledger::{
        account::Account,
        apply::{fold, to_owner},
        owner::Owner,
    },
    metrics::{ActorKind, EngineCells},
    money::{AccountId, Currency, OwnerId, TenantId},
    planted::{Bug, is_planted},
    pool::Pool,
    refusal::{OverloadReason, Refusal},
};

/// See the module.
pub struct Residents {
    accounts: DashMap<AccountKey, AccountRef, RandomState>,
    owners: DashMap<OwnerKey, OwnerRef, RandomState>,
    account_loads: Loads<AccountKey, Option<AccountRef>>,
    owner_loads: Loads<OwnerKey, OwnerRef>,
    tail: Arc<Tail>,
    index: Arc<dyn Index>,
    pool: Pool,
    arbiters: Vec<Arbiter>,
    clock: Clock,
    on_fatal: OnFatal,
    cells: Arc<EngineCells>,
    resident_max: usize,
}

impl Residents {
    /// Nobody yet.
    pub(crate) fn new(
        tail: Arc<Tail>,
        index: Arc<dyn Index>,
        pool: Pool,
        arbiters: Vec<Arbiter>,
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
            arbiters,
            clock,
            on_fatal,
            cells,
            resident_max: config.resident_accounts_max,
        }
    }

    /// Which arbiter an owner's accounts live on; a house account has its own, so that they spread.
    pub fn arbiter_of(&self, tenant: TenantId, owner: &OwnerId, account: Option<&AccountId>) -> usize {
        let hasher = FixedState::with_seed(u64::from(tenant.0));
        let hash = match account.filter(|account| account.is_system()) {
            Some(account) => hasher.hash_one(account),
            None => hasher.hash_one(owner),
        };
        usize::try_from(hash).unwrap_or_default().checked_rem(self.arbiters.len()).unwrap_or_default()
    }

    /// Accounts in memory.
    pub fn resident(&self) -> usize {
        self.accounts.len()
    }

    /// An account, loaded if need be; `None` if there is none.
    pub async fn account(self: &Arc<Self>, key: &AccountKey) -> Result<Option<AccountRef>, Refusal> {
        if let Some(handle) = self.accounts.get(key) {
            handle.note_use();
            return Ok(handle.is_open().then(|| Arc::clone(&handle)));
        }
        // Boxed: a payment whose accounts are all in memory, almost every one, does not carry room for this.
        Box::pin(self.wait_for_account(key)).await
    }

    async fn wait_for_account(self: &Arc<Self>, key: &AccountKey) -> Result<Option<AccountRef>, Refusal> {
        let (receiver, join) = self.account_loads.join(key)?;
        if join == Join::First {
            let (residents, wanted) = (Arc::clone(self), key.clone());
            if !self.pool.submit(Box::new(move || residents.load_account(&wanted))) {
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
            Slot::Occupied(mut slot) if !slot.get().is_open() && !slot.get().id().is_system() => {
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
        let account = account.or_else(|| key.1.is_system().then(|| Account::system(key.1.clone(), facts.0)));
        let is_open = account.is_some();
        let which = self.arbiter_of(key.0, &facts.1, Some(&key.1));
        let build = move |_: &mut _| WalletActor::new(id, account, counter, with);
        let Some(arbiter) = self.arbiters.get(which) else { std::process::abort() };
        let mailbox = Mailbox::start(arbiter, ActorKind::Wallet, build);
        AccountHandle::new(key, which, facts, is_open, (mailbox, queued))
    }

    /// On the pool: loads, makes resident, tells all who wait.
    fn load_account(&self, key: &AccountKey) {
        let resident = self.accounts.get(key).map(|handle| Arc::clone(&handle));
        let loaded = match resident {
            Some(handle) => Ok(handle.is_open().then_some(handle)),
            None => match self.read_account(key) {
                Ok(account) => Ok(account.map(|account| self.make_resident(key, account))),
                Err(error) => Err(error.into()),
            },
        };
        self.account_loads.end(key, &loaded);
        self.sweep();
    }

    /// The load rule of P1: tail, then index, then the tail's blocks above the row. Blocks.
    pub fn read_account(&self, key: &AccountKey) -> Result<Option<Account>, IndexError> {
        let read_early = if is_planted(Bug::LoadRowBeforeTail) { Some(self.index.account(key)?) } else { None };
        let blocks = self.tail.touching(account_hash(key.0, &key.1));
        let mut account = read_early.map_or_else(|| self.index.account(key), Ok)?;
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

    /// Passivates accounts and owners that were not used since the last sweep: as many as are too many, once they are a
    /// few.
    pub fn sweep(&self) {
        let too_many =
            |len: usize| len.checked_sub(self.resident_max).filter(|excess| *excess > self.resident_max / 64);
        if let Some(excess) = too_many(self.accounts.len()) {
            let mut gone = 0;
            // The house's accounts are few, and so hot that they are never let go.
            self.passivate_accounts(|key, handle, is_idle| {
                let goes = !handle.take_use() && gone < excess && !key.1.is_system() && is_idle();
                gone += usize::from(goes);
                goes
            });
        }
        if let Some(excess) = too_many(self.owners.len()) {
            let mut gone = 0;
            self.passivate_owners(|_, handle, is_idle| {
                let goes = !handle.take_use() && gone < excess && is_idle();
                gone += usize::from(goes);
                goes
            });
        }
    }

    /// Passivates the accounts that are chosen among those that may go: nobody refers to them and their mailbox is empty.
    /// The guard of the map is held while that is decided.
    pub(crate) fn passivate_accounts(&self, mut goes: impl FnMut(&AccountKey, &AccountRef, &dyn Fn() -> bool) -> bool) {
        self.accounts.retain(|key, handle| {
            let is_idle = || !self.account_loads.has(key) && handle.is_idle();
            !goes(key, handle, &is_idle)
        });
    }

    /// The same for owners.
    pub(crate) fn passivate_owners(&self, mut goes: impl FnMut(&OwnerKey, &OwnerRef, &dyn Fn() -> bool) -> bool) {
        self.owners.retain(|key, handle| {
            let is_idle = || !self.owner_loads.has(key) && Arc::strong_count(handle) == 1;
            !goes(key, handle, &is_idle)
        });
    }

    /// An owner's record, loaded if need be; an owner nobody knows has no accounts.
    pub async fn owner(self: &Arc<Self>, key: &OwnerKey) -> Result<OwnerRef, Refusal> {
        if let Some(handle) = self.owners.get(key) {
            handle.note_use();
            return Ok(Arc::clone(&handle));
        }
        Box::pin(self.wait_for_owner(key)).await
    }

    async fn wait_for_owner(self: &Arc<Self>, key: &OwnerKey) -> Result<OwnerRef, Refusal> {
        let (receiver, join) = self.owner_loads.join(key)?;
        if join == Join::First {
            let (residents, wanted) = (Arc::clone(self), key.clone());
            let job = move || {
                let loaded = residents.load_owner(&wanted).map_err(Refusal::from);
                residents.owner_loads.end(&wanted, &loaded);
                residents.sweep();
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
                to_owner(&mut owner, &key.1, &committed.entry, committed.lsn);
            }
        }
        let build = || OwnerHandle::new(key.clone(), owner);
        Ok(Arc::clone(&self.owners.entry(key.clone()).or_insert_with(build)))
    }
}
