//! JSON responses. serde writes them as bytes, without building a tree of values first.

use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Timelike, Utc};
use futures_util::Stream;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::{Example, Type};
use serde::{Serialize, Serializer};

use super::examples;
use super::problem::Problem;
use super::validate::registry;
use crate::calendar_date;

/// The media type of a JSON body.
pub const MEDIA_TYPE: &str = "application/json";
/// The initial capacity for the text of a response, in bytes. Most responses are shorter.
const INITIAL_CAPACITY: usize = 1024;

/// A JSON response.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON response that is already serialized. Its schema is the schema of `T`, and its example the example
/// of `E`.
#[derive(Debug)]
pub struct RawJson<T, E = T>(Bytes, PhantomData<(T, E)>);

impl<T, E> RawJson<T, E> {
    /// Creates a response from the serialized JSON. [`Bytes`] are shared, not copied.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into(), PhantomData)
    }
}

impl<T: Type, E: Serialize + Example + Send> Payload for RawJson<T, E> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        examples::response_schema::<T, E>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send, E: Send> IntoResponse for RawJson<T, E> {
    fn into_response(self) -> Response {
        Response::builder().content_type(MEDIA_TYPE).body(self.0)
    }
}

/// A JSON response whose parts are produced while the client receives it. It has the schema and the example
/// of `T`.
#[derive(Debug)]
pub struct JsonStream<T>(Body, PhantomData<T>);

impl<T> JsonStream<T> {
    /// Creates a response from the parts of the JSON text. An error ends the response and closes the
    /// connection, so that the client does not mistake an incomplete response for a complete one. The
    /// response must have `Cache-Control: no-store`, which excludes it from compression: the compression
    /// requires that the whole body is in memory.
    pub fn new(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Body::from_bytes_stream(parts), PhantomData)
    }
}

impl<T: Type + Serialize + Example> Payload for JsonStream<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        examples::response_schema::<T, T>()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for JsonStream<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type(MEDIA_TYPE).body(self.0)
    }
}

/// Serializes an instant as `2026-11-22T01:16:00.123Z`: RFC 3339 in UTC, always with milliseconds. This
/// function does not use chrono's formatting, because a page of trips has forty instants, and chrono's
/// formatting would take a twentieth of the time of the request.
///
/// # Errors
///
/// The errors of the serializer.
pub fn serialize_instant<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    calendar_date::write(&mut text, at.date_naive());
    calendar_date::write_number(&mut text, 11, 2, at.hour());
    calendar_date::write_number(&mut text, 14, 2, at.minute());
    calendar_date::write_number(&mut text, 17, 2, at.second());
    calendar_date::write_number(&mut text, 20, 3, at.timestamp_subsec_millis());
    serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
}

/// Serializes an optional instant: `Some` as [`serialize_instant`] does, and `None` as null.
///
/// # Errors
///
/// The errors of the serializer.
pub fn serialize_optional_instant<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serialize_instant(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// Serializes a date as `2026-11-22` (RFC 3339 `full-date`). Like [`serialize_instant`], does not use
/// chrono's formatting.
///
/// # Errors
///
/// The errors of the serializer.
pub fn serialize_date<S: Serializer>(date: &Option<NaiveDate>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(date) = date else { return serializer.serialize_none() };
    let mut text = [0; calendar_date::LENGTH];
    calendar_date::write(&mut text, *date);
    serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
}

/// Serializes a value that can't fail to serialize, such as a trip that was just validated.
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    try_to_vec(value, INITIAL_CAPACITY).unwrap_or_default()
}

/// Serializes a value. `capacity` is the expected length of the text, in bytes.
///
/// # Errors
///
/// The errors of the serializer, for example if a stored JSON text is damaged.
pub fn try_to_vec(value: &impl Serialize, capacity: usize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut bytes, value).map(|()| bytes)
}

/// Returns a response with the value as JSON, under the given media type.
pub fn write(value: &impl Serialize, media_type: &'static str) -> Response {
    let mut bytes = Vec::with_capacity(INITIAL_CAPACITY);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => Response::builder().content_type(media_type).body(bytes),
        Err(error) => Problem::internal(error).render(""),
    }
}

impl<T: Type + Serialize + Example> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = MEDIA_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        examples::response_schema::<T, T>()
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
    /// Uses the description of the type. An operation that needs another description defines its own response
    /// type.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct At(#[serde(serialize_with = "serialize_instant")] DateTime<Utc>);

    #[derive(Serialize)]
    struct On(#[serde(serialize_with = "serialize_date")] Option<NaiveDate>);

    proptest! {
        #[test]
        fn a_date_is_serialized_exactly_as_chrono_serializes_it(days in 0..2_932_897_u32) {
            let on = NaiveDate::default().checked_add_days(chrono::Days::new(days.into()));
            prop_assert_eq!(serde_json::to_string(&On(on)).unwrap(), serde_json::to_string(&on).unwrap());
        }

        #[test]
        fn an_instant_is_serialized_exactly_as_chrono_serializes_it(millis in 0..253_402_300_800_000_i64) {
            let at = crate::clock::from_millis(millis);
            let expected = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            prop_assert_eq!(serde_json::to_string(&At(at)).unwrap(), format!("\"{expected}\""));
        }
    }
}
