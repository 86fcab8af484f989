//! The stops of a trip: one list, in travel order, kept and shown as one JSON text.
//!
//! A list of trips passes that text on as it is; only who changes a stop reads it. A stop's id is
//! unique in its trip alone, so nothing can be learnt from it of any other trip.

use std::collections::HashSet;

use chrono::{Datelike, NaiveDateTime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::fields::{TripFields, TripViolation};
use super::{Precondition, Trip, Trips, TripsError};
use crate::idempotency::ResponseRecorder;

/// The most stops of a trip.
pub const STOPS_MAX: usize = 500;
/// The most bytes of all stops of a trip as JSON: with everything else that a trip has, it still fits
/// into one request.
pub const STOPS_BYTES_MAX: usize = 192 * 1024;
/// The longest name of a stop, in characters.
pub const STOP_NAME_MAX: usize = 200;
/// The longest notes of a stop, in characters.
pub const STOP_NOTES_MAX: usize = 2000;

/// A place on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Unique in its trip.
    pub id: Uuid,
    /// 1 to [`STOP_NAME_MAX`] characters.
    pub name: String,
    /// Degrees, from −90 to 90.
    pub latitude: f64,
    /// Degrees, from −180 to 180.
    pub longitude: f64,
    /// In the trip's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrives_at: Option<NaiveDateTime>,
    /// In the trip's time zone; not before the arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departs_at: Option<NaiveDateTime>,
    /// At most [`STOP_NOTES_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// A rule that a stop breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StopViolation {
    /// `departs_at` lies before `arrives_at`.
    #[error("departs_at must not be before arrives_at")]
    DepartsBeforeArrival,
    /// `arrives_at` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    ArrivalOutOfRange,
    /// `departs_at` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    DepartureOutOfRange,
    /// Another stop of the trip has its id.
    #[error("must not be the id of another stop of the trip")]
    DuplicateId,
}

impl Stop {
    /// Checks what no single member shows. Lengths and degrees are checked where they come in.
    fn check(&self) -> Vec<StopViolation> {
        let in_range = |at: Option<NaiveDateTime>| at.is_none_or(|at| (1..=9999).contains(&at.year()));
        let mut faults = Vec::new();
        if !in_range(self.arrives_at) {
            faults.push(StopViolation::ArrivalOutOfRange);
        }
        if !in_range(self.departs_at) {
            faults.push(StopViolation::DepartureOutOfRange);
        }
        if self.arrives_at.zip(self.departs_at).is_some_and(|(arrives, departs)| departs < arrives) {
            faults.push(StopViolation::DepartsBeforeArrival);
        }
        faults
    }
}

/// The stops of a trip in travel order, as the JSON array in which they are kept and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stops(String);

impl Default for Stops {
    fn default() -> Self {
        Self("[]".to_owned())
    }
}

impl Stops {
    /// Of these.
    ///
    /// # Errors
    ///
    /// All rules that they break.
    pub fn new(list: &[Stop]) -> Result<Self, Vec<TripViolation>> {
        let mut faults = Vec::new();
        let mut known = HashSet::new();
        for (at, stop) in list.iter().enumerate() {
            faults.extend(stop.check().into_iter().map(|fault| TripViolation::Stop(at, fault)));
            if !known.insert(stop.id) {
                faults.push(TripViolation::Stop(at, StopViolation::DuplicateId));
            }
        }
        if list.len() > STOPS_MAX {
            faults.push(TripViolation::TooManyStops);
        }
        // Numbers and texts alone: there is nothing that could not be written.
        let text = serde_json::to_string(list).unwrap_or_default();
        if text.len() > STOPS_BYTES_MAX {
            faults.push(TripViolation::StopsTooLarge);
        }
        if faults.is_empty() { Ok(Self(text)) } else { Err(faults) }
    }

    /// As they were written by [`Stops::new`].
    pub(super) fn kept(text: String) -> Self {
        Self(text)
    }

    /// The JSON array.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// One by one.
    ///
    /// # Errors
    ///
    /// [`TripsError::Unreadable`] if somebody else has written them.
    pub fn list(&self) -> Result<Vec<Stop>, TripsError> {
        serde_json::from_str(&self.0).map_err(TripsError::Unreadable)
    }
}

/// A change of a stop: `None` keeps, `Some(None)` clears (RFC 7396).
#[derive(Debug, Clone, Default)]
pub struct StopPatch {
    /// Can't be cleared.
    pub name: Option<String>,
    /// Can't be cleared.
    pub latitude: Option<f64>,
    /// Can't be cleared.
    pub longitude: Option<f64>,
    /// See [`Stop`].
    pub arrives_at: Option<Option<NaiveDateTime>>,
    /// See [`Stop`].
    pub departs_at: Option<Option<NaiveDateTime>>,
    /// See [`Stop`].
    pub notes: Option<Option<String>>,
}

impl StopPatch {
    fn apply(&self, stop: &mut Stop) {
        let Self { name, latitude, longitude, arrives_at, departs_at, notes } = self.clone();
        stop.name = name.unwrap_or_else(|| stop.name.clone());
        stop.latitude = latitude.unwrap_or(stop.latitude);
        stop.longitude = longitude.unwrap_or(stop.longitude);
        stop.arrives_at = arrives_at.unwrap_or(stop.arrives_at);
        stop.departs_at = departs_at.unwrap_or(stop.departs_at);
        stop.notes = notes.unwrap_or_else(|| stop.notes.clone());
    }
}

/// One change of a trip's stops.
#[derive(Debug, Clone)]
pub enum StopChange {
    /// One more, at the end.
    Add(Stop),
    /// That of this id.
    Change(Uuid, StopPatch),
    /// That of this id.
    Remove(Uuid),
    /// All of them, in this order.
    Order(Vec<Uuid>),
}

impl StopChange {
    fn apply(&self, mut list: Vec<Stop>) -> Result<Vec<Stop>, TripsError> {
        let place = |list: &[Stop], id: &Uuid| list.iter().position(|stop| stop.id == *id);
        match self {
            Self::Add(stop) if place(&list, &stop.id).is_some() => return Err(TripsError::IdTaken),
            Self::Add(stop) => list.push(stop.clone()),
            Self::Change(id, patch) => {
                let stop = list.iter_mut().find(|stop| stop.id == *id).ok_or(TripsError::NotFound)?;
                patch.apply(stop);
            }
            Self::Remove(id) => {
                let at = place(&list, id).ok_or(TripsError::NotFound)?;
                list.remove(at);
            }
            Self::Order(ids) => {
                if ids.len() != list.len() {
                    return Err(TripsError::InvalidOrder);
                }
                let mut ordered = Vec::with_capacity(list.len());
                for id in ids {
                    // One that stands there twice is gone the second time.
                    let at = place(&list, id).ok_or(TripsError::InvalidOrder)?;
                    ordered.push(list.swap_remove(at));
                }
                list = ordered;
            }
        }
        Ok(list)
    }
}

impl Trips {
    /// Changes the stops of one of the owner's trips, and with them the trip; with a receipt if the request
    /// has an idempotency key.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`] if there is no such trip or stop; [`TripsError::VersionMismatch`];
    /// [`TripsError::IdTaken`] if the trip has a stop of the new one's id;
    /// [`TripsError::InvalidOrder`]; [`TripsError::Invalid`], told of the place in the list.
    pub async fn change_stops(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Precondition,
        change: StopChange,
        receipt: Option<ResponseRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        let edit = |change: &StopChange, before: &TripFields| {
            let list = change.apply(before.stops.list()?)?;
            let stops = Stops::new(&list).map_err(TripsError::Invalid)?;
            Ok(TripFields { stops, ..before.clone() })
        };
        self.modify(owner, id, condition, change, edit, receipt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn stop(number: u128) -> Stop {
        Stop {
            id: Uuid::from_u128(number),
            name: "Porto".to_owned(),
            latitude: 41.15,
            longitude: -8.61,
            arrives_at: "2027-04-02T09:30:00".parse().ok(),
            departs_at: None,
            notes: None,
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_said(latitude in -90.0..=90.0_f64, longitude in -180.0..=180.0_f64, name in "\\PC{1,20}", seconds in 0..253_402_300_800_i64) {
            let arrives_at = DateTime::from_timestamp(seconds, 0).map(|at| at.naive_utc());
            let one = Stop { name, latitude, longitude, arrives_at, ..stop(1) };
            prop_assert_eq!(Stops::new(&[one.clone(), stop(2)]).unwrap().list().unwrap(), vec![one, stop(2)]);
        }

        #[test]
        fn an_order_is_taken_if_it_is_a_permutation(ids in prop::collection::vec(0..4_u128, 0..6)) {
            let list: Vec<Stop> = (0..4).map(stop).collect();
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            let ordered = StopChange::Order(ids.iter().copied().map(Uuid::from_u128).collect()).apply(list);
            prop_assert_eq!(ordered.is_ok(), sorted == [0, 1, 2, 3]);
            if let Ok(ordered) = ordered {
                let places: Vec<u128> = ordered.iter().map(|stop| stop.id.as_u128()).collect();
                prop_assert_eq!(places, ids);
            }
        }
    }

    #[test]
    fn all_that_is_wrong_with_stops_is_told() {
        let late = Stop { departs_at: "2027-04-02T09:29:59".parse().ok(), ..stop(1) };
        let early = Stop { arrives_at: "0000-04-02T09:29:59".parse().ok(), ..stop(2) };
        assert_eq!(
            Stops::new(&[late.clone(), early, stop(1)]),
            Err(vec![
                TripViolation::Stop(0, StopViolation::DepartsBeforeArrival),
                TripViolation::Stop(1, StopViolation::ArrivalOutOfRange),
                TripViolation::Stop(2, StopViolation::DuplicateId),
            ])
        );
        let many: Vec<Stop> = (0..501).map(stop).collect();
        assert_eq!(Stops::new(&many), Err(vec![TripViolation::TooManyStops]));
        assert!(Stops::new(&many[1..]).is_ok());
        let wordy: Vec<Stop> =
            (0..100).map(|number| Stop { notes: Some("x".repeat(2000)), ..stop(number) }).collect();
        assert_eq!(Stops::new(&wordy), Err(vec![TripViolation::StopsTooLarge]));
    }
}
