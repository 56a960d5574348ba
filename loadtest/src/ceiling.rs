//! The same driver against an empty echo of the same message sizes and against Arus, in turn; and what the disk alone
//! takes for one append.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, ensure};
use arus_proto::payments::v1::{CreatePaymentResponse, PaymentStatus};
use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    clients,
    console::say,
    echo,
    field::Field,
    options::{Mode, Options},
    report::{Report, write_json},
    run::Run,
};

/// Appends that are timed; 4 KiB each.
const APPENDS: usize = 500;
const APPEND_BYTES: usize = 4_096;

/// What to drive, and how often.
#[derive(Args)]
pub(crate) struct CeilingArgs {
    #[command(flatten)]
    options: Options,
    /// How often they take turns.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// A directory on the disk that Arus writes to, where an append is timed.
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The figures of all rounds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ceiling {
    /// The echo, then Arus.
    pub(crate) rounds: Vec<(Report, Report)>,
    /// One 4 KiB append with fdatasync, p50, in milliseconds.
    pub(crate) append_sync_p50_ms: f64,
}

impl Ceiling {
    /// The median of a figure of the rounds.
    pub(crate) fn median(&self, figure: impl Fn(&Report, &Report) -> f64) -> f64 {
        let mut figures: Vec<_> = self.rounds.iter().map(|(echo, arus)| figure(echo, arus)).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    }

    /// Arus's throughput as a share of the echo's.
    pub(crate) fn share(&self) -> f64 {
        self.median(share)
    }

    /// An error, if a run in it is worth nothing.
    pub(crate) fn passed(&self) -> anyhow::Result<()> {
        self.rounds.iter().try_for_each(|(echo, arus)| echo.passed().and_then(|()| arus.passed()))
    }
}

/// Arus counts until its index has caught up, the echo has none.
fn share(echo: &Report, arus: &Report) -> f64 {
    arus.per_second() / echo.per_second()
}

/// See the module.
pub(crate) async fn ceiling(args: CeilingArgs) -> anyhow::Result<()> {
    let options = &args.options;
    let modes = "allowed: --mode unary, batch and stream";
    ensure!(options.mode != Mode::Rest, "--mode rest has no ceiling, as there is no echo over REST; {modes}");
    let append_sync_p50_ms = time_appends(&args.disk)?;
    let mut found = Ceiling { rounds: Vec::new(), append_sync_p50_ms };
    for round in 1..=args.rounds.max(1) {
        let mut field = Field::set_up(options).await?;
        let echo = echo::start(sample(&field).await?).await?;
        field.begin().await?;
        let echoes = clients::payments(&echo, options.connections).await.context("echo")?;
        let empty = Run::new(&field.plan, 0..options.payments_total(), None);
        empty.drive(options, &echoes).await?;
        let mut echo = Report::new("echo".into(), empty.recorder.elapsed(), &empty.recorder.finish());
        let mut arus = field.drive_and_check(options).await?;
        echo.judge(options.payments_total(), options.errors_max_percent);
        arus.judge(options.payments_total(), options.errors_max_percent);
        let line = |what: &str, report: &Report| {
            let of = report.latency;
            format!("{what} {:.0}/s p50 {:.2} ms p99 {:.2} ms", report.per_second(), of.p50_ms, of.p99_ms)
        };
        let share = share(&echo, &arus);
        say(&format!("round {round}: {}; {}; share {share:.2}", line("echo", &echo), line("arus", &arus)));
        found.rounds.push((echo, arus));
    }
    say(&format!("share of the ceiling, median of {}: {:.2}", found.rounds.len(), found.share()));
    say(&format!("a 4 KiB append with fdatasync: p50 {append_sync_p50_ms:.2} ms"));
    if let Some(path) = &args.json {
        write_json(path, &found)?;
    }
    found.passed()
}

/// One real payment: its answer is what the echo answers with. It is between accounts that the run does not count.
async fn sample(field: &Field) -> anyhow::Result<CreatePaymentResponse> {
    let mut client = field.client()?.clone();
    let mut request = field.plan.request(&field.plan.payment(0));
    request.tx_id = format!("sample-{}", field.plan.run);
    request.customer_id = field.plan.owner_id(field.plan.accounts).to_string();
    request.source_account = field.plan.account(field.plan.accounts);
    request.destination_account = field.plan.account(field.plan.accounts + 1);
    let answer = client.create_payment(request).await?.into_inner();
    ensure!(answer.payment.as_ref().is_some_and(|p| p.status() == PaymentStatus::Captured), "{answer:?}");
    Ok(answer)
}

/// The median time of an append with its sync.
fn time_appends(folder: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder).with_context(|| format!("--disk {}", folder.display()))?;
    // As the journal does: room first, so that a sync writes no new file length.
    file.write_all(&vec![0; APPENDS * APPEND_BYTES])?;
    file.sync_all()?;
    std::io::Seek::rewind(&mut file)?;
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&[7; APPEND_BYTES])?;
        file.sync_data()?;
        times.record(u64::try_from(begun.elapsed().as_micros())?)?;
    }
    Ok(times.value_at_quantile(0.5) as f64 / 1_000.0)
}
