//! JSON bodies in and out.
//!
//! In: a body is read under a limit and a deadline, parsed strictly, and checked against the very
//! schema that the document shows, so that all faults are told at once and nothing is coerced or
//! dropped. Out: serde's bytes, without a detour over a tree of values.

use std::any::TypeId;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use poem::error::ReadBodyError;
use poem::{FromRequest, IntoResponse, Request, RequestBody, Response, Result};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, MaybeUndefined, Type};
use poem_openapi::{ApiResponse, impl_apirequest_for_payload};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::examples::{self, RequestSchema};
use super::problem::{FieldError, Problem, ProblemCode, from_poem};
use super::validate;
use crate::idempotency::digest_json;
use crate::strict_json as strict;

/// The most bytes of a request body.
pub const BODY_MAX: usize = 256 * 1024;
/// How long a body may take to come.
const BODY_DEADLINE: Duration = Duration::from_secs(8);

const MEDIA_TYPE: &str = "application/json";
/// Where the text of a response begins to be written: most need no more room.
const USUAL_BYTES: usize = 1024;

/// A JSON response.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON response that was written before, of the form of a `T`. Its example is an `E`.
#[derive(Debug)]
pub struct Written<T, E = T>(Vec<u8>, PhantomData<(T, E)>);

impl<T, E> Written<T, E> {
    /// These bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes, PhantomData)
    }
}

impl<T: Type, E: Serialize + Example + Send> Payload for Written<T, E> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        examples::told::<T, E>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send, E: Send> IntoResponse for Written<T, E> {
    fn into_response(self) -> Response {
        Response::builder().content_type(MEDIA_TYPE).body(self.0)
    }
}

/// A JSON request body, checked against its schema. What is wrong with it is told together with the
/// faults that the operation's own rules find, so it is opened with [`Body::check`] or [`Body::accept`].
#[derive(Debug)]
pub struct Body<T> {
    value: T,
    faults: Vec<FieldError>,
    digest: [u8; 32],
}

impl<T> Body<T> {
    /// A digest of what was sent, whatever the order of its members: the same for the same JSON. Only
    /// a request with an `Idempotency-Key` has one.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What was sent, if the schema holds.
    ///
    /// # Errors
    ///
    /// All faults.
    pub fn accept(self) -> Result<T, Problem> {
        self.check(|value, _| Ok(value))
    }

    /// What `rules` make of what was sent, if the schema and they hold. They see it without the members
    /// that the schema refused, whose faults they are given.
    ///
    /// # Errors
    ///
    /// All faults of both.
    pub fn check<U>(
        self,
        rules: impl FnOnce(T, &[FieldError]) -> Result<U, Vec<FieldError>>,
    ) -> Result<U, Problem> {
        let mut faults = self.faults;
        match rules(self.value, &faults) {
            Ok(checked) if faults.is_empty() => return Ok(checked),
            Ok(_) => {}
            // Where the schema has spoken of a member, the rules saw it without its value.
            Err(more) => {
                let new = |fault: &FieldError| !faults.iter().any(|known| known.pointer == fault.pointer);
                let more: Vec<FieldError> = more.into_iter().filter(new).collect();
                faults.extend(more);
            }
        }
        Err(Problem::invalid(faults))
    }
}

/// That there is no body, or an empty object: what an operation takes no members of is not dropped
/// silently.
#[derive(Debug)]
pub struct NoBody;

impl<'a> FromRequest<'a> for NoBody {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> Result<Self> {
        match read(request, body).await {
            Ok(bytes) if matches!(bytes.trim_ascii(), b"" | b"{}") => Ok(Self),
            _ => Err(Problem::new(ProblemCode::BadRequest, "This operation takes no body.").into()),
        }
    }
}

/// A member of a merge patch (RFC 7396): `None` keeps, `Some(None)` clears.
pub fn patched<T>(member: MaybeUndefined<T>) -> Option<Option<T>> {
    match member {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

/// Writes an instant as `2026-11-22T01:16:00.123Z`: RFC 3339 in UTC, always with milliseconds. By hand,
/// because a page has forty of them, and chrono's own way takes a twentieth of the time of a page.
///
/// # Errors
///
/// Those of the serializer.
pub fn instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put_day(&mut text, at.date_naive());
    put(&mut text, 11, 2, at.hour());
    put(&mut text, 14, 2, at.minute());
    put(&mut text, 17, 2, at.second());
    put(&mut text, 20, 3, at.timestamp_subsec_millis());
    serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
}

/// Writes a calendar day as `2026-11-22` (RFC 3339 `full-date`), by hand as [`instant`] does.
///
/// # Errors
///
/// Those of the serializer.
pub fn day<S: Serializer>(day: &Option<NaiveDate>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(day) = day else { return serializer.serialize_none() };
    let mut text = *b"0000-00-00";
    put_day(&mut text, *day);
    serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn put_day(text: &mut [u8], day: NaiveDate) {
    put(text, 0, 4, u32::try_from(day.year()).unwrap_or_default());
    put(text, 5, 2, day.month());
    put(text, 8, 2, day.day());
}

/// Adds the last `digits` of a number to the zeros that stand at `from`.
fn put(text: &mut [u8], from: usize, digits: usize, mut number: u32) {
    for place in text.iter_mut().skip(from).take(digits).rev() {
        *place += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// A value of ours as JSON; nothing in such a value could fail to be written.
pub fn text(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Writes a value as the given kind of JSON.
pub fn write(value: &impl Serialize, media_type: &'static str) -> Response {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => Response::builder().content_type(media_type).body(bytes),
        Err(error) => Problem::internal(error).render(""),
    }
}

impl<T: Type + Serialize + Example> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        examples::told::<T, T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        write(&self.0, MEDIA_TYPE)
    }
}

impl<T: Type + Serialize + Example + Send + 'static> ApiResponse for Json<T> {
    /// Described as the type is: an operation of which there is more to say has a response of its own.
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: MEDIA_TYPE, schema: Self::schema_ref() }];
        let described = registry::<T>().schemas.get(T::name().as_ref()).and_then(|schema| schema.description);
        let response = MetaResponse {
            description: described.unwrap_or_default(),
            status: Some(200),
            status_range: None,
            content,
            headers: vec![],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: RequestSchema> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    /// Exactly `application/json`, in UTF-8 if anything is said of that.
    fn check_content_type(content_type: &str) -> bool {
        let mut parts = content_type.split(';').map(str::trim);
        parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(MEDIA_TYPE))
            && parts.all(|parameter| {
                let parameter = parameter.to_ascii_lowercase().replace('"', "");
                parameter.is_empty() || parameter == "charset=utf-8"
            })
    }

    fn schema_ref() -> MetaSchemaRef {
        examples::asked::<T>()
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
            .map_err(|error| Problem::new(ProblemCode::InvalidJson, format!("The body {error}.")))?;
        let faults = validate::check(&registry::<T>(), &T::schema_ref(), &value);
        let is_keyed = request.headers().contains_key("idempotency-key");
        let digest = if is_keyed { digest_json(value.clone()) } else { [0; 32] };
        // Without its faulty members the rest may still be looked at; if not, the schema's faults are all.
        match T::parse_from_json(Some(without(&faults, value))) {
            Ok(value) => Ok(Self { value, faults, digest }),
            Err(_) if !faults.is_empty() => Err(Problem::invalid(faults).into()),
            Err(_) => {
                // The parser's own words may echo the input.
                let fault = FieldError::new("", "invalid", "is not of the documented form");
                Err(Problem::invalid(vec![fault]).into())
            }
        }
    }
}

impl_apirequest_for_payload!(Body<T>, T: RequestSchema);

/// The object without the members that have a fault.
fn without(faults: &[FieldError], mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        let is_out = |name: &str| {
            faults.iter().any(|fault| {
                fault.pointer.strip_prefix('/').is_some_and(|at| at.split('/').next() == Some(name))
            })
        };
        members.retain(|name, _| !is_out(name));
    }
    value
}

/// A body under the limits of every operation.
pub(super) async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    read_up_to(request, body, BODY_MAX).await
}

/// A body of at most so many bytes.
pub(super) async fn read_up_to(
    request: &Request,
    body: &mut RequestBody,
    most: usize,
) -> Result<Vec<u8>, Problem> {
    // A body that says it is too large is not waited for.
    let declared = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(super::problem::too_large(most));
    }
    if request.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::new(
            ProblemCode::UnsupportedMediaType,
            "Bodies are taken as they are, without a content coding.",
        ));
    }
    let body = body.take().map_err(|error| from_poem(error.into()))?;
    match tokio::time::timeout(BODY_DEADLINE, body.into_bytes_limit(most)).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(ReadBodyError::PayloadTooLarge)) => Err(super::problem::too_large(most)),
        Ok(Err(error)) => Err(from_poem(error.into())),
        Err(_) => Err(Problem::new(ProblemCode::RequestTimeout, "The body did not arrive in time.")),
    }
}

/// The schemas that `T` is made of; worked out once for each type.
pub(super) fn registry<T: Type + 'static>() -> Arc<Registry> {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Registry>>>> = LazyLock::new(RwLock::default);
    let id = TypeId::of::<T>();
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return Arc::clone(known);
    }
    let mut registry = Registry::new();
    T::register(&mut registry);
    let registry = Arc::new(registry);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&registry));
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct At(#[serde(serialize_with = "instant")] DateTime<Utc>);

    #[derive(Serialize)]
    struct On(#[serde(serialize_with = "day")] Option<NaiveDate>);

    proptest! {
        #[test]
        fn a_day_is_written_as_chrono_would(days in 0..2_932_897_u32) {
            let on = NaiveDate::default().checked_add_days(chrono::Days::new(days.into()));
            prop_assert_eq!(serde_json::to_string(&On(on)).unwrap(), serde_json::to_string(&on).unwrap());
        }

        #[test]
        fn an_instant_is_written_as_chrono_would(millis in 0..253_402_300_800_000_i64) {
            let at = crate::clock::from_millis(millis);
            let wanted = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            prop_assert_eq!(serde_json::to_string(&At(at)).unwrap(), format!("\"{wanted}\""));
        }
    }
}
