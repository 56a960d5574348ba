//! The ceiling: a tonic server that answers everything with one prepared answer and does nothing else.

use std::pin::Pin;

use arus_proto::payments::v1::{
    self as wire,
    payments_service_server::{PaymentsService, PaymentsServiceServer},
};
use tokio_stream::{Empty, Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

struct Echo {
    payment: wire::CreatePaymentResponse,
    outcome: wire::BatchOutcome,
}

/// Serves on a free port, in two threads of its own; gives back the address.
pub(crate) async fn start(payment: wire::CreatePaymentResponse) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let listener = listener.into_std()?;
    let of = payment.payment.clone().unwrap_or_default();
    let outcome =
        wire::BatchOutcome { payment_id: of.payment_id, status: of.status, lsn: of.lsn, ..Default::default() };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
            let service = PaymentsServiceServer::new(Echo { payment, outcome });
            Server::builder().add_service(service).serve_with_incoming(incoming).await?;
            anyhow::Ok(())
        })
    });
    Ok(address)
}

fn no<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the echo only answers what creates payments"))
}

#[tonic::async_trait]
impl PaymentsService for Echo {
    type StreamPaymentsStream = Pin<Box<dyn Stream<Item = Result<wire::StreamPaymentsResponse, Status>> + Send>>;
    type WatchPaymentsStream = Empty<Result<wire::WatchPaymentsResponse, Status>>;

    async fn create_payment(
        &self,
        _: Request<wire::CreatePaymentRequest>,
    ) -> Result<Response<wire::CreatePaymentResponse>, Status> {
        Ok(Response::new(self.payment.clone()))
    }

    async fn batch_create_payments(
        &self,
        request: Request<wire::BatchCreatePaymentsRequest>,
    ) -> Result<Response<wire::BatchCreatePaymentsResponse>, Status> {
        let outcomes = (0..).zip(&request.get_ref().payments);
        let outcomes = outcomes.map(|(index, _)| wire::BatchOutcome { index, ..self.outcome.clone() }).collect();
        Ok(Response::new(wire::BatchCreatePaymentsResponse { outcomes }))
    }

    async fn stream_payments(
        &self,
        request: Request<Streaming<wire::StreamPaymentsRequest>>,
    ) -> Result<Response<Self::StreamPaymentsStream>, Status> {
        let (outcome, mut index) = (self.outcome.clone(), 0);
        let answers = request.into_inner().map(move |request| {
            request?;
            index += 1;
            let outcome = wire::BatchOutcome { index: index - 1, ..outcome.clone() };
            Ok(wire::StreamPaymentsResponse { outcome: Some(outcome) })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_payment(
        &self,
        _: Request<wire::GetPaymentRequest>,
    ) -> Result<Response<wire::GetPaymentResponse>, Status> {
        no()
    }

    async fn list_payments(
        &self,
        _: Request<wire::ListPaymentsRequest>,
    ) -> Result<Response<wire::ListPaymentsResponse>, Status> {
        no()
    }

    async fn capture_payment(
        &self,
        _: Request<wire::CapturePaymentRequest>,
    ) -> Result<Response<wire::CapturePaymentResponse>, Status> {
        no()
    }

    async fn void_payment(
        &self,
        _: Request<wire::VoidPaymentRequest>,
    ) -> Result<Response<wire::VoidPaymentResponse>, Status> {
        no()
    }

    async fn update_payment(
        &self,
        _: Request<wire::UpdatePaymentRequest>,
    ) -> Result<Response<wire::UpdatePaymentResponse>, Status> {
        no()
    }

    async fn refund_payment(
        &self,
        _: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        no()
    }

    async fn get_refund(
        &self,
        _: Request<wire::GetRefundRequest>,
    ) -> Result<Response<wire::GetRefundResponse>, Status> {
        no()
    }

    async fn list_refunds(
        &self,
        _: Request<wire::ListRefundsRequest>,
    ) -> Result<Response<wire::ListRefundsResponse>, Status> {
        no()
    }

    async fn watch_payments(
        &self,
        _: Request<wire::WatchPaymentsRequest>,
    ) -> Result<Response<Self::WatchPaymentsStream>, Status> {
        no()
    }
}
