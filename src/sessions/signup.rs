//! Sign-up: creates an account and its first session in one transaction.

use std::net::IpAddr;

use futures_util::FutureExt;

use super::{Device, Grant, Session, Sessions, SessionsError, store};
use crate::accounts::{self, AccountsError, HashedUser, NewUser};
use crate::audit::{self, Event};
use crate::db::Tx;
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
        let inserted =
            self.db.write((hashed, session), |tx, (hashed, session)| insert(tx, hashed, session).boxed());
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

async fn insert(tx: &Tx, user: &HashedUser, session: &Session) -> Result<(), SessionsError> {
    accounts::insert(tx, user).await?;
    Ok(store::insert(tx, session.user, session).await?)
}
