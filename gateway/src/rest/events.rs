//! Payments as they commit, as server-sent events. A reader that falls behind is told so and let go; nobody waits.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arus_engine::{Engine, Watch, WatchEnd, ledger::entry::Committed};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode, header},
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use serde_json::json;

use super::problem::Problem;
use crate::convert::payments::payment;

/// The path.
pub(super) const PATH: &str = "/v1/events";
/// How many readers there may be.
pub(super) const READERS_MAX: usize = 100;
/// A comment is sent when nothing else was for so long, so that proxies keep the connection and dead ones are found.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The route, and how many read.
pub(super) fn router(engine: &Engine, readers: &Arc<AtomicUsize>) -> Router {
    Router::new().route(PATH, get(events)).with_state((engine.clone(), Arc::clone(readers)))
}

/// One reader's place.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reader's stream between two events.
struct Reading {
    watch: Watch,
    next: VecDeque<Event>,
    has_ended: bool,
    _place: Place,
}

async fn events(State((engine, readers)): State<(Engine, Arc<AtomicUsize>)>) -> Response<Body> {
    let place = Place(Arc::clone(&readers));
    if readers.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
        let detail = format!("{READERS_MAX} readers follow already; try again later, or read /v1/payments");
        let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, "READERS", detail).response();
        response.headers_mut().insert(header::RETRY_AFTER, 5.into());
        return response;
    }
    // The first event goes at once: whoever has seen it misses nothing that commits from then on.
    let hello = Event::default().event("ready").data("{}");
    let reading = Reading { watch: engine.watch(), next: VecDeque::from([hello]), has_ended: false, _place: place };
    Sse::new(stream::unfold(reading, next)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The next event, with the stream behind it; `None` at the end.
async fn next(mut reading: Reading) -> Option<(Result<Event, Infallible>, Reading)> {
    loop {
        if let Some(event) = reading.next.pop_front() {
            return Some((Ok(event), reading));
        }
        if reading.has_ended {
            return None;
        }
        match reading.watch.next().await {
            Ok(entries) => reading.next.extend(entries.iter().filter_map(event)),
            Err(end) => {
                reading.has_ended = true;
                reading.next.push_back(farewell(end));
            }
        }
    }
}

/// A payment; other entries are none.
fn event(committed: &Committed) -> Option<Event> {
    let data = serde_json::to_string(&payment(committed, false)?).ok()?;
    Some(Event::default().event("payment").id(committed.lsn.0.to_string()).data(data))
}

fn farewell(end: WatchEnd) -> Event {
    let (reason, detail) = match end {
        WatchEnd::Missed(blocks) => {
            ("TOO_SLOW", format!("{blocks} commits were missed; read /v1/payments and begin again"))
        }
        WatchEnd::Stopped => ("DRAINING", "the server stops; connect again".to_owned()),
    };
    Event::default().event("dropped").data(json!({ "reason": reason, "detail": detail }).to_string())
}
