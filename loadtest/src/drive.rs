//! The drivers: a closed loop keeps so many payments in flight; an open loop sends each when it is due and counts its
//! latency from then, so that a slow server cannot hide behind callers that wait for it.

use std::{
    collections::HashMap,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use arus_proto::payments::v1::{BatchCreatePaymentsRequest, StreamPaymentsRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::{
    clients::Payments,
    ends::{self, ANSWERED, NO_OUTCOME},
    options::{Mode, OPEN_IN_FLIGHT_MAX, Options},
    rest::Rest,
    run::{Call, Run},
    workload::Planned,
};

impl Run {
    /// Sends everything and waits for all answers.
    pub(crate) async fn drive(&self, options: &Options, clients: &[Payments]) -> anyhow::Result<()> {
        match (options.mode, options.rate) {
            (Mode::Unary, None) => self.closed(options, clients, Unary).await?,
            (Mode::Batch, _) => self.closed(options, clients, Batch(options.batch_size)).await?,
            (Mode::Unary, Some(_)) => self.open(options, clients).await?,
            (Mode::Stream, _) => self.streams(options, clients).await?,
            (Mode::Rest, _) => self.closed(options, clients, Rest::at(&options.rest)).await?,
        }
        self.bar.done();
        Ok(())
    }

    async fn closed(&self, options: &Options, clients: &[Payments], call: impl Call) -> anyhow::Result<()> {
        let mut callers = tokio::task::JoinSet::new();
        for (_, client) in (0..options.concurrency).zip(clients.iter().cycle()) {
            let (run, mut client, call) = (self.clone(), client.clone(), call.clone());
            callers.spawn(async move {
                while let Some(range) = run.take(call.size()) {
                    call.make(&run, &mut client, range, Instant::now()).await;
                }
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller?;
        }
        Ok(())
    }

    async fn open(&self, options: &Options, clients: &[Payments]) -> anyhow::Result<()> {
        let places = Arc::new(Semaphore::new(OPEN_IN_FLIGHT_MAX));
        let (started, mut clients) = (Instant::now(), clients.iter().cycle());
        while let Some(range) = self.take(1) {
            let due = started + options.due(range.start - self.first).unwrap_or_default();
            let begun = sent_when(due).await;
            let place = Arc::clone(&places).acquire_owned().await?;
            let (run, mut client) = (self.clone(), clients.next().context("a connection")?.clone());
            tokio::spawn(async move {
                Unary.make(&run, &mut client, range, begun).await;
                drop(place);
            });
        }
        // All places back: all answers are there.
        drop(places.acquire_many(u32::try_from(OPEN_IN_FLIGHT_MAX)?).await?);
        Ok(())
    }

    /// One stream a connection, each with its share of what is in flight; with a rate, sent when due.
    async fn streams(&self, options: &Options, clients: &[Payments]) -> anyhow::Result<()> {
        let (all, started) = (clients.len().min(options.concurrency), Instant::now());
        let mut streams = tokio::task::JoinSet::new();
        for (n, client) in clients.iter().enumerate().take(all) {
            let window = options.concurrency / all + usize::from(n < options.concurrency % all);
            let (run, client, options) = (self.clone(), client.clone(), options.clone());
            streams.spawn(async move { run.stream(&options, client, window, started).await });
        }
        while let Some(stream) = streams.join_next().await {
            stream??;
        }
        Ok(())
    }

    async fn stream(
        &self,
        options: &Options,
        mut client: Payments,
        window: usize,
        started: Instant,
    ) -> anyhow::Result<()> {
        let in_flight = if options.rate.is_some() { OPEN_IN_FLIGHT_MAX } else { window };
        let places = Arc::new(Semaphore::new(in_flight));
        let (requests, outgoing) = mpsc::channel(in_flight);
        let (sent, mut order) = mpsc::unbounded_channel::<(Planned, Instant)>();
        let (run, free, options) = (self.clone(), Arc::clone(&places), options.clone());
        let sender = tokio::spawn(async move {
            while let Some(range) = run.take(1) {
                let n = range.start;
                let due = match options.due(n - run.first) {
                    Some(due) => Some(sent_when(started + due).await),
                    None => None,
                };
                let Ok(place) = free.acquire().await else { return };
                place.forget();
                let planned = run.plan.payment(n);
                let payment = Some(run.request(&planned));
                let begun = due.unwrap_or_else(Instant::now);
                if sent.send((planned, begun)).is_err()
                    || requests.send(StreamPaymentsRequest { payment }).await.is_err()
                {
                    return;
                }
            }
        });
        let mut outcomes = client.stream_payments(ReceiverStream::new(outgoing)).await?.into_inner();
        // Answers come in any order and say which request they answer.
        let (mut known, mut numbers, mut end) = (HashMap::new(), 0.., NO_OUTCOME.to_owned());
        while let Some(answer) = outcomes.next().await {
            let outcome = match answer {
                Ok(answer) => answer.outcome.context("an answer has an outcome")?,
                Err(status) => {
                    end = ends::error(&status);
                    break;
                }
            };
            while let Ok(more) = order.try_recv() {
                known.extend(numbers.next().map(|index| (index, more)));
            }
            let index = outcome.index;
            let sent = known.remove(&index);
            let (planned, begun) =
                sent.with_context(|| format!("an outcome has the index {index}, which waits for none"))?;
            let latency = begun.elapsed();
            self.note(&self.ended(&planned, index, &outcome), latency, 1);
            places.add_permits(1);
        }
        // Whoever still waits to send, sends no more; what is open ended with the stream, and the oracle asks for it.
        places.close();
        drop(outcomes);
        sender.await?;
        while let Ok((_, begun)) = order.try_recv() {
            self.note(&end, begun.elapsed(), 1);
        }
        for (_, begun) in known.into_values() {
            self.note(&end, begun.elapsed(), 1);
        }
        Ok(())
    }
}

/// Waits until it is time, and says from when a latency counts.
async fn sent_when(due: Instant) -> Instant {
    // The timer is good for a millisecond; what is due within one is sent now, and what is late counts as due.
    if due > Instant::now() + Duration::from_millis(1) {
        tokio::time::sleep_until(due.into()).await;
    }
    due.min(Instant::now())
}

#[derive(Clone, Copy)]
struct Unary;

impl Call for Unary {
    fn size(&self) -> u64 {
        1
    }

    async fn make(&self, run: &Run, client: &mut Payments, range: Range<u64>, begun: Instant) {
        let planned = run.plan.payment(range.start);
        let answer = client.create_payment(run.request(&planned)).await;
        let latency = begun.elapsed();
        let end = match (&run.oracle, answer) {
            (None, Ok(_)) => ANSWERED.into(),
            (Some(oracle), Ok(answer)) => oracle.answered(&planned, &answer.into_inner().payment.unwrap_or_default()),
            (_, Err(status)) => ends::error(&status).into(),
        };
        run.note(&end, latency, 1);
    }
}

#[derive(Clone, Copy)]
struct Batch(u64);

impl Call for Batch {
    fn size(&self) -> u64 {
        self.0
    }

    async fn make(&self, run: &Run, client: &mut Payments, range: Range<u64>, begun: Instant) {
        let planned: Vec<_> = range.map(|n| run.plan.payment(n)).collect();
        let payments = planned.iter().map(|planned| run.request(planned)).collect();
        let answer = client.batch_create_payments(BatchCreatePaymentsRequest { payments }).await;
        let latency = begun.elapsed();
        match answer {
            Err(status) => run.note(&ends::error(&status), latency, planned.len() as u64),
            Ok(answer) => {
                let outcomes = answer.into_inner().outcomes;
                for ((planned, index), outcome) in planned.iter().zip(0..).zip(&outcomes) {
                    run.note(&run.ended(planned, index, outcome), latency, 1);
                }
                let missing = planned.len().saturating_sub(outcomes.len());
                if missing > 0 {
                    run.note(NO_OUTCOME, latency, missing as u64);
                }
            }
        }
    }
}
