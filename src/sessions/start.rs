//! Starts a session: stores it with its security events, and ends other sessions if the user has too many
//! sessions.

use std::net::IpAddr;

use uuid::Uuid;

use super::new_device::NewDevice;
use super::revocation::{END_BATCH_SIZE, end};
use super::{Session, Sessions, SessionsError, store};
use crate::accounts::{self, AccountsError, User};
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::Tx;
use crate::events::{self, EventKind, NewEvent};
use crate::tokens::Revocation;

/// A session to store, with its events.
#[derive(Debug, Clone)]
pub(super) struct NewSession {
    session: Session,
    event: NewEvent,
    /// The report that is stored if the account has not been used on this device before.
    new_device: NewDevice,
}

impl NewSession {
    /// Sets the address of the client in the events.
    pub(super) fn from(self, address: Option<IpAddr>) -> Self {
        let Self { session, event, new_device } = self;
        Self { session, event: event.from(address), new_device: new_device.from(address) }
    }

    /// Returns an event of another kind for the same session.
    pub(super) fn event_of(&self, clock: &Clock, kind: EventKind) -> NewEvent {
        self.event.clone().followed_by(clock, kind)
    }
}

impl Sessions {
    /// Returns the session with its events. Call this function in the task of the request, because the events
    /// read the address of the client from a task-local variable.
    pub(super) fn with_events(&self, session: Session, kind: EventKind, user: &User) -> NewSession {
        let event = |kind| {
            let event = NewEvent::new(&self.clock, session.user, kind).in_session(Some(session.id));
            event.on((&session.device).into())
        };
        let (event, report) = (event(kind), event(EventKind::NewDevice));
        NewSession { event, new_device: self.new_device(&session, user, report), session }
    }

    /// Applies committed revocations on this replica at once, and writes the ended sessions to the audit log.
    pub fn apply_ended(&self, user: Uuid, ended: &[Revocation]) {
        for revocation in ended {
            self.tokens.apply(revocation);
            if revocation.minted_before.is_none() {
                audit::record(Event::SessionEnded, Some(user), Some(revocation.subject));
            }
        }
    }
}

/// Stores a session of an existing account if the credentials of the account still have the given version. If
/// the user then has more than `max` sessions, ends the sessions that have been idle longest and returns
/// their revocations.
///
/// # Errors
///
/// A wrapped [`AccountsError::InvalidCredentials`] if the account was disabled or deleted, or its credentials were
/// changed, since the version was read.
pub(super) async fn insert(
    tx: &Tx,
    new: &NewSession,
    credentials_version: i64,
    max: u32,
) -> Result<Vec<Revocation>, SessionsError> {
    let NewSession { session, event, new_device } = new;
    let owner = session.user;
    if !accounts::lock_unchanged(tx, owner, credentials_version).await? {
        return Err(AccountsError::InvalidCredentials.into());
    }
    store::insert(tx, owner, session).await?;
    events::record(tx, event).await?;
    new_device.report(tx, session).await?;
    let keep = u64::from(max.saturating_sub(1));
    let excess = store::idle_longest(tx, owner, session.id, keep, END_BATCH_SIZE as u64).await?;
    let mut ended = Vec::new();
    for id in excess {
        ended.extend(end(tx, owner, id, session.created_at).await?);
    }
    Ok(ended)
}

/// Stores the first session of a new account, and stores its device as known.
pub(super) async fn insert_first(tx: &Tx, new: &NewSession) -> Result<(), SessionsError> {
    let session = &new.session;
    store::insert(tx, session.user, session).await?;
    events::record(tx, &new.event).await?;
    events::remember_device(tx, session.user, &(&session.device).into(), session.created_at).await?;
    Ok(())
}
