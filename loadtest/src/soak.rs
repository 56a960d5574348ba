//! Flat cost: the first payments of a store, very many more, and as many again as the first, on the same accounts.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    console::say,
    field::Field,
    options::{Options, PAYMENTS_MAX},
    page,
    report::{Report, write_json},
};

/// How much worse than the first payments the last may be, in percent.
pub(crate) const DRIFT_PERCENT_MAX: f64 = 15.0;
/// The most memory a server may take up, in MB.
pub(crate) const MEMORY_MB_MAX: u64 = 512;

/// What to soak, and how long.
#[derive(Args)]
pub(crate) struct SoakArgs {
    #[command(flatten)]
    options: Options,
    /// How many payments are compared: the first, and the last after --count more.
    #[arg(long, default_value_t = 100_000)]
    window: u64,
    /// The soak fails if the last payments are worse than the first by more than this, in percent.
    #[arg(long, default_value_t = DRIFT_PERCENT_MAX)]
    drift_max_percent: f64,
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
    for (what, range) in [("first", 0..window), ("between", window..last), ("last", last..total)] {
        let planned = range.end - range.start;
        let mut report = field.drive(options, range, &oracle).await?;
        report.name = format!("{what} {} payments: {}", report.answers, report.name);
        report.judge(planned, options.errors_max_percent);
        report.print();
        parts.push(report);
        if parts.last().is_some_and(|part| part.cost.is_none()) {
            break;
        }
    }
    field.check(&oracle, &mut parts).await;
    if let Some(checked) = parts.first().and_then(|part| part.oracle.as_ref()) {
        say(&format!("oracle   {checked}"));
    }
    if let Some(path) = &args.json {
        write_json(path, &parts)?;
    }
    if let Some(path) = &args.html {
        page::write(path, "Soak", "", &parts)?;
    }
    parts.iter().try_for_each(Report::passed)?;
    let drift = Drift::of(&parts).context("a soak has a first and a last part")?;
    say(&format!("throughput  {:.2} of the first", drift.throughput));
    say(&format!("p99         {:.2} of the first", drift.p99));
    let percent = args.drift_max_percent;
    let flat = if drift.is_within(percent) { "flat: both" } else { "not flat: not" };
    let verdict = format!("the cost is {flat} within {percent} %");
    say(&verdict);
    ensure!(drift.is_within(percent), "{verdict}");
    let memory_mb = memory_mb(&parts).context("the server does not tell its memory")?;
    ensure!(memory_mb <= MEMORY_MB_MAX, "the server took up {memory_mb} MB of memory; allowed: {MEMORY_MB_MAX} MB");
    Ok(())
}

/// The most memory that a server had in any of some runs; `None` if one does not tell.
pub(crate) fn memory_mb(reports: &[Report]) -> Option<u64> {
    let bytes: Option<Vec<_>> = reports.iter().map(|report| report.cost.as_ref()?.resident_bytes_max).collect();
    bytes?.into_iter().max().map(|bytes| bytes / 1_000_000)
}

/// The last payments' figures as shares of the first's.
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

    /// Whether neither is worse by more than so many percent.
    pub(crate) fn is_within(&self, percent: f64) -> bool {
        self.throughput >= 1.0 - percent / 100.0 && self.p99 <= 1.0 + percent / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_figure_alone_may_not_drift() {
        let within = |throughput, p99| Drift { throughput, p99 }.is_within(DRIFT_PERCENT_MAX);
        assert!(within(0.86, 1.14) && within(2.0, 0.1));
        assert!(!within(0.84, 1.0) && !within(1.0, 1.16) && !within(f64::NAN, 1.0));
    }
}
