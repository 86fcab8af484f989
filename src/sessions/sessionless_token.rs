//! Access tokens without a session.
//!
//! These tokens can't be refreshed and don't appear in the session list. After a token has expired, the
//! client sends the password again.

use futures_util::FutureExt;

use super::{Sessions, SessionsError};
use crate::accounts::{self, AccountsError, LoginAttempt};
use crate::db::StoreError;
use crate::tokens::{BY_PASSWORD, Scopes, Subject};

/// An access token without a session.
#[derive(Debug, Clone)]
pub struct SessionlessToken {
    /// The access token: a JWT.
    pub access_token: String,
    /// The lifetime of the access token, in seconds.
    pub expires_in_secs: i64,
    /// The scopes of the access token.
    pub scopes: Scopes,
}

impl Sessions {
    /// Mints an access token for the user with this identifier and password.
    ///
    /// # Errors
    ///
    /// The wrapped errors of [`Accounts::authenticate`](crate::accounts::Accounts::authenticate).
    pub async fn issue_token(&self, login: &LoginAttempt<'_>) -> Result<SessionlessToken, SessionsError> {
        let user = self.accounts.authenticate(login).await?;
        self.accounts.collect_login(user.id);
        let scopes = Scopes::all();
        let minted = self.tokens.mint(Subject {
            user: user.id,
            session: None,
            generation: None,
            scopes,
            amr: vec![BY_PASSWORD.to_owned()],
            authenticated_at: self.clock.now(),
            until: None,
        })?;
        // Check that the credentials have not changed since the password was checked. A change before the
        // token was minted does not revoke the token, because the token is newer. A change after this check
        // locks the user first and then reads the clock, so it revokes the token.
        let input = (user.id, user.credentials_version);
        let is_unchanged: Result<bool, StoreError> = self
            .db
            .write(input, |tx, (user, version)| accounts::lock_unchanged(tx, *user, *version).boxed())
            .await;
        if !is_unchanged? {
            return Err(AccountsError::InvalidCredentials.into());
        }
        Ok(SessionlessToken { access_token: minted.token, expires_in_secs: minted.expires_in_secs, scopes })
    }
}
