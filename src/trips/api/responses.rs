//! The answers to whoever made a trip or a stop: the same each time that the request is sent under one key.

use poem_openapi::ApiResponse;

use super::bodies::NewTrip;
use super::stop_bodies::StopBody;
use super::{TripBody, location};
use crate::idempotency::SavedResponse;
use crate::trips::{Stop, Trip};
use crate::web::conditional::etag;
use crate::web::idempotency_key::IdempotentResponse;
use crate::web::json::{RawJson, to_vec};

#[derive(ApiResponse)]
pub(super) enum CreatedTrip {
    /// The trip exists.
    #[oai(status = 201)]
    Created(
        RawJson<TripBody, NewTrip>,
        /// Where the trip is.
        #[oai(header = "Location")]
        String,
        /// Its version.
        #[oai(header = "ETag")]
        String,
        /// `true` if an earlier request with the same `Idempotency-Key` made it. Absent otherwise.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// The answer to whoever made the trip.
pub(super) fn trip_created(trip: &Trip) -> SavedResponse {
    SavedResponse {
        status: 201,
        location: Some(location(trip)),
        etag: Some(etag(&trip.etag())),
        body: to_vec(&TripBody::from(trip.clone())),
    }
}

impl From<IdempotentResponse> for CreatedTrip {
    fn from(told: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(told);
        Self::Created(RawJson::new(body), location, etag, replayed)
    }
}

/// The body, and the headers in their order.
fn parts(
    IdempotentResponse { response, replayed }: IdempotentResponse,
) -> (Vec<u8>, String, String, Option<String>) {
    let (location, etag) = (response.location.unwrap_or_default(), response.etag.unwrap_or_default());
    (response.body, location, etag, replayed.then(|| "true".to_owned()))
}

#[derive(ApiResponse)]
pub(super) enum AddedStop {
    /// The trip has this stop, as its last.
    #[oai(status = 201)]
    Added(
        RawJson<StopBody>,
        /// Where the stop is changed and removed.
        #[oai(header = "Location")]
        String,
        /// The trip's new version.
        #[oai(header = "ETag")]
        String,
        /// `true` if an earlier request with the same `Idempotency-Key` made it. Absent otherwise.
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

/// The answer to whoever added this stop, with which the trip has become that.
pub(super) fn stop_added(trip: &Trip, stop: &Stop) -> SavedResponse {
    SavedResponse {
        status: 201,
        location: Some(format!("{}/stops/{}", location(trip), stop.id)),
        etag: Some(etag(&trip.etag())),
        body: to_vec(&StopBody::from(stop.clone())),
    }
}

impl From<IdempotentResponse> for AddedStop {
    fn from(told: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(told);
        Self::Added(RawJson::new(body), location, etag, replayed)
    }
}
