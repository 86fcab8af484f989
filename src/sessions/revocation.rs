//! Sessions that are ended before their time, by whoever may; and those that are forgotten.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Device, Sessions, SessionsError, store};
use crate::accounts::{self, AccountsError};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::tokens::{self, Revocation, TokenUse};

/// For how long it is remembered of a dead session that it was there.
const REVOCATION_RETENTION: TimeDelta = TimeDelta::days(7);
/// How many sessions are shown at most.
const MAX_LISTED: u64 = 500;
/// How many rows one transaction changes at most, so that it keeps nobody waiting.
const BATCH: u16 = 500;
/// How many sessions one transaction ends at most.
const MAX_ENDED_AT_ONCE: usize = 100;

/// A session as its owner sees it.
#[derive(Debug, Clone)]
pub struct SessionSummary {
    /// Its name.
    pub id: Uuid,
    /// On which device.
    pub device: Device,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was refreshed, or a new access token of it first used.
    pub last_seen_at: DateTime<Utc>,
}

impl Sessions {
    /// Ends the session of a refresh token, also of one that was used before. What is no token of ours,
    /// or has ended already, is left as it is: the caller has what they want.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`], and [`crate::tokens::TokensError::NoSigningKey`] within.
    pub async fn log_out(&self, token: &str) -> Result<(), SessionsError> {
        let presented = match self.read(token) {
            Err(SessionsError::InvalidRefreshToken) => return Ok(()),
            read => read?,
        };
        let ended: Result<_, SessionsError> = self
            .db
            .write((presented, self.clock.now()), |tx, (presented, now)| {
                async move {
                    let Some(found) = store::of_token(tx, presented).await? else {
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
            audit::note(Event::LoggedOut, Some(owner), Some(presented.session));
        }
        Ok(())
    }

    /// The user's sessions that live, the one that was seen last first; at most 500.
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
        let known = |stored: store::StoredSession| SessionSummary {
            id: stored.session.id,
            device: stored.session.device,
            created_at: stored.session.created_at,
            last_seen_at: stored.last_seen_at,
        };
        Ok(found?.into_iter().map(known).collect())
    }

    /// Ends one of the user's sessions; once more is fine.
    ///
    /// # Errors
    ///
    /// [`SessionsError::NoSuchSession`] if it is not theirs.
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
            audit::note(Event::SessionEnded, Some(user), Some(id));
        }
        Ok(())
    }

    /// Ends all of the user's sessions but the one with this name.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn end_others(&self, user: Uuid, keep: Option<Uuid>) -> Result<(), SessionsError> {
        let now = self.clock.now();
        let living: Result<Vec<Uuid>, StoreError> =
            self.db.read((user, now), |tx, (user, now)| store::active_ids(tx, *user, *now).boxed()).await;
        let mut living = living?;
        living.retain(|id| Some(*id) != keep);
        // However many they are, no other write waits for all of them.
        for some in living.chunks(MAX_ENDED_AT_ONCE) {
            let input = (user, some.to_vec(), now);
            let ended: Result<Vec<Revocation>, SessionsError> =
                self.db.write(input, |tx, (user, ids, now)| end_all(tx, *user, ids, *now).boxed()).await;
            for revocation in ended? {
                self.tokens.apply(&revocation);
                audit::note(Event::SessionEnded, Some(user), Some(revocation.subject));
            }
        }
        Ok(())
    }

    /// Deletes the account and everything that is its owner's, once more for their password.
    ///
    /// # Errors
    ///
    /// [`AccountsError::BadCredentials`] or [`AccountsError::Overloaded`] within.
    pub async fn delete_account(&self, user: Uuid, password: &str) -> Result<(), SessionsError> {
        self.accounts.authenticate_user(user, password).await?;
        let revocation = Revocation {
            subject: user,
            minted_before: None,
            // Also of a token that was minted under a longer setting.
            until: self.clock.now() + tokens::MAX_TTL,
        };
        let deleted: Result<(), SessionsError> = self
            .db
            .write(revocation, |tx, revocation| {
                async move {
                    tokens::revoke(tx, revocation).await?;
                    Ok(accounts::delete(tx, revocation.subject).await?)
                }
                .boxed()
            })
            .await;
        match deleted {
            // Somebody else was as fast; it is gone.
            Ok(()) | Err(SessionsError::Accounts(AccountsError::NoSuchUser)) => {}
            Err(error) => return Err(error),
        }
        self.tokens.apply(&revocation);
        audit::note(Event::AccountDeleted, Some(user), None);
        Ok(())
    }

    /// Writes down which access tokens were seen in use.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`]; they are kept for the next time.
    pub async fn flush_token_usage(&self) -> Result<(), SessionsError> {
        loop {
            let mut proofs = self.tokens.usage_batch(BATCH.into());
            if proofs.is_empty() {
                return Ok(());
            }
            // In one order on all replicas, so that none waits for the other in a circle.
            proofs.sort_by_key(|proof| proof.session);
            let input = (proofs.clone(), self.clock.now());
            self.db.write(input, |tx, (proofs, now)| mark_used(tx, proofs, *now).boxed()).await?;
            self.tokens.acknowledge(&proofs);
        }
    }

    /// Deletes what has been dead for a week.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`].
    pub async fn sweep(&self) -> Result<(), SessionsError> {
        let before = self.clock.now() - REVOCATION_RETENTION;
        loop {
            let swept: Result<u64, StoreError> =
                self.db.write(before, |tx, before| store::sweep(tx, *before, BATCH.into()).boxed()).await;
            if swept? < BATCH.into() {
                return Ok(());
            }
        }
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

async fn mark_used(tx: &Tx, proofs: &[TokenUse], now: DateTime<Utc>) -> Result<(), SessionsError> {
    for proof in proofs {
        store::mark_used(tx, proof.user, proof, now).await?;
    }
    Ok(())
}

/// Ends a session and revokes its access tokens; `None` if it lives no more.
pub(super) async fn end(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Revocation>, StoreError> {
    if !store::end(tx, owner, id, now).await? {
        return Ok(None);
    }
    // After the update, so that it is the last access token that ever will be.
    let Some(ended) = store::find(tx, owner, id).await? else {
        return Ok(None);
    };
    let revocation = Revocation { subject: id, minted_before: None, until: ended.session.access_expires_at };
    tokens::revoke(tx, &revocation).await?;
    Ok(Some(revocation))
}
