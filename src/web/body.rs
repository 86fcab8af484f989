//! JSON request bodies.
//!
//! A body is read with a size limit and a deadline, parsed strictly, and checked against the schema that the
//! OpenAPI document publishes. All errors are reported at once; no value is coerced or dropped.

use std::time::Duration;

use poem::error::ReadBodyError;
use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::impl_apirequest_for_payload;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::MaybeUndefined;
use serde_json::Value;

use super::BODY_MAX;
use super::examples::{self, RequestSchema};
use super::json::MEDIA_TYPE;
use super::problem::{FieldError, Problem, ProblemCode, from_poem};
use super::validate::{self, registry};
use crate::idempotency::digest_json;
use crate::strict_json as strict;

/// The time in which the whole body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// A JSON request body, checked against its schema.
///
/// [`Body::check`] and [`Body::accept`] give access to the value. They report the errors that the schema
/// found together with those that the operation's own rules find.
#[derive(Debug)]
pub struct Body<T> {
    value: T,
    errors: Vec<FieldError>,
    digest: [u8; 32],
}

impl<T> Body<T> {
    /// Returns a digest of the JSON that does not depend on the order of its fields. It is computed only for
    /// requests with an `Idempotency-Key`, and is zero for others.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the value if it matches the schema.
    ///
    /// # Errors
    ///
    /// A problem that lists all errors.
    pub fn accept(self) -> Result<T, Problem> {
        self.check(|value, _| Ok(value))
    }

    /// Returns the result of `rules` if both the schema and the rules accept the value. The rules get the
    /// value without the fields that the schema rejected, and the errors of those fields.
    ///
    /// # Errors
    ///
    /// A problem that lists the errors of both.
    pub fn check<U>(
        self,
        rules: impl FnOnce(T, &[FieldError]) -> Result<U, Vec<FieldError>>,
    ) -> Result<U, Problem> {
        let mut errors = self.errors;
        match rules(self.value, &errors) {
            Ok(checked) if errors.is_empty() => return Ok(checked),
            Ok(_) => {}
            // The rules did not see the rejected fields, so their errors for those fields are dropped.
            Err(more) => {
                let is_new = |error: &FieldError| !errors.iter().any(|known| known.pointer == error.pointer);
                let more: Vec<FieldError> = more.into_iter().filter(is_new).collect();
                errors.extend(more);
            }
        }
        Err(Problem::invalid(errors))
    }
}

/// The extractor of operations without a body. It accepts no body or `{}`, and rejects anything else instead
/// of ignoring it.
#[derive(Debug)]
pub struct NoBody;

impl<'a> FromRequest<'a> for NoBody {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        match read(request, body).await {
            Ok(bytes) if matches!(bytes.trim_ascii(), b"" | b"{}") => Ok(Self),
            _ => Err(Problem::new(ProblemCode::BadRequest, "This operation takes no request body.").into()),
        }
    }
}

/// Converts a field of a merge patch (RFC 7396): `None` keeps the current value, `Some(None)` clears it.
pub fn into_patch<T>(field: MaybeUndefined<T>) -> Option<Option<T>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

impl<T: RequestSchema> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    /// Accepts `application/json`, with no parameter other than `charset=utf-8`.
    fn check_content_type(content_type: &str) -> bool {
        let mut parts = content_type.split(';').map(str::trim);
        parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(MEDIA_TYPE))
            && parts.all(|parameter| {
                let parameter = parameter.to_ascii_lowercase().replace('"', "");
                parameter.is_empty() || parameter == "charset=utf-8"
            })
    }

    fn schema_ref() -> MetaSchemaRef {
        examples::request_schema::<T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: RequestSchema> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = read(request, body).await?;
        let value = strict::parse(&bytes)
            .map_err(|error| Problem::new(ProblemCode::InvalidJson, format!("The request body {error}.")))?;
        let errors = validate::check(&registry::<T>(), &T::schema_ref(), &value);
        let is_keyed = request.headers().contains_key("idempotency-key");
        let digest = if is_keyed { digest_json(value.clone()) } else { [0; 32] };
        // Without the rejected fields the rest can usually be parsed, so that the rules can check it too.
        match T::parse_from_json(Some(remove_rejected(value, &errors))) {
            Ok(value) => Ok(Self { value, errors, digest }),
            Err(_) if !errors.is_empty() => Err(Problem::invalid(errors).into()),
            Err(_) => Err(Problem::invalid(vec![validate::unreadable()]).into()),
        }
    }
}

impl_apirequest_for_payload!(Body<T>, T: RequestSchema);

/// Removes the top-level fields that have an error, in themselves or below.
fn remove_rejected(mut value: Value, errors: &[FieldError]) -> Value {
    if let Some(fields) = value.as_object_mut() {
        let is_rejected = |name: &str| {
            errors.iter().any(|error| {
                error.pointer.strip_prefix('/').is_some_and(|path| path.split('/').next() == Some(name))
            })
        };
        fields.retain(|name, _| !is_rejected(name));
    }
    value
}

/// Reads a body of at most [`BODY_MAX`] bytes.
pub(super) async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    read_up_to(request, body, BODY_MAX).await
}

/// Reads a body of at most `max_bytes`, within the deadline and without a content coding.
pub(super) async fn read_up_to(
    request: &Request,
    body: &mut RequestBody,
    max_bytes: usize,
) -> Result<Vec<u8>, Problem> {
    // A body whose declared length is too large is refused before it arrives.
    let declared = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max_bytes) {
        return Err(super::problem::too_large(max_bytes));
    }
    if request.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "The request body must be sent without compression (Content-Encoding).",
        ));
    }
    let body = body.take().map_err(|error| from_poem(error.into()))?;
    match tokio::time::timeout(BODY_TIMEOUT, body.into_bytes_limit(max_bytes)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(ReadBodyError::PayloadTooLarge)) => Err(super::problem::too_large(max_bytes)),
        Ok(Err(error)) => Err(from_poem(error.into())),
        Err(_) => Err(Problem::new(
            ProblemCode::RequestTimeout,
            "The request took too long to arrive. Please try again.",
        )),
    }
}
