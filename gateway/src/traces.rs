//! OpenTelemetry: one trace per traced payment, from its RPC through actors and journal, sent by OTLP over gRPC.
//!
//! A call is traced if its caller's W3C `traceparent` says so, or, where traces are exported, one in so many of those
//! that say nothing. Its answer tells `traceresponse` and `server-timing`. Spans wait in a bounded queue; what does not
//! fit is dropped, and no payment ever waits for a collector.

use std::{
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use arus_engine::trace::{Entered, Kind, Step, Trace};
use opentelemetry::{
    Context, ContextGuard, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan},
};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::config::TraceSettings;

/// W3C Trace Context: who calls.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context: what the caller's tracing system says besides.
pub const TRACESTATE: &str = "tracestate";
/// W3C Trace Context, level 2: which trace the answer belongs to.
pub const TRACERESPONSE: &str = "traceresponse";
/// W3C Server Timing: how long each step took.
pub const SERVER_TIMING: &str = "server-timing";
/// Spans that wait for the collector; more are dropped.
const SPANS_WAITING_MAX: usize = 1 << 14;
/// How often they are sent.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take for a batch.
const EXPORT_MAX: Duration = Duration::from_secs(5);

/// Makes the spans of this process.
struct Tracing {
    tracer: SdkTracer,
    /// Of calls that say nothing one in so many is traced; 0 is none.
    sample_one_in: u64,
    calls: AtomicU64,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

impl Tracing {
    fn new(provider: &SdkTracerProvider, sample_one_in: u64) -> Self {
        Self { tracer: provider.tracer("arus"), sample_one_in, calls: AtomicU64::new(0) }
    }

    /// Spans that go nowhere: callers who trace still get their answer's timings.
    fn unexported() -> Self {
        Self::new(&SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).build(), 0)
    }

    fn is_sampled(&self) -> bool {
        self.sample_one_in > 0 && self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample_one_in)
    }
}

/// Exports what is traced until it is dropped.
pub struct Exporting(SdkTracerProvider);

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(EXPORT_MAX) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Exports traces of this process if an endpoint is set. Must run within a tokio runtime, which the export uses.
pub fn install(settings: &TraceSettings) -> anyhow::Result<Option<Exporting>> {
    if settings.endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&settings.endpoint).with_timeout(EXPORT_MAX);
    let exporter = exporter.build().with_context(|| format!("trace.endpoint is {}", settings.endpoint))?;
    let queue = BatchConfigBuilder::default().with_max_queue_size(SPANS_WAITING_MAX);
    let queue = queue.with_scheduled_delay(EXPORT_EVERY).build();
    let resource = Resource::builder()
        .with_service_name("arus")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource)
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
        .build();
    let is_first = TRACING.set(Tracing::new(&provider, settings.sample_one_in)).is_ok();
    anyhow::ensure!(is_first, "traces are exported by this process already");
    Ok(Some(Exporting(provider)))
}

/// What is traced: its span, and the times its steps note.
pub struct Traced {
    span: SdkSpan,
    began: SystemTime,
    /// Where the engine notes its steps.
    pub trace: Arc<Trace>,
}

/// Begins the span of an RPC, if it is to be traced.
pub fn begin(metadata: &MetadataMap, service: &'static str, method: &'static str) -> Option<Traced> {
    let tracing = TRACING.get_or_init(Tracing::unexported);
    // Two are none, and so is a malformed one (W3C Trace Context, section 3.2); the propagator takes some of those.
    let mut parents = metadata.get_all(TRACEPARENT).iter();
    let is_one = parents.next().is_some_and(|parent| is_traceparent(parent.as_bytes())) && parents.next().is_none();
    let parent = match is_one {
        true => TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(metadata)),
        false => Context::new(),
    };
    let caller = parent.span().span_context().clone();
    let is_traced = if caller.is_valid() { caller.is_sampled() } else { tracing.is_sampled() };
    is_traced.then(|| {
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", method),
        ];
        tracing.begin(format!("{service}/{method}"), SpanKind::Server, &parent, attributes)
    })
}

/// Whether this is `version-trace_id-parent_id-flags`, each in so many lower-case hexadecimal digits; later versions
/// may go on.
fn is_traceparent(text: &[u8]) -> bool {
    let lengths = [2, 32, 16, 2];
    let mut parts = text.split(|byte| *byte == b'-');
    let is_hex = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let is_shaped = lengths.iter().all(|length| parts.next().is_some_and(|part| part.len() == *length && is_hex(part)));
    is_shaped && (parts.next().is_none() || !text.starts_with(b"00"))
}

/// The traced call that this thread works for.
pub fn current() -> Option<Context> {
    Some(Context::current()).filter(Context::has_active_span)
}

/// Begins the span of one payment of many in a traced call.
pub fn begin_item(call: &Context) -> Traced {
    TRACING.get_or_init(Tracing::unexported).begin("payment".into(), SpanKind::Internal, call, [])
}

impl Tracing {
    fn begin(
        &self,
        name: String,
        kind: SpanKind,
        parent: &Context,
        attributes: impl IntoIterator<Item = KeyValue>,
    ) -> Traced {
        let began = SystemTime::now();
        let span = self.tracer.span_builder(name).with_kind(kind).with_start_time(began);
        let span = span.with_attributes(attributes).start_with_context(&self.tracer, parent);
        Traced { span, began, trace: Trace::begin() }
    }
}

impl Traced {
    /// What this thread does belongs to it until the guards go.
    pub fn enter(&self) -> (Entered, ContextGuard) {
        (Trace::enter(&self.trace), self.context().attach())
    }

    /// What lies under it.
    fn context(&self) -> Context {
        Context::new().with_remote_span_context(self.span.span_context().clone())
    }

    /// Its trace's id, as logs show it.
    pub fn trace_id(&self) -> String {
        self.span.span_context().trace_id().to_string()
    }

    /// Ends the span and makes one of each step; `code` is gRPC's, 0 is OK. Tells the caller what the answer belongs to.
    pub fn end(mut self, code: i32, metadata: &mut MetadataMap) {
        let steps = self.finish(code);
        let context = self.span.span_context();
        let (trace_id, span_id) = (context.trace_id(), context.span_id());
        tell(metadata, TRACERESPONSE, &format!("00-{trace_id}-{span_id}-01"));
        if !steps.is_empty() {
            tell(metadata, SERVER_TIMING, &server_timing(&steps, &self.trace));
        }
    }

    /// Ends the span of one payment of many.
    pub fn end_item(mut self, code: i32) {
        self.finish(code);
    }

    fn finish(&mut self, code: i32) -> Vec<Step> {
        let steps = self.trace.steps();
        let parent = self.context();
        if let Some(tracing) = TRACING.get() {
            for step in &steps {
                let kind = match step.kind {
                    Kind::Wait => "wait",
                    Kind::Work => "work",
                };
                let span = tracing.tracer.span_builder(name(step)).with_start_time(self.began + step.from);
                let attributes = [KeyValue::new("arus.place", step.place), KeyValue::new("arus.step", kind)];
                let mut span = span.with_attributes(attributes).start_with_context(&tracing.tracer, &parent);
                span.end_with_timestamp(self.began + step.to);
            }
        }
        self.span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
        if let Some(block) = self.trace.block() {
            self.span.set_attribute(KeyValue::new("arus.block.first_lsn", block.first_lsn.cast_signed()));
            self.span.set_attribute(KeyValue::new("arus.block.entries", block.entries.cast_signed()));
        }
        if code != 0 {
            self.span.set_status(Status::error(format!("gRPC status code {code}")));
        }
        self.span.end();
        steps
    }
}

/// `wallet.hold`, and `wallet.hold.wait` for the time before it.
fn name(step: &Step) -> String {
    let suffix = if step.kind == Kind::Wait { ".wait" } else { "" };
    format!("{}.{}{suffix}", step.place, step.what)
}

/// All steps in milliseconds, and the block as the description of its sync.
fn server_timing(steps: &[Step], trace: &Trace) -> String {
    let mut text = String::with_capacity(steps.len() * 32);
    for step in steps {
        let separator = if text.is_empty() { "" } else { ", " };
        let took_ms = step.to.saturating_sub(step.from).as_secs_f64() * 1e3;
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{};dur={took_ms:.3}", name(step));
        if let Some(block) = trace.block().filter(|_| step.what == "write_and_sync") {
            let last = block.first_lsn.saturating_add(block.entries.saturating_sub(1));
            let _ = write!(text, ";desc=\"block of entries {} to {last}\"", block.first_lsn);
        }
    }
    text
}

fn tell(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    if let Ok(mut value) = value.parse::<AsciiMetadataValue>() {
        // No two are alike: the connection's header table need not learn it.
        value.set_sensitive(true);
        metadata.insert(name, value);
    }
}

/// Where the caller's context stands.
struct Carrier<'a>(&'a MetadataMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        [TRACEPARENT, TRACESTATE].into_iter().filter(|key| self.0.contains_key(*key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::is_traceparent;

    #[test]
    fn a_malformed_parent_is_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(
            is_traceparent(good.as_bytes())
                && is_traceparent(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
        );
        for bad in [
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "",
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }
}
