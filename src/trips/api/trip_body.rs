//! A trip in responses, and the page of a list.

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::bodies::example_trip;
use super::stop_bodies::{StopList, StopsJson};
use crate::trips::{BorrowedTrip, Trip};
use crate::web::json::{serialize_date, serialize_instant, try_to_vec};

/// The space for each trip of a page, in bytes of JSON: enough for a trip with short notes and without stops.
const TYPICAL_LEN: usize = 450;

/// A trip.
#[derive(Debug, Object)]
#[oai(rename = "Trip")]
pub(crate) struct TripBody {
    /// Id of the trip. Never changes.
    id: Uuid,
    /// Title of the trip.
    title: String,
    /// Destination of the trip.
    destination: Option<String>,
    /// First day of the trip.
    start_date: Option<NaiveDate>,
    /// Last day of the trip.
    end_date: Option<NaiveDate>,
    /// Time zone of the trip, and of each stop that has none: an IANA name, such as `Europe/Lisbon`.
    time_zone: Option<String>,
    /// Notes of the owner.
    notes: Option<String>,
    /// Status of the trip: `planned`, `active`, `completed` or `archived`. The list may grow.
    status: String,
    /// Stops of the trip, in travel order.
    stops: StopList,
    /// Version of the trip. Begins at 1 and grows by 1 with each change, even if the change leaves all fields
    /// as they are. A trip that is created again with the id of a deleted trip continues the versions of the
    /// deleted trip.
    version: i64,
    /// Time of the creation.
    created_at: DateTime<Utc>,
    /// Time of the last change.
    updated_at: DateTime<Utc>,
}

impl From<Trip> for TripBody {
    fn from(trip: Trip) -> Self {
        let Trip { id, fields, version, created_at, updated_at } = trip;
        let fields = fields.into_inner();
        Self {
            id,
            title: fields.title,
            destination: fields.destination,
            start_date: fields.start_date,
            end_date: fields.end_date,
            time_zone: fields.time_zone,
            notes: fields.notes,
            status: fields.status.name().to_owned(),
            stops: StopList(fields.stops),
            version,
            created_at,
            updated_at,
        }
    }
}

impl Serialize for TripBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = TripJson {
            id: self.id,
            title: &self.title,
            destination: self.destination.as_deref(),
            start_date: self.start_date,
            end_date: self.end_date,
            time_zone: self.time_zone.as_deref(),
            notes: self.notes.as_deref(),
            status: &self.status,
            stops: StopsJson(self.stops.0.as_json()),
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        };
        json.serialize(serializer)
    }
}

/// A [`TripBody`] whose texts are borrowed.
#[derive(Debug, Serialize)]
struct TripJson<'a> {
    id: Uuid,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    start_date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    end_date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    status: &'a str,
    stops: StopsJson<'a>,
    version: i64,
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "serialize_instant")]
    updated_at: DateTime<Utc>,
}

impl<'a> From<BorrowedTrip<'a>> for TripJson<'a> {
    fn from(trip: BorrowedTrip<'a>) -> Self {
        Self {
            id: trip.id,
            title: trip.title,
            destination: trip.destination,
            start_date: trip.start_date,
            end_date: trip.end_date,
            time_zone: trip.time_zone,
            notes: trip.notes,
            status: trip.status.name(),
            stops: StopsJson(trip.stops),
            version: trip.version,
            created_at: trip.created_at,
            updated_at: trip.updated_at,
        }
    }
}

impl Example for TripBody {
    fn example() -> Self {
        example_trip().into()
    }
}

/// A trip directly after its creation, for the examples.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct NewTrip(TripBody);

impl Example for NewTrip {
    fn example() -> Self {
        let trip = example_trip();
        Self(Trip { version: 1, updated_at: trip.created_at, ..trip }.into())
    }
}

/// A page of the trips of the user.
#[derive(Debug, Object)]
pub(super) struct TripPage {
    /// Trips of the page: at most `limit`, fewer if the trips are large.
    pub(super) items: Vec<TripBody>,
    /// Cursor of the next page. Send it back as `cursor`. Absent on the last page.
    pub(super) next_cursor: Option<String>,
}

impl Example for TripPage {
    fn example() -> Self {
        let next = "AAEBnK25nEAAAAAAAAAAAAAAAAAAjgxsHzqNK1U".to_owned();
        Self { items: vec![TripBody::example()], next_cursor: Some(next) }
    }
}

impl Serialize for TripPage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PageJson { items: &self.items, next_cursor: self.next_cursor.as_deref() }.serialize(serializer)
    }
}

/// A [`TripPage`] whose texts are borrowed.
#[derive(Debug, Serialize)]
struct PageJson<'a, T> {
    items: &'a [T],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
}

/// Serializes a page of a list.
pub(super) fn page_json(
    trips: Vec<BorrowedTrip<'_>>,
    next_cursor: Option<&str>,
) -> Result<Vec<u8>, serde_json::Error> {
    let items: Vec<TripJson<'_>> = trips.into_iter().map(TripJson::from).collect();
    try_to_vec(&PageJson { items: &items, next_cursor }, TYPICAL_LEN * (items.len() + 1))
}
