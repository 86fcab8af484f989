//! The responses to requests that create a trip or a stop. With an idempotency key, the response is saved
//! under the key, and every repetition gets the same response.

use poem_openapi::ApiResponse;

use super::bodies::NewTrip;
use super::stop_bodies::StopBody;
use super::{TripBody, location};
use crate::idempotency::SavedResponse;
use crate::trips::{Stop, Trip};
use crate::web::conditional::etag;
use crate::web::idempotency_key::IdempotentResponse;
use crate::web::json::{Json, RawJson, to_vec};

#[derive(ApiResponse)]
pub(super) enum CreatedTrip {
    /// The trip was created.
    #[oai(status = 201)]
    Created(
        RawJson<TripBody, NewTrip>,
        /// Path of the trip.
        #[oai(header = "Location")]
        String,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
        /// `true` if this is a repetition of an earlier response to the same `Idempotency-Key`. Absent otherwise.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
pub(super) enum PutTrip {
    /// The trip was replaced.
    #[oai(status = 200)]
    Replaced(
        Json<TripBody>,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
    /// The trip was created.
    #[oai(status = 201)]
    Created(
        RawJson<TripBody, NewTrip>,
        /// Path of the trip.
        #[oai(header = "Location")]
        String,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
}

/// Returns the response to the request that created this trip.
pub(super) fn trip_created(trip: &Trip) -> SavedResponse {
    SavedResponse {
        status: 201,
        location: Some(location(trip)),
        etag: Some(etag(&trip.etag())),
        body: to_vec(&TripBody::from(trip.clone())),
    }
}

impl From<IdempotentResponse> for CreatedTrip {
    fn from(response: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(response);
        Self::Created(RawJson::new(body), location, etag, replayed)
    }
}

/// Returns the body, and the headers `Location`, `ETag` and `Idempotency-Replayed`.
fn parts(
    IdempotentResponse { response, replayed }: IdempotentResponse,
) -> (Vec<u8>, String, String, Option<String>) {
    let (location, etag) = (response.location.unwrap_or_default(), response.etag.unwrap_or_default());
    (response.body, location, etag, replayed.then(|| "true".to_owned()))
}

#[derive(ApiResponse)]
pub(super) enum AddedStop {
    /// The stop was added as the last one.
    #[oai(status = 201)]
    Added(
        RawJson<StopBody>,
        /// Path of the stop, for changing and removing it.
        #[oai(header = "Location")]
        String,
        /// Entity tag of the changed trip.
        #[oai(header = "ETag")]
        String,
        /// `true` if this is a repetition of an earlier response to the same `Idempotency-Key`. Absent otherwise.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// Returns the response to the request that added this stop; `trip` is the trip after the change.
pub(super) fn stop_added(trip: &Trip, stop: &Stop) -> SavedResponse {
    SavedResponse {
        status: 201,
        location: Some(format!("{}/stops/{}", location(trip), stop.id)),
        etag: Some(etag(&trip.etag())),
        body: to_vec(&StopBody::from(stop.clone())),
    }
}

impl From<IdempotentResponse> for AddedStop {
    fn from(response: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(response);
        Self::Added(RawJson::new(body), location, etag, replayed)
    }
}
