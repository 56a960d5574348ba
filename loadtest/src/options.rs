//! What every run can be told, with its defaults.

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::{Args, ValueEnum};

/// Calls that an open loop may have in flight; beyond that it is late, and its latencies say so.
pub(crate) const OPEN_IN_FLIGHT_MAX: usize = 50_000;
/// The length of an open loop that is not told one, in seconds.
const DURATION_S: u64 = 30;
/// The most payments of a run: the oracle keeps a byte for each.
pub(crate) const PAYMENTS_MAX: u64 = 1_000_000_000;

/// Where the server listens, what the load is made of, how hard it is driven.
#[derive(Args, Debug, Clone)]
pub(crate) struct Options {
    /// PaymentsService.
    #[arg(long, default_value = "http://127.0.0.1:9091")]
    pub(crate) payments: String,
    /// The REST gateway; only --mode rest needs it.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(crate) rest: String,
    /// FxService; only cross-currency needs it.
    #[arg(long, default_value = "http://127.0.0.1:9092")]
    pub(crate) fx: String,
    /// WalletService.
    #[arg(long, default_value = "http://127.0.0.1:9093")]
    pub(crate) wallet: String,
    /// The metrics of PaymentsService: syncs, memory, disk, and how far the index is.
    #[arg(long, default_value = "http://127.0.0.1:9101/metrics")]
    pub(crate) metrics: String,
    /// Who pays whom.
    #[arg(long, value_enum, default_value_t = Workload::Uniform)]
    pub(crate) workload: Workload,
    /// Skew of the zipf workload: 0 is uniform, 0.99 is usual.
    #[arg(long, default_value_t = 0.99)]
    pub(crate) theta: f64,
    /// The same seed makes the same payments.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Accounts, opened and funded by the run.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) accounts: u64,
    /// Take these accounts instead, open and funded already: a CSV with the columns account_id,owner_id,currency, all
    /// in one currency with two decimal places.
    #[arg(long)]
    pub(crate) accounts_file: Option<PathBuf>,
    /// Payments to make; an open loop makes as many as its rate and duration say.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) count: u64,
    /// How payments are sent.
    #[arg(long, value_enum, default_value_t = Mode::Unary)]
    pub(crate) mode: Mode,
    /// Payments in flight (batches in flight for batch mode).
    #[arg(long, default_value_t = 256)]
    pub(crate) concurrency: usize,
    /// Connections they share.
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    /// Payments per batch.
    #[arg(long, default_value_t = 100)]
    pub(crate) batch_size: u64,
    /// Open loop: payments per second, sent when they are due, whatever the server does; latency counts from then.
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// Length of an open loop, in seconds; 30 if it is not given.
    #[arg(long)]
    pub(crate) duration_s: Option<u64>,
    /// The run fails if more of the payments than this, in percent, end in errors.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) errors_max_percent: f64,
}

/// Who pays whom.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Any account pays any other.
    Uniform,
    /// Few accounts do most of it (--theta).
    Zipf,
    /// Everybody pays account 0.
    HotPayee,
    /// Account 0 pays everybody.
    HotPayer,
    /// IDR accounts pay in USD: four postings, two desk accounts that everybody touches.
    CrossCurrency,
    /// Uniform, with one in 20 declined and one in 20 sent twice.
    Mixed,
}

/// How payments are sent.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// CreatePayment.
    Unary,
    /// BatchCreatePayments.
    Batch,
    /// StreamPayments.
    Stream,
    /// CreatePayment over REST, with a connection for each payment in flight.
    Rest,
}

impl Options {
    /// Refuses what cannot be run.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let at_least = |name: &str, value: u64, min: u64| {
            ensure!(value >= min, "--{name} is {value}; allowed: {min} and more");
            Ok(())
        };
        at_least("accounts", self.accounts, 4)?;
        at_least("count", self.count, 1)?;
        at_least("concurrency", self.concurrency as u64, 1)?;
        at_least("connections", self.connections as u64, 1)?;
        at_least("rate", self.rate.unwrap_or(1), 1)?;
        at_least("duration-s", self.duration_s.unwrap_or(1), 1)?;
        ensure!(
            self.rate.is_some() || self.duration_s.is_none(),
            "--duration-s is the length of an open loop: give --rate too"
        );
        let total = self.payments_total();
        ensure!(total <= PAYMENTS_MAX, "{total} payments are too many for one run; allowed: up to {PAYMENTS_MAX}");
        ensure!((1..=1_024).contains(&self.batch_size), "--batch-size is {}; allowed: 1 to 1024", self.batch_size);
        ensure!(self.theta.is_finite() && self.theta >= 0.0, "--theta is {}; allowed: 0 and more", self.theta);
        let is_closed = matches!(self.mode, Mode::Batch | Mode::Rest);
        ensure!(self.rate.is_none() || !is_closed, "--rate works with --mode unary and --mode stream");
        let converting = self.accounts_file.is_some() && self.workload == Workload::CrossCurrency;
        ensure!(!converting, "--accounts-file works in one currency; cross-currency opens accounts of its own");
        Ok(())
    }

    /// How many payments the run makes.
    pub(crate) fn payments_total(&self) -> u64 {
        self.rate.map_or(self.count, |rate| rate.saturating_mul(self.duration_s.unwrap_or(DURATION_S)))
    }

    /// When the `n`th payment of an open loop is due.
    pub(crate) fn due(&self, n: u64) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate))
    }
}
