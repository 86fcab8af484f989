//! The stops of a trip: one list in travel order, stored and returned as one JSON text.
//!
//! A JSON response copies this text without parsing it. A change of the trip parses the text. A stop's id is
//! unique only within its trip, so a conflict between two ids reveals nothing about other trips.

use std::borrow::Cow;
use std::collections::HashSet;

use chrono::{Datelike, NaiveDateTime};
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::violations::{StopViolation, TripViolation};
use super::{TripsError, YEARS, is_time_zone};
use crate::secrets::sha256;

/// The maximum number of stops of a trip.
pub const STOPS_MAX: usize = 500;
/// The maximum size of all stops of a trip as JSON, in bytes. A trip of this size still fits into one
/// request.
pub const STOPS_BYTES_MAX: usize = 192 * 1024;
/// The maximum length of a stop's name, in characters.
pub const STOP_NAME_MAX: usize = 200;
/// The maximum length of a stop's notes, in characters.
pub const STOP_NOTES_MAX: usize = 2000;

/// A stop of a trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The id of the stop, unique in its trip.
    pub id: Uuid,
    /// The name of the stop, 1 to [`STOP_NAME_MAX`] characters.
    pub name: String,
    /// The latitude in degrees, from −90 to 90. Present together with the longitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// The longitude in degrees, from −180 to 180. Present together with the latitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// The name of a time zone in the IANA database; without it, the trip's time zone applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The arrival, in the stop's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrives_at: Option<NaiveDateTime>,
    /// The departure, in the stop's time zone; not before the arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departs_at: Option<NaiveDateTime>,
    /// The notes, at most [`STOP_NOTES_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl Stop {
    /// Checks the rules that the request schema can't express. The API checks lengths and degrees.
    fn check(&self) -> Vec<StopViolation> {
        let in_range = |at: Option<NaiveDateTime>| at.is_none_or(|at| YEARS.contains(&at.year()));
        let mut violations = Vec::new();
        match (self.latitude, self.longitude) {
            (Some(_), None) => violations.push(StopViolation::LongitudeMissing),
            (None, Some(_)) => violations.push(StopViolation::LatitudeMissing),
            _ => {}
        }
        if self.time_zone.as_deref().is_some_and(|name| !is_time_zone(name)) {
            violations.push(StopViolation::UnknownTimeZone);
        }
        if !in_range(self.arrives_at) {
            violations.push(StopViolation::ArrivalOutOfRange);
        }
        if !in_range(self.departs_at) {
            violations.push(StopViolation::DepartureOutOfRange);
        }
        if self.arrives_at.zip(self.departs_at).is_some_and(|(arrives, departs)| departs < arrives) {
            violations.push(StopViolation::DepartsBeforeArrival);
        }
        violations
    }
}

/// Returns the id that the server generates for a stop without an id: a UUIDv7 that consists of the time of
/// `seed`, the index of the stop in the request, and a digest of `seed` and the index. One seed therefore
/// determines all generated ids of a request.
pub fn generated_stop_id(seed: Uuid, index: usize) -> Uuid {
    let (place, seed) = (u16::try_from(index).unwrap_or(u16::MAX).to_be_bytes(), seed.as_bytes());
    let digest = sha256(&[seed.as_slice(), &place].concat());
    let mut random = [0; 10];
    random[..2].copy_from_slice(&place);
    random[2..].copy_from_slice(&digest[..8]);
    let millis = seed[..6].iter().fold(0, |millis, byte| millis << 8 | u64::from(*byte));
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The stops of a trip in travel order, as the JSON array that is stored and returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stops(String);

impl Default for Stops {
    fn default() -> Self {
        Self("[]".to_owned())
    }
}

impl Stops {
    /// Checks and serializes a list of stops.
    ///
    /// # Errors
    ///
    /// All rules that the stops violate.
    pub fn new(list: &[Stop]) -> Result<Self, Vec<TripViolation>> {
        let mut violations = Vec::new();
        let mut ids = HashSet::new();
        for (index, stop) in list.iter().enumerate() {
            violations
                .extend(stop.check().into_iter().map(|violation| TripViolation::Stop(index, violation)));
            if !ids.insert(stop.id) {
                violations.push(TripViolation::Stop(index, StopViolation::DuplicateId));
            }
        }
        if list.len() > STOPS_MAX {
            violations.push(TripViolation::TooManyStops);
        }
        // Serialization can't fail: stops contain only strings and finite numbers.
        let text = serde_json::to_string(list).unwrap_or_default();
        if text.len() > STOPS_BYTES_MAX {
            violations.push(TripViolation::StopsTooLarge);
        }
        if violations.is_empty() { Ok(Self(text)) } else { Err(violations) }
    }

    /// Wraps a stored text, which [`Stops::new`] has written.
    pub(super) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the JSON array.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Parses the list.
    ///
    /// # Errors
    ///
    /// [`TripsError::CorruptStops`] if the stored text is invalid.
    pub fn list(&self) -> Result<Vec<Stop>, TripsError> {
        serde_json::from_str(&self.0).map_err(TripsError::CorruptStops)
    }

    /// Returns the stops with other ids: each id that the server generated from the seed `from` is replaced
    /// with the id from the seed `to`. Ids that clients have generated are unchanged.
    ///
    /// # Errors
    ///
    /// [`TripsError::CorruptStops`] if the stored text is invalid.
    pub(super) fn reseeded(&self, from: Uuid, to: Uuid) -> Result<Self, TripsError> {
        if from == to || self.0 == "[]" {
            return Ok(self.clone());
        }
        let mut list = self.list()?;
        for (index, stop) in list.iter_mut().enumerate() {
            if stop.id == generated_stop_id(from, index) {
                stop.id = generated_stop_id(to, index);
            }
        }
        Ok(Self(serde_json::to_string(&list).unwrap_or_default()))
    }

    /// Returns the names of the stops, or an empty list if the stored text is invalid.
    pub(super) fn names(&self) -> Vec<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let stops: Vec<Named<'_>> = serde_json::from_str(&self.0).unwrap_or_default();
        stops.into_iter().map(|stop| stop.name).collect()
    }
}

/// A merge patch (RFC 7396) of a stop: `None` leaves a field unchanged, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StopPatch {
    /// Can't be cleared.
    pub name: Option<String>,
    /// See [`Stop`].
    pub latitude: Option<Option<f64>>,
    /// See [`Stop`].
    pub longitude: Option<Option<f64>>,
    /// See [`Stop`].
    pub time_zone: Option<Option<String>>,
    /// See [`Stop`].
    pub arrives_at: Option<Option<NaiveDateTime>>,
    /// See [`Stop`].
    pub departs_at: Option<Option<NaiveDateTime>>,
    /// See [`Stop`].
    pub notes: Option<Option<String>>,
}

impl StopPatch {
    fn apply(&self, stop: &mut Stop) {
        let Self { name, latitude, longitude, time_zone, arrives_at, departs_at, notes } = self.clone();
        stop.name = name.unwrap_or_else(|| stop.name.clone());
        stop.latitude = latitude.unwrap_or(stop.latitude);
        stop.longitude = longitude.unwrap_or(stop.longitude);
        stop.time_zone = time_zone.unwrap_or_else(|| stop.time_zone.clone());
        stop.arrives_at = arrives_at.unwrap_or(stop.arrives_at);
        stop.departs_at = departs_at.unwrap_or(stop.departs_at);
        stop.notes = notes.unwrap_or_else(|| stop.notes.clone());
    }
}

/// One change to the stops of a trip.
#[derive(Debug, Clone)]
pub enum StopChange {
    /// Appends a stop.
    Add(Stop),
    /// Changes the stop with this id.
    Change(Uuid, StopPatch),
    /// Removes the stop with this id.
    Remove(Uuid),
    /// Reorders the stops; contains the id of each stop once.
    Order(Vec<Uuid>),
}

impl StopChange {
    pub(super) fn apply(&self, mut list: Vec<Stop>) -> Result<Vec<Stop>, TripsError> {
        let index_of = |list: &[Stop], id: &Uuid| list.iter().position(|stop| stop.id == *id);
        match self {
            Self::Add(stop) if index_of(&list, &stop.id).is_some() => return Err(TripsError::IdTaken),
            Self::Add(stop) => list.push(stop.clone()),
            Self::Change(id, patch) => {
                let stop = list.iter_mut().find(|stop| stop.id == *id).ok_or(TripsError::NotFound)?;
                patch.apply(stop);
            }
            Self::Remove(id) => {
                let index = index_of(&list, id).ok_or(TripsError::NotFound)?;
                list.remove(index);
            }
            Self::Order(ids) => {
                if ids.len() != list.len() {
                    return Err(TripsError::InvalidOrder);
                }
                let mut ordered = Vec::with_capacity(list.len());
                for id in ids {
                    // A duplicate id fails here, because its first occurrence has removed the stop from
                    // `list`.
                    let index = index_of(&list, id).ok_or(TripsError::InvalidOrder)?;
                    ordered.push(list.swap_remove(index));
                }
                list = ordered;
            }
        }
        Ok(list)
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
            latitude: Some(41.15),
            longitude: Some(-8.61),
            time_zone: None,
            arrives_at: "2027-04-02T09:30:00".parse().ok(),
            departs_at: None,
            notes: None,
        }
    }

    proptest! {
        #[test]
        fn stops_are_unchanged_after_they_are_stored_and_parsed(latitude in -90.0..=90.0_f64, longitude in -180.0..=180.0_f64, name in "\\PC{1,20}", seconds in 0..253_402_300_800_i64) {
            let arrives_at = DateTime::from_timestamp(seconds, 0).map(|at| at.naive_utc());
            let (latitude, longitude) = (Some(latitude), Some(longitude));
            let one = Stop { name, latitude, longitude, arrives_at, ..stop(1) };
            prop_assert_eq!(Stops::new(&[one.clone(), stop(2)]).unwrap().list().unwrap(), vec![one, stop(2)]);
        }

        #[test]
        fn a_stop_order_is_valid_only_if_it_contains_each_stop_exactly_once(ids in prop::collection::vec(0..4_u128, 0..6)) {
            let list: Vec<Stop> = (0..4).map(stop).collect();
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            let ordered = StopChange::Order(ids.iter().copied().map(Uuid::from_u128).collect()).apply(list);
            prop_assert_eq!(ordered.is_ok(), sorted == [0, 1, 2, 3]);
            if let Ok(ordered) = ordered {
                let ordered_ids: Vec<u128> = ordered.iter().map(|stop| stop.id.as_u128()).collect();
                prop_assert_eq!(ordered_ids, ids);
            }
        }
    }

    #[test]
    fn reseeding_replaces_only_generated_stop_ids_with_those_of_the_new_seed() {
        //
        let [one, other] = [1_700_000_000_000, 1_800_000_000_000]
            .map(|millis| Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid());
        let ids: Vec<Uuid> = (0..STOPS_MAX).map(|index| generated_stop_id(one, index)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_timestamp() == one.get_timestamp()));
        let named = |id: Uuid| Stop { id, ..stop(0) };
        let stops = |seed| {
            let list =
                [generated_stop_id(seed, 0), Uuid::from_u128(5), generated_stop_id(seed, 2)].map(named);
            Stops::new(&list).unwrap()
        };
        assert_eq!(stops(one).reseeded(one, other).unwrap(), stops(other));
        assert_eq!(stops(one).reseeded(other, one).unwrap(), stops(one));
    }

    #[test]
    fn all_violated_rules_of_stops_are_reported() {
        let departs_early = Stop { departs_at: "2027-04-02T09:29:59".parse().ok(), ..stop(1) };
        let nowhere = Stop { latitude: None, time_zone: Some("Mars/Olympus".to_owned()), ..stop(4) };
        let year_zero = Stop { arrives_at: "0000-04-02T09:29:59".parse().ok(), ..stop(2) };
        assert_eq!(
            Stops::new(&[departs_early.clone(), year_zero, stop(1), nowhere]),
            Err(vec![
                TripViolation::Stop(0, StopViolation::DepartsBeforeArrival),
                TripViolation::Stop(1, StopViolation::ArrivalOutOfRange),
                TripViolation::Stop(2, StopViolation::DuplicateId),
                TripViolation::Stop(3, StopViolation::LatitudeMissing),
                TripViolation::Stop(3, StopViolation::UnknownTimeZone),
            ])
        );
        let many: Vec<Stop> = (0..501).map(stop).collect();
        assert_eq!(Stops::new(&many), Err(vec![TripViolation::TooManyStops]));
        assert!(Stops::new(&many[1..]).is_ok());
        let too_large: Vec<Stop> =
            (0..100).map(|number| Stop { notes: Some("x".repeat(2000)), ..stop(number) }).collect();
        assert_eq!(Stops::new(&too_large), Err(vec![TripViolation::StopsTooLarge]));
    }
}
