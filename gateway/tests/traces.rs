//! Traces as a collector sees them: a small OTLP receiver stands where Jaeger or Tempo would.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use arus::{config::TraceSettings, traces};
use arus_proto::{fx::v1::RateSource, payments::v1::BatchCreatePaymentsRequest};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use support::{Clients, LIMIT, Server, http, payment};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server as TonicServer, server::TcpIncoming},
};

/// Keeps every span it is sent.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.0.lock().expect("not poisoned").extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    async fn start() -> (Self, SocketAddr) {
        let (receiver, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        let address = listener.local_addr().expect("bound");
        let service = TraceServiceServer::new(receiver.clone());
        tokio::spawn(TonicServer::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        (receiver, address)
    }

    /// The spans of a trace once the one called `root` is there, which ends last.
    async fn trace(&self, id: &str, root: &str) -> Vec<Span> {
        let arrived = async {
            loop {
                let spans = self.0.lock().expect("not poisoned").clone();
                let spans: Vec<_> = spans.into_iter().filter(|span| hex(&span.trace_id) == id).collect();
                if spans.iter().any(|span| span.name == root) {
                    return spans;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, arrived).await.expect("the trace arrives")
    }

    fn count(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    format!("{:?}", found.unwrap_or_else(|| panic!("{} has no {key}", span.name)).value)
}

const CREATE: &str = "payments.v1.PaymentsService/CreatePayment";
const PARENT: &str = "00f067aa0ba902b7";

/// A caller's context; `n` makes the trace's id.
fn traceparent(n: u8, flags: &str) -> (String, String) {
    let id = format!("4bf92f3577b34da6a3ce929d0e0e47{n:02x}");
    (format!("00-{id}-{PARENT}-{flags}"), id)
}

/// The spans directly under `root` that end last to first nowhere leave it.
fn check_within(spans: &[Span], root: &Span) {
    for span in spans.iter().filter(|span| span.parent_span_id == root.span_id) {
        let within = root.start_time_unix_nano <= span.start_time_unix_nano
            && span.start_time_unix_nano <= span.end_time_unix_nano
            && span.end_time_unix_nano <= root.end_time_unix_nano;
        assert!(within, "{} leaves its parent", span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_one_trace_from_its_call_through_actors_and_journal() {
    let (receiver, address) = Receiver::start().await;
    let settings = TraceSettings { endpoint: format!("http://{address}"), sample_one_in: 0 };
    let exporting = traces::install(&settings).expect("an endpoint").expect("it exports");
    let mut alone = support::settings();
    // One at a time, so that each is begun by the end of another.
    alone.engine.at_work_max = 1;
    let (server, mut c) = Server::with(alone).await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    assert_eq!(receiver.count(), 0, "nobody asked for a trace");

    // gRPC: the caller's trace goes on.
    let (parent, id) = traceparent(1, "01");
    let mut request = Request::new(payment("t1", "ann", "USD", "10.00", "shop-usd"));
    request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
    let answer = c.payments.create_payment(request).await.expect("it is decided");
    let said = answer.metadata().get("traceresponse").expect("a traceresponse").to_str().expect("ascii").to_owned();
    assert!(said.starts_with(&format!("00-{id}-")) && said.ends_with("-01"), "{said}");
    let spans = receiver.trace(&id, CREATE).await;
    let root = named(&spans, CREATE);
    assert_eq!((hex(&root.parent_span_id).as_str(), root.kind), (PARENT, 2));
    assert!(said.contains(&hex(&root.span_id)));
    assert!(attribute(root, "rpc.grpc.status_code").contains("IntValue(0)"));
    assert!(attribute(root, "arus.block.entries").contains("IntValue"));
    for (step, wait) in [
        ("risk.assess", "risk.assess.wait"),
        ("payment.granted", "payment.granted.wait"),
        ("wallet.expect", "wallet.expect.wait"),
        ("wallet.hold", "wallet.hold.wait"),
        ("payment.held", "payment.held.wait"),
        ("journal.write_and_sync", "journal.queue.wait"),
        ("engine.hand_over", "engine.answer.wait"),
    ] {
        for name in [step, wait] {
            assert_eq!(named(&spans, name).parent_span_id, root.span_id, "{name}");
        }
    }
    let (hold, sync) = (named(&spans, "wallet.hold"), named(&spans, "journal.write_and_sync"));
    assert!(named(&spans, "wallet.hold.wait").end_time_unix_nano <= hold.start_time_unix_nano);
    assert!(hold.end_time_unix_nano <= sync.start_time_unix_nano, "held before it is written");
    check_within(&spans, root);

    // HTTP, across currencies: the same, with the desk; the answer tells the times.
    c.account_with("bob", "bob-eur", "EUR", "100.00").await;
    c.rates("rates", RateSource::Live, &[("EUR", "USD", "1.10")]).await;
    let (parent, id) = traceparent(2, "01");
    let body = serde_json::json!({ "customer_id": "bob", "amount": { "currency": "USD", "amount": "5.00" },
        "destination_account": "shop-usd" });
    let headers = ["Idempotency-Key: t2", "Content-Type: application/json", &format!("traceparent: {parent}")];
    let answer = http::send(server.rest(), "POST /v1/payments", &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.header("traceresponse").starts_with(&format!("00-{id}-")), "{:?}", answer.headers);
    let timing = answer.header("server-timing");
    assert!(timing.contains("wallet.hold;dur=") && timing.contains("desc=\"block of entries"), "{timing}");
    let spans = receiver.trace(&id, CREATE).await;
    assert_eq!(hex(&named(&spans, CREATE).parent_span_id), PARENT);
    named(&spans, "fx.quote.wait");
    check_within(&spans, named(&spans, CREATE));

    // A batch: one span a payment under the call's.
    let (parent, id) = traceparent(3, "01");
    let payments = (0..3).map(|n| payment(&format!("b{n}"), "ann", "USD", "1.00", "shop-usd")).collect();
    let mut request = Request::new(BatchCreatePaymentsRequest { payments });
    request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
    c.payments.batch_create_payments(request).await.expect("a batch is answered");
    let spans = receiver.trace(&id, "payments.v1.PaymentsService/BatchCreatePayments").await;
    let items: BTreeSet<_> =
        spans.iter().filter(|span| span.name == "payment").map(|span| span.span_id.clone()).collect();
    assert_eq!(items.len(), 3);
    let holds = spans.iter().filter(|span| span.name == "wallet.hold").map(|span| span.parent_span_id.clone());
    assert_eq!(holds.collect::<BTreeSet<_>>(), items);

    // Among many that nobody traces: theirs are not taken for its own.
    let (parent, id) = traceparent(8, "01");
    let crowd = |c: &Clients, name: &str| {
        let payments: Vec<_> =
            (0..1_000).map(|n| payment(&format!("{name}{n}"), "ann", "USD", "0.01", "shop-usd")).collect();
        let mut c = c.clone();
        tokio::spawn(async move { c.payments.batch_create_payments(BatchCreatePaymentsRequest { payments }).await })
    };
    let before = crowd(&c, "before");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut request = Request::new(payment("t8", "ann", "USD", "1.00", "shop-usd"));
    request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
    let mut one = c.clone();
    let traced = tokio::spawn(async move { one.payments.create_payment(request).await });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let behind = crowd(&c, "behind");
    traced.await.expect("no panic").expect("it is decided");
    for crowd in [before, behind] {
        crowd.await.expect("no panic").expect("a batch is answered");
    }
    let spans = receiver.trace(&id, CREATE).await;
    for name in ["risk.assess", "wallet.hold"] {
        assert_eq!(spans.iter().filter(|span| span.name == name).count(), 1, "{name}");
    }

    // A caller that says "not sampled", a malformed context, and none at all: no trace, and the payment goes on.
    let before = receiver.count();
    let (unsampled, _) = traceparent(4, "00");
    for (n, parent) in ["", "nonsense", &unsampled, "00-0-0-01"].into_iter().enumerate() {
        let mut request = Request::new(payment(&format!("u{n}"), "ann", "USD", "1.00", "shop-usd"));
        if !parent.is_empty() {
            request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
        }
        if n == 1 {
            // Two contexts are as good as none.
            for n in [6, 7] {
                request.metadata_mut().append("traceparent", traceparent(n, "01").0.parse().expect("ascii"));
            }
        }
        let answer = c.payments.create_payment(request).await.expect("it is decided");
        assert!(answer.metadata().get("traceresponse").is_none() && answer.metadata().get("server-timing").is_none());
    }

    // A refusal ends its span with its code.
    let (parent, id) = traceparent(5, "01");
    let mut request = Request::new(payment("t5", "nobody", "USD", "1.00", "shop-usd"));
    request.metadata_mut().insert("traceparent", parent.parse().expect("ascii"));
    c.payments.create_payment(request).await.expect_err("nobody is unknown");
    let spans = receiver.trace(&id, CREATE).await;
    assert!(attribute(named(&spans, CREATE), "rpc.grpc.status_code").contains("IntValue(5)"));
    assert_eq!(receiver.count(), before + spans.len(), "what is not sampled is not sent");

    server.stop().await;
    tokio::task::spawn_blocking(move || drop(exporting)).await.expect("no panic");
}
