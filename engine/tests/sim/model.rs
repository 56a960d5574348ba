//! The reference: plain arithmetic over the entries, in their order, and what each entry, answer and read must be.
//!
//! It knows nothing of actors, holds or indexes. What was in flight at the same time is all it allows a decline for.

mod declines;
mod reads;
mod velocity;

use std::collections::BTreeMap;

use arus_engine::{
    ledger::{
        commands::Request,
        entry::{Committed, Entry},
        fx::LegSide,
        notes::Notes,
        reservation::{Finality, ReservationStatus},
        settings::{AccountStatus, DailyLimit},
        time::Timestamp,
    },
    money::{AccountId, Lsn, Money, OpId, OwnerId, PostingKind},
};

use crate::books::Books;

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
fn settle(state: &mut State, request: &Request) -> Result<(), Wrong> {
    match request {
        Request::OpenAccount(open) => {
            (state.overdraft, state.limit) = (open.overdraft_limit, open.daily_debit_limit);
        }
        Request::UpdateAccount(update) => {
            let is_empty = state.balance == 0 && state.aside == 0;
            let closes = update.change.status == Some(AccountStatus::Closed);
            must!(!closes || is_empty, "an account was closed that is not empty");
            must!(state.status != AccountStatus::Closed, "a closed account was changed");
            state.status = update.change.status.unwrap_or(state.status);
            state.overdraft = update.change.overdraft_limit.map_or(state.overdraft, |limit| limit.minor);
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

    /// Reservations that were made and accepted.
    pub fn reservations(&self) -> Vec<OpId> {
        self.reservations.keys().copied().collect()
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
                self.apply(committed).map_err(|why| format!("lsn {lsn} ({key}): {why}"))?;
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
            if let PostingKind::Debit { held_on } | PostingKind::Authorize { held_on } = posting.kind {
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
            Request::Capture(capture) if entry.failure().is_none() => {
                let held = self.active(capture.reservation)?;
                must!(sent.time < held.expires_at, "it was captured after its end at {}", held.expires_at.0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Active reservations whose time is over.
    pub fn overdue(&self, now: Timestamp) -> Vec<OpId> {
        let overdue = self.reservations.iter().filter(|(_, held)| held.is_active && held.expires_at <= now);
        overdue.map(|(id, _)| *id).collect()
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
        moved.sort_unstable_by_key(|line| (line.0.clone(), line.1));
        let mut asked = self.asked(committed)?;
        asked.sort_unstable_by_key(|line| (line.0.clone(), line.1));
        must!(moved == asked, "it moves {moved:?}, asked for was {asked:?}");
        for (id, what, _) in &moved {
            if ["debit", "authorization", "credit"].contains(what) {
                let is_open = self.since(id, after).any(|state| state.status == AccountStatus::Active);
                must!(is_open, "{id} took part and was not active");
            }
        }
        Ok(())
    }

    /// What should move on clients' accounts.
    fn asked(&self, committed: &Committed) -> Result<Vec<(AccountId, &'static str, Money)>, Wrong> {
        let entry = &*committed.entry;
        Ok(match &entry.request {
            Request::Deposit(deposit) => vec![(deposit.0.account.clone(), "credit", deposit.0.amount)],
            Request::Withdraw(withdraw) => vec![(withdraw.0.account.clone(), "debit", withdraw.0.amount)],
            Request::Reserve(reserve) => vec![(reserve.account.clone(), "authorization", reserve.amount)],
            Request::CreatePayment(request) => {
                let payment = entry.payment().ok_or("a payment without one")?;
                let (Some(debited), Some(credited)) = (payment.debited, payment.credited) else {
                    return Err("a captured payment without amounts".into());
                };
                let payer = self.state(&payment.payer, self.head()).ok_or("a payer nobody knows")?;
                must!(payer.1.owner == request.customer, "{} is not the customer's", payment.payer);
                must!(request.source.as_ref().is_none_or(|id| *id == payment.payer), "another source paid");
                must!(request.destination.as_ref().is_none_or(|id| *id == payment.payee), "another payee was paid");
                let payee = self.state(&payment.payee, self.head()).ok_or("a payee nobody knows")?;
                must!(request.destination.is_some() || payee.1.owner.to_string() == MERCHANT, "not the house was paid");
                let leg = |side| payment.fx.iter().find(|leg| leg.side == side || leg.side == LegSide::Both);
                let worth = |side| leg(side).map_or(request.amount, |leg| leg.to);
                must!(payment.fx.iter().all(|leg| leg.from == request.amount), "not the amount was converted");
                must!(debited == worth(LegSide::Payer), "the payer is debited {debited}");
                must!(credited == worth(LegSide::Payee), "the payee is credited {credited}");
                vec![(payment.payer.clone(), "debit", debited), (payment.payee.clone(), "credit", credited)]
            }
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
                let held = self.active(expire.reservation)?;
                must!(
                    held.expires_at <= self.latest.max(committed.at),
                    "a reservation expired that ends at {}",
                    held.expires_at.0
                );
                self.freed(expire.reservation, entry)?
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

    fn freed(&self, id: OpId, entry: &Entry) -> Result<Vec<(AccountId, &'static str, Money)>, Wrong> {
        let held = self.active(id)?;
        let currency = entry.decision.reservation().ok_or("no reservation")?.amount.currency;
        Ok(vec![(held.account.clone(), "release", Money::new(held.remaining, currency))])
    }

    fn apply(&mut self, committed: &Committed) -> Result<(), Wrong> {
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
                    limit: None,
                    day: 0,
                    day_debits: 0,
                },
                |(_, state)| state.clone(),
            );
            must!(state.owner == account.owner, "{} changed its owner", account.id);
            settle(&mut state, &entry.request)?;
            self.accounts.entry(account.id.clone()).or_default().push((lsn, state));
        }
        for posting in entry.postings().iter().filter(|posting| !posting.account.is_system()) {
            let state = self.state(&posting.account, lsn).ok_or(format!("{} is not open", posting.account))?;
            let mut state = state.1.clone();
            let minor = posting.amount.minor;
            let mut counts = |day: u32, minor: i128| {
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
                    if held_on == state.day {
                        state.day_debits -= minor;
                    }
                    state.aside -= minor;
                }
                PostingKind::Settle => (state.balance, state.aside) = (state.balance - minor, state.aside - minor),
                PostingKind::Credit => state.balance += minor,
            }
            must!(state.aside >= 0, "{} has {} set aside", posting.account, state.aside);
            self.accounts.entry(posting.account.clone()).or_default().push((lsn, state));
        }
        if let Some(after) = entry.decision.reservation() {
            let held = Held {
                account: after.account.clone(),
                destination: after.destination.clone(),
                remaining: after.remaining.minor,
                is_active: after.status == ReservationStatus::Active,
                expires_at: after.expires_at,
            };
            self.reservations.insert(after.id, held);
        }
        Ok(())
    }

    /// Nobody is overdrawn, and no limit is passed, by what was just applied.
    fn check_limits(&self, entry: &Entry, after: Lsn) -> Result<(), Wrong> {
        let lines = entry.postings().iter().filter(|posting| !posting.account.is_system());
        for posting in lines {
            let (PostingKind::Debit { .. } | PostingKind::Authorize { .. }) = posting.kind else { continue };
            let id = &posting.account;
            let Some(state) = self.since(id, after).last() else { continue };
            let available = state.balance - state.aside + state.overdraft;
            must!(available >= 0, "{id} is overdrawn by {}", -available);
            let limit_stood = self.since(id, after).all(|before| before.limit == state.limit);
            if let Some(limit) = state.limit.filter(|_| limit_stood) {
                must!(state.day_debits <= limit, "{id} was debited {} on a day of {limit}", state.day_debits);
            }
        }
        let fx = entry.payment().map_or(&[][..], |payment| &payment.fx);
        self.books.check_legs(fx, after)
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
            Request::Expire(_) => return false,
        };
        named.into_iter().flatten().all(is_known)
    }
}
