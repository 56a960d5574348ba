//! The whole report: the figures that `load-report.sh` collected in a folder, each beside its target. A row whose run
//! failed, or left nothing, says so and costs no other row.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    ceiling::Ceiling,
    console::say,
    page::{self, escape},
    report::{Report, write_text},
    soak::{DRIFT_PERCENT_MAX, Drift, MEMORY_MB_MAX, memory_mb},
    sweep::Sweep,
};

/// Where the figures are.
#[derive(Args)]
pub(crate) struct TableArgs {
    /// The folder that `load-report.sh` wrote to; report.md and report.html are added to it.
    folder: PathBuf,
}

/// What was found, and whether it meets the target.
type Found = anyhow::Result<(String, bool)>;

/// A row of the table: what, its target, how it is found in a folder.
type Row = (&'static str, &'static str, fn(&Folder) -> Found);

/// In this order.
const ROWS: [Row; 19] = [
    ("engine alone, 256 in flight", "130,000/s, p99 <= 5 ms", engine_uniform),
    ("engine alone, hot payee / payer", ">= 1.0", engine_hot),
    ("engine alone, cross-currency", ">= 0.7", engine_cross),
    ("engine alone, 1 in flight", "<= 350 us", engine_one),
    ("stream, uniform", "100,000/s", |of| throughput(&of.rounds("stream-uniform")?, 100_000.0)),
    ("batches of 100, uniform", "100,000/s", |of| throughput(&[of.report("batch-uniform")?], 100_000.0)),
    ("stream, cross-currency", "70,000/s", |of| throughput(&of.rounds("stream-cross-currency")?, 70_000.0)),
    ("stream, hot payee / payer, medians", ">= 1.0", stream_hot),
    ("unary, 256 in flight", ">= 0.6 of the echo", unary),
    ("REST, 256 in flight", ">= 0.7 of gRPC unary", rest),
    ("unary, 1 in flight, p50", "<= 1.5 x (append with fdatasync + echo)", one),
    ("knee", "found", knee),
    ("at half of it", "p99 <= 5, p99.9 <= 20, no stall over 100 ms, no errors", steady),
    ("unary against PostgreSQL's hot row, 256 clients each", ">= 20 x", |of| against(of, "256")),
    ("unary against PostgreSQL's hot row, 32 clients each", ">= 20 x", |of| against(of, "32")),
    ("the last of the soak", "within 15 %", flat),
    ("disk, over all of the soak", "reported", disk),
    ("memory, the most of all runs", "<= 512 MB", memory),
    ("runs that the oracle passed", "all", passed),
];

/// The names of all runs of Arus but the ceilings'; rounds and steps are added.
const SINGLE: [&str; 5] = ["batch-uniform", "rest-uniform", "unary-hot-payee-256", "unary-hot-payee-32", "steady"];
const ROUNDS: [&str; 4] = ["stream-uniform", "stream-hot-payee", "stream-hot-payer", "stream-cross-currency"];
const CEILINGS: [&str; 2] = ["unary-ceiling", "one-ceiling"];

/// One line of the engine's own benchmark.
struct Bench {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    syncs_per_second: f64,
}

/// What pgbench found.
#[derive(Deserialize)]
struct Postgres {
    uniform_per_second: f64,
    hot_per_second: f64,
}

/// See the module.
pub(crate) fn table(args: &TableArgs) -> anyhow::Result<()> {
    let folder = Folder(&args.folder);
    let rows = ROWS.map(|(what, target, find)| match find(&folder) {
        Ok((found, true)) => [what.to_owned(), found, target.to_owned(), "met".to_owned()],
        Ok((found, false)) => [what.to_owned(), found, target.to_owned(), "missed".to_owned()],
        Err(error) => [what.to_owned(), format!("{error:#}"), target.to_owned(), "failed".to_owned()],
    });
    let head = ["what", "found", "target", ""];
    let lines: Vec<_> = rows.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    let markdown = format!("| {} |\n|---|---|---|---|\n{}\n", head.join(" | "), lines.join("\n"));
    say(&markdown);
    write_text(&args.folder.join("report.md"), &markdown)?;
    let line = |cell: &str, tag: &str| format!("<{tag}>{}</{tag}>", escape(cell));
    let body = rows.iter().map(|row| row.each_ref().map(|cell| line(cell, "td")).concat());
    let body: String = body.map(|cells| format!("<tr>{cells}</tr>")).collect();
    let html = format!("<table><tr>{}</tr>{body}</table>", head.map(|cell| line(cell, "th")).concat());
    let page = args.folder.join("report.html");
    page::write(&page, "Load report", &html, &folder.reports())?;
    say(&format!("the plots are in {}", page.display()));
    let failed = rows.iter().filter(|[.., how]| how == "failed").count();
    ensure!(failed == 0, "{failed} of {} rows have no figures: their runs failed", rows.len());
    Ok(())
}

/// What `load-report.sh` left.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn json<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.0.join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not what the report needs", path.display()))
    }

    /// A run that did not fail.
    fn report(&self, name: &str) -> anyhow::Result<Report> {
        let report: Report = self.json(name)?;
        report.passed()?;
        Ok(report)
    }

    /// The reports of `name-1.json`, `name-2.json` and so on.
    fn rounds(&self, name: &str) -> anyhow::Result<Vec<Report>> {
        self.names(name).iter().map(|name| self.report(name)).collect()
    }

    /// The names of the rounds; of none, that of the first.
    fn names(&self, name: &str) -> Vec<String> {
        let rounds = (2_u32..).map(|round| format!("{name}-{round}"));
        let more = rounds.take_while(|name| self.0.join(format!("{name}.json")).exists());
        std::iter::once(format!("{name}-1")).chain(more).collect()
    }

    fn ceiling(&self, name: &str) -> anyhow::Result<Ceiling> {
        let ceiling: Ceiling = self.json(name)?;
        ceiling.passed()?;
        Ok(ceiling)
    }

    fn soak(&self) -> anyhow::Result<Vec<Report>> {
        let parts: Vec<Report> = self.json("soak")?;
        parts.iter().try_for_each(Report::passed)?;
        Ok(parts)
    }

    fn bench(&self, name: &str) -> anyhow::Result<Bench> {
        bench(&self.0.join("engine.txt"), name)
    }

    /// Every run of Arus that there is, failed ones too.
    fn reports(&self) -> Vec<Report> {
        let rounds = ROUNDS.iter().flat_map(|name| self.names(name));
        let single = rounds.chain(SINGLE.map(str::to_owned)).filter_map(|name| self.json(&name).ok());
        let soak = self.json::<Vec<Report>>("soak").unwrap_or_default();
        let ceilings = CEILINGS.iter().filter_map(|name| self.json::<Ceiling>(name).ok());
        let ceilings = ceilings.flat_map(|ceiling| ceiling.rounds).map(|(_, arus)| arus);
        single.chain(soak).chain(ceilings).collect()
    }
}

fn engine_uniform(of: &Folder) -> Found {
    let Bench { per_second, p99_us, syncs_per_second, .. } = of.bench("uniform-256")?;
    let found = format!("{per_second:.0}/s, p99 {:.1} ms, {syncs_per_second:.0} syncs/s", p99_us / 1e3);
    Ok((found, per_second >= 130_000.0 && p99_us <= 5_000.0))
}

fn engine_hot(of: &Folder) -> Found {
    let uniform = of.bench("uniform-256")?.per_second;
    let to_payee = of.bench("hot-payee-256")?.per_second / uniform;
    let by_payer = of.bench("hot-payer-256")?.per_second / uniform;
    Ok((format!("{to_payee:.2} / {by_payer:.2} of uniform"), to_payee.min(by_payer) >= 1.0))
}

fn engine_cross(of: &Folder) -> Found {
    let across = of.bench("cross-256")?.per_second / of.bench("uniform-256")?.per_second;
    Ok((format!("{across:.2} of uniform"), across >= 0.7))
}

fn engine_one(of: &Folder) -> Found {
    let p50_us = of.bench("one-in-flight")?.p50_us;
    Ok((format!("p50 {p50_us:.0} us"), p50_us <= 350.0))
}

fn stream_hot(of: &Folder) -> Found {
    let uniform = of.rounds("stream-uniform")?;
    let hot =
        |hot: Vec<Report>| middle(hot.iter().zip(&uniform).map(|(hot, even)| hot.per_second() / even.per_second()));
    let (to_payee, by_payer) = (hot(of.rounds("stream-hot-payee")?), hot(of.rounds("stream-hot-payer")?));
    Ok((format!("{to_payee:.2} / {by_payer:.2} of uniform"), to_payee.min(by_payer) >= 1.0))
}

fn unary(of: &Folder) -> Found {
    let ceiling = of.ceiling("unary-ceiling")?;
    let (arus, echo) = (ceiling.median(|_, arus| arus.per_second()), ceiling.median(|echo, _| echo.per_second()));
    let share = ceiling.share();
    Ok((format!("{share:.2} of the echo ({arus:.0}/s of {echo:.0}/s)"), share >= 0.6))
}

fn rest(of: &Folder) -> Found {
    let per_second = of.report("rest-uniform")?.per_second();
    let of_unary = per_second / of.ceiling("unary-ceiling")?.median(|_, arus| arus.per_second());
    Ok((format!("{of_unary:.2} of gRPC unary ({per_second:.0}/s)"), of_unary >= 0.7))
}

fn one(of: &Folder) -> Found {
    let one = of.ceiling("one-ceiling")?;
    let append_ms = one.append_sync_p50_ms;
    let echo_ms = one.median(|echo, _| echo.latency.p50_ms);
    let arus_ms = one.median(|_, arus| arus.latency.p50_ms);
    let times = arus_ms / (append_ms + echo_ms).max(1e-9);
    Ok((format!("{times:.2} x ({arus_ms:.2} ms of {append_ms:.2} + {echo_ms:.2} ms)"), times <= 1.5))
}

fn knee(of: &Folder) -> Found {
    let sweep: Sweep = of.json("sweep")?;
    sweep.passed()?;
    let found = sweep.knee.map_or_else(|| "none".to_owned(), |knee| format!("{knee}/s"));
    Ok((format!("{found} with p99 within {} ms", sweep.p99_ms_max), sweep.knee.is_some()))
}

fn steady(of: &Folder) -> Found {
    let run = of.report("steady")?;
    let (latency, errors) = (run.latency, run.errors);
    let met = errors == 0 && latency.p99_ms <= 5.0 && latency.p999_ms <= 20.0 && latency.max_ms <= 100.0;
    let figures = format!("p99 {:.1}, p99.9 {:.1}, max {:.0} ms", latency.p99_ms, latency.p999_ms, latency.max_ms);
    Ok((format!("{figures}, {errors} errors in {:.0} s: {}", run.took_s, run.name), met))
}

/// Arus beside PostgreSQL, each with the same number of clients.
fn against(of: &Folder, clients: &str) -> Found {
    let arus = of.report(&format!("unary-hot-payee-{clients}"))?.per_second();
    let postgres: Postgres = of.json(&format!("postgres-{clients}"))?;
    let (hot, uniform) = (postgres.hot_per_second, postgres.uniform_per_second);
    let times = arus / hot.max(1.0);
    let found = format!("{times:.1} x ({arus:.0}/s against {hot:.0}/s; PostgreSQL uniform {uniform:.0}/s)");
    Ok((found, times >= 20.0))
}

fn flat(of: &Folder) -> Found {
    let soak = of.soak()?;
    let drift = Drift::of(&soak).context("soak.json has no parts")?;
    let answers: u64 = soak.iter().map(|part| part.answers).sum();
    let found = format!("throughput {:.2}, p99 {:.2} of the first, of {answers}", drift.throughput, drift.p99);
    Ok((found, drift.is_within(DRIFT_PERCENT_MAX)))
}

fn disk(of: &Folder) -> Found {
    let soak = of.soak()?;
    let between = soak.get(1).and_then(|part| part.cost.as_ref()).context("soak.json has no cost")?;
    Ok((format!("{:.0} B a payment", between.disk_bytes_per_payment), true))
}

fn memory(of: &Folder) -> Found {
    let most_mb = memory_mb(&of.reports()).context("a run does not tell its memory")?;
    Ok((format!("{most_mb} MB"), most_mb <= MEMORY_MB_MAX))
}

fn passed(of: &Folder) -> Found {
    let reports = of.reports();
    let checked = reports.iter().filter(|report| report.oracle.is_some() && report.failure.is_none()).count();
    Ok((format!("{checked} of {}", reports.len()), checked == reports.len() && checked > 0))
}

/// The throughput of rounds: the median round's figures, and all rounds.
fn throughput(rounds: &[Report], at_least: f64) -> Found {
    let per_second = middle(rounds.iter().map(Report::per_second));
    let p99_ms = middle(rounds.iter().map(|round| round.latency.p99_ms));
    let costs = rounds.iter().filter_map(|round| round.cost.as_ref());
    let syncs = middle(costs.map(|cost| cost.syncs_per_second));
    let all: Vec<_> = rounds.iter().map(|round| format!("{:.0}", round.per_second())).collect();
    let found = format!("{per_second:.0}/s (of {}), p99 {p99_ms:.1} ms, {syncs:.0} syncs/s", all.join(", "));
    Ok((found, per_second >= at_least))
}

/// The median; 0 of nothing.
fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Reads a line of the table that `cargo bench` prints: a header of names, then columns for each scenario.
fn bench(path: &Path, scenario: &str) -> anyhow::Result<Bench> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    for line in text.lines().skip_while(|line| !line.starts_with("scenario")).skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [name, _, per_second, p50, p99, _, _, _, syncs] = columns.as_slice() else { continue };
        if *name == scenario {
            return Ok(Bench {
                per_second: per_second.parse()?,
                p50_us: p50.parse()?,
                p99_us: p99.parse()?,
                syncs_per_second: syncs.parse()?,
            });
        }
    }
    anyhow::bail!("{} has no {scenario}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_failed_costs_only_its_own_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("postgres-32.json"), "{").expect("written");
        let engine = "scenario a b c d e f g h\none-in-flight x 9 200 300 x x x 4\n";
        std::fs::write(folder.path().join("engine.txt"), engine).expect("written");
        let failed = table(&TableArgs { folder: folder.path().to_owned() }).unwrap_err().to_string();
        assert!(failed.contains("of 19 rows"), "{failed}");
        let report = std::fs::read_to_string(folder.path().join("report.md")).expect("a table");
        assert!(report.contains("| p50 200 us | <= 350 us | met |"), "{report}");
        let unary = report.lines().find(|line| line.contains("unary, 256 in flight")).expect("a row");
        assert!(unary.contains("cannot be read") && unary.ends_with("| failed |"), "{unary}");
    }
}
