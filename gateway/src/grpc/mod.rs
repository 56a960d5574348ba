//! The tonic services: one file each, every method of the same parts: convert, ask the engine, convert.

pub mod bulk;
mod decide;
pub mod fx;
pub(crate) mod gate;
pub(crate) mod health;
mod incoming;
pub(crate) mod methods;
pub mod payments;
pub(crate) mod reflection;
pub mod risk;
pub mod wallet;

use std::{pin::Pin, sync::Arc};

use arus_engine::Engine;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;
use tonic::{Status, metadata::MetadataMap};

use self::{fx::Fx, payments::Payments, risk::Risk, wallet::Wallets};
use crate::{
    observe::{ServiceCells, timeout},
    status::late,
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

/// A stream that ends with the caller's deadline, if it has one: nobody listens any more.
fn until_deadline<T: Send + 'static>(
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    metadata: &MetadataMap,
) -> Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>> {
    let Some(left) = timeout(metadata) else { return Box::pin(answers) };
    let at = Instant::now() + left;
    Box::pin(stream::unfold(Some(Box::pin(answers)), move |open| async move {
        let mut answers = open?;
        match tokio::time::timeout_at(at, answers.next()).await {
            Ok(answer) => Some((answer?, Some(answers))),
            Err(_) => Some((Err(late()), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// What is not in a service's list is not counted.
    #[test]
    fn every_method_is_counted() {
        let set = FileDescriptorSet::decode(arus_proto::DESCRIPTORS).expect("descriptors");
        let services: Vec<_> = set.file.iter().flat_map(|file| &file.service).collect();
        for (name, methods) in [
            ("PaymentsService", &payments::METHODS[..]),
            ("FxService", &fx::METHODS),
            ("WalletService", &wallet::METHODS),
            ("RiskService", &risk::METHODS),
        ] {
            let service = services.iter().find(|service| service.name() == name).expect("it is described");
            let described: BTreeSet<_> = service.method.iter().map(prost_types::MethodDescriptorProto::name).collect();
            assert_eq!(methods.iter().copied().collect::<BTreeSet<_>>(), described, "{name}");
        }
        assert_eq!(services.len(), 4);
    }
}
