//! The gRPC servers and their metrics: take the ports, open them, drain.
//!
//! Every port has standard health and reflection, so grpcurl, buf curl, k6 and Postman need no files. The drain order
//! is health, admission, in-flight, journal, arbiters.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arus_engine::Engine;
use arus_proto::{
    DESCRIPTORS, fx::v1::fx_service_server::FxServiceServer,
    payments::v1::payments_service_server::PaymentsServiceServer, risk::v1::risk_service_server::RiskServiceServer,
    wallet::v1::wallet_service_server::WalletServiceServer,
};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_stream::StreamExt;
use tonic::{
    server::NamedService,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

use crate::{
    config::{GrpcLimits, Settings},
    connections::limited,
    files,
    framing::Watched,
    grpc::Services,
    metrics::{self, Part},
    observe::ServiceCells,
    ports::{Port, Ports},
    rest,
    status::explain_too_large,
};

/// How long an HTTP connection may be idle.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(60);
/// What one call may send ahead of what is read. HTTP/2 sees an attack in many unread small frames (by the size of the
/// connection's window), and ends the connection: this is so small that a stream of payments is held back before.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all calls of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Connections of one metrics port at once.
const SCRAPERS_MAX: usize = 64;
/// How often health follows the engine.
const HEALTH_TICK: Duration = Duration::from_millis(500);

/// Where everything listens, with the ports that were really taken.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// PaymentsService.
    pub payments: SocketAddr,
    /// FxService.
    pub fx: SocketAddr,
    /// WalletService.
    pub wallet: SocketAddr,
    /// RiskService.
    pub risk: SocketAddr,
    /// REST, if it is served.
    pub rest: Option<SocketAddr>,
    /// Metrics in the same order.
    pub metrics: [SocketAddr; 4],
}

/// Running servers.
pub struct Servers {
    /// Where they listen.
    pub addresses: Addresses,
    engine: Engine,
    reporters: Vec<(HealthReporter, &'static str)>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Servers {
    /// Opens all ports and serves.
    pub async fn start(engine: Engine, settings: &Settings, ports: Ports) -> anyhow::Result<Self> {
        let (stop, _) = watch::channel(false);
        let limits = &settings.grpc;
        files::make_room_for((5 * limits.connections_max + 4 * SCRAPERS_MAX) as u64)?;
        let bytes_max = limits.message_bytes_max;
        let services = Services::new(&engine);
        let registry =
            |part, of: &Arc<ServiceCells>| metrics::registry(part, engine.clone(), Arc::clone(of), &settings.data_dir);
        let mut tasks = JoinSet::new();
        let mut reporters = Vec::new();

        let Services { payments: p, fx: f, wallet: w, risk: r } = services.clone();
        let scraped = GrpcLimits { connections_max: SCRAPERS_MAX, ..limits.clone() };
        let [m1, m2, m3, m4] = ports.metrics;
        let m1 = scrape(&mut tasks, &stop, m1, &scraped, registry(Part::Payments, &p.cells))?;
        let m2 = scrape(&mut tasks, &stop, m2, &scraped, registry(Part::Fx, &f.cells))?;
        let m3 = scrape(&mut tasks, &stop, m3, &scraped, registry(Part::Wallet, &w.cells))?;
        let m4 = scrape(&mut tasks, &stop, m4, &scraped, registry(Part::Risk, &r.cells))?;

        let service = PaymentsServiceServer::new(p).max_decoding_message_size(bytes_max);
        let payments = serve(&mut tasks, &mut reporters, &stop, ports.payments, limits, service)?;
        let service = FxServiceServer::new(f).max_decoding_message_size(bytes_max);
        let fx = serve(&mut tasks, &mut reporters, &stop, ports.fx, limits, service)?;
        let service = WalletServiceServer::new(w).max_decoding_message_size(bytes_max);
        let wallet = serve(&mut tasks, &mut reporters, &stop, ports.wallet, limits, service)?;
        let service = RiskServiceServer::new(r).max_decoding_message_size(bytes_max);
        let risk = serve(&mut tasks, &mut reporters, &stop, ports.risk, limits, service)?;

        let router = rest::router(&engine, &services, settings, stop.subscribe())?;
        let rest =
            ports.rest.map(|port| serve_routes(&mut tasks, &stop, port, limits, Routes::from(router), Wire::Http));
        let rest = rest.transpose()?;

        tasks.spawn(follow_health(engine.clone(), reporters.clone(), stop.subscribe()));
        let addresses = Addresses { payments, fx, wallet, risk, rest, metrics: [m1, m2, m3, m4] };
        Ok(Self { addresses, engine, reporters, stop, tasks })
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
        set_health(&self.reporters, Health::NotServing).await;
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

fn serve<S>(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    reporters: &mut Vec<(HealthReporter, &'static str)>,
    stop: &watch::Sender<bool>,
    port: Port,
    limits: &GrpcLimits,
    service: S,
) -> anyhow::Result<SocketAddr>
where
    S: tower::Service<
            axum::http::Request<tonic::body::Body>,
            Response = axum::http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    reporters.push((reporter, S::NAME));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // For clients that show an error's details.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(S::NAME)
            .with_service_name("grpc.health.v1.Health")
    };
    let routes = Routes::new(service)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    serve_routes(tasks, stop, port, limits, routes, Wire::Grpc)
}

/// What a port speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// HTTP/2 only.
    Grpc,
    /// HTTP/1.1 as well.
    Http,
}

fn serve_routes(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    stop: &watch::Sender<bool>,
    port: Port,
    limits: &GrpcLimits,
    routes: Routes,
    wire: Wire,
) -> anyhow::Result<SocketAddr> {
    let (listener, bound) = port.open()?;
    let mut stopped = stop.subscribe();
    let (connections_max, message_bytes_max) = (limits.connections_max, limits.message_bytes_max);
    let idle_max = (wire == Wire::Http).then_some(HTTP_IDLE_MAX);
    let mut server = Server::builder()
        .accept_http1(wire == Wire::Http)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_header_list_size(limits.header_bytes_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_max_pending_accept_reset_streams(Some(1_024))
        .layer(MapResponseLayer::new(move |response| explain_too_large(response, message_bytes_max)));
    tasks.spawn(async move {
        // Not the builder's: that sets only sockets of listeners it made itself, and Nagle costs 40 ms.
        let incoming = limited(TcpIncoming::from(listener).with_nodelay(Some(true)), connections_max, idle_max);
        let watched = if wire == Wire::Http { Watched::new } else { Watched::unwatched };
        let incoming = incoming.map(move |connection| connection.map(watched));
        let signal = async move {
            // The sender going away is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        server.add_routes(routes).serve_with_incoming_shutdown(incoming, signal).await?;
        Ok(())
    });
    Ok(bound)
}

fn scrape(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    stop: &watch::Sender<bool>,
    port: Port,
    limits: &GrpcLimits,
    registry: Registry,
) -> anyhow::Result<SocketAddr> {
    serve_routes(tasks, stop, port, limits, Routes::from(metrics::router(registry)), Wire::Http)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Serving,
    NotServing,
}

async fn set_health(reporters: &[(HealthReporter, &'static str)], health: Health) {
    let status = match health {
        Health::Serving => tonic_health::ServingStatus::Serving,
        Health::NotServing => tonic_health::ServingStatus::NotServing,
    };
    for (reporter, service) in reporters {
        reporter.set_service_status("", status).await;
        reporter.set_service_status(*service, status).await;
    }
}

/// Health says what admission says.
async fn follow_health(
    engine: Engine,
    reporters: Vec<(HealthReporter, &'static str)>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        let health = if engine.closed().is_none() { Health::Serving } else { Health::NotServing };
        if said != Some(health) {
            set_health(&reporters, health).await;
            said = Some(health);
        }
        let tick = tokio::time::timeout(HEALTH_TICK, stopped.changed());
        if tick.await.is_ok() {
            return Ok(());
        }
    }
}
