//! The exporter, which reports lost spans in the log at a limited rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::collector_client::LastError;

/// The minimum time between two warnings.
const REPEAT_AFTER: Duration = Duration::from_mins(1);

/// Exports spans, and logs a warning when an export fails.
#[derive(Debug)]
pub(super) struct ReportingExporter {
    inner: OtlpExporter,
    endpoint: String,
    last_error: Arc<LastError>,
    losses: Mutex<Losses>,
}

/// The spans that were lost.
#[derive(Debug, Default)]
struct Losses {
    spans: usize,
    reported: Option<Instant>,
}

impl Losses {
    /// Adds lost spans. Returns the number of spans to report, or `None` if the last report is too recent.
    fn add(&mut self, spans: usize, now: Instant) -> Option<usize> {
        self.spans += spans;
        if self.reported.is_some_and(|last| now.duration_since(last) < REPEAT_AFTER) {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.spans))
    }
}

impl ReportingExporter {
    pub(super) fn new(inner: OtlpExporter, endpoint: &str, last_error: Arc<LastError>) -> Self {
        Self { inner, endpoint: endpoint.to_owned(), last_error, losses: Mutex::default() }
    }
}

impl SpanExporter for ReportingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        if let Err(error) = &result {
            let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(spans) = losses.add(spans, Instant::now()) {
                let causes = self.last_error.take().unwrap_or_else(|| error.to_string());
                tracing::warn!(endpoint = self.endpoint, spans, causes, "failed to export traces");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_spans_are_reported_once_a_minute_with_their_number() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        assert_eq!(losses.add(3, start), Some(3));
        assert_eq!(losses.add(4, start), None);
        assert_eq!(losses.add(5, start + REPEAT_AFTER), Some(9));
        assert_eq!(losses.add(1, start + REPEAT_AFTER), None);
    }
}
