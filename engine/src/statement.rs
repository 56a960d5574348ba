//! What an account was: its balance as of a position or a time, and its statement over a period (P13).
//!
//! A time stands for all blocks before it: a period is [from, to), so that periods one after another share no line.

use std::ops::Range;

use crate::{
    core::Core,
    engine::Engine,
    index::{AccountKey, HistoryRow},
    ledger::{entry::Committed, time::Timestamp},
    money::{AccountId, Lsn, Money, PostingKind, TenantId},
    pages::{Entries, Filling, PAGE_MAX, Page, Position, Window},
    refusal::{FieldError, Refusal},
};

/// How many lines totals and what was set aside are summed up over at most.
pub const SUMMED_MAX: usize = 1_000_000;

/// How often the clock is looked at for the next microsecond.
const YIELDS_MAX: usize = 1_000;

/// Which state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// That after this entry.
    Lsn(Lsn),
    /// That after everything committed at this time or before.
    Time(Timestamp),
}

/// What an account held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceAsOf {
    /// Credits minus debits, posted.
    pub balance: Money,
    /// What was set aside.
    pub authorized: Money,
    /// The last entry that counts.
    pub lsn: Lsn,
}

/// What came in and what left over a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// All credits.
    pub credits: Money,
    /// All debits.
    pub debits: Money,
}

/// An account's statement over a period.
#[derive(Debug, Clone)]
pub struct Statement<T> {
    /// The balance before the first line of the period.
    pub opening: Money,
    /// That after its last line: `opening + credits - debits`.
    pub closing: Money,
    /// With the first page only.
    pub totals: Option<Totals>,
    /// Lines, newest first.
    pub page: Page<T>,
}

impl Engine {
    /// A page of an account's statement: postings with the balance after each. `show` makes a line and says how many
    /// bytes it takes.
    pub async fn entries<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: &AccountId,
        window: Window,
        show: impl Fn(&HistoryRow, &Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Page<T>, Refusal> {
        self.entries_within(tenant, id, Position::before(Lsn(0)), window, show).await
    }

    /// The same down to a position.
    pub(crate) async fn entries_within<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: &AccountId,
        down_to: Position,
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
                if Position::of(row) < down_to {
                    return Ok(page.ends(None));
                }
                let shown = show(row, &entries.read(row.lsn)?);
                if shown.is_some_and(|line| !page.take(line)) {
                    return Ok(page.ends(Some(above)));
                }
                above = Position::of(row);
            }
            Ok(page.ends(rows.next_below.filter(|next| *next > down_to)))
        });
        self.0.read(page).await
    }

    /// What an account held then.
    pub async fn balance_as_of(&self, tenant: TenantId, id: &AccountId, at: AsOf) -> Result<BalanceAsOf, Refusal> {
        let newest = self.settled(at).await?;
        let now = self.account(tenant, id).await?.account;
        let key = (tenant, id.clone());
        let read = self.0.on_read_pool(move |core| {
            let end = core.end_of(at, newest)?;
            let since = Position::before(end)..Position::before(Lsn(now.applied_lsn.0.saturating_add(1)));
            let mut authorized = now.authorized;
            core.each_row(at.field(), &key, since, |row| authorized = authorized.saturating_sub(set_aside(row)))?;
            let money = |minor| Money::new(minor, now.currency);
            Ok(BalanceAsOf {
                balance: money(core.balance_before(&key, end)?),
                authorized: money(authorized),
                lsn: Lsn(end.0.saturating_sub(1)),
            })
        });
        self.0.read(read).await
    }

    /// The balance of a client's account after an entry that moved money on it, if that can be read at once: it goes with
    /// the answer to the command, which it must not hold up or fail.
    pub async fn balance_after(&self, committed: &Committed) -> Option<Money> {
        let own = committed.entry.postings().iter().find(|posting| !posting.account.is_system())?;
        let (key, currency) = ((committed.entry.tenant, own.account.clone()), own.amount.currency);
        let end = Lsn(committed.lsn.0.saturating_add(1));
        let balance = self.0.on_load_pool(move |core| core.balance_before(&key, end)).await.ok()?;
        Some(Money::new(balance, currency))
    }

    /// An account's statement over [from, to). `show` makes a line and says how many bytes it takes.
    pub async fn statement<T: Send + 'static>(
        &self,
        tenant: TenantId,
        id: &AccountId,
        period: Range<Timestamp>,
        window: Window,
        show: impl Fn(&HistoryRow, &Committed) -> Option<(T, usize)> + Send + 'static,
    ) -> Result<Statement<T>, Refusal> {
        self.check_past("to", period.end)?;
        let newest = self.timed().await;
        let currency = self.account(tenant, id).await?.account.currency;
        let (key, is_first) = ((tenant, id.clone()), window.below == Position::NEWEST);
        let money = move |minor| Money::new(minor, currency);
        let read = self.0.on_read_pool(move |core| {
            let [from, to] = [core.first_at(period.start, newest)?, core.first_at(period.end, newest)?];
            let lines = Position::before(from)..Position::before(to);
            let (opening, closing) = (core.balance_before(&key, from)?, core.balance_before(&key, to)?);
            let totals = if is_first { Some(core.totals(&key, lines.clone())?) } else { None };
            Ok((lines, opening, closing, totals))
        });
        let (lines, opening, closing, totals) = self.0.read(read).await?;
        let totals = totals.map(|[credits, debits]| Totals { credits: money(credits), debits: money(debits) });
        let window = Window { below: window.below.min(lines.end), ..window };
        let page = self.entries_within(tenant, id, lines.start, window, show).await?;
        Ok(Statement { opening: money(opening), closing: money(closing), totals, page })
    }

    /// Waits until all that counts is there; gives what is newest then. What is still to come has no state.
    async fn settled(&self, at: AsOf) -> Result<Position, Refusal> {
        match at {
            AsOf::Time(time) => {
                self.check_past(at.field(), time)?;
                // Until nothing more can be committed at this very time.
                for _ in 0..YIELDS_MAX {
                    if self.clock().latest() > time {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                Ok(self.timed().await)
            }
            AsOf::Lsn(lsn) => {
                let newest = self.newest().await;
                if lsn < newest.lsn {
                    return Ok(newest);
                }
                let last = newest.lsn.0.saturating_sub(1);
                let rule = format!("is {}; the last position so far is {last}", lsn.0);
                Err(Refusal::Invalid(vec![FieldError::new(at.field(), rule)]))
            }
        }
    }

    fn check_past(&self, field: &'static str, time: Timestamp) -> Result<(), Refusal> {
        let is_past = time <= self.clock().latest();
        let ahead = || Refusal::Invalid(vec![FieldError::new(field, "lies ahead; give a time up to now")]);
        is_past.then_some(()).ok_or_else(ahead)
    }

    /// Waits for blocks that have their time already and are not durable yet. The clock was looked at before: whoever takes its
    /// time after this takes one that is no earlier.
    async fn timed(&self) -> Position {
        self.0.passed_on.reaches(self.clock().timed()).await;
        self.newest().await
    }

    async fn newest(&self) -> Position {
        self.up_to_now(Window { below: Position::NEWEST, rows_max: 1, bytes_max: 1 }).await.below
    }
}

impl AsOf {
    /// The field that names it.
    fn field(self) -> &'static str {
        match self {
            Self::Lsn(_) => "as_of_lsn",
            Self::Time(_) => "as_of_time",
        }
    }
}

/// The least distance of two times.
const TICK: std::time::Duration = std::time::Duration::from_micros(1);

/// What a line changed of what is set aside.
fn set_aside(row: &HistoryRow) -> i128 {
    let Some(moved) = row.moved else { return 0 };
    match moved.kind {
        PostingKind::Authorize { .. } => moved.amount_minor,
        PostingKind::Settle | PostingKind::Void { .. } => moved.amount_minor.saturating_neg(),
        PostingKind::Debit { .. } | PostingKind::Credit | PostingKind::Return => 0,
    }
}

impl Core {
    /// The first entry that does not count any more.
    fn end_of(&self, at: AsOf, newest: Position) -> Result<Lsn, Refusal> {
        match at {
            AsOf::Lsn(lsn) => Ok(Lsn(lsn.0.saturating_add(1))),
            AsOf::Time(time) => self.first_at(time.plus(TICK), newest),
        }
    }

    /// The posted balance before an entry.
    fn balance_before(&self, key: &AccountKey, lsn: Lsn) -> Result<i128, Refusal> {
        let mut below = Some(Position::before(lsn));
        while let Some(position) = below {
            // A page ends early among many rows on which nothing moved.
            let rows = self.history(key, position, 1, |row| row.moved.is_some())?;
            if let Some(moved) = rows.items.first().and_then(|row| row.moved) {
                return Ok(moved.balance_minor);
            }
            below = rows.next_below;
        }
        Ok(0)
    }

    /// Credits and debits of a range.
    fn totals(&self, key: &AccountKey, range: Range<Position>) -> Result<[i128; 2], Refusal> {
        let mut totals = [0_i128; 2];
        self.each_row("from", key, range, |row| {
            let Some(moved) = row.moved else { return };
            let [credits, debits] = &mut totals;
            let sum = match moved.kind {
                PostingKind::Credit => credits,
                PostingKind::Debit { .. } | PostingKind::Settle | PostingKind::Return => debits,
                PostingKind::Authorize { .. } | PostingKind::Void { .. } => return,
            };
            *sum = sum.saturating_add(moved.amount_minor);
        })?;
        Ok(totals)
    }

    /// Hands over every row of a range, newest first, unless its beginning lies too far back: the field that says where.
    fn each_row(
        &self,
        field: &'static str,
        key: &AccountKey,
        range: Range<Position>,
        mut take: impl FnMut(&HistoryRow),
    ) -> Result<(), Refusal> {
        let (mut below, mut seen) = (range.end, 0_usize);
        while below > range.start {
            let rows = self.history(key, below, PAGE_MAX, |_| true)?;
            let within = rows.items.iter().take_while(|row| Position::of(row) >= range.start);
            within.for_each(&mut take);
            seen = seen.saturating_add(rows.items.len());
            if seen > SUMMED_MAX {
                let rule =
                    format!("lies back more than {SUMMED_MAX} lines, which is too many to sum up; ask for a later one");
                return Err(Refusal::Invalid(vec![FieldError::new(field, rule)]));
            }
            let Some(next) =
                rows.next_below.filter(|_| rows.items.last().is_none_or(|row| Position::of(row) >= range.start))
            else {
                break;
            };
            below = next;
        }
        Ok(())
    }
}
