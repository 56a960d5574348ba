//! Raises the rate of an open loop until its p99 passes a limit.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    console::say,
    field::Field,
    options::Options,
    report::{Report, write_json},
};

/// A rate whose answers fall behind by more than this was too much.
const KEPT_UP: f64 = 0.95;

/// Where to begin, and where to end.
#[derive(Args)]
pub(crate) struct SweepArgs {
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
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a sweep found.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// The highest rate within the limit, in payments per second.
    pub(crate) knee: Option<u64>,
    /// The limit, in milliseconds.
    pub(crate) p99_ms_max: f64,
    /// The run at each rate, to the one that was too much.
    pub(crate) steps: Vec<Report>,
}

/// See the module.
pub(crate) async fn sweep(args: SweepArgs) -> anyhow::Result<()> {
    let SweepArgs { mut options, from, step_percent, p99_ms_max, json } = args;
    ensure!(options.rate.is_none(), "--rate is what a sweep raises; it begins at --from");
    let (mut rate, mut knee, mut steps) = (from, None, Vec::new());
    loop {
        options.rate = Some(rate);
        let report = Field::set_up(&options).await?.drive_and_check(&options).await?;
        let (of, decided, errors) = (report.latency, report.decided_per_second(), report.errors);
        say(&format!(
            "rate {rate}/s: decided {decided:.0}/s, {errors} errors, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            of.p50_ms, of.p99_ms, of.p999_ms
        ));
        let is_sound = report.failure.is_none();
        steps.push(report);
        if !is_sound || of.p99_ms > p99_ms_max || decided / (rate as f64) < KEPT_UP || errors > 0 {
            break;
        }
        knee = Some(rate);
        rate += (rate * step_percent.max(1) / 100).max(1);
    }
    let sweep = Sweep { knee, p99_ms_max, steps };
    if let Some(path) = &json {
        write_json(path, &sweep)?;
    }
    sweep.passed()?;
    match knee {
        Some(knee) => say(&format!("knee     {knee} payments/s with p99 within {p99_ms_max} ms; {rate} are too many")),
        None => say(&format!("knee     below {from} payments/s: p99 passes {p99_ms_max} ms at once")),
    }
    Ok(())
}

impl Sweep {
    /// An error, if a run in it is worth nothing; errors for overload are what it looks for.
    pub(crate) fn passed(&self) -> anyhow::Result<()> {
        self.steps.iter().try_for_each(Report::passed)
    }
}
