//! The one shape of every error (RFC 9457).
//!
//! A [`Problem`] travels inside `poem::Error`, from wherever it arises to the edge, which writes it
//! out. What poem itself reports is turned into one here too. Nothing that a client sent is echoed,
//! and what the database or a library said goes to the log alone.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError, ResponseError};
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use super::body;
pub use super::problem_code::ProblemCode;
use crate::db::StoreError;
use crate::error_chain::chain;
use crate::passwords::Overloaded;

/// When a client should try again after a fault that ends by itself, in seconds.
const SOON_SECS: u64 = 2;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize)]
#[oai(rename = "FieldProblem")]
pub struct FieldError {
    /// Where: a JSON pointer into the body (RFC 6901), or `/` and the name of a query parameter or header.
    pub pointer: String,
    /// What kind of fault, for programs. The list may grow.
    pub code: String,
    /// What is allowed, for people.
    pub detail: String,
}

/// What went wrong, and what to do about it (RFC 9457).
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename = "Problem")]
pub struct ProblemBody {
    /// The page that explains this kind of problem, relative to the server's root.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// This problem in a sentence, for people.
    pub detail: String,
    /// The kind of problem, for programs. Stable; the list may grow.
    pub code: String,
    /// Names this request in the server's log.
    pub request_id: String,
    /// What an app does without reading the prose: `fix_input`, `refresh`, `reauthenticate`, `retry`
    /// or `none`. The list may grow.
    pub client_action: String,
    /// Everything that is wrong with the input. Present with status 422 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FieldError {
    /// What is wrong with the member that `pointer` leads to (RFC 6901).
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
    }

    /// The same of something that is part of a greater whole: `pointer` leads to it.
    #[must_use]
    pub fn under(self, pointer: &str) -> Self {
        Self { pointer: format!("{pointer}{}", self.pointer), ..self }
    }
}

impl Problem {
    /// A problem of that kind.
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), source: None }
    }

    /// A fault of ours; the cause is for the log.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "Something went wrong on our side. The request id finds it in the server's log.";
        Self { source: Some(source.into()), ..Self::new(ProblemCode::Internal, detail) }
    }

    /// Rules that the input breaks.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(ProblemCode::Invalid, "The request breaks rules; `errors` lists all of them.")
        }
    }

    /// With what is wrong with the input.
    #[must_use]
    pub(super) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same of something that is part of the input: `pointer` leads to it.
    #[must_use]
    pub fn under(mut self, pointer: &str) -> Self {
        self.errors = self.errors.into_iter().map(|fault| fault.under(pointer)).collect();
        self
    }

    /// No such thing, or not the caller's: nobody can tell which.
    pub fn not_found() -> Self {
        Self::new(ProblemCode::NotFound, "There is nothing here under this name that you may see.")
    }

    /// With one header more.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// With a cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Its kind.
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// As it is shown, under the id of the request.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("/problems/{}", self.code.slug()),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone().into_owned(),
            code: self.code.name().to_owned(),
            request_id: request_id.to_owned(),
            client_action: self.code.client_action().to_owned(),
            errors: (self.code.status() == 422).then(|| self.errors.clone()),
        }
    }

    /// As it is sent, under the id of the request.
    pub fn render(&self, request_id: &str) -> Response {
        let mut response = body::write(&self.body(request_id), "application/problem+json")
            .with_status(self.status())
            .into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The chain of causes, outermost first; empty where the client alone is at fault.
    pub fn causes(&self) -> String {
        self.source.as_ref().map_or_else(String::new, |source| chain(source.as_ref()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn as_response(&self) -> Response {
        self.render("")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::Conflict(_) => {
                Self::new(ProblemCode::Busy, "Too many changes at once; nothing was changed.").retry_after(1)
            }
            StoreError::Unavailable(_) | StoreError::LostWhileIdle(_) => {
                Self::new(ProblemCode::DatabaseUnavailable, "The database can't be reached at the moment.")
                    .retry_after(SOON_SECS)
            }
            StoreError::StorageFull(_) => {
                Self::new(ProblemCode::StorageFull, "There is no room left to write to; nothing was changed.")
                    .retry_after(30)
            }
            StoreError::UniqueViolation(_) | StoreError::ForeignKeyViolation(_) | StoreError::Other(_) => {
                return Self::internal(error);
            }
        };
        problem.caused_by(error)
    }
}

impl From<Overloaded> for Problem {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(ProblemCode::Overloaded, "Too many people are signing in at once; nothing was checked.")
            .retry_after(overloaded.retry_after_secs)
    }
}

/// Turns whatever poem reports into a problem.
pub fn from_poem(error: poem::Error) -> Problem {
    let error = match error.downcast::<Problem>() {
        Ok(problem) => return problem,
        Err(other) => other,
    };
    if error.is::<NotFoundError>()
        || error.is::<ParsePathError>()
        || error.is::<poem::error::ParsePathError>()
    {
        return Problem::not_found();
    }
    if error.is::<MethodNotAllowedError>() {
        return Problem::new(
            ProblemCode::MethodNotAllowed,
            "This method is not for this path; `Allow` lists those that are.",
        );
    }
    if error.is::<ContentTypeError>() {
        return Problem::new(
            ProblemCode::UnsupportedMediaType,
            "The body must be sent as `application/json`, or as a form where the document asks for one.",
        );
    }
    if let Some(fault) = error.downcast_ref::<ParseParamError>() {
        let detail = "is missing, or not of the documented form";
        return Problem::invalid(vec![FieldError::new(format!("/{}", fault.name), "invalid", detail)]);
    }
    if let Some(fault) = error.downcast_ref::<ReadBodyError>() {
        return match fault {
            ReadBodyError::PayloadTooLarge => too_large(body::BODY_MAX),
            _ => Problem::new(ProblemCode::BadRequest, "The body can't be read."),
        };
    }
    if error.is::<ParseRequestPayloadError>() {
        return Problem::new(ProblemCode::BadRequest, "The body can't be read.");
    }
    let status = error.status();
    if status.is_server_error() {
        return Problem::internal(error.to_string());
    }
    Problem::new(ProblemCode::BadRequest, "The request can't be understood.")
}

/// The body has more bytes than are taken.
pub fn too_large(most: usize) -> Problem {
    let detail = format!("The body is larger than is taken here ({} KiB).", most / 1024);
    Problem::new(ProblemCode::ContentTooLarge, detail)
}

/// The `Err` side of a handler. The parameters are the statuses that the operation adds to those
/// that every operation has: `Result<Json<T>, ProblemResponse<404, 409>>`.
#[derive(Debug)]
pub struct ProblemResponse<const A: u16 = 0, const B: u16 = 0, const C: u16 = 0>(Problem);

impl<E: Into<Problem>, const A: u16, const B: u16, const C: u16> From<E> for ProblemResponse<A, B, C> {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<const A: u16, const B: u16, const C: u16> From<ProblemResponse<A, B, C>> for poem::Error {
    fn from(fail: ProblemResponse<A, B, C>) -> Self {
        fail.0.into()
    }
}

impl<const A: u16, const B: u16, const C: u16> ApiResponse for ProblemResponse<A, B, C> {
    fn meta() -> MetaResponses {
        let declared = [A, B, C].into_iter().filter(|status| *status != 0);
        let response = |status| MetaResponse {
            description: ProblemCode::meaning(status),
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "application/problem+json",
                schema: ProblemBody::schema_ref(),
            }],
            headers: vec![],
        };
        MetaResponses { responses: declared.map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
