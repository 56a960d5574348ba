//! The reference: plain arithmetic over the entries, in their order, and what each entry, answer and read must be.
//!
//! It knows nothing of actors, holds or indexes. What was in flight at the same time is all it allows a decline for.

mod declines;
mod operations;
mod payments;
mod reads;
mod transfers;
mod velocity;

use std::collections::BTreeMap;

use arus_engine::{
    ledger::{
        commands::{CreatePayment, Request},
        entry::{Committed, Entry},
        notes::Notes,
        reservation::{Finality, ReservationStatus},
        settings::{AccountStatus, DailyLimit},
        time::Timestamp,
    },
    money::{AccountId, Lsn, Money, NO_DAY, OpId, OwnerId, PostingKind},
};

use self::{
    operations::Done,
    payments::{Line, Paid},
    transfers::{Moved, passes_through},
};
use crate::{books::Books, commands::Objects};

/// What is wrong.
pub type Wrong = String;

/// Whom a payment pays that names nobody.
const MERCHANT: &str = "A";

/// A command as a client sent it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub key: String,
    pub request: Request,
    /// What else was sent under the key: whatever comes first is what counts.
    pub others: Vec<Request>,
    pub notes: Notes,
    /// What clients had been told of when it was sent first: what is committed and on its way may not have reached its
    /// accounts.
    pub after: Lsn,
    /// When it was sent first, or the earliest that the clock said since.
    pub time: Timestamp,
    /// Whether all that it names was known to be there by then.
    pub is_known: bool,
    /// How many calls wait for it.
    pub calls: usize,
    /// What was committed when it ended, if it did.
    pub ended: Option<Lsn>,
}

impl Sent {
    fn bodies(&self) -> impl Iterator<Item = &Request> {
        std::iter::once(&self.request).chain(&self.others)
    }
}

/// An account after an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub owner: OwnerId,
    pub status: AccountStatus,
    pub balance: i128,
    pub aside: i128,
    pub overdraft: i128,
    pub minimum: i128,
    pub limit: Option<i128>,
    pub day: u32,
    pub day_debits: i128,
}

/// A reservation after an entry.
#[derive(Debug, Clone)]
struct Held {
    account: AccountId,
    destination: Option<AccountId>,
    remaining: i128,
    is_active: bool,
    expires_at: Timestamp,
}

/// What an opening or a change sets, as it was asked for.
fn settle(state: &mut State, request: &Request, named: usize) -> Result<(), Wrong> {
    match request {
        Request::OpenAccount(open) => {
            (state.overdraft, state.limit) = (open.overdraft_limit, open.daily_debit_limit);
            state.minimum = open.minimum_balance.unwrap_or_default();
        }
        Request::UpdateAccount(update) => {
            let is_empty = state.balance == 0 && state.aside == 0 && named == 0;
            let closes = update.change.status == Some(AccountStatus::Closed);
            must!(!closes || is_empty, "an account was closed that is not empty");
            must!(state.status != AccountStatus::Closed, "a closed account was changed");
            state.status = update.change.status.unwrap_or(state.status);
            state.overdraft = update.change.overdraft_limit.map_or(state.overdraft, |limit| limit.minor);
            state.minimum = update.change.minimum_balance.map_or(state.minimum, |minimum| minimum.minor);
            must!(state.overdraft == 0 || state.minimum == 0, "it may go below zero and has to keep something");
            state.limit = match update.change.daily_debit_limit {
                Some(DailyLimit::AtMost(limit)) => Some(limit.minor),
                Some(DailyLimit::Unlimited) => None,
                None => state.limit,
            };
        }
        _ => return Err("another command than one about accounts changed one".into()),
    }
    Ok(())
}

/// See the module.
#[derive(Default)]
pub struct Model {
    pub entries: Vec<Committed>,
    keys: BTreeMap<String, Lsn>,
    accounts: BTreeMap<AccountId, Vec<(Lsn, State)>>,
    reservations: BTreeMap<OpId, Held>,
    payments: BTreeMap<OpId, Paid>,
    transfers: BTreeMap<OpId, Moved>,
    operations: BTreeMap<OpId, Done>,
    pub books: Books,
    velocity_max: usize,
    /// When each entry's command was sent.
    sent_at: Vec<Timestamp>,
    /// Whether the clock ever jumped: then what a minute is depends on whom one asks.
    pub has_jumped: bool,
    /// The latest that the clock ever said: an expiry that was decided stays decided when the clock goes back (P6).
    pub latest: Timestamp,
    at: Timestamp,
}

/// Fails with a message unless something holds.
macro_rules! must {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(format!($($message)*));
        }
    };
}
pub(crate) use must;

impl Model {
    /// Nothing yet; so many payments of one customer are let through in a minute.
    pub fn with_velocity(velocity_max: usize) -> Self {
        Self { velocity_max, ..Self::default() }
    }

    /// The last entry.
    pub fn head(&self) -> Lsn {
        Lsn(self.entries.len() as u64)
    }

    /// The entry under a key.
    pub fn under(&self, key: &str) -> Option<&Committed> {
        self.keys.get(key).and_then(|lsn| self.entry(*lsn))
    }

    /// An entry.
    pub fn entry(&self, lsn: Lsn) -> Option<&Committed> {
        self.entries.get(usize::try_from(lsn.0).ok()?.checked_sub(1)?)
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    /// What was made and accepted, for commands about it.
    pub fn objects(&self) -> Objects {
        let reservations = self.reservations.keys().copied().collect();
        let (transfers, operations) = (self.transfers(), self.operations());
        Objects { reservations, payments: self.payments(), transfers, operations }
    }

    /// An account as of an entry.
    fn state(&self, id: &AccountId, lsn: Lsn) -> Option<&(Lsn, State)> {
        self.accounts.get(id)?.iter().rev().find(|(changed, _)| *changed <= lsn)
    }

    /// An account's states from one entry to now.
    fn since(&self, id: &AccountId, lsn: Lsn) -> impl Iterator<Item = &State> {
        let states = self.accounts.get(id).map_or(&[][..], Vec::as_slice);
        let from = states.iter().rposition(|(changed, _)| *changed <= lsn).unwrap_or(0);
        states[from..].iter().map(|(_, state)| state)
    }

    /// Takes the next entry in: it must be what its command and everything before it allow. `others` are the commands
    /// that were in flight together with it.
    pub fn take(&mut self, committed: &Committed, sent: Option<&Sent>, others: &[&Sent]) -> Result<(), Wrong> {
        let (lsn, entry) = (committed.lsn, &*committed.entry);
        must!(lsn.0 == self.head().0 + 1, "lsn {lsn} follows {}", self.head());
        must!(committed.at >= self.at, "the time of lsn {lsn} is before that of the entry before");
        let key = entry.tx_id.to_string();
        if let Some(first) = self.keys.insert(key.clone(), lsn) {
            return Err(format!("{key} was decided at lsn {first} and again at {lsn}"));
        }
        match sent {
            Some(sent) => must!(sent.bodies().any(|body| *body == entry.request), "nobody sent lsn {lsn} under {key}"),
            None => must!(key.starts_with("sys/"), "nobody sent {key}"),
        }
        let after = sent.map_or(Lsn(lsn.0 - 1), |sent| sent.after);
        if let Some(sent) = sent.filter(|_| !self.has_jumped) {
            self.check_velocity(committed, sent, others).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
            self.check_times(entry, sent).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
        }
        match entry.failure() {
            Some(failure) => {
                must!(entry.postings().is_empty(), "lsn {lsn} was declined and moves money");
                self.check_decline(entry, failure.code, after, others).map_err(|why| format!("lsn {lsn}: {why}"))?;
            }
            None => {
                self.check_accepted(committed, after).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
                self.apply(committed, after).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
                self.check_limits(entry, after).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
            }
        }
        self.at = committed.at;
        self.entries.push(committed.clone());
        self.sent_at.push(sent.map_or(committed.at, |sent| sent.time));
        Ok(())
    }

    /// What is counted by time counts from between sending and deciding.
    fn check_times(&self, entry: &Entry, sent: &Sent) -> Result<(), Wrong> {
        let days = sent.time.utc_day()..=self.latest.utc_day();
        for posting in entry.postings() {
            if let PostingKind::Debit { held_on } | PostingKind::Authorize { held_on } = posting.kind
                && held_on != NO_DAY
            {
                must!(
                    days.contains(&held_on),
                    "{} counts for day {held_on} and not for one of {days:?}",
                    posting.account
                );
            }
        }
        match &entry.request {
            Request::Reserve(reserve) if entry.failure().is_none() => {
                let made = entry.decision.reservation().ok_or("no reservation")?;
                let lasts = reserve.expires_in.ok_or("it names no time")?;
                let ends = sent.time.plus(lasts)..=self.latest.max(self.at).plus(lasts);
                must!(ends.contains(&made.expires_at), "it ends at {} and not within {ends:?}", made.expires_at.0);
            }
            Request::CreatePayment(CreatePayment { manual: Some(manual), .. }) if entry.failure().is_none() => {
                let life = entry.payment().and_then(|payment| payment.life.as_ref()).ok_or("no life")?;
                let ends_at = life.authorization.as_ref().ok_or("nothing is set aside")?.expires_at;
                let lasts = manual.expires_in.ok_or("it names no time")?;
                let ends = sent.time.plus(lasts)..=self.latest.max(self.at).plus(lasts);
                must!(ends.contains(&ends_at), "it ends at {} and not within {ends:?}", ends_at.0);
            }
            Request::CreateTransfer(create) if entry.failure().is_none() => {
                let ends_at = entry.decision.transfer().and_then(|transfer| transfer.expires_at);
                let lasts = create.hold.and_then(|hold| hold.expires_in);
                must!(ends_at.is_some() == lasts.is_some(), "it ends at {ends_at:?}, it was to last {lasts:?}");
                if let (Some(ends_at), Some(lasts)) = (ends_at, lasts) {
                    let ends = sent.time.plus(lasts)..=self.latest.max(self.at).plus(lasts);
                    must!(ends.contains(&ends_at), "it ends at {} and not within {ends:?}", ends_at.0);
                }
            }
            Request::PostTransfer(post) if entry.failure().is_none() => {
                let ends_at = self.transfer(post.transfer)?.expires_at.ok_or("it has no end")?;
                must!(sent.time < ends_at, "it was posted after its end at {}", ends_at.0);
            }
            Request::CapturePayment(capture) if entry.failure().is_none() => {
                let ends_at = self.paid(capture.payment)?.expires_at.ok_or("it has no end")?;
                must!(sent.time < ends_at, "it was captured after its end at {}", ends_at.0);
            }
            Request::Capture(capture) if entry.failure().is_none() => {
                let held = self.active(capture.reservation)?;
                must!(sent.time < held.expires_at, "it was captured after its end at {}", held.expires_at.0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Active reservations and open payments whose time is over.
    pub fn overdue(&self, now: Timestamp) -> Vec<OpId> {
        let held = self.reservations.iter().filter(|(_, held)| held.is_active && held.expires_at <= now);
        let paid =
            self.payments.iter().filter(|(_, paid)| paid.is_open() && paid.expires_at.is_some_and(|at| at <= now));
        let moved =
            self.transfers.iter().filter(|(_, moved)| moved.is_held() && moved.expires_at.is_some_and(|at| at <= now));
        let ids = held.map(|(id, _)| *id).chain(paid.map(|(id, _)| *id));
        ids.chain(moved.map(|(id, _)| *id)).collect()
    }

    /// What moves on clients' accounts is what was asked for, and everything sums to zero.
    fn check_accepted(&self, committed: &Committed, after: Lsn) -> Result<(), Wrong> {
        let entry = &*committed.entry;
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        for posting in entry.postings() {
            *sums.entry(posting.amount.currency.to_string()).or_default() += posting.signed_minor();
        }
        must!(sums.values().all(|sum| *sum == 0), "the postings sum to {sums:?}");
        let own = entry.postings().iter().filter(|posting| !posting.account.is_system());
        let mut moved: Vec<_> = own.map(|line| (line.account.clone(), line.kind.name(), line.amount)).collect();
        moved.sort_unstable_by_key(|line| (line.0.clone(), line.1, line.2.minor));
        let mut asked = self.asked(committed, after)?;
        asked.sort_unstable_by_key(|line| (line.0.clone(), line.1, line.2.minor));
        must!(moved == asked, "it moves {moved:?}, asked for was {asked:?}");
        let frees = matches!(entry.request, Request::VoidTransfer(_) | Request::Expire(_));
        for (id, what, _) in &moved {
            if !frees && ["debit", "authorization", "credit", "return"].contains(what) {
                let is_open = self.since(id, after).any(|state| state.status == AccountStatus::Active);
                must!(is_open, "{id} took part and was not active");
            }
        }
        Ok(())
    }

    /// What should move on clients' accounts.
    fn asked(&self, committed: &Committed, after: Lsn) -> Result<Vec<Line>, Wrong> {
        let entry = &*committed.entry;
        Ok(match &entry.request {
            Request::Deposit(deposit) => vec![(deposit.0.account.clone(), "credit", deposit.0.amount)],
            Request::Withdraw(withdraw) => vec![(withdraw.0.account.clone(), "debit", withdraw.0.amount)],
            Request::Reserve(reserve) => vec![(reserve.account.clone(), "authorization", reserve.amount)],
            Request::CreatePayment(request) => self.made(request, committed)?.1,
            Request::CapturePayment(_)
            | Request::VoidPayment(_)
            | Request::RefundPayment(_)
            | Request::UpdatePayment(_) => self.stepped(committed, after)?.2,
            Request::Expire(_) if entry.payment().is_some() => self.stepped(committed, after)?.2,
            Request::CreateTransfer(_) | Request::PostTransfer(_) | Request::VoidTransfer(_) => {
                self.transferred(committed)?.2
            }
            Request::Expire(_) | Request::ReverseOperation(_) if entry.decision.transfer().is_some() => {
                self.transferred(committed)?.2
            }
            Request::ReverseOperation(reverse) => self.taken_back(reverse.operation)?,
            Request::Capture(capture) => {
                let held = self.active(capture.reservation)?;
                let currency = entry.decision.reservation().ok_or("no reservation")?.amount.currency;
                let taken = capture.amount.map_or(held.remaining, |amount| amount.minor);
                must!(taken <= held.remaining, "{taken} was captured of {}", held.remaining);
                let payee = capture.destination.as_ref().or(held.destination.as_ref()).ok_or("nobody was credited")?;
                let money = |minor| Money::new(minor, currency);
                let mut lines =
                    vec![(held.account.clone(), "settlement", money(taken)), (payee.clone(), "credit", money(taken))];
                if capture.finality == Finality::Final && taken < held.remaining {
                    lines.push((held.account.clone(), "release", money(held.remaining - taken)));
                }
                lines
            }
            Request::Release(release) => self.freed(release.reservation, entry)?,
            Request::Expire(expire) => {
                let held = self.active(expire.object)?;
                must!(
                    held.expires_at <= self.latest.max(committed.at),
                    "a reservation expired that ends at {}",
                    held.expires_at.0
                );
                self.freed(expire.object, entry)?
            }
            Request::OpenAccount(_)
            | Request::UpdateAccount(_)
            | Request::PublishRates(_)
            | Request::RemoveRates(_) => Vec::new(),
        })
    }

    fn active(&self, id: OpId) -> Result<&Held, Wrong> {
        self.reservations.get(&id).filter(|held| held.is_active).ok_or(format!("reservation {id} is not active"))
    }

    fn freed(&self, id: OpId, entry: &Entry) -> Result<Vec<Line>, Wrong> {
        let held = self.active(id)?;
        let currency = entry.decision.reservation().ok_or("no reservation")?.amount.currency;
        Ok(vec![(held.account.clone(), "release", Money::new(held.remaining, currency))])
    }

    fn apply(&mut self, committed: &Committed, after: Lsn) -> Result<(), Wrong> {
        let (entry, lsn) = (&*committed.entry, committed.lsn);
        self.books.apply(committed);
        if let Some((account, _)) = entry.decision.changed_account() {
            let mut state = self.state(&account.id, lsn).map_or_else(
                || State {
                    owner: account.owner.clone(),
                    status: AccountStatus::Active,
                    balance: 0,
                    aside: 0,
                    overdraft: 0,
                    minimum: 0,
                    limit: None,
                    day: 0,
                    day_debits: 0,
                },
                |(_, state)| state.clone(),
            );
            must!(state.owner == account.owner, "{} changed its owner", account.id);
            settle(&mut state, &entry.request, self.names(&account.id))?;
            self.accounts.entry(account.id.clone()).or_default().push((lsn, state));
        }
        for posting in entry.postings().iter().filter(|posting| !posting.account.is_system()) {
            let state = self.state(&posting.account, lsn).ok_or(format!("{} is not open", posting.account))?;
            let mut state = state.1.clone();
            let minor = posting.amount.minor;
            let mut counts = |day: u32, minor: i128| {
                if day == NO_DAY {
                    return;
                }
                // A day that a wrong clock wrote.
                if state.day > day + 1 {
                    state.day = day;
                }
                if day > state.day {
                    (state.day, state.day_debits) = (day, 0);
                }
                if day == state.day {
                    state.day_debits += minor;
                }
            };
            match posting.kind {
                PostingKind::Debit { held_on } => {
                    counts(held_on, minor);
                    state.balance -= minor;
                }
                PostingKind::Authorize { held_on } => {
                    counts(held_on, minor);
                    state.aside += minor;
                }
                PostingKind::Void { held_on } => {
                    if held_on == state.day && held_on != NO_DAY {
                        state.day_debits -= minor;
                    }
                    state.aside -= minor;
                }
                PostingKind::Settle => (state.balance, state.aside) = (state.balance - minor, state.aside - minor),
                PostingKind::Credit => state.balance += minor,
                PostingKind::Return => state.balance -= minor,
            }
            must!(state.aside >= 0, "{} has {} set aside", posting.account, state.aside);
            self.accounts.entry(posting.account.clone()).or_default().push((lsn, state));
        }
        for id in self.apply_objects(committed, after)? {
            if self.touches(&id, lsn) {
                continue;
            }
            let (_, state) = self.state(&id, lsn).ok_or(format!("{id} is not open"))?.clone();
            self.accounts.entry(id).or_default().push((lsn, state));
        }
        Ok(())
    }

    /// Whether an entry changed an account by what was applied of it so far.
    fn touches(&self, id: &AccountId, lsn: Lsn) -> bool {
        self.state(id, lsn).is_some_and(|(changed, _)| *changed == lsn)
    }

    /// What becomes of payments and reservations; gives the accounts that are named from now on, or no more.
    fn apply_objects(&mut self, committed: &Committed, after: Lsn) -> Result<Vec<AccountId>, Wrong> {
        let entry = &*committed.entry;
        if entry.payment().is_some() {
            let (id, before, paid) = match &entry.request {
                Request::CreatePayment(request) => (entry.op, false, self.made(request, committed)?.0),
                _ => {
                    let (id, paid, _) = self.stepped(committed, after)?;
                    (id, self.paid(id)?.is_open(), paid)
                }
            };
            let named = match before == paid.is_open() {
                true => vec![],
                false => paid.names(),
            };
            self.payments.insert(id, paid);
            return Ok(named);
        }
        self.apply_operation(entry);
        let mut named = vec![];
        if entry.decision.transfer().is_some() {
            let (id, moved, _) = self.transferred(committed)?;
            if self.transfers.get(&id).is_some_and(Moved::is_held) != moved.is_held() {
                named = moved.names();
            }
            self.transfers.insert(id, moved);
        }
        if let Some(after) = entry.decision.reservation() {
            let was_active = self.reservations.get(&after.id).is_some_and(|held| held.is_active);
            let is_active = after.status == ReservationStatus::Active;
            if was_active != is_active {
                named = [Some(after.account.clone()), after.destination.clone()].into_iter().flatten().collect();
            }
            let held = Held {
                account: after.account.clone(),
                destination: after.destination.clone(),
                remaining: after.remaining.minor,
                is_active: after.status == ReservationStatus::Active,
                expires_at: after.expires_at,
            };
            self.reservations.insert(after.id, held);
        }
        Ok(named)
    }

    /// Nobody is overdrawn, and no limit is passed, by what was just applied.
    fn check_limits(&self, entry: &Entry, after: Lsn) -> Result<(), Wrong> {
        let lines = entry.postings().iter().filter(|posting| !posting.account.is_system());
        for posting in lines {
            let counts = match posting.kind {
                PostingKind::Debit { held_on } | PostingKind::Authorize { held_on } => held_on != NO_DAY,
                _ => false,
            };
            if !counts && posting.kind != PostingKind::Return {
                continue;
            }
            let id = &posting.account;
            let Some(state) = self.since(id, after).last() else { continue };
            let minimum = self.since(id, after).map(|state| state.minimum).min().unwrap_or_default();
            let available = |state: &State| state.balance - state.aside + state.overdraft - minimum;
            // What was set aside before does not fail on what has to stay since, nor what takes nothing of its own: then
            // there is no less than before.
            let takes_nothing = matches!(entry.request, Request::PostTransfer(_)) || passes_through(entry, id);
            let before = self.state(id, self.head()).map_or(0, |(_, before)| available(before));
            let least = if takes_nothing { before.min(0) } else { 0 };
            must!(available(state) >= least, "{id} has {} available, and had {before}", available(state));
            let limit_stood = self.since(id, after).all(|before| before.limit == state.limit);
            if let Some(limit) = state.limit.filter(|_| limit_stood && counts) {
                must!(state.day_debits <= limit, "{id} was debited {} on a day of {limit}", state.day_debits);
            }
        }
        let made = entry.payment().filter(|_| matches!(entry.request, Request::CreatePayment(_)));
        self.books.check_legs(made.map_or(&[][..], |payment| &payment.fx), after)
    }

    /// Whether a request names only what clients know is there.
    pub fn knows_all_of(&self, request: &Request, is_known: impl Fn(&AccountId) -> bool) -> bool {
        let named = match request {
            Request::Deposit(deposit) => [Some(&deposit.0.account), None],
            Request::Withdraw(withdraw) => [Some(&withdraw.0.account), None],
            Request::Reserve(reserve) => [Some(&reserve.account), reserve.destination.as_ref()],
            Request::UpdateAccount(update) => [Some(&update.account), None],
            // Whether customer and house have accounts that may pay and be paid is their own matter.
            Request::CreatePayment(request) if request.source.is_none() || request.destination.is_none() => {
                return false;
            }
            Request::CreatePayment(request) => {
                let mut states = self.accounts.iter().filter_map(|(id, states)| Some((id, &states.first()?.1)));
                if !states.any(|(id, state)| state.owner == request.customer && is_known(id)) {
                    return false;
                }
                [request.source.as_ref(), request.destination.as_ref()]
            }
            Request::Capture(capture) => match self.reservations.get(&capture.reservation) {
                Some(held) => [Some(&held.account), capture.destination.as_ref().or(held.destination.as_ref())],
                None => return false,
            },
            Request::Release(release) => return self.reservations.contains_key(&release.reservation),
            Request::OpenAccount(_) | Request::PublishRates(_) | Request::RemoveRates(_) => [None, None],
            Request::CreateTransfer(create) => {
                return create.legs.iter().all(|leg| is_known(&leg.from) && is_known(&leg.to));
            }
            Request::PostTransfer(post) => return self.transfers.contains_key(&post.transfer),
            Request::VoidTransfer(void) => return self.transfers.contains_key(&void.transfer),
            Request::CapturePayment(capture) => return self.payments.contains_key(&capture.payment),
            Request::VoidPayment(void) => return self.payments.contains_key(&void.payment),
            Request::UpdatePayment(update) => return self.payments.contains_key(&update.payment),
            Request::ReverseOperation(reverse) => return self.operations().contains(&reverse.operation),
            Request::RefundPayment(refund) => {
                let splits = self.payments.get(&refund.payment).map(Paid::splits);
                return splits.is_some_and(|count| refund.splits.iter().all(|named| (named.index as usize) < count));
            }
            Request::Expire(_) => return false,
        };
        named.into_iter().flatten().all(is_known)
    }
}
