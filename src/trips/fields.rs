//! What an owner says of a trip, how that changes, and the rules that it obeys.

use chrono::{Datelike, NaiveDate};

use super::stops::{StopViolation, Stops};
#[expect(unused_imports, reason = "the documentation names them")]
use super::{DESTINATION_MAX, NOTES_MAX, TITLE_MAX};

/// What an owner says of a trip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TripFields {
    /// 1 to [`TITLE_MAX`] characters.
    pub title: String,
    /// 1 to [`DESTINATION_MAX`] characters.
    pub destination: Option<String>,
    /// The first day.
    pub start_date: Option<NaiveDate>,
    /// The last day, not before the first.
    pub end_date: Option<NaiveDate>,
    /// An IANA name.
    pub time_zone: Option<String>,
    /// At most [`NOTES_MAX`] characters.
    pub notes: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Where it goes, stop by stop.
    pub stops: Stops,
}

/// Where a trip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Ahead.
    #[default]
    Planned,
    /// Under way.
    Active,
    /// Over.
    Completed,
    /// Put away.
    Archived,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Active, Self::Completed, Self::Archived];

    /// As it is written and kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Archived => "archived",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A change: `None` keeps, `Some(None)` clears (RFC 7396).
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Can't be cleared.
    pub title: Option<String>,
    /// See [`TripFields`].
    pub destination: Option<Option<String>>,
    /// See [`TripFields`].
    pub start_date: Option<Option<NaiveDate>>,
    /// See [`TripFields`].
    pub end_date: Option<Option<NaiveDate>>,
    /// See [`TripFields`].
    pub time_zone: Option<Option<String>>,
    /// See [`TripFields`].
    pub notes: Option<Option<String>>,
    /// Can't be cleared.
    pub status: Option<Status>,
    /// All of them, in order; cleared by an empty list.
    pub stops: Option<Stops>,
}

impl Patch {
    /// The draft after this change.
    pub fn apply(&self, before: &TripFields) -> TripFields {
        let Self { title, destination, start_date, end_date, time_zone, notes, status, stops } = self.clone();
        let before = before.clone();
        TripFields {
            title: title.unwrap_or(before.title),
            destination: destination.unwrap_or(before.destination),
            start_date: start_date.unwrap_or(before.start_date),
            end_date: end_date.unwrap_or(before.end_date),
            time_zone: time_zone.unwrap_or(before.time_zone),
            notes: notes.unwrap_or(before.notes),
            status: status.unwrap_or(before.status),
            stops: stops.unwrap_or(before.stops),
        }
    }
}

/// A rule that a draft breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TripViolation {
    /// `end_date` lies before `start_date`.
    #[error("end_date must not be before start_date")]
    EndsBeforeStart,
    /// `start_date` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    StartOutOfRange,
    /// `end_date` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    EndOutOfRange,
    /// `time_zone` is not in the IANA database.
    #[error("must be the name of a time zone in the IANA database, such as Europe/Lisbon")]
    UnknownTimeZone,
    /// The stop at this place breaks a rule.
    #[error("{1}")]
    Stop(usize, StopViolation),
    /// More than [`STOPS_MAX`](super::STOPS_MAX).
    #[error("must have at most {} stops", super::STOPS_MAX)]
    TooManyStops,
    /// More than [`STOPS_BYTES_MAX`](super::STOPS_BYTES_MAX).
    #[error("all stops together must take at most {} KiB as JSON", super::STOPS_BYTES_MAX / 1024)]
    StopsTooLarge,
}

impl TripFields {
    /// Checks what no single member shows. Lengths are checked where the text comes in, and once more
    /// by the database.
    pub(super) fn check(&self) -> Result<(), Vec<TripViolation>> {
        let in_range = |date: Option<NaiveDate>| date.is_none_or(|date| (1..=9999).contains(&date.year()));
        let mut faults = Vec::new();
        if !in_range(self.start_date) {
            faults.push(TripViolation::StartOutOfRange);
        }
        if !in_range(self.end_date) {
            faults.push(TripViolation::EndOutOfRange);
        }
        if self.start_date.zip(self.end_date).is_some_and(|(start, end)| end < start) {
            faults.push(TripViolation::EndsBeforeStart);
        }
        if self.time_zone.as_ref().is_some_and(|name| name.parse::<chrono_tz::Tz>().is_err()) {
            faults.push(TripViolation::UnknownTimeZone);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}
