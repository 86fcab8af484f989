//! The state of a request with operations: the trips for which an operation failed or was applied.

use std::borrow::Cow;
use std::collections::HashMap;

use uuid::Uuid;

use super::{Operation, Outcome};
use crate::trips::Trip;

/// The state of a request between two batches of its operations.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// For each trip with failed operations: the lowest version that one of these operations is based on.
    failed: HashMap<Uuid, i64>,
    /// For each trip with an applied operation: the version after the last applied operation.
    applied: HashMap<Uuid, i64>,
    /// For each trip whose versions start above a floor because the database was restored from a backup: the
    /// floor. The app that creates the trip offline does not know the floor and counts versions from 1.
    floors: HashMap<Uuid, i64>,
    /// The size of the trips in the outcomes so far, in bytes of JSON.
    pub(super) response_bytes: usize,
}

impl Progress {
    /// Returns the operation with its real base version. If the app counts the versions of the trip from 1,
    /// adds the floor of the trip to the base version.
    pub(super) fn with_real_base<'a>(&self, operation: &'a Operation) -> Cow<'a, Operation> {
        match self.floors.get(&operation.id) {
            Some(floor) if operation.base < *floor => {
                Cow::Owned(Operation { base: operation.base + floor, ..operation.clone() })
            }
            _ => Cow::Borrowed(operation),
        }
    }

    /// Records `floor` for the trip if an operation has just created the trip with the first version above
    /// `floor`. Otherwise, does nothing.
    pub(super) fn record_floor(&mut self, trip: Option<&Trip>, floor: i64) {
        if let Some(trip) = trip
            && floor > 0
            && trip.version == floor + 1
        {
            self.floors.insert(trip.id, floor);
        }
    }

    /// Returns whether the operation builds on a failed operation. This is the case if the base version of
    /// the operation is higher than the lowest base version of a failed operation, and the last applied
    /// operation has not produced the base version. If the trip nevertheless has the base version, another
    /// device has produced this version.
    pub(super) fn depends_on_failed(&self, operation: &Operation) -> bool {
        let Operation { id, base, .. } = operation;
        self.failed.get(id).is_some_and(|lowest| base > lowest) && self.applied.get(id) != Some(base)
    }

    pub(super) fn record(&mut self, operation: &Operation, outcome: &Outcome) {
        let Operation { id, base, .. } = operation;
        match outcome {
            Outcome::Applied(Some(trip)) => {
                self.applied.insert(*id, trip.version);
            }
            Outcome::Applied(None) => {}
            Outcome::Duplicate(_) => {
                self.applied.insert(*id, base.saturating_add(1));
            }
            _ => {
                let lowest = self.failed.entry(*id).or_insert(*base);
                *lowest = std::cmp::min(*lowest, *base);
            }
        }
        self.response_bytes += outcome.json_len();
    }
}
