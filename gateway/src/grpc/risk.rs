//! `risk.v1.RiskService`: what the rules would say.

use std::sync::Arc;

use arus_engine::Engine;
use arus_proto::risk::v1::{self as wire, risk_service_server::RiskService};
use tonic::{Request, Response, Status};

use crate::{
    convert::{TENANT, risk as convert},
    observe::{ServiceCells, rpc},
    status::status,
};

/// The methods, as metrics name them.
pub const METHODS: [&str; 1] = ["Score"];

/// The service.
#[derive(Clone)]
pub struct Risk {
    /// What decides.
    pub engine: Engine,
    /// What is counted.
    pub cells: Arc<ServiceCells>,
}

#[tonic::async_trait]
impl RiskService for Risk {
    async fn score(&self, request: Request<wire::ScoreRequest>) -> Result<Response<wire::ScoreResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "Score", (&metadata, ""), async {
            let ask = convert::score(request).map_err(|refusal| status(&refusal))?;
            let verdict = self.engine.score(TENANT, ask).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::ScoreResponse { verdict: Some(convert::verdict(&verdict)) })
        })
        .await
    }
}
