//! The tonic services: one file each, every method of the same parts: convert, ask the engine, convert.

pub mod bulk;
mod decide;
pub mod fx;
pub(crate) mod gate;
mod incoming;
pub(crate) mod methods;
pub mod payments;
pub mod risk;
pub mod wallet;

use std::sync::Arc;

use arus_engine::Engine;

use self::{fx::Fx, payments::Payments, risk::Risk, wallet::Wallets};
use crate::observe::ServiceCells;

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
