//! The outermost layer: whatever happens within, one kind of answer leaves.
//!
//! Gives every request its id, answers CORS preflights and what can't be accepted, catches panics,
//! turns every error into a problem, adds the headers that every response has, and writes the one
//! log line of the request. The query is never logged: it may hold what nobody should read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http_body::Body as _;
use http_body_util::combinators::BoxBody;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use poem_openapi::error::{ContentTypeError, ParseParamError};

use uuid::Uuid;

use super::deprecations::{self, DEPRECATED};
use super::path_table::PathTable;
use super::problem::{FieldError, Problem, ProblemCode, from_poem};
use crate::app::App;
use crate::audit;
use crate::clock::Clock;

/// The header that names a request, from the client or from here.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The id of a request that could be given none; can't happen.
const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");
/// The longest id that is taken from a client, in bytes.
const REQUEST_ID_MAX: usize = 128;
/// What a page of another origin may read of a response.
const EXPOSED: &str = "Deprecation, ETag, Idempotency-Replayed, Link, Location, Retry-After, Sunset, WWW-Authenticate, X-Request-Id";
/// What a page of another origin may send.
const ALLOWED: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id";

/// Where operations of the document lie.
const OPERATIONS: [&str; 3] = ["/api/", "/health/", "/.well-known/"];

/// The router with the edge around it.
pub(super) struct Middleware<O, P> {
    /// The operations of the document.
    pub(super) operations: O,
    /// Everything else.
    pub(super) pages: P,
    pub(super) app: App,
}

/// What of a request is needed after it was handed on.
struct RequestContext {
    id: HeaderValue,
    method: Method,
    path: String,
    origin: Option<HeaderValue>,
    started: Instant,
}

impl RequestContext {
    fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl<O: Endpoint, P: Endpoint> Endpoint for Middleware<O, P> {
    type Output = Response;

    // Combinators instead of `async`: the future is moved before it first runs, and this one
    // is a quarter as large.
    fn call(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let seen = RequestContext {
            id: self.request_id(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            origin: self.allowed_origin(request.headers()),
            started: Instant::now(),
        };
        if seen.method == Method::HEAD {
            request.set_method(Method::GET);
        }
        let answer = match short_circuit(&request, &seen) {
            Some(answer) => Either::Left(ready(answer.map_err(poem::Error::from))),
            None => Either::Right(audit::during(Arc::from(seen.id()), self.dispatch(request))),
        };
        answer.map(move |answer| {
            let mut response = answer.unwrap_or_else(|error| tell(problem_of(error, &seen), &seen));
            self.finish(&mut response, &seen);
            Ok(response)
        })
    }
}

impl<O: Endpoint, P: Endpoint> Middleware<O, P> {
    fn dispatch(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let path = request.uri().path();
        let is_operation = OPERATIONS.iter().any(|prefix| path.starts_with(prefix));
        request.set_data(self.app.clone());
        let answer = if is_operation {
            let answer = self.operations.call(request);
            Either::Left(answer.map(|answer| answer.map(IntoResponse::into_response)))
        } else {
            let answer = Box::pin(self.pages.call(request));
            Either::Right(answer.map(|answer| answer.map(IntoResponse::into_response)))
        };
        AssertUnwindSafe(answer).catch_unwind().map(|answer| match answer {
            Ok(answer) => answer,
            Err(panic) => {
                let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(Problem::internal(format!("a panic: {message}")).into())
            }
        })
    }

    fn finish(&self, response: &mut Response, seen: &RequestContext) {
        if seen.method == Method::HEAD {
            drop_body(response);
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, seen.id.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A phone may keep what it was given, but must ask whether it still holds; a proxy may not.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
        if !DEPRECATED.is_empty()
            && let Some(takes) = PathTable::known().takes(&seen.path, seen.method.as_str())
            && let Some(deprecation) = deprecations::of(DEPRECATED, &takes.id)
        {
            deprecation.tell(headers);
        }
        if let Some(origin) = &seen.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if !self.app.cors_origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        tracing::info!(
            target: "tripgate::access",
            request_id = seen.id(),
            method = seen.method.as_str(),
            path = &*redact_path(&seen.path),
            status = response.status().as_u16(),
            latency_us = u64::try_from(seen.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        );
    }

    /// The client's id if it is one that can be logged and sent back as it is.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let sane = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_MAX).contains(&bytes.len())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
        };
        if let Some(given) = headers.get(REQUEST_ID).filter(sane) {
            return given.clone();
        }
        let mut text = Uuid::encode_buffer();
        let made = self.app.clock.new_id().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(made).unwrap_or(UNKNOWN)
    }

    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let known = self.app.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }
}

/// What needs no handler: a preflight, or a request for something that is not JSON.
fn short_circuit(request: &Request, seen: &RequestContext) -> Option<Result<Response, Problem>> {
    let headers = request.headers();
    let is_preflight = seen.method == Method::OPTIONS
        && seen.origin.is_some()
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        return Some(Ok(preflight(&seen.path)));
    }
    let is_operation = || PathTable::known().allow(&seen.path).is_some();
    if seen.path.starts_with(super::API) && !accepts_json(headers) && is_operation() {
        return Some(Err(Problem::new(
            ProblemCode::NotAcceptable,
            "The API answers in JSON: send Accept: application/json.",
        )));
    }
    let query = request.uri().query().unwrap_or_default();
    if seen.path.starts_with(super::API) && is_garbled(query) {
        return Some(Err(Problem::new(ProblemCode::BadRequest, "The query is not in UTF-8.")));
    }
    if seen.path.starts_with(super::API) && has_duplicate_parameter(query) {
        return Some(Err(Problem::new(ProblemCode::BadRequest, "A query parameter stands there twice.")));
    }
    None
}

fn preflight(path: &str) -> Response {
    let methods = PathTable::known().allow(path).unwrap_or("GET, HEAD");
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)
        .header(header::ACCESS_CONTROL_MAX_AGE, "7200")
        .finish()
}

/// The problem within. Where the operation was sent something else than it takes, it says what that is.
fn problem_of(error: poem::Error, seen: &RequestContext) -> Problem {
    let takes = || PathTable::known().takes(&seen.path, seen.method.as_str());
    if error.is::<ContentTypeError>()
        && let Some(media) = takes().and_then(|takes| takes.media.as_deref())
    {
        let detail = format!("The body must be sent with `Content-Type: {media}`.");
        return Problem::new(ProblemCode::UnsupportedMediaType, detail);
    }
    if let Some(fault) = error.downcast_ref::<ParseParamError>()
        && let Some((name, allowed)) = takes().and_then(|takes| takes.parameter(fault.name))
    {
        return Problem::invalid(vec![FieldError::new(format!("/{name}"), "invalid", allowed)]);
    }
    from_poem(error)
}

/// Writes a problem, and its causes to the log: here and nowhere else.
fn tell(mut problem: Problem, seen: &RequestContext) -> Response {
    if problem.code() == ProblemCode::MethodNotAllowed
        && let Some(methods) = PathTable::known().allow(&seen.path)
    {
        problem = problem.with_header(header::ALLOW, methods);
    }
    let causes = problem.causes();
    if problem.code() == ProblemCode::Internal {
        tracing::error!(request_id = seen.id(), causes, "a request failed");
    } else if !causes.is_empty() {
        tracing::warn!(
            request_id = seen.id(),
            code = problem.code().name(),
            causes,
            "a request was turned away"
        );
    }
    problem.render(seen.id())
}

/// What the edge gives to every response, for a request that never reached it.
pub(super) fn refuse(problem: &Problem) -> Response {
    let id = Clock::system().new_id().to_string();
    let mut response = problem.render(&id);
    tracing::info!(target: "tripgate::access", request_id = id, status = response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).unwrap_or(UNKNOWN));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// HEAD answers as GET, with the length of what GET would send (RFC 9110 §9.3.2).
fn drop_body(response: &mut Response) {
    let body: BoxBody<Bytes, io::Error> = response.take_body().into();
    if let Some(length) = body.size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The path without whatever is longer than an identifier: somebody may have put a token there.
fn redact_path(path: &str) -> Cow<'_, str> {
    const LONGEST: usize = 40;
    if path.split('/').all(|segment| segment.len() <= LONGEST) {
        return Cow::Borrowed(path);
    }
    let cut = |segment: &str| if segment.len() <= LONGEST { segment.to_owned() } else { "[long]".to_owned() };
    Cow::Owned(path.split('/').map(cut).collect::<Vec<_>>().join("/"))
}

/// Whether what stands behind percent signs is no UTF-8: it is read as a replacement character.
fn is_garbled(query: &str) -> bool {
    let is_lost = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    query.contains('%')
        && url::form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| is_lost(&name) || is_lost(&value))
}

/// Whether a name stands twice in the query: parsers disagree about which one counts.
fn has_duplicate_parameter(query: &str) -> bool {
    let mut seen = HashSet::new();
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| !seen.insert(name))
}

/// Whether an `Accept` header leaves room for JSON (RFC 9110 §12.5.1); none at all accepts anything.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    if ranges.peek().is_none() {
        return true;
    }
    ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| {
            let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse::<f32>() == Ok(0.0))
        });
        let fits = matches!(
            essence.as_str(),
            "*/*" | "application/*" | "application/json" | "application/problem+json"
        );
        fits && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::EndpointExt;

    #[test]
    fn the_future_of_a_request_is_small() {
        fn future<'a, O: Endpoint + 'a, P: Endpoint + 'a, F>(
            _: (&'a O, &'a P),
            _: impl FnOnce(&'a Middleware<O, P>, Request) -> F,
        ) -> usize {
            size_of::<F>()
        }
        fn size<O: Endpoint, P: Endpoint>(operations: &O, pages: &P) -> usize {
            future((operations, pages), |edge: &Middleware<O, P>, request| edge.call(request))
        }
        let page = || poem::endpoint::make_sync(|_| Response::default());
        let size = size(&page().boxed(), &poem::Route::new().at("/", page()));
        assert!(size < 3 * size_of::<Request>(), "{size}");
    }

    #[test]
    fn a_token_in_the_path_is_not_logged() {
        // S-65
        assert_eq!(
            redact_path("/api/v1/trips/01a20107-0000-7000-8000-000000000000"),
            "/api/v1/trips/01a20107-0000-7000-8000-000000000000"
        );
        assert_eq!(redact_path(&format!("/api/v1/{}", "x".repeat(41))), "/api/v1/[long]");
    }

    #[test]
    fn a_name_that_stands_twice_is_seen_however_it_is_written() {
        assert!(has_duplicate_parameter("limit=1&%6cimit=2") && has_duplicate_parameter("a=1&b=2&a=3"));
        assert!(!has_duplicate_parameter("") && !has_duplicate_parameter("limit=1&cursor=limit"));
    }

    #[test]
    fn many_names_are_compared_in_no_time() {
        // S-75
        let many = (0..100_000).map(|name| name.to_string()).collect::<Vec<_>>().join("&");
        let begun = Instant::now();
        assert!(!has_duplicate_parameter(&many));
        assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    }

    #[test]
    fn accept_is_read_as_rfc_9110_says() {
        let accepts = |value: &'static str| {
            accepts_json(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]))
        };
        assert!(accepts_json(&HeaderMap::new()));
        for value in [
            "*/*",
            "application/json",
            "text/html, */*;q=0.8",
            "Application/JSON; charset=utf-8",
            "application/*",
        ] {
            assert!(accepts(value), "{value}");
        }
        for value in ["text/html", "application/json;q=0", "image/*, text/*", "application/xml"] {
            assert!(!accepts(value), "{value}");
        }
    }
}
