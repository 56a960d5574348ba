//! What must be true: every acknowledgement is kept, and in the end every balance, a sample of statements and the sum
//! of all money are held against them. Nothing is believed but answers.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use arus_proto::payments::v1::{BatchOutcome, GetPaymentRequest, Payment, PaymentStatus, get_payment_request::By};
use tonic::{Code, Status};

use crate::{
    drive::Payments,
    workload::{Plan, Planned, minor},
    world::{self, STATEMENTS, Start, Wallets, World},
};

/// How many payments a difference names.
const NAMED: usize = 5;
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
    /// Answers that contradict themselves.
    wrong: Mutex<Vec<String>>,
    is_converting: bool,
}

impl Oracle {
    /// Knows nothing yet.
    pub(crate) fn new(plan: Plan, payments: u64) -> Arc<Self> {
        let known = (0..payments).map(|_| AtomicU8::new(0)).collect();
        let is_converting = plan.currency(0) != plan.currency(1);
        Arc::new(Self { plan, known, converted: Mutex::default(), wrong: Mutex::default(), is_converting })
    }

    /// A payment is on its way.
    pub(crate) fn sent(&self, planned: &Planned) {
        self.raise(planned.of, Known::Asked);
    }

    /// CreatePayment's answer. Gives back how it ended, for the report.
    pub(crate) fn answered(&self, planned: &Planned, payment: &Payment) -> String {
        let amounts = (minor(payment.debited.as_ref()), minor(payment.credited.as_ref()));
        if let (true, (Some(debited), Some(credited))) = (self.is_converting, amounts) {
            lock(&self.converted).insert(planned.of, (debited, credited));
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
        match (status, code) {
            (PaymentStatus::Captured, _) => {
                self.raise(planned.of, Known::Captured);
                "CAPTURED".to_owned()
            }
            (PaymentStatus::Failed, Some(code)) => {
                self.raise(planned.of, Known::Failed);
                format!("FAILED {}", code.trim_start_matches("FAILURE_CODE_"))
            }
            _ => {
                lock(&self.wrong).push(format!("{} is {status:?} {code:?}", self.plan.tx_id(planned.of)));
                "UNKNOWN STATUS".to_owned()
            }
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
            lock(&self.wrong).push(format!("{} was answered {before:?} and {to:?}", self.plan.tx_id(n)));
        }
    }

    fn known(&self, n: u64) -> Known {
        let known = usize::try_from(n).ok().and_then(|n| self.known.get(n));
        Known::of(known.map_or(0, |known| known.load(Ordering::Relaxed)))
    }

    fn amounts(&self, planned: &Planned) -> anyhow::Result<(i128, i128)> {
        if !self.is_converting {
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
            Known::Captured => self.is_converting && !lock(&self.converted).contains_key(&n),
            Known::Nothing | Known::Failed => false,
        }
    }

    /// Holds everything against what was acknowledged; says what was checked, or what is wrong.
    pub(crate) async fn check(self: &Arc<Self>, payments: &Payments, world: &World) -> anyhow::Result<String> {
        let asked = self.ask(payments).await?;
        let wrong = lock(&self.wrong).clone();
        ensure!(wrong.is_empty(), "{} answers contradict: {}", wrong.len(), wrong.join("; "));
        let mut expected = world.start.clone();
        let mut captured = 0;
        for n in (0..self.known.len() as u64).filter(|n| self.known(*n) == Known::Captured) {
            let planned = self.plan.payment(n);
            if planned.of != n {
                continue;
            }
            captured += 1;
            let (debited, credited) = self.amounts(&planned)?;
            for (account, change) in [(planned.payer, -debited), (planned.payee, credited)] {
                let account = usize::try_from(account)?;
                let account = expected.get_mut(account).context("a known account")?;
                account.balance += change;
                account.lines += 1;
            }
        }
        self.check_balances(world, &expected).await?;
        self.check_statements(&world.wallets, &expected).await?;
        Ok(format!(
            "{captured} captured payments: all {} balances, {} statements and the sum of all money are as acknowledged ({asked} asked for)",
            expected.len(),
            STATEMENTS.min(self.plan.accounts),
        ))
    }

    async fn check_balances(&self, world: &World, expected: &[Start]) -> anyhow::Result<()> {
        let balances = world::balances(&world.wallets, &self.plan).await?;
        for (n, (found, Start { balance, .. })) in (0..).zip(balances.iter().zip(expected)) {
            let (account, some) = (self.plan.account(n), || self.name_some(n));
            ensure!(found == balance, "{account} has {found}, acknowledged were {balance} (minor units); {}", some());
        }
        // Within one currency money only moves between the run's accounts.
        let sum: i128 = balances.iter().sum();
        let funded: i128 = world.start.iter().map(|start| start.balance).sum();
        ensure!(self.is_converting || sum == funded, "all accounts hold {sum}, {funded} were paid in (minor units)");
        Ok(())
    }

    /// Some payments that touched an account, for a person who looks into a difference.
    fn name_some(&self, account: u64) -> String {
        let touches = |planned: &Planned| planned.payer == account || planned.payee == account;
        let all = (0..self.known.len() as u64).map(|n| self.plan.payment(n)).filter(touches);
        let names: Vec<_> = all.take(NAMED).map(|planned| self.plan.tx_id(planned.of)).collect();
        format!("some of its payments: {}", names.join(", "))
    }

    /// A statement has one line for each posting.
    async fn check_statements(&self, wallets: &Wallets, expected: &[Start]) -> anyhow::Result<()> {
        for (n, Start { lines, .. }) in (0..STATEMENTS).zip(expected) {
            let (account, some) = (self.plan.account(n), || self.name_some(n));
            let found = world::statement_lines(wallets, account.clone()).await?;
            ensure!(found == *lines, "{account} has {found} lines, acknowledged were {lines}; {}", some());
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
