//! Ends all sessions and access tokens of an account when the password is reset, when a change of address is
//! undone, or when an operator runs certain commands. Also removes all credentials of an account that was
//! never confirmed, when the owner of the mailbox takes the account over.
//!
//! Confirming an address proves who owns the mailbox, not who chose the password. If nothing proves that the
//! owner of the mailbox also chose the password, all credentials that were set before are removed: a stranger
//! may have signed up with the address.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Sessions, revocation};
use crate::accounts;
use crate::clock::Clock;
use crate::db::{StoreError, Tx};
use crate::tokens::{self, Revocation};
use crate::{events, flows, personal_tokens, second_factors};

/// Ends all sessions of a user, as [`Sessions::end_every`] does, in a process that serves no requests.
/// `until` is a time by which the last access token of the user has expired.
///
/// # Errors
///
/// [`StoreError`].
pub async fn end_every(
    tx: &Tx,
    user: Uuid,
    clock: &Clock,
    until: DateTime<Utc>,
) -> Result<Vec<Revocation>, StoreError> {
    let mut revocations = revocation::end_others(tx, user, None, clock).await?;
    let of_user = tokens::of_user(user, Some(clock.now()), until);
    tokens::revoke(tx, &of_user).await?;
    revocations.push(of_user);
    Ok(revocations)
}

impl Sessions {
    /// Ends all sessions of a user and all logins that wait for a second factor, and revokes all access
    /// tokens that were minted before this call. After the commit, the caller passes the result to
    /// [`Sessions::apply_ended`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn end_every(&self, tx: &Tx, user: Uuid) -> Result<Vec<Revocation>, StoreError> {
        end_every(tx, user, &self.clock, tokens::revoked_until(&self.clock)).await
    }

    /// Removes all credentials of a user, and stores `password_hash`: the hash of a new password, or
    /// [`accounts::NO_PASSWORD`]. After the commit, the caller passes the result to
    /// [`Sessions::apply_ended`].
    ///
    /// This function must call every module that stores credentials of users.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn drop_credentials(
        &self,
        tx: &Tx,
        user: Uuid,
        password_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Revocation>, StoreError> {
        accounts::replace_password(tx, user, None, password_hash, now).await?;
        flows::end_all(tx, user, now).await?;
        second_factors::remove_all(tx, user, now).await?;
        events::forget_devices(tx, user).await?;
        personal_tokens::remove_all(tx, user).await?;
        self.end_every(tx, user).await
    }
}
