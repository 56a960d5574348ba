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
    soak::Drift,
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
    /// Streams over one kind of load each, in turn.
    uniform: Vec<Report>,
    hot_payee: Vec<Report>,
    hot_payer: Vec<Report>,
    cross: Vec<Report>,
    batch: Report,
    rest: Report,
    unary_hot: Report,
    unary_hot_few: Report,
    unary: Ceiling,
    one: Ceiling,
    sweep: Sweep,
    /// Half of the knee for long; absent if there is no knee.
    steady: Option<Report>,
    soak: Vec<Report>,
    postgres: Postgres,
    /// With as few clients as suit it best.
    postgres_few: Postgres,
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
            uniform: rounds(folder, "stream-uniform")?,
            hot_payee: rounds(folder, "stream-hot-payee")?,
            hot_payer: rounds(folder, "stream-hot-payer")?,
            cross: rounds(folder, "stream-cross-currency")?,
            batch: json(folder, "batch-uniform")?,
            rest: json(folder, "rest-uniform")?,
            unary_hot: json(folder, "unary-hot-payee-256")?,
            unary_hot_few: json(folder, "unary-hot-payee-32")?,
            unary: json(folder, "unary-ceiling")?,
            one: json(folder, "one-ceiling")?,
            sweep: json(folder, "sweep")?,
            steady: folder.join("steady.json").exists().then(|| json(folder, "steady")).transpose()?,
            soak: json(folder, "soak")?,
            postgres: json(folder, "postgres-256")?,
            postgres_few: json(folder, "postgres-32")?,
        })
    }

    /// Every run of Arus over gRPC.
    fn reports(&self) -> Vec<Report> {
        let of = |ceiling: &Ceiling| ceiling.rounds.iter().map(|(_, arus)| arus.clone()).collect::<Vec<_>>();
        let streams = [&self.uniform, &self.hot_payee, &self.hot_payer, &self.cross, &self.soak];
        let single = [&self.batch, &self.rest, &self.unary_hot, &self.unary_hot_few].into_iter().chain(&self.steady);
        let streams = streams.into_iter().flatten().cloned();
        streams.chain(single.cloned()).chain(of(&self.unary)).chain(of(&self.one)).collect()
    }

    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut rows = self.engine_rows()?;
        rows.extend(self.grpc_rows());
        rows.extend(self.latency_rows());
        rows.push(against("hot row", &self.unary_hot, &self.postgres));
        rows.push(against("hot row", &self.unary_hot_few, &self.postgres_few));
        rows.extend(self.flat_rows()?);
        let reports = self.reports();
        let most: Option<Vec<_>> = reports.iter().map(|report| report.cost.as_ref()?.resident_bytes_max).collect();
        let most = most.and_then(|most| most.into_iter().max()).context("a run does not tell its memory")?;
        let most_mb = most / 1_000_000;
        rows.push(Row::new("memory, the most of all runs", format!("{most_mb} MB"), "<= 512 MB", most_mb <= 512));
        let checked = reports.iter().filter(|report| report.oracle.is_some()).count();
        let found = format!("{checked} of {}", reports.len());
        rows.push(Row::new("runs that the oracle passed", found, "all", checked == reports.len()));
        Ok(rows)
    }

    fn flat_rows(&self) -> anyhow::Result<Vec<Row>> {
        let drift = Drift::of(&self.soak).context("soak.json has no parts")?;
        let answers: u64 = self.soak.iter().map(|part| part.answers).sum();
        let found = format!("throughput {:.2}, p99 {:.2} of the first", drift.throughput, drift.p99);
        let between = self.soak.get(1).and_then(|part| part.cost.as_ref()).context("soak.json has no cost")?;
        let disk = format!("{:.0} B a payment", between.disk_bytes_per_payment);
        Ok(vec![
            Row::new(&format!("the last of {answers} payments"), found, "within 15 %", drift.is_flat()),
            Row::new("disk, over all of them", disk, "reported", true),
        ])
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
        let hot = |of: &[Report]| {
            middle(of.iter().zip(&self.uniform).map(|(hot, even)| hot.per_second() / even.per_second()))
        };
        let (to_payee, by_payer) = (hot(&self.hot_payee), hot(&self.hot_payer));
        let (share, unary) = (self.unary.share(), self.unary.median(|_, arus| arus.decided_per_second()));
        let of_unary = self.rest.decided_per_second() / unary;
        vec![
            throughput("stream, uniform", &self.uniform, 100_000.0, "100,000/s"),
            throughput("batches of 100, uniform", std::slice::from_ref(&self.batch), 100_000.0, "100,000/s"),
            throughput("stream, cross-currency", &self.cross, 70_000.0, "70,000/s"),
            Row::new(
                "stream, hot payee / payer, medians",
                format!("{to_payee:.2} / {by_payer:.2} of uniform"),
                ">= 1.0",
                to_payee.min(by_payer) >= 1.0,
            ),
            Row::new(
                "unary, 256 in flight",
                format!(
                    "{share:.2} of the echo ({:.0}/s of {:.0}/s)",
                    unary,
                    self.unary.median(|echo, _| echo.decided_per_second())
                ),
                ">= 0.6 of the echo",
                share >= 0.6,
            ),
            Row::new(
                "REST, 256 in flight",
                format!("{of_unary:.2} of gRPC unary ({:.0}/s)", self.rest.decided_per_second()),
                ">= 0.7 of gRPC unary",
                of_unary >= 0.7,
            ),
        ]
    }

    fn latency_rows(&self) -> Vec<Row> {
        let append_ms = self.one.append_sync_p50_ms;
        let echo_ms = self.one.median(|echo, _| echo.latency.p50_ms);
        let arus_ms = self.one.median(|_, arus| arus.latency.p50_ms);
        let times = arus_ms / (append_ms + echo_ms).max(1e-9);
        let found = format!("{times:.2} x ({arus_ms:.2} ms of {append_ms:.2} + {echo_ms:.2} ms)");
        let knee = self.sweep.knee.map_or_else(|| "none".to_owned(), |knee| format!("{knee}/s"));
        let (what, steady, met) = match &self.steady {
            None => ("at half of it".to_owned(), "not run: there is no knee".to_owned(), false),
            Some(run) => {
                let of = run.latency;
                let met = of.p99_ms <= 5.0 && of.p999_ms <= 20.0 && of.max_ms <= 100.0;
                let found = format!("p99 {:.1}, p99.9 {:.1}, max {:.0} ms", of.p99_ms, of.p999_ms, of.max_ms);
                (format!("at half of it, {:.0} s: {}", run.took_s, run.name), found, met)
            }
        };
        vec![
            Row::new("unary, 1 in flight, p50", found, "<= 1.5 x (append with fdatasync + echo)", times <= 1.5),
            Row::new(
                &format!("knee (p99 within {} ms)", self.sweep.p99_ms_max),
                knee,
                "found",
                self.sweep.knee.is_some(),
            ),
            Row::new(&what, steady, "p99 <= 5, p99.9 <= 20, no stall over 100 ms", met),
        ]
    }
}

/// A row of the throughput of rounds: the median round's figures, and all rounds.
fn throughput(what: &str, rounds: &[Report], at_least: f64, target: &'static str) -> Row {
    let per_second = middle(rounds.iter().map(Report::per_second));
    let p99_ms = middle(rounds.iter().map(|round| round.latency.p99_ms));
    let costs = rounds.iter().filter_map(|round| round.cost.as_ref());
    let syncs = middle(costs.map(|cost| cost.syncs_per_second));
    let all: Vec<_> = rounds.iter().map(|round| format!("{:.0}", round.per_second())).collect();
    let found = format!("{per_second:.0}/s (of {}), p99 {p99_ms:.1} ms, {syncs:.0} syncs/s", all.join(", "));
    Row::new(what, found, target, per_second >= at_least)
}

/// A row of Arus beside PostgreSQL, each with the same number of clients.
fn against(what: &str, arus: &Report, postgres: &Postgres) -> Row {
    let (hot, clients) = (postgres.hot_per_second, postgres.clients);
    let times = arus.per_second() / hot.max(1.0);
    let found = format!(
        "{times:.1} x ({:.0}/s against {hot:.0}/s; PostgreSQL uniform {:.0}/s)",
        arus.per_second(),
        postgres.uniform_per_second
    );
    Row::new(&format!("unary against PostgreSQL's {what}, {clients} clients each"), found, ">= 20 x", times >= 20.0)
}

/// The median; 0 of nothing.
fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The reports of `name-1.json`, `name-2.json` and so on.
fn rounds(folder: &Path, name: &str) -> anyhow::Result<Vec<Report>> {
    let names = (1_u32..).map(|round| format!("{name}-{round}"));
    let found = names.take_while(|name| folder.join(format!("{name}.json")).exists());
    let found = found.map(|name| json(folder, &name)).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!found.is_empty(), "{name}-1.json is missing in {}", folder.display());
    Ok(found)
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
