//! The state of an account's credentials: whether the account is disabled, and whether the credentials have
//! changed.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Accounts, AccountsError, User, store};
use crate::db::{StoreError, Tx};
use crate::events::EventKind;
use crate::passwords::Password;
use crate::throttle::CredentialTag;

/// The hash of an account without a password: no password matches it.
pub const NO_PASSWORD: &str = "!";

/// Returns the user. For a disabled account, returns the same error as for a wrong password.
pub(super) fn active(user: User) -> Result<User, AccountsError> {
    if user.is_disabled() { Err(AccountsError::InvalidCredentials) } else { Ok(user) }
}

/// Locks the row of a user until the transaction ends. Returns `false` if the account was disabled or
/// deleted, or its credentials were changed, since `version` was read. A login that began before such a
/// change must not create a session.
///
/// # Errors
///
/// [`StoreError`].
pub async fn lock_unchanged(tx: &Tx, user: Uuid, version: i64) -> Result<bool, StoreError> {
    store::lock_unchanged(tx, user, version).await
}

/// Stores a new password: a hash, or [`NO_PASSWORD`]. Returns `false` if the user does not exist or the
/// credentials were changed since `version` was read. Without a version, replaces the password regardless of
/// such a change.
///
/// # Errors
///
/// [`StoreError`].
pub async fn replace_password(
    tx: &Tx,
    user: Uuid,
    version: Option<i64>,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    store::replace_password(tx, user, version, hash, now).await
}

impl User {
    /// Returns whether an operator has disabled the account.
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Returns whether a password is set.
    pub fn has_password(&self) -> bool {
        self.credential != CredentialTag::of_hash(NO_PASSWORD)
    }
}

impl Accounts {
    /// Records a login that creates no session, for the user's list of security events.
    pub fn collect_login(&self, user: Uuid) {
        self.events.collect(user, EventKind::LoginSucceeded);
    }

    /// Hashes the new password of an existing user.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Overloaded`].
    pub async fn hash_new_password(&self, password: Password) -> Result<String, AccountsError> {
        Ok(self.passwords.hash(password).await?)
    }
}
