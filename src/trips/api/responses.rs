//! The answers to whoever made a trip or a stop: the same each time that the request is sent under one key.

use poem_openapi::ApiResponse;

use super::bodies::NewTrip;
use super::stops::StopBody;
use super::{TripBody, location};
use crate::http::body::{Written, text};
use crate::http::conditional::etag;
use crate::http::idempotency_key::IdempotentResponse;
use crate::idempotency::SavedResponse;
use crate::trips::{Stop, Trip};

#[derive(ApiResponse)]
pub(super) enum CreatedTrip {
    /// The trip exists.
    #[oai(status = 201)]
    Created(
        Written<TripBody, NewTrip>,
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
        body: text(&TripBody::from(trip.clone())),
    }
}

impl From<IdempotentResponse> for CreatedTrip {
    fn from(told: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(told);
        Self::Created(Written::new(body), location, etag, replayed)
    }
}

/// The body, and the headers in their order.
fn parts(
    IdempotentResponse { answer, replayed }: IdempotentResponse,
) -> (Vec<u8>, String, String, Option<String>) {
    let (location, etag) = (answer.location.unwrap_or_default(), answer.etag.unwrap_or_default());
    (answer.body, location, etag, replayed.then(|| "true".to_owned()))
}

#[derive(ApiResponse)]
pub(super) enum AddedStop {
    /// The trip has this stop, as its last.
    #[oai(status = 201)]
    Added(
        Written<StopBody>,
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
        body: text(&StopBody::from(stop.clone())),
    }
}

impl From<IdempotentResponse> for AddedStop {
    fn from(told: IdempotentResponse) -> Self {
        let (body, location, etag, replayed) = parts(told);
        Self::Added(Written::new(body), location, etag, replayed)
    }
}
