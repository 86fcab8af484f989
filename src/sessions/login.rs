//! Login: starts a session for the correct identifier and password.
//!
//! [`Accounts::verify_credentials`](crate::accounts::Accounts::verify_credentials) checks the credentials. An unknown
//! identifier and a wrong password give the same error.

use futures_util::FutureExt;

use super::{Device, Grant, Session, Sessions, SessionsError, start};
use crate::accounts::{LoginAttempt, User};
use crate::audit::{self, Event};
use crate::events::EventKind;
use crate::tokens::{BY_PASSWORD, Revocation, Scopes};

impl Sessions {
    /// Starts a session for the user with this identifier and password. The tokens of the session are limited
    /// to `scopes`. If the user then has too many sessions, ends the session that has been idle longest.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SecondFactorRequired`], and the wrapped errors of
    /// [`Accounts::verify_credentials`](crate::accounts::Accounts::verify_credentials).
    pub async fn log_in(
        &self,
        login: &LoginAttempt<'_>,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let user = self.accounts.verify_credentials(login).await?;
        let device = Device { known_as: self.known_device(login.device_token, &user), ..device };
        self.continue_login(user, &[BY_PASSWORD], scopes, device).await
    }

    /// Starts a session for a user who has passed every required factor. `amr` lists the methods (RFC 8176).
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
        let new = self.with_events(session, EventKind::LoginSucceeded, &grant.user);
        let input = (new, grant.user.credentials_version, self.lifetimes.max_sessions);
        let inserted: Result<Vec<Revocation>, SessionsError> = self
            .db
            .write(input, |tx, (new, version, max)| start::insert(tx, new, *version, *max).boxed())
            .await;
        let ended = inserted?;
        self.record_login(&grant, &ended);
        Ok(grant)
    }

    /// Finishes a committed login. `ended` are the revocations of other sessions that the login ended: this
    /// replica rejects their tokens at once. Writes the login and the ended sessions to the audit log.
    pub(super) fn record_login(&self, grant: &Grant, ended: &[Revocation]) {
        self.apply_ended(grant.user.id, ended);
        audit::record(Event::LoggedIn, Some(grant.user.id), Some(grant.session));
    }
}
