//! Judges payments by the rules and by what each customer did lately.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;

use super::{
    rules::RiskRules,
    verdict::{Reason, RiskDecision, Verdict},
    window::Window,
};
use crate::{
    ledger::{notes::Notes, time::Timestamp},
    money::{AccountId, Money, OwnerId},
};

/// The highest score.
const SCORE_MAX: u8 = 100;
/// How long one slot of the velocity window lasts: 6 x 10 s is the minute of the rule.
const VELOCITY_SLOT: Duration = Duration::from_secs(10);
/// How long one slot of the declines window lasts: 6 x 100 s are ten minutes.
const DECLINES_SLOT: Duration = Duration::from_secs(100);
/// How far back a window reaches: what a restart reads from the journal.
pub const WINDOW: Duration = Duration::from_secs(600);

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
        // Also one that is turned away: whoever keeps asking is not forgotten for newcomers.
        if let Some(customer) = self.customers.get_mut(&ask.customer) {
            customer.last_seen = now;
        }
        if verdict.decision == RiskDecision::Accept {
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
        let mut verdict = Verdict::accept();
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
            // Windows that have run out say nothing.
            self.customers.retain(|_, state| at.since(state.last_seen) < WINDOW);
            if self.customers.len() >= rules.tracked_customers_max {
                self.forget_oldest();
            }
        }
        let mut state = Customer { last_seen: at, ..Customer::default() };
        change(&mut state);
        self.customers.insert(customer.clone(), state);
    }

    /// Forgets an eighth of all customers, those seen least lately: so many newcomers free nobody who is busy.
    fn forget_oldest(&mut self) {
        let mut seen: Vec<Timestamp> = self.customers.values().map(|state| state.last_seen).collect();
        let mut leave = seen.len().div_ceil(8);
        let Some(last) = leave.checked_sub(1) else { return };
        let (_, upto, _) = seen.select_nth_unstable(last);
        let upto = *upto;
        self.customers.retain(|_, state| {
            let leaves = state.last_seen <= upto && leave > 0;
            leave = leave.saturating_sub(usize::from(leaves));
            !leaves
        });
    }

    /// How many customers are tracked.
    pub fn tracked(&self) -> usize {
        self.customers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{
        notes::{NotesText, RiskContext},
        risk::RiskPoints,
    };
    use crate::money::Currency;
    use std::collections::{BTreeMap, BTreeSet};

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
        assert_eq!((accepted.decision, accepted.score), (RiskDecision::Accept, 0));
        let large = state.score(&rules(), &ask("A", "10000.01"), now);
        assert_eq!((large.decision, large.reasons), (RiskDecision::Reject, vec![Reason::AmountAboveMax]));
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
            assert_eq!(state.assess(&rules(), &ask("A", "1"), start).decision, RiskDecision::Accept);
        }
        assert_eq!(state.assess(&rules(), &ask("A", "1"), start).reasons, vec![Reason::VelocityPerMinute]);
        assert_eq!(state.assess(&rules(), &ask("B", "1"), start).decision, RiskDecision::Accept);
        let later = start.plus(Duration::from_secs(70));
        assert_eq!(state.assess(&rules(), &ask("A", "1"), later).decision, RiskDecision::Accept);
        let who = OwnerId::parse("C").expect("an id");
        state.note(&rules(), &who, start, Counts::Declined);
        state.note(&rules(), &who, start, Counts::Declined);
        assert_eq!(state.score(&rules(), &ask("C", "1"), later).decision, RiskDecision::Review);
        assert_eq!(state.score(&rules(), &ask("C", "1"), start.plus(WINDOW * 2)).decision, RiskDecision::Accept);
    }

    /// A customer who keeps asking above the limit goes on getting as much as the limit allows.
    #[test]
    fn what_was_refused_or_came_to_nothing_is_no_velocity() {
        let (mut state, start) = (RiskState::default(), Timestamp(1_000_000_000));
        let mut let_through = [0; 10];
        for second in 0..600_u64 {
            let now = start.plus(Duration::from_secs(second));
            if state.assess(&rules(), &ask("A", "1"), now).decision == RiskDecision::Accept {
                let_through[usize::try_from(second / 60).expect("small")] += 1;
            }
        }
        assert_eq!(let_through, [3; 10]);
        let who = OwnerId::parse("B").expect("an id");
        for second in 0..600_u64 {
            let now = start.plus(Duration::from_secs(second));
            assert_eq!(state.assess(&rules(), &ask("B", "1"), now).decision, RiskDecision::Accept);
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
        assert_eq!(state.assess(&rules(), &ask("A", "1"), later).decision, RiskDecision::Accept);
    }

    #[test]
    fn the_map_of_customers_is_bounded() {
        let mut state = RiskState::default();
        for n in 0..100 {
            state.assess(&rules(), &ask(&format!("C{n}"), "1"), Timestamp(1_000_000_000));
            assert!(state.tracked() <= rules().tracked_customers_max);
        }
    }
    #[test]
    fn newcomers_free_nobody_who_is_busy() {
        let (mut state, mut now) = (RiskState::default(), Timestamp(1_000_000_000));
        for _ in 0..3 {
            state.assess(&rules(), &ask("busy", "1"), now);
        }
        for n in 0..100 {
            now = now.plus(Duration::from_millis(10));
            state.assess(&rules(), &ask(&format!("C{n}"), "1"), now);
            let busy = state.assess(&rules(), &ask("busy", "1"), now);
            assert_eq!(busy.reasons, [Reason::VelocityPerMinute], "after {n} newcomers");
        }
    }
}
