//! Checks again, in the transaction of a sensitive change, that its caller is still logged in.
//!
//! A request is authenticated before its transaction begins. Before the commit, the owner of the account can end the
//! session of a thief, for example with a new password. Without a second check, a request of the thief that is in progress
//! could still add a personal access token, a passkey or another email address.
//!
//! [`Authorization::lock`] locks the user's row. A change of the credentials, which ends all sessions and
//! removes the flows, locks the row too. If that change commits first, `lock` returns `false`. Otherwise that
//! change waits until the transaction of `lock` ends.

use std::sync::Arc;

use uuid::Uuid;

use super::{AccountsError, store};
use crate::db::{StoreError, Tx};
use crate::tokens::{AccessToken, Tokens};

/// What has authorized a sensitive change. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// An access token.
    Token(Tokens, Arc<AccessToken>),
    /// The password in the request.
    Password {
        /// The user.
        user: Uuid,
        /// The version of the user's credentials when the password was checked.
        credentials_version: i64,
    },
}

impl Authorization {
    /// Returns the user.
    pub fn user(&self) -> Uuid {
        match self {
            Self::Token(_, token) => token.user,
            Self::Password { user, .. } => *user,
        }
    }

    /// Returns the session of the access token, if there is one.
    pub fn session(&self) -> Option<Uuid> {
        match self {
            Self::Token(_, token) => token.session,
            Self::Password { .. } => None,
        }
    }

    /// Locks the user's row until the transaction ends. Returns `false` if the account was deleted, or if the token was
    /// revoked or the credentials were changed after the request was authenticated.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn lock(&self, tx: &Tx) -> Result<bool, StoreError> {
        match self {
            Self::Token(tokens, token) => {
                Ok(store::lock(tx, token.user).await? && !tokens.was_revoked(tx, token).await?)
            }
            Self::Password { user, credentials_version } => {
                store::lock_unchanged(tx, *user, *credentials_version).await
            }
        }
    }

    /// Does what [`Authorization::lock`] does, but fails instead of returning `false`.
    ///
    /// # Errors
    ///
    /// [`AccountsError::NoSuchUser`].
    pub async fn require_lock(&self, tx: &Tx) -> Result<(), AccountsError> {
        if self.lock(tx).await? { Ok(()) } else { Err(AccountsError::NoSuchUser) }
    }
}
