//! Deletes an account.

use std::time::Duration;

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Accounts, AccountsError, delete};
use crate::audit;
use crate::db::StoreError;
use crate::tokens::{self, Revocation};

/// The maximum duration of the transaction that deletes an account and all data of its user.
pub const DELETION_TIMEOUT: Duration = Duration::from_secs(30);

impl Accounts {
    /// Deletes the account and all data of its user after checking the password. All access tokens of the user
    /// are revoked in the same transaction.
    ///
    /// # Errors
    ///
    /// [`AccountsError::WrongPassword`], [`AccountsError::NoSuchUser`], [`AccountsError::Throttled`] or
    /// [`AccountsError::Overloaded`].
    pub async fn delete(&self, user: Uuid, password: &str) -> Result<(), AccountsError> {
        self.prove_password(user, password).await?;
        self.delete_proven(user).await
    }

    /// Deletes the account of a user who has authenticated recently.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Store`].
    pub async fn delete_proven(&self, user: Uuid) -> Result<(), AccountsError> {
        let until = tokens::revoked_until(&self.clock);
        let deleted: Result<Revocation, StoreError> = self
            .db
            .write_within(DELETION_TIMEOUT, (user, until), |tx, (user, until)| {
                delete(tx, *user, *until).boxed()
            })
            .await;
        self.tokens.apply(&deleted?);
        audit::record_deletion(user);
        Ok(())
    }
}
