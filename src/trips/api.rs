//! Trips over HTTP.

use chrono::{DateTime, NaiveDate, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Draft, Fault, Patch, Status, Trip, TripsError};
use crate::app::App;
use crate::http::caller::{self, Caller, ForReading, ForWriting};
use crate::http::json::{Body, Json, day, instant, patched};
use crate::http::problem::{Code, Fail, FieldFault, Problem};
use crate::http::{Tag, id::Id};

/// Where a trip stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum TripStatus {
    /// Ahead.
    Planned,
    /// Under way.
    Active,
    /// Over.
    Completed,
    /// Put away.
    Archived,
}

impl From<TripStatus> for Status {
    fn from(status: TripStatus) -> Self {
        match status {
            TripStatus::Planned => Self::Planned,
            TripStatus::Active => Self::Active,
            TripStatus::Completed => Self::Completed,
            TripStatus::Archived => Self::Archived,
        }
    }
}

/// A trip.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Trip")]
struct TripBody {
    /// Never changes.
    id: Uuid,
    /// What its owner calls it.
    title: String,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// The first day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "day")]
    start_date: Option<NaiveDate>,
    /// The last day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "day")]
    end_date: Option<NaiveDate>,
    /// The time zone that its local times are in (IANA name).
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Whatever else its owner wants to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Where it stands: `planned`, `active`, `completed` or `archived`. The list may grow.
    status: String,
    /// Counts the changes of this trip, from 1.
    version: i64,
    /// When it was made.
    #[serde(serialize_with = "instant")]
    created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "instant")]
    updated_at: DateTime<Utc>,
}

impl From<Trip> for TripBody {
    fn from(trip: Trip) -> Self {
        let Trip { id, draft, version, created_at, updated_at } = trip;
        Self {
            id,
            title: draft.title,
            destination: draft.destination,
            start_date: draft.start_date,
            end_date: draft.end_date,
            time_zone: draft.time_zone,
            notes: draft.notes,
            status: draft.status.name().to_owned(),
            version,
            created_at,
            updated_at,
        }
    }
}

/// Some of the caller's trips, newest first.
#[derive(Debug, Object, Serialize)]
struct TripPage {
    /// At most `limit` trips.
    items: Vec<TripBody>,
    /// Send it back as `cursor` for the next page. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A new trip.
#[derive(Debug, Object)]
#[oai(example, skip_serializing_if_is_none)]
struct CreateTrip {
    /// What its owner calls it.
    #[oai(validator(min_length = 1, max_length = 200))]
    title: String,
    /// Where it goes.
    #[oai(validator(min_length = 1, max_length = 200))]
    destination: Option<String>,
    /// The first day.
    start_date: Option<NaiveDate>,
    /// The last day; not before `start_date`.
    end_date: Option<NaiveDate>,
    /// An IANA name, such as `Europe/Lisbon`.
    #[oai(validator(max_length = 64))]
    time_zone: Option<String>,
    /// Whatever else its owner wants to keep.
    #[oai(validator(max_length = 10_000))]
    notes: Option<String>,
    /// Where it stands; `planned` if absent.
    status: Option<TripStatus>,
}

impl Example for CreateTrip {
    fn example() -> Self {
        Self {
            title: "Lisbon in spring".to_owned(),
            destination: Some("Lisbon".to_owned()),
            start_date: NaiveDate::from_ymd_opt(2027, 4, 2),
            end_date: NaiveDate::from_ymd_opt(2027, 4, 9),
            time_zone: Some("Europe/Lisbon".to_owned()),
            notes: Some("Take the tram, not the bus.".to_owned()),
            status: Some(TripStatus::Planned),
        }
    }
}

impl From<CreateTrip> for Draft {
    fn from(body: CreateTrip) -> Self {
        Self {
            title: body.title,
            destination: body.destination,
            start_date: body.start_date,
            end_date: body.end_date,
            time_zone: body.time_zone,
            notes: body.notes,
            status: body.status.map(Status::from).unwrap_or_default(),
        }
    }
}

impl CreateTrip {
    /// The trip, or the rules that it breaks.
    fn check(self) -> Result<Draft, Vec<FieldFault>> {
        let draft = Draft::from(self);
        draft.check().map_err(|faults| told(faults, "/end_date"))?;
        Ok(draft)
    }
}

/// A change of a trip (RFC 7396): what is absent stays, `null` clears.
#[derive(Debug, Default, Object)]
#[oai(example, skip_serializing_if_is_none)]
struct UpdateTrip {
    /// What its owner calls it. Can't be cleared.
    #[oai(validator(min_length = 1, max_length = 200))]
    title: Option<String>,
    /// Where it goes.
    #[oai(nullable, validator(min_length = 1, max_length = 200))]
    destination: MaybeUndefined<String>,
    /// The first day.
    #[oai(nullable)]
    start_date: MaybeUndefined<NaiveDate>,
    /// The last day; not before `start_date`.
    #[oai(nullable)]
    end_date: MaybeUndefined<NaiveDate>,
    /// An IANA name, such as `Europe/Lisbon`.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: MaybeUndefined<String>,
    /// Whatever else its owner wants to keep.
    #[oai(nullable, validator(max_length = 10_000))]
    notes: MaybeUndefined<String>,
    /// Can't be cleared.
    status: Option<TripStatus>,
}

impl Example for UpdateTrip {
    fn example() -> Self {
        Self {
            title: Some("Lisbon in summer".to_owned()),
            status: Some(TripStatus::Active),
            ..Self::default()
        }
    }
}

impl From<UpdateTrip> for Patch {
    fn from(body: UpdateTrip) -> Self {
        Self {
            title: body.title,
            destination: patched(body.destination),
            start_date: patched(body.start_date),
            end_date: patched(body.end_date),
            time_zone: patched(body.time_zone),
            notes: patched(body.notes),
            status: body.status.map(Status::from),
        }
    }
}

#[derive(ApiResponse)]
enum ListedTrips {
    /// A page of trips.
    #[oai(status = 200)]
    Ok(
        Json<TripPage>,
        /// Where the next page is (RFC 8288). Absent on the last one.
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum CreatedTrip {
    /// The trip exists.
    #[oai(status = 201)]
    Created(
        Json<TripBody>,
        /// Where the trip is.
        #[oai(header = "Location")]
        String,
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
enum DeletedTrip {
    /// The trip is gone.
    #[oai(status = 204)]
    Gone,
}

impl From<TripsError> for Problem {
    fn from(error: TripsError) -> Self {
        refused(error, "/end_date")
    }
}

/// Of two dates in the wrong order, `blamed` is the one that was sent.
fn refused(error: TripsError, blamed: &str) -> Problem {
    match error {
        TripsError::NotFound => Problem::not_found(),
        TripsError::NoSuchOwner => caller::owner_gone(),
        TripsError::Invalid(faults) => Problem::invalid(told(faults, blamed)),
        TripsError::BadCursor => {
            Problem::new(Code::InvalidCursor, "The cursor was not given by this list to this user.")
        }
        TripsError::Store(error) => error.into(),
    }
}

fn told(faults: Vec<Fault>, blamed: &str) -> Vec<FieldFault> {
    let told = |fault: Fault| {
        let (pointer, code) = match fault {
            Fault::EndsBeforeStart => (blamed, "before_start"),
            Fault::StartOutOfRange => ("/start_date", "out_of_range"),
            Fault::EndOutOfRange => ("/end_date", "out_of_range"),
            Fault::UnknownTimeZone => ("/time_zone", "unknown_time_zone"),
        };
        FieldFault { pointer: pointer.to_owned(), code: code.to_owned(), detail: fault.to_string() }
    };
    faults.into_iter().map(told).collect()
}

fn etag(trip: &Trip) -> String {
    format!("\"{}\"", trip.version)
}

/// The operations of this room.
#[derive(Debug)]
pub struct TripsApi;

#[OpenApi(prefix_path = "/api/v1/trips", tag = "Tag::Trips")]
impl TripsApi {
    /// List my trips
    ///
    /// A page of the caller's own trips, newest first. Page by sending `next_cursor` back as `cursor`:
    /// trips that are added or deleted meanwhile neither shift nor repeat the others.
    #[oai(path = "/", method = "get", operation_id = "list_trips")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: Caller<ForReading>,
        /// The most trips to return.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<u16>,
        /// `next_cursor` of the page before. The first page if absent.
        cursor: Query<Option<String>>,
    ) -> Result<ListedTrips, Fail> {
        let page = app.trips.list(caller.user(), limit.0, cursor.0.as_deref()).await?;
        let link = page
            .next
            .as_ref()
            .map(|next| format!("</api/v1/trips?limit={}&cursor={next}>; rel=\"next\"", limit.0));
        let items = page.items.into_iter().map(TripBody::from).collect();
        Ok(ListedTrips::Ok(Json(TripPage { items, next_cursor: page.next }), link))
    }

    /// Make a trip
    ///
    /// The trip belongs to whoever makes it. 422 lists everything that is wrong with it.
    #[oai(path = "/", method = "post", operation_id = "create_trip")]
    async fn create(
        &self,
        app: Data<&App>,
        caller: Caller<ForWriting>,
        body: Body<CreateTrip>,
    ) -> Result<CreatedTrip, Fail> {
        let draft = body.check(|body, _| body.check())?;
        let trip = app.trips.create(caller.user(), draft).await?;
        let (location, etag) = (format!("/api/v1/trips/{}", trip.id), etag(&trip));
        Ok(CreatedTrip::Created(Json(trip.into()), location, etag))
    }

    /// Get a trip
    ///
    /// One of the caller's own trips. 404 if there is none of that id, or it is somebody else's.
    #[oai(path = "/:id", method = "get", operation_id = "get_trip")]
    async fn get(
        &self,
        app: Data<&App>,
        caller: Caller<ForReading>,
        /// The trip's id.
        id: Path<Id>,
    ) -> Result<OneTrip, Fail<404>> {
        let trip = app.trips.find(caller.user(), id.uuid()).await?;
        let etag = etag(&trip);
        Ok(OneTrip::Ok(Json(trip.into()), etag))
    }

    /// Change a trip
    ///
    /// A JSON Merge Patch (RFC 7396): a member that is absent stays as it is, `null` clears it.
    #[oai(path = "/:id", method = "patch", operation_id = "update_trip")]
    async fn update(
        &self,
        app: Data<&App>,
        caller: Caller<ForWriting>,
        /// The trip's id.
        id: Path<Id>,
        body: Body<UpdateTrip>,
    ) -> Result<OneTrip, Fail<404>> {
        let patch = Patch::from(body.accept()?);
        let blamed = if patch.end_date.is_none() { "/start_date" } else { "/end_date" };
        let changed = app.trips.change(caller.user(), id.uuid(), patch).await;
        let trip = changed.map_err(|error| refused(error, blamed))?;
        let etag = etag(&trip);
        Ok(OneTrip::Ok(Json(trip.into()), etag))
    }

    /// Delete a trip
    ///
    /// 404 if there is none of that id, or it is somebody else's; also if it was deleted before.
    #[oai(path = "/:id", method = "delete", operation_id = "delete_trip")]
    async fn delete(
        &self,
        app: Data<&App>,
        caller: Caller<ForWriting>,
        /// The trip's id.
        id: Path<Id>,
    ) -> Result<DeletedTrip, Fail<404>> {
        app.trips.delete(caller.user(), id.uuid()).await?;
        Ok(DeletedTrip::Gone)
    }
}

fn default_limit() -> u16 {
    20
}
