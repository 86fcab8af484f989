//! The request and response bodies of trips.

use chrono::NaiveDate;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Enum, Object};
use uuid::Uuid;

use super::errors::field_errors;
use super::stop_bodies::{NewStop, example_stop, parse_stops};
use crate::trips::{Patch, Sort, Status, Stops, Trip, TripFields, UncheckedFields};
use crate::web::body::into_patch;
use crate::web::examples;
use crate::web::path_id::ClientMadeId;
use crate::web::plain_text::{Line, Notes};
use crate::web::problem::FieldError;

/// The sort order of a list of trips.
#[derive(Debug, Clone, Copy, Default, Enum)]
pub(super) enum TripSort {
    /// By time of creation, newest first.
    #[default]
    #[oai(rename = "-created_at")]
    Created,
    /// By first day, earliest first.
    #[oai(rename = "start_date")]
    Start,
    /// By first day, latest first.
    #[oai(rename = "-start_date")]
    LatestStart,
    /// By last change, latest first.
    #[oai(rename = "-updated_at")]
    Updated,
    /// By title, alphabetically.
    #[oai(rename = "title")]
    Title,
}

impl From<TripSort> for Sort {
    fn from(sort: TripSort) -> Self {
        match sort {
            TripSort::Created => Self::Created,
            TripSort::Start => Self::Start,
            TripSort::LatestStart => Self::LatestStart,
            TripSort::Updated => Self::Updated,
            TripSort::Title => Self::Title,
        }
    }
}

/// The status of a trip.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
pub(super) enum TripStatus {
    /// The trip is planned.
    Planned,
    /// The trip is in progress.
    Active,
    /// The trip is over.
    Completed,
    /// The user has archived the trip.
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

/// A new trip. Without `status`, it is `planned`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct CreateTrip {
    /// Id that the app has generated: a UUIDv7 in lower case. If the app repeats the request after a lost
    /// response, the response is 409 and no second trip is created. If absent, the server generates the id.
    #[oai(nullable)]
    id: Option<ClientMadeId>,
    /// Title of the trip, 1 to 200 characters in one line.
    #[oai(validator(min_length = 1, max_length = 200))]
    title: Line,
    /// Destination of the trip, 1 to 200 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 200))]
    destination: Option<Line>,
    /// First day of the trip.
    #[oai(nullable)]
    start_date: Option<NaiveDate>,
    /// Last day of the trip; not before `start_date`.
    #[oai(nullable)]
    end_date: Option<NaiveDate>,
    /// Time zone of the trip, and of each stop that has none: an IANA name, such as `Europe/Lisbon`.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: Option<String>,
    /// Notes, at most 10,000 characters. They may contain line breaks and tabs, and no other control characters.
    #[oai(nullable, validator(max_length = 10_000))]
    notes: Option<Notes>,
    /// Status of the trip. Default: `planned`.
    #[oai(nullable)]
    status: Option<TripStatus>,
    /// Stops of the trip, in travel order; at most 500. Default: none.
    #[oai(nullable, validator(max_items = 500))]
    stops: Option<Vec<NewStop>>,
}

impl Example for CreateTrip {
    fn example() -> Self {
        Self {
            id: None,
            title: Line::parse("Lisbon in spring").unwrap_or_default(),
            destination: Line::parse("Lisbon"),
            start_date: NaiveDate::from_ymd_opt(2027, 4, 2),
            end_date: NaiveDate::from_ymd_opt(2027, 4, 9),
            time_zone: Some("Europe/Lisbon".to_owned()),
            notes: Notes::parse("Take the tram, not the bus."),
            status: Some(TripStatus::Planned),
            stops: Some(vec![NewStop::example()]),
        }
    }
}

impl CreateTrip {
    /// Returns the requested id and the fields, or the rules that the fields violate. The server generates
    /// the ids of stops without an id from `seed`.
    pub(super) fn check(self, seed: Uuid) -> Result<(Option<Uuid>, TripFields), Vec<FieldError>> {
        Ok((self.id.map(|id| id.0), self.into_replace().check(seed)?))
    }

    /// Returns the body without its id.
    fn into_replace(self) -> ReplaceTrip {
        let Self { id: _, title, destination, start_date, end_date, time_zone, notes, status, stops } = self;
        ReplaceTrip { title, destination, start_date, end_date, time_zone, notes, status, stops }
    }
}

/// Returns the trip that the example requests create and change.
pub(crate) fn example_trip() -> Trip {
    let new = CreateTrip::example();
    let fields = UncheckedFields {
        title: new.title.into(),
        destination: new.destination.map(String::from),
        start_date: new.start_date,
        end_date: new.end_date,
        time_zone: new.time_zone,
        notes: new.notes.map(String::from),
        status: new.status.map_or(Status::Planned, Status::from),
        stops: Stops::new(&[example_stop()]).unwrap_or_default(),
    };
    Trip {
        id: examples::TRIP,
        fields: TripFields::from_stored(fields),
        version: 2,
        created_at: examples::at(20),
        updated_at: examples::at(95),
    }
}

/// All fields of a trip. An absent field has no value; without `status`, the trip is `planned`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct ReplaceTrip {
    /// Title of the trip, 1 to 200 characters in one line.
    #[oai(validator(min_length = 1, max_length = 200))]
    title: Line,
    /// Destination of the trip, 1 to 200 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 200))]
    destination: Option<Line>,
    /// First day of the trip.
    #[oai(nullable)]
    start_date: Option<NaiveDate>,
    /// Last day of the trip; not before `start_date`.
    #[oai(nullable)]
    end_date: Option<NaiveDate>,
    /// Time zone of the trip, and of each stop that has none: an IANA name, such as `Europe/Lisbon`.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: Option<String>,
    /// Notes, at most 10,000 characters. They may contain line breaks and tabs, and no other control characters.
    #[oai(nullable, validator(max_length = 10_000))]
    notes: Option<Notes>,
    /// Status of the trip. Default: `planned`.
    #[oai(nullable)]
    status: Option<TripStatus>,
    /// Stops of the trip, in travel order; at most 500. Default: none.
    #[oai(nullable, validator(max_items = 500))]
    stops: Option<Vec<NewStop>>,
}

impl Example for ReplaceTrip {
    fn example() -> Self {
        CreateTrip::example().into_replace()
    }
}

impl ReplaceTrip {
    /// Returns the fields, or the rules that they violate. The server generates the ids of stops without an
    /// id from `seed`.
    pub(crate) fn check(self, seed: Uuid) -> Result<TripFields, Vec<FieldError>> {
        let (stops, mut violations) = parse_stops(self.stops.unwrap_or_default(), seed);
        let fields = UncheckedFields {
            title: self.title.into(),
            destination: self.destination.map(String::from),
            start_date: self.start_date,
            end_date: self.end_date,
            time_zone: self.time_zone,
            notes: self.notes.map(String::from),
            status: self.status.map(Status::from).unwrap_or_default(),
            stops,
        };
        match TripFields::parse(fields) {
            Ok(fields) if violations.is_empty() => Ok(fields),
            parsed => {
                violations.extend(parsed.err().unwrap_or_default());
                Err(field_errors(violations, "/end_date"))
            }
        }
    }
}

/// A JSON Merge Patch (RFC 7396) of a trip: an absent field is unchanged, and `null` clears a field. `title`
/// and `status` can't be cleared.
#[derive(Debug, Default, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct UpdateTrip {
    /// Title of the trip, 1 to 200 characters in one line. Can't be cleared.
    #[oai(validator(min_length = 1, max_length = 200))]
    title: Option<Line>,
    /// Destination of the trip, 1 to 200 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 200))]
    destination: MaybeUndefined<Line>,
    /// First day of the trip.
    #[oai(nullable)]
    start_date: MaybeUndefined<NaiveDate>,
    /// Last day of the trip; not before `start_date`.
    #[oai(nullable)]
    end_date: MaybeUndefined<NaiveDate>,
    /// Time zone of the trip, and of each stop that has none: an IANA name, such as `Europe/Lisbon`.
    #[oai(nullable, validator(max_length = 64))]
    time_zone: MaybeUndefined<String>,
    /// Notes, at most 10,000 characters. They may contain line breaks and tabs, and no other control characters.
    #[oai(nullable, validator(max_length = 10_000))]
    notes: MaybeUndefined<Notes>,
    /// Status of the trip. Can't be cleared.
    status: Option<TripStatus>,
    /// All stops of the trip, in travel order; at most 500. A stop with the `id` of an existing stop replaces
    /// that stop. Existing stops that are absent are removed. `null` removes all stops.
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
    /// Returns the patch, or the rules that the patch violates regardless of the current trip. The server
    /// generates the ids of stops without an id from `seed`.
    pub(crate) fn check(self, seed: Uuid) -> Result<Patch, Vec<FieldError>> {
        let stops = into_patch(self.stops).map(|stops| parse_stops(stops.unwrap_or_default(), seed));
        let (stops, violations) =
            stops.map_or((None, Vec::new()), |(stops, violations)| (Some(stops), violations));
        let patch = Patch {
            title: self.title.map(String::from),
            destination: into_patch(self.destination).map(|text| text.map(String::from)),
            start_date: into_patch(self.start_date),
            end_date: into_patch(self.end_date),
            time_zone: into_patch(self.time_zone),
            notes: into_patch(self.notes).map(|text| text.map(String::from)),
            status: self.status.map(Status::from),
            stops,
        };
        if violations.is_empty() { Ok(patch) } else { Err(field_errors(violations, "/end_date")) }
    }
}
