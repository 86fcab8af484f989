//! Traces in OpenTelemetry's protocol (OTLP over HTTP): a span for each request, with the hashing of
//! passwords and the reads and writes of the database as its children.
//!
//! Like the log, traces are global: the process has one exporter. They are off until [`start`] is called.
//! While they are off, a span costs one atomic load. A thread sends the ended spans in batches. Invariants:
//!
//! - A request never waits for the collector. The queue has a limit; further spans are dropped.
//! - A span contains no credential, no query string of a URL, and no value that is bound to a statement.

mod collector_client;
mod exporter;
mod traceparent;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, Key};
use opentelemetry_otlp::{ExporterBuildError, Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tokio::runtime::Handle;

use crate::audit;
use collector_client::{CollectorClient, InvalidEndpoint};
use exporter::ReportingExporter;

pub use opentelemetry::KeyValue;
pub use opentelemetry::trace::SpanContext;
pub use traceparent::{format_traceparent, parse_traceparent};

/// The maximum time for an attempt to send a batch. After this time, the exporter begins no further attempt.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long [`finish`] waits for the last batch. The shutdown of a server must stay below ten seconds.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The name of the service, unless the environment (`OTEL_SERVICE_NAME`) has another one.
const SERVICE: &str = "tripgate";

static TRACES: OnceLock<Traces> = OnceLock::new();

#[derive(Debug)]
struct Traces {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// The reason why traces can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartTracesError {
    /// The URL of the collector is not usable.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// A variable of the environment, such as `OTEL_EXPORTER_OTLP_COMPRESSION`, is not valid.
    #[error("failed to start the traces")]
    Exporter(#[from] ExporterBuildError),
}

/// Starts traces for the whole process. `endpoint` is the URL of the collector without `/v1/traces`. Must be
/// called within a Tokio runtime, on which the requests to the collector run. Further calls have no effect.
///
/// # Errors
///
/// [`StartTracesError`].
pub fn start(endpoint: &str) -> Result<(), StartTracesError> {
    let client = CollectorClient::new(endpoint, EXPORT_TIMEOUT, Handle::current())?;
    let last_error = client.last_error();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(ReportingExporter::new(exporter, endpoint, last_error))
        .with_resource(resource())
        .build();
    let tracer = provider.tracer(SERVICE);
    // An error means that traces have been started before.
    let _ = TRACES.set(Traces { tracer, provider });
    Ok(())
}

/// Returns the attributes that all spans share.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let detected = Resource::builder().build();
    let name = detected.get(&Key::from_static_str("service.name"));
    let builder = Resource::builder().with_attribute(version);
    match name {
        Some(name) if !name.as_str().starts_with("unknown_service") => builder.build(),
        _ => builder.with_service_name(SERVICE).build(),
    }
}

/// Sends the last spans. Waits for at most a second.
pub async fn finish() {
    let Some(traces) = TRACES.get() else { return };
    let flushed = tokio::task::spawn_blocking(|| traces.provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
    if !matches!(flushed, Ok(Ok(()))) {
        tracing::warn!("the last spans were not exported");
    }
}

/// A span that has not ended. It ends when it is dropped.
#[derive(Debug)]
pub struct ActiveSpan(Box<Span>);

impl ActiveSpan {
    /// Begins the span of a request, as a child of the span of the client. Returns `None` if traces are off.
    pub fn begin_request(parent: impl FnOnce() -> Option<SpanContext>) -> Option<Self> {
        let traces = TRACES.get()?;
        let parent = parent().map(|parent| Context::new().with_remote_span_context(parent));
        let builder = traces.tracer.span_builder("request").with_kind(SpanKind::Server);
        let span = traces.tracer.build_with_context(builder, &parent.unwrap_or_default());
        Some(Self(Box::new(span)))
    }

    /// Begins a span of the current request. Returns `None` if traces are off, outside of a request, and if
    /// the trace of the request is not sampled.
    pub fn begin(name: &'static str) -> Option<Self> {
        let traces = TRACES.get()?;
        let parent = audit::span_context().filter(SpanContext::is_sampled)?;
        let parent = Context::new().with_remote_span_context(parent);
        let span = traces.tracer.build_with_context(traces.tracer.span_builder(name), &parent);
        Some(Self(Box::new(span)))
    }

    /// Returns the ids of the span.
    pub fn context(&self) -> &SpanContext {
        self.0.span_context()
    }

    /// Returns whether the span is exported. Its name and attributes have no effect otherwise.
    pub fn is_recorded(&self) -> bool {
        self.0.is_recording()
    }

    /// Replaces the name.
    pub fn rename(&mut self, name: String) {
        self.0.update_name(name);
    }

    /// Sets an attribute.
    pub fn set(&mut self, attribute: KeyValue) {
        self.0.set_attribute(attribute);
    }

    /// Marks the span as failed.
    pub fn fail(&mut self) {
        self.0.set_status(Status::error(""));
    }
}
