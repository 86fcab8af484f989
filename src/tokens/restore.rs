//! Checks tokens that were minted before the database was restored from a backup.
//!
//! The restored database may lack the sessions of these tokens, and all revocations since the backup. Such a
//! token is accepted only if the database contains its session, and the session has not ended and has the
//! generation of the token or a later one. A token without a session is accepted only if the database
//! contains its user. A new feed epoch begins after a restore (see `epochs`). The check is one query for each
//! token; later requests use the cached result.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::store::{self, StoredEpoch};
use super::verify::SKEW;
use super::{AccessToken, Revocation, TokenError, Tokens};
use crate::clock::from_millis;
use crate::db::{Db, StoreError};

/// The feed epoch of the database, as of the last poll.
#[derive(Debug)]
pub(super) struct Epoch {
    id: AtomicI64,
    /// Tokens that were minted before this time, in milliseconds since 1970, must be checked.
    check_before: AtomicI64,
}

impl Epoch {
    pub(super) fn new() -> Self {
        Self { id: AtomicI64::new(0), check_before: AtomicI64::new(i64::MIN) }
    }

    /// Stores the start time of the epoch that a poll has read, and returns the id of the epoch.
    /// The caller stores the id later, with [`Epoch::enter`].
    pub(super) fn observe(&self, found: Option<StoredEpoch>) -> i64 {
        let Some(StoredEpoch { id, began_at }) = found else { return self.id() };
        if began_at > 0 {
            // Add the maximum difference between the clocks of replicas. Some tokens that were minted after
            // the restore are then checked too. These tokens pass the check.
            self.check_before.store(began_at + SKEW.num_milliseconds(), Ordering::Release);
        }
        id
    }

    /// Returns true if the epoch has changed. A poll must then read all revocations again.
    pub(super) fn is_new(&self, id: i64) -> bool {
        let current = self.id();
        current != 0 && current != id
    }

    /// Stores the epoch. Call this function only after all revocations were read again: until then, each poll
    /// must find that the epoch is new, also if an earlier poll has failed or was cancelled.
    pub(super) fn enter(&self, id: i64) {
        self.id.store(id, Ordering::Release);
    }

    /// Returns the id of the epoch.
    pub(super) fn id(&self) -> i64 {
        self.id.load(Ordering::Acquire)
    }

    /// Returns true if the epoch began after `minted_at`, or less than [`SKEW`] before `minted_at`.
    pub(super) fn began_after(&self, minted_at: DateTime<Utc>) -> bool {
        minted_at.timestamp_millis() < self.check_before.load(Ordering::Acquire)
    }
}

/// Deletes all signing keys, because the secret that encrypts them is lost. The next start creates new keys.
///
/// # Errors
///
/// [`StoreError`].
pub async fn discard_keys(db: &Db) -> Result<(), StoreError> {
    db.write((), |tx, ()| store::delete_all_keys(tx).boxed()).await
}

impl Tokens {
    /// Returns true if this session may have been created before the database was restored from a backup.
    pub fn may_be_lost(&self, session: Uuid) -> bool {
        let (seconds, _) = session.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
        let created_at = i64::try_from(seconds).unwrap_or_default().saturating_mul(1000);
        self.inner.epoch.began_after(from_millis(created_at))
    }

    /// Checks that the database contains the session of a token that was minted before the feed epoch began,
    /// or the user of a token without a session.
    ///
    /// # Errors
    ///
    /// [`TokenError::Revoked`]; [`TokenError::Unverifiable`] if the database can't be read.
    pub(super) async fn check_session_exists(&self, token: &AccessToken) -> Result<(), TokenError> {
        let epoch = self.inner.epoch.id();
        if !self.inner.epoch.began_after(token.minted_at)
            || token.checked_epoch.load(Ordering::Relaxed) == epoch
        {
            return Ok(());
        }
        let input = (token.user, token.session, token.generation.unwrap_or_default());
        let is_known = self.inner.db.read(input, |tx, (user, session, generation)| {
            store::is_known(tx, *user, *session, *generation).boxed()
        });
        if is_known.await.map_err(|_: StoreError| TokenError::Unverifiable)? {
            token.checked_epoch.store(epoch, Ordering::Relaxed);
            return Ok(());
        }
        // Revoke only this token: the session may exist with a lower generation, whose tokens are valid.
        let revocation = Revocation { subject: token.id, minted_before: None, until: token.expires_at };
        self.apply(&revocation);
        Err(TokenError::Revoked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_epoch_is_new_until_the_server_enters_it() {
        // S-41, S-107
        let epoch = Epoch::new();
        assert!(!epoch.is_new(1), "the first epoch of the process");
        epoch.enter(1);
        assert!(!epoch.is_new(1));
        assert!(epoch.is_new(2) && epoch.is_new(2), "a poll that fails must not hide the new epoch");
        epoch.enter(2);
        assert!(!epoch.is_new(2));
    }
}
