//! The tonic services: one file each, every method of the same parts: convert, ask the engine, convert.

pub mod bulk;
pub mod fx;
pub mod payments;
pub mod risk;
pub mod wallet;

use std::{sync::Arc, time::Duration};

use arus_engine::{Command, Engine, Refusal, Reply, trace::Trace};
use tonic::{Status, metadata::MetadataMap};

use self::{fx::Fx, payments::Payments, risk::Risk, wallet::Wallets};
use crate::{
    observe::{self, ServiceCells},
    status::status,
};

/// All services, for whoever serves them: gRPC, and REST on top of the same.
#[derive(Clone)]
pub struct Services {
    /// PaymentsService.
    pub payments: Payments,
    /// FxService.
    pub fx: Fx,
    /// WalletService.
    pub wallet: Wallets,
    /// RiskService.
    pub risk: Risk,
}

impl Services {
    /// Services on an engine, with nothing counted yet.
    pub fn new(engine: &Engine) -> Self {
        let cells = |service, methods: &[&'static str]| Arc::new(ServiceCells::new(service, methods));
        Self {
            payments: Payments {
                engine: engine.clone(),
                cells: cells("payments.v1.PaymentsService", &payments::METHODS),
            },
            fx: Fx { engine: engine.clone(), cells: cells("fx.v1.FxService", &fx::METHODS) },
            wallet: Wallets { engine: engine.clone(), cells: cells("wallet.v1.WalletService", &wallet::METHODS) },
            risk: Risk { engine: engine.clone(), cells: cells("risk.v1.RiskService", &risk::METHODS) },
        }
    }
}

/// Submits a command with the caller's deadline. Dropping this future gives up waiting, not the command.
pub(crate) async fn decide(engine: &Engine, mut command: Command, metadata: &MetadataMap) -> Result<Reply, Status> {
    let timeout = deadline(engine, metadata);
    command.timeout = Some(timeout);
    command.trace = Trace::current();
    let decided = tokio::time::timeout(timeout, engine.submit(command)).await;
    decided.unwrap_or(Err(Refusal::DeadlineExceeded)).map_err(|refusal| status(&refusal))
}

/// How long a caller waits: what it says, within what the server allows.
pub(crate) fn deadline(engine: &Engine, metadata: &MetadataMap) -> Duration {
    let default = Duration::from_millis(engine.config().deadline_default_ms);
    observe::timeout(metadata).unwrap_or(default).min(default)
}
