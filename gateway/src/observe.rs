//! Around every RPC: a request id, a span, a count by code, a time.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use arus_engine::{Engine, metrics::Times};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tonic::{
    Code, Response, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

use crate::{
    status::{code_name, late},
    traces::{self, Traced},
};

/// The header of a caller's deadline.
pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The header a request id is taken from and given back in.
pub const REQUEST_ID: &str = "x-request-id";
/// The longest request id that is taken over, in bytes.
const REQUEST_ID_MAX: usize = 64;
/// gRPC has codes 0 to 16.
const CODES: usize = 17;
/// Codes that are the server's failure, not its caller's; the alerts count the same.
const FAILURES: [Code; 6] =
    [Code::Unknown, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Internal, Code::Unavailable, Code::DataLoss];

/// What is counted of one method.
#[derive(Debug)]
pub struct MethodCells {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub times: Times,
    codes: [AtomicU64; CODES],
}

impl MethodCells {
    /// Calls that ended so, by code. Codes that never came are left out but for OK and the server's own failures: those
    /// begin at zero, or nobody who looks at a rate would see the first.
    pub fn codes(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.codes.iter().map(|cell| cell.load(Ordering::Relaxed));
        let all = (0..).zip(counts).map(|(code, count)| (Code::from_i32(code), count));
        all.filter(|(code, count)| *count > 0 || *code == Code::Ok || FAILURES.contains(code))
    }

    /// Whether it was ever called.
    pub fn is_used(&self) -> bool {
        self.codes.iter().any(|cell| cell.load(Ordering::Relaxed) > 0)
    }
}

/// What is counted of one service's methods.
#[derive(Debug)]
pub struct ServiceCells {
    /// Its name, as in `payments.v1.PaymentsService`.
    service: &'static str,
    methods: Vec<MethodCells>,
}

impl ServiceCells {
    /// Cells for these methods of a service.
    pub fn new(service: &'static str, methods: &[&'static str]) -> Self {
        let cells = |name: &&'static str| MethodCells {
            name,
            times: Times::default(),
            codes: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self { service, methods: methods.iter().map(cells).collect() }
    }

    /// All methods.
    pub fn methods(&self) -> &[MethodCells] {
        &self.methods
    }

    fn count(&self, method: &str, code: Code, took: Duration) {
        if let Some(cells) = self.methods.iter().find(|cells| cells.name == method) {
            cells.times.observe(took);
            if let Some(cell) = usize::try_from(i32::from(code)).ok().and_then(|code| cells.codes.get(code)) {
                cell.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Goes with an answer to a command: whether it had been given before. HTTP has other codes for it.
#[derive(Debug, Clone, Copy)]
pub struct Replayed(pub bool);

/// Runs one RPC inside a span with its ids until its deadline, counts it, and gives the request id back. Whatever was
/// submitted by then goes on: a deadline that passed means unknown.
pub fn rpc<'a, F>(
    engine: &Engine,
    cells: &'a ServiceCells,
    method: &'static str,
    (metadata, tx_id): (&MetadataMap, &str),
    call: F,
) -> Observed<'a, F> {
    let request_id = request_id(metadata).unwrap_or_else(|| engine.clock().new_id().to_string());
    let traced = traces::begin(metadata, cells.service, method);
    let trace_id = traced.as_ref().map(Traced::trace_id);
    let span = tracing::info_span!("rpc", method, request_id, tx_id = shown(tx_id), trace_id);
    let deadline = Some(tokio::time::sleep(deadline(engine, metadata)));
    Observed { call, deadline, span, traced, cells, method, request_id, started: Instant::now() }
}

pin_project! {
    /// An RPC under way. A future of its own, because one async function around another holds it twice.
    pub struct Observed<'a, F> {
        #[pin]
        call: F,
        #[pin]
        deadline: Option<Sleep>,
        span: tracing::Span,
        traced: Option<Traced>,
        cells: &'a ServiceCells,
        method: &'static str,
        request_id: String,
        started: Instant,
    }
}

impl<F> Observed<'_, F> {
    /// For a call that has something to say when its deadline passes, and keeps it by itself.
    pub(crate) fn keeps_its_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }
}

impl<T, F: Future<Output = Result<T, Status>>> Future for Observed<'_, F> {
    type Output = Result<Response<T>, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _in_span = this.span.enter();
        let _in_trace = this.traced.as_ref().map(Traced::enter);
        let result = match this.call.poll(context) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let Some(deadline) = this.deadline.as_pin_mut() else { return Poll::Pending };
                ready!(deadline.poll(context));
                Err(late())
            }
        };
        let (code, took) = (result.as_ref().err().map_or(Code::Ok, Status::code), this.started.elapsed());
        if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
            tracing::error!(code = code_name(code), "an rpc failed inside the server");
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(code = code_name(code), took_us, "answered");
        this.cells.count(this.method, code, took);
        let id = this.request_id.parse().ok().map(|mut id: AsciiMetadataValue| {
            // No two are alike: the connection's header table need not learn it.
            id.set_sensitive(true);
            id
        });
        let traced = this.traced.take();
        let tell = |metadata: &mut MetadataMap| {
            id.and_then(|id| metadata.insert(REQUEST_ID, id));
            traced.into_iter().for_each(|traced| traced.end(code.into(), metadata));
        };
        Poll::Ready(match result {
            Ok(answer) => {
                let mut response = Response::new(answer);
                tell(response.metadata_mut());
                Ok(response)
            }
            Err(mut status) => {
                tell(status.metadata_mut());
                Err(status)
            }
        })
    }
}

/// A tx_id fit for a log line: malformed ones are not repeated there.
fn shown(tx_id: &str) -> &str {
    if arus_engine::money::TxId::parse(tx_id).is_ok() { tx_id } else { "" }
}

fn request_id(metadata: &MetadataMap) -> Option<String> {
    let id = metadata.get(REQUEST_ID)?.to_str().ok()?;
    is_request_id(id.as_bytes()).then(|| id.to_owned())
}

/// Whether a caller's request id may be taken over.
pub fn is_request_id(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.iter().all(u8::is_ascii_graphic)
}

/// How long a caller waits: what it says, within what the server allows.
pub(crate) fn deadline(engine: &Engine, metadata: &MetadataMap) -> Duration {
    let default = Duration::from_millis(engine.config().deadline_default_ms);
    timeout(metadata).unwrap_or(default).min(default)
}

/// How long a caller says that it waits.
pub(crate) fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    parse_timeout(metadata.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// A deadline as gRPC over HTTP/2 writes it: up to eight digits and a unit.
pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(amount.saturating_mul(3_600))),
        "M" => Some(Duration::from_secs(amount.saturating_mul(60))),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_deadlines_as_grpc_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "123456789S", "-1S", "1s", "1.5S"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
