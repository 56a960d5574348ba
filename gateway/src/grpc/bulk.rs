//! Many payments by one call: a batch, or a stream with flow control.
//!
//! Every item is admitted, decided and answered by itself, on the path of a single payment. A stream reads on only
//! while few enough of its items are in flight and its answers are taken, so a slow reader slows itself alone.

use std::{pin::Pin, sync::Arc, time::Duration};

use arus_engine::{Command, Engine, Refusal, Reply, money::OpId};
use arus_proto::payments::v1 as wire;
use futures_util::{Stream, StreamExt, stream};
use opentelemetry::Context;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use crate::{convert::payments as convert, status::status, traces::begin_item};

/// How many payments a batch may have.
const BATCH_ITEMS_MAX: usize = 1_024;
/// How many items of one stream are in flight at once.
const STREAM_IN_FLIGHT_MAX: usize = 1_024;

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
    let late = |index| refused(index, &status(&Refusal::DeadlineExceeded));
    Ok((0..).zip(outcomes).map(|(index, outcome)| outcome.unwrap_or_else(|| late(index))).collect())
}

/// Decides payments as they come; each may take `timeout`.
pub fn outcomes(
    engine: Engine,
    requests: Streaming<wire::StreamPaymentsRequest>,
    timeout: Duration,
    traced: Option<Context>,
) -> Outcomes {
    let bundle = engine.clock().new_id();
    let items = stream::iter(0..=u32::MAX).zip(requests).map(move |(index, request)| {
        let (engine, traced) = (engine.clone(), traced.clone());
        async move {
            let payment = request?.payment.unwrap_or_default();
            let outcome = decide(&engine, (timeout, traced.as_ref()), (bundle, index), payment).await;
            Ok(wire::StreamPaymentsResponse { outcome: Some(outcome) })
        }
    });
    Box::pin(items.buffer_unordered(STREAM_IN_FLIGHT_MAX))
}

async fn decide(
    engine: &Engine,
    (timeout, traced): (Duration, Option<&Context>),
    (bundle, index): (OpId, u32),
    payment: wire::CreatePaymentRequest,
) -> wire::BatchOutcome {
    let command = match convert::create(payment) {
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
