//! The live console: one page with its parts, and the figures it draws, all out of the binary.

use arus_engine::{
    Engine,
    metrics::{ActorKind, BUCKETS_US, kind},
};
use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use crate::observe::ServiceCells;

const PAGE: &str = include_str!("../console/index.html");
/// Name, type, content.
const PARTS: [(&str, &str, &str); 7] = [
    ("icon.svg", "image/svg+xml", include_str!("../console/icon.svg")),
    ("console.css", "text/css", include_str!("../console/console.css")),
    ("console.js", "text/javascript", include_str!("../console/console.js")),
    ("charts.js", "text/javascript", include_str!("../console/charts.js")),
    // uPlot (MIT), vendored as it was published.
    ("uplot.min.js", "text/javascript", include_str!("../console/uplot.min.js")),
    ("uplot.min.css", "text/css", include_str!("../console/uplot.min.css")),
    ("uplot-LICENSE.txt", "text/plain", include_str!("../console/uplot-LICENSE.txt")),
];
/// How many hot accounts are shown.
const HOTTEST: usize = 10;

/// `/`, `/console/*`.
pub(super) fn router(engine: &Engine, payments: &Arc<ServiceCells>) -> Router {
    let mut router = Router::new().route("/", get(|| async { Html(PAGE) }));
    for (name, kind, content) in PARTS {
        let part = move || async move { ([(header::CONTENT_TYPE, kind)], content) };
        router = router.route(&format!("/console/{name}"), get(part));
    }
    let now = get(now).with_state((engine.clone(), Arc::clone(payments)));
    router.route("/console/now.json", now)
}

/// What the page draws; counters since the start.
#[derive(Debug, Serialize)]
struct Now {
    at_ms: u64,
    unavailable: Option<&'static str>,
    captured: u64,
    failed: u64,
    in_flight: usize,
    index_lag: u64,
    /// By kind of actor.
    mailboxes: BTreeMap<&'static str, u64>,
    hottest: Vec<Hot>,
    /// Upper bounds of the buckets of CreatePayment's latency; the last bucket has none.
    latency_bounds_ms: Vec<f64>,
    latency_counts: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Hot {
    account: String,
    depth: u32,
}

async fn now(State((engine, payments)): State<(Engine, Arc<ServiceCells>)>) -> impl IntoResponse {
    let (cells, (committed, indexed)) = (engine.cells(), engine.progress());
    let create = payments.methods().iter().find(|method| method.name == "CreatePayment");
    let hottest = engine.hottest_accounts(HOTTEST).into_iter();
    Json(Now {
        at_ms: engine.clock().now().0 / 1_000,
        unavailable: engine.closed().map(|refusal| refusal.reason()),
        captured: cells.captured.load(Ordering::Relaxed),
        failed: cells.failed.load(Ordering::Relaxed),
        in_flight: engine.in_flight(),
        index_lag: committed.0.saturating_sub(indexed.0),
        mailboxes: ActorKind::ALL.iter().map(|of| (of.name(), kind(*of).depth())).collect(),
        hottest: hottest.map(|(account, depth)| Hot { account: account.to_string(), depth }).collect(),
        latency_bounds_ms: BUCKETS_US.iter().map(|us| *us as f64 / 1e3).collect(),
        latency_counts: create.map_or_else(Vec::new, |method| method.times.read().0.to_vec()),
    })
}
