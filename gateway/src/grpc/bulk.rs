//! Many payments by one call: a batch, or a stream with flow control.
//!
//! Every item is admitted, decided and answered by itself, on the path of a single payment. A stream reads on only
//! while few enough of its items are in flight and its answers are taken, so a slow reader slows itself alone.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{self, Poll, ready},
    time::Duration,
};

use arus_engine::{Command, Engine, Refusal, Reply, money::OpId};
use arus_proto::payments::v1 as wire;
use futures_util::{Stream, StreamExt, stream};
use opentelemetry::Context;
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::{
    bodies::ROOM_PAUSE,
    budget::{Caller, ITEM_BYTES, Room},
    convert::payments as convert,
    status::{late, status},
    traces::begin_item,
};

/// How many payments a batch may have.
const BATCH_ITEMS_MAX: usize = 1_024;
/// How many items of one stream are in flight at once.
const STREAM_IN_FLIGHT_MAX: usize = 1_024;
/// How long before its caller stops waiting a batch answers, at most.
const WAY_BACK_MAX: Duration = Duration::from_millis(50);

/// The answers of a stream.
pub type Outcomes = Pin<Box<dyn Stream<Item = Result<wire::StreamPaymentsResponse, Status>> + Send>>;

/// Decides all payments of a batch; those that are not decided within `timeout` say so.
pub async fn batch(
    engine: &Engine,
    payments: Vec<wire::CreatePaymentRequest>,
    timeout: Duration,
    traced: Option<Context>,
) -> Result<Vec<wire::BatchOutcome>, Refusal> {
    convert::check_batch(payments.len(), BATCH_ITEMS_MAX)?;
    // The outcomes still have to reach a caller that stops waiting then.
    let timeout = timeout.saturating_sub((timeout / 10).min(WAY_BACK_MAX));
    let mut outcomes = vec![None; payments.len()];
    let items = stream::iter((0..).zip(payments));
    let bundle = engine.clock().new_id();
    let decide = |(index, payment)| decide(engine, (timeout, traced.as_ref()), (bundle, index), payment);
    let mut decided = items.map(decide).buffer_unordered(BATCH_ITEMS_MAX);
    let all = async {
        while let Some(outcome) = decided.next().await {
            if let Some(place) = outcomes.get_mut(outcome.index as usize) {
                *place = Some(outcome);
            }
        }
    };
    // Whatever has no outcome afterwards is late.
    let _ = tokio::time::timeout(timeout, all).await;
    Ok((0..).zip(outcomes).map(|(index, outcome)| outcome.unwrap_or_else(|| refused(index, &late()))).collect())
}

/// How the payments of a stream are decided.
pub(crate) struct Items {
    /// What decides them.
    pub(crate) engine: Engine,
    /// How long each may take.
    pub(crate) timeout: Duration,
    /// When the call ends, if its caller says so.
    pub(crate) ends: Option<Instant>,
    /// The trace of the call.
    pub(crate) traced: Option<Context>,
}

impl Items {
    /// Decides payments as they come. What ends the stream early, an item that cannot be read or the caller's deadline,
    /// is told behind the outcomes of all items before it.
    pub(crate) fn outcomes(self, requests: Streaming<wire::StreamPaymentsRequest>, caller: Arc<Caller>) -> Outcomes {
        let failed = Arc::new(OnceLock::new());
        let (broken, passed) = (Arc::clone(&failed), Arc::clone(&failed));
        let ends = self.ends;
        let end = async move {
            match ends {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
            let _ = passed.set(late());
        };
        let read = Asked { requests, caller, room: None, pause: None };
        let items = read.take_until(end).scan(broken, |broken, (request, room)| {
            let readable = request.map_err(|status| broken.set(status)).ok().map(|request| (request, room));
            std::future::ready(readable)
        });
        let bundle = self.engine.clock().new_id();
        let decided = stream::iter(0..=u32::MAX).zip(items).map(move |(index, (request, room))| {
            let (engine, traced, timeout) = (self.engine.clone(), self.traced.clone(), self.time_left());
            async move {
                let payment = request.payment.unwrap_or_default();
                let outcome = decide(&engine, (timeout, traced.as_ref()), (bundle, index), payment).await;
                drop(room);
                Ok(wire::StreamPaymentsResponse { outcome: Some(outcome) })
            }
        });
        let last = stream::once(async move { failed.get().cloned().map(Err) }).filter_map(std::future::ready);
        Box::pin(decided.buffer_unordered(STREAM_IN_FLIGHT_MAX).chain(last))
    }

    fn time_left(&self) -> Duration {
        let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        left.map_or(self.timeout, |left| left.min(self.timeout))
    }
}

/// What a stream asks: read on only once there is room for the outcome.
struct Asked {
    requests: Streaming<wire::StreamPaymentsRequest>,
    caller: Arc<Caller>,
    /// For the outcome of what comes next.
    room: Option<Room>,
    /// Runs where there was none.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Asked {
    type Item = (Result<wire::StreamPaymentsRequest, Status>, Room);

    fn poll_next(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            let Some(room) = this.room.take().or_else(|| this.caller.room(ITEM_BYTES)) else {
                this.pause = Some(Box::pin(sleep(ROOM_PAUSE)));
                continue;
            };
            return match this.requests.poll_next_unpin(context) {
                Poll::Ready(request) => Poll::Ready(request.map(|request| (request, room))),
                Poll::Pending => {
                    this.room = Some(room);
                    Poll::Pending
                }
            };
        }
    }
}

async fn decide(
    engine: &Engine,
    (timeout, traced): (Duration, Option<&Context>),
    (bundle, index): (OpId, u32),
    payment: wire::CreatePaymentRequest,
) -> wire::BatchOutcome {
    let command = match convert::create(payment, engine.config()) {
        Ok(command) => Command { timeout: Some(timeout), bundle: Some(bundle), ..command },
        Err(error) => return refused(index, &error),
    };
    let traced = traced.map(begin_item);
    let command = Command { trace: traced.as_ref().map(|traced| Arc::clone(&traced.trace)), ..command };
    let outcome = match engine.submit(command).await {
        Ok(reply) => outcome(index, &reply),
        Err(refusal) => refused(index, &status(&refusal)),
    };
    let code = outcome.error.as_ref().map_or(0, |error| error.code);
    traced.into_iter().for_each(|traced| traced.end_item(code));
    outcome
}

fn outcome(index: u32, reply: &Reply) -> wire::BatchOutcome {
    match convert::outcome(index, &reply.committed, reply.replayed) {
        Some(outcome) => outcome,
        None => refused(index, &Status::internal("the entry under this tx_id is no payment")),
    }
}

fn refused(index: u32, status: &Status) -> wire::BatchOutcome {
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    let error = wire::ItemError { code: status.code().into(), reason, message: status.message().to_owned() };
    wire::BatchOutcome { index, error: Some(error), ..Default::default() }
}
