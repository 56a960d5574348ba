//! Flat cost: the first payments of a store, very many more, and as many again as the first, on the same accounts.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    field::Field,
    options::{Options, PAYMENTS_MAX},
    page,
    report::{Report, write_json},
    say,
};

/// How much worse than the first payments the last may be.
const DRIFT_MAX: f64 = 0.15;

/// What to soak, and how long.
#[derive(Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    options: Options,
    /// How many payments are compared: the first, and the last after --count more.
    #[arg(long, default_value_t = 100_000)]
    window: u64,
    /// Also write the figures of the three parts to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also write a page with plots to this file.
    #[arg(long)]
    html: Option<PathBuf>,
}

/// See the module.
pub(crate) async fn soak(args: SoakArgs) -> anyhow::Result<()> {
    let (options, window) = (&args.options, args.window);
    ensure!(options.rate.is_none(), "--rate cannot be soaked: how much a closed loop gets through is the question");
    ensure!(window >= 1, "--window is 0; allowed: 1 and more");
    let last = window.saturating_add(options.count);
    let total = last.saturating_add(window);
    ensure!(total <= PAYMENTS_MAX, "{total} payments are too many for one run; allowed: up to {PAYMENTS_MAX}");
    let field = Field::set_up(options).await?;
    let oracle = field.oracle(total);
    let mut parts = Vec::new();
    for (what, payments) in [("first", 0..window), ("between", window..last), ("last", last..total)] {
        let mut report = field.drive(options, payments, &oracle).await?;
        report.name = format!("{what} {} payments: {}", report.answers, report.name);
        report.print();
        parts.push(report);
    }
    let checked = field.check(&oracle).await?;
    say(&format!("oracle   {checked}"));
    parts.iter_mut().for_each(|part| part.oracle = Some(checked.clone()));
    if let Some(path) = &args.json {
        write_json(path, &parts)?;
    }
    if let Some(path) = &args.html {
        page::write(path, "Soak", "", &parts)?;
    }
    let drift = Drift::of(&parts).context("a soak has a first and a last part")?;
    say(&format!("throughput  {:.2} of the first", drift.throughput));
    say(&format!("p99         {:.2} of the first", drift.p99));
    say(if drift.is_flat() { "the cost is flat: both within 15 %" } else { "the cost is not flat: not within 15 %" });
    Ok(())
}

/// The last payments' figures as shares of the first's. It gates nothing: machines are noisy.
pub(crate) struct Drift {
    pub(crate) throughput: f64,
    pub(crate) p99: f64,
}

impl Drift {
    /// Of the parts of a soak.
    pub(crate) fn of(parts: &[Report]) -> Option<Self> {
        let (first, last) = (parts.first()?, parts.last()?);
        let throughput = last.per_second() / first.per_second();
        Some(Self { throughput, p99: last.latency.p99_ms / first.latency.p99_ms })
    }

    /// Whether both are within [`DRIFT_MAX`].
    pub(crate) fn is_flat(&self) -> bool {
        self.throughput >= 1.0 - DRIFT_MAX && self.p99 <= 1.0 + DRIFT_MAX
    }
}
