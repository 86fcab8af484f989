//! Converts errors of trips to problems (RFC 9457).

use crate::trips::{Patch, Quota, StopViolation, TripViolation, TripsError};
use crate::web::caller;
use crate::web::idempotency_key;
use crate::web::problem::{FieldError, Problem, ProblemCode, grouped};

impl From<TripsError> for Problem {
    fn from(error: TripsError) -> Self {
        to_problem(error, "/end_date")
    }
}

/// Returns the JSON pointer for an error about the order of the two dates. The pointer refers to a date that
/// the patch sets.
pub(crate) fn offending_date(patch: &Patch) -> &'static str {
    if patch.end_date.is_none() { "/start_date" } else { "/end_date" }
}

/// Converts an error. `offending_date` is the JSON pointer for an error about the order of the two dates.
pub(crate) fn to_problem(error: TripsError, offending_date: &str) -> Problem {
    match error {
        TripsError::NotFound => Problem::not_found(),
        TripsError::NoSuchOwner => caller::user_deleted(),
        TripsError::Invalid(violations) => Problem::invalid(field_errors(violations, offending_date)),
        TripsError::VersionMismatch => version_mismatch(),
        TripsError::IdTaken => {
            Problem::new(ProblemCode::AlreadyExists, "You already have an entry with this ID.")
        }
        TripsError::InvalidId => invalid("/id", "invalid_format", "ID must be a UUID of version 7."),
        TripsError::InvalidOrder => {
            let detail = "Stop IDs must contain the ID of each stop of the trip exactly once.";
            invalid("/stop_ids", "not_an_order", detail)
        }
        TripsError::EmptySearch => invalid("/q", "too_short", "Search text must not be blank."),
        TripsError::TooManySearches => Problem::new(
            ProblemCode::TooManySearches,
            "Your other searches are still running. Please wait a moment and try again.",
        )
        .retry_after(1),
        TripsError::SearchTimedOut(error) => Problem::new(
            ProblemCode::SearchTimeout,
            "The search took too long. Please try again, or search for a longer text.",
        )
        .retry_after(5)
        .caused_by(error),
        TripsError::InvalidCursor => Problem::new(
            ProblemCode::InvalidCursor,
            "The list cannot be continued from here. Please load it again.",
        ),
        TripsError::QuotaExceeded(quota) => quota_exceeded(quota),
        TripsError::ClaimLost => idempotency_key::in_progress(),
        TripsError::CorruptStops(error) => Problem::internal(error),
        TripsError::Store(error) => error.into(),
    }
}

fn quota_exceeded(quota: Quota) -> Problem {
    let detail = match quota {
        Quota::Trips(max) => {
            format!("You can store at most {} trips. Delete some to add more.", grouped(max))
        }
        Quota::TripBytes(max) => format!(
            "Your trips can contain at most {} bytes of text in total. Delete or shorten some to add more.",
            grouped(max)
        ),
    };
    Problem::new(ProblemCode::QuotaExceeded, detail)
}

/// Returns the problem of a precondition that is not met.
pub(super) fn version_mismatch() -> Problem {
    Problem::new(
        ProblemCode::PreconditionFailed,
        "The trip was changed or deleted in the meantime. Load it again before you change it.",
    )
}

fn invalid(pointer: &str, code: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError::new(pointer, code, detail.to_owned())])
}

/// Converts violations. `offending_date` is the JSON pointer for an error about the order of the two dates.
pub(super) fn field_errors(violations: Vec<TripViolation>, offending_date: &str) -> Vec<FieldError> {
    let to_error = |violation: TripViolation| {
        let (pointer, code) = match violation {
            TripViolation::EndsBeforeStart => (offending_date.to_owned(), "before_start"),
            TripViolation::StartOutOfRange => ("/start_date".to_owned(), "out_of_range"),
            TripViolation::EndOutOfRange => ("/end_date".to_owned(), "out_of_range"),
            TripViolation::UnknownTimeZone => ("/time_zone".to_owned(), "unknown_time_zone"),
            TripViolation::TooManyStops => ("/stops".to_owned(), "too_many"),
            TripViolation::StopsTooLarge => ("/stops".to_owned(), "too_large"),
            TripViolation::Stop(index, violation) => {
                let (field, code) = stop_error(violation);
                (format!("/stops/{index}{field}"), code)
            }
        };
        FieldError::new(pointer, code, violation.to_string())
    };
    violations.into_iter().map(to_error).collect()
}

/// Returns the JSON pointer within the stop, and the error code.
fn stop_error(violation: StopViolation) -> (&'static str, &'static str) {
    match violation {
        StopViolation::DepartsBeforeArrival => ("/departs_at", "before_arrival"),
        StopViolation::LongitudeMissing => ("/longitude", "required"),
        StopViolation::LatitudeMissing => ("/latitude", "required"),
        StopViolation::UnknownTimeZone => ("/time_zone", "unknown_time_zone"),
        StopViolation::ArrivalOutOfRange => ("/arrives_at", "out_of_range"),
        StopViolation::DepartureOutOfRange => ("/departs_at", "out_of_range"),
        StopViolation::DuplicateId => ("/id", "doubled"),
    }
}

/// Converts an error of a request that adds or changes one stop. The JSON pointers are relative to the stop.
/// `offending_date` is the pointer for an error about the order of the stop's two times.
pub(super) fn stop_to_problem(error: TripsError, offending_date: &str) -> Problem {
    let TripsError::Invalid(violations) = error else { return error.into() };
    let to_error = |violation: TripViolation| {
        let (pointer, code) = match violation {
            TripViolation::Stop(_, StopViolation::DepartsBeforeArrival) => (offending_date, "before_arrival"),
            TripViolation::Stop(_, violation) => stop_error(violation),
            TripViolation::TooManyStops => ("", "too_many"),
            TripViolation::StopsTooLarge => ("", "too_large"),
            // A rule about the trip's own fields, which the request does not change.
            _ => ("", "invalid"),
        };
        FieldError::new(pointer, code, violation.to_string())
    };
    Problem::invalid(violations.into_iter().map(to_error).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_exceeded_quota_states_the_name_and_the_value_of_the_quota() {
        //
        let detail = |quota| quota_exceeded(quota).body("").detail;
        assert_eq!(
            detail(Quota::Trips(20_000)),
            "You can store at most 20,000 trips. Delete some to add more."
        );
        assert!(detail(Quota::TripBytes(67_108_864)).contains("at most 67,108,864 bytes"));
        assert!(detail(Quota::Trips(100)).contains("at most 100 trips"));
    }
}
