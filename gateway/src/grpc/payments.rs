//! `payments.v1.PaymentsService`: the head of a payment's path.

use std::sync::Arc;

use arus_engine::{Command, Engine, Refusal, Reply, ledger::entry::Committed};
use arus_proto::{
    common::v1 as common,
    payments::v1::{self as wire, payments_service_server::PaymentsService},
};
use tokio::time::Instant;
use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{bulk, decide::decide};
use crate::{
    budget::Caller,
    convert::{
        TENANT, listed, operation,
        payments::{self as convert, Listing},
        steps,
    },
    observe::{Replayed, ServiceCells, deadline, rpc, timeout},
    status::{status, unimplemented},
    traces,
};

/// The methods, as metrics name them.
pub const METHODS: [&str; 12] = [
    "CreatePayment",
    "BatchCreatePayments",
    "StreamPayments",
    "GetPayment",
    "ListPayments",
    "CapturePayment",
    "VoidPayment",
    "UpdatePayment",
    "RefundPayment",
    "GetRefund",
    "ListRefunds",
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
    /// Decides a step in the life of a payment; its answer is the decision, and the payment as the step left it.
    async fn step<T>(
        &self,
        method: &'static str,
        (metadata, tx_id): (&MetadataMap, &str),
        command: Result<Command, Refusal>,
        answer: impl FnOnce(&Reply, Option<common::Operation>, Option<wire::Payment>) -> T,
    ) -> Result<Response<T>, Status> {
        let mut replayed = false;
        let decided = rpc(&self.engine, &self.cells, method, (metadata, tx_id), async {
            let command = command.map_err(|refusal| status(&refusal))?;
            let reply = decide(&self.engine, command, metadata).await?;
            replayed = reply.replayed;
            let of = payment(&reply.committed, reply.replayed)?;
            Ok(answer(&reply, Some(operation(&reply.committed, reply.replayed)), Some(of)))
        });
        let mut response = decided.await?;
        response.extensions_mut().insert(Replayed(replayed));
        Ok(response)
    }

    async fn later<T>(&self, method: &'static str, metadata: &MetadataMap) -> Result<Response<T>, Status> {
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
            let reply = decide(&self.engine, convert::create(request, self.engine.config())?, &metadata).await?;
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
            let Listing { of, made, filter, page: ask } = convert::list(request).map_err(|refusal| status(&refusal))?;
            let shown = move |committed: &Committed| {
                convert::payment(committed, false).filter(|payment| filter.takes(payment)).map(listed)
            };
            let page = self.engine.payments(TENANT, of, made, ask.window(), shown).await;
            let page = page.map_err(|refusal| status(&refusal))?;
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
        let (metadata, _, request) = request.into_parts();
        let answer = |_: &Reply, operation, payment| wire::CapturePaymentResponse { payment, operation };
        self.step("CapturePayment", (&metadata, &request.tx_id), steps::capture(&request), answer).await
    }

    async fn void_payment(
        &self,
        request: Request<wire::VoidPaymentRequest>,
    ) -> Result<Response<wire::VoidPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |_: &Reply, operation, payment| wire::VoidPaymentResponse { payment, operation };
        self.step("VoidPayment", (&metadata, &request.tx_id), steps::void(&request), answer).await
    }

    async fn update_payment(
        &self,
        request: Request<wire::UpdatePaymentRequest>,
    ) -> Result<Response<wire::UpdatePaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let tx_id = request.tx_id.clone();
        let answer = |_: &Reply, operation, payment| wire::UpdatePaymentResponse { payment, operation };
        self.step("UpdatePayment", (&metadata, &tx_id), steps::update(request), answer).await
    }

    async fn refund_payment(
        &self,
        request: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let answer = |reply: &Reply, operation, payment| wire::RefundPaymentResponse {
            payment,
            operation,
            refund: steps::refunded(&reply.committed),
        };
        self.step("RefundPayment", (&metadata, &request.tx_id), steps::refund(&request), answer).await
    }

    async fn get_refund(
        &self,
        request: Request<wire::GetRefundRequest>,
    ) -> Result<Response<wire::GetRefundResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "GetRefund", (&metadata, ""), async {
            let id = steps::get_refund(&request).map_err(|refusal| status(&refusal))?;
            let committed = self.engine.refund(TENANT, id).await.map_err(|refusal| status(&refusal))?;
            Ok(wire::GetRefundResponse { refund: steps::refunded(&committed) })
        })
        .await
    }

    async fn list_refunds(
        &self,
        request: Request<wire::ListRefundsRequest>,
    ) -> Result<Response<wire::ListRefundsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        rpc(&self.engine, &self.cells, "ListRefunds", (&metadata, ""), async {
            let (payment, ask) = steps::list_refunds(&request).map_err(|refusal| status(&refusal))?;
            let show = |committed: &Committed| steps::refunded(committed).map(listed);
            let page = self.engine.payment_entries(TENANT, payment, ask.window(), show).await;
            let page = page.map_err(|refusal| status(&refusal))?;
            Ok(wire::ListRefundsResponse { refunds: page.items, next_page_token: ask.token(page.next_below) })
        })
        .await
    }

    async fn watch_payments(
        &self,
        request: Request<wire::WatchPaymentsRequest>,
    ) -> Result<Response<Self::WatchPaymentsStream>, Status> {
        self.later("WatchPayments", request.metadata()).await
    }
}
