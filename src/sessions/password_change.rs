//! Changes the password of a logged-in user. All other sessions of the account end in the same transaction,
//! because a thief may have created them.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Authenticated, Sessions, SessionsError, revocation};
use crate::accounts::{self, AccountsError, Authorization};
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::Tx;
use crate::events::{self, EventKind, NewEvent};
use crate::flows;
use crate::passwords::Password;
use crate::tokens::Revocation;

/// What allows a change of the password.
#[derive(Debug)]
pub enum ChangeProof<'a> {
    /// The current password, which is not verified yet.
    CurrentPassword(&'a str),
    /// A recent authentication.
    RecentAuthentication(Authorization),
}

/// A change of the password that is ready to be stored.
#[derive(Debug, Clone)]
struct PasswordChange {
    user: Uuid,
    /// The session that stays active.
    keep: Option<Uuid>,
    /// The version of the credentials, read before the current password is verified. If the credentials have
    /// another version when the change is stored, the change fails.
    version: i64,
    /// The recent authentication that allows the change, if the request has no current password.
    authorization: Option<Authorization>,
    hash: String,
    at: DateTime<Utc>,
    clock: Clock,
    event: NewEvent,
}

impl Sessions {
    /// Changes the password. Ends all sessions of the user except the caller's, revokes all access tokens
    /// without a session, and ends all unfinished flows.
    ///
    /// # Errors
    ///
    /// A wrapped [`AccountsError::WrongPassword`], also if another request has changed the password in the
    /// meantime; a wrapped [`AccountsError::NoSuchUser`], [`AccountsError::Throttled`] or
    /// [`AccountsError::Overloaded`].
    pub async fn change_password(
        &self,
        caller: &Authenticated,
        proof: ChangeProof<'_>,
        new: Password,
    ) -> Result<(), SessionsError> {
        let version = self.accounts.find(caller.user).await?.credentials_version;
        let authorization = match proof {
            ChangeProof::CurrentPassword(current) => {
                self.accounts.prove_password(caller.user, current).await?;
                None
            }
            ChangeProof::RecentAuthentication(authorization) => Some(authorization),
        };
        let change = PasswordChange {
            user: caller.user,
            keep: caller.session,
            version,
            authorization,
            hash: self.accounts.hash_new_password(new).await?,
            at: self.clock.now(),
            clock: self.clock.clone(),
            event: NewEvent::new(&self.clock, caller.user, EventKind::PasswordChanged)
                .in_session(caller.session),
        };
        let ended: Vec<Revocation> =
            self.db.write(change, |tx, change| store_password(tx, change).boxed()).await?;
        self.apply_ended(caller.user, &ended);
        audit::record(Event::PasswordChanged, Some(caller.user), caller.session);
        Ok(())
    }
}

async fn store_password(tx: &Tx, change: &PasswordChange) -> Result<Vec<Revocation>, SessionsError> {
    let PasswordChange { user, version, hash, at, authorization, .. } = change;
    if let Some(authorization) = authorization {
        authorization.require_lock(tx).await?;
    }
    if !accounts::replace_password(tx, *user, Some(*version), hash, *at).await? {
        return Err(AccountsError::WrongPassword.into());
    }
    flows::end_all(tx, *user, *at).await?;
    events::record(tx, &change.event).await?;
    Ok(revocation::end_others(tx, *user, change.keep, &change.clock).await?)
}
