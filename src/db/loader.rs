//! Reading a little for many at once.
//!
//! Where each of many requests wants one row, the way to the database costs more than the row. Whoever asks
//! while somebody's statement is under way waits for the next one, which asks for all of them; who asks
//! alone waits for nobody, and nobody waits long for a statement that is stuck. What is told was read after
//! it was asked for.

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

/// The most rows of one statement.
const MOST: usize = 64;
/// How long a statement may be under way before the next one is not kept waiting by it.
const SLOW: Duration = Duration::from_millis(250);
/// The most statements that are under way at once.
const AT_ONCE: usize = 4;

/// The rows that are asked for, by their keys. Cheap to clone.
pub struct BatchLoader<K, V>(Arc<Inner<K, V>>);

/// Reads the values of some keys; there may be none.
type Read<K, V> = dyn Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, StoreError>> + Send + Sync;

struct Inner<K, V> {
    read: Box<Read<K, V>>,
    waiting: Mutex<Waiting<K, V>>,
}

struct Waiting<K, V> {
    /// How many tasks read for those who ask.
    readers: usize,
    /// When one of them began a statement last.
    began: Instant,
    asked: Vec<Asked<K, V>>,
}

struct Asked<K, V> {
    key: K,
    tell: oneshot::Sender<Result<Option<V>, StoreError>>,
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
    /// What `read` reads.
    pub fn new<F>(read: F) -> Self
    where
        F: Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, StoreError>> + Send + Sync + 'static,
    {
        let waiting = Waiting { readers: 0, began: Instant::now(), asked: Vec::new() };
        Self(Arc::new(Inner { read: Box::new(read), waiting: Mutex::new(waiting) }))
    }

    /// The value of this key, if there is one.
    ///
    /// # Errors
    ///
    /// Those of reading. When one statement fails, so do all who wait by then: none of them waits for a failure
    /// of its own.
    pub async fn get(&self, key: K) -> Result<Option<V>, StoreError> {
        let (tell, told) = oneshot::channel();
        let is_served = {
            let mut waiting = self.waiting();
            waiting.asked.push(Asked { key, tell });
            let is_stuck = waiting.readers < AT_ONCE && waiting.began.elapsed() > SLOW;
            let is_served = waiting.readers > 0 && !is_stuck;
            if !is_served {
                waiting.readers += 1;
                waiting.began = Instant::now();
            }
            is_served
        };
        if !is_served {
            // In a task of its own, because others count on it when this caller goes away.
            tokio::spawn(self.clone().serve());
        }
        told.await.unwrap_or_else(|_| Err(StoreError::internal("a reading for many ended early".to_owned())))
    }

    /// Reads for all who ask, until nobody does.
    async fn serve(self) {
        while let Some(asked) = self.next() {
            let keys = asked.iter().map(|one| one.key).collect();
            let panicked = |_| Err(StoreError::internal("a reading for many panicked".to_owned()));
            let read = AssertUnwindSafe(async { (self.0.read)(keys).await }).catch_unwind();
            match read.await.unwrap_or_else(panicked) {
                // Who went away has no ear for the answer.
                Ok(found) => {
                    for Asked { key, tell } in asked {
                        drop(tell.send(Ok(found.get(&key).copied())));
                    }
                }
                Err(error) => {
                    let later = mem::take(&mut self.waiting().asked);
                    for Asked { tell, .. } in asked.into_iter().chain(later) {
                        drop(tell.send(Err(error.clone())));
                    }
                }
            }
        }
    }

    /// Those to read for next; this reader is one no more if there are none.
    fn next(&self) -> Option<Vec<Asked<K, V>>> {
        let mut waiting = self.waiting();
        let count = waiting.asked.len().min(MOST);
        if count == 0 {
            waiting.readers -= 1;
            return None;
        }
        waiting.began = Instant::now();
        Some(waiting.asked.drain(..count).collect())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<K, V>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::Semaphore;

    /// Readings that wait to be let through, and what each was asked for.
    #[derive(Clone)]
    struct Table {
        gate: Arc<Semaphore>,
        asked: Arc<Mutex<Vec<Vec<u8>>>>,
        rows: BatchLoader<u8, u16>,
    }

    impl Table {
        /// Holds the double of an even key; odd ones have no row, and from 99 on a reading fails in its own way.
        fn new() -> Self {
            let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
            let (door, log) = (Arc::clone(&gate), Arc::clone(&asked));
            let rows = BatchLoader::new(move |keys: Vec<u8>| {
                let door = Arc::clone(&door);
                log.lock().unwrap().push(keys.clone());
                assert!(!keys.contains(&101));
                async move {
                    door.acquire().await.unwrap().forget();
                    assert!(!keys.contains(&100));
                    if keys.contains(&99) {
                        return Err(StoreError::unavailable());
                    }
                    let even = keys.into_iter().filter(|key| key % 2 == 0);
                    Ok(even.map(|key| (key, u16::from(key) * 2)).collect())
                }
                .boxed()
            });
            Self { gate, asked, rows }
        }

        fn ask(&self, key: u8) -> tokio::task::JoinHandle<Result<Option<u16>, StoreError>> {
            let table = self.clone();
            tokio::spawn(async move { table.rows.get(key).await })
        }

        async fn acknowledge(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn who_asks_meanwhile_is_served_by_the_next_reading() {
        let table = Table::new();
        let first = table.ask(2);
        table.acknowledge().await;
        let later: Vec<_> = [4, 5, 4].map(|key| table.ask(key)).into();
        table.acknowledge().await;
        assert_eq!(*table.asked.lock().unwrap(), [vec![2]], "one reading at a time");
        table.gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap(), Some(4));
        let mut told = Vec::new();
        for one in later {
            told.push(one.await.unwrap().unwrap());
        }
        assert_eq!(told, [Some(8), None, Some(8)]);
        assert_eq!(*table.asked.lock().unwrap(), [vec![2], vec![4, 5, 4]]);
    }

    #[tokio::test]
    async fn who_goes_away_takes_nobody_along() {
        let table = Table::new();
        let first = table.ask(2);
        table.acknowledge().await;
        let second = table.ask(4);
        table.acknowledge().await;
        first.abort();
        table.gate.add_permits(2);
        assert_eq!(second.await.unwrap().unwrap(), Some(8));
    }

    #[tokio::test]
    async fn a_reading_that_fails_is_told_to_all_who_wait_and_the_next_one_is_new() {
        for bad in [99, 100, 101] {
            let table = Table::new();
            let first = table.ask(bad);
            table.acknowledge().await;
            let second = if bad == 101 { None } else { Some(table.ask(2)) };
            table.acknowledge().await;
            table.gate.add_permits(2);
            assert!(first.await.unwrap().is_err());
            if let Some(second) = second {
                assert!(second.await.unwrap().is_err());
            }
            let again = tokio::time::timeout(Duration::from_secs(5), table.rows.get(2)).await;
            assert_eq!(again.unwrap().unwrap(), Some(4));
        }
    }

    #[tokio::test]
    async fn nobody_waits_long_for_a_reading_that_is_stuck() {
        let table = Table::new();
        let stuck = table.ask(2);
        table.acknowledge().await;
        let late = table.ask(4);
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        let later = table.ask(6);
        table.acknowledge().await;
        assert_eq!(*table.asked.lock().unwrap(), [vec![2], vec![4, 6]]);
        table.gate.add_permits(2);
        for (one, double) in [(stuck, 4), (late, 8), (later, 12)] {
            assert_eq!(one.await.unwrap().unwrap(), Some(double));
        }
    }

    #[tokio::test]
    async fn many_are_read_in_pieces() {
        let table = Table::new();
        let all: Vec<_> =
            (0..=200).filter(|key| ![99, 100, 101].contains(key)).map(|key| table.ask(key)).collect();
        table.gate.add_permits(100);
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert!(table.asked.lock().unwrap().iter().all(|keys| keys.len() <= MOST));
    }
}
