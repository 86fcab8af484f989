//! The fields of a trip that its owner sets, the patch that changes the fields, and the rules of the fields.

use std::ops::Deref;

use chrono::{Datelike, NaiveDate};
use uuid::Uuid;

use super::TripsError;
use super::stops::Stops;
use super::violations::TripViolation;
#[expect(unused_imports, reason = "the documentation names them")]
use super::{DESTINATION_MAX, NOTES_MAX, TITLE_MAX};
use super::{YEARS, is_time_zone};

/// The fields of a trip that its owner sets, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UncheckedFields {
    /// The title, 1 to [`TITLE_MAX`] characters.
    pub title: String,
    /// The destination, 1 to [`DESTINATION_MAX`] characters.
    pub destination: Option<String>,
    /// The first day.
    pub start_date: Option<NaiveDate>,
    /// The last day, not before the first day.
    pub end_date: Option<NaiveDate>,
    /// The name of a time zone in the IANA database.
    pub time_zone: Option<String>,
    /// The notes, at most [`NOTES_MAX`] characters.
    pub notes: Option<String>,
    /// The status of the trip.
    pub status: Status,
    /// The stops, in travel order.
    pub stops: Stops,
}

/// The fields of a trip, which follow all rules. [`TripFields::parse`] checks new fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TripFields(UncheckedFields);

impl Deref for TripFields {
    type Target = UncheckedFields;

    fn deref(&self) -> &UncheckedFields {
        &self.0
    }
}

/// The status of a trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Status {
    /// Not started.
    #[default]
    Planned,
    /// In progress.
    Active,
    /// Finished.
    Completed,
    /// Archived by the owner.
    Archived,
}

impl Status {
    /// All values.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Active, Self::Completed, Self::Archived];

    /// Returns the name that the API and the database use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Archived => "archived",
        }
    }

    /// Returns the status with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A merge patch (RFC 7396): `None` leaves a field unchanged, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Can't be cleared.
    pub title: Option<String>,
    /// See [`UncheckedFields`].
    pub destination: Option<Option<String>>,
    /// See [`UncheckedFields`].
    pub start_date: Option<Option<NaiveDate>>,
    /// See [`UncheckedFields`].
    pub end_date: Option<Option<NaiveDate>>,
    /// See [`UncheckedFields`].
    pub time_zone: Option<Option<String>>,
    /// See [`UncheckedFields`].
    pub notes: Option<Option<String>>,
    /// Can't be cleared.
    pub status: Option<Status>,
    /// Replaces all stops. An empty list removes all stops.
    pub stops: Option<Stops>,
}

impl Patch {
    /// Returns whether the patch changes no field.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the fields with this patch applied.
    ///
    /// # Errors
    ///
    /// Every rule that the patched fields violate.
    pub fn apply(&self, before: &UncheckedFields) -> Result<TripFields, Vec<TripViolation>> {
        let Self { title, destination, start_date, end_date, time_zone, notes, status, stops } = self.clone();
        let before = before.clone();
        TripFields::parse(UncheckedFields {
            title: title.unwrap_or(before.title),
            destination: destination.unwrap_or(before.destination),
            start_date: start_date.unwrap_or(before.start_date),
            end_date: end_date.unwrap_or(before.end_date),
            time_zone: time_zone.unwrap_or(before.time_zone),
            notes: notes.unwrap_or(before.notes),
            status: status.unwrap_or(before.status),
            stops: stops.unwrap_or(before.stops),
        })
    }
}

impl TripFields {
    /// Checks the rules that involve several fields, and the rules that the request schema can't express. The
    /// API checks lengths, and the database checks them again.
    ///
    /// # Errors
    ///
    /// Every violated rule.
    pub fn parse(fields: UncheckedFields) -> Result<Self, Vec<TripViolation>> {
        let in_range = |date: Option<NaiveDate>| date.is_none_or(|date| YEARS.contains(&date.year()));
        let mut violations = Vec::new();
        if !in_range(fields.start_date) {
            violations.push(TripViolation::StartOutOfRange);
        }
        if !in_range(fields.end_date) {
            violations.push(TripViolation::EndOutOfRange);
        }
        if fields.start_date.zip(fields.end_date).is_some_and(|(start, end)| end < start) {
            violations.push(TripViolation::EndsBeforeStart);
        }
        if fields.time_zone.as_deref().is_some_and(|name| !is_time_zone(name)) {
            violations.push(TripViolation::UnknownTimeZone);
        }
        if violations.is_empty() { Ok(Self(fields)) } else { Err(violations) }
    }

    /// Wraps stored fields, which were parsed before they were stored.
    pub(super) fn from_stored(fields: UncheckedFields) -> Self {
        Self(fields)
    }

    /// Returns the fields with other stop ids: each id that the server generated from the seed `from` is
    /// replaced with the id from the seed `to`.
    ///
    /// # Errors
    ///
    /// [`TripsError::CorruptStops`] if the text of the stops is invalid.
    pub fn reseeded(&self, from: Uuid, to: Uuid) -> Result<Self, TripsError> {
        let stops = self.stops.reseeded(from, to)?;
        Ok(Self(UncheckedFields { stops, ..self.0.clone() }))
    }

    /// Returns the unchecked fields, to change them.
    pub fn into_inner(self) -> UncheckedFields {
        self.0
    }
}
