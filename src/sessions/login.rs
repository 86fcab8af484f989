//! Login: starts a session for the correct identifier and password.
//!
//! [`Accounts::verify_credentials`](crate::accounts::Accounts::verify_credentials) checks the credentials. An unknown
//! identifier and a wrong password give the same error.

use futures_util::FutureExt;

use super::{Device, Grant, Session, Sessions, SessionsError, revocation};
use crate::accounts::{AccountsError, LoginAttempt, User};
use crate::audit::{self, Event};
use crate::db::StoreError;
use crate::tokens::{BY_PASSWORD, Revocation, Scopes};

impl Sessions {
    /// Starts a session for the user with this identifier and password. Its tokens are limited to `scopes`. If
    /// the user has too many sessions then, ends the one that has been idle longest.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SecondFactorRequired`], and wrapped those of
    /// [`Accounts::verify_credentials`](crate::accounts::Accounts::verify_credentials).
    pub async fn log_in(
        &self,
        login: &LoginAttempt<'_>,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let user = self.accounts.verify_credentials(login).await?;
        self.continue_login(user, &[BY_PASSWORD], scopes, device).await
    }

    /// Starts a session for a user who has proven every factor by the methods in `amr`.
    pub(super) async fn start_session(
        &self,
        user: User,
        amr: Vec<String>,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let mut session = Session { amr, ..self.new_session(user.id, scopes, device) };
        let now = session.created_at;
        let grant = self.issue_grant(&mut session, user, now)?;
        let input = (session, self.lifetimes.max_sessions);
        let inserted: Result<Vec<Revocation>, StoreError> = self
            .db
            .write(input, |tx, (session, max)| revocation::insert_within_quota(tx, session, *max).boxed())
            .await;
        match inserted {
            // The account was deleted while its password was verified.
            Err(StoreError::ForeignKeyViolation(_)) => Err(AccountsError::InvalidCredentials.into()),
            Err(error) => Err(error.into()),
            Ok(ended) => {
                self.record_login(&grant, &ended);
                Ok(grant)
            }
        }
    }

    /// Applies and records a committed login, and the sessions that it ended.
    pub(super) fn record_login(&self, grant: &Grant, ended: &[Revocation]) {
        self.apply_ended(grant.user.id, ended);
        audit::record(Event::LoggedIn, Some(grant.user.id), Some(grant.session));
    }
}
