//! Payments as they commit, as server-sent events. A reader that falls behind is told so and let go; nobody waits.

use std::{
    convert::Infallible,
    pin::pin,
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
    http::{Response, StatusCode},
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
    routing::get,
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::problem::Problem;
use crate::convert::payments::payment;

/// The path.
pub(super) const PATH: &str = "/v1/events";
/// How many readers there may be.
pub(super) const READERS_MAX: usize = 100;
/// A comment is sent when nothing else was for so long, so that proxies keep the connection and dead ones are found.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many events may wait for a reader, and how long it may take none of them.
const EVENTS_WAITING_MAX: usize = 8;
const TAKE_MAX: Duration = Duration::from_secs(20);
const STALLED: &str = "nothing was taken for 20 s; read /v1/payments and begin again";

/// What readers follow.
#[derive(Clone)]
struct Source {
    engine: Engine,
    readers: Arc<AtomicUsize>,
    /// Says when the servers stop.
    stop: watch::Receiver<bool>,
}

/// The route, and how many read.
pub(super) fn router(engine: &Engine, readers: &Arc<AtomicUsize>, stop: watch::Receiver<bool>) -> Router {
    let source = Source { engine: engine.clone(), readers: Arc::clone(readers), stop };
    Router::new().route(PATH, get(events)).with_state(source)
}

/// One reader's place.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn events(State(Source { engine, readers, stop }): State<Source>) -> Response<Body> {
    let place = Place(Arc::clone(&readers));
    if readers.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
        let detail = format!("{READERS_MAX} readers follow already; try again later, or read /v1/payments");
        return Problem::new(StatusCode::TOO_MANY_REQUESTS, "READERS", detail).retry_after(5).response();
    }
    let (events, taken) = mpsc::channel(EVENTS_WAITING_MAX);
    // Watched before the first event is sent: whoever has seen that misses nothing that commits from then on.
    tokio::spawn(pump(engine.watch(), stop, events, place));
    Sse::new(ReceiverStream::new(taken).map(Ok::<_, Infallible>)).into_response()
}

/// Hands a reader its events until it is gone or too slow. A task of its own, since a connection that takes nothing asks
/// for nothing either.
async fn pump(mut watch: Watch, mut stop: watch::Receiver<bool>, events: mpsc::Sender<Event>, place: Place) {
    let mut next = vec![Event::default().event("ready").data("{}")];
    // Kept free until the end, so that a reader that takes nothing now finds out later why there is no more.
    let Ok(last_place) = events.clone().reserve_owned().await else { return };
    let farewell = 'following: loop {
        for event in next {
            match timeout(TAKE_MAX, events.send(event)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => break 'following farewell(("TOO_SLOW", STALLED.to_owned())),
            }
        }
        let following = tokio::select! {
            following = following(&mut watch, &mut stop) => following,
            () = events.closed() => return,
        };
        match following {
            Ok(following) => next = following,
            Err(end) => break farewell(why(end)),
        }
    };
    drop(place);
    last_place.send(farewell);
}

/// The next events: a block's payments, or a comment if there were none for long.
async fn following(watch: &mut Watch, stop: &mut watch::Receiver<bool>) -> Result<Vec<Event>, WatchEnd> {
    let mut quiet = pin!(sleep(KEEP_ALIVE));
    loop {
        let entries = tokio::select! {
            biased;
            () = &mut quiet => return Ok(vec![Event::default().comment("")]),
            entries = watch.next() => entries?,
            // Only when nothing else is to be told. The sender going away is a stop as well.
            _ = stop.wait_for(|stop| *stop) => return Err(WatchEnd::Stopped),
        };
        let events = events_of(&entries);
        if !events.is_empty() {
            return Ok(events);
        }
    }
}

/// A block's payments behind a word on the block itself; nothing if it holds none.
fn events_of(entries: &[Committed]) -> Vec<Event> {
    let payments = entries.iter().filter_map(event).collect::<Vec<_>>();
    let Some(first) = entries.first().filter(|_| !payments.is_empty()) else { return payments };
    let block = json!({ "first_lsn": first.lsn.0.to_string(), "entries": entries.len() });
    std::iter::once(Event::default().event("block").data(block.to_string())).chain(payments).collect()
}

/// A payment; other entries are none.
fn event(committed: &Committed) -> Option<Event> {
    let data = serde_json::to_string(&payment(committed, false)?).ok()?;
    Some(Event::default().event("payment").id(committed.lsn.0.to_string()).data(data))
}

fn why(end: WatchEnd) -> (&'static str, String) {
    match end {
        WatchEnd::Missed(blocks) => {
            ("TOO_SLOW", format!("{blocks} commits were missed; read /v1/payments and begin again"))
        }
        WatchEnd::Stopped => ("DRAINING", "the server stops; connect again".to_owned()),
    }
}

fn farewell((reason, detail): (&str, String)) -> Event {
    Event::default().event("dropped").data(json!({ "reason": reason, "detail": detail }).to_string())
}
