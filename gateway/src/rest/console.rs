//! The live console: one page with its parts, and the figures it draws, all out of the binary.

use arus_engine::{
    Engine,
    metrics::{ActorKind, BUCKETS_US, Reader, kind},
};
use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering};

const PAGE: &str = include_str!("../console/index.html");
/// Name, type, content.
const PARTS: [(&str, &str, &str); 13] = [
    ("icon.svg", "image/svg+xml", include_str!("../console/icon.svg")),
    ("console.css", "text/css", include_str!("../console/console.css")),
    ("console.js", "text/javascript", include_str!("../console/console.js")),
    ("charts.js", "text/javascript", include_str!("../console/charts.js")),
    ("format.js", "text/javascript", include_str!("../console/format.js")),
    ("path.js", "text/javascript", include_str!("../console/path.js")),
    ("steps.js", "text/javascript", include_str!("../console/steps.js")),
    ("payments.js", "text/javascript", include_str!("../console/payments.js")),
    ("rest.js", "text/javascript", include_str!("../console/rest.js")),
    ("statement.js", "text/javascript", include_str!("../console/statement.js")),
    // uPlot (MIT), vendored as it was published.
    ("uplot.min.js", "text/javascript", include_str!("../console/uplot.min.js")),
    ("uplot.min.css", "text/css", include_str!("../console/uplot.min.css")),
    ("uplot-LICENSE.txt", "text/plain", include_str!("../console/uplot-LICENSE.txt")),
];
/// What the page draws.
pub(super) const NOW: &str = "/console/now.json";
/// A payment has an address: the page opens it.
pub(super) const PAYMENT: &str = "/payments/{payment_id}";

/// `/`, `/payments/{id}`, `/console/*`.
pub(super) fn router(engine: &Engine) -> Router {
    let page = || get(|| async { Html(PAGE) });
    let mut router = Router::new().route("/", page()).route(PAYMENT, page());
    for (name, kind, content) in PARTS {
        let part = move || async move { ([(header::CONTENT_TYPE, kind)], content) };
        router = router.route(&format!("/console/{name}"), get(part));
    }
    router.route(NOW, get(now).with_state(engine.clone()))
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
    /// Commands that wait for a place at work: the most since the page last asked.
    waiting: u64,
    /// The deepest since the page last asked, by kind of actor.
    mailboxes: BTreeMap<&'static str, u64>,
    /// The hottest first.
    hot: Vec<Hot>,
    /// Upper bounds of the buckets of payments' latency, from admission to answer; the last bucket has none.
    latency_bounds_ms: Vec<f64>,
    latency_counts: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Hot {
    account: String,
    per_second: u64,
    depth: u32,
}

async fn now(State(engine): State<Engine>) -> impl IntoResponse {
    let (cells, (committed, indexed)) = (engine.cells(), engine.progress());
    let hot = engine.hot_accounts().into_iter();
    Json(Now {
        at_ms: engine.clock().now().0 / 1_000,
        unavailable: engine.closed().map(|refusal| refusal.reason()),
        captured: cells.captured.load(Ordering::Relaxed) + cells.authorized.load(Ordering::Relaxed),
        failed: cells.failed.load(Ordering::Relaxed),
        in_flight: engine.in_flight(),
        index_lag: committed.0.saturating_sub(indexed.0),
        waiting: engine.at_work(Reader::Console).waiting_max,
        mailboxes: ActorKind::ALL.iter().map(|of| (of.name(), kind(*of).depth_max(Reader::Console))).collect(),
        hot: hot
            .map(|hot| Hot { account: hot.account.to_string(), per_second: hot.per_second, depth: hot.depth })
            .collect(),
        latency_bounds_ms: BUCKETS_US.iter().map(|us| *us as f64 / 1e3).collect(),
        latency_counts: cells.payments.decided().0.to_vec(),
    })
}
