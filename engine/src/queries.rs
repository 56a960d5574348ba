//! Reads: what is, from the actors, and what was, from tail and index (P1).
//!
//! Every list takes the tail first and the index second and merges them by lsn, so nothing committed is ever missing.
//! Clients read no further than what has been passed on to its accounts ([`crate::passed_on`]). Pages are bounded in
//! rows and in bytes; page tokens are positions: a page holds what lies strictly below one.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    actors::messages::{FxMessage, RiskMessage},
    core::Core,
    engine::Engine,
    index::{AccountKey, HistoryRow, rows::fold_with_history},
    journal::{Block, block::account_hash},
    ledger::{
        decision::Change,
        entry::Committed,
        failure::Failure,
        fx::{Pair, PairPrice},
        owner::Owner,
        rates::RateBook,
        risk::{Assessment, Verdict},
        wallet::AccountView,
    },
    money::{AccountId, Lsn, OpId, OwnerId, TenantId, TxId},
    refusal::{Refusal, internal, interrupted},
};

/// The longest page of any list.
pub const PAGE_MAX: usize = 1_000;

/// How many entries or rows one page may read in search of what is wanted; beyond it the page is short and says where to go on.
const SCAN_MAX: usize = 2_000;

/// How many rows a search looks at in one go: small pages must not repeat its beginning for every row.
const SCAN_STEP: usize = 256;

/// More lines than one entry ever has on one account, so that a read always gets past an entry.
const ENTRY_LINES_MAX: usize = 8;

/// Whose payments a list is of.
#[derive(Debug, Clone)]
pub enum PaymentsOf {
    /// Everybody's.
    All,
    /// All payments made by a customer.
    Customer(OwnerId),
    /// All payments that an account paid, was to pay, or received.
    Account(AccountId),
}

/// A place in a list: an entry, and which line of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The entry.
    pub lsn: Lsn,
    /// Which of its lines, in a statement.
    pub line: u16,
}

impl Position {
    /// Above all there is.
    pub const NEWEST: Self = Self::before(Lsn(u64::MAX));

    /// Above everything older than an entry.
    pub const fn before(lsn: Lsn) -> Self {
        Self { lsn, line: 0 }
    }

    fn of(row: &HistoryRow) -> Self {
        Self { lsn: row.lsn, line: row.line }
    }
}

/// Which part of a list is asked for: at most so much below a position.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Where it begins: strictly below.
    pub below: Position,
    /// How many rows at most.
    pub rows_max: usize,
    /// How many bytes at most, as whoever shows the rows counts them; one row always fits.
    pub bytes_max: usize,
}

/// A page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be more: everything below.
    pub next_below: Option<Position>,
}

/// A page as it is filled with rows and their bytes.
pub(crate) struct Filling<T> {
    items: Vec<T>,
    bytes: usize,
    window: Window,
}

impl<T> Filling<T> {
    pub(crate) fn new(window: Window) -> Self {
        let rows_max = window.rows_max.clamp(1, PAGE_MAX);
        Self { items: Vec::new(), bytes: 0, window: Window { rows_max, ..window } }
    }

    /// Takes a row in, or says that the page is full.
    pub(crate) fn take(&mut self, (item, bytes): (T, usize)) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let has_room =
            self.items.is_empty() || (self.items.len() < self.window.rows_max && self.bytes <= self.window.bytes_max);
        if has_room {
            self.items.push(item);
        }
        has_room
    }

    pub(crate) fn ends(self, next_below: Option<Position>) -> Page<T> {
        Page { items: self.items, next_below }
    }
}

impl Engine {
    /// An account as it is now.
    pub async fn account(&self, tenant: TenantId, id: &AccountId) -> Result<AccountView, Refusal> {
        let unknown = || Refusal::not_found("account", id);
        self.0
            .read(async {
                self.readable().await;
                let handle = self.0.residents.account(&(tenant, id.clone())).await?.ok_or_else(unknown)?;
                handle.view().await?.ok_or_else(unknown)
            })
            .await
    }

    /// How far a client may read, once that is as far as the journal is now: whatever an earlier read has shown.
    async fn readable(&self) -> Lsn {
        self.0.passed_on.reaches(self.0.tail.committed()).await
    }

    /// An entry for a client. What is younger than the read waits for its turn too.
    async fn shown(&self, committed: Committed) -> Committed {
        self.0.passed_on.reaches(committed.lsn).await;
        committed
    }

    /// An owner's record: accounts in order of opening, and the default.
    pub async fn owner(&self, tenant: TenantId, id: &OwnerId) -> Result<Arc<Owner>, Refusal> {
        self.0.read(self.known_owner("owner", tenant, id)).await
    }

    async fn known_owner(&self, what: &'static str, tenant: TenantId, id: &OwnerId) -> Result<Arc<Owner>, Refusal> {
        self.readable().await;
        let owner = self.0.residents.owner(&(tenant, id.clone())).await?.record();
        if owner.exists() { Ok(owner) } else { Err(Refusal::not_found(what, id)) }
    }

    /// The first entry ever, if there is one.
    pub async fn first_entry(&self) -> Result<Option<Committed>, Refusal> {
        let is_empty = self.readable().await == Lsn(0);
        let read = self.0.on_read_pool(move |core| if is_empty { Ok(None) } else { core.read_entry(Lsn(1)).map(Some) });
        self.0.read(read).await
    }

    /// A payment as it is now.
    pub async fn payment(&self, tenant: TenantId, id: OpId) -> Result<Committed, Refusal> {
        self.object("payment", tenant, id, |change| matches!(change, Change::Payment(_))).await
    }

    /// A refund.
    pub async fn refund(&self, tenant: TenantId, id: OpId) -> Result<Committed, Refusal> {
        self.object("refund", tenant, id, |change| matches!(change, Change::Refund(_))).await
    }

    /// A reservation as it is now.
    pub async fn reservation(&self, tenant: TenantId, id: OpId) -> Result<Committed, Refusal> {
        self.object("reservation", tenant, id, |change| matches!(change, Change::Reservation(_))).await
    }

    /// The latest entry of an object; one of another kind is none.
    async fn object(
        &self,
        what: &'static str,
        tenant: TenantId,
        id: OpId,
        is_one: fn(&Change) -> bool,
    ) -> Result<Committed, Refusal> {
        let found = self.0.read(self.0.on_read_pool(move |core| core.object(tenant, id))).await?;
        let is_it = |change: &Change| change.object() == Some(id) && is_one(change);
        let found = found.filter(|committed| committed.entry.decision.changes.iter().any(is_it));
        Ok(self.shown(found.ok_or_else(|| Refusal::not_found(what, id))?).await)
    }

    /// The entries of a payment below a position, newest first: of those that are its own, as each says which was before.
    pub async fn payment_entries<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: OpId,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        let latest = self.payment(tenant, id).await?;
        let page = self.0.on_read_pool(move |core| core.payment_entries_page(latest, window, show));
        self.0.read(page).await
    }

    /// The payment that was made under a key.
    pub async fn payment_by_key(&self, tenant: TenantId, tx_id: &TxId) -> Result<Committed, Refusal> {
        let key = self.0.hasher.key(tenant, tx_id);
        let found = match self.0.tail.by_key(key) {
            Some(committed) => Some(committed),
            None => {
                let stored = self.0.on_read_pool(move |core| {
                    let lsn = core.index.key(tenant, key)?;
                    lsn.map(|lsn| core.read_entry(lsn)).transpose()
                });
                self.0.read(stored).await?
            }
        };
        let made = found.filter(|committed| committed.entry.tx_id == *tx_id).and_then(|committed| made(&committed));
        match made {
            Some(id) => self.payment(tenant, id).await,
            None => Err(Refusal::not_found("payment with tx_id", tx_id)),
        }
    }

    /// A page of payments. `show` makes a row and says how many bytes it takes.
    pub async fn payments<T: Send + 'static>(
        &self,
        tenant: TenantId,
        of: PaymentsOf,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        let accounts: Vec<AccountKey> = match &of {
            PaymentsOf::All => return self.all_payments(tenant, window, show).await,
            PaymentsOf::Customer(id) => {
                let owner = self.known_owner("customer", tenant, id).await?;
                owner.accounts.iter().map(|owned| (tenant, owned.account.clone())).collect()
            }
            PaymentsOf::Account(id) => {
                self.account(tenant, id).await?;
                vec![(tenant, id.clone())]
            }
        };
        let window = self.up_to_now(window).await;
        let shown = move |committed: &Committed| if wanted(&of, committed) { show(committed) } else { None };
        self.0.read(self.0.on_read_pool(move |core| core.payments_page(&accounts, window, shown))).await
    }

    /// A page of an account's statement: postings with the balance after each. `show` makes a line and says how many
    /// bytes it takes.
    pub async fn entries<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: &AccountId,
        window: Window,
        show: impl Fn(&HistoryRow, &Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        self.account(tenant, id).await?;
        let key = (tenant, id.clone());
        let window = self.up_to_now(window).await;
        let page = self.0.on_read_pool(move |core| {
            let mut page = Filling::new(window);
            let rows = core.history(&key, window.below, page.window.rows_max, |row| row.moved.is_some())?;
            let mut entries = Entries::new(core);
            let mut above = window.below;
            for row in &rows.items {
                let shown = show(row, &entries.read(row.lsn)?);
                if shown.is_some_and(|line| !page.take(line)) {
                    return Ok(page.ends(Some(above)));
                }
                above = Position::of(row);
            }
            Ok(page.ends(rows.next_below))
        });
        self.0.read(page).await
    }

    /// The window as far as a client may read: what commits meanwhile is for the next reader.
    pub(crate) async fn up_to_now(&self, window: Window) -> Window {
        let readable = Position::before(Lsn(self.readable().await.0.saturating_add(1)));
        Window { below: window.below.min(readable), ..window }
    }

    /// All rates.
    pub fn rates(&self) -> Arc<RateBook> {
        self.0.environment.desk.book()
    }

    /// A pair's price now; `Ok(Err(_))` says why there is none.
    pub async fn price(&self, pair: Pair) -> Result<Result<PairPrice, Failure>, Refusal> {
        let actor = match self.0.environment.desk.pair(pair) {
            Ok(actor) => actor,
            Err(failure) => return Ok(Err(failure)),
        };
        self.0
            .read(async {
                let (sender, receiver) = oneshot::channel();
                actor.send(FxMessage::Price(sender));
                receiver.await.map_err(|_| interrupted())
            })
            .await
    }

    /// What the risk rules would say, without counting it.
    pub async fn score(&self, tenant: TenantId, ask: Assessment) -> Result<Verdict, Refusal> {
        let arbiter = self.0.residents.arbiter_of(tenant, &ask.customer, None);
        let risk = self.0.risk.get(arbiter).ok_or_else(interrupted)?;
        self.0
            .read(async {
                let (sender, receiver) = oneshot::channel();
                risk.send(RiskMessage::Score(Box::new(ask), sender));
                receiver.await.map_err(|_| interrupted())
            })
            .await
    }
}

impl Core {
    fn payments_page<T>(
        &self,
        accounts: &[AccountKey],
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)>,
    ) -> Result<Page<T>, Refusal> {
        let mut below = window.below;
        let (mut page, mut scanned) = (Filling::new(window), 0);
        let mut entries = Entries::new(self);
        loop {
            // The newest lsns of all accounts; a payment between two of them appears in both histories.
            let mut lsns = BTreeSet::new();
            let mut floor = Lsn(0);
            for account in accounts {
                let rows = self.history(account, below, page.window.rows_max.max(SCAN_STEP), |row| row.payment)?;
                floor = floor.max(rows.next_below.map_or(Lsn(0), |next| next.lsn));
                lsns.extend(rows.items.iter().map(|row| row.lsn));
            }
            for lsn in lsns.into_iter().rev().filter(|lsn| *lsn >= floor) {
                scanned += 1;
                let committed = entries.read(lsn)?;
                if self.now(&committed)?.and_then(|now| show(&now)).is_some_and(|row| !page.take(row)) {
                    return Ok(page.ends(Some(Position::before(Lsn(lsn.0 + 1)))));
                }
            }
            if floor == Lsn(0) {
                return Ok(page.ends(None));
            }
            if scanned >= SCAN_MAX {
                return Ok(page.ends(Some(Position::before(floor))));
            }
            below = Position::before(floor);
        }
    }

    /// The latest entry of the payment that an entry made; nothing if it made none.
    pub(crate) fn now(&self, committed: &Committed) -> Result<Option<Committed>, Refusal> {
        let Some(id) = made(committed) else { return Ok(None) };
        let latest = self.object(committed.entry.tenant, id)?;
        Ok(Some(latest.unwrap_or_else(|| committed.clone())))
    }

    fn payment_entries_page<T>(
        &self,
        latest: Committed,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)>,
    ) -> Result<Page<T>, Refusal> {
        let (mut page, mut entries) = (Filling::new(window), Entries::new(self));
        let mut next = Some(latest);
        let mut scanned = 0;
        while let Some(committed) = next {
            scanned += 1;
            let here = Position::before(Lsn(committed.lsn.0.saturating_add(1)));
            let is_below = committed.lsn < window.below.lsn;
            if is_below && (scanned > SCAN_MAX || show(&committed).is_some_and(|row| !page.take(row))) {
                return Ok(page.ends(Some(here)));
            }
            let life = committed.entry.payment().and_then(|payment| payment.life.as_ref());
            let before = life.and_then(|life| life.before.as_ref());
            next = before.map(|before| entries.read(before.previous)).transpose()?;
        }
        Ok(page.ends(None))
    }

    /// One account's rows below a position, newest first: the tail's, folded on the indexed state, then the index's.
    fn history(
        &self,
        key: &AccountKey,
        below: Position,
        limit: usize,
        wanted: impl Fn(&HistoryRow) -> bool,
    ) -> Result<Page<HistoryRow>, Refusal> {
        let blocks = self.tail.touching(account_hash(key.0, &key.1));
        let mut account = self.index.account(key)?;
        let changed = account.as_ref().map_or(Lsn(0), |account| account.applied_lsn);
        // The index may show rows of a run whose account states are not visible yet: those are the tail's to tell.
        let indexed = changed.max(self.tail.indexed());
        let mut rows = Vec::new();
        for committed in blocks.iter().flat_map(|block| block.committed()) {
            if committed.entry.tenant == key.0 {
                fold_with_history(&mut account, &key.1, &committed, &mut rows).map_err(internal)?;
            }
        }
        let wanted = |row: &HistoryRow| Position::of(row) < below && wanted(row);
        rows.retain(|row| row.lsn > indexed && wanted(row));
        rows.reverse();
        let mut from = Lsn(below.lsn.0.saturating_add(1).min(indexed.0.saturating_add(1)));
        let read_max = limit + ENTRY_LINES_MAX;
        let mut scanned = 0;
        while rows.len() <= limit {
            if scanned >= SCAN_MAX {
                return Ok(Page { items: rows, next_below: Some(Position::before(from)) });
            }
            let older = self.index.history(key, from, read_max)?;
            let Some(last) = older.last() else { break };
            let complete = older.len() < read_max;
            scanned += older.len();
            // An entry's rows stay together: the last entry of a full read may be cut, so it is read again.
            let cut = if complete { Lsn(0) } else { last.lsn };
            from = if complete { Lsn(0) } else { Lsn(cut.0 + 1) };
            rows.extend(older.into_iter().filter(|row| row.lsn > cut && wanted(row)));
            if complete {
                break;
            }
        }
        let next_below = rows.get(limit).and_then(|_| rows.get(limit.checked_sub(1)?)).map(Position::of);
        rows.truncate(limit);
        Ok(Page { items: rows, next_below })
    }
}

/// Whether a list of payments has this payment in it, by its latest entry.
fn wanted(of: &PaymentsOf, committed: &Committed) -> bool {
    let PaymentsOf::Customer(id) = of else { return true };
    customer(committed) == Some(id)
}

/// Whose payment an entry is about.
fn customer(committed: &Committed) -> Option<&OwnerId> {
    let life = committed.entry.payment()?.life.as_ref();
    match life.and_then(|life| life.before.as_ref()) {
        Some(before) => Some(&before.origin.customer),
        None => committed.entry.made_payment().map(|request| &request.customer),
    }
}

/// The payment that an entry made, if it made one.
fn made(committed: &Committed) -> Option<OpId> {
    committed.entry.made_payment().and_then(|_| committed.entry.payment()).map(|payment| payment.id)
}

/// Reads the entries of a page: neighbours often stand in one block, which is then read and decoded once.
pub(crate) struct Entries<'a> {
    core: &'a Core,
    block: Option<Arc<Block>>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(core: &'a Core) -> Self {
        Self { core, block: None }
    }

    pub(crate) fn read(&mut self, lsn: Lsn) -> Result<Committed, Refusal> {
        if let Some(committed) = self.block.as_ref().and_then(|block| block.get(lsn)) {
            return Ok(committed);
        }
        if let Some(committed) = self.core.tail.by_lsn(lsn) {
            return Ok(committed);
        }
        let (_, block) = self.core.reader.block(lsn)?.ok_or_else(|| internal("no such block"))?;
        let committed = block.get(lsn).ok_or_else(|| internal("the block does not hold its entry"))?;
        self.block = Some(block);
        Ok(committed)
    }
}
