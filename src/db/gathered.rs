//! Reading a little for many at once.
//!
//! Where each of many requests wants one row, the way to the database costs more than the row. Whoever asks
//! while somebody's statement is under way waits for the next one, which asks for all of them; who asks
//! alone waits for nobody. What is told was read after it was asked for.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::StoreError;

/// The most rows of one statement.
const MOST: usize = 64;

/// The rows that are asked for, by their keys. Cheap to clone.
#[derive(Debug)]
pub struct Gathered<K, V>(Arc<Mutex<Waiting<K, V>>>);

impl<K, V> Clone for Gathered<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Gathered<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waiting { is_served: false, asked: Vec::new() })))
    }
}

#[derive(Debug)]
struct Waiting<K, V> {
    /// Whether somebody reads for those who ask.
    is_served: bool,
    asked: Vec<Asked<K, V>>,
}

#[derive(Debug)]
struct Asked<K, V> {
    key: K,
    tell: oneshot::Sender<Result<Option<V>, StoreError>>,
}

impl<K, V> Gathered<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Copy + Send + 'static,
{
    /// The value of this key, if there is one. `read` reads those of many.
    ///
    /// # Errors
    ///
    /// Those of `read`. When one reading fails, so do all who wait by then: none of them waits for a failure of
    /// its own.
    pub async fn get<F, R>(&self, key: K, read: F) -> Result<Option<V>, StoreError>
    where
        F: Fn(Vec<K>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<HashMap<K, V>, StoreError>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let is_served = {
            let mut waiting = self.waiting();
            waiting.asked.push(Asked { key, tell });
            mem::replace(&mut waiting.is_served, true)
        };
        if !is_served {
            // In a task of its own, because others count on it when this caller goes away.
            tokio::spawn(self.clone().serve(read));
        }
        told.await.unwrap_or_else(|_| Err(StoreError::internal("a reading for many ended early".to_owned())))
    }

    /// Reads for all who ask, until nobody does.
    async fn serve<F, R>(self, read: F)
    where
        F: Fn(Vec<K>) -> R,
        R: Future<Output = Result<HashMap<K, V>, StoreError>>,
    {
        while let Some(asked) = self.next() {
            let keys = asked.iter().map(|one| one.key).collect();
            let panicked = |_| Err(StoreError::internal("a reading for many panicked".to_owned()));
            match AssertUnwindSafe(read(keys)).catch_unwind().await.unwrap_or_else(panicked) {
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

    fn next(&self) -> Option<Vec<Asked<K, V>>> {
        let mut waiting = self.waiting();
        let count = waiting.asked.len().min(MOST);
        waiting.is_served = count > 0;
        waiting.is_served.then(|| waiting.asked.drain(..count).collect())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        rows: Gathered<u8, u16>,
    }

    impl Table {
        fn new() -> Self {
            Self { gate: Arc::new(Semaphore::new(0)), asked: Arc::default(), rows: Gathered::default() }
        }

        /// The double of an even key; odd ones have no row, and 99 and 100 bring the reading down.
        async fn get(&self, key: u8) -> Result<Option<u16>, StoreError> {
            let Self { gate, asked, .. } = self.clone();
            let read = move |keys: Vec<u8>| {
                let (gate, asked) = (Arc::clone(&gate), Arc::clone(&asked));
                async move {
                    asked.lock().unwrap().push(keys.clone());
                    gate.acquire().await.unwrap().forget();
                    assert!(!keys.contains(&100));
                    if keys.contains(&99) {
                        return Err(StoreError::away());
                    }
                    Ok(keys
                        .into_iter()
                        .filter(|key| key % 2 == 0)
                        .map(|key| (key, u16::from(key) * 2))
                        .collect())
                }
            };
            self.rows.get(key, read).await
        }

        fn ask(&self, key: u8) -> tokio::task::JoinHandle<Result<Option<u16>, StoreError>> {
            let table = self.clone();
            tokio::spawn(async move { table.get(key).await })
        }

        async fn settle(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn who_asks_meanwhile_is_served_by_the_next_reading() {
        let table = Table::new();
        let first = table.ask(2);
        table.settle().await;
        let later: Vec<_> = [4, 5, 4].map(|key| table.ask(key)).into();
        table.settle().await;
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
        table.settle().await;
        let second = table.ask(4);
        table.settle().await;
        first.abort();
        table.gate.add_permits(2);
        assert_eq!(second.await.unwrap().unwrap(), Some(8));
    }

    #[tokio::test]
    async fn a_reading_that_fails_is_told_to_all_who_wait_and_the_next_one_is_new() {
        for bad in [99, 100] {
            let table = Table::new();
            let first = table.ask(bad);
            table.settle().await;
            let second = table.ask(2);
            table.settle().await;
            table.gate.add_permits(2);
            assert!(first.await.unwrap().is_err());
            assert!(second.await.unwrap().is_err());
            let again = tokio::time::timeout(Duration::from_secs(5), table.get(2)).await;
            assert_eq!(again.unwrap().unwrap(), Some(4));
        }
    }

    #[tokio::test]
    async fn many_are_read_in_pieces() {
        let table = Table::new();
        let all: Vec<_> =
            (0..=200).filter(|key| ![99, 100].contains(key)).map(|key| table.ask(key)).collect();
        table.gate.add_permits(100);
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert!(table.asked.lock().unwrap().iter().all(|keys| keys.len() <= MOST));
    }
}
