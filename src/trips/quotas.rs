//! Quotas of each user: the number of trips, the size of their texts, and the number of tombstones.
//!
//! The row of the owner's change counter also contains the current usage: the number of trips and the size of
//! their texts. The transaction that changes trips also updates the usage. Each statement that increases the
//! usage requires that the result is within the quotas. A change that decreases the usage is always possible.
//! No change is rejected because of the number of tombstones. Instead, the oldest tombstones are deleted.

use super::{Trip, TripsError};

/// The quotas of each user.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// Maximum number of trips.
    pub trips: i64,
    /// Maximum size of the texts of the trips, in bytes.
    pub trip_bytes: i64,
    /// Maximum number of tombstones.
    pub tombstones: i64,
}

/// The quota that a change would exceed, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// The maximum number of trips.
    Trips(i64),
    /// The maximum size of the texts of the trips, in bytes.
    TripBytes(i64),
}

/// The amount that a user has stored, or the difference that a change makes to this amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The number of trips.
    pub trips: i64,
    /// The size of the texts of the trips, in bytes.
    pub trip_bytes: i64,
}

impl Usage {
    /// Returns what a trip adds to the usage; zero for `None`.
    pub(super) fn of(trip: Option<&Trip>) -> Self {
        trip.map_or_else(Self::default, |trip| Self { trips: 1, trip_bytes: trip.stored_len() })
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { trips: self.trips + other.trips, trip_bytes: self.trip_bytes + other.trip_bytes }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { trips: self.trips - other.trips, trip_bytes: self.trip_bytes - other.trip_bytes }
    }
}

impl Quotas {
    /// Checks a change of the usage: `change` is the difference, and `after` is the usage after the change. A
    /// change that does not increase the usage is accepted, even if the usage is above a quota that the
    /// operator has lowered.
    ///
    /// # Errors
    ///
    /// [`TripsError::QuotaExceeded`].
    pub(super) fn check(&self, after: Usage, change: Usage) -> Result<(), TripsError> {
        if change.trips > 0 && after.trips > self.trips {
            return Err(TripsError::QuotaExceeded(Quota::Trips(self.trips)));
        }
        if change.trip_bytes > 0 && after.trip_bytes > self.trip_bytes {
            return Err(TripsError::QuotaExceeded(Quota::TripBytes(self.trip_bytes)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_increases_the_usage_is_checked_against_the_quota() {
        let quotas = Quotas { trips: 2, trip_bytes: 100, tombstones: 1 };
        let usage = |trips, trip_bytes| Usage { trips, trip_bytes };
        let check = |after, change| quotas.check(after, change).is_ok();
        assert!(check(usage(2, 100), usage(1, 50)));
        assert!(!check(usage(3, 50), usage(1, 10)));
        assert!(!check(usage(2, 101), usage(0, 1)));
        assert!(check(usage(7, 700), usage(-1, -10)));
        assert!(check(usage(7, 700), usage(0, 0)));
    }
}
