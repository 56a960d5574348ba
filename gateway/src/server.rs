//! The gRPC servers and their metrics: take the ports, open them, drain.
//!
//! Every port has standard health and reflection, so grpcurl, buf curl, k6 and Postman need no files. The drain order
//! is health, admission, in-flight, journal, arbiters.

use std::{sync::Arc, time::Duration};

use arus_engine::Engine;
use arus_proto::{
    fx::v1::fx_service_server::FxServiceServer, payments::v1::payments_service_server::PaymentsServiceServer,
    risk::v1::risk_service_server::RiskServiceServer, wallet::v1::wallet_service_server::WalletServiceServer,
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::Instant};
use tonic::{server::NamedService, service::Routes};
use tonic_health::pb::{health_check_response::ServingStatus, health_server::HealthServer};
use tonic_reflection::pb::{v1, v1alpha};

use crate::{
    budget::Budget,
    config::{GrpcLimits, Settings},
    grpc::{
        Services,
        fx::Fx,
        gate::{Gate, Own},
        health::Health,
        methods::{Directory, Methods},
        payments::Payments,
        reflection::{Described, Reflection},
        risk::Risk,
        wallet::Wallets,
    },
    metrics::{self, Part},
    observe::ServiceCells,
    ports::{Addresses, Ports, SCRAPERS_MAX},
    rest::{self, Web},
    serving::{self, Limits, Pace, Serve, Wire},
};

/// Calls at once on each connection of a metrics port.
const SCRAPES_MAX: u32 = 4;
/// How often health follows the engine.
const HEALTH_TICK: Duration = Duration::from_millis(500);

/// Running servers.
pub struct Servers {
    /// Where they listen.
    pub addresses: Addresses,
    engine: Engine,
    health: watch::Sender<ServingStatus>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Servers {
    /// Opens all ports and serves.
    pub async fn start(engine: Engine, settings: &Settings, ports: Ports) -> anyhow::Result<Self> {
        let limits = &settings.grpc;
        let addresses = ports.addresses();
        let services = Services::new(&engine);
        let mut serving = Serving::new(limits, directory(&addresses))?;
        let registry =
            |part, of: &Arc<ServiceCells>| metrics::registry(part, engine.clone(), Arc::clone(of), &settings.data_dir);
        let Services { payments: p, fx: f, wallet: w, risk: r } = services.clone();
        let [m1, m2, m3, m4] = ports.metrics;
        serving.scrape(m1.open()?, registry(Part::Payments, &p.cells));
        serving.scrape(m2.open()?, registry(Part::Fx, &f.cells));
        serving.scrape(m3.open()?, registry(Part::Wallet, &w.cells));
        serving.scrape(m4.open()?, registry(Part::Risk, &r.cells));
        let bytes_max = limits.message_bytes_max;
        serving.grpc(ports.payments.open()?, PaymentsServiceServer::new(p).max_decoding_message_size(bytes_max))?;
        serving.grpc(ports.fx.open()?, FxServiceServer::new(f).max_decoding_message_size(bytes_max))?;
        serving.grpc(ports.wallet.open()?, WalletServiceServer::new(w).max_decoding_message_size(bytes_max))?;
        serving.grpc(ports.risk.open()?, RiskServiceServer::new(r).max_decoding_message_size(bytes_max))?;
        if let Some(port) = ports.rest {
            let router = rest::router(&engine, &services, settings, serving.stop.subscribe())?;
            let limits = serving.limits(Wire::Http);
            serving.serve(port.open()?, Web::new(router), limits);
        }
        let Serving { mut tasks, health, stop, .. } = serving;
        tasks.spawn(follow_health(engine.clone(), health.clone(), stop.subscribe()));
        Ok(Self { addresses, engine, health, stop, tasks })
    }

    /// Waits for a server that ends though nobody asked it to; says why.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error.context("a server ended"),
            Some(Err(error)) => anyhow::Error::new(error).context("a server ended"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a server ended though nobody asked it to"),
        }
    }

    /// Health says NOT_SERVING, admission closes, what is in flight is answered, then the ports close.
    pub async fn drain(mut self, until: Instant) {
        self.health.send_replace(ServingStatus::NotServing);
        self.engine.close();
        while self.engine.in_flight() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Only this struct holds the sender, so there are receivers as long as servers run.
        let _ = self.stop.send(true);
        let closing = async { while self.tasks.join_next().await.is_some() {} };
        // Idle connections may stay open as long as their clients like; they are cut.
        let _ = tokio::time::timeout(Duration::from_secs(1), closing).await;
        self.tasks.abort_all();
    }
}

/// Where every service is, for callers at the wrong port.
fn directory(addresses: &Addresses) -> Directory {
    Directory::from([
        (PaymentsServiceServer::<Payments>::NAME, addresses.payments),
        (FxServiceServer::<Fx>::NAME, addresses.fx),
        (WalletServiceServer::<Wallets>::NAME, addresses.wallet),
        (RiskServiceServer::<Risk>::NAME, addresses.risk),
    ])
}

/// What the ports share, and the tasks that serve them.
struct Serving {
    tasks: JoinSet<anyhow::Result<()>>,
    health: watch::Sender<ServingStatus>,
    stop: watch::Sender<bool>,
    budget: Arc<Budget>,
    directory: Directory,
    described: Arc<Described>,
    grpc: GrpcLimits,
}

impl Serving {
    fn new(limits: &GrpcLimits, directory: Directory) -> anyhow::Result<Self> {
        let (stop, _) = watch::channel(false);
        let budget = Budget::new(limits);
        Ok(Self {
            tasks: JoinSet::new(),
            health: watch::Sender::new(ServingStatus::NotServing),
            stop,
            budget,
            directory,
            described: Arc::new(Described::read()?),
            grpc: limits.clone(),
        })
    }

    /// A service with health and reflection.
    fn grpc<S: Own>(&mut self, listener: TcpListener, service: S) -> anyhow::Result<()> {
        let health = HealthServer::new(Health { service: S::NAME, serving: self.health.subscribe() });
        let reflection = Reflection::new(Arc::clone(&self.described), [S::NAME, "grpc.health.v1.Health"]);
        let others = Routes::new(health)
            .add_service(v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()))
            .add_service(v1alpha::server_reflection_server::ServerReflectionServer::new(reflection));
        let methods = Methods::new(S::NAME, &self.directory)?;
        let gate = Gate::new(methods, service, others, self.grpc.message_bytes_max);
        let limits = self.limits(Wire::Grpc);
        self.serve(listener, gate, limits);
        Ok(())
    }

    fn scrape(&mut self, listener: TcpListener, registry: Registry) {
        let limits = Limits {
            connections_max: SCRAPERS_MAX,
            connections_per_peer_max: SCRAPERS_MAX,
            streams_per_connection_max: SCRAPES_MAX,
            ..self.limits(Wire::Http)
        };
        self.serve(listener, Web::new(metrics::router(registry)), limits);
    }

    fn serve(&mut self, listener: TcpListener, server: impl Serve, limits: Limits) {
        let (budget, stop) = (Arc::clone(&self.budget), self.stop.subscribe());
        self.tasks.spawn(serving::serve(listener, server, limits, budget, stop));
    }

    fn limits(&self, wire: Wire) -> Limits {
        Limits {
            wire,
            connections_max: self.grpc.connections_max,
            connections_per_peer_max: self.grpc.connections_per_peer_max(),
            streams_per_connection_max: self.grpc.streams_per_connection_max,
            header_bytes_max: self.grpc.header_bytes_max,
            idle_max: Duration::from_secs(self.grpc.connection_idle_max_s),
            pace: Pace::default(),
        }
    }
}

/// Health says what admission says.
async fn follow_health(
    engine: Engine,
    health: watch::Sender<ServingStatus>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        let serving = if engine.closed().is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
        if said.replace(serving) != Some(serving) {
            health.send_replace(serving);
        }
        let tick = tokio::time::timeout(HEALTH_TICK, stopped.changed());
        if tick.await.is_ok() {
            return Ok(());
        }
    }
}
