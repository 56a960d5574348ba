//! Risk: rules over the context of a payment, evaluated before any hold.
//!
//! Exact integers only. Every rule that fires adds its points and its name to the verdict, and the verdict is part of
//! the entry, so a decision can be explained later. State is a bounded window per customer: what was let through, and
//! declines that say something of the customer, never the rules' own refusals; it is rebuilt from the journal's last
//! minutes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::{request::Notes, time::Timestamp};
use crate::money::{AccountId, Currency, Money, OwnerId};

/// The highest score.
const SCORE_MAX: u8 = 100;
/// How many slots a sliding window is cut into.
const SLOTS: usize = 6;
/// How long one slot of the velocity window lasts: 6 x 10 s is the minute of the rule.
const VELOCITY_SLOT: Duration = Duration::from_secs(10);
/// How long one slot of the declines window lasts: 6 x 100 s are ten minutes.
const DECLINES_SLOT: Duration = Duration::from_secs(100);
/// How far back a window reaches: what a restart reads from the journal.
pub const WINDOW: Duration = Duration::from_secs(600);

/// Where a payment was made, as the client says. All optional; empty means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskContext {
    /// IP address.
    pub ip: String,
    /// Device id.
    pub device_id: String,
    /// ISO 3166-1 alpha-2 country of the customer.
    pub country: String,
    /// ISO 3166-1 alpha-2 country of the billing address.
    pub billing_country: String,
    /// Channel, such as web or pos.
    pub channel: String,
    /// ISO 18245 merchant category code.
    pub mcc: String,
}

/// What to do with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Go on.
    Accept,
    /// A person should look.
    Review,
    /// Decline.
    Reject,
}

impl Decision {
    /// The decision as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Review => "REVIEW",
            Self::Reject => "REJECT",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The amount is above the maximum of one payment in its currency.
    AmountAboveMax,
    /// Too many of the customer's payments were let through within a minute.
    VelocityPerMinute,
    /// The customer, or one of the accounts, is on the block list.
    AccountBlocked,
    /// The country, or the billing country, is on the block list.
    CountryBlocked,
    /// Country and billing country differ.
    CountryMismatch,
    /// The customer was declined too often within ten minutes.
    RecentDeclines,
    /// The verdict was review, and this build has no reviewers: declined (P9).
    ReviewUnavailable,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::AmountAboveMax,
        Self::VelocityPerMinute,
        Self::AccountBlocked,
        Self::CountryBlocked,
        Self::CountryMismatch,
        Self::RecentDeclines,
        Self::ReviewUnavailable,
    ];

    /// The reason as the wire and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AmountAboveMax => "amount_above_max",
            Self::VelocityPerMinute => "velocity_per_minute",
            Self::AccountBlocked => "account_blocked",
            Self::CountryBlocked => "country_blocked",
            Self::CountryMismatch => "country_mismatch",
            Self::RecentDeclines => "recent_declines",
            Self::ReviewUnavailable => "review_unavailable",
        }
    }
}

/// A decision with its score and reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to do.
    pub decision: Decision,
    /// 0 (nothing found) to 100.
    pub score: u8,
    /// Every rule that fired.
    pub reasons: Vec<Reason>,
}

/// The rules and what each is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskRules {
    /// The most one payment may be, per currency; a currency that is not listed has no maximum.
    pub amount_max: BTreeMap<u16, Money>,
    /// Payments let through per customer and minute before the rule fires.
    pub velocity_per_minute_max: u32,
    /// Declines of the customer's own doing per ten minutes before the rule fires.
    pub recent_declines_max: u32,
    /// Blocked customers and accounts, by id.
    pub blocked_ids: BTreeSet<String>,
    /// Blocked countries, ISO 3166-1 alpha-2.
    pub blocked_countries: BTreeSet<String>,
    /// Points of each rule, 0 to 100.
    pub points: RiskPoints,
    /// From this score on: review.
    pub review_score: u8,
    /// From this score on: reject.
    pub reject_score: u8,
    /// How many customers' windows are kept at most, per risk actor.
    pub tracked_customers_max: usize,
}

/// What each rule adds to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiskPoints {
    /// [`Reason::AmountAboveMax`].
    pub amount: u8,
    /// [`Reason::VelocityPerMinute`].
    pub velocity: u8,
    /// [`Reason::AccountBlocked`] and [`Reason::CountryBlocked`].
    pub blocked: u8,
    /// [`Reason::CountryMismatch`].
    pub country_mismatch: u8,
    /// [`Reason::RecentDeclines`].
    pub declines: u8,
}

/// What is asked of the rules.
#[derive(Debug, Clone)]
pub struct Assessment {
    /// Who pays.
    pub customer: OwnerId,
    /// How much.
    pub amount: Money,
    /// The accounts that may pay, and the payee's.
    pub accounts: smallvec::SmallVec<[AccountId; 3]>,
    /// What came with it: where it was made.
    pub notes: Notes,
}

/// What a payment that was decided counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// It moved money: velocity.
    LetThrough,
    /// It was declined for something of the customer's: declines.
    Declined,
    /// Neither.
    Nothing,
}

/// A count over the last [`SLOTS`] slots.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// The newest slot's number since the epoch.
    newest: u64,
    counts: [u32; SLOTS],
}

impl Window {
    fn count(&mut self, at: Timestamp, slot: Duration) -> u32 {
        self.turn(at, slot);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn add(&mut self, at: Timestamp, slot: Duration) {
        self.turn(at, slot);
        if let Some(newest) = self.counts.first_mut() {
            *newest = newest.saturating_add(1);
        }
    }

    /// Takes one back that was added at `at`, if it still counts.
    fn take_back(&mut self, at: Timestamp, slot: Duration) {
        let slots_ago = usize::try_from(self.newest.saturating_sub(number(at, slot))).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get_mut(slots_ago) {
            *count = count.saturating_sub(1);
        }
    }

    /// Shifts the slots so that the first is the one of `at`. Where time went back, what was counted is as old as it
    /// was, and slides on from there.
    fn turn(&mut self, at: Timestamp, slot: Duration) {
        let now = number(at, slot);
        let steps = usize::try_from(now.saturating_sub(self.newest)).unwrap_or(usize::MAX).min(SLOTS);
        if steps > 0 {
            self.counts.rotate_right(steps.checked_rem(SLOTS).unwrap_or_default());
            self.counts.iter_mut().take(steps).for_each(|count| *count = 0);
        }
        self.newest = now;
    }
}

/// A slot's number since the epoch.
fn number(at: Timestamp, slot: Duration) -> u64 {
    at.0.checked_div(u64::try_from(slot.as_micros()).unwrap_or(u64::MAX)).unwrap_or_default()
}

#[derive(Debug, Clone, Copy, Default)]
struct Customer {
    payments: Window,
    declines: Window,
    last_seen: Timestamp,
}

/// The state of the rules: what each customer did lately.
#[derive(Debug, Default)]
pub struct RiskState {
    customers: HashMap<OwnerId, Customer, RandomState>,
}

impl RiskState {
    /// Judges a payment, and counts it if it is let through: at once, as many may be on their way.
    pub fn assess(&mut self, rules: &RiskRules, ask: &Assessment, now: Timestamp) -> Verdict {
        let verdict = self.score(rules, ask, now);
        if verdict.decision == Decision::Accept {
            self.note(rules, &ask.customer, now, Counts::LetThrough);
        }
        verdict
    }

    /// Judges a payment without counting it.
    pub fn score(&mut self, rules: &RiskRules, ask: &Assessment, now: Timestamp) -> Verdict {
        let (let_through, declines) = self.customers.get_mut(&ask.customer).map_or((0, 0), |customer| {
            (customer.payments.count(now, VELOCITY_SLOT), customer.declines.count(now, DECLINES_SLOT))
        });
        let blocked_id = !rules.blocked_ids.is_empty()
            && (rules.blocked_ids.contains(&*ask.customer)
                || ask.accounts.iter().any(|account| rules.blocked_ids.contains(&**account)));
        let context = &ask.notes.context;
        let blocked_country = rules.blocked_countries.contains(&context.country)
            || rules.blocked_countries.contains(&context.billing_country);
        let mismatch = !context.country.is_empty()
            && !context.billing_country.is_empty()
            && context.country != context.billing_country;
        let points = &rules.points;
        let findings = [
            (Reason::AmountAboveMax, rules.is_above_max(ask.amount), points.amount),
            (Reason::VelocityPerMinute, let_through >= rules.velocity_per_minute_max, points.velocity),
            (Reason::AccountBlocked, blocked_id, points.blocked),
            (Reason::CountryBlocked, blocked_country, points.blocked),
            (Reason::CountryMismatch, mismatch, points.country_mismatch),
            (Reason::RecentDeclines, declines >= rules.recent_declines_max, points.declines),
        ];
        let mut verdict = Verdict { decision: Decision::Accept, score: 0, reasons: Vec::new() };
        for (reason, fired, points) in findings {
            if fired {
                verdict.reasons.push(reason);
                verdict.score = verdict.score.saturating_add(points).min(SCORE_MAX);
            }
        }
        verdict.decision = rules.decide(verdict.score);
        verdict
    }

    /// Counts a payment: as it is decided, or an entry of the journal after a restart.
    pub fn note(&mut self, rules: &RiskRules, customer: &OwnerId, at: Timestamp, counts: Counts) {
        match counts {
            Counts::LetThrough => self.with(rules, customer, at, |state| state.payments.add(at, VELOCITY_SLOT)),
            Counts::Declined => self.with(rules, customer, at, |state| state.declines.add(at, DECLINES_SLOT)),
            Counts::Nothing => {}
        }
    }

    /// Takes back what [`RiskState::assess`] counted at `at`: the payment came to nothing.
    pub fn take_back(&mut self, customer: &OwnerId, at: Timestamp) {
        if let Some(state) = self.customers.get_mut(customer) {
            state.payments.take_back(at, VELOCITY_SLOT);
        }
    }

    fn with(&mut self, rules: &RiskRules, customer: &OwnerId, at: Timestamp, change: impl FnOnce(&mut Customer)) {
        if let Some(state) = self.customers.get_mut(customer) {
            state.last_seen = at;
            return change(state);
        }
        if self.customers.len() >= rules.tracked_customers_max {
            // Windows that have run out say nothing; beyond that the map is full and starts afresh.
            self.customers.retain(|_, state| at.since(state.last_seen) < WINDOW);
            if self.customers.len() >= rules.tracked_customers_max {
                self.customers.clear();
            }
        }
        let mut state = Customer { last_seen: at, ..Customer::default() };
        change(&mut state);
        self.customers.insert(customer.clone(), state);
    }

    /// How many customers are tracked.
    pub fn tracked(&self) -> usize {
        self.customers.len()
    }
}

impl RiskRules {
    fn is_above_max(&self, amount: Money) -> bool {
        self.max_of(amount.currency).is_some_and(|max| amount.minor > max.minor)
    }

    /// The most one payment may be in `currency`.
    pub fn max_of(&self, currency: Currency) -> Option<Money> {
        self.amount_max.get(&currency.numeric()).copied()
    }

    fn decide(&self, score: u8) -> Decision {
        if score >= self.reject_score {
            Decision::Reject
        } else if score >= self.review_score {
            Decision::Review
        } else {
            Decision::Accept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::request::NotesText;

    fn usd(text: &str) -> Money {
        Money::parse(text, Currency::from_code("USD").expect("USD")).expect("an amount")
    }

    fn rules() -> RiskRules {
        RiskRules {
            amount_max: BTreeMap::from([(840, usd("10000"))]),
            velocity_per_minute_max: 3,
            recent_declines_max: 2,
            blocked_ids: BTreeSet::from(["BAD".to_owned()]),
            blocked_countries: BTreeSet::from(["KP".to_owned()]),
            points: RiskPoints { amount: 100, velocity: 80, blocked: 100, country_mismatch: 20, declines: 50 },
            review_score: 50,
            reject_score: 80,
            tracked_customers_max: 4,
        }
    }

    fn ask(customer: &str, amount: &str) -> Assessment {
        Assessment {
            customer: OwnerId::parse(customer).expect("an id"),
            amount: usd(amount),
            accounts: smallvec::SmallVec::new(),
            notes: Notes::default(),
        }
    }

    #[test]
    fn each_rule_names_itself() {
        let mut state = RiskState::default();
        let now = Timestamp(1_000_000_000);
        let accepted = state.score(&rules(), &ask("A", "10000"), now);
        assert_eq!((accepted.decision, accepted.score), (Decision::Accept, 0));
        let large = state.score(&rules(), &ask("A", "10000.01"), now);
        assert_eq!((large.decision, large.reasons), (Decision::Reject, vec![Reason::AmountAboveMax]));
        let blocked = state.score(&rules(), &ask("BAD", "1"), now);
        assert_eq!(blocked.reasons, vec![Reason::AccountBlocked]);
        let mut abroad = ask("A", "1");
        let context = RiskContext { country: "KP".into(), billing_country: "ID".into(), ..RiskContext::default() };
        abroad.notes = NotesText { context, ..NotesText::default() }.into();
        let verdict = state.score(&rules(), &abroad, now);
        assert_eq!(verdict.reasons, vec![Reason::CountryBlocked, Reason::CountryMismatch]);
        assert_eq!(verdict.score, 100);
    }

    #[test]
    fn velocity_slides_and_declines_lead_to_review() {
        let mut state = RiskState::default();
        let start = Timestamp(1_000_000_000);
        for _ in 0..3 {
            assert_eq!(state.assess(&rules(), &ask("A", "1"), start).decision, Decision::Accept);
        }
        assert_eq!(state.assess(&rules(), &ask("A", "1"), start).reasons, vec![Reason::VelocityPerMinute]);
        assert_eq!(state.assess(&rules(), &ask("B", "1"), start).decision, Decision::Accept);
        let later = start.plus(Duration::from_secs(70));
        assert_eq!(state.assess(&rules(), &ask("A", "1"), later).decision, Decision::Accept);
        let who = OwnerId::parse("C").expect("an id");
        state.note(&rules(), &who, start, Counts::Declined);
        state.note(&rules(), &who, start, Counts::Declined);
        assert_eq!(state.score(&rules(), &ask("C", "1"), later).decision, Decision::Review);
        assert_eq!(state.score(&rules(), &ask("C", "1"), start.plus(WINDOW * 2)).decision, Decision::Accept);
    }

    /// A customer who keeps asking above the limit goes on getting as much as the limit allows.
    #[test]
    fn what_was_refused_or_came_to_nothing_is_no_velocity() {
        let (mut state, start) = (RiskState::default(), Timestamp(1_000_000_000));
        let mut let_through = [0; 10];
        for second in 0..600_u64 {
            let now = start.plus(Duration::from_secs(second));
            if state.assess(&rules(), &ask("A", "1"), now).decision == Decision::Accept {
                let_through[usize::try_from(second / 60).expect("small")] += 1;
            }
        }
        assert_eq!(let_through, [3; 10]);
        let who = OwnerId::parse("B").expect("an id");
        for second in 0..600_u64 {
            let now = start.plus(Duration::from_secs(second));
            assert_eq!(state.assess(&rules(), &ask("B", "1"), now).decision, Decision::Accept);
            state.take_back(&who, now);
        }
    }

    /// A clock that goes back a day does not hold a customer's counts for a day.
    #[test]
    fn counts_slide_on_where_time_went_back() {
        let (mut state, ahead) = (RiskState::default(), Timestamp(90_000_000_000));
        for _ in 0..3 {
            state.assess(&rules(), &ask("A", "1"), ahead);
        }
        let back = ahead.minus(Duration::from_secs(86_400));
        assert_eq!(state.assess(&rules(), &ask("A", "1"), back).reasons, [Reason::VelocityPerMinute]);
        let later = back.plus(Duration::from_secs(60));
        assert_eq!(state.assess(&rules(), &ask("A", "1"), later).decision, Decision::Accept);
    }

    #[test]
    fn the_map_of_customers_is_bounded() {
        let mut state = RiskState::default();
        for n in 0..100 {
            state.assess(&rules(), &ask(&format!("C{n}"), "1"), Timestamp(1_000_000_000));
            assert!(state.tracked() <= rules().tracked_customers_max);
        }
    }
}
