//! Which access tokens were seen in use, until the sessions room has written it down.
//!
//! Whoever shows an access token got the reply that it came in, and with it the refresh token of the
//! same generation. That proof is kept in memory and written in batches; what is lost with the
//! process only makes refreshing more lenient.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// How many are kept. Beyond, new ones are not noted: leniency, never a lockout.
const USAGE_CAPACITY: usize = 100_000;

/// An access token of this generation of the session was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// Whose session it is.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
    /// Which of its refresh tokens came with the access token.
    pub generation: i64,
}

/// The proofs that are not written yet.
#[derive(Debug, Default)]
pub(super) struct TokenUsage(Mutex<HashMap<Uuid, TokenUse>>);

impl TokenUsage {
    pub(super) fn note(&self, new: TokenUse) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < USAGE_CAPACITY || kept.contains_key(&new.session) {
            let proof = kept.entry(new.session).or_insert(new);
            proof.generation = proof.generation.max(new.generation);
        }
    }

    pub(super) fn newest(&self, session: Uuid) -> Option<i64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&session).map(|proof| proof.generation)
    }

    /// At most so many. They stay until they are settled, so that none is unknown while it is written.
    pub(super) fn batch(&self, limit: usize) -> Vec<TokenUse> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values().take(limit).copied().collect()
    }

    /// These are written.
    pub(super) fn acknowledge(&self, written: &[TokenUse]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for proof in written {
            if kept.get(&proof.session) == Some(proof) {
                kept.remove(&proof.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(session: u128, generation: i64) -> TokenUse {
        TokenUse { user: Uuid::nil(), session: Uuid::from_u128(session), generation }
    }

    #[test]
    fn the_newest_generation_stays_until_it_is_written() {
        let proofs = TokenUsage::default();
        proofs.note(proof(1, 2));
        proofs.note(proof(1, 1));
        assert_eq!(proofs.newest(Uuid::from_u128(1)), Some(2));
        let taken = proofs.batch(10);
        assert_eq!(taken, [proof(1, 2)]);
        proofs.note(proof(1, 3));
        proofs.acknowledge(&taken);
        assert_eq!(proofs.newest(Uuid::from_u128(1)), Some(3), "a newer one came meanwhile");
        proofs.acknowledge(&[proof(1, 3)]);
        assert_eq!(proofs.newest(Uuid::from_u128(1)), None);
    }
}
