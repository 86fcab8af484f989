//! The HTTP operations on trips.

mod bodies;
mod errors;
mod repeatable;
mod responses;
mod stop_bodies;
mod stops;
mod trip_body;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use self::bodies::{CreateTrip, TripSort, TripStatus};
pub(crate) use self::bodies::{ReplaceTrip, UpdateTrip, example_trip};
use self::errors::version_mismatch;
pub(crate) use self::errors::{offending_date, to_problem};
use self::repeatable::Creation;
use self::responses::{
    ChangedTrip, CreatedTrip, DeletedTrip, FoundTrip, ListedTrips, PutTrip, changed_trip, put_trip_created,
    replaced_trip,
};
pub(crate) use self::stop_bodies::StopList;
pub use self::stops::StopsApi;
pub(crate) use self::trip_body::TripBody;
use self::trip_body::page_json;
use super::{Listing, Precondition, Sort, TripsError};
use crate::idempotency::Idempotency;
use crate::trips::Trips;
use crate::web::body::{Body, NoBody};
use crate::web::caller::{Caller, TripsRead, TripsWrite};
use crate::web::conditional::{EntityTags, IfMatch, IfNoneMatch, etag};
use crate::web::idempotency_key::{self, IdempotencyKey};
use crate::web::json::{Json, RawJson};
use crate::web::local_time::DateParam;
use crate::web::problem::{Problem, ProblemCode, ProblemResponse};
use crate::web::{API, Tag, path_id::PathId};

/// Returns the precondition of a change. `If-Match: *` requires only that the trip exists, which every change
/// requires anyway.
fn precondition(if_match: IfMatch) -> Precondition {
    if_match.0.and_then(EntityTags::strong).map_or(Precondition::Always, Precondition::OneOf)
}

/// Returns the precondition of a `PUT` that replaces a trip, or `None` if the `PUT` creates a trip.
fn put_precondition(
    if_match: IfMatch<false>,
    if_none_match: IfNoneMatch<false>,
) -> Result<Option<Precondition>, Problem> {
    match (if_match.0, if_none_match.0) {
        (Some(tags), None) => Ok(Some(precondition(IfMatch(Some(tags))))),
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

/// Returns the `Link` header of the next page: the same list with another cursor.
fn link(parameters: &[(&str, Option<String>)], next: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("cursor", next);
    format!("<{API}/trips?{}>; rel=\"next\"", query.finish())
}

/// Returns the page, or 304 if nothing has changed.
async fn respond(
    trips: &Trips,
    listing: Listing,
    if_none_match: &IfNoneMatch,
    parameters: &[(&str, Option<String>)],
) -> Result<ListedTrips, TripsError> {
    let mut state = None;
    if if_none_match.0.is_some() {
        // `page_state` reads only one row, the user's change counter.
        let current = trips.page_state(&listing).await?;
        if if_none_match.matches(&current.etag) {
            return Ok(ListedTrips::Unchanged(etag(&current.etag)));
        }
        state = Some(current);
    }
    let page = trips.rendered_page(listing, state, page_json).await?;
    // A page from the cache can originate from a request that wrote the parameters of the same list
    // differently. The link repeats the parameters of this request, so the cached page does not contain a
    // link.
    let link = page.next.as_ref().map(|next| link(parameters, next));
    Ok(ListedTrips::Ok(RawJson::new(page.json), etag(&page.etag), link))
}

/// The operations on trips.
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
    /// List trips
    ///
    /// Returns a page of the user's own trips, for display as a list. An app that stores trips on the device
    /// reads the changes with `GET /api/v1/sync` instead.
    ///
    /// To get the next page, send `next_cursor` back as `cursor`, with the same `sort` and filters. Trips
    /// that are created or deleted between two requests do not cause other trips to be skipped or returned
    /// twice. To find out at low cost whether anything has changed, send the `ETag` back as `If-None-Match`.
    ///
    /// - 400 `invalid_cursor`: the cursor belongs to another list or user, or was not issued by this server.
    ///   Start again without a cursor.
    /// - 422 `invalid`: a query parameter is not valid. `errors` names the parameter and its allowed values.
    /// - 429 `too_many_searches`: other searches of the user are still running. Repeat the request after
    ///   `Retry-After` seconds, unless the user has changed the search text since.
    /// - 503 `search_timeout`: the search took too long. Repeat it later, or search for a longer text.
    #[oai(path = "/", method = "get", operation_id = "list_trips")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        caller: Caller<TripsRead>,
        /// Maximum number of trips on the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u16>,
        /// `next_cursor` of the previous page. Without it, the response is the first page.
        cursor: Query<Option<String>>,
        /// Sort order: `-created_at` (default): newest first; `start_date`: earliest start first;
        /// `-start_date`: latest start first; `-updated_at`: last changed first; `title`: alphabetical,
        /// ignoring case and accents. With `start_date` and `-start_date`, trips without a first day come
        /// last.
        sort: Query<Option<TripSort>>,
        /// Returns only trips with this status. May be repeated: `status=planned&status=active` returns trips
        /// with any of these statuses.
        status: Query<Option<Vec<TripStatus>>>,
        /// Returns only trips whose title, destination, notes or names of stops contain this text, ignoring
        /// case and accents. There are no wildcards.
        #[oai(validator(min_length = 1, max_length = 200))]
        q: Query<Option<String>>,
        /// Returns only trips whose first day is this date or later.
        starts_from: Query<Option<DateParam>>,
        /// Returns only trips whose first day is this date or earlier.
        starts_until: Query<Option<DateParam>>,
        /// `ETag` of the page that the app has already. The response is 304 if nothing has changed.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<ListedTrips, ProblemResponse<429>> {
        let sort = sort.0.map(Sort::from);
        let statuses: Vec<_> = status.0.into_iter().flatten().map(super::Status::from).collect();
        let day = |day: &Option<DateParam>| day.as_ref().map(|day| day.0.to_string());
        let mut parameters =
            vec![("limit", Some(limit.0.to_string())), ("sort", sort.map(|sort| sort.name().to_owned()))];
        parameters.extend(statuses.iter().map(|status| ("status", Some(status.name().to_owned()))));
        parameters.extend([
            ("q", q.0.clone()),
            ("starts_from", day(&starts_from.0)),
            ("starts_until", day(&starts_until.0)),
        ]);
        let query = super::Query {
            limit: limit.0,
            sort: sort.unwrap_or_default(),
            statuses,
            q: q.0,
            starts_from: starts_from.0.map(|day| day.0),
            starts_until: starts_until.0.map(|day| day.0),
            cursor: cursor.0,
        };
        let listing = self.trips.listing(caller.user(), query)?;
        Ok(respond(&self.trips, listing, &if_none_match, &parameters).await?)
    }

    /// Create a trip
    ///
    /// Creates a trip of the user. Only `title` is required. All other fields and the stops can be added
    /// later.
    ///
    /// With an `Idempotency-Key`, an app can repeat the request if the response was lost: the trip is created
    /// once, and for 7 days every repetition gets the same response, even after a crash of the server, and
    /// even if the trip has been changed or deleted since. A request that is rejected (4xx, 5xx) changes
    /// nothing and does not use up its key. The exception is 503 `outcome_unknown`: the trip may have been
    /// created. Repeat the same request with the same key.
    ///
    /// - 409 `already_exists`: the user has a trip with this `id` already. If you
    ///   repeated the request because its response was lost, the first request succeeded.
    /// - 409 `idempotency_in_progress`: the first request with this key is still running. Repeat the request
    ///   after `Retry-After` seconds.
    /// - 422 `invalid`: `errors` lists all errors in the trip.
    /// - 422 `idempotency_key_reused`: the key was used for another request. Use a new key.
    #[oai(path = "/", method = "post", operation_id = "create_trip")]
    async fn create(
        &self,
        caller: Caller<TripsWrite>,
        /// Key of the new trip, the same in every attempt, for example a random UUID: 1 to 255 visible ASCII
        /// characters, with or without quotation marks around them.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<CreateTrip>,
    ) -> Result<CreatedTrip, ProblemResponse<409>> {
        let (owner, trips) = (caller.user(), self.trips.clone());
        let request = key.request(owner, body.digest());
        let seed = trips.new_id();
        let (id, fields) = body.check(|body, _| body.check(seed))?;
        let creation = Creation { fields: fields.clone(), seed };
        let create = move |receipt| async move { trips.create(owner, id, fields, receipt).await };
        let response = idempotency_key::run_once(&self.idempotency, request, creation, create).await?;
        Ok(CreatedTrip::new(response, caller.can_read_trips()))
    }

    /// Get a trip
    ///
    /// Returns one of the user's own trips, with its stops. Store the `ETag`. If you send it as
    /// `If-None-Match` with the next read, the response is 304 while the trip is unchanged. If you send it as
    /// `If-Match` with a change, and the trip has a newer version that the app has not seen, the trip is not
    /// changed and the response is 412.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    #[oai(path = "/:id", method = "get", operation_id = "get_trip")]
    async fn get(
        &self,
        caller: Caller<TripsRead>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the trip that the app has already. The response is 304 if the trip has not changed.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<FoundTrip, ProblemResponse<404>> {
        let trip = self.trips.find(caller.user(), id.uuid()).await?;
        let tag = trip.etag();
        Ok(if if_none_match.matches(&tag) {
            FoundTrip::Unchanged(etag(&tag))
        } else {
            FoundTrip::Ok(Json(trip.into()), etag(&tag))
        })
    }

    /// Replace or create a trip
    ///
    /// Stores a whole trip. With `If-Match`, the body replaces all fields of the trip, and absent fields are
    /// cleared. With `If-None-Match: *`, the request creates a trip whose id the app has generated (a UUIDv7 in
    /// lower case), unless the user has a trip with this id. If this request is repeated after the trip was
    /// deleted, the request creates the trip again.
    ///
    /// - 404 `not_found`: there is no trip to replace. Reload the list of trips.
    /// - 412 `precondition_failed`: the trip has changed, or the user has a trip with this id already. Read
    ///   the trip, merge the changes, and send the new `ETag`.
    /// - 428 `precondition_required`: the request has neither `If-Match` nor `If-None-Match`. Send one of
    ///   them.
    #[oai(path = "/:id", method = "put", operation_id = "replace_trip")]
    async fn replace(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        /// `*` replaces any version.
        #[oai(name = "If-Match")]
        if_match: IfMatch<false>,
        /// Always `*`, which creates the trip. The response is 412 if the user has a trip with this id.
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch<false>,
        body: Body<ReplaceTrip>,
    ) -> Result<PutTrip, ProblemResponse<404, 412, 428>> {
        let fields = body.check(|body, _| body.check(self.trips.new_id()))?;
        let Some(precondition) = put_precondition(if_match, if_none_match)? else {
            let created = self.trips.create(caller.user(), Some(id.uuid()), fields, None).await;
            let trip = created.map_err(|error| match error {
                TripsError::IdTaken => version_mismatch(),
                error => error.into(),
            })?;
            return Ok(put_trip_created(trip, caller.can_read_trips()));
        };
        let trip = self.trips.replace(caller.user(), id.uuid(), precondition, fields).await?;
        Ok(replaced_trip(trip, caller.can_read_trips()))
    }

    /// Change a trip
    ///
    /// Changes some fields of a trip by a JSON Merge Patch (RFC 7396): an absent field is unchanged, and
    /// `null` clears a field. Returns the whole trip with its new version. Without `If-Match`, the change is
    /// made to the current version, and overwrites earlier changes of the same fields. A patch without fields
    /// changes nothing, not even the version.
    ///
    /// - 404 `not_found`: there is no such trip, or it belongs to another user. Reload the list of trips.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip, apply the user's change to it, and repeat the request with the new `ETag`.
    #[oai(path = "/:id", method = "patch", operation_id = "update_trip")]
    async fn update(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Body<UpdateTrip>,
    ) -> Result<ChangedTrip, ProblemResponse<404, 412>> {
        let patch = body.check(|body, _| body.check(self.trips.new_id()))?;
        let offending_date = offending_date(&patch);
        let after = self.trips.change(caller.user(), id.uuid(), precondition(if_match), patch).await;
        let after = after.map_err(|error| to_problem(error, offending_date))?;
        Ok(changed_trip(after, caller.can_read_trips()))
    }

    /// Delete a trip
    ///
    /// Deletes a trip permanently, with its stops and its share link. With `If-Match`, deletes the trip
    /// only if it still has this `ETag`.
    ///
    /// - 404 `not_found`: there is no such trip, for example because it was deleted before, or it belongs to
    ///   another user. If the response to an earlier attempt was lost, treat this as success.
    /// - 412 `precondition_failed`: the trip has changed: its `ETag` differs from `If-Match`. Read the
    ///   trip before you delete it.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_trip")]
    async fn delete(
        &self,
        caller: Caller<TripsWrite>,
        /// Id of the trip.
        id: Path<PathId>,
        /// `ETag` of the version of the trip that the app has. The response is 412 if the trip has changed since.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        _no_body: NoBody,
    ) -> Result<DeletedTrip, ProblemResponse<404, 412>> {
        self.trips.delete(caller.user(), id.uuid(), precondition(if_match)).await?;
        Ok(DeletedTrip::NoContent)
    }
}

fn default_limit() -> u16 {
    20
}
