//! Batches small reads of concurrent requests.
//!
//! If many requests read one row each, the round trips to the database cost more than reading the rows.
//! Requests that arrive while a query runs are batched into the next query. A single request runs its query
//! immediately, and a query that is stuck delays later requests only briefly. The value that a request gets
//! was always read after the request arrived.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::StoreError;

/// Maximum number of keys in a query.
const MAX_BATCH: usize = 64;
/// How long requests wait for a running query before another query starts.
const STUCK_AFTER: Duration = Duration::from_millis(250);
/// Maximum number of queries that run at the same time.
const MAX_WORKERS: usize = 4;

/// Loads values by key. Cheap to clone.
pub struct BatchLoader<K, V>(Arc<Inner<K, V>>);

/// Loads the values of some keys. A key without a value is absent from the map.
type Load<K, V> = dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, StoreError>> + Send + Sync;

struct Inner<K, V> {
    load: Box<Load<K, V>>,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    /// Number of tasks that run queries.
    workers: usize,
    /// When the latest query started.
    started: Instant,
    queue: Vec<Request<K, V>>,
}

struct Request<K, V> {
    key: K,
    reply: oneshot::Sender<Result<Option<V>, StoreError>>,
}

impl<K, V> Clone for BatchLoader<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for BatchLoader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchLoader").finish_non_exhaustive()
    }
}

impl<K, V> BatchLoader<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Copy + Send + 'static,
{
    /// Creates a loader that loads values with `load`.
    pub fn new<F>(load: F) -> Self
    where
        F: Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, StoreError>> + Send + Sync + 'static,
    {
        let state = State { workers: 0, started: Instant::now(), queue: Vec::new() };
        Self(Arc::new(Inner { load: Box::new(load), state: Mutex::new(state) }))
    }

    /// Returns the value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// Those of the query. A failed query also fails the requests in the queue, so that they need not wait
    /// until their own query fails.
    pub async fn get(&self, key: K) -> Result<Option<V>, StoreError> {
        let (reply, value) = oneshot::channel();
        let needs_worker = {
            let mut state = self.state();
            state.queue.push(Request { key, reply });
            let is_stuck = state.workers < MAX_WORKERS && state.started.elapsed() > STUCK_AFTER;
            let needs_worker = state.workers == 0 || is_stuck;
            if needs_worker {
                state.workers += 1;
                state.started = Instant::now();
            }
            needs_worker
        };
        if needs_worker {
            // The worker is a separate task, because other requests need it even if this caller is dropped.
            tokio::spawn(self.clone().run());
        }
        value.await.unwrap_or_else(|_| Err(StoreError::internal("a batched query ended without a result")))
    }

    /// Runs queries until the queue is empty.
    async fn run(self) {
        while let Some(batch) = self.next_batch() {
            let keys = batch.iter().map(|request| request.key).collect();
            let panicked = |_| Err(StoreError::internal("a batched query panicked"));
            let query = AssertUnwindSafe(async { (self.0.load)(keys).await }).catch_unwind();
            match query.await.unwrap_or_else(panicked) {
                // `send` fails if the caller was dropped; ignore that.
                Ok(values) => {
                    for Request { key, reply } in batch {
                        drop(reply.send(Ok(values.get(&key).copied())));
                    }
                }
                Err(error) => {
                    let queued = mem::take(&mut self.state().queue);
                    for Request { reply, .. } in batch.into_iter().chain(queued) {
                        drop(reply.send(Err(error.clone())));
                    }
                }
            }
        }
    }

    /// Takes the next requests from the queue. If the queue is empty, removes this worker from the count of
    /// workers.
    fn next_batch(&self) -> Option<Vec<Request<K, V>>> {
        let mut state = self.state();
        let count = state.queue.len().min(MAX_BATCH);
        if count == 0 {
            state.workers -= 1;
            return None;
        }
        state.started = Instant::now();
        Some(state.queue.drain(..count).collect())
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::Semaphore;

    /// A loader, and a log of the keys of each query. Each query waits for a permit of `gate`.
    #[derive(Clone)]
    struct Table {
        gate: Arc<Semaphore>,
        queries: Arc<Mutex<Vec<Vec<u8>>>>,
        rows: BatchLoader<u8, u16>,
    }

    impl Table {
        /// Creates a table in which an even key has its double as value and an odd key has none. A query with
        /// key 99 fails. A query with key 100 panics. A query with key 101 panics before it returns a future.
        fn new() -> Self {
            let (gate, queries) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
            let (permits, log) = (Arc::clone(&gate), Arc::clone(&queries));
            let rows = BatchLoader::new(move |keys: Vec<u8>| {
                let permits = Arc::clone(&permits);
                log.lock().unwrap().push(keys.clone());
                assert!(!keys.contains(&101));
                async move {
                    permits.acquire().await.unwrap().forget();
                    assert!(!keys.contains(&100));
                    if keys.contains(&99) {
                        return Err(StoreError::unavailable());
                    }
                    let even = keys.into_iter().filter(|key| key % 2 == 0);
                    Ok(even.map(|key| (key, u16::from(key) * 2)).collect())
                }
                .boxed()
            });
            Self { gate, queries, rows }
        }

        fn get(&self, key: u8) -> tokio::task::JoinHandle<Result<Option<u16>, StoreError>> {
            let table = self.clone();
            tokio::spawn(async move { table.rows.get(key).await })
        }

        /// Lets the spawned tasks run until they wait.
        async fn settle(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn requests_that_arrive_during_a_query_share_the_next_query() {
        let table = Table::new();
        let first = table.get(2);
        table.settle().await;
        let later: Vec<_> = [4, 5, 4].map(|key| table.get(key)).into();
        table.settle().await;
        assert_eq!(*table.queries.lock().unwrap(), [vec![2]], "one query at a time");
        table.gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap(), Some(4));
        let mut values = Vec::new();
        for request in later {
            values.push(request.await.unwrap().unwrap());
        }
        assert_eq!(values, [Some(8), None, Some(8)]);
        assert_eq!(*table.queries.lock().unwrap(), [vec![2], vec![4, 5, 4]]);
    }

    #[tokio::test]
    async fn dropping_a_request_does_not_affect_other_requests() {
        let table = Table::new();
        let first = table.get(2);
        table.settle().await;
        let second = table.get(4);
        table.settle().await;
        first.abort();
        table.gate.add_permits(2);
        assert_eq!(second.await.unwrap().unwrap(), Some(8));
    }

    #[tokio::test]
    async fn a_failed_query_fails_every_waiting_request_and_no_later_request() {
        for failing in [99, 100, 101] {
            let table = Table::new();
            let first = table.get(failing);
            table.settle().await;
            let second = if failing == 101 { None } else { Some(table.get(2)) };
            table.settle().await;
            table.gate.add_permits(2);
            assert!(first.await.unwrap().is_err());
            if let Some(second) = second {
                assert!(second.await.unwrap().is_err());
            }
            let retried = tokio::time::timeout(Duration::from_secs(5), table.rows.get(2)).await;
            assert_eq!(retried.unwrap().unwrap(), Some(4));
        }
    }

    #[tokio::test]
    async fn a_stuck_query_does_not_block_later_requests() {
        let table = Table::new();
        let stuck = table.get(2);
        table.settle().await;
        let late = table.get(4);
        tokio::time::sleep(STUCK_AFTER + Duration::from_millis(50)).await;
        let later = table.get(6);
        table.settle().await;
        assert_eq!(*table.queries.lock().unwrap(), [vec![2], vec![4, 6]]);
        table.gate.add_permits(2);
        for (request, double) in [(stuck, 4), (late, 8), (later, 12)] {
            assert_eq!(request.await.unwrap().unwrap(), Some(double));
        }
    }

    #[tokio::test]
    async fn many_waiting_requests_are_split_into_batches() {
        let table = Table::new();
        let all: Vec<_> =
            (0..=200).filter(|key| ![99, 100, 101].contains(key)).map(|key| table.get(key)).collect();
        table.gate.add_permits(100);
        for request in all {
            request.await.unwrap().unwrap();
        }
        assert!(table.queries.lock().unwrap().iter().all(|keys| keys.len() <= MAX_BATCH));
    }
}
