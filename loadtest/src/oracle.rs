//! What must be true: every acknowledgement is kept and held against the plan, and in the end every balance, a sample
//! of statements and the sum of all money are held against them. Nothing is believed but answers.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use arus_proto::{
    payments::v1::{BatchOutcome, GetPaymentRequest, Payment, PaymentStatus, get_payment_request::By},
    wallet::v1::StatementLine,
};
use tonic::{Code, Status};

use crate::{
    drive::Payments,
    report::{CAPTURED, FAILED},
    workload::{Plan, Planned, minor},
    world::{self, Held, STATEMENTS, Start, Wallets, World},
};

/// How many payments a difference names.
const NAMED: usize = 5;
/// How many wrong answers are kept.
const WRONG_MAX: usize = 100;
/// Payments whose amounts are asked for, or whose fate is, at once.
const ASKING: u64 = 1_000;

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
    plan: Plan,
    known: Vec<AtomicU8>,
    /// What was debited and credited, where that is not just the amount. Minor units.
    converted: Mutex<HashMap<u64, (i128, i128)>>,
    /// Answers that contradict each other or the plan; at most [`WRONG_MAX`].
    wrong: Mutex<Vec<String>>,
}

impl Oracle {
    /// Knows nothing yet.
    pub(crate) fn new(plan: Plan, payments: u64) -> Arc<Self> {
        let known = (0..payments).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Self { plan, known, converted: Mutex::default(), wrong: Mutex::default() })
    }

    /// A payment is on its way.
    pub(crate) fn sent(&self, planned: &Planned) {
        self.raise(planned.of, Known::Asked);
    }

    /// CreatePayment's answer. Gives back how it ended, for the report.
    pub(crate) fn answered(&self, planned: &Planned, payment: &Payment) -> String {
        let amounts = (minor(payment.debited.as_ref()), minor(payment.credited.as_ref()));
        if let (Some(debited), Some(credited)) = amounts {
            if !self.plan.may_move(planned, debited, credited) {
                let cents = planned.cents;
                self.wrong(planned.of, &format!("debited {debited} and credited {credited} for {cents} (minor units)"));
            }
            if self.plan.is_converting() {
                lock(&self.converted).insert(planned.of, (debited, credited));
            }
        }
        self.decided(planned, payment.status(), payment.failure.as_ref().map(|failure| failure.code().as_str_name()))
    }

    /// The outcome of one of many. Gives back how it ended, for the report.
    pub(crate) fn outcome(&self, planned: &Planned, outcome: &BatchOutcome) -> String {
        match &outcome.error {
            // Whether it happened all the same is asked in the end.
            Some(error) => format!("{:?} {}", Code::from_i32(error.code), error.reason),
            None => {
                let code = outcome.failure.as_ref().map(|failure| failure.code().as_str_name());
                self.decided(planned, outcome.status(), code)
            }
        }
    }

    fn decided(&self, planned: &Planned, status: PaymentStatus, code: Option<&'static str>) -> String {
        let (known, end) = match (status, code) {
            (PaymentStatus::Captured, None) => (Known::Captured, CAPTURED.to_owned()),
            (PaymentStatus::Failed, Some(code)) => {
                (Known::Failed, format!("{FAILED} {}", code.trim_start_matches("FAILURE_CODE_")))
            }
            _ => (Known::Asked, "UNKNOWN STATUS".to_owned()),
        };
        if known == Known::Asked || !self.plan.allows(planned, code) {
            self.wrong(planned.of, &format!("ended as {end}, which the plan does not have"));
        }
        self.raise(planned.of, known);
        end
    }

    fn wrong(&self, n: u64, what: &str) {
        let mut wrong = lock(&self.wrong);
        if wrong.len() < WRONG_MAX {
            wrong.push(format!("{} {what}", self.plan.tx_id(n)));
        }
    }

    /// An RPC error. Gives back how it ended, for the report.
    pub(crate) fn error(status: &Status) -> String {
        use tonic_types::StatusExt;
        let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
        format!("{:?} {reason}", status.code())
    }

    /// What is known only grows; a payment that both moved money and did not is wrong.
    fn raise(&self, n: u64, to: Known) {
        let Some(known) = usize::try_from(n).ok().and_then(|n| self.known.get(n)) else { return };
        let before = Known::of(known.fetch_max(to as u8, Ordering::Relaxed));
        if matches!((before, to), (Known::Captured, Known::Failed) | (Known::Failed, Known::Captured)) {
            self.wrong(n, &format!("was answered {before:?} and {to:?}"));
        }
    }

    fn known(&self, n: u64) -> Known {
        let known = usize::try_from(n).ok().and_then(|n| self.known.get(n));
        Known::of(known.map_or(0, |known| known.load(Ordering::Relaxed)))
    }

    fn amounts(&self, planned: &Planned) -> anyhow::Result<(i128, i128)> {
        if !self.plan.is_converting() {
            return Ok((planned.cents.into(), planned.cents.into()));
        }
        let converted = lock(&self.converted).get(&planned.of).copied();
        converted.with_context(|| format!("{} has no amounts", self.plan.tx_id(planned.of)))
    }

    /// Asks for what answers did not say: the fate of those whose answer was lost, the amounts of conversions.
    async fn ask(self: &Arc<Self>, payments: &Payments) -> anyhow::Result<u64> {
        let all = 0..self.known.len() as u64;
        let open: Vec<u64> = all.filter(|n| self.plan.payment(*n).of == *n && self.is_open(*n)).collect();
        for some in open.chunks(usize::try_from(ASKING)?) {
            let mut calls = tokio::task::JoinSet::new();
            for n in some.iter().copied() {
                let (oracle, mut client) = (Arc::clone(self), payments.clone());
                calls.spawn(async move {
                    let planned = oracle.plan.payment(n);
                    let request = GetPaymentRequest { by: Some(By::TxId(oracle.plan.tx_id(n))) };
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

    /// Holds everything against what was acknowledged; says what was checked, or what is wrong.
    pub(crate) async fn check(self: &Arc<Self>, payments: &Payments, world: &World) -> anyhow::Result<String> {
        let asked = self.ask(payments).await?;
        let wrong = lock(&self.wrong).clone();
        let some = wrong.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        ensure!(wrong.is_empty(), "{} answers are wrong (counted to {WRONG_MAX}): {some}", wrong.len());
        let mut expected = world.start.clone();
        let (mut captured, mut sold, mut bought) = (0, 0, 0);
        for n in (0..self.known.len() as u64).filter(|n| self.known(*n) == Known::Captured) {
            let planned = self.plan.payment(n);
            if planned.of != n {
                continue;
            }
            captured += 1;
            let (debited, credited) = self.amounts(&planned)?;
            (bought, sold) = (bought + debited, sold + credited);
            for (account, change) in [(planned.payer, -debited), (planned.payee, credited)] {
                let account = usize::try_from(account)?;
                let account = expected.get_mut(account).context("a known account")?;
                account.held.balance += change;
                account.lines += 1;
            }
        }
        self.check_balances(world, &expected).await?;
        if let Some([rupiah, dollars]) = world.desks {
            let (found, expected) = (world::desks(&world.wallets).await?, [rupiah + bought, dollars - sold]);
            ensure!(
                found == expected,
                "the desks in IDR and USD hold {found:?}, acknowledged were {expected:?} (minor units), unless somebody else converted"
            );
        }
        self.check_statements(&world.wallets, &expected).await?;
        Ok(format!(
            "{captured} captured payments: all {} balances, {} statements and the sum of all money are as acknowledged ({asked} asked for)",
            expected.len(),
            STATEMENTS.min(self.plan.accounts),
        ))
    }

    async fn check_balances(&self, world: &World, expected: &[Start]) -> anyhow::Result<()> {
        let balances = world::balances(&world.wallets, &self.plan).await?;
        for (n, (found, Start { held, .. })) in (0..).zip(balances.iter().zip(expected)) {
            if found != held {
                let (account, payments) = (self.plan.account(n), self.differing(&world.wallets, n).await?);
                bail!("{account} has {found:?}, acknowledged were {held:?} (minor units); {payments}");
            }
        }
        // Within one currency money only moves between the run's accounts.
        let sum = |held: &mut dyn Iterator<Item = &Held>| held.map(|held| held.balance).sum::<i128>();
        let (found, funded) = (sum(&mut balances.iter()), sum(&mut world.start.iter().map(|start| &start.held)));
        let may_differ = self.plan.is_converting();
        ensure!(may_differ || found == funded, "all accounts hold {found}, {funded} were paid in (minor units)");
        Ok(())
    }

    /// Which payments an account's statement and the acknowledgements do not have in common.
    async fn differing(&self, wallets: &Wallets, account: u64) -> anyhow::Result<String> {
        let touches = |planned: &Planned| planned.payer == account || planned.payee == account;
        let captured = (0..self.known.len() as u64).filter(|n| self.known(*n) == Known::Captured);
        let planned = captured.map(|n| self.plan.payment(n)).filter(touches);
        let mut acknowledged: HashSet<_> = planned.map(|planned| self.plan.tx_id(planned.of)).collect();
        let (mut surplus, prefix) = (Vec::new(), self.plan.tx_id_prefix());
        let visit = |line: StatementLine| {
            // What stays in the set is acknowledged and has no line; a second line is as wrong as an unknown one.
            if line.tx_id.starts_with(&prefix) && !acknowledged.remove(&line.tx_id) {
                surplus.push(line.tx_id);
            }
        };
        world::statement(wallets, self.plan.account(account), visit).await?;
        let name = |ids: Vec<String>| format!("{} ({})", ids.len(), ids.join(", "));
        let missing = acknowledged.iter().take(NAMED).cloned().collect();
        surplus.truncate(NAMED);
        Ok(format!(
            "acknowledged without a line, of {} the first {}; lines not acknowledged, the first {}",
            acknowledged.len(),
            name(missing),
            name(surplus)
        ))
    }

    /// A statement has one line for each posting.
    async fn check_statements(&self, wallets: &Wallets, expected: &[Start]) -> anyhow::Result<()> {
        for (n, Start { lines, .. }) in (0..STATEMENTS).zip(expected) {
            let account = self.plan.account(n);
            let found = world::statement_lines(wallets, account.clone()).await?;
            if found != *lines {
                let payments = self.differing(wallets, n).await?;
                bail!("{account} has {found} lines, acknowledged were {lines}; {payments}");
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
