//! Limits the concurrent attempts in this process, so that parallel attempts allow no more guesses than
//! sequential attempts.
//!
//! An attempt is counted only after it has failed, so that a successful attempt needs no write to the
//! database. Without the gate, 500 parallel attempts would all read a count of 0 failures and start. In the
//! gate, a bucket has one place for each free failure of its limit ([`Limit::free`]). An attempt that reads a
//! count of `n` failures waits until it can occupy `n + 1` places: one for each counted failure, and one for
//! the attempt itself. The attempt occupies the places until its result is stored. The sum of counted
//! failures and attempts in progress therefore never exceeds the free failures. After the free failures are
//! used up, each attempt occupies all places, so that only one attempt runs at a time.
//!
//! [`Limit::free`]: super::Limit::free

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an attempt waits for its places.
const WAIT: Duration = Duration::from_secs(5);

type Places = HashMap<i64, Arc<Semaphore>>;

/// The attempts in progress. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<Places>>);

/// Occupied places of one bucket. Dropping this value releases the places.
#[derive(Debug)]
pub(super) struct Occupied {
    gate: Gate,
    id: i64,
    permit: Option<OwnedSemaphorePermit>,
}

impl Gate {
    /// Waits until `wanted` of the `all` places of a bucket are free, and occupies them. Calls are served in
    /// the order of their arrival. Returns `None` after a wait of 5 seconds.
    pub(super) async fn enter(&self, id: i64, wanted: u32, all: u32) -> Option<Occupied> {
        let semaphore = {
            let mut places = self.places();
            Arc::clone(places.entry(id).or_insert_with(|| Arc::new(Semaphore::new(all as usize))))
        };
        // Create `Occupied` before the wait: its drop removes the unused entry of the bucket from the map,
        // even if the wait is cancelled.
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
    async fn attempts_beyond_the_number_of_places_wait_until_a_place_becomes_free() {
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
