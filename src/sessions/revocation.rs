//! Ends sessions before they expire, writes the uses of access tokens to the database, and removes old
//! sessions.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::store::pending_logins;
use super::{Device, Sessions, SessionsError, store};
use crate::accounts;
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::tokens::{self, Revocation, TokenUse};

/// How long the row of an ended or expired session is retained.
const ENDED_SESSION_RETENTION: TimeDelta = TimeDelta::days(7);
/// The maximum number of sessions in a list.
const MAX_LISTED: u64 = 500;
/// The maximum number of rows that one transaction changes, so that other writes don't wait for long.
const BATCH_SIZE: u16 = 500;
/// The maximum number of sessions that one transaction ends.
pub(super) const END_BATCH_SIZE: usize = 100;

/// A session as listed for its owner.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    /// The id of the session.
    pub id: Uuid,
    /// The device that logged in.
    pub device: Device,
    /// When the session was created.
    pub created_at: DateTime<Utc>,
    /// The time of the last refresh or of the first use of the newest access token, whichever is later.
    pub last_seen_at: DateTime<Utc>,
}

impl Sessions {
    /// Ends the session of a refresh token, even if the token was used before. Succeeds without an effect if
    /// the token is invalid or the session has already ended.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`], or a wrapped [`crate::tokens::TokensError::NoSigningKey`].
    pub async fn log_out(&self, token: &str) -> Result<(), SessionsError> {
        let presented = match self.decode(token) {
            Err(SessionsError::InvalidRefreshToken) => return Ok(()),
            decoded => decoded?,
        };
        // The id of the owner is a placeholder, because only the transaction finds the owner.
        let event = self.session_ended(Uuid::nil(), presented.session);
        let ended: Result<_, SessionsError> = self
            .db
            .write((presented, event, self.clock.now()), |tx, (presented, event, now)| {
                async move {
                    let Some(found) = store::find_by_token(tx, presented).await? else {
                        return Ok(None);
                    };
                    let owner = found.session.user;
                    let ended = end(tx, owner, presented.session, *now).await?;
                    if ended.is_some() {
                        events::record(tx, &event.clone().of(owner)).await?;
                    }
                    Ok(ended.map(|ended| (owner, ended)))
                }
                .boxed()
            })
            .await;
        if let Some((owner, revocation)) = ended? {
            self.tokens.apply(&revocation);
            audit::record(Event::LoggedOut, Some(owner), Some(presented.session));
        }
        Ok(())
    }

    /// Returns up to 500 active sessions of the user, the most recently seen one first.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn list(&self, user: Uuid) -> Result<Vec<SessionSummary>, SessionsError> {
        let input = (user, self.clock.now());
        let found = self.db.read(input, |tx, (user, now)| list_active(tx, *user, *now).boxed()).await;
        found.map_err(SessionsError::Store)
    }

    /// Ends one of the user's sessions. Also succeeds if the session has already ended.
    ///
    /// # Errors
    ///
    /// [`SessionsError::NoSuchSession`] if the user has no such session.
    pub async fn end(&self, user: Uuid, id: Uuid) -> Result<(), SessionsError> {
        let ended: Result<_, SessionsError> = self
            .db
            .write(
                (self.session_ended(user, id), user, id, self.clock.now()),
                |tx, (event, user, id, now)| {
                    async move {
                        let ended = end(tx, *user, *id, *now).await?;
                        if ended.is_some() {
                            events::record(tx, event).await?;
                        } else if store::find(tx, *user, *id).await?.is_none() {
                            return Err(SessionsError::NoSuchSession);
                        }
                        Ok(ended)
                    }
                    .boxed()
                },
            )
            .await;
        if let Some(revocation) = ended? {
            self.tokens.apply(&revocation);
            audit::record(Event::SessionEnded, Some(user), Some(id));
        }
        Ok(())
    }

    /// Ends all of the user's sessions except `keep`.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn end_others(&self, user: Uuid, keep: Option<Uuid>) -> Result<(), SessionsError> {
        let now = self.clock.now();
        let unended: Result<Vec<Uuid>, StoreError> =
            self.db.read(user, |tx, user| store::unended_ids(tx, *user).boxed()).await;
        let mut ids = unended?;
        ids.retain(|id| Some(*id) != keep);
        // End the sessions in batches, so that other writes don't wait for all of them.
        for batch in ids.chunks(END_BATCH_SIZE) {
            let events: Vec<NewEvent> = batch.iter().map(|id| self.session_ended(user, *id)).collect();
            let input = (user, batch.to_vec(), events, now);
            let ended: Result<Vec<Revocation>, SessionsError> = self
                .db
                .write(input, |tx, (user, ids, events, now)| end_all(tx, *user, ids, events, *now).boxed())
                .await;
            for revocation in ended? {
                self.tokens.apply(&revocation);
                audit::record(Event::SessionEnded, Some(user), Some(revocation.subject));
            }
        }
        Ok(())
    }

    /// Creates the security event that records that this request ends a session.
    pub(super) fn session_ended(&self, user: Uuid, session: Uuid) -> NewEvent {
        NewEvent::new(&self.clock, user, EventKind::SessionEnded).in_session(Some(session))
    }

    /// Writes the recorded uses of access tokens to the database.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`]; the unwritten uses stay in memory for the next call.
    pub async fn flush_token_usage(&self) -> Result<(), SessionsError> {
        loop {
            let mut uses = self.tokens.usage_batch(BATCH_SIZE.into());
            if uses.is_empty() {
                return Ok(());
            }
            // The same order on every replica prevents deadlocks.
            uses.sort_by_key(|token_use| token_use.session);
            let input = (uses.clone(), self.clock.now());
            self.db.write(input, |tx, (uses, now)| mark_used(tx, uses, *now).boxed()).await?;
            self.tokens.acknowledge(&uses);
        }
    }

    /// Deletes sessions that ended or expired more than 7 days ago, and logins that have waited too long for
    /// their second factor.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn sweep(&self) -> Result<(), SessionsError> {
        let before = self.clock.now() - ENDED_SESSION_RETENTION;
        let batch = u64::from(BATCH_SIZE);
        let swept =
            self.db.sweep(before, batch, |tx, before| store::sweep(tx, *before, BATCH_SIZE.into()).boxed());
        swept.await?;
        let now = self.clock.now();
        let swept =
            self.db.sweep(now, batch, |tx, now| pending_logins::sweep(tx, *now, BATCH_SIZE.into()).boxed());
        Ok(swept.await?)
    }
}

/// Returns up to 500 active sessions of the user, the most recently seen one first.
///
/// # Errors
///
/// [`StoreError`].
pub async fn list_active(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<Vec<SessionSummary>, StoreError> {
    let summary = |stored: store::StoredSession| SessionSummary {
        id: stored.session.id,
        device: stored.session.device,
        created_at: stored.session.created_at,
        last_seen_at: stored.last_seen_at,
    };
    Ok(store::list(tx, user, now, MAX_LISTED).await?.into_iter().map(summary).collect())
}

async fn end_all(
    tx: &Tx,
    owner: Uuid,
    ids: &[Uuid],
    events: &[NewEvent],
    now: DateTime<Utc>,
) -> Result<Vec<Revocation>, SessionsError> {
    let mut ended = Vec::new();
    for (id, event) in ids.iter().zip(events) {
        if let Some(revocation) = end(tx, owner, *id, now).await? {
            events::record(tx, event).await?;
            ended.push(revocation);
        }
    }
    Ok(ended)
}

async fn mark_used(tx: &Tx, uses: &[TokenUse], now: DateTime<Utc>) -> Result<(), SessionsError> {
    for token_use in uses {
        store::mark_used(tx, token_use.user, token_use, now).await?;
    }
    Ok(())
}

/// Locks the user, ends all of the user's sessions except `keep`, revokes the access tokens without a session, and
/// removes the logins that wait for a second factor.
pub(super) async fn end_others(
    tx: &Tx,
    owner: Uuid,
    keep: Option<Uuid>,
    clock: &Clock,
) -> Result<Vec<Revocation>, StoreError> {
    // A concurrent sensitive request of one of these sessions also locks the user, and then checks its
    // session. The request therefore either commits first or finds that its session has ended.
    accounts::lock(tx, owner).await?;
    // Read the clock after the lock: all tokens that this server issued before the lock are then older than
    // `now`, and the revocation includes them.
    let now = clock.now();
    pending_logins::delete_others(tx, owner, now, 0).await?;
    let ids = store::end_all_but(tx, owner, keep, now).await?;
    let of_session = |(id, until)| Revocation { subject: id, minted_before: None, until };
    let mut ended: Vec<Revocation> = ids.into_iter().map(of_session).collect();
    ended.push(tokens::without_session(owner, now));
    tokens::revoke_all(tx, &ended).await?;
    Ok(ended)
}

/// Ends a session, even if it has expired, and revokes its access tokens. Returns `None` if the session does
/// not exist or has already ended.
pub(super) async fn end(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Revocation>, StoreError> {
    if !store::end(tx, owner, id, now).await? {
        return Ok(None);
    }
    // Read the row after the session has ended: from then on, no refresh can extend the expiry of its access
    // tokens.
    let Some(ended) = store::find(tx, owner, id).await? else {
        return Ok(None);
    };
    let revocation = Revocation { subject: id, minted_before: None, until: ended.session.access_expires_at };
    tokens::revoke(tx, &revocation).await?;
    Ok(Some(revocation))
}
