//! Problem details (RFC 9457), the form of every error response.
//!
//! A handler returns a [`Problem`] inside a `poem::Error`, and the middleware renders it. Errors of poem
//! itself are converted here too. The sentences of a problem never repeat input; only a pointer can contain
//! the name of an unknown field or parameter. Messages of the database and of libraries are only logged.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use poem::Response;
use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError, ResponseError};
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use super::field_label::field_label;
pub use super::problem_code::ProblemCode;
use crate::db::StoreError;
use crate::error_chain::error_chain;
use crate::passwords::Overloaded;

/// The `Retry-After` while the database is unavailable, in seconds.
const UNAVAILABLE_RETRY_SECS: u64 = 2;

/// The maximum number of errors that a problem lists.
pub const MAX_FIELD_ERRORS: usize = 100;

/// An error in one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize)]
#[oai(rename = "FieldProblem")]
pub struct FieldError {
    /// The field: a JSON pointer into the body (RFC 6901), or `/` and the name of a query parameter or
    /// header.
    pub pointer: String,
    /// The kind of error, for programs. The list may grow.
    pub code: String,
    /// What is wrong and how to correct it, as a sentence that an app can show to its user.
    pub detail: String,
}

/// An error response (RFC 9457).
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename = "Problem")]
pub struct ProblemBody {
    /// The page that explains this kind of problem, as a path on this server.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// What happened, as a sentence that an app can show to its user.
    pub detail: String,
    /// The kind of problem, for programs. Existing codes never change; the list of codes may grow.
    pub code: String,
    /// The id of this request, which the server's log contains too.
    pub request_id: String,
    /// What the app can do: `fix_input`, `refresh`, `reauthenticate`, `step_up`, `retry` or `none`. The list may grow.
    pub client_action: String,
    /// The errors in the input, at most 100. Present only with status 422.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldError>>,
    /// The token that continues the login with a second factor, in `POST /api/v1/auth/login/mfa`. Present only if a
    /// login returns `mfa_required`. Valid once, for 5 minutes and 5 attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_token: Option<String>,
    /// The second factors that the user has: `totp`, `recovery_code` and `passkey`. The list may grow. Present only
    /// with `mfa_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// `true` if the input has more errors than `errors` lists. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors_truncated: Option<bool>,
}

/// An error that becomes an error response.
#[derive(Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// Whether the input has more errors than `errors` contains.
    is_truncated: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The token and the methods of a login that continues with a second factor.
    mfa: Option<Box<(String, Vec<String>)>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FieldError {
    /// Creates an error for the field at `pointer` (RFC 6901). `detail` is a full sentence for the user.
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
    }

    /// Puts `pointer` before the pointer of the error, for a value that is nested at `pointer`.
    #[must_use]
    pub fn under(self, pointer: &str) -> Self {
        Self { pointer: format!("{pointer}{}", self.pointer), ..self }
    }
}

impl Problem {
    /// Creates a problem. `detail` is a full sentence for the user.
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (errors, headers) = (Vec::new(), Vec::new());
        Self { code, detail: detail.into(), errors, is_truncated: false, headers, mfa: None, source: None }
    }

    /// Creates a problem for an internal error. The source is logged and not sent.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "Something went wrong on the server. Please try again later.";
        Self { source: Some(source.into()), ..Self::new(ProblemCode::Internal, detail) }
    }

    /// Creates a problem for invalid input. If there is only one error, its detail is also the detail of the
    /// problem.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [error] => Cow::Owned(error.detail.clone()),
            _ => Cow::Borrowed("Some of the input is not valid. Please correct it and try again."),
        };
        let mut problem = Self { errors, ..Self::new(ProblemCode::Invalid, detail) };
        problem.limit_errors(MAX_FIELD_ERRORS);
        problem
    }

    /// Sets the errors in the input.
    #[must_use]
    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Removes the errors after the first `max`. Returns the number of errors that remain.
    pub(crate) fn limit_errors(&mut self, max: usize) -> usize {
        self.is_truncated |= self.errors.len() > max;
        self.errors.truncate(max);
        self.errors.len()
    }

    /// Puts `pointer` before the pointers of all errors, for a value that is nested at `pointer`.
    #[must_use]
    pub fn under(mut self, pointer: &str) -> Self {
        self.errors = self.errors.into_iter().map(|error| error.under(pointer)).collect();
        self
    }

    /// Creates a 404 problem, which is the same for a missing resource and for a resource of another user.
    pub fn not_found() -> Self {
        Self::new(ProblemCode::NotFound, "This was not found. It may have been deleted.")
    }

    /// Adds a response header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// Sets the token and the methods of a login that continues with a second factor.
    #[must_use]
    pub(crate) fn with_mfa(mut self, token: String, methods: Vec<String>) -> Self {
        self.mfa = Some(Box::new((token, methods)));
        self
    }

    /// Sets the source, which is logged.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds `Retry-After`.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Returns the kind of problem.
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// Returns the sentence for the user.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the additional headers of the response.
    pub fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.headers.iter()
    }

    /// Returns the body for a request with this id.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        let is_invalid = self.code.status() == 422;
        ProblemBody {
            kind: format!("/problems/{}", self.code.slug()),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone().into_owned(),
            code: self.code.name().to_owned(),
            request_id: request_id.to_owned(),
            client_action: self.code.client_action().to_owned(),
            errors: is_invalid.then(|| self.errors.clone()),
            mfa_token: self.mfa.as_ref().map(|mfa| mfa.0.clone()),
            methods: self.mfa.as_ref().map(|mfa| mfa.1.clone()),
            errors_truncated: self.is_truncated.then_some(true),
        }
    }

    /// Returns the response for a request with this id.
    pub fn render(&self, request_id: &str) -> Response {
        let text = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
        let mut response =
            Response::builder().status(self.status()).content_type("application/problem+json").body(text);
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Returns the source and its causes as text, outermost first. Empty if the problem has no source.
    pub fn causes(&self) -> String {
        self.source.as_ref().map_or_else(String::new, |source| error_chain(source.as_ref()))
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
                Self::new(ProblemCode::Busy, "The server is busy. Nothing was changed. Please try again.")
                    .retry_after(1)
            }
            StoreError::Unavailable(_) | StoreError::LostWhileIdle(_) | StoreError::TimedOut(_) => Self::new(
                ProblemCode::DatabaseUnavailable,
                "The service is not available at the moment. Nothing was changed. Please try again soon.",
            )
            .retry_after(UNAVAILABLE_RETRY_SECS),
            StoreError::OutcomeUnknown(_) => Self::new(
                ProblemCode::OutcomeUnknown,
                "Your change may or may not have been saved. Please check, or try again.",
            )
            .retry_after(UNAVAILABLE_RETRY_SECS),
            StoreError::StorageFull(_) => Self::new(
                ProblemCode::StorageFull,
                "The server cannot save changes at the moment. Nothing was changed. Please try again later.",
            )
            .retry_after(30),
            StoreError::UniqueViolation(_) | StoreError::ForeignKeyViolation(_) | StoreError::Other(_) => {
                return Self::internal(error);
            }
        };
        problem.caused_by(error)
    }
}

impl From<Overloaded> for Problem {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(ProblemCode::Overloaded, "Too many people are logging in at the moment. Please try again.")
            .retry_after(overloaded.retry_after_secs)
    }
}

/// Converts an error of poem to a problem.
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
            "This path does not support this method. The Allow header lists the supported ones.",
        );
    }
    if error.is::<ContentTypeError>() {
        return Problem::new(
            ProblemCode::UnsupportedMediaType,
            "The request body must be sent with the documented Content-Type.",
        );
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        let pointer = format!("/{}", error.name);
        let detail = format!("{} is missing or not valid.", field_label(&pointer));
        return Problem::invalid(vec![FieldError::new(pointer, "invalid", detail)]);
    }
    if let Some(error) = error.downcast_ref::<ReadBodyError>() {
        return match error {
            ReadBodyError::PayloadTooLarge => too_large(super::BODY_MAX),
            _ => Problem::new(ProblemCode::BadRequest, "The request body cannot be read."),
        };
    }
    if error.is::<ParseRequestPayloadError>() {
        return Problem::new(ProblemCode::BadRequest, "The request body cannot be read.");
    }
    let status = error.status();
    if status.is_server_error() {
        return Problem::internal(error.to_string());
    }
    Problem::new(ProblemCode::BadRequest, "The request is malformed.")
}

/// Returns the problem for a body of more than `max_bytes`.
pub fn too_large(max_bytes: usize) -> Problem {
    let detail = format!("The request is too large (more than {} KiB).", max_bytes / 1024);
    Problem::new(ProblemCode::ContentTooLarge, detail)
}

/// Returns a number with a comma between groups of three digits, for the sentences of problems.
pub fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The error type of handlers. The parameters are the statuses that the operation can return, in addition to
/// the statuses that every operation can return: `Result<Json<T>, ProblemResponse<404, 409>>`.
#[derive(Debug)]
pub struct ProblemResponse<const A: u16 = 0, const B: u16 = 0, const C: u16 = 0>(Problem);

impl<E: Into<Problem>, const A: u16, const B: u16, const C: u16> From<E> for ProblemResponse<A, B, C> {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<const A: u16, const B: u16, const C: u16> From<ProblemResponse<A, B, C>> for poem::Error {
    fn from(response: ProblemResponse<A, B, C>) -> Self {
        response.0.into()
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
