//! The span of a request, with the attributes of OpenTelemetry's semantic conventions for HTTP servers.
//!
//! The address of the client, the query, the headers and the body are not attributes. The path is redacted as
//! in the access log, so the span contains no token.

use poem::Request;
use poem::http::Version;
use poem::http::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::access_log::FinishedRequest;
use crate::metrics::known_method;
use crate::traces::{ActiveSpan, KeyValue, SpanContext, format_traceparent, parse_traceparent};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The response header with the ids of the request's span (W3C Trace Context, level 2, a draft).
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The span of a request whose response is not complete yet.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: ActiveSpan,
    is_https: bool,
    version: Version,
}

impl RequestSpan {
    /// Begins the span. Returns `None` if traces are off.
    pub(super) fn begin(request: &Request) -> Option<Box<Self>> {
        let span = ActiveSpan::begin_request(|| parent(request.headers()))?;
        let is_https = request.scheme().as_str() == "https";
        Some(Box::new(Self { span, is_https, version: request.version() }))
    }

    /// Returns the ids of the span.
    pub(super) fn context(&self) -> &SpanContext {
        self.span.context()
    }

    /// Adds the header with the ids of the span.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(format_traceparent(self.context())) {
            headers.insert(TRACE_RESPONSE, value);
        }
    }

    /// Ends the span. `public_url` is the URL of the server.
    pub(super) fn end(mut self, finished: &FinishedRequest<'_>, public_url: &str) {
        if !self.span.is_recorded() {
            return;
        }
        let method = known_method(finished.method);
        let route = finished.route();
        // A client chooses the text of an unknown method, so the text is not part of the name.
        let verb = if method == "_OTHER" { "HTTP" } else { method };
        let name = route.map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}"));
        self.span.rename(name);
        let attribute = |name: &'static str, value: &str| KeyValue::new(name, value.to_owned());
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.response.status_code", i64::from(finished.status)),
            KeyValue::new("url.scheme", if self.is_https { "https" } else { "http" }),
            attribute("url.path", &finished.redacted_path()),
            attribute("request_id", &finished.info.id),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route)));
        attributes.extend(version(self.version).map(|text| KeyValue::new("network.protocol.version", text)));
        attributes.extend(finished.operation.map(|operation| KeyValue::new("operation", operation)));
        attributes.extend(finished.info.user().map(|user| attribute("user.id", &user.to_string())));
        if let Ok(url) = Url::parse(public_url) {
            attributes.extend(url.host_str().map(|host| attribute("server.address", host)));
            attributes.extend(
                url.port_or_known_default().map(|port| KeyValue::new("server.port", i64::from(port))),
            );
        }
        if finished.status >= 500 {
            attributes.push(attribute("error.type", &finished.status.to_string()));
            self.span.fail();
        }
        for attribute in attributes {
            self.span.set(attribute);
        }
    }
}

/// Returns the span of the client, if the request has exactly one `traceparent` header with a valid value.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACE_PARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    parse_traceparent(value.to_str().ok()?)
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
