//! `fx.v1.FxService`: rates.

use std::sync::Arc;

use arus_engine::{
    Engine,
    ledger::fx::{LegSide, Pair},
};
use arus_proto::fx::v1::{self as wire, fx_service_server::FxService};
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use super::decide::decide;
use crate::{
    convert::{failure, fx as convert, money, operation},
    observe::{Replayed, ServiceCells, rpc},
    status::{status, unimplemented},
};

/// The methods, as metrics name them.
pub const METHODS: [&str; 7] =
    ["Convert", "CreateQuote", "GetRate", "ListRates", "PublishRates", "RemoveRates", "WatchRates"];

/// The service.
#[derive(Clone)]
pub struct Fx {
    /// What decides.
    pub engine: Engine,
    /// What is counted.
    pub cells: Arc<ServiceCells>,
}

#[tonic::async_trait]
impl FxService for Fx {
    type WatchRatesStream = Empty<Result<wire::WatchRatesResponse, Status>>;

    async fn convert(&self, request: Request<wire::ConvertRequest>) -> Result<Response<wire::ConvertResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "Convert", (&metadata, ""), async {
            let (amount, pair) = convert::convert(&request).map_err(|refusal| status(&refusal))?;
            let price = self.engine.price(pair).await.map_err(|refusal| status(&refusal))?;
            let leg = price.as_ref().map_err(Clone::clone).and_then(|price| price.convert(amount, LegSide::Payer));
            Ok(wire::ConvertResponse {
                converted: leg.as_ref().ok().map(|leg| money(leg.to)),
                rate: price.as_ref().ok().map(|price| convert::price(price, false)),
                failure: leg.as_ref().err().map(failure),
            })
        })
        .await
    }

    async fn get_rate(
        &self,
        request: Request<wire::GetRateRequest>,
    ) -> Result<Response<wire::GetRateResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetRate", (&metadata, ""), async {
            let pair = convert::pair(&request).map_err(|refusal| status(&refusal))?;
            let price = self.engine.price(pair).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::GetRateResponse {
                rate: price.as_ref().ok().map(|price| convert::price(price, false)),
                failure: price.as_ref().err().map(failure),
            })
        })
        .await
    }

    async fn list_rates(
        &self,
        request: Request<wire::ListRatesRequest>,
    ) -> Result<Response<wire::ListRatesResponse>, Status> {
        rpc(&self.engine, &self.cells, "ListRates", (request.metadata(), ""), async {
            let book = self.engine.rates();
            // A stale rate prices nothing, but it is still what was published: it is listed with its age.
            let policy = self.engine.config().fx_policy();
            let pairs = book.rows().map(|row| Pair { base: row.base, quote: row.quote });
            let clock = self.engine.clock();
            let is_stale = |pair| book.price(pair, clock.believed(), &policy).is_err();
            let rates = pairs.filter_map(|pair| Some((book.price_at_any_age(pair, &policy).ok()?, is_stale(pair))));
            let rates = rates.map(|(price, stale)| convert::price(&price, stale)).collect();
            Ok(wire::ListRatesResponse { rates })
        })
        .await
    }

    async fn publish_rates(
        &self,
        request: Request<wire::PublishRatesRequest>,
    ) -> Result<Response<wire::PublishRatesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut replayed = false;
        let decided = rpc(&self.engine, &self.cells, "PublishRates", (&metadata, &request.tx_id), async {
            let now = self.engine.clock().now();
            let command = convert::publish(&request, now).map_err(|refusal| status(&refusal))?;
            let reply = decide(&self.engine, command, &metadata).await?;
            replayed = reply.replayed;
            Ok(wire::PublishRatesResponse { operation: Some(operation(&reply.committed, reply.replayed)) })
        });
        let mut response = decided.await?;
        response.extensions_mut().insert(Replayed(replayed));
        Ok(response)
    }

    async fn remove_rates(
        &self,
        request: Request<wire::RemoveRatesRequest>,
    ) -> Result<Response<wire::RemoveRatesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut replayed = false;
        let decided = rpc(&self.engine, &self.cells, "RemoveRates", (&metadata, &request.tx_id), async {
            let command = convert::remove(&request).map_err(|refusal| status(&refusal))?;
            let reply = decide(&self.engine, command, &metadata).await?;
            replayed = reply.replayed;
            Ok(wire::RemoveRatesResponse { operation: Some(operation(&reply.committed, reply.replayed)) })
        });
        let mut response = decided.await?;
        response.extensions_mut().insert(Replayed(replayed));
        Ok(response)
    }

    async fn create_quote(
        &self,
        request: Request<wire::CreateQuoteRequest>,
    ) -> Result<Response<wire::CreateQuoteResponse>, Status> {
        rpc(&self.engine, &self.cells, "CreateQuote", (request.metadata(), ""), async {
            Err(unimplemented("CreateQuote"))
        })
        .await
    }

    async fn watch_rates(
        &self,
        request: Request<wire::WatchRatesRequest>,
    ) -> Result<Response<Self::WatchRatesStream>, Status> {
        rpc(&self.engine, &self.cells, "WatchRates", (request.metadata(), ""), async {
            Err(unimplemented("WatchRates"))
        })
        .await
    }
}
