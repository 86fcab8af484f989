//! Trips over HTTP.

mod bodies;
mod errors;
mod responses;
mod stop_bodies;
mod stops;

use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi};

use self::bodies::{CreateTrip, NewTrip, ReplaceTrip, TripPage, TripSort, TripStatus};
pub(crate) use self::bodies::{TripBody, UpdateTrip, example_trip};
use self::errors::changed;
pub(crate) use self::errors::{offending_date, to_problem};
use self::responses::{CreatedTrip, trip_created};
pub(crate) use self::stop_bodies::StopList;
pub use self::stops::StopsApi;
use super::{Listing, Precondition, Sort, Trip, TripsError};
use crate::idempotency::Idempotency;
use crate::trips::Trips;
use crate::web::body::{Body, NoBody};
use crate::web::caller::{Caller, TripsRead, TripsWrite};
use crate::web::conditional::{EntityTags, IfMatch, IfNoneMatch, etag};
use crate::web::idempotency_key::{self, IdempotencyKey};
use crate::web::json::{Json, RawJson, to_vec};
use crate::web::local_time::DateParam;
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};
use crate::web::{API, Tag, path_id::PathId};

#[derive(ApiResponse)]
enum ListedTrips {
    /// A page of trips.
    #[oai(status = 200)]
    Ok(
        Json<TripPage>,
        /// Names this page in this state: it is another one after any change of any of the caller's trips.
        #[oai(header = "ETag")]
        String,
        /// Where the next page is (RFC 8288). Absent on the last one.
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// Nothing has changed since the state that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(
        /// Names that state.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum GotTrip {
    /// The trip.
    #[oai(status = 200)]
    Ok(
        Json<TripBody>,
        /// Its version.
        #[oai(header = "ETag")]
        String,
    ),
    /// The trip is still in the state that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(
        /// Its version.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum OneTrip {
    /// The trip.
    #[oai(status = 200)]
    Ok(
        Json<TripBody>,
        /// Its version.
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum PutTrip {
    /// The trip, as it is now.
    #[oai(status = 200)]
    Replaced(
        Json<TripBody>,
        /// Its version.
        #[oai(header = "ETag")]
        String,
    ),
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
    ),
}

#[derive(ApiResponse)]
enum DeletedTrip {
    /// The trip is gone.
    #[oai(status = 204)]
    Gone,
}

fn one(trip: Trip) -> OneTrip {
    let etag = etag(&trip.etag());
    OneTrip::Ok(Json(trip.into()), etag)
}

fn location(trip: &Trip) -> String {
    format!("{API}/trips/{}", trip.id)
}

/// `*` asks for nothing but that the trip is there, which is asked anyway.
fn condition(if_match: IfMatch) -> Precondition {
    if_match.0.and_then(EntityTags::strong).map_or(Precondition::Always, Precondition::OneOf)
}

/// How `PUT` is meant: to make what is not there, or to change what is in this state.
fn put_condition(
    if_match: IfMatch<false>,
    if_none_match: IfNoneMatch<false>,
) -> Result<Option<Precondition>, Problem> {
    match (if_match.0, if_none_match.0) {
        (Some(tags), None) => Ok(Some(condition(IfMatch(Some(tags))))),
        (None, Some(EntityTags::Any)) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::new(ProblemCode::BadRequest, "Send either If-Match or If-None-Match, not both."))
        }
        (None, None | Some(EntityTags::List(_))) => Err(Problem::new(
            ProblemCode::PreconditionRequired,
            "Send If-Match with the ETag of the trip, or If-None-Match: * to create it.",
        )),
    }
}

/// Where the next page of the same list is.
fn link(asked: &[(&str, Option<String>)], next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in asked {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("cursor", next);
    format!("<{API}/trips?{}>; rel=\"next\"", query.finish())
}

async fn answer(
    trips: &Trips,
    listing: Listing,
    if_none_match: &IfNoneMatch,
    asked: &[(&str, Option<String>)],
) -> Result<ListedTrips, TripsError> {
    if if_none_match.0.is_some() {
        // Costs one row: that which counts the caller's changes.
        let tag = trips.etag(&listing).await?;
        if if_none_match.matches(&tag) {
            return Ok(ListedTrips::Unchanged(etag(&tag)));
        }
    }
    let page = trips.list(listing).await?;
    let link = page.next.as_ref().map(|next| link(asked, next));
    let items = page.items.into_iter().map(TripBody::from).collect();
    Ok(ListedTrips::Ok(Json(TripPage { items, next_cursor: page.next }), etag(&page.etag), link))
}

/// The operations of this room.
#[derive(Debug)]
pub struct TripsApi {
    trips: Trips,
    idempotency: Idempotency,
}

impl TripsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(trips: &Trips, idempotency: &Idempotency) -> Self {
        Self { trips: trips.clone(), idempotency: idempotency.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/trips", tag = "Tag::Trips")]
impl TripsApi {
    /// List my trips
    ///
    /// A page of the caller's own trips: for a list on the screen. An app that keeps trips on the phone asks
    /// what changed instead.
    ///
    /// Page by sending `next_cursor` back as `cursor`, with the same `sort` and filters: trips that are added
    /// or deleted meanwhile neither shift nor repeat the others. Send the `ETag` back as `If-None-Match` to
    /// learn for next to nothing that nothing has changed.
    ///
    /// 400 `invalid_cursor` for a cursor of another list, another user or another making: start again without
    /// one. 422 names the parameter that is not as documented, and what it may be.
    #[oai(path = "/", method = "get", operation_id = "list_trips")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        caller: Caller<TripsRead>,
        /// The most trips to return.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u16>,
        /// `next_cursor` of the page before. The first page if absent.
        cursor: Query<Option<String>>,
        /// What comes first: `-created_at` (if absent) the newest, `start_date` the one that starts first
        /// (those without a first day last), `-updated_at` the one that changed last, `title` the first of
        /// the alphabet, without regard to case and accents.
        sort: Query<Option<TripSort>>,
        /// Only trips that stand so.
        status: Query<Option<TripStatus>>,
        /// Only trips in whose title, destination or notes this stands, without regard to case and
        /// accents. No character of it has a meaning of its own.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// Only trips whose first day is this one or a later one.
        starts_from: Query<Option<DateParam>>,
        /// Only trips whose first day is this one or an earlier one.
        starts_until: Query<Option<DateParam>>,
        /// The `ETag` of a page that you have: 304 if it would be the same now.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<ListedTrips, ProblemResponse> {
        let (sort, status) = (sort.0.map(Sort::from), status.0.map(super::Status::from));
        let day = |day: &Option<DateParam>| day.as_ref().map(|day| day.0.to_string());
        let asked = [
            ("limit", Some(limit.0.to_string())),
            ("sort", sort.map(|sort| sort.name().to_owned())),
            ("status", status.map(|status| status.name().to_owned())),
            ("q", q.0.clone()),
            ("starts_from", day(&starts_from.0)),
            ("starts_until", day(&starts_until.0)),
        ];
        let query = super::Query {
            limit: limit.0,
            sort: sort.unwrap_or_default(),
            status,
            q: q.0,
            starts_from: starts_from.0.map(|day| day.0),
            starts_until: starts_until.0.map(|day| day.0),
            cursor: cursor.0,
        };
        let listing = self.trips.listing(caller.user(), query)?;
        Ok(answer(&self.trips, listing, &if_none_match, &asked).await?)
    }

    /// Make a trip
    ///
    /// The trip belongs to whoever makes it. Give a title; all else can come later, its stops too. 422 lists
    /// everything that is wrong with it.
    ///
    /// With an `Idempotency-Key` the request can be sent again when its answer was lost: the trip is made once,
    /// and for 7 days the answer is the same each time, also after a crash of the server. A request that is
    /// refused (4xx, 5xx) did nothing and leaves its key free. 409 `idempotency_in_progress` while the first
    /// request still runs; 409 `already_exists` if the caller has a trip of this `id`; 422
    /// `idempotency_key_reused` for another request under the same key.
    #[oai(path = "/", method = "post", operation_id = "create_trip")]
    async fn create(
        &self,
        caller: Caller<TripsWrite>,
        /// Names what is to be made, so that it is made once: a random UUID, say, the same for all tries. 1 to
        /// 255 visible ASCII characters, with or without quotation marks around them.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<CreateTrip>,
    ) -> Result<CreatedTrip, ProblemResponse<409>> {
        let (owner, trips) = (caller.user(), self.trips.clone());
        let request = key.request(owner, body.digest());
        let (id, fields) = body.check(|body, _| body.check(&trips))?;
        let make = move |receipt| async move { trips.create(owner, id, fields, receipt).await };
        Ok(idempotency_key::run_once(&self.idempotency, request, trip_created, make).await?.into())
    }

    /// Get a trip
    ///
    /// One of the caller's own trips, with its stops. Keep the `ETag`: sent back as `If-None-Match` it makes
    /// the answer 304 while the trip is the same, and as `If-Match` it makes sure that a change is made to what
    /// you know.
    ///
    /// 404 `not_found` if there is none of that id, or it is somebody else's.
    #[oai(path = "/:id", method = "get", operation_id = "get_trip")]
    async fn get(
        &self,
        caller: Caller<TripsRead>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you have: 304 if it is still the same.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<GotTrip, ProblemResponse<404>> {
        let trip = self.trips.find(caller.user(), id.uuid()).await?;
        let tag = trip.etag();
        Ok(if if_none_match.matches(&tag) {
            GotTrip::Unchanged(etag(&tag))
        } else {
            GotTrip::Ok(Json(trip.into()), etag(&tag))
        })
    }

    /// Replace a trip, or make it under this id
    ///
    /// For an app that keeps whole trips. With `If-Match` the body takes the place of all that is said of the
    /// trip: what is absent is cleared. With `If-None-Match: *` it makes a trip under an id that you have made,
    /// a UUIDv7 in lower case, unless you have one. Sent again after the trip was deleted, it makes it again.
    ///
    /// 412 `precondition_failed` if the trip has changed since, or you have one of that id: read it, merge, and
    /// send the new `ETag`. 428 `precondition_required` with neither header. 404 `not_found` if there is
    /// nothing to replace.
    #[oai(path = "/:id", method = "put", operation_id = "replace_trip")]
    async fn replace(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since. `*` replaces any.
        #[oai(name = "If-Match")]
        if_match: IfMatch<false>,
        /// `*`: make the trip, if you have none of this id.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<false>,
        body: Body<ReplaceTrip>,
    ) -> Result<PutTrip, ProblemResponse<404, 412, 428>> {
        let fields = body.check(|body, _| body.check(&self.trips))?;
        let Some(condition) = put_condition(if_match, if_none_match)? else {
            let made = self.trips.create(caller.user(), Some(id.uuid()), fields, None).await;
            let trip = made.map_err(|error| match error {
                TripsError::IdTaken => changed(),
                error => error.into(),
            })?;
            let (location, etag) = (location(&trip), etag(&trip.etag()));
            let written = RawJson::new(to_vec(&TripBody::from(trip)));
            return Ok(PutTrip::Created(written, location, etag));
        };
        let trip = self.trips.replace(caller.user(), id.uuid(), condition, fields).await?;
        let etag = etag(&trip.etag());
        Ok(PutTrip::Replaced(Json(trip.into()), etag))
    }

    /// Change a trip
    ///
    /// To change a part of a trip: a JSON Merge Patch (RFC 7396), in which a member that is absent stays as it
    /// is, and `null` clears it. Answers with the whole trip, which has a new version.
    ///
    /// Without `If-Match` the last one to write wins, member by member; with it 412 `precondition_failed` if
    /// the trip has changed since. 404 `not_found` if there is none of that id, or it is somebody else's.
    #[oai(path = "/:id", method = "patch", operation_id = "update_trip")]
    async fn update(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<UpdateTrip>,
    ) -> Result<OneTrip, ProblemResponse<404, 412>> {
        let patch = body.check(|body, _| body.check(&self.trips))?;
        let offending_date = offending_date(&patch);
        let after = self.trips.change(caller.user(), id.uuid(), condition(if_match), patch).await;
        Ok(one(after.map_err(|error| to_problem(error, offending_date))?))
    }

    /// Delete a trip
    ///
    /// For ever, with its stops and the link to it. With `If-Match` only while it is what you know, else 412
    /// `precondition_failed`.
    ///
    /// 404 `not_found` if there is none of that id, or it is somebody else's; also if it was deleted before,
    /// which an app that repeats a lost request takes for success.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_trip")]
    async fn delete(
        &self,
        caller: Caller<TripsWrite>,
        /// The trip's id.
        id: Path<PathId>,
        /// The `ETag` of the trip that you know: 412 if it has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        _nothing: NoBody,
    ) -> Result<DeletedTrip, ProblemResponse<404, 412>> {
        self.trips.delete(caller.user(), id.uuid(), condition(if_match)).await?;
        Ok(DeletedTrip::Gone)
    }
}

fn default_limit() -> u16 {
    20
}
