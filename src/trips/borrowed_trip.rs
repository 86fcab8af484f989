//! A trip whose texts are borrowed from the row of the database or from a [`Trip`].
//!
//! A request for a list reads twenty trips. With a copy of each text, the request takes 6 % more CPU time. The
//! benchmark "20 of a user's trips" of `benches/run` measures the effect.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{Status, Stops, Trip, TripFields, UncheckedFields};

/// A [`Trip`] whose texts are borrowed.
#[derive(Debug, Clone, Copy)]
pub struct BorrowedTrip<'a> {
    /// See [`Trip::id`].
    pub id: Uuid,
    /// See [`UncheckedFields::title`].
    pub title: &'a str,
    /// See [`UncheckedFields::destination`].
    pub destination: Option<&'a str>,
    /// See [`UncheckedFields::start_date`].
    pub start_date: Option<NaiveDate>,
    /// See [`UncheckedFields::end_date`].
    pub end_date: Option<NaiveDate>,
    /// See [`UncheckedFields::time_zone`].
    pub time_zone: Option<&'a str>,
    /// See [`UncheckedFields::notes`].
    pub notes: Option<&'a str>,
    /// See [`UncheckedFields::status`].
    pub status: Status,
    /// The JSON array of the stops, see [`Stops::as_json`].
    pub stops: &'a str,
    /// See [`Trip::version`].
    pub version: i64,
    /// See [`Trip::created_at`].
    pub created_at: DateTime<Utc>,
    /// See [`Trip::updated_at`].
    pub updated_at: DateTime<Utc>,
}

impl BorrowedTrip<'_> {
    /// Copies a trip that was read from the database.
    pub(super) fn into_owned(self) -> Trip {
        let fields = TripFields::from_stored(UncheckedFields {
            title: self.title.to_owned(),
            destination: self.destination.map(str::to_owned),
            start_date: self.start_date,
            end_date: self.end_date,
            time_zone: self.time_zone.map(str::to_owned),
            notes: self.notes.map(str::to_owned),
            status: self.status,
            stops: Stops::from_stored(self.stops.to_owned()),
        });
        let Self { id, version, created_at, updated_at, .. } = self;
        Trip { id, fields, version, created_at, updated_at }
    }

    /// Returns the approximate size of the trip's texts as JSON, in bytes. A control character takes six
    /// bytes.
    pub(super) fn json_len(&self) -> usize {
        let escaped = |text: &str| text.bytes().map(|byte| if byte < b' ' { 6 } else { 1 }).sum::<usize>();
        let optional = |text: Option<&str>| text.map_or(0, escaped);
        escaped(self.title) + optional(self.destination) + optional(self.notes) + self.stops.len()
    }
}

impl<'a> From<&'a Trip> for BorrowedTrip<'a> {
    fn from(trip: &'a Trip) -> Self {
        let Trip { id, fields, version, created_at, updated_at } = trip;
        Self {
            id: *id,
            title: &fields.title,
            destination: fields.destination.as_deref(),
            start_date: fields.start_date,
            end_date: fields.end_date,
            time_zone: fields.time_zone.as_deref(),
            notes: fields.notes.as_deref(),
            status: fields.status,
            stops: fields.stops.as_json(),
            version: *version,
            created_at: *created_at,
            updated_at: *updated_at,
        }
    }
}
