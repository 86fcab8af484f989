//! Functions on all tokens of a user, which run in the transaction of the caller.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::PersonalTokensError;
use super::store::{self, NewRow};
use crate::accounts::Authorization;
use crate::db::{StoreError, Tx};
use crate::events::{self, NewEvent};
use crate::tokens::{self, Revocation, Scope};

/// Returns the number of a user's tokens, including expired tokens that are still listed.
///
/// # Errors
///
/// [`StoreError`].
pub async fn count(tx: &Tx, user: Uuid) -> Result<u64, StoreError> {
    store::count(tx, user).await
}

/// Removes all tokens of a user. In the same transaction, the caller also revokes all credentials of the user
/// ([`tokens::of_user`]). This revocation invalidates the cached copies of the tokens.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_all(tx: &Tx, user: Uuid) -> Result<(), StoreError> {
    store::delete_all(tx, user).await
}

/// Removes the tokens of a user that have the scope `account`. The caller applies the returned revocations
/// with [`crate::tokens::Tokens::apply`] after the commit. `until` is the time until which the revocations
/// are needed.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_with_account_scope(
    tx: &Tx,
    user: Uuid,
    until: DateTime<Utc>,
) -> Result<Vec<Revocation>, StoreError> {
    let mut revocations = Vec::new();
    for token in store::list(tx, user).await? {
        if token.scopes.contains(Scope::Account) {
            store::delete(tx, user, token.id).await?;
            revocations.push(Revocation { subject: token.id, minted_before: None, until });
        }
    }
    tokens::revoke_all(tx, &revocations).await?;
    Ok(revocations)
}

/// Inserts a token, unless the owner already has `max` tokens.
pub(super) async fn insert_within_quota(
    tx: &Tx,
    row: &NewRow,
    max: u64,
    event: &NewEvent,
    authorization: &Authorization,
) -> Result<(), PersonalTokensError> {
    let owner = row.token.user;
    // The lock also orders concurrent requests of the owner, so that they can't exceed the maximum together.
    if !authorization.lock(tx).await? {
        return Err(PersonalTokensError::NotLoggedIn);
    }
    if store::count(tx, owner).await? >= max {
        return Err(PersonalTokensError::TooMany);
    }
    store::insert(tx, owner, row).await?;
    Ok(events::record(tx, event).await?)
}
