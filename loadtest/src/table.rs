//! The whole report: the figures that `load-report.sh` collected in a folder, each beside its target.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    ceiling::Ceiling,
    page,
    report::{Report, write_text},
    say,
    sweep::Sweep,
};

/// Where the figures are.
#[derive(Args)]
pub(crate) struct TableArgs {
    /// The folder that `load-report.sh` wrote to; report.md and report.html are added to it.
    folder: PathBuf,
}

/// A row of the table.
struct Row {
    what: String,
    found: String,
    target: &'static str,
    met: bool,
}

impl Row {
    fn new(what: &str, found: String, target: &'static str, met: bool) -> Self {
        Self { what: what.to_owned(), found, target, met }
    }

    fn cells(&self) -> [&str; 4] {
        [&self.what, &self.found, self.target, if self.met { "met" } else { "missed" }]
    }
}

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
    clients: u64,
    uniform_per_second: f64,
    hot_per_second: f64,
}

/// All figures of a folder.
struct Figures {
    bench: HashMap<String, Bench>,
    uniform: Report,
    hot_payee: Report,
    hot_payer: Report,
    cross: Report,
    unary_hot: Report,
    unary: Ceiling,
    one: Ceiling,
    sweep: Sweep,
    steady: Report,
    postgres: Postgres,
}

/// See the module.
pub(crate) fn table(args: &TableArgs) -> anyhow::Result<()> {
    let figures = Figures::read(&args.folder)?;
    let rows = figures.rows()?;
    let head = ["what", "found", "target", ""];
    let lines: Vec<_> = rows.iter().map(|row| format!("| {} |", row.cells().join(" | "))).collect();
    let markdown = format!("| {} |\n|---|---|---|---|\n{}\n", head.join(" | "), lines.join("\n"));
    say(&markdown);
    write_text(&args.folder.join("report.md"), &markdown)?;
    let line = |cell: &str, tag: &str| format!("<{tag}>{cell}</{tag}>");
    let body = rows.iter().map(|row| format!("<tr>{}</tr>", row.cells().map(|cell| line(cell, "td")).concat()));
    let html =
        format!("<table><tr>{}</tr>{}</table>", head.map(|cell| line(cell, "th")).concat(), body.collect::<String>());
    let page = args.folder.join("report.html");
    page::write(&page, "Load report", &html, &figures.reports())?;
    say(&format!("the plots are in {}", page.display()));
    Ok(())
}

impl Figures {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            bench: bench(&folder.join("engine.txt"))?,
            uniform: json(folder, "stream-uniform")?,
            hot_payee: json(folder, "stream-hot-payee")?,
            hot_payer: json(folder, "stream-hot-payer")?,
            cross: json(folder, "stream-cross-currency")?,
            unary_hot: json(folder, "unary-hot-payee")?,
            unary: json(folder, "unary-ceiling")?,
            one: json(folder, "one-ceiling")?,
            sweep: json(folder, "sweep")?,
            steady: json(folder, "steady")?,
            postgres: json(folder, "postgres")?,
        })
    }

    /// Every run of Arus over gRPC.
    fn reports(&self) -> Vec<Report> {
        let of = |ceiling: &Ceiling| ceiling.rounds.iter().map(|(_, arus)| arus.clone()).collect::<Vec<_>>();
        let runs = [&self.uniform, &self.hot_payee, &self.hot_payer, &self.cross, &self.unary_hot, &self.steady];
        runs.into_iter().cloned().chain(of(&self.unary)).chain(of(&self.one)).collect()
    }

    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = self.engine_rows()?;
        rows.extend(self.grpc_rows());
        rows.extend(self.latency_rows());
        let (hot, clients) = (self.postgres.hot_per_second, self.postgres.clients);
        let times = self.unary_hot.per_second() / hot.max(1.0);
        let what = format!("unary hot payee against PostgreSQL's hot row, {clients} clients each");
        let found = format!(
            "{times:.1} x ({:.0}/s against {hot:.0}/s; uniform {:.0}/s)",
            self.unary_hot.per_second(),
            self.postgres.uniform_per_second
        );
        rows.push(Row::new(&what, found, ">= 20 x", times >= 20.0));
        let reports = self.reports();
        let most = reports.iter().filter_map(|report| report.cost.as_ref()).map(|cost| cost.resident_bytes_max).max();
        let most_mb = most.unwrap_or_default() / 1_000_000;
        rows.push(Row::new("memory, the most of all runs", format!("{most_mb} MB"), "<= 512 MB", most_mb <= 512));
        let checked = reports.iter().filter(|report| report.oracle.is_some()).count();
        let found = format!("{checked} of {}", reports.len());
        rows.push(Row::new("runs that the oracle passed", found, "all", checked == reports.len()));
        Ok(rows)
    }

    fn engine_rows(&self) -> anyhow::Result<Vec<Row>> {
        let of = |name: &str| self.bench.get(name).with_context(|| format!("engine.txt has no {name}"));
        let (uniform, payee, payer) = (of("uniform-256")?, of("hot-payee-256")?, of("hot-payer-256")?);
        let (one, cross) = (of("one-in-flight")?, of("cross-256")?);
        let met = uniform.per_second >= 130_000.0 && uniform.p99_us <= 5_000.0;
        let ratio = |of: &Bench| of.per_second / uniform.per_second;
        let (to_payee, by_payer, across) = (ratio(payee), ratio(payer), ratio(cross));
        let (one_p50_us, hot) = (one.p50_us, to_payee.min(by_payer) >= 1.0);
        let p99_ms = uniform.p99_us / 1e3;
        let found = format!("{:.0}/s, p99 {p99_ms:.1} ms, {:.0} syncs/s", uniform.per_second, uniform.syncs_per_second);
        Ok(vec![
            Row::new("engine alone, 256 in flight", found, "130,000/s, p99 <= 5 ms", met),
            Row::new(
                "engine alone, hot payee / payer",
                format!("{to_payee:.2} / {by_payer:.2} of uniform"),
                ">= 1.0",
                hot,
            ),
            Row::new("engine alone, cross-currency", format!("{across:.2} of uniform"), ">= 0.7", across >= 0.7),
            Row::new("engine alone, 1 in flight", format!("p50 {one_p50_us:.0} us"), "<= 350 us", one_p50_us <= 350.0),
        ])
    }

    fn grpc_rows(&self) -> Vec<Row> {
        let hot = |of: &Report| of.per_second() / self.uniform.per_second();
        let (to_payee, by_payer) = (hot(&self.hot_payee), hot(&self.hot_payer));
        let share = self.unary.share();
        vec![
            throughput("stream, uniform", &self.uniform, 100_000.0, "100,000/s"),
            throughput("stream, cross-currency", &self.cross, 70_000.0, "70,000/s"),
            Row::new(
                "stream, hot payee / payer",
                format!("{to_payee:.2} / {by_payer:.2} of uniform"),
                ">= 1.0",
                to_payee.min(by_payer) >= 1.0,
            ),
            Row::new(
                "unary, 256 in flight",
                format!(
                    "{share:.2} of the echo ({:.0}/s of {:.0}/s)",
                    self.unary.median(|_, arus| arus.answered_per_second()),
                    self.unary.median(|echo, _| echo.answered_per_second())
                ),
                ">= 0.6 of the echo",
                share >= 0.6,
            ),
        ]
    }

    fn latency_rows(&self) -> Vec<Row> {
        let append_ms = self.one.append_sync_p50_ms;
        let echo_ms = self.one.median(|echo, _| echo.latency.p50_ms);
        let arus_ms = self.one.median(|_, arus| arus.latency.p50_ms);
        let times = arus_ms / (append_ms + echo_ms).max(1e-9);
        let found = format!("{times:.2} x ({arus_ms:.2} ms of {append_ms:.2} + {echo_ms:.2} ms)");
        let of = self.steady.latency;
        let met = of.p99_ms <= 5.0 && of.p999_ms <= 20.0 && of.max_ms <= 100.0;
        let knee = self.sweep.knee.map_or_else(|| "none".to_owned(), |knee| format!("{knee}/s"));
        let steady = format!("p99 {:.1}, p99.9 {:.1}, max {:.0} ms", of.p99_ms, of.p999_ms, of.max_ms);
        vec![
            Row::new("unary, 1 in flight, p50", found, "<= 1.5 x (append with fdatasync + echo)", times <= 1.5),
            Row::new(
                &format!("knee (p99 within {} ms)", self.sweep.p99_ms_max),
                knee,
                "found",
                self.sweep.knee.is_some(),
            ),
            Row::new(
                &format!("at half of it, {:.0} s: {}", self.steady.took_s, self.steady.name),
                steady,
                "p99 <= 5, p99.9 <= 20, no stall over 100 ms",
                met,
            ),
        ]
    }
}

/// A row of one run's throughput.
fn throughput(what: &str, of: &Report, at_least: f64, target: &'static str) -> Row {
    let cost = of.cost.as_ref().map_or_else(String::new, |cost| {
        format!(", {:.0} syncs/s, {:.0} B a payment on disk", cost.syncs_per_second, cost.disk_bytes_per_payment)
    });
    let found = format!("{:.0}/s, p99 {:.1} ms{cost}", of.per_second(), of.latency.p99_ms);
    Row::new(what, found, target, of.per_second() >= at_least)
}

fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<T> {
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what the report needs", path.display()))
}

/// Reads the table that `cargo bench` prints: a header of names, then a line of columns for each scenario.
fn bench(path: &Path) -> anyhow::Result<HashMap<String, Bench>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut found = HashMap::new();
    for line in text.lines().skip_while(|line| !line.starts_with("scenario")).skip(1) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [name, _, per_second, p50, p99, _, _, _, syncs] = columns.as_slice() else { continue };
        let bench = Bench {
            per_second: per_second.parse()?,
            p50_us: p50.parse()?,
            p99_us: p99.parse()?,
            syncs_per_second: syncs.parse()?,
        };
        found.insert((*name).to_owned(), bench);
    }
    ensure!(!found.is_empty(), "{} has no scenario", path.display());
    Ok(found)
}
