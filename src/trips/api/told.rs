//! What is said when a trip can't be read or changed.

use crate::http::caller;
use crate::http::idempotency;
use crate::http::problem::{Code, FieldFault, Problem};
use crate::trips::{Fault, Patch, StopFault, TripsError};

impl From<TripsError> for Problem {
    fn from(error: TripsError) -> Self {
        refused(error, "/end_date")
    }
}

/// Of two dates in the wrong order, the one that this change sends.
pub(crate) fn blamed(patch: &Patch) -> &'static str {
    if patch.end_date.is_none() { "/start_date" } else { "/end_date" }
}

/// Of two dates in the wrong order, `blamed` is the one that was sent.
pub(crate) fn refused(error: TripsError, blamed: &str) -> Problem {
    match error {
        TripsError::NotFound => Problem::not_found(),
        TripsError::NoSuchOwner => caller::owner_gone(),
        TripsError::Invalid(faults) => Problem::invalid(told(faults, blamed)),
        TripsError::Changed => changed(),
        TripsError::Taken => Problem::new(Code::AlreadyExists, "You have one under this id already."),
        TripsError::BadId => one("/id", "invalid_format", "must be a UUID of version 7"),
        TripsError::NoOrder => {
            let detail = "must hold the ids of all stops of this trip, each of them once";
            one("/stop_ids", "not_an_order", detail)
        }
        TripsError::NothingToFind => one("/q", "too_short", "must have something in it to search for"),
        TripsError::BadCursor => {
            Problem::new(Code::InvalidCursor, "The cursor was not given by this list to this user.")
        }
        TripsError::Overtaken => idempotency::in_progress(),
        TripsError::Unreadable(error) => Problem::internal(error),
        TripsError::Store(error) => error.into(),
    }
}

/// The condition does not hold.
pub(super) fn changed() -> Problem {
    Problem::new(Code::PreconditionFailed, "The trip is not in the state that the condition names.")
}

fn one(pointer: &str, code: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldFault::new(pointer, code, detail.to_owned())])
}

pub(super) fn told(faults: Vec<Fault>, blamed: &str) -> Vec<FieldFault> {
    let told = |broken: Fault| {
        let (pointer, code) = match broken {
            Fault::EndsBeforeStart => (blamed.to_owned(), "before_start"),
            Fault::StartOutOfRange => ("/start_date".to_owned(), "out_of_range"),
            Fault::EndOutOfRange => ("/end_date".to_owned(), "out_of_range"),
            Fault::UnknownTimeZone => ("/time_zone".to_owned(), "unknown_time_zone"),
            Fault::TooManyStops => ("/stops".to_owned(), "too_many"),
            Fault::StopsTooLarge => ("/stops".to_owned(), "too_large"),
            Fault::Stop(at, of_stop) => {
                let (member, code) = of_stop_told(of_stop);
                (format!("/stops/{at}{member}"), code)
            }
        };
        FieldFault::new(pointer, code, broken.to_string())
    };
    faults.into_iter().map(told).collect()
}

fn of_stop_told(fault: StopFault) -> (&'static str, &'static str) {
    match fault {
        StopFault::DepartsBeforeArrival => ("/departs_at", "before_arrival"),
        StopFault::ArrivalOutOfRange => ("/arrives_at", "out_of_range"),
        StopFault::DepartureOutOfRange => ("/departs_at", "out_of_range"),
        StopFault::Doubled => ("/id", "doubled"),
    }
}

/// As [`refused`], of a request that is about one stop: pointers are into that, and of two times in the
/// wrong order `blamed` is the one that was sent.
pub(super) fn refused_stop(error: TripsError, blamed: &str) -> Problem {
    let TripsError::Invalid(faults) = error else { return error.into() };
    let told = |broken: Fault| {
        let (pointer, code) = match broken {
            Fault::Stop(_, StopFault::DepartsBeforeArrival) => (blamed, "before_arrival"),
            Fault::Stop(_, of_stop) => of_stop_told(of_stop),
            Fault::TooManyStops => ("", "too_many"),
            Fault::StopsTooLarge => ("", "too_large"),
            // Of the trip itself, which was whole before.
            _ => ("", "invalid"),
        };
        FieldFault::new(pointer, code, broken.to_string())
    };
    Problem::invalid(faults.into_iter().map(told).collect())
}
