//! The HTTP operations on the stops of a trip.

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::errors::stop_to_problem;
use super::precondition;
use super::repeatable::Addition;
use super::responses::{AddedStop, ChangedTrip, changed_trip};
use super::stop_bodies::{NewStop, StopBody, StopOrder, UpdateStop};
use crate::idempotency::Idempotency;
use crate::trips::{StopChange, StopPatch, Trip, Trips};
use crate::web::Tag;
use crate::web::body::{Body, NoBody};
use crate::web::caller::{Caller, TripsWrite};
use crate::web::conditional::{IfMatch, etag};
use crate::web::idempotency_key::{self, IdempotencyKey};
use crate::web::json::Json;
use crate::web::path_id::{BodyId, PathId};
use crate::web::problem::{Problem, ProblemResponse};

#[derive(ApiResponse)]
enum ChangedStop {
    /// The changed stop.
    #[oai(status = 200)]
    Ok(
        Json<StopBody>,
        /// Entity tag of the changed trip.
        #[oai(header = "ETag")]
        String,
    ),
    /// The stop was changed. The token does not have the scope `trips:read`, so the stop is not returned.
    #[oai(status = 204)]
    NoContent(
        /// Entity tag of the changed trip.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RemovedStop {
    /// The stop was removed.
    #[oai(status = 204)]
    NoContent(
        /// Entity tag of the changed trip.
        #[oai(header = "ETag")]
        String,
    ),
}

/// Returns the stop with this id from a trip that was just changed.
fn find_stop(trip: &Trip, id: Uuid) -> Result<Json<StopBody>, Problem> {
    let found = trip.fields.stops.list()?.into_iter().find(|stop| stop.id == id);
    found.map(|stop| Json(stop.into())).ok_or_else(Problem::not_found)
}

/// The operations on the stops of a trip.
#[derive(Debug)]
pub struct StopsApi {
    trips: Trips,
    idempotency: Idempotency,
}

impl StopsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(trips: &Trips, idempotency: &Idempotency) -> Self {
        Self { trips: trips.clone(), idempotency: idempotency.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/trips", tag = "Tag::Trips")]
impl StopsApi {
    /// Add a stop
    ///
    /// Appends a stop to the trip. The trip gets a new version. A trip has at most 500 stops, whose JSON has
    /// at most 192 KiB in total. With an `Idempotency-Key`, an app can repeat the request if the response was
    /// lost, as with `POST /api/v1/trips`: the stop is added once.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    /// - 409 `already_exists`: the trip has a stop with this `id` already. If you
    ///   repeated the request because its response was lost, the first request succeeded.
    /// - 409 `idempotency_in_progress`: the first request with this key is still running. Repeat the request
    ///   after `Retry-After` seconds.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip, apply the user's change to it, and repeat the request with the new `ETag`.
    /// - 422 `invalid`: `errors` lists all errors in the stop.
    /// - 422 `idempotency_key_reused`: the key was used for another request. Use a new key.
    #[oai(path = "/:id/stops", method = "post", operation_id = "add_stop")]
    async fn add(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        /// Key of the new stop, the same in every attempt, for example a random UUID.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<NewStop>,
    ) -> Result<AddedStop, ProblemResponse<404, 409, 412>> {
        let (owner, trip, trips) = (caller.user(), id.uuid(), self.trips.clone());
        let request = key.request(owner, body.digest());
        let stop = body.accept()?.into_stop(|| trips.new_id());
        let addition = Addition { trip, stop: stop.clone() };
        let (change, precondition) = (StopChange::Add(stop), precondition(if_match));
        let add = move |receipt| async move {
            let added = trips.change_stops(owner, trip, precondition, change, receipt).await;
            added.map_err(|error| stop_to_problem(error, "/departs_at"))
        };
        let response = idempotency_key::run_once(&self.idempotency, request, addition, add).await?;
        Ok(AddedStop::new(response, caller.can_read_trips()))
    }

    /// Change a stop
    ///
    /// Changes some fields of a stop by a JSON Merge Patch (RFC 7396): an absent field is unchanged, and
    /// `null` clears a field. The trip gets a new version, unless the patch has no fields.
    ///
    /// - 404 `not_found`: there is no such trip, or it has no such stop. Reload the trip.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip, apply the user's change to it, and repeat the request with the new `ETag`.
    #[oai(path = "/:id/stops/:stop_id", method = "patch", operation_id = "update_stop")]
    async fn update(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// Id of the stop.
        stop_id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<UpdateStop>,
    ) -> Result<ChangedStop, ProblemResponse<404, 412>> {
        let patch = StopPatch::from(body.accept()?);
        let offending_date = if patch.departs_at.is_none() { "/arrives_at" } else { "/departs_at" };
        let change = StopChange::Change(stop_id.uuid(), patch);
        let changed =
            self.trips.change_stops(caller.user(), id.uuid(), precondition(if_match), change, None).await;
        let trip = changed.map_err(|error| stop_to_problem(error, offending_date))?;
        let etag = etag(&trip.etag());
        if !caller.can_read_trips() {
            return Ok(ChangedStop::NoContent(etag));
        }
        Ok(ChangedStop::Ok(find_stop(&trip, stop_id.uuid())?, etag))
    }

    /// Remove a stop
    ///
    /// Removes one stop from the trip. The other stops keep their order, and the trip gets a new version.
    ///
    /// - 404 `not_found`: there is no such trip, or it has no such stop, for example because the stop was
    ///   removed before. If the response to an earlier attempt was lost, treat this as success.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip, and if it still has the stop, repeat the request with the new `ETag`.
    #[oai(path = "/:id/stops/:stop_id", method = "delete", operation_id = "remove_stop")]
    async fn remove(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// Id of the stop.
        stop_id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        _no_body: NoBody,
    ) -> Result<RemovedStop, ProblemResponse<404, 412>> {
        let change = StopChange::Remove(stop_id.uuid());
        let trip =
            self.trips.change_stops(caller.user(), id.uuid(), precondition(if_match), change, None).await?;
        Ok(RemovedStop::NoContent(etag(&trip.etag())))
    }

    /// Reorder the stops
    ///
    /// Changes the travel order of the stops, for example after the user has dragged a stop to another place.
    /// The order contains the id of each stop of the trip exactly once. Returns the whole trip with its new
    /// version.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip, apply the user's change to it, and repeat the request with the new `ETag`.
    /// - 422 `invalid`: the order omits a stop, contains a stop twice, or contains one that the trip does not
    ///   have. Read the trip again.
    #[oai(path = "/:id/stops/order", method = "put", operation_id = "order_stops")]
    async fn order(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<StopOrder>,
    ) -> Result<ChangedTrip, ProblemResponse<404, 412>> {
        let change = StopChange::Order(body.accept()?.stop_ids.into_iter().map(|BodyId(id)| id).collect());
        let trip =
            self.trips.change_stops(caller.user(), id.uuid(), precondition(if_match), change, None).await?;
        Ok(changed_trip(trip, caller.can_read_trips()))
    }
}
