//! An access token for a password, and nothing else: no session is kept, so there is nothing to refresh
//! and nothing to list, and when it has expired the password is asked for again.

use super::{Sessions, SessionsError};
use crate::audit::{self, Event};
use crate::tokens::{BY_PASSWORD, Scopes, Subject};

/// An access token without a session.
#[derive(Debug, Clone)]
pub struct SessionlessToken {
    /// A JWT.
    pub access_token: String,
    /// Its life, in seconds.
    pub expires_in_secs: i64,
    /// What it may be used for.
    pub scopes: Scopes,
}

impl Sessions {
    /// Mints a token for whoever the identifier and password belong to.
    ///
    /// # Errors
    ///
    /// [`crate::accounts::AccountsError::BadCredentials`] or
    /// [`crate::accounts::AccountsError::Overloaded`] within.
    pub async fn issue_token(
        &self,
        identifier: &str,
        password: &str,
    ) -> Result<SessionlessToken, SessionsError> {
        let user = self.accounts.authenticate(identifier, password).await?;
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
        audit::note(Event::Authenticated, Some(user.id), None);
        Ok(SessionlessToken { access_token: minted.token, expires_in_secs: minted.expires_in_secs, scopes })
    }
}
