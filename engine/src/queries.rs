//! Reads: what is, from the actors, and what was, from tail and index (P1).
//!
//! Clients read no further than what has been passed on to its accounts ([`crate::passed_on`]).

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    actors::messages::{FxMessage, RiskMessage},
    core::Core,
    engine::Engine,
    index::{AccountKey, HistoryRow},
    ledger::{
        commands::Request,
        decision::Change,
        entry::Committed,
        failure::Failure,
        fx::{Pair, PairPrice},
        operation::Operation,
        owner::Owner,
        rates::RateBook,
        risk::{Assessment, Verdict},
        time::Timestamp,
        wallet::AccountView,
    },
    money::{AccountId, Lsn, OpId, OwnerId, PostingKind, TenantId, TxId},
    pages::{Entries, Filling, Page, Position, SCAN_MAX, Window},
    refusal::{FieldError, Refusal, internal, interrupted},
};

/// How many rows a search looks at in one go: small pages must not repeat its beginning for every row.
const SCAN_STEP: usize = 256;

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

    /// A transfer as it is now.
    pub async fn transfer(&self, tenant: TenantId, id: OpId) -> Result<Committed, Refusal> {
        self.object("transfer", tenant, id, |change| matches!(change, Change::Transfer(_))).await
    }

    /// A deposit, a withdrawal or a reversal as it is now, and the entry that made it.
    pub async fn operation(&self, tenant: TenantId, id: OpId) -> Result<(Operation, Committed), Refusal> {
        let latest = self.object("operation", tenant, id, |change| matches!(change, Change::Operation(_))).await?;
        let found = latest.entry.decision.operation(id).cloned();
        let operation = found.ok_or_else(|| internal("the entry is not about its object"))?;
        let made = match operation.made {
            None => latest,
            Some(made) => self.0.read(self.0.on_read_pool(move |core| core.read_entry(made))).await?,
        };
        Ok((operation, made))
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

    /// A page of payments that were made within a time, [from, to). `show` makes a row and says how many bytes it takes.
    pub async fn payments<T: Send + 'static>(
        &self,
        tenant: TenantId,
        of: PaymentsOf,
        made: Range<Timestamp>,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        let accounts: Vec<AccountKey> = match &of {
            PaymentsOf::All => return self.all_payments(tenant, made, window, show).await,
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
        let page = self.0.on_read_pool(move |core| {
            let (down_to, window) = core.within(&made, window)?;
            core.objects_page((&accounts, |row| row.payment), down_to, window, |made| {
                Ok(core.now(made)?.and_then(|now| shown(&now)))
            })
        });
        self.0.read(page).await
    }

    /// The window as far as a client may read: what commits meanwhile is for the next reader.
    pub(crate) async fn up_to_now(&self, window: Window) -> Window {
        let readable = Position::before(Lsn(self.readable().await.0.saturating_add(1)));
        Window { below: window.below.min(readable), ..window }
    }

    /// A page of the reservations that hold, or held, money of an account, the youngest first. `show` makes a row and says
    /// how many bytes it takes.
    pub async fn reservations<T: Send + 'static>(
        &self,
        tenant: TenantId,
        account: &AccountId,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        self.account(tenant, account).await?;
        let (accounts, window) = ([(tenant, account.clone())], self.up_to_now(window).await);
        let page = self.0.on_read_pool(move |core| {
            core.objects_page((&accounts, sets_aside), Lsn(0), window, |made| {
                let Request::Reserve(_) = &made.entry.request else { return Ok(None) };
                let now = core.object(made.entry.tenant, made.entry.op)?;
                Ok(show(now.as_ref().unwrap_or(made)))
            })
        });
        self.0.read(page).await
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
    /// A page of objects, by the rows that accounts have of the entries which made them.
    fn objects_page<T>(
        &self,
        (accounts, wanted): (&[AccountKey], fn(&HistoryRow) -> bool),
        down_to: Lsn,
        window: Window,
        show: impl Fn(&Committed) -> Result<Option<(T, usize)>, Refusal>,
    ) -> Result<Page<T>, Refusal> {
        let mut below = window.below;
        let (mut page, mut scanned) = (Filling::new(window), 0_usize);
        let limit = page.window.rows_max.max(SCAN_STEP);
        let mut entries = Entries::new(self);
        loop {
            // The newest lsns of all accounts; a payment between two of them appears in both histories.
            let mut lsns = BTreeSet::new();
            let mut floor = Lsn(0);
            for account in accounts {
                let rows = self.history(account, below, limit, wanted)?;
                // It ended for the rows that are not wanted.
                let is_cut = rows.items.len() < limit && rows.next_below.is_some();
                scanned = scanned.saturating_add(if is_cut { SCAN_MAX } else { 0 });
                floor = floor.max(rows.next_below.map_or(Lsn(0), |next| next.lsn));
                lsns.extend(rows.items.iter().map(|row| row.lsn));
            }
            for lsn in lsns.into_iter().rev().filter(|lsn| *lsn >= floor.max(down_to)) {
                scanned = scanned.saturating_add(1);
                let committed = entries.read(lsn)?;
                if show(&committed)?.is_some_and(|row| !page.take(row)) {
                    return Ok(page.ends(Some(Position::before(Lsn(lsn.0 + 1)))));
                }
            }
            if floor <= down_to {
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

    /// Where a page goes on: its token names the entry, which must be one of the payment.
    fn entry_of_payment_before(&self, below: Lsn, latest: &Committed) -> Result<Committed, Refusal> {
        let of = |committed: &Committed| committed.entry.payment().map(|payment| payment.id);
        let lsn = below.0.checked_sub(1).filter(|lsn| *lsn > 0);
        let found = lsn.map(|lsn| self.read_entry(Lsn(lsn))).transpose()?;
        let is_its = |found: &Committed| found.entry.tenant == latest.entry.tenant && of(found) == of(latest);
        let wrong = || Refusal::Invalid(vec![FieldError::new("page_token", "is not of this list")]);
        found.filter(is_its).ok_or_else(wrong)
    }

    fn payment_entries_page<T>(
        &self,
        latest: Committed,
        window: Window,
        show: impl Fn(&Committed) -> Option<(T, usize)>,
    ) -> Result<Page<T>, Refusal> {
        let (mut page, mut entries) = (Filling::new(window), Entries::new(self));
        let mut next = Some(match window.below.lsn {
            below if below <= latest.lsn => self.entry_of_payment_before(below, &latest)?,
            _ => latest,
        });
        let mut scanned = 0;
        while let Some(committed) = next {
            scanned += 1;
            let here = Position::before(Lsn(committed.lsn.0.saturating_add(1)));
            if scanned > SCAN_MAX || show(&committed).is_some_and(|row| !page.take(row)) {
                return Ok(page.ends(Some(here)));
            }
            let life = committed.entry.payment().and_then(|payment| payment.life.as_ref());
            let before = life.and_then(|life| life.before.as_ref());
            next = before.map(|before| entries.read(before.previous)).transpose()?;
        }
        Ok(page.ends(None))
    }
}

fn sets_aside(row: &HistoryRow) -> bool {
    row.moved.is_some_and(|moved| matches!(moved.kind, PostingKind::Authorize { .. }))
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
