//! JSON request bodies.
//!
//! A body is read with a size limit and a deadline, parsed strictly, and checked against the schema that the
//! OpenAPI document publishes. The errors are reported together, and no value is coerced or ignored.

use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::MaybeUndefined;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, impl_apirequest_for_payload};
use serde_json::Value;

use super::BODY_MAX;
use super::examples::{self, RequestSchema};
use super::incoming::Incoming;
use super::json::MEDIA_TYPE;
use super::problem::{FieldError, Problem, ProblemCode};
use super::validate::{self, max_values, registry};
use crate::idempotency::digest_json;
use crate::strict_json::{self as strict, JsonError};

/// A JSON request body, checked against its schema.
///
/// [`Body::check`] and [`Body::accept`] give access to the value. They report the errors of the schema check
/// together with the errors of the operation's own rules.
#[derive(Debug)]
pub struct Body<T> {
    value: T,
    errors: Vec<FieldError>,
    digest: [u8; 32],
}

impl<T> Body<T> {
    /// Returns a digest of the JSON, which does not depend on the order of the fields. The digest is computed
    /// only for requests with an `Idempotency-Key`, and is zero for other requests.
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
    /// value without the fields that the schema rejected, and the errors of the rejected fields.
    ///
    /// # Errors
    ///
    /// A problem that lists the errors of the schema check and of the rules.
    pub fn check<U>(
        self,
        rules: impl FnOnce(T, &[FieldError]) -> Result<U, Vec<FieldError>>,
    ) -> Result<U, Problem> {
        let mut errors = self.errors;
        match rules(self.value, &errors) {
            Ok(checked) if errors.is_empty() => return Ok(checked),
            Ok(_) => {}
            // The rules did not see the rejected fields, so the errors that the rules report for these fields
            // are ignored.
            Err(more) => {
                let is_new = |error: &FieldError| !errors.iter().any(|known| known.pointer == error.pointer);
                let more: Vec<FieldError> = more.into_iter().filter(is_new).collect();
                errors.extend(more);
            }
        }
        Err(Problem::invalid(errors))
    }
}

impl<T: RequestSchema> Body<T> {
    fn parse(text: &[u8], is_keyed: bool) -> Result<Self, Problem> {
        let registry = registry::<T>();
        let max_values = max_values(&registry, &T::schema_ref());
        let value = strict::parse(text, max_values).map_err(invalid_json)?;
        let errors = validate::check(&registry, &T::schema_ref(), &value);
        let digest = if is_keyed { digest_json(&value) } else { [0; 32] };
        // Remove the rejected fields. The other fields can then usually be parsed, so that the rules can
        // check them too.
        match T::parse_from_json(Some(remove_rejected(value, &errors))) {
            Ok(value) => Ok(Self { value, errors, digest }),
            Err(_) if !errors.is_empty() => Err(Problem::invalid(errors)),
            Err(_) => Err(Problem::invalid(vec![validate::unreadable()])),
        }
    }
}

/// Returns the problem of a body that is not strict JSON.
pub(super) fn invalid_json(error: JsonError) -> Problem {
    Problem::new(ProblemCode::InvalidJson, format!("The request body {error}."))
}

/// The extractor of operations without a body. Accepts an absent body or `{}`, and rejects any other body.
#[derive(Debug)]
pub struct NoBody;

impl<'a> FromRequest<'a> for NoBody {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let received = match Incoming::take(request, body, BODY_MAX) {
            Ok(incoming) => incoming.read(None).await,
            Err(problem) => Err(problem),
        };
        match received {
            Ok(received) if matches!(received.bytes().trim_ascii(), b"" | b"{}") => Ok(Self),
            _ => Err(Problem::new(ProblemCode::BadRequest, "This operation takes no request body.").into()),
        }
    }
}

/// Converts a field of a merge patch (RFC 7396). In the result, `None` keeps the current value, and
/// `Some(None)` removes the current value.
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
        let is_keyed = request.headers().contains_key("idempotency-key");
        let received = Incoming::take(request, body, BODY_MAX)?.read(None).await?;
        let (parsed, _) = received.parse(move |bytes| Self::parse(&bytes, is_keyed)).await?;
        Ok(parsed)
    }
}

impl_apirequest_for_payload!(Body<T>, T: RequestSchema);

/// A JSON request body that may be absent.
#[derive(Debug)]
pub struct OptionalBody<T>(pub Option<Body<T>>);

impl<'a, T: RequestSchema> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Body<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema = <Body<T> as Payload>::schema_ref();
        let content = vec![MetaMediaType { content_type: MEDIA_TYPE, schema }];
        Some(MetaRequest { description: None, content, required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let content_type = request.content_type();
        let received = Incoming::take(request, body, BODY_MAX)?.read(None).await?;
        if received.bytes().is_empty() {
            return Ok(Self(None));
        }
        let content_type = content_type.ok_or(ContentTypeError::ExpectContentType)?;
        if !<Body<T> as Payload>::check_content_type(content_type) {
            return Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }.into());
        }
        let (parsed, _) = received.parse(move |bytes| Body::parse(&bytes, false)).await?;
        Ok(Self(Some(parsed)))
    }
}

/// Removes each top-level field that has an error in its value or in a nested value.
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
