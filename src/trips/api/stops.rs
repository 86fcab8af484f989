//! The operations on the stops of a trip.

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::errors::stop_to_problem;
use super::responses::{AddedStop, stop_added};
use super::stop_bodies::{NewStop, StopBody, StopOrder, UpdateStop};
use super::{OneTrip, condition, one};
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
    /// The stop.
    #[oai(status = 200)]
    Ok(
        Json<StopBody>,
        /// The trip's new version.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RemovedStop {
    /// The stop is gone.
    #[oai(status = 204)]
    Gone(
        /// The trip's new version.
        #[oai(header = "ETag")]
        String,
    ),
}

/// The stop of that id, of a trip that was just changed.
fn stop_of(trip: &Trip, id: Uuid) -> Result<Json<StopBody>, Problem> {
    let found = trip.fields.stops.list()?.into_iter().find(|stop| stop.id == id);
    found.map(|stop| Json(stop.into())).ok_or_else(Problem::not_found)
}

/// The operations on a trip's stops.
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
    /// The trip's last from now on, and the trip has a new version. A trip has at most 500 stops, which
    /// together take at most 192 KiB as JSON. With an `Idempotency-Key` it is made once, however often the
    /// request is sent, as for making a trip.
    ///
    /// 404 `not_found` if there is no such trip, 412 `precondition_failed` if it has changed since the
    /// `If-Match`, 409 `idempotency_in_progress` while the first request under the key still runs. 422 lists
    /// what is wrong with the stop.
    #[oai(path = "/:id/stops", method = "post", operation_id = "add_stop")]
    async fn add(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        /// As for making a trip: names the stop that is to be made, so that it is made once.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<NewStop>,
    ) -> Result<AddedStop, ProblemResponse<404, 409, 412>> {
        let (owner, trip, trips) = (caller.user(), id.uuid(), self.trips.clone());
        let request = key.request(owner, body.digest());
        let stop = body.accept()?.into_stop(|| trips.new_id());
        let (new, change, condition) = (stop.clone(), StopChange::Add(stop), condition(if_match));
        let add = move |receipt| async move {
            let added = trips.change_stops(owner, trip, condition, change, receipt).await;
            added.map_err(|error| stop_to_problem(error, "/departs_at"))
        };
        Ok(idempotency_key::run_once(&self.idempotency, request, move |trip| stop_added(trip, &new), add)
            .await?
            .into())
    }

    /// Change a stop
    ///
    /// A JSON Merge Patch (RFC 7396) of one stop: a member that is absent stays as it is, `null` clears it. The
    /// trip has a new version.
    ///
    /// 404 `not_found` if there is no such trip, or it has no such stop; 412 `precondition_failed` if the trip
    /// has changed since the `If-Match`.
    #[oai(path = "/:id/stops/:stop_id", method = "patch", operation_id = "update_stop")]
    async fn update(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The stop's id.
        stop_id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<UpdateStop>,
    ) -> Result<ChangedStop, ProblemResponse<404, 412>> {
        let patch = StopPatch::from(body.accept()?);
        let offending_date = if patch.departs_at.is_none() { "/arrives_at" } else { "/departs_at" };
        let change = StopChange::Change(stop_id.uuid(), patch);
        let changed =
            self.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await;
        let trip = changed.map_err(|error| stop_to_problem(error, offending_date))?;
        Ok(ChangedStop::Ok(stop_of(&trip, stop_id.uuid())?, etag(&trip.etag())))
    }

    /// Remove a stop
    ///
    /// Takes one stop out; the others keep their order, and the trip has a new version.
    ///
    /// 404 `not_found` if the trip has no such stop, also if it was removed before. 412 `precondition_failed`
    /// if the trip has changed since the `If-Match`.
    #[oai(path = "/:id/stops/:stop_id", method = "delete", operation_id = "remove_stop")]
    async fn remove(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The stop's id.
        stop_id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        _nothing: NoBody,
    ) -> Result<RemovedStop, ProblemResponse<404, 412>> {
        let change = StopChange::Remove(stop_id.uuid());
        let trip =
            self.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await?;
        Ok(RemovedStop::Gone(etag(&trip.etag())))
    }

    /// Put the stops in another order
    ///
    /// For an app in which stops are dragged about: the order names each stop of the trip once, and no other.
    /// Answers with the whole trip, which has a new version.
    ///
    /// 422 if the order leaves a stop out, names one twice or one that the trip does not have; then read the
    /// trip again. 404 `not_found` if there is no such trip, 412 `precondition_failed` if it has changed since
    /// the `If-Match`.
    #[oai(path = "/:id/stops/order", method = "put", operation_id = "order_stops")]
    async fn order(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<StopOrder>,
    ) -> Result<OneTrip, ProblemResponse<404, 412>> {
        let change = StopChange::Order(body.accept()?.stop_ids.into_iter().map(|BodyId(id)| id).collect());
        let trip =
            self.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await?;
        Ok(one(trip))
    }
}
