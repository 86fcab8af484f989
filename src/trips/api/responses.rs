//! The responses of the operations on trips.

use poem_openapi::ApiResponse;
use uuid::Uuid;

use super::TripBody;
use super::stop_bodies::StopBody;
use super::trip_body::{NewTrip, TripPage};
use crate::trips::Trip;
use crate::web::API;
use crate::web::conditional::etag;
use crate::web::idempotency_key::IdempotentResponse;
use crate::web::json::{Json, RawJson, to_vec};

#[derive(ApiResponse)]
pub(super) enum ListedTrips {
    /// A page of the trips of the user.
    #[oai(status = 200)]
    Ok(
        RawJson<TripPage>,
        /// Entity tag of this page. It changes with every change of any trip of the user.
        #[oai(header = "ETag")]
        String,
        /// Path of the next page (RFC 8288), with `rel="next"`. Absent on the last page.
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// No trip of the user has changed since the `ETag` in `If-None-Match`.
    #[oai(status = 304)]
    Unchanged(
        /// Entity tag of this page.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum FoundTrip {
    /// The trip with its stops.
    #[oai(status = 200)]
    Ok(
        Json<TripBody>,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
    /// The trip has not changed since the `ETag` in `If-None-Match`.
    #[oai(status = 304)]
    Unchanged(
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum ChangedTrip {
    /// The changed trip.
    #[oai(status = 200)]
    Ok(
        Json<TripBody>,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
    /// The trip was changed. The token does not have the scope `trips:read`, so the trip is not returned.
    #[oai(status = 204)]
    NoContent(
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
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
    /// The trip was replaced or created. The token does not have the scope `trips:read`, so the trip is not
    /// returned.
    #[oai(status = 204)]
    NoContent(
        /// Path of the trip, if it was created.
        #[oai(header = "Location")]
        Option<String>,
        /// Entity tag of the trip.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
pub(super) enum DeletedTrip {
    /// The trip was deleted.
    #[oai(status = 204)]
    NoContent,
}

/// Returns the response to a change of this trip. The response contains the trip only if the caller can read
/// trips.
pub(super) fn changed_trip(trip: Trip, can_read: bool) -> ChangedTrip {
    let etag = etag(&trip.etag());
    if can_read { ChangedTrip::Ok(Json(trip.into()), etag) } else { ChangedTrip::NoContent(etag) }
}

/// Returns the response to a `PUT` that replaced this trip.
pub(super) fn replaced_trip(trip: Trip, can_read: bool) -> PutTrip {
    let etag = etag(&trip.etag());
    if can_read { PutTrip::Replaced(Json(trip.into()), etag) } else { PutTrip::NoContent(None, etag) }
}

/// Returns the response to a `PUT` that created this trip.
pub(super) fn put_trip_created(trip: Trip, can_read: bool) -> PutTrip {
    let (location, etag) = (location(trip.id), etag(&trip.etag()));
    if can_read {
        PutTrip::Created(RawJson::new(to_vec(&TripBody::from(trip))), location, etag)
    } else {
        PutTrip::NoContent(Some(location), etag)
    }
}

/// Returns the path of a trip.
pub(super) fn location(trip: Uuid) -> String {
    format!("{API}/trips/{trip}")
}

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
    /// The trip was created. The token does not have the scope `trips:read`, so the trip is not returned.
    #[oai(status = 204)]
    NoContent(
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

impl CreatedTrip {
    /// Creates the response, which contains the trip only if the caller can read trips. The saved `response`
    /// always contains the trip, because a repeated request can be sent with another token of the same user.
    pub(super) fn new(response: IdempotentResponse, can_read: bool) -> Self {
        let (body, location, etag, replayed) = parts(response);
        if can_read {
            Self::Created(RawJson::new(body), location, etag, replayed)
        } else {
            Self::NoContent(location, etag, replayed)
        }
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
    /// The stop was added as the last one. The token does not have the scope `trips:read`, so the stop is not returned.
    #[oai(status = 204)]
    NoContent(
        /// Path of the stop.
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

impl AddedStop {
    /// Creates the response, which contains the stop only if the caller can read trips.
    pub(super) fn new(response: IdempotentResponse, can_read: bool) -> Self {
        let (body, location, etag, replayed) = parts(response);
        if can_read {
            Self::Added(RawJson::new(body), location, etag, replayed)
        } else {
            Self::NoContent(location, etag, replayed)
        }
    }
}
