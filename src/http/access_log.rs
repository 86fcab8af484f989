//! The access log and the metrics of requests: one line for each request, and a warning for each slow
//! request.

use std::borrow::Cow;
use std::time::Duration;

use super::routes::route;
use crate::audit::RequestInfo;
use crate::metrics::{self, UNMATCHED};

/// A request whose response is complete.
#[derive(Debug)]
pub(super) struct FinishedRequest<'a> {
    pub(super) info: &'a RequestInfo,
    pub(super) method: &'a str,
    /// The path. It is redacted before it is logged, because it can contain a token.
    pub(super) path: &'a str,
    /// The id of the operation, if an operation handled the request.
    pub(super) operation: Option<&'static str>,
    pub(super) status: u16,
    pub(super) took: Duration,
}

impl FinishedRequest<'_> {
    /// Writes the log line of the request, and updates the metrics.
    pub(super) fn record(&self, slow: Duration) {
        let Self { info, method, operation, status, took, .. } = *self;
        let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let route = route(operation, self.path);
        metrics::request(method, route, status, took);
        tracing::info!(
            target: "tripgate::access",
            request_id = &*info.id,
            client_address = %info.address,
            method,
            path = &*redact_path(self.path),
            route = (route != UNMATCHED).then_some(route),
            status,
            latency_us,
            operation,
            user = info.user().map(display),
            session = info.session().map(display),
            trace_id = info.trace_id().map(display),
            span_id = info.span_id().map(display),
        );
        if took > slow {
            tracing::warn!(request_id = &*info.id, method, route, latency_us, "slow request");
        }
    }

    /// Returns the route, if the path has one.
    pub(super) fn route(&self) -> Option<&'static str> {
        Some(route(self.operation, self.path)).filter(|route| *route != UNMATCHED)
    }

    /// Returns the path without tokens.
    pub(super) fn redacted_path(&self) -> Cow<'_, str> {
        redact_path(self.path)
    }
}

/// Returns the path with `[long]` in place of each segment that is longer than an id, because such a segment
/// can be a token. If the path has more segments than the path of any operation, one `[long]` replaces all
/// segments after the first `MAX_SEGMENTS`.
fn redact_path(path: &str) -> Cow<'_, str> {
    const MAX_SEGMENT: usize = 40;
    const MAX_SEGMENTS: usize = 12;
    let is_short = |number: usize, segment: &str| number < MAX_SEGMENTS && segment.len() <= MAX_SEGMENT;
    let mut segments = path.split('/').enumerate();
    if segments.all(|(number, segment)| is_short(number, segment)) {
        return Cow::Borrowed(path);
    }
    let redacted = path.split('/').enumerate().take(MAX_SEGMENTS + 1);
    let redacted =
        redacted.map(|(number, segment)| if is_short(number, segment) { segment } else { "[long]" });
    Cow::Owned(redacted.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_path_is_not_logged() {
        // S-65
        assert_eq!(
            redact_path("/api/v1/trips/01a20107-0000-7000-8000-000000000000"),
            "/api/v1/trips/01a20107-0000-7000-8000-000000000000"
        );
        assert_eq!(redact_path(&format!("/api/v1/{}", "x".repeat(41))), "/api/v1/[long]");
        assert_eq!(redact_path(&"/x".repeat(11)), "/x".repeat(11));
        assert_eq!(redact_path(&"/x".repeat(9_000)), format!("{}/[long]", "/x".repeat(11)));
    }
}
