//! `arus-load`: load on a running Arus over its wire contract, and an oracle that holds every balance against what was
//! acknowledged.
//!
//! A plan says what the `n`th payment is, a driver sends it, a recorder measures, the oracle checks, a report prints.

mod accounts;
mod audit;
mod ceiling;
mod clients;
mod console;
mod drive;
mod dummy;
mod echo;
mod ends;
mod field;
mod lifecycle;
mod opening;
mod options;
mod oracle;
mod page;
mod progress;
mod record;
mod replay;
mod report;
mod rest;
mod rows;
mod run;
mod server;
mod soak;
mod sweep;
mod table;
mod tally;
mod time;
mod wallets;
mod workload;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use field::Field;
use options::Options;

/// Most allocations are freed on another thread, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load on a running Arus (start it with `--set engine.risk.velocity_per_minute_max=4000000000 --set
/// engine.risk.recent_declines_max=4000000000`).
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
    Ceiling(ceiling::CeilingArgs),
    /// Raise the rate of an open loop until p99 passes a limit; prints the knee.
    Sweep(sweep::SweepArgs),
    /// Compare the first payments of a store with those after very many.
    Soak(soak::SoakArgs),
    /// Whole lives of payments, authorised, captured and refunded in parts, voided, in turn with plain payments.
    Lifecycle(lifecycle::LifecycleArgs),
    /// Put the figures of a whole report together (see load-report.sh).
    Table(table::TableArgs),
    /// Write dummy transactions to a CSV file: realistic amounts and hours, the same for one seed.
    Gen(dummy::GenArgs),
    /// Open the accounts of a JSON file: balance, daily limit, status.
    Accounts(opening::AccountsArgs),
    /// Make the payments of a CSV file, such as `gen` writes.
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
        Cmd::Ceiling(args) => ceiling::ceiling(args).await,
        Cmd::Sweep(args) => sweep::sweep(args).await,
        Cmd::Soak(args) => soak::soak(args).await,
        Cmd::Lifecycle(args) => lifecycle::lifecycle(args).await,
        Cmd::Table(args) => table::table(&args),
        Cmd::Gen(args) => dummy::generate(&args),
        Cmd::Accounts(args) => opening::accounts(&args).await,
        Cmd::Replay(args) => replay::replay(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::complain(&format!("arus-load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    let mut report = Field::set_up(&args.options).await?.drive_and_check(&args.options).await?;
    report.judge(args.options.payments_total(), args.options.errors_max_percent);
    report.print();
    if let Some(path) = &args.json {
        report::write_json(path, &report)?;
    }
    if let Some(path) = &args.html {
        page::write(path, "Load on Arus", "", std::slice::from_ref(&report))?;
    }
    report.passed()
}
