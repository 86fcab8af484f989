//! The functions that run in the transaction of the caller.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AccountsError, HashedUser, Identifier, ProfilePatch, User, store};
use crate::db::{StoreError, Tx};
use crate::events::{self, NewEvent};

pub(super) async fn change_profile(
    tx: &Tx,
    user: Uuid,
    patch: &ProfilePatch,
    renamed: &NewEvent,
) -> Result<User, AccountsError> {
    let before = store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)?;
    if matches!(patch.username, Some(None)) && before.email.is_none() {
        return Err(AccountsError::LastIdentifier);
    }
    match store::change_profile(tx, user, patch, renamed.at()).await {
        Ok(true) => {}
        Ok(false) => return Err(AccountsError::NoSuchUser),
        Err(StoreError::UniqueViolation(_)) => return Err(AccountsError::IdentifierTaken),
        Err(error) => return Err(error.into()),
    }
    let after = store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)?;
    if after.username != before.username {
        events::record(tx, renamed).await?;
    }
    Ok(after)
}

/// Returns a user by id, within a transaction.
///
/// # Errors
///
/// [`AccountsError::NoSuchUser`].
pub async fn find(tx: &Tx, user: Uuid) -> Result<User, AccountsError> {
    store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)
}

/// Locks the row of a user until the end of the transaction. Returns `false` if the user does not exist.
///
/// # Errors
///
/// [`StoreError`].
pub async fn lock(tx: &Tx, user: Uuid) -> Result<bool, StoreError> {
    store::lock(tx, user).await
}

/// Returns the user with this id, email address or username. `text` is what an operator has entered.
///
/// # Errors
///
/// [`StoreError`].
pub async fn lookup(tx: &Tx, text: &str) -> Result<Option<User>, StoreError> {
    if let Ok(id) = text.trim().parse() {
        return store::find(tx, id).await;
    }
    match Identifier::from_entered(text) {
        Some(identifier) => Ok(store::find_by_identifier(tx, &identifier).await?.map(|found| found.user)),
        None => Ok(None),
    }
}

/// Returns up to `limit` users whose ids are greater than `after`, in the order of their ids.
///
/// # Errors
///
/// [`StoreError`].
pub async fn page(tx: &Tx, after: Uuid, limit: u64) -> Result<Vec<User>, StoreError> {
    store::page(tx, after, limit).await
}

/// Sets whether logging in requires a second factor. A login that is in progress fails, because the version
/// of the credentials changes. Returns `false` if the user does not exist.
///
/// # Errors
///
/// [`StoreError`].
pub async fn set_mfa_enabled(
    tx: &Tx,
    user: Uuid,
    is_enabled: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    store::set_mfa_enabled(tx, user, is_enabled, now).await
}

/// Inserts a new user.
///
/// # Errors
///
/// [`AccountsError::IdentifierTaken`] if a unique index of the database rejects an identifier.
pub async fn insert(tx: &Tx, user: &HashedUser) -> Result<(), AccountsError> {
    match store::insert(tx, user).await {
        Err(StoreError::UniqueViolation(_)) => Err(AccountsError::IdentifierTaken),
        other => Ok(other?),
    }
}
