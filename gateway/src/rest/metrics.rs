//! What the REST port counts: requests by route and status, their time, and who follows events. The RPCs beneath count
//! as they do for gRPC.
//!
//! All cells are made at the start, for every route and every status there is: a request finds its own by searching two
//! short sorted tables, and takes no lock (P11).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arus_engine::metrics::Times;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::openapi;
use crate::metrics::times;

/// The verbs that are counted by name.
const VERBS: [&str; 4] = ["GET", "PATCH", "POST", "other"];
/// Paths and statuses that are not in the tables.
const OTHER: &str = "other";

/// See the module. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    paths: Arc<[PathCells]>,
    /// Those that answers have, sorted.
    statuses: Arc<[u16]>,
    pub(super) readers: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct PathCells {
    path: &'static str,
    times: Times,
    /// One per status and one more for others, by verb.
    ended: [Vec<AtomicU64>; VERBS.len()],
}

impl Counts {
    /// Cells for these paths.
    pub(super) fn new(paths: impl Iterator<Item = &'static str>) -> Self {
        let statuses: Arc<[u16]> = openapi::statuses().into();
        let cells = |path| {
            let none = || (0..=statuses.len()).map(|_| AtomicU64::new(0)).collect();
            PathCells { path, times: Times::default(), ended: std::array::from_fn(|_| none()) }
        };
        let mut paths: Vec<_> = paths.chain([OTHER]).map(cells).collect();
        paths.sort_by_key(|cells| cells.path);
        paths.dedup_by_key(|cells| cells.path);
        Self { paths: paths.into(), statuses, readers: Arc::default() }
    }

    /// Counts one answer. The path is that of a route.
    pub(super) fn count(&self, verb: &'static str, path: &str, status: u16, took: Duration) {
        let find = |path: &str| self.paths.binary_search_by_key(&path, |cells| cells.path).ok();
        let Some(cells) = find(path).or_else(|| find(OTHER)).and_then(|i| self.paths.get(i)) else { return };
        cells.times.observe(took);
        let verb = VERBS.iter().position(|known| *known == verb).and_then(|verb| cells.ended.get(verb));
        let status = self.statuses.binary_search(&status).unwrap_or(self.statuses.len());
        if let Some(cell) = verb.and_then(|cells| cells.get(status)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The page that Prometheus reads.
    pub(super) fn page(&self) -> String {
        let mut registry = Registry::with_prefix("arus_http");
        registry.register_collector(Box::new(self.clone()));
        let mut page = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut page, &registry);
        page
    }

    /// Every count that is not zero: verb, path, status.
    fn ended(&self) -> impl Iterator<Item = ([&str; 2], String, u64)> {
        self.paths.iter().flat_map(move |cells| {
            VERBS.iter().zip(&cells.ended).flat_map(move |(verb, ended)| {
                let names = self.statuses.iter().map(u16::to_string).chain([OTHER.to_owned()]);
                let counts = names.zip(ended).map(|(status, cell)| (status, cell.load(Ordering::Relaxed)));
                counts.filter(|(_, count)| *count > 0).map(move |(status, count)| ([*verb, cells.path], status, count))
            })
        })
    }
}

impl Collector for Counts {
    fn encode(&self, mut e: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Requests by route and status";
        let mut family = e.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for ([verb, path], status, count) in self.ended() {
            let labels = [("verb", verb), ("path", path), ("status", &status)];
            family.encode_family(&labels.as_slice())?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let help = "Time until the head of the answer";
        let mut family = e.encode_descriptor("request", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for cells in self.paths.iter().filter(|cells| cells.times.read().0.iter().any(|count| *count > 0)) {
            times(family.encode_family(&[("path", cells.path)].as_slice())?, &cells.times)?;
        }
        let readers = ConstGauge::new(self.readers.load(Ordering::Relaxed) as u64);
        readers.encode(e.encode_descriptor(
            "event_readers",
            "Who follows payments as they commit",
            None,
            MetricType::Gauge,
        )?)
    }
}
