//! Limits the attempts that this process compares at the same time, so that parallel attempts allow no more
//! guesses than sequential ones.
//!
//! An attempt is counted after it has failed, because a successful one must not cost a write. Without the
//! gate, 500 attempts in parallel would all see that nothing has failed yet. An attempt therefore occupies
//! one place more than the failures that it has seen, and a bucket has as many places as free failures.
//! Failures and attempts in progress together thus never exceed the free failures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an attempt waits for a place.
const WAIT: Duration = Duration::from_secs(5);

type Places = HashMap<i64, Arc<Semaphore>>;

/// The attempts in progress. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Places>>);

/// Places in one bucket; dropping it returns them.
#[derive(Debug)]
pub(super) struct Occupied {
    gate: Gate,
    id: i64,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// Occupies `wanted` of the `all` places of a bucket, after the attempts that came earlier. Returns `None` if that
    /// takes too long.
    pub(super) async fn enter(&self, id: i64, wanted: u32, all: u32) -> Option<Occupied> {
        let semaphore = {
            let mut places = self.places();
            Arc::clone(places.entry(id).or_insert_with(|| Arc::new(Semaphore::new(all as usize))))
        };
        // Created before the wait, so that the entry is removed if the wait is cancelled.
        let mut occupied = Occupied { gate: self.clone(), id, permit: None };
        let permit = tokio::time::timeout(WAIT, semaphore.acquire_many_owned(wanted.clamp(1, all))).await;
        occupied.permit = permit.ok()?.ok();
        occupied.permit.is_some().then_some(occupied)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut places = self.gate.places();
        self.permit = None;
        if places.get(&self.id).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            places.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_beyond_the_free_places_wait_until_a_place_is_returned() {
        let gate = Gate::default();
        let first = gate.enter(1, 9, 10).await.unwrap();
        let second = gate.enter(1, 1, 10).await.unwrap();
        let third = tokio::time::timeout(Duration::from_millis(20), gate.enter(1, 1, 10)).await;
        assert!(third.is_err());
        assert!(gate.enter(2, 99, 10).await.is_some(), "another bucket");
        drop(second);
        let third = gate.enter(1, 1, 10).await.unwrap();
        drop((first, third));
        assert!(gate.places().is_empty(), "{gate:?}");
    }
}
