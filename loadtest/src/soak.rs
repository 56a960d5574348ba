//! Flat cost: the first payments of a store, very many more, and as many again as the first, on the same accounts.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use crate::{field::Field, options::Options, page, report::write_json, say};

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
    let field = Field::set_up(options).await?;
    let oracle = field.oracle(total);
    let mut parts = Vec::new();
    for (what, payments) in [("first", 0..window), ("between", window..last), ("last", last..total)] {
        let mut report = field.drive(options, payments, &oracle).await?;
        report.name = format!("{what} {} payments: {}", report.answers, report.name);
        report.print();
        parts.push(report);
    }
    say(&format!("oracle   {}", field.check(&oracle).await?));
    if let Some(path) = &args.json {
        write_json(path, &parts)?;
    }
    if let Some(path) = &args.html {
        page::write(path, "Soak", "", &parts)?;
    }
    if let [first, .., last] = parts.as_slice() {
        let (slower, later) = (first.per_second() / last.per_second(), last.latency.p99_ms / first.latency.p99_ms);
        say(&format!("throughput  {:.2} of the first: {}", 1.0 / slower, verdict(slower)));
        say(&format!("p99         {later:.2} of the first: {}", verdict(later)));
    }
    Ok(())
}

/// Says whether the last payments cost so much more than the first. It gates nothing: machines are noisy.
fn verdict(ratio: f64) -> String {
    let within = if ratio <= 1.0 + DRIFT_MAX { "within" } else { "not within" };
    format!("{within} {:.0} %", DRIFT_MAX * 100.0)
}
