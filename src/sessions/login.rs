//! Login: starts a session for the correct identifier and password.
//!
//! [`Accounts::verify_credentials`](crate::accounts::Accounts::verify_credentials) checks the credentials. An unknown
//! identifier and a wrong password give the same error.

use futures_util::FutureExt;

use super::{Device, Grant, Sessions, SessionsError, store};
use crate::accounts::AccountsError;
use crate::audit::{self, Event};
use crate::db::StoreError;
use crate::tokens::Scopes;

impl Sessions {
    /// Starts a session for the user with this identifier and password. Its tokens are limited to `scopes`.
    ///
    /// # Errors
    ///
    /// A wrapped [`AccountsError::InvalidCredentials`] or [`AccountsError::Overloaded`].
    pub async fn log_in(
        &self,
        identifier: &str,
        password: &str,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let user = self.accounts.verify_credentials(identifier, password).await?;
        let mut session = self.new_session(user.id, scopes, device);
        let now = session.created_at;
        let grant = self.issue_grant(&mut session, user, now)?;
        let inserted: Result<(), StoreError> =
            self.db.write(session, |tx, session| store::insert(tx, session.user, session).boxed()).await;
        match inserted {
            // The account was deleted while its password was verified.
            Err(StoreError::ForeignKeyViolation(_)) => Err(AccountsError::InvalidCredentials.into()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                audit::record(Event::LoggedIn, Some(grant.user.id), Some(grant.session));
                Ok(grant)
            }
        }
    }
}
