//! The closed-loop driver: so many callers, each with one call in flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use arus_proto::payments::v1::{
    CreatePaymentRequest, CreatePaymentResponse, PaymentStatus, payments_service_client::PaymentsServiceClient,
};
use hdrhistogram::Histogram;
use tonic::transport::{Channel, Endpoint};

use crate::{Args, world::World};

/// A client of PaymentsService.
pub(crate) type Client = PaymentsServiceClient<Channel>;

/// What a run measured.
pub(crate) struct Run {
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    /// Microseconds.
    pub(crate) times: Histogram<u64>,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64()
    }
}

/// Opens so many connections.
pub(crate) async fn connect(address: &str, connections: usize) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections.max(1) {
        let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
        clients.push(Client::new(endpoint.connect().await.with_context(|| format!("{address} does not answer"))?));
    }
    Ok(clients)
}

/// One real payment: its answer is what the echo answers with.
pub(crate) async fn sample(clients: &[Client], world: &World) -> anyhow::Result<CreatePaymentResponse> {
    let mut client = clients.first().context("there is a connection")?.clone();
    // From an account that the run does not use, so that the oracle need not know.
    let answer = client.create_payment(world.sample_payment()).await?.into_inner();
    ensure!(answer.payment.as_ref().is_some_and(|p| p.status() == PaymentStatus::Captured), "{answer:?}");
    Ok(answer)
}

/// Makes `args.count` calls and measures each. Anything but a captured payment ends the run.
pub(crate) async fn run(clients: &[Client], world: &World, args: &Args, name: &str) -> anyhow::Result<Run> {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for (_, client) in (0..args.concurrency).zip(clients.iter().cycle()) {
        let (mut client, next, count) = (client.clone(), Arc::clone(&next), args.count);
        let payments = world.payments(args, name);
        callers.spawn(async move {
            let mut times = Histogram::<u64>::new(3)?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return anyhow::Ok(times);
                }
                let request: CreatePaymentRequest = payments(n);
                let begun = Instant::now();
                let answer = client.create_payment(request).await?.into_inner();
                times.record(u64::try_from(begun.elapsed().as_micros())?)?;
                let payment = answer.payment.context("an answer has a payment")?;
                ensure!(payment.status() == PaymentStatus::Captured, "{payment:?}");
            }
        });
    }
    let mut times = Histogram::<u64>::new(3)?;
    while let Some(caller) = callers.join_next().await {
        times.add(caller??)?;
    }
    Ok(Run { calls: args.count, took: started.elapsed(), times })
}
