//! A new password for an account whose user has proven the mailbox.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Accounts, HashedUser, PolicyViolation, User, store};
use crate::db::{StoreError, Tx};
use crate::passwords::Password;

/// The hash of an account without a password: no password matches it.
pub const NO_PASSWORD: &str = "!";

impl Accounts {
    /// Checks a new password of a user against the policy.
    ///
    /// # Errors
    ///
    /// The first [`PolicyViolation`].
    pub fn check_password_of(&self, user: &User, password: &str) -> Result<Password, PolicyViolation> {
        let identifiers: Vec<&str> =
            [&user.email, &user.username].into_iter().flatten().map(String::as_str).collect();
        self.policy.check(password, &identifiers)
    }
}

impl HashedUser {
    /// Returns the hash of the password.
    pub fn password_hash(&self) -> &str {
        &self.password_hash
    }

    /// Removes the username, which another user has.
    pub fn clear_username(&mut self) {
        self.user.username = None;
        self.username_key = None;
    }
}

/// Replaces the password of a user, whatever it is by now, by a hash or by [`NO_PASSWORD`]. Returns `false` if there is no such user.
///
/// # Errors
///
/// [`StoreError`].
pub async fn reset_password(tx: &Tx, user: Uuid, hash: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    store::reset_password(tx, user, hash, now).await
}
