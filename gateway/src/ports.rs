//! The ports of all servers: taken before anything else is done, so that nothing is done in vain, and opened once there is
//! something to answer with.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::{
    address::HostPort,
    config::{Listen, Settings},
    files,
};

/// Connections of one metrics port at once.
pub(crate) const SCRAPERS_MAX: usize = 64;
/// Connections of a port that wait to be let in.
const BACKLOG: u32 = 1_024;

/// Every port, taken and not open.
pub struct Ports {
    pub(crate) payments: Port,
    pub(crate) fx: Port,
    pub(crate) wallet: Port,
    pub(crate) risk: Port,
    /// If it is served.
    pub(crate) rest: Option<Port>,
    /// Of the services, in the same order.
    pub(crate) metrics: [Port; 4],
}

impl Ports {
    /// Takes all ports, or none. Within a runtime.
    pub fn take(settings: &Settings) -> anyhow::Result<Self> {
        files::make_room_for((5 * settings.grpc.connections_max + 4 * SCRAPERS_MAX) as u64)?;
        let Listen { payments, fx, wallet, risk, rest, .. } = &settings.listen;
        let Listen { payments_metrics, fx_metrics, wallet_metrics, risk_metrics, .. } = &settings.listen;
        Ok(Self {
            payments: Port::take("payments", payments)?,
            fx: Port::take("fx", fx)?,
            wallet: Port::take("wallet", wallet)?,
            risk: Port::take("risk", risk)?,
            rest: settings.rest.enabled.then(|| Port::take("rest", rest)).transpose()?,
            metrics: [
                Port::take("payments_metrics", payments_metrics)?,
                Port::take("fx_metrics", fx_metrics)?,
                Port::take("wallet_metrics", wallet_metrics)?,
                Port::take("risk_metrics", risk_metrics)?,
            ],
        })
    }

    /// Where they all are.
    pub(crate) fn addresses(&self) -> Addresses {
        let Self { payments, fx, wallet, risk, rest, metrics } = self;
        let [m1, m2, m3, m4] = metrics;
        Addresses {
            payments: payments.address,
            fx: fx.address,
            wallet: wallet.address,
            risk: risk.address,
            rest: rest.as_ref().map(|port| port.address),
            metrics: [m1.address, m2.address, m3.address, m4.address],
        }
    }

    /// The ports on which whoever reaches them may move money, where other machines may reach them.
    pub fn beyond_loopback(&self) -> Vec<SocketAddr> {
        let moving = [Some(&self.payments), Some(&self.fx), Some(&self.wallet), Some(&self.risk), self.rest.as_ref()];
        let taken = moving.into_iter().flatten().map(|port| port.address);
        taken.filter(|address| !address.ip().is_loopback()).collect()
    }
}

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

/// A port that is taken: nobody else gets it, and nobody is let in.
pub(crate) struct Port {
    key: &'static str,
    socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    fn take(key: &'static str, at: &HostPort) -> anyhow::Result<Self> {
        at.resolve().and_then(|found| first_free(key, found)).map_err(|error| cannot_listen(key, at, &error))
    }

    /// Lets clients in.
    pub(crate) fn open(self) -> anyhow::Result<TcpListener> {
        // Another process can have taken it as well, and opened it first.
        self.socket.listen(BACKLOG).map_err(|error| cannot_listen(self.key, &self.address.into(), &error))
    }
}

/// The first address of a name that can be had.
fn first_free(key: &'static str, found: Vec<SocketAddr>) -> io::Result<Port> {
    let mut why = io::ErrorKind::NotFound.into();
    for address in found {
        match bind(address) {
            Ok(socket) => return Ok(Port { key, address: socket.local_addr()?, socket }),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Connections of a server that ended do not keep the port from the next one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn cannot_listen(key: &str, at: &HostPort, error: &io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "stop what uses the port or set another",
        io::ErrorKind::PermissionDenied => "ports below 1024 are the system's; set another",
        _ => "set a name or an address of this machine",
    };
    anyhow::anyhow!("cannot listen on {at}: {error}; {advice} (listen.{key})")
}
