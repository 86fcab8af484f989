//! Trips as they are sent and shown.

use chrono::{DateTime, NaiveDate, Utc};
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::errors::field_errors;
use super::stop_bodies::{NewStop, StopList, example_stop, parse_stops};
use crate::trips::{Patch, Sort, Status, Stops, Trip, TripFields, Trips};
use crate::web::body::into_patch;
use crate::web::examples;
use crate::web::json::{serialize_date, serialize_instant};
use crate::web::path_id::ClientMadeId;
use crate::web::problem::FieldError;

/// What comes first in a list.
#[derive(Debug, Clone, Copy, Default, Enum)]
pub(super) enum TripSort {
    /// The newest trip.
    #[default]
    #[oai(rename = "-created_at")]
    Created,
    /// The earliest first day.
    #[oai(rename = "start_date")]
    Start,
    /// The trip that changed last.
    #[oai(rename = "-updated_at")]
    Updated,
    /// The first title of the alphabet.
    #[oai(rename = "title")]
    Title,
}

impl From<TripSort> for Sort {
    fn from(sort: TripSort) -> Self {
        match sort {
            TripSort::Created => Self::Created,
            TripSort::Start => Self::Start,
            TripSort::Updated => Self::Updated,
            TripSort::Title => Self::Title,
        }
    }
}

/// Where a trip stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum TripStatus {
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
pub(crate) struct TripBody {
    /// Never changes.
    id: Uuid,
    /// What its owner calls it.
    title: String,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// The first day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    start_date: Option<NaiveDate>,
    /// The last day.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_date")]
    end_date: Option<NaiveDate>,
    /// The time zone that its local times are in (IANA name).
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// Whatever else its owner wants to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    /// Where it stands: `planned`, `active`, `completed` or `archived`. The list may grow.
    status: String,
    /// Where it goes, in travel order.
    stops: StopList,
    /// Counts the changes of this trip, from 1, also those that leave it as it was. A trip that is made again
    /// under the id of a deleted one counts on from there.
    version: i64,
    /// When it was made.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(serialize_with = "serialize_instant")]
    updated_at: DateTime<Utc>,
}

impl From<Trip> for TripBody {
    fn from(trip: Trip) -> Self {
        let Trip { id, fields, version, created_at, updated_at } = trip;
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

/// The trip that the examples tell of: the one that their requests make and change.
pub(crate) fn example_trip() -> Trip {
    let new = CreateTrip::example();
    let fields = TripFields {
        title: new.title,
        destination: new.destination,
        start_date: new.start_date,
        end_date: new.end_date,
        time_zone: new.time_zone,
        notes: new.notes,
        status: new.status.map_or(Status::Planned, Status::from),
        stops: Stops::new(&[example_stop()]).unwrap_or_default(),
    };
    Trip {
        id: examples::TRIP,
        fields,
        version: 2,
        created_at: examples::at(20),
        updated_at: examples::at(95),
    }
}

impl Example for TripBody {
    fn example() -> Self {
        example_trip().into()
    }
}

/// A trip that was made just now, for examples.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct NewTrip(TripBody);

impl Example for NewTrip {
    fn example() -> Self {
        let trip = example_trip();
        Self(Trip { version: 1, updated_at: trip.created_at, ..trip }.into())
    }
}

/// Some of the caller's trips.
#[derive(Debug, Object, Serialize)]
pub(super) struct TripPage {
    /// At most `limit` trips.
    pub(super) items: Vec<TripBody>,
    /// Send it back as `cursor` for the next page. Absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

impl Example for TripPage {
    fn example() -> Self {
        let next = "AAEBnK25nEAAAAAAAAAAAAAAAAAAjgxsHzqNK1U".to_owned();
        Self { items: vec![TripBody::example()], next_cursor: Some(next) }
    }
}

/// A new trip.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct CreateTrip {
    /// A UUIDv7 that you have made, in lower case: who sends the same again after a lost answer is told
    /// that the trip is there, and makes no second one. A new one if absent.
    id: Option<ClientMadeId>,
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
    /// Where it goes, in travel order; nowhere yet if absent.
    #[oai(validator(max_items = 500))]
    stops: Option<Vec<NewStop>>,
}

impl Example for CreateTrip {
    fn example() -> Self {
        Self {
            id: None,
            title: "Lisbon in spring".to_owned(),
            destination: Some("Lisbon".to_owned()),
            start_date: NaiveDate::from_ymd_opt(2027, 4, 2),
            end_date: NaiveDate::from_ymd_opt(2027, 4, 9),
            time_zone: Some("Europe/Lisbon".to_owned()),
            notes: Some("Take the tram, not the bus.".to_owned()),
            status: Some(TripStatus::Planned),
            stops: Some(vec![NewStop::example()]),
        }
    }
}

impl CreateTrip {
    /// The id that it shall have, and the trip; or the rules that it breaks.
    pub(super) fn check(self, trips: &Trips) -> Result<(Option<Uuid>, TripFields), Vec<FieldError>> {
        Ok((self.id.map(|id| id.0), self.into_replace().check(trips)?))
    }

    /// Without the id.
    fn into_replace(self) -> ReplaceTrip {
        let Self { id: _, title, destination, start_date, end_date, time_zone, notes, status, stops } = self;
        ReplaceTrip { title, destination, start_date, end_date, time_zone, notes, status, stops }
    }
}

/// All that is to be said of a trip: what is absent is cleared.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ReplaceTrip {
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
    /// Where it goes, in travel order; nowhere yet if absent.
    #[oai(validator(max_items = 500))]
    stops: Option<Vec<NewStop>>,
}

impl Example for ReplaceTrip {
    fn example() -> Self {
        CreateTrip::example().into_replace()
    }
}

impl ReplaceTrip {
    /// The trip, or the rules that it breaks.
    pub(super) fn check(self, trips: &Trips) -> Result<TripFields, Vec<FieldError>> {
        let (stops, mut faults) = parse_stops(self.stops.unwrap_or_default(), trips);
        let fields = TripFields {
            title: self.title,
            destination: self.destination,
            start_date: self.start_date,
            end_date: self.end_date,
            time_zone: self.time_zone,
            notes: self.notes,
            status: self.status.map(Status::from).unwrap_or_default(),
            stops,
        };
        faults.extend(fields.check().err().unwrap_or_default());
        if faults.is_empty() { Ok(fields) } else { Err(field_errors(faults, "/end_date")) }
    }
}

/// A change of a trip (RFC 7396): what is absent stays, `null` clears.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct UpdateTrip {
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
    /// All stops, in travel order: one with an `id` that the trip has keeps it, one that is absent is
    /// gone. `null` clears them all.
    #[oai(nullable, validator(max_items = 500))]
    stops: MaybeUndefined<Vec<NewStop>>,
}

impl Example for UpdateTrip {
    fn example() -> Self {
        let CreateTrip { title, notes, .. } = CreateTrip::example();
        let notes = notes.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value);
        Self { title: Some(title), notes, ..Self::default() }
    }
}

impl UpdateTrip {
    /// Whether there is one.
    pub(crate) fn has_title(&self) -> bool {
        self.title.is_some()
    }

    /// The change, or the rules that no trip after it could obey.
    pub(crate) fn check(self, trips: &Trips) -> Result<Patch, Vec<FieldError>> {
        let stops = into_patch(self.stops).map(|stops| parse_stops(stops.unwrap_or_default(), trips));
        let (stops, faults) = stops.map_or((None, Vec::new()), |(stops, faults)| (Some(stops), faults));
        let patch = Patch {
            title: self.title,
            destination: into_patch(self.destination),
            start_date: into_patch(self.start_date),
            end_date: into_patch(self.end_date),
            time_zone: into_patch(self.time_zone),
            notes: into_patch(self.notes),
            status: self.status.map(Status::from),
            stops,
        };
        if faults.is_empty() { Ok(patch) } else { Err(field_errors(faults, "/end_date")) }
    }
}
