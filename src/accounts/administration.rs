//! The functions with which operators search, disable, import and delete accounts. They run in the
//! transaction of the caller.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{HashedUser, User, store};
use crate::db::{StoreError, Tx};
use crate::tokens::{self, Revocation};

/// Which accounts a list contains.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// A part of the email address, the username or the display name. The comparison ignores the case of
    /// ASCII letters.
    pub text: Option<String>,
    /// Only disabled accounts.
    pub only_disabled: bool,
    /// Only accounts whose email address is not confirmed.
    pub only_unconfirmed: bool,
}

/// Returns up to `limit` users that match the filter and whose ids are greater than `after`, in the order of
/// their ids.
///
/// # Errors
///
/// [`StoreError`].
pub async fn search(tx: &Tx, filter: &UserFilter, after: Uuid, limit: u64) -> Result<Vec<User>, StoreError> {
    store::administration::search(tx, filter, after, limit).await
}

/// Disables or enables an account. Returns `false` if the account already is in the requested state, or does
/// not exist. A login that began before the commit can't create a session after the commit.
///
/// # Errors
///
/// [`StoreError`].
pub async fn set_disabled(
    tx: &Tx,
    user: Uuid,
    is_disabled: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    store::administration::set_disabled(tx, user, is_disabled, now).await
}

/// The identifiers of an account, in canonical form.
#[derive(Debug, Clone)]
pub struct KnownKeys {
    /// The canonical form of the email address.
    pub email: Option<String>,
    /// The canonical form of the username.
    pub username: Option<String>,
}

/// Returns the identifiers of the accounts that have one of these email addresses or usernames.
///
/// # Errors
///
/// [`StoreError`].
pub async fn find_keys(tx: &Tx, emails: &[&str], usernames: &[&str]) -> Result<Vec<KnownKeys>, StoreError> {
    store::administration::find_keys(tx, emails, usernames).await
}

/// Inserts new users, all or none.
///
/// # Errors
///
/// [`StoreError::UniqueViolation`] if an identifier is taken.
pub async fn insert_all(tx: &Tx, users: &[HashedUser]) -> Result<(), StoreError> {
    store::administration::insert_all(tx, users).await
}

/// Deletes an account with all data of its user, and revokes the user's access tokens. `until` is a time by
/// which the last of these tokens has expired. Deletes no row if a concurrent request has deleted the
/// account.
///
/// # Errors
///
/// [`StoreError`].
pub async fn delete(tx: &Tx, user: Uuid, until: DateTime<Utc>) -> Result<Revocation, StoreError> {
    store::delete(tx, user).await?;
    // Insert the revocation last: the insert assigns its number, and the other replicas must see the row soon
    // after that. The deletion of many trips takes long.
    let revocation = tokens::of_user(user, None, until);
    tokens::revoke(tx, &revocation).await?;
    Ok(revocation)
}
