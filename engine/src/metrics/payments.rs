//! What is counted of payments, however they came: how each ended and how long it took, what moved, what the desk earned.
//!
//! Those of a commit block are counted in plain cells and folded in once per block (P11), right before their answers.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::histogram::{BUCKETS_US, Counts, Tally, Times};
use crate::{
    ledger::{
        commands::Request,
        entry::Entry,
        payment::{Payment, PaymentStatus},
    },
    money::{Currency, Money},
    refusal::Refusal,
};

/// How a payment ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Money moved.
    Captured,
    /// Money was set aside, to be captured later.
    Authorized,
    /// It was declined: a decision too.
    Declined,
    /// It was answered with what had been decided before.
    Replayed,
    /// It was not decided: unknown account, a key of another body, overload, a fault.
    Refused,
    /// Its deadline passed before it was decided.
    Late,
}

impl Ended {
    /// All ends.
    pub const ALL: [Self; 6] =
        [Self::Captured, Self::Authorized, Self::Declined, Self::Replayed, Self::Refused, Self::Late];

    /// As metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }

    /// The end of a payment that was decided so.
    fn of(entry: &Entry) -> Self {
        match entry.payment().map(|payment| payment.status) {
            _ if entry.failure().is_some() => Self::Declined,
            Some(PaymentStatus::Authorized) => Self::Authorized,
            _ => Self::Captured,
        }
    }
}

impl From<&Refusal> for Ended {
    fn from(refusal: &Refusal) -> Self {
        if *refusal == Refusal::DeadlineExceeded { Self::Late } else { Self::Refused }
    }
}

/// What moved in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turnover {
    /// Which.
    pub currency: Currency,
    /// What was set aside to be captured later, in minor units.
    pub authorized_minor: i128,
    /// What payees asked for and got, in minor units.
    pub captured_minor: i128,
    /// What was given back of it, in minor units.
    pub refunded_minor: i128,
    /// What the FX desk earned between the middle and the customers' rates, in millionths of a minor unit.
    pub earned_micro: i128,
}

/// See the module.
#[derive(Debug, Default)]
pub struct PaymentCells {
    times: [Times; Ended::ALL.len()],
    /// One per currency that was seen, so at most as many as ISO 4217 has.
    turnover: Mutex<Vec<Turnover>>,
}

impl PaymentCells {
    /// Counts a payment that left no entry of its own.
    pub fn observe(&self, ended: Ended, took: Duration) {
        if let Some((_, times)) = self.all().find(|(of, _)| *of == ended) {
            times.observe(took);
        }
    }

    /// Adds what a block's payments came to.
    pub fn fold(&self, of: &PaymentTally) {
        for ((_, times), tally) in self.all().zip(&of.times) {
            times.fold(tally);
        }
        if !of.turnover.is_empty() {
            let mut all = self.turnover.lock().unwrap_or_else(PoisonError::into_inner);
            for turnover in &of.turnover {
                add(&mut all, *turnover);
            }
        }
    }

    /// The times by how payments ended.
    pub fn all(&self) -> impl Iterator<Item = (Ended, &Times)> {
        Ended::ALL.into_iter().zip(&self.times)
    }

    /// The times of all payments that were answered with a decision.
    pub fn decided(&self) -> Counts {
        let decided = self.all().filter(|(ended, _)| !matches!(ended, Ended::Refused | Ended::Late));
        decided.map(|(_, times)| times.read()).fold(([0; BUCKETS_US.len() + 1], 0), |(counts, sum), (more, took)| {
            (std::array::from_fn(|i| counts.get(i).zip(more.get(i)).map_or(0, |(a, b)| a + b)), sum + took)
        })
    }

    /// What moved so far, by currency.
    pub fn turnover(&self) -> Vec<Turnover> {
        self.turnover.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The payments of one commit block, in plain cells.
#[derive(Debug, Default)]
pub struct PaymentTally {
    times: [Tally; Ended::ALL.len()],
    /// A block has few currencies.
    turnover: Vec<Turnover>,
}

impl PaymentTally {
    /// Counts a payment of the block, and how long it took if somebody asked for it.
    pub fn count(&mut self, entry: &Entry, payment: &Payment, took: Option<Duration>) {
        let ended = Ended::of(entry);
        let tally = Ended::ALL.into_iter().zip(&mut self.times).find(|(of, _)| *of == ended);
        if let (Some(took), Some((_, tally))) = (took, tally) {
            tally.note_time(took);
        }
        let Request::CreatePayment(request) = &entry.request else { return };
        match ended {
            Ended::Captured => self.captured(payment, request.amount, request.amount),
            Ended::Authorized => {
                let amount = request.amount;
                add(&mut self.turnover, Turnover { authorized_minor: amount.minor, ..Turnover::none(amount.currency) });
            }
            Ended::Declined | Ended::Replayed | Ended::Refused | Ended::Late => {}
        }
    }

    /// Counts what a later step captured or gave back.
    pub fn count_step(&mut self, entry: &Entry, payment: &Payment) {
        let Some((life, step)) = payment.life.as_ref().and_then(|life| Some((life, life.step?))) else { return };
        match &entry.request {
            Request::CapturePayment(_) => self.captured(payment, step, life.amount),
            Request::RefundPayment(_) => {
                add(&mut self.turnover, Turnover { refunded_minor: step.minor, ..Turnover::none(step.currency) });
            }
            _ => {}
        }
    }

    /// So much of the whole of a payment was captured, at the prices of its conversions.
    fn captured(&mut self, payment: &Payment, amount: Money, whole: Money) {
        add(&mut self.turnover, Turnover { captured_minor: amount.minor, ..Turnover::none(amount.currency) });
        for leg in &payment.fx {
            let earned = leg.earned_micro().saturating_mul(amount.minor).checked_div(whole.minor).unwrap_or_default();
            add(&mut self.turnover, Turnover { earned_micro: earned, ..Turnover::none(leg.to.currency) });
        }
    }
}

impl Turnover {
    fn none(currency: Currency) -> Self {
        Self { currency, authorized_minor: 0, captured_minor: 0, refunded_minor: 0, earned_micro: 0 }
    }
}

fn add(all: &mut Vec<Turnover>, more: Turnover) {
    match all.iter_mut().find(|known| known.currency == more.currency) {
        Some(known) => {
            known.authorized_minor = known.authorized_minor.saturating_add(more.authorized_minor);
            known.captured_minor = known.captured_minor.saturating_add(more.captured_minor);
            known.refunded_minor = known.refunded_minor.saturating_add(more.refunded_minor);
            known.earned_micro = known.earned_micro.saturating_add(more.earned_micro);
        }
        None => all.push(more),
    }
}
