//! What a run found: a table for people, JSON for machines; the page with plots is in [`crate::page`].

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{options::Options, record::Record, say, server::Cost};

/// The figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What ran, such as `hot-payee unary`.
    pub(crate) name: String,
    /// All answers, errors too.
    pub(crate) answers: u64,
    /// Until the last of them.
    pub(crate) took_s: f64,
    /// Of all answers.
    pub(crate) latency: Latency,
    /// How many ended so: `CAPTURED`, `FAILED INSUFFICIENT_FUNDS`, `UNAVAILABLE DRAINING`.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Second by second.
    pub(crate) seconds: Vec<SecondFigures>,
    /// The latency at 0, 0.1, 0.2 … nines (0.9 is one nine, 0.99 two), in milliseconds.
    pub(crate) nines_ms: Vec<f64>,
    /// What it cost the server; an echo has none.
    pub(crate) cost: Option<Cost>,
    /// What the oracle checked.
    pub(crate) oracle: Option<String>,
}

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

/// One second of a run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SecondFigures {
    /// Answers in it.
    pub(crate) answered: u64,
    /// Their latencies.
    pub(crate) latency: Latency,
}

/// How payments end, as reports spell it; a code follows FAILED, and errors are named by their status.
pub(crate) const CAPTURED: &str = "CAPTURED";
pub(crate) const FAILED: &str = "FAILED";
/// The echo decides nothing.
pub(crate) const ANSWERED: &str = "ANSWERED";
/// How many tenths of nines are kept: to 0.9999.
const NINE_TENTHS: u32 = 40;

impl Latency {
    fn of(times: &Histogram<u64>) -> Self {
        let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let max_ms = times.max() as f64 / 1_000.0;
        Self { p50_ms: ms(0.5), p90_ms: ms(0.9), p99_ms: ms(0.99), p999_ms: ms(0.999), max_ms }
    }

    /// With the names that a report gives them.
    pub(crate) fn named(&self) -> [(&'static str, f64); 5] {
        let Self { p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = *self;
        [("p50", p50_ms), ("p90", p90_ms), ("p99", p99_ms), ("p99.9", p999_ms), ("max", max_ms)]
    }
}

/// Names a run by its options.
pub(crate) fn name(options: &Options) -> String {
    let loop_kind = options.rate.map_or_else(|| "closed".to_owned(), |rate| format!("open at {rate}/s"));
    format!("{} {}, {loop_kind}, {} in flight", word(options.workload), word(options.mode), options.concurrency)
}

/// A choice as the command line spells it.
fn word(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl Report {
    /// The figures of what was recorded.
    pub(crate) fn new(name: String, took: Duration, record: &Record) -> Self {
        let nines = (0..=NINE_TENTHS).map(|tenths| 1.0 - 10_f64.powf(-f64::from(tenths) / 10.0));
        let second = |second: &crate::record::Second| SecondFigures {
            answered: second.answered,
            latency: Latency::of(&second.times),
        };
        Self {
            name,
            answers: record.answered(),
            took_s: took.as_secs_f64().max(1e-9),
            latency: Latency::of(&record.times),
            ends: record.ends.clone(),
            seconds: record.seconds.iter().map(second).collect(),
            nines_ms: nines.map(|quantile| record.times.value_at_quantile(quantile) as f64 / 1_000.0).collect(),
            cost: None,
            oracle: None,
        }
    }

    fn ended(&self, so: &[&str]) -> u64 {
        let ends = self.ends.iter().filter(|(end, _)| so.iter().any(|so| end.starts_with(so)));
        ends.map(|(_, count)| count).sum()
    }

    /// Payments that moved money.
    pub(crate) fn captured(&self) -> u64 {
        self.ended(&[CAPTURED])
    }

    /// Answers that were no errors: payments that were decided, or the echo's.
    pub(crate) fn decided(&self) -> u64 {
        self.ended(&[CAPTURED, FAILED, ANSWERED])
    }

    /// Decisions a second, until the last answer; errors count nothing.
    pub(crate) fn decided_per_second(&self) -> f64 {
        self.decided() as f64 / self.took_s
    }

    /// Decisions a second, until the index had caught up with them.
    pub(crate) fn per_second(&self) -> f64 {
        let took_s = self.cost.as_ref().map_or(self.took_s, |cost| cost.indexed_s.max(self.took_s));
        self.decided() as f64 / took_s
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        say(&format!("{}: {} answers in {:.2} s", self.name, self.answers, self.took_s));
        say(&format!("  throughput  {:>10.0} /s until the last answer", self.decided_per_second()));
        if let Some(cost) = &self.cost {
            say(&format!("              {:>10.0} /s until the index had caught up", self.per_second()));
            let per = cost.entries_per_sync;
            say(&format!("  syncs       {:>10.0} /s, {per:.0} entries each", cost.syncs_per_second));
            if let Some(bytes) = cost.resident_bytes_max {
                say(&format!("  memory      {:>10} MB at most", bytes / 1_000_000));
            }
            say(&format!("  disk        {:>10.0} B a payment", cost.disk_bytes_per_payment));
        }
        for (name, ms) in self.latency.named() {
            say(&format!("  {name:<11} {ms:>10.3} ms"));
        }
        for (end, count) in &self.ends {
            say(&format!("  {end:<42} {count:>10}"));
        }
        if let Some(checked) = &self.oracle {
            say(&format!("oracle   {checked}"));
        }
    }
}

/// Writes figures to a JSON file.
pub(crate) fn write_json(path: &Path, figures: &impl Serialize) -> anyhow::Result<()> {
    write_text(path, &serde_json::to_string_pretty(figures)?)
}

/// Writes a file; an error names it.
pub(crate) fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
