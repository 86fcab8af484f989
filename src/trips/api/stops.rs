//! The stops of a trip over HTTP.

use std::borrow::Cow;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Example, MaybeUndefined, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::errors::stop_to_problem;
use super::responses::{AddedStop, stop_added};
use super::{OneTrip, condition, one};
use crate::app::App;
use crate::http::Tag;
use crate::http::body::{Body, Json, NoBody, patched};
use crate::http::caller::{Caller, TripsWrite};
use crate::http::conditional::{IfMatch, etag};
use crate::http::examples;
use crate::http::idempotency_key::{self, IdempotencyKey};
use crate::http::local_time::LocalTime;
use crate::http::path_id::{AnyId, BodyId, ClientMadeId, Id};
use crate::http::problem::{Problem, ProblemResponse};
use crate::trips::{Stop, StopChange, StopPatch, Stops, Trip, TripViolation, Trips};

/// A place on the way.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Stop")]
pub(super) struct StopBody {
    /// Unique in its trip; never changes.
    id: Uuid,
    /// What its owner calls it.
    name: String,
    /// Degrees north of the equator (WGS 84).
    latitude: f64,
    /// Degrees east of Greenwich (WGS 84).
    longitude: f64,
    /// When it is reached, by the clocks of the trip's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrives_at: Option<LocalTime>,
    /// When it is left, by the clocks of the trip's time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    departs_at: Option<LocalTime>,
    /// Whatever else its owner wants to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
}

impl From<Stop> for StopBody {
    fn from(stop: Stop) -> Self {
        let Stop { id, name, latitude, longitude, arrives_at, departs_at, notes } = stop;
        let (arrives_at, departs_at) = (arrives_at.map(LocalTime), departs_at.map(LocalTime));
        Self { id, name, latitude, longitude, arrives_at, departs_at, notes }
    }
}

/// The stop that the examples tell of: the one that their requests make and change.
pub(super) fn example_stop() -> Stop {
    NewStop::example().into_stop(|| examples::STOP)
}

impl Example for StopBody {
    fn example() -> Self {
        example_stop().into()
    }
}

/// The stops of a trip, shown as they are kept.
#[derive(Debug)]
pub(crate) struct StopList(pub(crate) Stops);

impl Serialize for StopList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_json() {
            "[]" => serializer.serialize_seq(Some(0))?.end(),
            text => serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom)?.serialize(serializer),
        }
    }
}

impl Type for StopList {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Vec::<StopBody>::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Vec::<StopBody>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        StopBody::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for StopList {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let list: Vec<Stop> =
            serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)?;
        Stops::new(&list).map(Self).map_err(|_| ParseError::custom("not the stops of a trip"))
    }
}

impl ToJSON for StopList {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(self.0.as_json()).ok()
    }
}

/// A stop that is to be.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct NewStop {
    /// That of a stop which the trip has, or a UUIDv7 that you have made, in lower case. A new one if absent.
    id: Option<ClientMadeId>,
    /// What its owner calls it.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// Degrees north of the equator (WGS 84).
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    latitude: f64,
    /// Degrees east of Greenwich (WGS 84).
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    longitude: f64,
    /// When it is reached, by the clocks of the trip's time zone.
    arrives_at: Option<LocalTime>,
    /// When it is left; not before `arrives_at`.
    departs_at: Option<LocalTime>,
    /// Whatever else its owner wants to keep.
    #[oai(validator(max_length = 2000))]
    notes: Option<String>,
}

impl Example for NewStop {
    fn example() -> Self {
        Self {
            id: None,
            name: "Miradouro da Graça".to_owned(),
            latitude: 38.7165,
            longitude: -9.1319,
            arrives_at: "2027-04-03T17:30:00".parse().ok().map(LocalTime),
            departs_at: "2027-04-03T19:00:00".parse().ok().map(LocalTime),
            notes: None,
        }
    }
}

impl NewStop {
    fn into_stop(self, new_id: impl FnOnce() -> Uuid) -> Stop {
        Stop {
            id: self.id.map_or_else(new_id, |id| id.0),
            name: self.name,
            latitude: self.latitude,
            longitude: self.longitude,
            arrives_at: self.arrives_at.map(|at| at.0),
            departs_at: self.departs_at.map(|at| at.0),
            notes: self.notes,
        }
    }
}

/// The stops of a whole trip, and the rules that they break.
pub(super) fn parse_stops(list: Vec<NewStop>, trips: &Trips) -> (Stops, Vec<TripViolation>) {
    let list: Vec<Stop> = list.into_iter().map(|stop| stop.into_stop(|| trips.new_id())).collect();
    match Stops::new(&list) {
        Ok(stops) => (stops, Vec::new()),
        Err(faults) => (Stops::default(), faults),
    }
}

/// A change of a stop (RFC 7396): what is absent stays, `null` clears.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
struct UpdateStop {
    /// What its owner calls it. Can't be cleared.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Option<String>,
    /// Degrees north of the equator (WGS 84). Can't be cleared.
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    latitude: Option<f64>,
    /// Degrees east of Greenwich (WGS 84). Can't be cleared.
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    longitude: Option<f64>,
    /// When it is reached, by the clocks of the trip's time zone.
    #[oai(nullable)]
    arrives_at: MaybeUndefined<LocalTime>,
    /// When it is left; not before `arrives_at`.
    #[oai(nullable)]
    departs_at: MaybeUndefined<LocalTime>,
    /// Whatever else its owner wants to keep.
    #[oai(nullable, validator(max_length = 2000))]
    notes: MaybeUndefined<String>,
}

impl Example for UpdateStop {
    fn example() -> Self {
        let NewStop { name, departs_at, .. } = NewStop::example();
        let departs_at = departs_at.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value);
        Self { name: Some(name), departs_at, ..Self::default() }
    }
}

impl From<UpdateStop> for StopPatch {
    fn from(body: UpdateStop) -> Self {
        let time = |member| patched(member).map(|time| time.map(|LocalTime(time)| time));
        Self {
            name: body.name,
            latitude: body.latitude,
            longitude: body.longitude,
            arrives_at: time(body.arrives_at),
            departs_at: time(body.departs_at),
            notes: patched(body.notes),
        }
    }
}

/// The order in which stops are travelled.
#[derive(Debug, Object)]
struct StopOrder {
    /// The ids of all stops of the trip, each of them once.
    #[oai(validator(max_items = 500))]
    stop_ids: Vec<AnyId>,
}

impl Example for StopOrder {
    fn example() -> Self {
        Self { stop_ids: vec![BodyId(examples::STOP)] }
    }
}

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
    let found = trip.draft.stops.list()?.into_iter().find(|stop| stop.id == id);
    found.map(|stop| Json(stop.into())).ok_or_else(Problem::not_found)
}

/// The operations on a trip's stops.
#[derive(Debug)]
pub struct StopsApi;

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
        app: Data<&App>,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<Id>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        /// As for making a trip: names the stop that is to be made, so that it is made once.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<NewStop>,
    ) -> Result<AddedStop, ProblemResponse<404, 409, 412>> {
        let (owner, trip, trips) = (caller.user(), id.uuid(), app.trips.clone());
        let request = key.request(owner, body.digest());
        let stop = body.accept()?.into_stop(|| trips.new_id());
        let (new, change, condition) = (stop.clone(), StopChange::Add(stop), condition(if_match));
        let add = move |receipt| async move {
            let added = trips.change_stops(owner, trip, condition, change, receipt).await;
            added.map_err(|error| stop_to_problem(error, "/departs_at"))
        };
        Ok(idempotency_key::run_once(&app, request, move |trip| stop_added(trip, &new), add).await?.into())
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
        app: Data<&App>,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<Id>,
        /// The stop's id.
        stop_id: Path<Id>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<UpdateStop>,
    ) -> Result<ChangedStop, ProblemResponse<404, 412>> {
        let patch = StopPatch::from(body.accept()?);
        let offending_date = if patch.departs_at.is_none() { "/arrives_at" } else { "/departs_at" };
        let change = StopChange::Change(stop_id.uuid(), patch);
        let changed =
            app.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await;
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
        app: Data<&App>,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<Id>,
        /// The stop's id.
        stop_id: Path<Id>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        _nothing: NoBody,
    ) -> Result<RemovedStop, ProblemResponse<404, 412>> {
        let change = StopChange::Remove(stop_id.uuid());
        let trip =
            app.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await?;
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
        app: Data<&App>,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<Id>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<StopOrder>,
    ) -> Result<OneTrip, ProblemResponse<404, 412>> {
        let change = StopChange::Order(body.accept()?.stop_ids.into_iter().map(|BodyId(id)| id).collect());
        let trip =
            app.trips.change_stops(caller.user(), id.uuid(), condition(if_match), change, None).await?;
        Ok(one(trip))
    }
}
