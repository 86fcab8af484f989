//! Deletes an account.

use std::time::Duration;

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Accounts, AccountsError, Authorization, delete};
use crate::audit;
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
        self.delete_account(user, None).await
    }

    /// Deletes the account of a user who has authenticated recently.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Store`], or [`AccountsError::NoSuchUser`] if the caller is no longer logged in.
    pub async fn delete_proven(&self, authorization: Authorization) -> Result<(), AccountsError> {
        self.delete_account(authorization.user(), Some(authorization)).await
    }

    async fn delete_account(&self, user: Uuid, by: Option<Authorization>) -> Result<(), AccountsError> {
        let input = (user, by, tokens::revoked_until(&self.clock));
        let deleted: Result<Revocation, AccountsError> = self
            .db
            .write_within(DELETION_TIMEOUT, input, |tx, (user, by, until)| {
                async move {
                    if let Some(authorization) = by {
                        authorization.require_lock(tx).await?;
                    }
                    Ok(delete(tx, *user, *until).await?)
                }
                .boxed()
            })
            .await;
        self.tokens.apply(&deleted?);
        audit::record_deletion(user);
        Ok(())
    }
}
