//! The middleware around all routes.
//!
//! Assigns the request id, responds to CORS preflights and to requests that no handler could accept, catches
//! panics, converts every error to a problem, adds the common response headers, and writes one access log
//! line for each request. The query is never logged, because it can contain secrets.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, ready};
use http_body::Body as _;
use http_body_util::combinators::BoxBody;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use poem_openapi::OperationId;
use poem_openapi::error::{ContentTypeError, ParseParamError};

use uuid::Uuid;

use super::access_log::FinishedRequest;
use super::account_pages::is_association;
use super::compression::{Accepted, compress};
use super::path_table::PathTable;
use super::proxy_warnings::ProxyWarnings;
use super::query::{has_duplicate_parameter, is_not_utf_8, unknown_parameters};
use super::request_span::RequestSpan;
use crate::audit::{self, RequestInfo};
use crate::clock::Clock;
use crate::metrics::ActiveRequest;
use crate::repeated_warnings::RepeatedWarnings;
use crate::web::accept::{self, Representation};
use crate::web::body_budget::BodyBudget;
use crate::web::caller::Authentication;
use crate::web::client_address::TrustedProxies;
use crate::web::field_label::field_label;
use crate::web::idempotency_key::HEADER as IDEMPOTENCY_KEY;
use crate::web::page;
use crate::web::problem::{FieldError, Problem, ProblemCode, from_poem};
use crate::web::{API, SHARED_LINKS};

/// The header with the id of a request, which the client or the server assigns.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The id of a request if the generated id is not a valid header value, which can't happen.
pub(super) const UNKNOWN: HeaderValue = HeaderValue::from_static("unknown");
/// The maximum length of a request id that a client assigns, in bytes.
const REQUEST_ID_MAX: usize = 128;
/// The response headers that a page of another origin may read.
const EXPOSED: &str = "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, Traceresponse, WWW-Authenticate, X-Request-Id";
/// The request headers that a page of another origin may send.
const ALLOWED: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Traceparent, Tracestate, X-Request-Id";

/// The path prefixes of the documented operations.
const OPERATIONS: [&str; 3] = ["/api/", "/health/", "/.well-known/"];

/// The routes with the middleware around them.
pub(super) struct Middleware<O, P> {
    /// The documented operations.
    pub(super) operations: O,
    /// All other routes.
    pub(super) pages: P,
    pub(super) authentication: Arc<Authentication>,
    pub(super) bodies: Arc<BodyBudget>,
    pub(super) clock: Clock,
    pub(super) cors_origins: Vec<String>,
    /// Whether the documentation is served, so that pages can link to it.
    pub(super) docs: bool,
    pub(super) proxies: TrustedProxies,
    pub(super) public_url: String,
    pub(super) proxy_warnings: ProxyWarnings,
    /// The duration above which a request is logged as slow.
    pub(super) slow_request: Duration,
    pub(super) repeated_warnings: RepeatedWarnings<&'static str>,
}

/// The parts of a request that are needed for its response.
struct RequestContext {
    id: HeaderValue,
    info: Arc<RequestInfo>,
    method: Method,
    path: String,
    origin: Option<HeaderValue>,
    representation: Representation,
    encodings: Accepted,
    started: Instant,
    span: Option<Box<RequestSpan>>,
    _active: ActiveRequest,
}

impl RequestContext {
    fn id(&self) -> &str {
        &self.info.id
    }

    /// Returns whether a client that prefers HTML gets a page for an error of this request. This applies to
    /// share links, and to every path outside of the API that has no documented operation.
    fn has_pages(&self) -> bool {
        let is_api = self.path.strip_prefix(API).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.path.starts_with(SHARED_LINKS) || !is_api && !PathTable::get().has_operations(&self.path)
    }
}

impl<O: Endpoint, P: Endpoint> Endpoint for Middleware<O, P> {
    type Output = Response;

    // This function uses combinators instead of `async`, because the caller moves the future before its first
    // poll, and the future of an `async` function would be four times as large.
    fn call(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let identified = self.proxies.identify(&request);
        self.proxy_warnings.observe(&request, identified);
        request.set_data(identified.client);
        let id = self.request_id(request.headers());
        let span = RequestSpan::begin(&request);
        let span_context = span.as_ref().map(|span| span.context().clone());
        let mut context = RequestContext {
            info: RequestInfo::new(id.to_str().unwrap_or_default(), identified.client.0, span_context),
            id,
            span,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            origin: self.allowed_origin(request.headers()),
            representation: Representation::preferred(request.headers()),
            encodings: Accepted::of(request.headers()),
            started: Instant::now(),
            _active: ActiveRequest::begin(),
        };
        if context.method == Method::HEAD {
            request.set_method(Method::GET);
        }
        let result = match short_circuit(&mut request, &context) {
            Some(result) => Either::Left(ready(result.map_err(poem::Error::from))),
            None => Either::Right(audit::in_request(Arc::clone(&context.info), self.dispatch(request))),
        };
        result.map(move |result| {
            let operation = operation(&result);
            let mut response =
                result.unwrap_or_else(|error| self.render(to_problem(error, &context), &context));
            self.finish(&mut response, &mut context, operation);
            Ok(response)
        })
    }
}

impl<O: Endpoint, P: Endpoint> Middleware<O, P> {
    /// Calls the operation or the page, and converts a panic to an error.
    fn dispatch(&self, mut request: Request) -> impl Future<Output = Result<Response>> + Send {
        let path = request.uri().path();
        let is_operation = OPERATIONS.iter().any(|prefix| path.starts_with(prefix)) && !is_association(path);
        request.set_data(Arc::clone(&self.authentication));
        if request.method() != Method::GET {
            request.set_data(Arc::clone(&self.bodies));
        }
        let response = if is_operation {
            let response = self.operations.call(request);
            Either::Left(response.map(|result| result.map(IntoResponse::into_response)))
        } else {
            let response = Box::pin(self.pages.call(request));
            Either::Right(response.map(|result| result.map(IntoResponse::into_response)))
        };
        AssertUnwindSafe(response).catch_unwind().map(|outcome| match outcome {
            Ok(result) => result,
            Err(panic) => {
                let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(Problem::internal(format!("a handler panicked: {message}")).into())
            }
        })
    }

    /// Renders a problem, and logs its causes. This is the only place where errors of requests are logged.
    fn render(&self, mut problem: Problem, context: &RequestContext) -> Response {
        if problem.code() == ProblemCode::MethodNotAllowed
            && let Some(methods) = PathTable::get().allow(&context.path)
        {
            problem = problem.with_header(header::ALLOW, methods);
        }
        let causes = problem.causes();
        if problem.code() == ProblemCode::Internal {
            tracing::error!(request_id = context.id(), causes, "request failed with an internal error");
        } else if !causes.is_empty() {
            let code = problem.code().name();
            if let Some(left_out) = self.repeated_warnings.admit(code, Instant::now()) {
                let left_out = (left_out > 0).then_some(left_out);
                tracing::warn!(request_id = context.id(), code, causes, left_out, "request rejected");
            }
        }
        if !context.has_pages() {
            return problem.render(context.id());
        }
        let home = (self.docs && !context.path.starts_with(SHARED_LINKS)).then_some("docs");
        let mut response = match context.representation {
            Representation::Json => problem.render(context.id()),
            Representation::Html => {
                if problem.code() == ProblemCode::NotFound && !context.path.starts_with(SHARED_LINKS) {
                    problem = Problem::new(ProblemCode::NotFound, "There is no page at this address.");
                }
                page::problem::page(&problem, &context.path, context.id(), home)
            }
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
        response
    }

    /// Adds the common headers and writes the access log line.
    fn finish(&self, response: &mut Response, context: &mut RequestContext, operation: Option<&'static str>) {
        let span = context.span.take();
        if matches!(context.method, Method::GET | Method::HEAD) {
            compress(response, context.encodings, &context.path);
        }
        if context.method == Method::HEAD {
            drop_body(response);
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.id.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A client may store a response, but must revalidate it. A proxy must not store it.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
        if let Some(origin) = &context.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if !self.cors_origins.is_empty() {
            let known = headers.get(header::VARY).and_then(|value| value.to_str().ok());
            let vary = known.map_or_else(|| "Origin".to_owned(), |known| format!("{known}, Origin"));
            if let Ok(vary) = HeaderValue::try_from(vary) {
                headers.insert(header::VARY, vary);
            }
        }
        if let Some(span) = &span {
            span.mark(headers);
        }
        let finished = FinishedRequest {
            info: &context.info,
            method: context.method.as_str(),
            path: &context.path,
            operation,
            status: response.status().as_u16(),
            took: context.started.elapsed(),
        };
        finished.record(self.slow_request);
        if let Some(span) = span {
            span.end(&finished, &self.public_url);
        }
    }

    /// Returns the request id from the client if it is safe to log and send back, or a new request id.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let is_safe = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_MAX).contains(&bytes.len())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
        };
        if let Some(id) = headers.get(REQUEST_ID).filter(is_safe) {
            return id.clone();
        }
        let mut buffer = Uuid::encode_buffer();
        let id = self.clock.new_id().hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(id).unwrap_or(UNKNOWN)
    }

    /// Returns the origin of the request if it is allowed.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let is_allowed = self.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        is_allowed.then(|| origin.clone())
    }
}

/// Returns the id of the operation that has handled the request.
fn operation(result: &Result<Response>) -> Option<&'static str> {
    let id = match result {
        Ok(response) => response.data::<OperationId>(),
        Err(error) => error.data::<OperationId>(),
    };
    id.map(|id| id.0)
}

/// Responds to requests that need no handler: preflights, requests that do not accept JSON, requests with an
/// `Idempotency-Key` that the operation does not support, and malformed queries. Attaches the unknown query
/// parameters of an operation that requires a credential to the request, because the operation reports them
/// only after the authentication.
fn short_circuit(request: &mut Request, context: &RequestContext) -> Option<Result<Response, Problem>> {
    let headers = request.headers();
    let is_preflight = context.method == Method::OPTIONS
        && context.origin.is_some()
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        return Some(Ok(preflight(&context.path)));
    }
    let is_operation = || PathTable::get().allow(&context.path).is_some();
    let is_link = context.path.starts_with(SHARED_LINKS);
    let is_acceptable = accept::accepts_json(headers) || is_link && accept::accepts_html(headers);
    if context.path.starts_with(API) && !is_acceptable && is_operation() {
        let detail = if is_link {
            "The trip is available as JSON or as an HTML page. Send Accept: application/json or text/html."
        } else {
            "The API returns JSON only. Send Accept: application/json."
        };
        return Some(Err(Problem::new(ProblemCode::NotAcceptable, detail)));
    }
    if context.path.starts_with(API) && headers.contains_key(IDEMPOTENCY_KEY) && ignores_keys(context) {
        // Do not ignore the header: the client would believe that it can safely repeat the request.
        let detail = "This operation does not accept an Idempotency-Key. Send the request without it.";
        return Some(Err(Problem::new(ProblemCode::BadRequest, detail)));
    }
    let query = request.uri().query().unwrap_or_default();
    if context.path.starts_with(API) && is_not_utf_8(query) {
        return Some(Err(Problem::new(ProblemCode::BadRequest, "The query is not encoded in UTF-8.")));
    }
    let operation = || PathTable::get().operation(&context.path, context.method.as_str());
    let may_repeat = |name: &str| operation().is_some_and(|operation| operation.is_list(name));
    if context.path.starts_with(API) && has_duplicate_parameter(query, may_repeat) {
        return Some(Err(Problem::new(
            ProblemCode::BadRequest,
            "The query contains a parameter more than once.",
        )));
    }
    if let Some(operation) = Some(query).filter(|query| !query.is_empty()).and_then(|_| operation())
        && let Some(unknown) = unknown_parameters(query, operation)
    {
        if operation.is_public {
            return Some(Err(unknown.into_problem()));
        }
        request.set_data(unknown);
    }
    None
}

/// Returns whether the request is for an operation that has no parameter `Idempotency-Key`.
fn ignores_keys(context: &RequestContext) -> bool {
    let operation = PathTable::get().operation(&context.path, context.method.as_str());
    operation.is_some_and(|operation| operation.parameter(IDEMPOTENCY_KEY).is_none())
}

fn preflight(path: &str) -> Response {
    let methods = PathTable::get().allow(path).unwrap_or("GET, HEAD");
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
        .header(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)
        .header(header::ACCESS_CONTROL_MAX_AGE, "7200")
        .finish()
}

/// Converts an error to a problem. For a wrong media type or parameter, the problem names what the operation
/// accepts.
fn to_problem(error: poem::Error, context: &RequestContext) -> Problem {
    let operation = || PathTable::get().operation(&context.path, context.method.as_str());
    if error.is::<ContentTypeError>()
        && let Some(media_type) = operation().and_then(|operation| operation.media_type.as_deref())
    {
        let detail = format!("The request body must be sent with Content-Type: {media_type}.");
        return Problem::new(ProblemCode::UnsupportedMediaType, detail);
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>()
        && let Some((name, rule)) = operation().and_then(|operation| operation.parameter(error.name))
    {
        let pointer = format!("/{name}");
        let detail = format!("{} {rule}.", field_label(&pointer));
        return Problem::invalid(vec![FieldError::new(pointer, "invalid", detail)]);
    }
    from_poem(error)
}

/// Removes the body of a response to HEAD, and keeps its length (RFC 9110 §9.3.2).
fn drop_body(response: &mut Response) {
    let body: BoxBody<Bytes, io::Error> = response.take_body().into();
    if let Some(length) = body.size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::EndpointExt;

    #[test]
    fn a_request_in_progress_occupies_little_memory() {
        fn future<'a, O: Endpoint + 'a, P: Endpoint + 'a, F>(
            _: (&'a O, &'a P),
            _: impl FnOnce(&'a Middleware<O, P>, Request) -> F,
        ) -> usize {
            size_of::<F>()
        }
        fn size<O: Endpoint, P: Endpoint>(operations: &O, pages: &P) -> usize {
            future((operations, pages), |middleware: &Middleware<O, P>, request| middleware.call(request))
        }
        let page = || poem::endpoint::make_sync(|_| Response::default());
        let size = size(&page().boxed(), &poem::Route::new().at("/", page()));
        assert!(size < 3 * size_of::<Request>(), "{size}");
    }
}
