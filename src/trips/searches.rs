//! Admission of searches. A search can be expensive, so each user can run only one search at a time, and each
//! search has a deadline.
//!
//! A search waits at most [`MAX_WAIT`] for the user's other searches. A search uses the small pool of
//! connections for searches, and acquires a connection for each statement separately, so that the statements
//! of several users alternate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

use super::query::Listing;
use super::{TripsError, store};
use crate::db::{Db, StoreError};

/// How long a search waits for the user's other searches.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The maximum duration of a search, including the wait for a connection.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One slot for each user whose searches run or wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Searches(Arc<Mutex<HashMap<Uuid, Arc<Semaphore>>>>);

impl Searches {
    /// Reads a page of the trips that contain `q`.
    ///
    /// # Errors
    ///
    /// [`TripsError::TooManySearches`]; [`TripsError::SearchTimedOut`]; [`TripsError::Store`].
    pub(super) async fn run(
        &self,
        db: &Db,
        listing: Listing,
        q: String,
    ) -> Result<store::FoundPage, TripsError> {
        let permit = self.admit(listing.owner).await?;
        let (db, deadline) = (db.searches(), Instant::now() + TIMEOUT);
        // Run in a separate task, which holds the permit until the search has ended. Therefore, even if the
        // client disconnects, the user's next search starts only after this search has ended.
        let search = tokio::spawn(async move {
            let input = (listing, q, deadline);
            let found =
                db.read(input, |tx, (listing, q, deadline)| store::search(tx, listing, q, *deadline).boxed());
            let found: Result<_, StoreError> = found.await;
            drop(permit);
            found
        });
        let found = match timeout(TIMEOUT, search).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => Err(StoreError::internal(&format!("the task of a search failed: {error}"))),
            Err(_) => Err(StoreError::timed_out()),
        };
        found.map_err(|error| match error {
            error @ StoreError::TimedOut(_) => TripsError::SearchTimedOut(error),
            error => TripsError::Store(error),
        })
    }

    /// Waits until the user's other searches have ended.
    async fn admit(&self, owner: Uuid) -> Result<OwnedSemaphorePermit, TripsError> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Remove unused slots. A slot that a search holds or waits for has a second reference besides the
            // map's.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
            Arc::clone(slots.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let permit = timeout(MAX_WAIT, slot.acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or(TripsError::TooManySearches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_can_run_only_one_search_at_a_time() {
        // A-1, S-105
        let searches = Searches::default();
        let [ada, eve] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let first = searches.admit(ada).await.unwrap();
        assert!(matches!(searches.admit(ada).await, Err(TripsError::TooManySearches)));
        let other = searches.admit(eve).await.unwrap();
        let waiting = tokio::spawn({
            let searches = searches.clone();
            async move { searches.admit(ada).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
        drop(other);
        drop(searches.admit(ada).await.unwrap());
        assert!(searches.0.lock().unwrap().len() <= 1, "unused slots are removed");
    }
}
