//! Health of a port, by gRPC's health checking protocol: the server as a whole (the empty name) and its own service.

use std::pin::Pin;

use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use super::until_deadline;
use crate::status::status;

/// What all ports say.
pub(crate) type Serving = watch::Receiver<ServingStatus>;

/// See the module.
pub(crate) struct Health {
    pub(crate) service: &'static str,
    pub(crate) serving: Serving,
}

impl Health {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || service == self.service
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.knows(service) {
            return Err(status(&arus_engine::Refusal::not_found("service", service)));
        }
        let serving = *self.serving.borrow();
        Ok(Response::new(answer(serving)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The status now, and whenever it changes. Of a service that is not here the protocol says so, and goes on.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let told = |serving| Ok(answer(serving));
        let (metadata, _, request) = request.into_parts();
        if self.knows(&request.service) {
            let statuses = WatchStream::new(self.serving.clone()).map(told);
            return Ok(Response::new(until_deadline(statuses, &metadata)));
        }
        let unknown = tokio_stream::once(told(ServingStatus::ServiceUnknown));
        Ok(Response::new(until_deadline(unknown.chain(tokio_stream::pending()), &metadata)))
    }
}
