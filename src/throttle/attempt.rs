//! An attempt in progress, and its result.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::gate::Occupied;
use super::{Place, Throttle, store};
use crate::db::StoreError;

/// An attempt that the throttle allows. Report its result with [`Attempt::failed`] or [`Attempt::succeeded`];
/// an attempt without a reported result is not counted.
#[derive(Debug)]
#[must_use = "the result of an attempt must be reported"]
pub struct Attempt {
    throttle: Throttle,
    places: Vec<Place>,
    /// Whether the first bucket has counted failures.
    is_counted: bool,
    _occupied: Vec<Occupied>,
}

/// A failed attempt to be counted.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) places: Vec<Place>,
    pub(super) at: DateTime<Utc>,
}

impl Attempt {
    pub(super) fn new(
        throttle: Throttle,
        places: Vec<Place>,
        is_counted: bool,
        occupied: Vec<Occupied>,
    ) -> Self {
        Self { throttle, places, is_counted, _occupied: occupied }
    }

    /// Counts a failure in all buckets.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the failure was not counted. The response must not reveal that the password or code was
    /// wrong.
    pub async fn failed(self) -> Result<(), StoreError> {
        let Some(failure) = self.failure() else { return Ok(()) };
        let input = (self.throttle.clone(), failure);
        let counted: Result<bool, StoreError> = self
            .throttle
            .db
            .write(input, |tx, (throttle, failure)| throttle.count_failure(tx, failure).boxed())
            .await;
        counted.map(|_| ())
    }

    /// Returns the failure of the attempt, or `None` if the throttle is off. Pass the failure to
    /// [`Throttle::count_failure`], and drop the attempt after that.
    pub fn failure(&self) -> Option<Failure> {
        let mut places = self.places.clone();
        // Sort the places by id: concurrent transactions lock the rows in the same order and cannot deadlock.
        places.sort_by_key(|place| place.id);
        self.throttle.is_on.then(|| Failure { places, at: self.throttle.clock.shared_now() })
    }

    /// Resets the first bucket if it has counted failures.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn succeeded(self) -> Result<(), StoreError> {
        match self.places.first().filter(|_| self.is_counted) {
            Some(place) => {
                let id = place.id;
                self.throttle.db.write(id, |tx, id| store::reset(tx, *id).boxed()).await
            }
            None => Ok(()),
        }
    }
}
