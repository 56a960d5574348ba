//! The whole life of payments: authorised, captured in parts, refunded in parts, voided; each answer is held against what
//! it must be, each balance in the end against all of them. As fast as plain payments, which are made in turn with it.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use arus_proto::payments::v1::{
    CaptureMethod, CapturePaymentRequest, CreatePaymentRequest, Payment, PaymentStatus, RefundPaymentRequest,
    VoidPaymentRequest,
};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    clients::Payments,
    console::say,
    field::Field,
    options::Options,
    progress::Bar,
    report::write_json,
    workload::{PLACES, money, units},
    world::balances,
};

/// What each payment asks for, and what becomes of it, in minor units: of 1,000 its payee keeps 300.
const AMOUNT: i128 = 1_000;
const STEPS: [Step; 6] =
    [Step::Authorise, Step::Capture(400), Step::Capture(300), Step::Refund(150), Step::Refund(250), Step::Void];
const KEPT: i128 = 300;

/// How much, and how it is driven.
#[derive(Args)]
pub(crate) struct LifecycleArgs {
    #[command(flatten)]
    options: Options,
    /// How often plain payments and whole lives take turns.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Authorise,
    Capture(i128),
    Refund(i128),
    Void,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Authorise => "authorise",
            Self::Capture(_) => "capture",
            Self::Refund(_) => "refund",
            Self::Void => "void",
        }
    }
}

/// The times of one kind of command.
#[derive(Serialize)]
struct Times {
    command: &'static str,
    count: u64,
    p50_ms: f64,
    p99_ms: f64,
}

/// One round.
#[derive(Serialize)]
struct Round {
    plain_per_second: f64,
    commands_per_second: f64,
    times: Vec<Times>,
}

impl Round {
    fn share(&self) -> f64 {
        self.commands_per_second / self.plain_per_second
    }
}

/// See the module.
pub(crate) async fn lifecycle(args: LifecycleArgs) -> anyhow::Result<()> {
    let options = &args.options;
    ensure!(options.rate.is_none(), "--rate is for run and sweep: a whole life waits for each of its answers");
    let field = Arc::new(Field::set_up(options).await?);
    let lives = (options.count / STEPS.len() as u64).max(1);
    let plain_count = lives * STEPS.len() as u64;
    let mut rounds = Vec::new();
    for round in 0..args.rounds.max(1) {
        let made =
            drive(&field, options, plain_count, move |client, field, n| Box::pin(plain(client, field, round, n)));
        let made = made.await.context("plain payments")?;
        let lived = drive(&field, options, lives, move |client, field, n| Box::pin(life(client, field, round, n)));
        let lived = lived.await.context("whole lives")?;
        let of = Round {
            plain_per_second: made.per_second(),
            commands_per_second: lived.per_second(),
            times: lived.times(),
        };
        say(&format!(
            "round {}: plain payments {:.0}/s; steps of whole lives {:.0}/s; {:.2} of plain",
            round + 1,
            of.plain_per_second,
            of.commands_per_second,
            of.share()
        ));
        for of in &of.times {
            say(&format!("    {:<10} {:>8}  p50 {:.2} ms  p99 {:.2} ms", of.command, of.count, of.p50_ms, of.p99_ms));
        }
        rounds.push(of);
    }
    check(&field, lives, args.rounds.max(1)).await?;
    let mut shares: Vec<_> = rounds.iter().map(Round::share).collect();
    shares.sort_by(f64::total_cmp);
    let median = shares.get(shares.len() / 2).copied().unwrap_or_default();
    say(&format!("median of {}: {median:.2} of plain payments", shares.len()));
    if let Some(path) = &args.json {
        write_json(path, &rounds)?;
    }
    Ok(())
}

/// What a part of a round came to.
struct Driven {
    elapsed: Duration,
    count: u64,
    times: Vec<(&'static str, Histogram<u64>)>,
}

impl Driven {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    fn times(&self) -> Vec<Times> {
        let ms = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) as f64 / 1_000.0;
        let times = self.times.iter();
        times
            .map(|(command, of)| Times { command, count: of.len(), p50_ms: ms(of, 0.5), p99_ms: ms(of, 0.99) })
            .collect()
    }

    fn note(&mut self, command: &'static str, took: Duration) -> anyhow::Result<()> {
        self.count += 1;
        if !self.times.iter().any(|(known, _)| *known == command) {
            self.times.push((command, Histogram::new(3)?));
        }
        if let Some((_, times)) = self.times.iter_mut().find(|(known, _)| *known == command) {
            times.record(u64::try_from(took.as_micros())?)?;
        }
        Ok(())
    }
}

type Took = Vec<(&'static str, Duration)>;
type Job = Pin<Box<dyn Future<Output = anyhow::Result<Took>> + Send>>;

/// Runs so many jobs, as many at once as the options say; the first wrong answer ends all.
async fn drive(
    field: &Arc<Field>,
    options: &Options,
    count: u64,
    job: impl Fn(Payments, Arc<Field>, u64) -> Job + Send + Sync + 'static,
) -> anyhow::Result<Driven> {
    let (next, job, bar) = (Arc::new(AtomicU64::new(0)), Arc::new(job), Bar::new("payments", count));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..options.concurrency {
        let client = field.clients.get(worker % field.clients.len()).context("a connection")?.clone();
        let (next, job, field, bar) = (Arc::clone(&next), Arc::clone(&job), Arc::clone(field), bar.clone());
        workers.spawn(async move {
            let mut took = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(took);
                }
                took.extend(job(client.clone(), Arc::clone(&field), n).await?);
                bar.add(1);
            }
        });
    }
    let mut driven = Driven { elapsed: Duration::ZERO, count: 0, times: Vec::new() };
    while let Some(took) = workers.join_next().await {
        for (command, took) in took?? {
            driven.note(command, took)?;
        }
    }
    bar.done();
    driven.elapsed = begun.elapsed();
    Ok(driven)
}

/// Between whom the `n`th payment is: everybody pays the next account.
fn request(field: &Field, key: String, n: u64) -> CreatePaymentRequest {
    let plan = &field.plan;
    let (payer, payee) = (n % plan.accounts, (n + 1) % plan.accounts);
    CreatePaymentRequest {
        tx_id: key,
        customer_id: plan.owner_id(payer).to_string(),
        amount: Some(money(plan.currency(payer), AMOUNT)),
        source_account: plan.account(payer),
        destination_account: plan.account(payee),
        ..Default::default()
    }
}

async fn plain(mut client: Payments, field: Arc<Field>, round: u64, n: u64) -> anyhow::Result<Took> {
    let key = format!("plain-{}-{round}-{n}", field.plan.run);
    let begun = Instant::now();
    let answer = client.create_payment(request(&field, key, n)).await?.into_inner().payment.unwrap_or_default();
    ensure!(answer.status() == PaymentStatus::Captured, "a plain payment is {answer:?}");
    Ok(vec![("plain", begun.elapsed())])
}

/// One payment's life, each answer of it as it must be.
async fn life(mut client: Payments, field: Arc<Field>, round: u64, n: u64) -> anyhow::Result<Took> {
    let (mut id, mut took, mut sums) = (String::new(), Vec::with_capacity(STEPS.len()), Sums::default());
    for (at, step) in STEPS.into_iter().enumerate() {
        let begun = Instant::now();
        let key = format!("life-{}-{round}-{n}-{at}", field.plan.run);
        let payment = take(&mut client, &field, (key, id), step, n).await?.context("an answer without a payment")?;
        took.push((step.name(), begun.elapsed()));
        sums.add(step);
        sums.check(&payment, step).with_context(|| format!("{} of {payment:?}", step.name()))?;
        id = payment.payment_id;
    }
    Ok(took)
}

async fn take(
    client: &mut Payments,
    field: &Field,
    (tx_id, payment_id): (String, String),
    step: Step,
    n: u64,
) -> anyhow::Result<Option<Payment>> {
    let amount = |minor| Some(money(field.plan.currency(0), minor));
    Ok(match step {
        Step::Authorise => {
            let capture_method = CaptureMethod::Manual.into();
            let request = CreatePaymentRequest { capture_method, ..request(field, tx_id, n) };
            client.create_payment(request).await?.into_inner().payment
        }
        Step::Capture(minor) => {
            let capture = CapturePaymentRequest { tx_id, payment_id, amount: amount(minor), r#final: false };
            client.capture_payment(capture).await?.into_inner().payment
        }
        Step::Refund(minor) => {
            let refund = RefundPaymentRequest { tx_id, payment_id, amount: amount(minor), ..Default::default() };
            client.refund_payment(refund).await?.into_inner().payment
        }
        Step::Void => client.void_payment(VoidPaymentRequest { tx_id, payment_id }).await?.into_inner().payment,
    })
}

/// What a payment must be after each step.
#[derive(Default)]
struct Sums {
    captured: i128,
    refunded: i128,
    version: u32,
}

impl Sums {
    fn add(&mut self, step: Step) {
        self.version += 1;
        match step {
            Step::Capture(minor) => self.captured += minor,
            Step::Refund(minor) => self.refunded += minor,
            Step::Authorise | Step::Void => {}
        }
    }

    fn check(&self, payment: &Payment, step: Step) -> anyhow::Result<()> {
        let is_over = step == Step::Void;
        let left = if is_over { 0 } else { AMOUNT - self.captured };
        let said = [&payment.amount_captured, &payment.amount_capturable, &payment.amount_refunded];
        let said = said.map(|of| of.as_ref().and_then(|of| units(of, PLACES)).unwrap_or(-1));
        let expected = [self.captured, left, self.refunded];
        ensure!(said == expected, "its sums are {said:?}, they should be {expected:?}");
        ensure!(payment.version == self.version, "its version is {}, it should be {}", payment.version, self.version);
        let status = if is_over { PaymentStatus::Captured } else { PaymentStatus::Authorized };
        ensure!(payment.status() == status, "it is {:?}, it should be {status:?}", payment.status());
        Ok(())
    }
}

/// Every account holds what it had, less what it paid, with what it got; nothing is pending.
async fn check(field: &Field, lives: u64, rounds: u64) -> anyhow::Result<()> {
    let (plan, plain) = (&field.plan, lives * STEPS.len() as u64);
    // How often the `n`th account paid, of so many payments in each round.
    let paid = |count: u64, n: u64| {
        i128::from(rounds) * i128::from(count / plan.accounts + u64::from(n < count % plan.accounts))
    };
    let moved = |n: u64| KEPT * paid(lives, n) + AMOUNT * paid(plain, n);
    let found = balances(&field.world.wallets, plan).await?;
    for (n, (found, before)) in (0..).zip(found.iter().zip(&field.world.start)) {
        let expected = before.balance - moved(n) + moved((n + plan.accounts - 1) % plan.accounts);
        ensure!(
            found.balance == expected && found.pending == 0,
            "account {} holds {} and has {} pending; it should hold {expected} and nothing",
            plan.account(n),
            found.balance,
            found.pending
        );
    }
    say(&format!("oracle   {} answers and {} accounts are right", 2 * plain * rounds, plan.accounts));
    Ok(())
}
