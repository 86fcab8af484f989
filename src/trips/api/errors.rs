//! What is said when a trip can't be read or changed.

use crate::trips::{Patch, StopViolation, TripViolation, TripsError};
use crate::web::caller;
use crate::web::idempotency_key;
use crate::web::problem::{FieldError, Problem, ProblemCode};

impl From<TripsError> for Problem {
    fn from(error: TripsError) -> Self {
        to_problem(error, "/end_date")
    }
}

/// Of two dates in the wrong order, the one that this change sends.
pub(crate) fn offending_date(patch: &Patch) -> &'static str {
    if patch.end_date.is_none() { "/start_date" } else { "/end_date" }
}

/// Of two dates in the wrong order, `offending_date` is the one that was sent.
pub(crate) fn to_problem(error: TripsError, offending_date: &str) -> Problem {
    match error {
        TripsError::NotFound => Problem::not_found(),
        TripsError::NoSuchOwner => caller::user_deleted(),
        TripsError::Invalid(faults) => Problem::invalid(field_errors(faults, offending_date)),
        TripsError::VersionMismatch => changed(),
        TripsError::IdTaken => {
            Problem::new(ProblemCode::AlreadyExists, "You already have an entry with this ID.")
        }
        TripsError::InvalidId => one("/id", "invalid_format", "ID must be a UUID of version 7."),
        TripsError::InvalidOrder => {
            let detail = "Stop IDs must contain the ID of each stop of the trip exactly once.";
            one("/stop_ids", "not_an_order", detail)
        }
        TripsError::EmptySearch => one("/q", "too_short", "Search text must not be blank."),
        TripsError::InvalidCursor => Problem::new(
            ProblemCode::InvalidCursor,
            "The list can't be continued from here. Please load it again.",
        ),
        TripsError::ClaimLost => idempotency_key::in_progress(),
        TripsError::CorruptStops(error) => Problem::internal(error),
        TripsError::Store(error) => error.into(),
    }
}

/// The condition does not hold.
pub(super) fn changed() -> Problem {
    Problem::new(
        ProblemCode::PreconditionFailed,
        "The trip was changed or deleted in the meantime. Load it again before you change it.",
    )
}

fn one(pointer: &str, code: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError::new(pointer, code, detail.to_owned())])
}

pub(super) fn field_errors(faults: Vec<TripViolation>, offending_date: &str) -> Vec<FieldError> {
    let told = |broken: TripViolation| {
        let (pointer, code) = match broken {
            TripViolation::EndsBeforeStart => (offending_date.to_owned(), "before_start"),
            TripViolation::StartOutOfRange => ("/start_date".to_owned(), "out_of_range"),
            TripViolation::EndOutOfRange => ("/end_date".to_owned(), "out_of_range"),
            TripViolation::UnknownTimeZone => ("/time_zone".to_owned(), "unknown_time_zone"),
            TripViolation::TooManyStops => ("/stops".to_owned(), "too_many"),
            TripViolation::StopsTooLarge => ("/stops".to_owned(), "too_large"),
            TripViolation::Stop(at, of_stop) => {
                let (member, code) = stop_error(of_stop);
                (format!("/stops/{at}{member}"), code)
            }
        };
        FieldError::new(pointer, code, broken.to_string())
    };
    faults.into_iter().map(told).collect()
}

fn stop_error(fault: StopViolation) -> (&'static str, &'static str) {
    match fault {
        StopViolation::DepartsBeforeArrival => ("/departs_at", "before_arrival"),
        StopViolation::ArrivalOutOfRange => ("/arrives_at", "out_of_range"),
        StopViolation::DepartureOutOfRange => ("/departs_at", "out_of_range"),
        StopViolation::DuplicateId => ("/id", "doubled"),
    }
}

/// As [`to_problem`], of a request that is about one stop: pointers are into that, and of two times in the
/// wrong order `offending_date` is the one that was sent.
pub(super) fn stop_to_problem(error: TripsError, offending_date: &str) -> Problem {
    let TripsError::Invalid(faults) = error else { return error.into() };
    let told = |broken: TripViolation| {
        let (pointer, code) = match broken {
            TripViolation::Stop(_, StopViolation::DepartsBeforeArrival) => (offending_date, "before_arrival"),
            TripViolation::Stop(_, of_stop) => stop_error(of_stop),
            TripViolation::TooManyStops => ("", "too_many"),
            TripViolation::StopsTooLarge => ("", "too_large"),
            // Of the trip itself, which was whole before.
            _ => ("", "invalid"),
        };
        FieldError::new(pointer, code, broken.to_string())
    };
    Problem::invalid(faults.into_iter().map(told).collect())
}
