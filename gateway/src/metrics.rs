//! What the engine and the services count, as Prometheus text: one registry per service, no series twice.
//!
//! Cells are read when somebody scrapes; nothing is copied on a payment's path (P11).

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arus_engine::{
    Engine, OverloadReason,
    clock::Trust,
    ledger::{failure::FailureCode, risk::Reason},
    metrics::{
        ActorKind, BUCKETS_SIZE, BUCKETS_US, Counts, KindCells, Reader, Times, hot::HotAccount, kind,
        payments::Turnover,
    },
    money::Currency,
};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{machine::Machine, observe::ServiceCells, status::code_name};

/// The content type of a metrics page.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whose series a registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Payments, journal, index, admission.
    Payments,
    /// FX actors and rates.
    Fx,
    /// Accounts.
    Wallet,
    /// Risk.
    Risk,
}

/// A registry of one service's series. The process as a whole and its data directory are among those of payments.
pub fn registry(part: Part, engine: Engine, service: Arc<ServiceCells>, data_dir: &Path) -> Registry {
    let mut registry = Registry::default();
    if part == Part::Payments {
        registry.register_collector(Box::new(Machine { data_dir: data_dir.to_owned() }));
    }
    let ours = registry.sub_registry_with_prefix("arus");
    ours.register_collector(Box::new(Cells { part, engine, service }));
    registry
}

/// `/metrics`.
pub fn router(registry: Registry) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(registry))
}

async fn scrape(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut body = String::new();
    // Writing into a string does not fail.
    let _ = text::encode(&mut body, &registry);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], body)
}

struct Cells {
    part: Part,
    engine: Engine,
    service: Arc<ServiceCells>,
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cells({:?})", self.part)
    }
}

type Encoded = Result<(), fmt::Error>;

impl Collector for Cells {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let e = &mut encoder;
        self.rpcs(e)?;
        match self.part {
            Part::Payments => {
                actors(e, &[ActorKind::Payment, ActorKind::Partition])?;
                self.payments(e)?;
                self.admission(e)?;
                self.journal(e)?;
                self.index(e)
            }
            Part::Fx => {
                actors(e, &[ActorKind::Fx])?;
                self.rates(e)
            }
            Part::Wallet => {
                actors(e, &[ActorKind::Wallet])?;
                self.accounts(e)
            }
            Part::Risk => {
                actors(e, &[ActorKind::Risk])?;
                self.risk(e)
            }
        }
    }
}

impl Cells {
    fn rpcs(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let mut family = e.encode_descriptor("rpc_requests", "RPCs by method and code", None, MetricType::Counter)?;
        for method in self.service.methods() {
            for (code, count) in method.codes() {
                let labels = [("method", method.name.to_owned()), ("code", code_name(code).to_owned())];
                let labels = labels.as_slice();
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Time of an RPC inside the server";
        let mut family = e.encode_descriptor("rpc", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for method in self.service.methods().iter().filter(|method| method.is_used()) {
            let labels = [("method", method.name)];
            times(family.encode_family(&labels.as_slice())?, &method.times)?;
        }
        Ok(())
    }

    fn payments(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let cells = self.engine.cells();
        let by_status = [
            ("CAPTURED", read(&cells.captured)),
            ("AUTHORIZED", read(&cells.authorized)),
            ("FAILED", read(&cells.failed)),
        ];
        labelled(e, "payments", "Payments by status", "status", by_status)?;
        let help = "Time of a payment from admission to its answer, by how it ended, whatever RPC it came by";
        let mut family = e.encode_descriptor("payment", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (ended, of) in cells.payments.all() {
            times(family.encode_family(&[("outcome", ended.name())].as_slice())?, of)?;
        }
        let help = "What captured payments came to, in units of their currency (12.5 is USD 12.50)";
        self.turnover(e, "payment_volume", help, |of| units(of.captured_minor, of.currency))?;
        let help = "What was set aside for payments that are captured later, in units of their currency";
        self.turnover(e, "payment_authorized_volume", help, |of| units(of.authorized_minor, of.currency))?;
        let help = "What was given back of captured payments, in units of their currency";
        self.turnover(e, "payment_refunded_volume", help, |of| units(of.refunded_minor, of.currency))?;
        let declined = FailureCode::ALL.iter().zip(&cells.declined).map(|(code, cell)| (code.name(), read(cell)));
        labelled(e, "declined", "Declined commands by failure code", "code", declined)?;
        counter(e, "replayed", "Answers given again under their tx_id", read(&cells.replayed))
    }

    fn turnover(&self, e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: fn(&Turnover) -> f64) -> Encoded {
        let mut family = e.encode_descriptor(name, help, None, MetricType::Counter)?;
        for of in self.engine.cells().payments.turnover() {
            let labels = [("currency", of.currency.code())];
            family.encode_family(&labels.as_slice())?.encode_counter::<NoLabelSet, _, u64>(&value(&of), None)?;
        }
        Ok(())
    }

    fn admission(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let cells = self.engine.cells();
        let trusted = u64::from(self.engine.clock().trust() == Trust::Trusted);
        gauge(e, "clock_trusted", "1, or 0 after the machine's clock jumped by more than five minutes", trusted)?;
        gauge(e, "expiries_due", "Expiries that are due and wait for their turn", read(&cells.expiries_due))?;
        let help = "How late the latest expiry since the last scrape was";
        gauge_seconds(e, "expiry_late", help, cells.expiry_late.take(Reader::Scrape, 0) as f64 / 1e6)?;
        let rejected = OverloadReason::ALL.iter().zip(&cells.rejected).map(|(r, cell)| (r.name(), read(cell)));
        labelled(e, "rejected", "Commands refused for overload by reason", "reason", rejected)?;
        gauge(e, "in_flight", "Commands admitted and not yet answered", self.engine.in_flight() as u64)?;
        let work = self.engine.at_work(Reader::Scrape);
        gauge(e, "at_work", "Commands at work, from their start until they are handed to the journal", work.at_work)?;
        gauge(e, "at_work_waiting", "Commands admitted that wait for a place at work", work.waiting)?;
        let help = "The most commands that waited for a place at work since the last scrape";
        gauge(e, "at_work_waiting_max", help, work.waiting_max)?;
        let help = "Time from admission's door to a place at work";
        let family = e.encode_descriptor("at_work_wait", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        buckets(family, seconds(), work.waits, 1e6)
    }

    fn journal(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let cells = self.engine.cells();
        counter(e, "journal_blocks", "Commit blocks, each synced once", read(&cells.blocks))?;
        counter(e, "journal_entries", "Entries committed", read(&cells.entries))?;
        counter(e, "journal_entry_bytes", "Bytes of entries committed", read(&cells.bytes))?;
        gauge(e, "journal_queue_depth", "Records handed over and not yet committed", read(&cells.journal_queue))?;
        gauge(e, "journal_head_lsn", "The last committed entry", self.engine.progress().0.0)?;
        let help = "Entries per commit block";
        let family = e.encode_descriptor("journal_block_size", help, None, MetricType::Histogram)?;
        buckets(family, BUCKETS_SIZE.iter().map(|size| *size as f64), cells.block_entries.read(), 1.0)?;
        histogram(e, "journal_sync", "Write and sync of a commit block", &cells.sync)
    }

    fn index(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let cells = self.engine.cells();
        let (committed, indexed) = self.engine.progress();
        gauge(e, "index_lag_entries", "Entries committed and not yet indexed", committed.0.saturating_sub(indexed.0))?;
        gauge(e, "index_tail_bytes", "Memory of what is not yet indexed", self.engine.tail_bytes() as u64)?;
        gauge(e, "index_unmerged_runs", "Sorted runs waiting to be merged", self.engine.index_runs() as u64)?;
        counter(e, "index_runs", "Index runs", read(&cells.index_runs))?;
        histogram(e, "index_run", "Time of an index run", &cells.index_run)
    }

    fn accounts(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let resident = self.engine.resident_accounts() as u64;
        gauge(e, "resident_accounts", "Accounts with an actor in memory", resident)?;
        let hot = self.engine.hot_accounts();
        let mut gauges = |name, help, value: fn(&HotAccount) -> u64| {
            let mut family = e.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for of in &hot {
                let labels = [("account", of.account.to_string())];
                family.encode_family(&labels.as_slice())?.encode_gauge(&value(of))?;
            }
            Ok::<_, fmt::Error>(())
        };
        let help = "Messages a second of accounts that are hot: 500 or more, at most ten accounts";
        gauges("hot_account_messages_per_second", help, |of| of.per_second)?;
        gauges("hot_account_mailbox_depth", "Messages in the mailboxes of hot accounts", |of| of.depth.into())
    }

    fn rates(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let (book, now) = (self.engine.rates(), self.engine.clock().now());
        gauge(e, "fx_pairs", "Published pairs", book.rows().count() as u64)?;
        let help = "Age of the oldest rate by source";
        let mut family = e.encode_descriptor("fx_rate_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        let mut oldest = std::collections::BTreeMap::new();
        for row in book.rows() {
            // One of the future is as useless as an old one.
            let age = now.since(row.at).max(row.at.since(now)).as_secs();
            oldest.entry(row.source.name()).and_modify(|old: &mut u64| *old = age.max(*old)).or_insert(age);
        }
        for (source, age) in oldest {
            let labels = [("source", source)];
            family.encode_family(&labels.as_slice())?.encode_gauge(&age)?;
        }
        let help = "What the desk earned between the middle and the customers' rates, in units of the currency posted";
        self.turnover(e, "fx_spread_earned", help, |of| units(of.earned_micro, of.currency) / 1e6)
    }

    fn risk(&self, e: &mut DescriptorEncoder<'_>) -> Encoded {
        let cells = self.engine.cells();
        let decisions = ["ACCEPT", "REVIEW", "REJECT"].into_iter().zip(cells.decisions.iter().map(read));
        labelled(e, "risk_decisions", "Verdicts by decision", "decision", decisions)?;
        let rules = Reason::ALL.iter().zip(&cells.reasons).map(|(reason, cell)| (reason.name(), read(cell)));
        labelled(e, "risk_rules_fired", "Rules that fired", "rule", rules)
    }
}

fn actors(e: &mut DescriptorEncoder<'_>, kinds: &[ActorKind]) -> Encoded {
    let mut gauges = |name, help, value: fn(&KindCells) -> u64| {
        let mut family = e.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for of in kinds {
            family.encode_family(&[("kind", of.name())].as_slice())?.encode_gauge(&value(kind(*of)))?;
        }
        Ok::<_, fmt::Error>(())
    };
    gauges("actor_mailbox_depth", "Messages sent and not yet handled", KindCells::depth)?;
    let help = "The most messages that waited since the last scrape (sampled)";
    gauges("actor_mailbox_depth_max", help, |cells| cells.depth_max(Reader::Scrape))?;
    gauges("actor_live", "Actors alive", KindCells::live)?;
    let sent = kinds.iter().map(|of| (of.name(), kind(*of).sent()));
    labelled(e, "actor_messages", "Messages sent", "kind", sent)?;
    let waits: fn(&KindCells) -> &Times = |cells| &cells.wait;
    for (name, help, of) in [
        ("actor_mailbox_wait", "Time from send to handler (sampled)", waits),
        ("actor_handler", "Time in the handler (sampled)", |cells| &cells.handle),
    ] {
        let mut family = e.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for actor in kinds {
            times(family.encode_family(&[("kind", actor.name())].as_slice())?, of(kind(*actor)))?;
        }
    }
    Ok(())
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn counter(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoded {
    use prometheus_client::encoding::EncodeMetric;
    let counter = ConstCounter::new(value);
    counter.encode(e.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoded {
    use prometheus_client::encoding::EncodeMetric;
    let gauge = ConstGauge::new(value);
    gauge.encode(e.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn gauge_seconds(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Encoded {
    use prometheus_client::encoding::EncodeMetric;
    let gauge = ConstGauge::new(value);
    gauge.encode(e.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?)
}

fn histogram(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, of: &Times) -> Encoded {
    times(e.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?, of)
}

fn labelled<'a>(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    rows: impl IntoIterator<Item = (&'a str, u64)>,
) -> Encoded {
    let mut family = e.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in rows {
        let labels = [(label, value)];
        family.encode_family(&labels.as_slice())?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

/// Writes a histogram of times.
pub(crate) fn times(encoder: MetricEncoder<'_>, of: &Times) -> Encoded {
    buckets(encoder, seconds(), of.read(), 1e6)
}

/// The bounds of all histograms of times.
fn seconds() -> impl Iterator<Item = f64> {
    BUCKETS_US.iter().map(|us| *us as f64 / 1e6)
}

/// Minor units as units of a currency: for people who look at a curve, never for money.
fn units(minor: i128, currency: Currency) -> f64 {
    minor as f64 / 10_f64.powi(currency.exponent().try_into().unwrap_or_default())
}

/// Writes a histogram; `unit` is what the sum is divided by.
fn buckets(mut encoder: MetricEncoder<'_>, bounds: impl Iterator<Item = f64>, counts: Counts, unit: f64) -> Encoded {
    let (counts, sum) = counts;
    let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
    encoder.encode_histogram::<NoLabelSet>(sum as f64 / unit, counts.iter().sum(), &buckets, None)
}
