//! Reads: what is, from the actors, and what was, from tail and index (P1).
//!
//! Every list takes the tail first and the index second and merges them by lsn, so nothing committed is ever missing.
//! Page tokens are lsn positions: a page holds what lies strictly below one.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    Refusal,
    engine::{Core, Engine, internal, interrupted},
    index::{AccountKey, HistoryRow, rows::fold_with_history},
    journal::{Block, block::account_hash},
    ledger::{
        entry::Committed,
        fx::{Pair, PairPrice},
        owner::Owner,
        rates::RateBook,
        risk::{Assessment, Verdict},
        wallet::AccountView,
    },
    messages::{FxMessage, RiskMessage},
    money::{AccountId, Lsn, OpId, OwnerId, TenantId, TxId},
    prepare::read_view,
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

/// A page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins, if there may be more: everything below this lsn.
    pub next_below: Option<Lsn>,
}

impl Engine {
    /// An account as it is now.
    pub async fn account(&self, tenant: TenantId, id: &AccountId) -> Result<AccountView, Refusal> {
        let unknown = || Refusal::not_found("account", id);
        self.read(async {
            let handle = self.0.directory.account(&(tenant, id.clone())).await?.ok_or_else(unknown)?;
            read_view(&handle).await?.ok_or_else(unknown)
        })
        .await
    }

    /// An owner's record: accounts in order of opening, and the default.
    pub async fn owner(&self, tenant: TenantId, id: &OwnerId) -> Result<Arc<Owner>, Refusal> {
        self.read(self.known_owner("owner", tenant, id)).await
    }

    async fn known_owner(&self, what: &'static str, tenant: TenantId, id: &OwnerId) -> Result<Arc<Owner>, Refusal> {
        let owner = self.0.directory.owner(&(tenant, id.clone())).await?.record();
        if owner.exists() { Ok(owner) } else { Err(Refusal::not_found(what, id)) }
    }

    /// The latest entry of a payment or reservation.
    pub(crate) async fn object(&self, tenant: TenantId, id: OpId) -> Result<Option<Committed>, Refusal> {
        self.on_load_pool(move |core| core.object(tenant, id)).await
    }

    /// A payment as it is now.
    pub async fn payment(&self, tenant: TenantId, id: OpId) -> Result<Committed, Refusal> {
        let found = self.read(self.on_read_pool(move |core| core.object(tenant, id))).await?;
        let found = found.filter(|committed| committed.entry.payment().is_some());
        found.ok_or_else(|| Refusal::not_found("payment", id))
    }

    /// The payment that was made under a key.
    pub async fn payment_by_key(&self, tenant: TenantId, tx_id: &TxId) -> Result<Committed, Refusal> {
        let key = self.0.hasher.key(tenant, tx_id);
        let found = match self.0.tail.by_key(key) {
            Some(committed) => Some(committed),
            None => {
                let stored = self.on_read_pool(move |core| {
                    let lsn = core.index.key(tenant, key).map_err(internal)?;
                    lsn.map(|lsn| core.read_entry(lsn)).transpose()
                });
                self.read(stored).await?
            }
        };
        let payment = found.filter(|committed| committed.entry.tx_id == *tx_id && committed.entry.payment().is_some());
        payment.ok_or_else(|| Refusal::not_found("payment with tx_id", tx_id))
    }

    /// A page of payments.
    pub async fn payments(
        &self,
        tenant: TenantId,
        of: PaymentsOf,
        below: Lsn,
        limit: usize,
    ) -> Result<Page<Committed>, Refusal> {
        let limit = limit.clamp(1, PAGE_MAX);
        let accounts: Vec<AccountKey> = match &of {
            PaymentsOf::All => return self.all_payments(tenant, below, limit).await,
            PaymentsOf::Customer(id) => {
                let owner = self.known_owner("customer", tenant, id).await?;
                owner.accounts.iter().map(|owned| (tenant, owned.account.clone())).collect()
            }
            PaymentsOf::Account(id) => {
                self.account(tenant, id).await?;
                vec![(tenant, id.clone())]
            }
        };
        self.read(self.on_read_pool(move |core| core.payments_page(&accounts, &of, below, limit))).await
    }

    /// A page of an account's statement: postings with the balance after each.
    pub async fn entries(
        &self,
        tenant: TenantId,
        id: &AccountId,
        below: Lsn,
        limit: usize,
    ) -> Result<Page<(HistoryRow, Committed)>, Refusal> {
        let limit = limit.clamp(1, PAGE_MAX);
        self.account(tenant, id).await?;
        let key = (tenant, id.clone());
        let page = self.on_read_pool(move |core| {
            let rows = core.history(&key, below, limit, |row| row.moved.is_some())?;
            let mut entries = Entries { core, block: None };
            let read = |row: HistoryRow| entries.read(row.lsn).map(|committed| (row, committed));
            let items = rows.items.into_iter().map(read).collect::<Result<_, _>>()?;
            Ok(Page { items, next_below: rows.next_below })
        });
        self.read(page).await
    }

    /// All rates.
    pub fn rates(&self) -> Arc<RateBook> {
        self.0.desk.book()
    }

    /// A pair's price now; `Ok(Err(_))` says why there is none.
    pub async fn price(&self, pair: Pair) -> Result<Result<PairPrice, crate::ledger::failure::Failure>, Refusal> {
        let actor = match self.0.desk.pair(pair) {
            Ok(actor) => actor,
            Err(failure) => return Ok(Err(failure)),
        };
        self.read(async {
            let (sender, receiver) = oneshot::channel();
            actor.send(FxMessage::Price(sender));
            receiver.await.map_err(|_| interrupted())
        })
        .await
    }

    /// What the risk rules would say, without counting it.
    pub async fn score(&self, tenant: TenantId, ask: Assessment) -> Result<Verdict, Refusal> {
        let partition = self.0.directory.partition(tenant, &ask.customer, None);
        let risk = self.0.risk.get(partition).ok_or_else(interrupted)?;
        self.read(async {
            let (sender, receiver) = oneshot::channel();
            risk.send(RiskMessage::Score(Box::new(ask), sender));
            receiver.await.map_err(|_| interrupted())
        })
        .await
    }
}

impl Core {
    fn object(&self, tenant: TenantId, id: OpId) -> Result<Option<Committed>, Refusal> {
        if let Some(committed) = self.tail.by_object(id) {
            return Ok((committed.entry.tenant == tenant).then_some(committed));
        }
        let lsn = self.index.object(tenant, id).map_err(internal)?;
        lsn.map(|lsn| self.read_entry(lsn)).transpose()
    }

    fn payments_page(
        &self,
        accounts: &[AccountKey],
        of: &PaymentsOf,
        below: Lsn,
        limit: usize,
    ) -> Result<Page<Committed>, Refusal> {
        let wanted = |committed: &Committed| match (of, &committed.entry.request) {
            (PaymentsOf::Customer(id), crate::ledger::request::Request::CreatePayment(request)) => {
                request.customer == *id
            }
            (PaymentsOf::Customer(_), _) => false,
            (PaymentsOf::All | PaymentsOf::Account(_), _) => true,
        };
        // What commits meanwhile is for the next reader: every account is read up to the same entry.
        let mut below = below.min(Lsn(self.tail.committed().0 + 1));
        let (mut items, mut scanned) = (Vec::new(), 0);
        let mut entries = Entries { core: self, block: None };
        loop {
            // The newest lsns of all accounts; a payment between two of them appears in both histories.
            let mut lsns = BTreeSet::new();
            let mut floor = Lsn(0);
            for account in accounts {
                let page = self.history(account, below, limit.max(SCAN_STEP), |row| row.payment)?;
                floor = floor.max(page.next_below.unwrap_or_default());
                lsns.extend(page.items.iter().map(|row| row.lsn));
            }
            for lsn in lsns.into_iter().rev().filter(|lsn| *lsn >= floor) {
                if items.len() == limit {
                    return Ok(Page { items, next_below: Some(Lsn(lsn.0 + 1)) });
                }
                scanned += 1;
                let committed = entries.read(lsn)?;
                if wanted(&committed) {
                    items.push(committed);
                }
            }
            if floor == Lsn(0) {
                return Ok(Page { items, next_below: None });
            }
            if scanned >= SCAN_MAX {
                return Ok(Page { items, next_below: Some(floor) });
            }
            below = floor;
        }
    }

    /// One account's rows below an lsn, newest first: the tail's, folded on the indexed state, then the index's.
    fn history(
        &self,
        key: &AccountKey,
        below: Lsn,
        limit: usize,
        wanted: impl Fn(&HistoryRow) -> bool,
    ) -> Result<Page<HistoryRow>, Refusal> {
        let blocks = self.tail.touching(account_hash(key.0, &key.1));
        let mut account = self.index.account(key).map_err(internal)?;
        let indexed = account.as_ref().map_or(Lsn(0), |account| account.applied_lsn);
        let mut rows = Vec::new();
        for committed in blocks.iter().flat_map(|block| block.committed()) {
            if committed.entry.tenant == key.0 {
                fold_with_history(&mut account, &key.1, &committed, &mut rows).map_err(internal)?;
            }
        }
        rows.retain(|row| row.lsn < below && wanted(row));
        rows.reverse();
        // The index may show rows of a run whose account states are not visible yet: those are the tail's to tell.
        let mut from = Lsn(below.0.min(indexed.0 + 1));
        let read_max = limit + ENTRY_LINES_MAX;
        let mut scanned = 0;
        while rows.len() <= limit {
            if scanned >= SCAN_MAX {
                return Ok(Page { items: rows, next_below: Some(from) });
            }
            let older = self.index.history(key, from, read_max).map_err(internal)?;
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
        Ok(cut_page(rows, limit))
    }
}

/// Reads the entries of a page: neighbours often stand in one block, which is then read and decoded once.
struct Entries<'a> {
    core: &'a Core,
    block: Option<Arc<Block>>,
}

impl Entries<'_> {
    fn read(&mut self, lsn: Lsn) -> Result<Committed, Refusal> {
        if let Some(committed) = self.block.as_ref().and_then(|block| block.get(lsn)) {
            return Ok(committed);
        }
        if let Some(committed) = self.core.tail.by_lsn(lsn) {
            return Ok(committed);
        }
        let (_, block) = self.core.reader.block(lsn).map_err(internal)?.ok_or_else(|| internal("no such block"))?;
        let committed = block.get(lsn).ok_or_else(|| internal("the block does not hold its entry"))?;
        self.block = Some(block);
        Ok(committed)
    }
}

/// Cuts a list of rows at a page's end, between two entries: a token is an lsn.
fn cut_page(mut rows: Vec<HistoryRow>, limit: usize) -> Page<HistoryRow> {
    let Some(first_left_out) = rows.get(limit).map(|row| row.lsn) else {
        return Page { items: rows, next_below: None };
    };
    let mut end = rows.partition_point(|row| row.lsn > first_left_out);
    if end == 0 {
        // One entry with more lines than a page: the page grows to hold it.
        end = rows.partition_point(|row| row.lsn >= first_left_out);
    }
    rows.truncate(end);
    let next_below = rows.last().map(|row| row.lsn);
    Page { items: rows, next_below }
}
