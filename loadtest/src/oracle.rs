//! What was acknowledged: every answer is held against the plan (whose payment it is, what moved, where it stands) and
//! kept; what answers did not say is asked for. [`crate::audit`] holds the books against it in the end.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use arus_proto::{
    common::v1::Money,
    payments::v1::{BatchOutcome, GetPaymentRequest, Payment, PaymentStatus, get_payment_request::By},
};
use tonic::Code;

use crate::{
    clients::Payments,
    ends::{self, CAPTURED, WRONG},
    tally::Tally,
    workload::{Plan, Planned, is, minor},
};

/// Payments whose amounts are asked for, or whose fate is, at once.
const ASKING: usize = 1_000;
/// A decline that a server with its default limits has for whoever pays or fails often.
const RISK_REJECTED: &str = "FAILURE_CODE_RISK_REJECTED";
const RISK_HINT: &str = " (start the server with engine.risk.velocity_per_minute_max and \
    engine.risk.recent_declines_max at 4000000000, as on-fresh-server.sh does)";

/// What is known of a payment. Kept by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Known {
    /// Not sent.
    Nothing = 0,
    /// Sent, and the answer was an error or did not come: the server is asked in the end.
    Asked = 1,
    /// Money moved.
    Captured = 2,
    /// Declined.
    Failed = 3,
}

impl Known {
    fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Asked,
            2 => Self::Captured,
            3 => Self::Failed,
            _ => Self::Nothing,
        }
    }
}

/// See the module.
pub(crate) struct Oracle {
    pub(crate) plan: Plan,
    known: Vec<AtomicU8>,
    /// What was debited and credited, where that is not just the amount. Minor units.
    converted: Mutex<HashMap<u64, (i128, i128)>>,
    /// The id and the place of payments that are sent again.
    places: Mutex<HashMap<u64, (String, u64)>>,
    /// Answers that contradict each other or the plan.
    wrong: Mutex<Tally>,
}

impl Oracle {
    /// Knows nothing yet.
    pub(crate) fn new(plan: Plan, payments: u64) -> Arc<Self> {
        let known = (0..payments).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Self { plan, known, converted: Mutex::default(), places: Mutex::default(), wrong: Mutex::default() })
    }

    /// A payment is on its way.
    pub(crate) fn sent(&self, planned: &Planned) {
        self.raise(planned.of, Known::Asked);
    }

    /// CreatePayment's answer. Gives back how it ended, for the report.
    pub(crate) fn answered(&self, planned: &Planned, payment: &Payment) -> Cow<'static, str> {
        let mut wrong = Vec::new();
        self.check_names(planned, payment, &mut wrong);
        self.check_amounts(planned, payment, &mut wrong);
        self.check_place(planned, &payment.payment_id, payment.lsn, &mut wrong);
        let code = payment.failure.as_ref().map(|failure| failure.code().as_str_name());
        let end = self.decided(planned, payment.status(), code, &mut wrong);
        self.judged(planned.of, end, &wrong)
    }

    /// The outcome of the `index`th of many. Gives back how it ended, for the report.
    pub(crate) fn outcome(&self, planned: &Planned, index: u32, outcome: &BatchOutcome) -> Cow<'static, str> {
        let mut wrong = Vec::new();
        if outcome.index != index {
            wrong.push(format!("was asked for at {index} and answered at {}", outcome.index));
        }
        let end = match &outcome.error {
            // Whether it happened all the same is asked in the end.
            Some(error) => format!("{:?} {}", Code::from_i32(error.code), error.reason).into(),
            None => {
                self.check_place(planned, &outcome.payment_id, outcome.lsn, &mut wrong);
                let code = outcome.failure.as_ref().map(|failure| failure.code().as_str_name());
                self.decided(planned, outcome.status(), code, &mut wrong)
            }
        };
        self.judged(planned.of, end, &wrong)
    }

    /// How an answer ended, unless something about it is wrong: that is kept, and is its end.
    fn judged(&self, n: u64, end: Cow<'static, str>, wrong: &[String]) -> Cow<'static, str> {
        if wrong.is_empty() {
            return end;
        }
        lock(&self.wrong).add(format_args!("{} {}", self.plan.tx_id(n), wrong.join(" and ")));
        WRONG.into()
    }

    /// An answer is about the payment that was asked for.
    fn check_names(&self, planned: &Planned, payment: &Payment, wrong: &mut Vec<String>) {
        let plan = &self.plan;
        // What is declined may never have come to an account.
        let is_source =
            payment.status() != PaymentStatus::Captured || is(&payment.source_account, &plan.account_id(planned.payer));
        let names = [
            ("tx_id", &payment.tx_id, is(&payment.tx_id, &plan.tx_id(planned.of))),
            ("customer_id", &payment.customer_id, is(&payment.customer_id, &plan.owner_id(planned.payer))),
            ("source_account", &payment.source_account, is_source),
            (
                "destination_account",
                &payment.destination_account,
                is(&payment.destination_account, &plan.account_id(planned.payee)),
            ),
        ];
        for (what, found, _) in names.iter().filter(|(.., is_right)| !is_right) {
            wrong.push(format!("was answered with the {what} \"{found}\""));
        }
    }

    /// What moved is what the plan lets move; a decline moves nothing.
    fn check_amounts(&self, planned: &Planned, payment: &Payment, wrong: &mut Vec<String>) {
        let of = |money: &Option<Money>, account| {
            money.as_ref().filter(|money| money.currency == self.plan.currency(account)).and_then(minor)
        };
        let asked = of(&payment.amount, planned.payee) == Some(planned.cents.into());
        let moved = (of(&payment.debited, planned.payer), of(&payment.credited, planned.payee));
        match (payment.status(), moved) {
            (PaymentStatus::Captured, (Some(debited), Some(credited)))
                if asked && self.plan.may_move(planned, debited, credited) =>
            {
                if self.plan.is_converting() {
                    lock(&self.converted).insert(planned.of, (debited, credited));
                }
            }
            (PaymentStatus::Failed, _) if asked && payment.debited.is_none() && payment.credited.is_none() => {}
            _ => {
                let show = |money: &Option<Money>| {
                    money.as_ref().map_or("nothing".into(), |money| format!("{} {}", money.amount, money.currency))
                };
                let [amount, debited, credited] = [&payment.amount, &payment.debited, &payment.credited].map(show);
                let cents = planned.cents;
                wrong.push(format!(
                    "was answered with {amount} for {cents} minor units, {debited} debited, {credited} credited"
                ));
            }
        }
    }

    /// What is decided has an id and a place in the journal, and the same ones when it is sent again.
    fn check_place(&self, planned: &Planned, payment_id: &str, lsn: u64, wrong: &mut Vec<String>) {
        if payment_id.is_empty() || lsn == 0 {
            wrong.push(format!("was decided with the payment_id \"{payment_id}\" and the lsn {lsn}"));
        }
        if self.plan.is_repeated(planned.of) {
            let mut places = lock(&self.places);
            let place = places.entry(planned.of).or_insert_with(|| (payment_id.to_owned(), lsn));
            if place.0 != payment_id || place.1 != lsn {
                wrong.push(format!("is {} at {} and {payment_id} at {lsn}", place.0, place.1));
            }
        }
    }

    fn decided(
        &self,
        planned: &Planned,
        status: PaymentStatus,
        code: Option<&'static str>,
        wrong: &mut Vec<String>,
    ) -> Cow<'static, str> {
        let (known, end): (_, Cow<'static, str>) = match (status, code) {
            (PaymentStatus::Captured, None) => (Known::Captured, CAPTURED.into()),
            (PaymentStatus::Failed, Some(code)) => (Known::Failed, ends::failed(code).into()),
            _ => (Known::Asked, "UNKNOWN STATUS".into()),
        };
        if known == Known::Asked || !self.plan.allows(planned, code) {
            let hint = if code == Some(RISK_REJECTED) { RISK_HINT } else { "" };
            wrong.push(format!("ended as {end}, which the plan does not have{hint}"));
        }
        let before = self.raise(planned.of, known);
        if matches!((before, known), (Known::Captured, Known::Failed) | (Known::Failed, Known::Captured)) {
            wrong.push(format!("was answered {before:?} and {known:?}"));
        }
        end
    }

    /// What is known only grows. Gives back what was known before.
    fn raise(&self, n: u64, to: Known) -> Known {
        let known = usize::try_from(n).ok().and_then(|n| self.known.get(n));
        Known::of(known.map_or(0, |known| known.fetch_max(to as u8, Ordering::Relaxed)))
    }

    fn known(&self, n: u64) -> Known {
        let known = usize::try_from(n).ok().and_then(|n| self.known.get(n));
        Known::of(known.map_or(0, |known| known.load(Ordering::Relaxed)))
    }

    /// What was debited and credited, in minor units.
    pub(crate) fn amounts(&self, planned: &Planned) -> anyhow::Result<(i128, i128)> {
        if !self.plan.is_converting() {
            return Ok((planned.cents.into(), planned.cents.into()));
        }
        let converted = lock(&self.converted).get(&planned.of).copied();
        converted.with_context(|| format!("{} has no amounts", self.plan.tx_id(planned.of)))
    }

    /// Asks for what answers did not say: the fate of those whose answer was lost, the amounts of conversions.
    pub(crate) async fn ask(self: &Arc<Self>, payments: &Payments) -> anyhow::Result<u64> {
        let all = 0..self.known.len() as u64;
        let open: Vec<u64> = all.filter(|n| self.plan.payment(*n).of == *n && self.is_open(*n)).collect();
        for some in open.chunks(ASKING) {
            let mut calls = tokio::task::JoinSet::new();
            for n in some.iter().copied() {
                let (oracle, mut client) = (Arc::clone(self), payments.clone());
                calls.spawn(async move {
                    let planned = oracle.plan.payment(n);
                    let request = GetPaymentRequest { by: Some(By::TxId(oracle.plan.tx_id(n).to_string())) };
                    match client.get_payment(request).await {
                        Ok(answer) => {
                            let payment = answer.into_inner().payment.context("GetPayment answers with a payment")?;
                            oracle.answered(&planned, &payment);
                            Ok(())
                        }
                        Err(status) if status.code() == Code::NotFound && oracle.known(n) == Known::Asked => Ok(()),
                        Err(status) => bail!("{} was acknowledged and cannot be read: {status}", oracle.plan.tx_id(n)),
                    }
                });
            }
            while let Some(call) = calls.join_next().await {
                call??;
            }
        }
        Ok(open.len() as u64)
    }

    fn is_open(&self, n: u64) -> bool {
        match self.known(n) {
            Known::Asked => true,
            Known::Captured => self.plan.is_converting() && !lock(&self.converted).contains_key(&n),
            Known::Nothing | Known::Failed => false,
        }
    }

    /// An error, if an answer contradicts another or the plan.
    pub(crate) fn is_right(&self) -> anyhow::Result<()> {
        let wrong = lock(&self.wrong);
        ensure!(wrong.count() == 0, "{} answers are wrong: {wrong}", wrong.count());
        Ok(())
    }

    /// How many payments of the plan there are at most.
    pub(crate) fn payments(&self) -> u64 {
        self.known.len() as u64
    }

    /// Whether a payment moved money, as far as was acknowledged.
    pub(crate) fn is_captured(&self, n: u64) -> bool {
        self.known(n) == Known::Captured
    }

    /// Whether a payment was declined, as far as was acknowledged.
    pub(crate) fn is_failed(&self, n: u64) -> bool {
        self.known(n) == Known::Failed
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use arus_proto::{common::v1::Failure, payments::v1::ItemError};

    use super::*;
    use crate::workload::{money, tests::plan};

    fn oracle(workload: &str) -> Arc<Oracle> {
        Oracle::new(plan(&["--workload", workload]), 100)
    }

    fn answer(oracle: &Oracle, planned: &Planned) -> Payment {
        let request = oracle.plan.request(planned);
        Payment {
            payment_id: "p".into(),
            tx_id: request.tx_id,
            status: PaymentStatus::Captured.into(),
            customer_id: request.customer_id,
            amount: request.amount.clone(),
            source_account: oracle.plan.account(planned.payer),
            destination_account: request.destination_account,
            debited: request.amount.clone(),
            credited: request.amount,
            lsn: 7,
            ..Default::default()
        }
    }

    /// What the oracle says of payment 6, answered as it should be but for a change.
    fn said(change: impl FnOnce(&mut Payment)) -> String {
        let oracle = oracle("mixed");
        let planned = oracle.plan.payment(6);
        let mut payment = answer(&oracle, &planned);
        change(&mut payment);
        oracle.answered(&planned, &payment);
        oracle.is_right().map_or_else(|error| error.to_string(), |()| "right".into())
    }

    #[test]
    fn an_answer_is_about_the_payment_that_was_asked_for() {
        assert_eq!(said(|_| ()), "right");
        assert!(said(|p| p.tx_id = "lxad-r-0000000006".into()).contains("tx_id \"lxad-r-0000000006\""));
        assert!(said(|p| p.customer_id.clear()).contains("customer_id"));
        assert!(said(|p| p.source_account.push('0')).contains("source_account"));
        assert!(said(|p| p.destination_account.push('0')).contains("destination_account"));
        assert!(said(|p| p.payment_id.clear()).contains("payment_id \"\""));
        assert!(said(|p| p.lsn = 0).contains("lsn 0"));
        assert!(said(|p| p.status = PaymentStatus::Pending.into()).contains("UNKNOWN STATUS"));
    }

    #[test]
    fn a_wrong_answer_ends_as_one_and_is_counted_once() {
        let oracle = oracle("mixed");
        let planned = oracle.plan.payment(6);
        let mut payment = answer(&oracle, &planned);
        assert_eq!(oracle.answered(&planned, &payment), CAPTURED);
        (payment.tx_id, payment.lsn) = (String::new(), 0);
        assert_eq!(oracle.answered(&planned, &payment), WRONG);
        assert!(oracle.is_right().unwrap_err().to_string().starts_with("1 answers are wrong: load-r-"));
    }

    #[test]
    fn an_answer_moves_what_was_asked_for() {
        assert!(said(|p| p.credited = Some(money("USD", 1))).contains("0.01 USD credited"));
        assert!(said(|p| p.debited = Some(money("USD", 1))).contains("0.01 USD debited"));
        assert!(said(|p| p.amount = None).contains("nothing for"));
        assert!(said(|p| p.credited = None).contains("nothing credited"));
        assert!(said(|p| p.debited.as_mut().expect("moved").currency = "EUR".into()).contains("EUR debited"));
        let declined = |p: &mut Payment| {
            p.status = PaymentStatus::Failed.into();
            p.failure = Some(Failure { code: 1, ..Default::default() });
        };
        assert!(said(declined).contains("debited"), "a decline moves nothing");
    }

    #[test]
    fn an_outcome_is_at_its_index_and_the_same_again() {
        let outcome = |index, payment_id: &str, lsn| BatchOutcome {
            index,
            payment_id: payment_id.into(),
            status: PaymentStatus::Captured.into(),
            lsn,
            ..Default::default()
        };
        let said = |outcomes: &[BatchOutcome]| {
            let oracle = oracle("mixed");
            let planned = oracle.plan.payment(6);
            outcomes.iter().for_each(|outcome| drop(oracle.outcome(&planned, 3, outcome)));
            oracle.is_right().map_or_else(|error| error.to_string(), |()| "right".into())
        };
        assert_eq!(said(&[outcome(3, "p", 7), outcome(3, "p", 7)]), "right");
        assert!(said(&[outcome(4, "p", 7)]).contains("asked for at 3 and answered at 4"));
        assert!(said(&[outcome(3, "p", 7), outcome(3, "q", 7)]).contains("is p at 7 and q at 7"));
        let refused = BatchOutcome { index: 3, error: Some(ItemError::default()), ..Default::default() };
        assert_eq!(said(&[refused]), "right");
    }

    #[test]
    fn a_risk_decline_says_which_settings_to_lift() {
        let oracle = oracle("uniform");
        let code = Some(RISK_REJECTED);
        let mut wrong = Vec::new();
        oracle.decided(&oracle.plan.payment(0), PaymentStatus::Failed, code, &mut wrong);
        assert!(wrong.concat().contains("recent_declines_max"), "{wrong:?}");
    }
}
