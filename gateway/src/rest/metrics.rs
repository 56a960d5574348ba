//! What the REST port counts: requests by route and status, their time, and who follows events. The RPCs beneath count
//! as they do for gRPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the times, in seconds.
const BUCKETS_S: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    verb: &'static str,
    path: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    path: String,
}

/// See the module. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    requests: Family<Ended, Counter>,
    times: Family<Of, Histogram, fn() -> Histogram>,
    pub(super) readers: Arc<AtomicUsize>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            requests: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            readers: Arc::default(),
        }
    }

    /// Counts one answer. The path is that of a route, so that there are few.
    pub(super) fn count(&self, verb: &'static str, path: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Ended { verb, path: path.to_owned(), status }).inc();
        self.times.get_or_create(&Of { path: path.to_owned() }).observe(took.as_secs_f64());
    }

    /// The page that Prometheus reads.
    pub(super) fn page(&self) -> String {
        let mut registry = Registry::with_prefix("arus_http");
        registry.register("requests", "Requests by route and status", self.requests.clone());
        let help = "Time until the head of the answer";
        registry.register_with_unit("request", help, Unit::Seconds, self.times.clone());
        let readers = ConstGauge::new(self.readers.load(Ordering::Relaxed) as u64);
        registry.register("event_readers", "Who follows payments as they commit", readers);
        let mut page = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut page, &registry);
        page
    }
}
