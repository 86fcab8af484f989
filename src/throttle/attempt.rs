//! An attempt in progress, and its result.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::gate::Occupied;
use super::{Place, Throttle, ThrottleError};

/// An attempt that the throttle allows. Report its result with [`Attempt::failed`] or [`Attempt::succeeded`];
/// an attempt without a reported result is not counted.
#[derive(Debug)]
#[must_use = "the result of an attempt must be reported"]
pub struct Attempt {
    throttle: Throttle,
    places: Vec<Place>,
    /// Whether the count of the first bucket was above 0 when the attempt began.
    is_counted: bool,
    /// The places in the gate; empty for an attempt that [`Throttle::check`] has begun.
    occupied: Vec<Occupied>,
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
        Self { throttle, places, is_counted, occupied }
    }

    /// Counts a failure in all buckets.
    ///
    /// # Errors
    ///
    /// Those of [`Throttle::count_failure`].
    pub async fn failed(self) -> Result<(), ThrottleError> {
        let Some(failure) = self.failure() else { return Ok(()) };
        let input = (self.throttle.clone(), failure);
        let counted: Result<bool, ThrottleError> = self
            .throttle
            .db
            .write(input, |tx, (throttle, failure)| throttle.count_failure(tx, failure).boxed())
            .await;
        counted.map(|_| ())
    }

    /// Returns the failure of the attempt, or `None` if the throttle is off. Pass the failure to
    /// [`Throttle::count_failure`], and drop the attempt after that.
    pub fn failure(&self) -> Option<Failure> {
        let at = self.throttle.clock.shared_now();
        self.throttle.is_on.then(|| Failure { places: self.places.clone(), at })
    }

    /// Resets the first bucket if it has counted failures.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Store`], or [`ThrottleError::Blocked`] if concurrent attempts have used up the free
    /// failures. After `Blocked`, the response must not reveal that the password or code was correct.
    pub async fn succeeded(self) -> Result<(), ThrottleError> {
        if self.is_counted {
            let input = (self.throttle.clone(), self.places.clone());
            let reset: Result<(), ThrottleError> = self
                .throttle
                .db
                .write(input, |tx, (throttle, places)| throttle.reset(tx, places).boxed())
                .await;
            return reset;
        }
        // The gate limits only the concurrent attempts on this server. Check whether failures on other
        // servers have blocked a bucket in the meantime.
        if !self.occupied.is_empty() && self.throttle.db.is_shared() {
            self.throttle.counts(&self.places).await?;
        }
        Ok(())
    }
}
