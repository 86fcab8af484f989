//! Keeps the last use of each token in memory until the use is written to the database.
//!
//! Uses are recorded in memory, at most one a minute for each token, and written in batches. A request with a
//! token therefore needs no write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// The accuracy of the time of the last use.
pub(super) const ACCURACY: TimeDelta = TimeDelta::minutes(1);
/// The maximum number of unwritten uses. Further uses are not recorded.
const CAPACITY: usize = 100_000;

/// A user, and a token of that user.
pub(super) type TokenKey = (Uuid, Uuid);

/// The last use of each token, if this use is not written to the database yet.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<TokenKey, DateTime<Utc>>>);

impl Uses {
    pub(super) fn record(&self, key: TokenKey, at: DateTime<Utc>) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unwritten.len() < CAPACITY || unwritten.contains_key(&key) {
            unwritten.insert(key, at);
        }
    }

    /// Returns the unwritten use of a token.
    pub(super) fn of(&self, key: TokenKey) -> Option<DateTime<Utc>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// Returns up to `limit` uses, ordered by key. The uses stay recorded until [`Uses::acknowledge`] removes
    /// them.
    pub(super) fn batch(&self, limit: usize) -> Vec<(TokenKey, DateTime<Utc>)> {
        let unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch: Vec<_> = unwritten.iter().take(limit).map(|(key, at)| (*key, *at)).collect();
        // The same order on every replica prevents deadlocks.
        batch.sort_unstable();
        batch
    }

    /// Removes uses from memory, because they are written to the database now.
    pub(super) fn acknowledge(&self, written: &[(TokenKey, DateTime<Utc>)]) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, at) in written {
            if unwritten.get(key) == Some(at) {
                unwritten.remove(key);
            }
        }
    }
}
