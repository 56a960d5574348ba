//! `arus-load`: load on a running Arus over its wire contract, and an oracle that holds every balance against what was
//! acknowledged.
//!
//! A plan says what the `n`th payment is, a driver sends it, a recorder measures, the oracle checks, a report prints.

mod drive;
mod dummy;
mod echo;
mod options;
mod oracle;
mod page;
mod progress;
mod record;
mod replay;
mod report;
mod workload;
mod world;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use arus_proto::payments::v1::{CreatePaymentResponse, PaymentStatus};
use clap::{Args, Parser, Subcommand};
use drive::{Payments, Run};
use options::Options;
use oracle::Oracle;
use report::Report;
use workload::Plan;
use world::Wallets;

/// Most allocations are freed on another thread, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load on a running Arus (start it with `--set engine.risk.velocity_per_minute_max=4000000000`).
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Drive one workload, check every balance, report.
    Run(RunArgs),
    /// The same driver against an empty echo of the same message sizes and against Arus, in turn.
    Ceiling {
        #[command(flatten)]
        options: Options,
        /// How often they take turns.
        #[arg(long, default_value_t = 3)]
        rounds: u64,
    },
    /// Raise the rate of an open loop until p99 passes a limit; prints the knee.
    Sweep {
        #[command(flatten)]
        options: Options,
        /// The first rate, in payments per second.
        #[arg(long, default_value_t = 2_000)]
        from: u64,
        /// Each rate is so many percent above the one before.
        #[arg(long, default_value_t = 25)]
        step_percent: u64,
        /// The p99 that ends it, in milliseconds.
        #[arg(long, default_value_t = 20.0)]
        p99_ms_max: f64,
    },
    /// Write dummy transactions to a CSV file: realistic amounts and hours, the same for one seed.
    Gen(dummy::GenArgs),
    /// Make the payments of such a CSV file.
    Replay(replay::ReplayArgs),
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    options: Options,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write a page with plots to this file.
    #[arg(long)]
    html: Option<PathBuf>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Cmd::Run(args) => run(args).await,
        Cmd::Ceiling { options, rounds } => ceiling(&options, rounds).await,
        Cmd::Sweep { options, from, step_percent, p99_ms_max } => {
            sweep(options, from, step_percent.max(1), p99_ms_max).await
        }
        Cmd::Gen(args) => dummy::generate(&args),
        Cmd::Replay(args) => replay::replay(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("arus-load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A plan on fresh accounts, with connections to the server that has them.
struct Field {
    plan: Plan,
    clients: Vec<Payments>,
    wallets: Wallets,
}

async fn set_up(options: &Options) -> anyhow::Result<Field> {
    options.check()?;
    let clients = drive::connect(&options.payments, options.connections).await.context("PaymentsService")?;
    let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let plan = Plan::new(options, run)?;
    let wallets = world::make(options, &plan).await.context("WalletService")?;
    Ok(Field { plan, clients, wallets })
}

/// Drives a plan once, under keys of its own, and checks what came of it.
async fn drive_and_check(options: &Options, field: &Field) -> anyhow::Result<Report> {
    let oracle = Oracle::new(field.plan.clone(), options.payments_total());
    let run = Run::new(options, &field.plan, Some(oracle.clone()));
    run.drive(options, &field.clients).await?;
    let report = Report::new(options, run.recorder.elapsed(), run.recorder.finish());
    let first = field.clients.first().context("there is a connection")?;
    let checked = oracle.check(first, &field.wallets).await.context("the oracle")?;
    say(&format!("oracle   {checked}"));
    Ok(report)
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    let field = set_up(&args.options).await?;
    let report = drive_and_check(&args.options, &field).await?;
    report.print();
    if let Some(path) = &args.json {
        report.write_json(path)?;
    }
    if let Some(path) = &args.html {
        page::write(path, &report)?;
    }
    let decided = report.record.ends.iter().filter(|(end, _)| end.starts_with("CAPTURED") || end.starts_with("FAILED"));
    ensure!(decided.count() > 0, "no payment was decided");
    Ok(())
}

async fn ceiling(options: &Options, rounds: u64) -> anyhow::Result<()> {
    let mut shares = Vec::new();
    for round in 1..=rounds {
        let field = set_up(options).await?;
        let echo = echo::start(sample(&field, options).await?).await?;
        let echoes = drive::connect(&echo, options.connections).await.context("echo")?;
        let empty = Run::new(options, &field.plan, None);
        empty.drive(options, &echoes).await?;
        let ceiling = Report::new(options, empty.recorder.elapsed(), empty.recorder.finish());
        let report = drive_and_check(options, &field).await?;
        let share = report.per_second() / ceiling.per_second();
        let line = |what: &str, report: &Report| {
            format!("{what} {:.0}/s p50 {:.2} ms p99 {:.2} ms", report.per_second(), report.ms(0.5), report.ms(0.99))
        };
        say(&format!("round {round}: {}; {}; share {share:.2}", line("echo", &ceiling), line("arus", &report)));
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    let median = shares.get(shares.len() / 2).copied().unwrap_or_default();
    say(&format!("share of the ceiling, median of {rounds}: {median:.2}"));
    Ok(())
}

/// One real payment: its answer is what the echo answers with. It is between accounts that the run does not count.
async fn sample(field: &Field, options: &Options) -> anyhow::Result<CreatePaymentResponse> {
    let mut client = field.clients.first().context("there is a connection")?.clone();
    let mut request = field.plan.request(&field.plan.payment(0));
    request.tx_id = format!("sample-{}", field.plan.run);
    request.customer_id = field.plan.owner(options.accounts);
    request.destination_account = field.plan.account(options.accounts + 1);
    let answer = client.create_payment(request).await?.into_inner();
    ensure!(answer.payment.as_ref().is_some_and(|p| p.status() == PaymentStatus::Captured), "{answer:?}");
    Ok(answer)
}

async fn sweep(mut options: Options, from: u64, step_percent: u64, p99_ms_max: f64) -> anyhow::Result<()> {
    let mut rate = from;
    let mut knee = None;
    loop {
        options.rate = Some(rate);
        let field = set_up(&options).await?;
        let report = drive_and_check(&options, &field).await?;
        let (p99, kept) = (report.ms(0.99), report.per_second() / rate as f64);
        say(&format!(
            "rate {rate}/s: answered {:.0}/s, p50 {:.2} ms, p99 {p99:.2} ms, p99.9 {:.2} ms",
            report.per_second(),
            report.ms(0.5),
            report.ms(0.999)
        ));
        if p99 > p99_ms_max || kept < 0.95 {
            break;
        }
        knee = Some(rate);
        rate += (rate * step_percent / 100).max(1);
    }
    match knee {
        Some(knee) => say(&format!("knee     {knee} payments/s with p99 within {p99_ms_max} ms; {rate} are too many")),
        None => say(&format!("knee     below {from} payments/s: p99 passes {p99_ms_max} ms at once")),
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a load test reports to a person")]
fn say(line: &str) {
    println!("{line}");
}

#[allow(clippy::print_stderr, reason = "a command that fails says why")]
fn complain(line: &str) {
    eprintln!("{line}");
}
