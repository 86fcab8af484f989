//! All tokens of a user, in the transaction of the caller.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::store::{self, NewRow};
use super::{PersonalToken, PersonalTokensError};
use crate::db::{StoreError, Tx};
use crate::events::{self, NewEvent};
use crate::tokens::{self, Revocation, Scope};

/// Returns the number of a user's tokens, including expired ones that are still listed.
///
/// # Errors
///
/// [`StoreError`].
pub async fn count(tx: &Tx, user: Uuid) -> Result<u64, StoreError> {
    store::count(tx, user).await
}

/// Removes all tokens of a user, in the transaction that requires it. The caller applies the returned
/// revocations with [`crate::tokens::Tokens::apply`] after the commit. `until` is [`super::PersonalTokens::revoked_until`].
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_all(tx: &Tx, user: Uuid, until: DateTime<Utc>) -> Result<Vec<Revocation>, StoreError> {
    remove(tx, user, until, |_| true).await
}

/// Removes the tokens of a user that have the scope `account`, as [`remove_all`] does.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_with_account_scope(
    tx: &Tx,
    user: Uuid,
    until: DateTime<Utc>,
) -> Result<Vec<Revocation>, StoreError> {
    remove(tx, user, until, |token| token.scopes.contains(Scope::Account)).await
}

async fn remove(
    tx: &Tx,
    user: Uuid,
    until: DateTime<Utc>,
    is_removed: fn(&PersonalToken) -> bool,
) -> Result<Vec<Revocation>, StoreError> {
    let mut revocations = Vec::new();
    for token in store::list(tx, user).await?.into_iter().filter(is_removed) {
        let revocation = Revocation { subject: token.id, minted_before: None, until };
        tokens::revoke(tx, &revocation).await?;
        store::delete(tx, user, token.id).await?;
        revocations.push(revocation);
    }
    Ok(revocations)
}

/// Inserts a token, unless the owner has `max` already.
pub(super) async fn insert_within_quota(
    tx: &Tx,
    row: &NewRow,
    max: u64,
    event: &NewEvent,
) -> Result<(), PersonalTokensError> {
    let owner = row.token.user;
    // The lock orders concurrent requests of the owner, so that they can't exceed the maximum together.
    if !store::lock_owner(tx, owner).await? {
        return Err(PersonalTokensError::NoSuchOwner);
    }
    if store::count(tx, owner).await? >= max {
        return Err(PersonalTokensError::TooMany);
    }
    store::insert(tx, owner, row).await?;
    Ok(events::record(tx, event).await?)
}
