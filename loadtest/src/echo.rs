//! The ceiling: a tonic server that answers every CreatePayment with one prepared answer and does nothing else.

use arus_proto::payments::v1::{
    self as wire,
    payments_service_server::{PaymentsService, PaymentsServiceServer},
};
use tokio_stream::Empty;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

struct Echo(wire::CreatePaymentResponse);

/// Serves on a free port, in two threads of its own; gives back the address.
pub(crate) async fn start(answer: wire::CreatePaymentResponse) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let listener = listener.into_std()?;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
            let service = PaymentsServiceServer::new(Echo(answer));
            Server::builder().add_service(service).serve_with_incoming(incoming).await?;
            anyhow::Ok(())
        })
    });
    Ok(address)
}

fn no<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the echo only answers CreatePayment"))
}

#[tonic::async_trait]
impl PaymentsService for Echo {
    type StreamPaymentsStream = Empty<Result<wire::StreamPaymentsResponse, Status>>;
    type WatchPaymentsStream = Empty<Result<wire::WatchPaymentsResponse, Status>>;

    async fn create_payment(
        &self,
        _: Request<wire::CreatePaymentRequest>,
    ) -> Result<Response<wire::CreatePaymentResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_create_payments(
        &self,
        _: Request<wire::BatchCreatePaymentsRequest>,
    ) -> Result<Response<wire::BatchCreatePaymentsResponse>, Status> {
        no()
    }

    async fn stream_payments(
        &self,
        _: Request<Streaming<wire::StreamPaymentsRequest>>,
    ) -> Result<Response<Self::StreamPaymentsStream>, Status> {
        no()
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

    async fn refund_payment(
        &self,
        _: Request<wire::RefundPaymentRequest>,
    ) -> Result<Response<wire::RefundPaymentResponse>, Status> {
        no()
    }

    async fn watch_payments(
        &self,
        _: Request<wire::WatchPaymentsRequest>,
    ) -> Result<Response<Self::WatchPaymentsStream>, Status> {
        no()
    }
}
