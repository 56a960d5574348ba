//! What a run found: a table for people, JSON for machines; the page with plots is in [`crate::page`].

use std::{path::Path, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{options::Options, record::Record, say};

/// The figures of one run.
pub(crate) struct Report {
    /// What ran, such as `hot-payee unary`.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// What was measured.
    pub(crate) record: Record,
}

/// The percentiles that a report names.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Report {
    /// Names a run by its options.
    pub(crate) fn new(options: &Options, took: Duration, record: Record) -> Self {
        let loop_kind = options.rate.map_or_else(|| "closed".to_owned(), |rate| format!("open at {rate}/s"));
        let name = format!("{:?} {:?}, {loop_kind}", options.workload, options.mode).to_lowercase();
        Self { name, took, record }
    }

    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.record.answered() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// A latency, in milliseconds.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.record.times.value_at_quantile(quantile) as f64 / 1_000.0
    }

    fn max_ms(&self) -> f64 {
        self.record.times.max() as f64 / 1_000.0
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        say(&format!("{}: {} answers in {:.2} s", self.name, self.record.answered(), self.took.as_secs_f64()));
        say(&format!("  throughput  {:>10.0} /s", self.per_second()));
        for (name, quantile) in PERCENTILES {
            say(&format!("  {name:<11} {:>10.3} ms", self.ms(quantile)));
        }
        say(&format!("  {:<11} {:>10.3} ms", "max", self.max_ms()));
        for (end, count) in &self.record.ends {
            say(&format!("  {end:<42} {count:>10}"));
        }
    }

    /// The same for machines.
    pub(crate) fn json(&self) -> Value {
        let percentiles: serde_json::Map<_, _> =
            PERCENTILES.iter().map(|(name, quantile)| ((*name).to_owned(), json!(self.ms(*quantile)))).collect();
        let seconds: Vec<_> = self.record.seconds.iter().map(|second| second.answered).collect();
        json!({
            "name": self.name,
            "answers": self.record.answered(),
            "took_s": self.took.as_secs_f64(),
            "per_second": self.per_second(),
            "latency_ms": percentiles,
            "latency_max_ms": self.max_ms(),
            "ends": self.record.ends,
            "answers_by_second": seconds,
        })
    }

    /// Writes the JSON to a file.
    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.json())?;
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}
