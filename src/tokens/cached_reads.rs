//! Supports the caching of credentials that are stored in the database.
//!
//! Another module takes a [`ReadMark`], then reads a row, and uses the row again as long as
//! [`Tokens::is_current`] confirms that no revocation since the mark concerns the row. A revocation of the
//! row or of its user only makes the cached copy outdated: the database decides whether the credential is
//! still valid.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::revocations::subject_of_user;
use super::verify::SKEW;
use super::{TokenError, Tokens};

/// The state of the revocations before a row was read.
#[derive(Debug)]
pub struct ReadMark {
    /// The revision of the revocations at which the row was last found current.
    revision: AtomicU64,
    /// The feed epoch of the database.
    epoch: i64,
    read_at: DateTime<Utc>,
}

impl Tokens {
    /// Returns a mark for a row that is read from now on.
    pub fn mark(&self) -> ReadMark {
        ReadMark {
            revision: AtomicU64::new(self.inner.revocations.revision()),
            epoch: self.inner.epoch.id(),
            read_at: self.inner.clock.now(),
        }
    }

    /// Returns true if, since the mark, no revocation named the credential `id` and none revoked all
    /// credentials of `user`, according to a poll that began less than a second ago. The result can be
    /// `false` without a revocation; the caller then reads the row again.
    ///
    /// # Errors
    ///
    /// [`TokenError::Unverifiable`] if the revocations can't be read.
    pub async fn is_current(&self, mark: &ReadMark, id: Uuid, user: Uuid) -> Result<bool, TokenError> {
        let freshness = &self.inner.freshness;
        let subjects = [id, user];
        let polled_at = freshness.polled_at();
        let is_current = self.is_current_in_memory(mark, subjects);
        if !is_current || freshness.is_fresh(polled_at) {
            return Ok(is_current);
        }
        if !self.poll().await {
            return Err(TokenError::Unverifiable);
        }
        Ok(self.is_current_in_memory(mark, subjects))
    }

    fn is_current_in_memory(&self, mark: &ReadMark, subjects: [Uuid; 2]) -> bool {
        if mark.epoch != self.inner.epoch.id() {
            return false;
        }
        let revocations = &self.inner.revocations;
        let revision = revocations.revision();
        if mark.revision.load(Ordering::Relaxed) == revision {
            return true;
        }
        // The clock of the replica that stored the revocation may be behind the clock of this replica.
        let read_at = mark.read_at - SKEW;
        let [id, user] = subjects;
        // Revocations that an earlier version of the server has stored contain the id of the user itself.
        let subjects = [id, subject_of_user(user), user];
        if subjects.into_iter().any(|subject| revocations.rejects(subject, read_at)) {
            return false;
        }
        mark.revision.store(revision, Ordering::Relaxed);
        true
    }
}
