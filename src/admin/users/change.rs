//! Changes the state of an account.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::{Context, ManageUsersError, lookup, with_database};
use crate::accounts::{self, User};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::operators::{self, Action};
use crate::tokens::{self, Revocation};
use crate::{flows, second_factors, sessions};

/// A change of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Refuses every credential of the account, and ends its sessions. Deletes nothing.
    Disable,
    /// Accepts the credentials again. Ended sessions stay ended.
    Enable,
    /// Confirms the email address.
    Confirm,
    /// Ends all sessions, and revokes all access tokens.
    EndSessions,
    /// Removes every second factor, and ends all sessions.
    ResetMfa,
    /// Deletes the account with all data of its user.
    Delete,
}

impl Change {
    /// Returns the command that makes the change.
    const fn command(self) -> &'static str {
        match self {
            Self::Disable => "users disable",
            Self::Enable => "users enable",
            Self::Confirm => "users confirm",
            Self::EndSessions => "users end-sessions",
            Self::ResetMfa => "users mfa-reset",
            Self::Delete => "users delete",
        }
    }

    /// Returns the event that the user sees.
    const fn event(self) -> Option<EventKind> {
        match self {
            Self::Disable => Some(EventKind::AccountDisabled),
            Self::Enable => Some(EventKind::AccountEnabled),
            Self::Confirm => Some(EventKind::EmailConfirmed),
            Self::EndSessions => Some(EventKind::SessionsEnded),
            Self::ResetMfa => Some(EventKind::MfaReset),
            Self::Delete => None,
        }
    }
}

/// The result of a change.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The account after the change. For a deletion, the account before it.
    pub user: User,
    /// Whether the state of the account was different before. Always true for ending the sessions and for a
    /// deletion.
    pub is_changed: bool,
    /// The number of sessions that were ended.
    pub sessions_ended: usize,
}

/// A change that is ready to be made.
#[derive(Debug, Clone)]
struct Request {
    change: Change,
    name: String,
    action: Action,
    clock: Clock,
    now: DateTime<Utc>,
    revoked_until: DateTime<Utc>,
}

/// Changes the account with this id, email address or username.
///
/// # Errors
///
/// [`ManageUsersError::NoSuchUser`], or [`ManageUsersError::NoAddress`].
pub async fn change_user(
    settings: &Settings,
    name: &str,
    change: Change,
) -> Result<Changed, ManageUsersError> {
    with_database(settings, async |context| {
        let request = Request::new(context, name, change);
        let db = &context.db;
        let (changed, action) = if change == Change::Delete {
            let limit = accounts::DELETION_TIMEOUT;
            db.write_within(limit, request, |tx, request| request.apply(tx).boxed()).await?
        } else {
            db.write(request, |tx, request| request.apply(tx).boxed()).await?
        };
        action.log();
        Ok(changed)
    })
    .await
}

impl Request {
    fn new(context: &Context, name: &str, change: Change) -> Self {
        Self {
            change,
            name: name.to_owned(),
            action: Action::new(&context.clock, change.command()),
            clock: context.clock.clone(),
            now: context.now(),
            revoked_until: tokens::revoked_until(&context.clock),
        }
    }

    async fn apply(&self, tx: &Tx) -> Result<(Changed, Action), ManageUsersError> {
        let user = lookup(tx, &self.name).await?;
        let (is_changed, ended) = self.change(tx, &user).await?;
        if let Some(kind) = self.change.event().filter(|_| is_changed) {
            events::record(tx, &NewEvent::new(&self.clock, user.id, kind)).await?;
        }
        let action = self.action.clone().on(&user.id);
        operators::record(tx, &action).await?;
        let after = accounts::lookup(tx, &user.id.to_string()).await?;
        let sessions_ended = ended.iter().filter(|ended| ended.minted_before.is_none()).count();
        Ok((Changed { user: after.unwrap_or(user), is_changed, sessions_ended }, action))
    }

    /// Makes the change. Returns whether the state of the account was different before, and the revocations
    /// of the sessions that were ended.
    async fn change(&self, tx: &Tx, user: &User) -> Result<(bool, Vec<Revocation>), ManageUsersError> {
        let (id, now) = (user.id, self.now);
        Ok(match self.change {
            Change::Disable => {
                let is_changed = accounts::set_disabled(tx, id, true, now).await?;
                flows::end_all(tx, id, now).await?;
                (is_changed, self.end_every(tx, user).await?)
            }
            Change::Enable => (accounts::set_disabled(tx, id, false, now).await?, Vec::new()),
            Change::Confirm => {
                let address = user.email.as_deref().ok_or(ManageUsersError::NoAddress)?;
                let is_changed =
                    !user.email_verified && accounts::confirm_address(tx, id, address, now).await?;
                if is_changed {
                    // Without this call, the code from the mail of a repeated sign-up could still replace the
                    // password.
                    flows::end_confirmations(tx, id, now).await?;
                }
                (is_changed, Vec::new())
            }
            Change::EndSessions => (true, self.end_every(tx, user).await?),
            Change::ResetMfa => {
                // Without the lock, a passkey that is being registered would not be removed.
                accounts::lock(tx, id).await?;
                let is_changed = second_factors::remove_all(tx, id, now).await?;
                let ended = if is_changed { self.end_every(tx, user).await? } else { Vec::new() };
                (is_changed, ended)
            }
            Change::Delete => {
                accounts::delete(tx, id, self.revoked_until).await?;
                (true, Vec::new())
            }
        })
    }

    async fn end_every(&self, tx: &Tx, user: &User) -> Result<Vec<Revocation>, StoreError> {
        sessions::end_every(tx, user.id, &self.clock, self.revoked_until).await
    }
}
