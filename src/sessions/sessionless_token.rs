//! Access tokens without a session.
//!
//! These tokens can't be refreshed and don't appear in the session list. After a token has expired, the
//! client sends the password again.

use super::{Sessions, SessionsError};
use crate::accounts::{AccountsError, LoginAttempt};
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
        // Read the version of the credentials again. If the credentials changed after the password was
        // checked and before the token was minted, the revocation of that change does not include the token,
        // because the token is newer.
        if self.accounts.find(user.id).await?.credentials_version != user.credentials_version {
            return Err(AccountsError::InvalidCredentials.into());
        }
        Ok(SessionlessToken { access_token: minted.token, expires_in_secs: minted.expires_in_secs, scopes })
    }
}
