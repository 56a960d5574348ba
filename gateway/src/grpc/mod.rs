//! The tonic services: one file each, every method of the same parts: convert, ask the engine, convert.

pub mod bulk;
pub mod fx;
pub(crate) mod gate;
mod incoming;
pub(crate) mod methods;
pub mod payments;
pub mod risk;
pub mod wallet;

use std::sync::Arc;

use arus_engine::{Command, Engine, Reply, trace::Trace};
use tonic::{Status, metadata::MetadataMap};

use self::{fx::Fx, payments::Payments, risk::Risk, wallet::Wallets};
use crate::{
    observe::{ServiceCells, deadline},
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

/// Submits a command with the caller's deadline, at which [`rpc`](crate::observe::rpc) gives up waiting for it.
pub(crate) async fn decide(engine: &Engine, mut command: Command, metadata: &MetadataMap) -> Result<Reply, Status> {
    command.timeout = Some(deadline(engine, metadata));
    command.trace = Trace::current();
    engine.submit(command).await.map_err(|refusal| status(&refusal))
}
