//! Keeps the uses of access tokens in memory until the `sessions` module has written them to the database.
//!
//! A client that uses an access token has received the response that contained it, and therefore also the
//! refresh token of the same generation. The use is recorded in memory and written in batches. If a crash
//! loses uses, a previous refresh token stays usable for longer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The maximum number of unwritten uses. Further uses are not recorded: a previous refresh token then stays
/// usable for longer, and no client is rejected.
const USAGE_CAPACITY: usize = 100_000;

/// A use of an access token, identified by the session and the generation of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// The owner of the session.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
    /// The generation of the refresh token that was issued with the access token.
    pub generation: i64,
}

/// The uses that are not written to the database yet: the newest use of each session.
#[derive(Debug, Default)]
pub(super) struct TokenUsage(Mutex<HashMap<Uuid, TokenUse>>);

impl TokenUsage {
    pub(super) fn record(&self, new: TokenUse) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unwritten.len() < USAGE_CAPACITY || unwritten.contains_key(&new.session) {
            let newest = unwritten.entry(new.session).or_insert(new);
            newest.generation = newest.generation.max(new.generation);
        }
    }

    pub(super) fn newest(&self, session: Uuid) -> Option<i64> {
        let unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.get(&session).map(|token_use| token_use.generation)
    }

    /// Returns up to `limit` uses. The uses stay recorded until [`TokenUsage::acknowledge`] removes them.
    pub(super) fn batch(&self, limit: usize) -> Vec<TokenUse> {
        let unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.values().take(limit).copied().collect()
    }

    /// Removes uses from memory, because they are written to the database now.
    pub(super) fn acknowledge(&self, written: &[TokenUse]) {
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for token_use in written {
            if unwritten.get(&token_use.session) == Some(token_use) {
                unwritten.remove(&token_use.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_use(session: u128, generation: i64) -> TokenUse {
        TokenUse { user: Uuid::nil(), session: Uuid::from_u128(session), generation }
    }

    #[test]
    fn the_newest_token_use_of_a_session_is_kept_until_its_storage_is_acknowledged() {
        let usage = TokenUsage::default();
        usage.record(token_use(1, 2));
        usage.record(token_use(1, 1));
        assert_eq!(usage.newest(Uuid::from_u128(1)), Some(2));
        let taken = usage.batch(10);
        assert_eq!(taken, [token_use(1, 2)]);
        usage.record(token_use(1, 3));
        usage.acknowledge(&taken);
        assert_eq!(usage.newest(Uuid::from_u128(1)), Some(3), "a newer use must remain");
        usage.acknowledge(&[token_use(1, 3)]);
        assert_eq!(usage.newest(Uuid::from_u128(1)), None);
    }
}
