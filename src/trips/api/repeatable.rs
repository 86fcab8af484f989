//! The requests that create a trip or a stop, and their responses. With an `Idempotency-Key`, every
//! repetition gets the same response. The server builds this response from the request and a small saved
//! reference.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::TripBody;
use super::responses::location;
use super::stop_bodies::StopBody;
use crate::clock::from_millis;
use crate::idempotency::SavedResponse;
use crate::trips::{Stop, Trip, TripFields};
use crate::web::conditional::etag;
use crate::web::idempotency_key::Repeatable;
use crate::web::json::to_vec;
use crate::web::problem::Problem;

/// A request that creates a trip.
pub(super) struct Creation {
    /// The fields of the new trip.
    pub(super) fields: TripFields,
    /// The seed from which the server generates the ids of stops without an id.
    pub(super) seed: Uuid,
}

/// The saved reference to a created trip.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TripReference {
    id: Uuid,
    version: i64,
    /// Milliseconds since 1970.
    created_at: i64,
    seed: Uuid,
}

impl Repeatable<Trip> for Creation {
    type Reference = TripReference;

    fn reference(&self, trip: &Trip) -> TripReference {
        let created_at = trip.created_at.timestamp_millis();
        TripReference { id: trip.id, version: trip.version, created_at, seed: self.seed }
    }

    fn response(&self, saved: TripReference) -> Result<SavedResponse, Problem> {
        let TripReference { id, version, created_at, seed } = saved;
        let (fields, at) = (self.fields.reseeded(self.seed, seed)?, from_millis(created_at));
        let trip = Trip { id, fields, version, created_at: at, updated_at: at };
        Ok(SavedResponse {
            location: Some(location(id)),
            etag: Some(etag(&trip.etag())),
            body: to_vec(&TripBody::from(trip)),
        })
    }
}

/// A request that adds a stop to a trip.
pub(super) struct Addition {
    /// The id of the trip.
    pub(super) trip: Uuid,
    /// The new stop.
    pub(super) stop: Stop,
}

/// The saved reference to an added stop.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StopReference {
    id: Uuid,
    /// The entity tag of the trip after the change.
    etag: String,
}

impl Repeatable<Trip> for Addition {
    type Reference = StopReference;

    fn reference(&self, trip: &Trip) -> StopReference {
        StopReference { id: self.stop.id, etag: trip.etag() }
    }

    fn response(&self, saved: StopReference) -> Result<SavedResponse, Problem> {
        let stop = Stop { id: saved.id, ..self.stop.clone() };
        Ok(SavedResponse {
            location: Some(format!("{}/stops/{}", location(self.trip), stop.id)),
            etag: Some(etag(&saved.etag)),
            body: to_vec(&StopBody::from(stop)),
        })
    }
}
