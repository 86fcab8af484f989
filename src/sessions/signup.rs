//! Sign-up: creates an account and its first session in one transaction.

use std::net::IpAddr;

use futures_util::FutureExt;

use super::start::{self, NewSession};
use super::{Device, Grant, Sessions, SessionsError};
use crate::accounts::{self, AccountsError, HashedUser, NewUser};
use crate::audit::{self, Event};
use crate::db::Tx;
use crate::events::EventKind;
use crate::tokens::Scopes;

impl Sessions {
    /// Creates an account and its first session, both or neither.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SignupClosed`], or a wrapped [`AccountsError::IdentifierTaken`] or
    /// [`AccountsError::Throttled`].
    pub async fn sign_up(
        &self,
        new: NewUser,
        device: Device,
        address: IpAddr,
    ) -> Result<Grant, SessionsError> {
        if !self.signup_open {
            return Err(SessionsError::SignupClosed);
        }
        let attempt = self.accounts.begin_sign_up(address).await?;
        let hashed = self.accounts.hash_password(new).await?;
        let user = hashed.user().clone();
        let mut session = self.new_session(user.id, Scopes::all(), device);
        let now = session.created_at;
        let grant = self.issue_grant(&mut session, user, now)?;
        let new = self.with_events(session, EventKind::Signup);
        let inserted = self.db.write((hashed, new), |tx, (hashed, new)| insert(tx, hashed, new).boxed());
        if let Err(error) = inserted.await {
            if matches!(error, SessionsError::Accounts(AccountsError::IdentifierTaken)) {
                attempt.failed().await?;
            }
            return Err(error);
        }
        audit::record(Event::SignedUp, Some(grant.user.id), Some(grant.session));
        Ok(grant)
    }
}

async fn insert(tx: &Tx, user: &HashedUser, session: &NewSession) -> Result<(), SessionsError> {
    accounts::insert(tx, user).await?;
    start::insert_first(tx, session).await
}
