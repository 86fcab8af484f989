//! Ends sessions before they expire, deletes accounts, and removes old sessions from the database.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::store::pending_logins;
use super::{Device, Session, Sessions, SessionsError, store};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::tokens::{self, Revocation, TokenUse};

/// How long the row of an ended or expired session is retained.
const ENDED_SESSION_RETENTION: TimeDelta = TimeDelta::days(7);
/// The maximum number of sessions in a list.
const MAX_LISTED: u64 = 500;
/// The maximum number of rows that one transaction changes; it must not delay other writes.
const BATCH_SIZE: u16 = 500;
/// The maximum number of sessions that one transaction ends.
const END_BATCH_SIZE: usize = 100;

/// A session as listed for its owner.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    /// Its id.
    pub id: Uuid,
    /// The device that logged in.
    pub device: Device,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The time of the last refresh, or of the first use of its newest access token.
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
        let ended: Result<_, SessionsError> = self
            .db
            .write((presented, self.clock.now()), |tx, (presented, now)| {
                async move {
                    let Some(found) = store::find_by_token(tx, presented).await? else {
                        return Ok(None);
                    };
                    let owner = found.session.user;
                    Ok(end(tx, owner, presented.session, *now).await?.map(|ended| (owner, ended)))
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

    /// Returns the user's active sessions, most recently seen first; at most 500.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn list(&self, user: Uuid) -> Result<Vec<SessionSummary>, SessionsError> {
        let found: Result<Vec<_>, StoreError> = self
            .db
            .read((user, self.clock.now()), |tx, (user, now)| {
                store::list(tx, *user, *now, MAX_LISTED).boxed()
            })
            .await;
        let summary = |stored: store::StoredSession| SessionSummary {
            id: stored.session.id,
            device: stored.session.device,
            created_at: stored.session.created_at,
            last_seen_at: stored.last_seen_at,
        };
        Ok(found?.into_iter().map(summary).collect())
    }

    /// Ends one of the user's sessions. Succeeds if it has already ended.
    ///
    /// # Errors
    ///
    /// [`SessionsError::NoSuchSession`] if the user has no such session.
    pub async fn end(&self, user: Uuid, id: Uuid) -> Result<(), SessionsError> {
        let ended: Result<_, SessionsError> = self
            .db
            .write((user, id, self.clock.now()), |tx, (user, id, now)| {
                async move {
                    let ended = end(tx, *user, *id, *now).await?;
                    if ended.is_none() && store::find(tx, *user, *id).await?.is_none() {
                        return Err(SessionsError::NoSuchSession);
                    }
                    Ok(ended)
                }
                .boxed()
            })
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
        // In batches, so that other writes don't wait for all of them.
        for batch in ids.chunks(END_BATCH_SIZE) {
            let input = (user, batch.to_vec(), now);
            let ended: Result<Vec<Revocation>, SessionsError> =
                self.db.write(input, |tx, (user, ids, now)| end_all(tx, *user, ids, *now).boxed()).await;
            for revocation in ended? {
                self.tokens.apply(&revocation);
                audit::record(Event::SessionEnded, Some(user), Some(revocation.subject));
            }
        }
        Ok(())
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

    /// Deletes sessions that ended or expired more than 7 days ago, and logins whose time for the second factor is
    /// over.
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

async fn end_all(
    tx: &Tx,
    owner: Uuid,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Revocation>, SessionsError> {
    let mut ended = Vec::new();
    for id in ids {
        ended.extend(end(tx, owner, *id, now).await?);
    }
    Ok(ended)
}

async fn mark_used(tx: &Tx, uses: &[TokenUse], now: DateTime<Utc>) -> Result<(), SessionsError> {
    for token_use in uses {
        store::mark_used(tx, token_use.user, token_use, now).await?;
    }
    Ok(())
}

/// Stores a new session. If the user has more than `max` sessions then, ends those that have been idle longest
/// and returns their revocations.
pub(super) async fn insert_within_quota(
    tx: &Tx,
    session: &Session,
    max: u32,
) -> Result<Vec<Revocation>, StoreError> {
    let owner = session.user;
    store::insert(tx, owner, session).await?;
    let keep = u64::from(max.saturating_sub(1));
    let excess = store::idle_longest(tx, owner, session.id, keep, END_BATCH_SIZE as u64).await?;
    let mut ended = Vec::new();
    for id in excess {
        ended.extend(end(tx, owner, id, session.created_at).await?);
    }
    Ok(ended)
}

/// Ends all of the user's sessions except `keep`, and drops the logins that wait for a second factor.
pub(super) async fn end_others(
    tx: &Tx,
    owner: Uuid,
    keep: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<Revocation>, StoreError> {
    pending_logins::delete_others(tx, owner, now, 0).await?;
    let mut ended = Vec::new();
    for id in store::unended_ids(tx, owner).await? {
        if Some(id) != keep {
            ended.extend(end(tx, owner, id, now).await?);
        }
    }
    Ok(ended)
}

/// Ends a session, even if it has expired, and revokes its access tokens. Returns `None` if the session has
/// ended already.
pub(super) async fn end(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Revocation>, StoreError> {
    if !store::end(tx, owner, id, now).await? {
        return Ok(None);
    }
    // Read after the update: from now on no refresh can raise the expiry of the access tokens.
    let Some(ended) = store::find(tx, owner, id).await? else {
        return Ok(None);
    };
    let revocation = Revocation { subject: id, minted_before: None, until: ended.session.access_expires_at };
    tokens::revoke(tx, &revocation).await?;
    Ok(Some(revocation))
}
