//! What a run found: a table for people, JSON for machines; the page with plots is in [`crate::page`].

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{
    console::say,
    ends::{ANSWERED, CAPTURED, WRONG, is_decided},
    options::{OPEN_IN_FLIGHT_MAX, Options},
    record::Record,
    server::Cost,
};

/// The figures of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What ran, such as `hot-payee unary`.
    pub(crate) name: String,
    /// All answers, errors too.
    pub(crate) answers: u64,
    /// Calls that decided nothing: refused, or never answered.
    pub(crate) errors: u64,
    /// Answers that are not what was asked for; no errors, and no decisions either.
    pub(crate) wrong: u64,
    /// Until the last of them.
    pub(crate) took_s: f64,
    /// Of decided payments.
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
    /// Why the run is worth nothing, if so.
    pub(crate) failure: Option<String>,
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
    /// Payments decided in it.
    pub(crate) answered: u64,
    /// Their latencies.
    pub(crate) latency: Latency,
}

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
    let how = match options.rate {
        None => format!("closed, {} in flight", options.concurrency),
        Some(rate) => format!("open at {rate}/s, up to {OPEN_IN_FLIGHT_MAX} in flight"),
    };
    format!("{} {}, {how}", word(options.workload), word(options.mode))
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
        let count = |is: fn(&str) -> bool| record.ends.iter().filter(|(end, _)| is(end)).map(|(_, count)| count).sum();
        let (decided, wrong): (u64, u64) = (count(is_decided), count(|end| end == WRONG));
        Self {
            name,
            answers: record.answered(),
            errors: record.answered() - decided - wrong,
            wrong,
            took_s: took.as_secs_f64().max(1e-9),
            latency: Latency::of(&record.times),
            ends: record.ends.clone(),
            seconds: record.seconds.iter().map(second).collect(),
            nines_ms: nines.map(|quantile| record.times.value_at_quantile(quantile) as f64 / 1_000.0).collect(),
            cost: None,
            oracle: None,
            failure: None,
        }
    }

    /// Finds a run of so many payments a failure that sent fewer, ended in too many errors, was answered wrong, or moved
    /// no money.
    pub(crate) fn judge(&mut self, planned: u64, errors_max_percent: f64) {
        let (answers, errors) = (self.answers, self.errors);
        let percent = errors as f64 * 100.0 / answers.max(1) as f64;
        let failure = if answers != planned {
            format!("{answers} of {planned} payments were sent, then no connection was left")
        } else if percent > errors_max_percent {
            format!("{errors} of {answers} payments ended in errors ({percent:.2} %; allowed: {errors_max_percent} %)")
        } else if self.wrong > 0 {
            format!("{} of {answers} answers are wrong (allowed: none)", self.wrong)
        } else if self.captured() == 0 && !self.ends.contains_key(ANSWERED) {
            "no payment moved money".to_owned()
        } else {
            return;
        };
        self.failure.get_or_insert(failure);
    }

    /// An error, if the run is worth nothing.
    pub(crate) fn passed(&self) -> anyhow::Result<()> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(anyhow!("{}: {failure}", self.name)))
    }

    /// Payments that moved money.
    pub(crate) fn captured(&self) -> u64 {
        self.ends.iter().filter(|(end, _)| end.starts_with(CAPTURED)).map(|(_, count)| count).sum()
    }

    /// Payments that were decided, or answered by the echo.
    pub(crate) fn decided(&self) -> u64 {
        self.answers - self.errors - self.wrong
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

    /// What the percentiles leave out.
    pub(crate) fn left_out(&self) -> [(&'static str, u64); 2] {
        [("errors, not in the percentiles", self.errors), ("wrong answers, not in the percentiles", self.wrong)]
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
        for (what, count) in self.left_out() {
            say(&format!("  {what:<42} {count:>10}"));
        }
        if let Some(checked) = &self.oracle {
            say(&format!("oracle   {checked}"));
        }
        if let Some(failure) = &self.failure {
            say(&format!("failed   {failure}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Recorder;

    fn report(ends: &[(&str, u64)]) -> Report {
        let recorder = Recorder::start();
        ends.iter().for_each(|(end, count)| recorder.note(end, Duration::from_millis(1), *count));
        Report::new("a run".into(), Duration::from_secs(1), &recorder.finish())
    }

    #[test]
    fn runs_full_of_errors_fail() {
        let judged = |ends: &[(&str, u64)], planned| {
            let mut report = report(ends);
            report.judge(planned, 1.0);
            report.passed().map_err(|error| error.to_string())
        };
        assert_eq!(judged(&[("CAPTURED", 99), ("Unavailable ", 1)], 100), Ok(()));
        let many = judged(&[("CAPTURED", 98), ("429 TOO_MANY_IN_FLIGHT", 2)], 100).unwrap_err();
        assert!(many.contains("2 of 100 payments ended in errors (2.00 %; allowed: 1 %)"), "{many}");
        assert!(judged(&[("CAPTURED", 99)], 100).unwrap_err().contains("99 of 100"));
        assert!(judged(&[("FAILED RISK_REJECTED", 5)], 5).unwrap_err().contains("no payment moved money"));
    }

    #[test]
    fn errors_are_no_decisions() {
        // The gRPC code's name begins like a decline's.
        let report = report(&[("CAPTURED", 3), ("FAILED X", 2), ("FailedPrecondition X", 4), ("NO OUTCOME", 1)]);
        assert_eq!((report.answers, report.errors, report.decided(), report.captured()), (10, 5, 5, 3));
    }

    #[test]
    fn wrong_answers_are_no_errors_and_fail_a_run() {
        let mut report = report(&[("CAPTURED", 96), ("Unavailable ", 1), (WRONG, 3)]);
        assert_eq!((report.errors, report.wrong, report.decided()), (1, 3, 96));
        report.judge(100, 1.0);
        let failure = report.passed().unwrap_err().to_string();
        assert!(failure.contains("3 of 100 answers are wrong"), "{failure}");
    }
}
