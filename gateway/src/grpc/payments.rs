//! `payments.v1.PaymentsService`: the head of a payment's path.

use std::sync::Arc;

use arus_engine::{Engine, ledger::entry::Committed};
use arus_proto::payments::v1::{self as wire, payments_service_server::PaymentsService};
use tokio::time::Instant;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use super::{bulk, decide::decide};
use crate::{
    budget::Caller,
    convert::{TENANT, listed, payments as convert},
    observe::{Replayed, ServiceCells, deadline, rpc, timeout},
    status::{status, unimplemented},
    traces,
};

/// The methods, as metrics name them.
pub const METHODS: [&str; 9] = [
    "CreatePayment",
    "BatchCreatePayments",
    "StreamPayments",
    "GetPayment",
    "ListPayments",
    "CapturePayment",
    "VoidPayment",
    "RefundPayment",
    "WatchPayments",
];

/// The service.
#[derive(Clone)]
pub struct Payments {
    /// What decides.
    pub engine: Engine,
    /// What is counted.
    pub cells: Arc<ServiceCells>,
}

fn payment(committed: &Committed, replayed: bool) -> Result<wire::Payment, Status> {
    convert::payment(committed, replayed).ok_or_else(|| Status::internal("the entry under this id is no payment"))
}

impl Payments {
    async fn later<T>(
        &self,
        method: &'static str,
        metadata: &tonic::metadata::MetadataMap,
    ) -> Result<Response<T>, Status> {
        rpc(&self.engine, &self.cells, method, (metadata, ""), async { Err(unimplemented(method)) }).await
    }
}

#[tonic::async_trait]
impl PaymentsService for Payments {
    type StreamPaymentsStream = bulk::Outcomes;
    type WatchPaymentsStream = Empty<Result<wire::WatchPaymentsResponse, Status>>;

    async fn create_payment(
        &self,
        request: Request<wire::CreatePaymentRequest>,
    ) -> Result<Response<wire::CreatePaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let tx_id = request.tx_id.clone();
        let mut replayed = false;
        let decided = rpc(&self.engine, &self.cells, "CreatePayment", (&metadata, &tx_id), async {
            let reply = decide(&self.engine, convert::create(request)?, &metadata).await?;
            replayed = reply.replayed;
            Ok(wire::CreatePaymentResponse { payment: Some(payment(&reply.committed, reply.replayed)?) })
        });
        let mut response = decided.await?;
        response.extensions_mut().insert(Replayed(replayed));
        Ok(response)
    }

    async fn get_payment(
        &self,
        request: Request<wire::GetPaymentRequest>,
    ) -> Result<Response<wire::GetPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetPayment", (&metadata, ""), async {
            let found = match convert::get(request).map_err(|refusal| status(&refusal))? {
                convert::By::Id(id) => self.engine.payment(TENANT, id).await,
                convert::By::TxId(tx_id) => self.engine.payment_by_key(TENANT, &tx_id).await,
            };
            let committed = found.map_err(|refusal| status(&refusal))?;
            Ok(wire::GetPaymentResponse { payment: Some(payment(&committed, false)?) })
        })
        .await
    }

    async fn list_payments(
        &self,
        request: Request<wire::ListPaymentsRequest>,
    ) -> Result<Response<wire::ListPaymentsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "ListPayments", (&metadata, ""), async {
            let (of, ask) = convert::list(request).map_err(|refusal| status(&refusal))?;
            let show = |committed: &Committed| convert::payment(committed, false).map(listed);
            let page =
                self.engine.payments(TENANT, of, ask.window(), show).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::ListPaymentsResponse { payments: page.items, next_page_token: ask.token(page.next_below) })
        })
        .await
    }

    async fn batch_create_payments(
        &self,
        request: Request<wire::BatchCreatePaymentsRequest>,
    ) -> Result<Response<wire::BatchCreatePaymentsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "BatchCreatePayments", (&metadata, ""), async {
            let timeout = deadline(&self.engine, &metadata);
            let outcomes = bulk::batch(&self.engine, request.payments, timeout, traces::current()).await;
            Ok(wire::BatchCreatePaymentsResponse { outcomes: outcomes.map_err(|refusal| status(&refusal))? })
        })
        .keeps_its_deadline()
        .await
    }

    async fn stream_payments(
        &self,
        request: Request<Streaming<wire::StreamPaymentsRequest>>,
    ) -> Result<Response<Self::StreamPaymentsStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        rpc(&self.engine, &self.cells, "StreamPayments", (&metadata, ""), async {
            let caller = extensions.get::<Arc<Caller>>().cloned();
            let items = bulk::Items {
                engine: self.engine.clone(),
                ends: timeout(&metadata).and_then(|timeout| Instant::now().checked_add(timeout)),
                timeout: deadline(&self.engine, &metadata),
                traced: traces::current(),
            };
            Ok(items.outcomes(requests, caller.ok_or_else(|| Status::internal("a stream without a connection"))?))
        })
        .await
    }

    async fn capture_payment(
        &self,
        request: Request<wire::CapturePaymentRequest>,
    ) -> Result<Response<wire::CapturePaymentResponse>, Status> {
        self.later("CapturePayment", request.metadata()).await
    }

    async fn void_payment(
        &self,
        request: Request<wire::VoidPaymentRequest>,
    ) -> Result<Response<wire::VoidPaymentResponse>, Status> {
        self.later("VoidPayment", request.metadata()).await
    }

    async fn refund_payment(
        &self,
        request: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        self.later("RefundPayment", request.metadata()).await
    }

    async fn watch_payments(
        &self,
        request: Request<wire::WatchPaymentsRequest>,
    ) -> Result<Response<Self::WatchPaymentsStream>, Status> {
        self.later("WatchPayments", request.metadata()).await
    }
}
