//! Sign-up: creates an account and its first session in one transaction.

use futures_util::FutureExt;

use super::{Device, Grant, Session, Sessions, SessionsError, store};
use crate::accounts::{self, HashedUser, NewUser};
use crate::audit::{self, Event};
use crate::db::Tx;
use crate::tokens::Scopes;

impl Sessions {
    /// Creates an account and its first session, both or neither.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SignupClosed`], or a wrapped [`accounts::AccountsError::IdentifierTaken`].
    pub async fn sign_up(&self, new: NewUser, device: Device) -> Result<Grant, SessionsError> {
        if !self.signup_open {
            return Err(SessionsError::SignupClosed);
        }
        let hashed = self.accounts.hash_password(new).await?;
        let user = hashed.user().clone();
        let mut session = self.new_session(user.id, Scopes::all(), device);
        let now = session.created_at;
        let grant = self.issue_grant(&mut session, user, now)?;
        self.db.write((hashed, session), |tx, (hashed, session)| insert(tx, hashed, session).boxed()).await?;
        audit::record(Event::SignedUp, Some(grant.user.id), Some(grant.session));
        Ok(grant)
    }
}

async fn insert(tx: &Tx, user: &HashedUser, session: &Session) -> Result<(), SessionsError> {
    accounts::insert(tx, user).await?;
    Ok(store::insert(tx, session.user, session).await?)
}
