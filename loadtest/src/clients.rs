//! Connections to the services of a server.

use std::time::Duration;

use anyhow::Context;
use arus_proto::{
    payments::v1::payments_service_client::PaymentsServiceClient,
    wallet::v1::wallet_service_client::WalletServiceClient,
};
use tonic::transport::{Channel, Endpoint};

/// A client of PaymentsService.
pub(crate) type Payments = PaymentsServiceClient<Channel>;
/// A client of WalletService.
pub(crate) type Wallets = WalletServiceClient<Channel>;

/// An answer that has not come by then does not come, and a server that does not answer a ping is gone.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(60);

/// An endpoint that answers small messages at once.
fn endpoint(address: &str) -> anyhow::Result<Endpoint> {
    Ok(Endpoint::from_shared(address.to_owned())?
        .tcp_nodelay(true)
        .timeout(ANSWER_MAX)
        .http2_keep_alive_interval(ANSWER_MAX)
        .keep_alive_timeout(ANSWER_MAX))
}

/// Opens one connection to a service; an error names it.
pub(crate) async fn channel(service: &str, address: &str) -> anyhow::Result<Channel> {
    endpoint(address)?.connect().await.with_context(|| format!("{service} does not answer at {address}"))
}

/// Opens so many connections to PaymentsService.
pub(crate) async fn payments(address: &str, connections: usize) -> anyhow::Result<Vec<Payments>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Payments::new(channel("PaymentsService", address).await?));
    }
    Ok(clients)
}
