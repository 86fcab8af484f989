//! Refreshing: one successor for each refresh token, whatever the network does to the reply.
//!
//! The row holds the number of the newest generation, and rotation is one conditional update: of any
//! number of requests that show the same token, on any number of replicas, one raises the number.
//! All others find that the generation after theirs is the newest, and get the same successor, because
//! it is computed and not random. So parallel refreshes all succeed, and none forks the session.
//!
//! A phone that never got its reply shows the previous token again, be it months later. It gets the
//! successor once more as long as nobody is known to have it: no access token that came with it was
//! seen, and it was not used itself (then the generation would be higher). Thirty seconds after the
//! rotation the mercy holds in any case, because requests that were sent together may arrive in any
//! order. Beyond that, two parties hold tokens of one session, and which of them is the thief can't be
//! told: the session ends, and this one alone (RFC 9700 §4.14.2).
//!
//! That an access token was seen is kept in memory and written within seconds. If that is lost with
//! the process, the previous token is honoured longer; nobody is ever logged out by it.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Grant, RefreshToken, Session, Sessions, SessionsError, revocation, store};
use crate::accounts::{self, User};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::tokens::{Revocation, Scopes, TokensError};

/// How long after a rotation the previous token is honoured in any case.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// What a rotation writes, and what it rests on.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    pub(super) now: DateTime<Utc>,
    pub(super) idle_expires_at: DateTime<Utc>,
    pub(super) access_expires_at: DateTime<Utc>,
    /// The previous token is honoured in any case if it was replaced since.
    pub(super) rotated_since: DateTime<Utc>,
    /// The newest generation that is proven in memory and perhaps not in the database yet.
    pub(super) used_generation: Option<i64>,
    /// The name of the event, if one is to be written.
    event: Uuid,
}

enum Outcome {
    Rotated(Box<(Session, User)>),
    Reused(Revocation),
    Revoked,
    Unknown,
}

/// What a refresh token is good for (RFC 7662 §2.2).
#[derive(Debug, Clone)]
pub struct RefreshInfo {
    /// The session that it prolongs.
    pub session: Uuid,
    /// Whose it is.
    pub user: Uuid,
    /// What its access tokens may be used for.
    pub scopes: Scopes,
    /// Until when it can be used.
    pub expires_at: DateTime<Utc>,
}

impl Sessions {
    /// Trades a refresh token for the next grant of its session.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidRefreshToken`], [`SessionsError::Revoked`], and
    /// [`TokensError::NoSigningKey`] within.
    pub async fn refresh(&self, token: &str) -> Result<Grant, SessionsError> {
        let presented = self.read(token)?;
        let now = self.clock.now();
        let rotation = Rotation {
            now,
            idle_expires_at: now + TimeDelta::seconds(self.lifetimes.idle_secs.into()),
            access_expires_at: now + self.tokens.ttl(),
            rotated_since: now - GRACE,
            used_generation: self.tokens.used_generation(presented.session),
            event: self.clock.new_id(),
        };
        let input = (presented, rotation);
        match self
            .db
            .write(input, |tx, (presented, rotation)| rotate(tx, presented, rotation).boxed())
            .await?
        {
            Outcome::Rotated(found) => {
                let (mut session, user) = *found;
                session.generation = presented.generation + 1;
                let grant = self.grant(&mut session, user, now)?;
                audit::note(Event::Refreshed, Some(session.user), Some(session.id));
                Ok(grant)
            }
            Outcome::Reused(revocation) => {
                self.tokens.apply(&revocation);
                audit::note(Event::RefreshTokenReused, None, Some(presented.session));
                Err(SessionsError::Revoked)
            }
            Outcome::Revoked => Err(SessionsError::Revoked),
            Outcome::Unknown => Err(SessionsError::InvalidRefreshToken),
        }
    }

    /// What the refresh token is good for; `None` if it would not be taken.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`], and [`TokensError::NoSigningKey`] within.
    pub async fn introspect(&self, token: &str) -> Result<Option<RefreshInfo>, SessionsError> {
        let presented = match self.read(token) {
            Err(SessionsError::InvalidRefreshToken) => return Ok(None),
            read => read?,
        };
        let now = self.clock.now();
        let found: Result<_, StoreError> =
            self.db.read(presented, |tx, presented| store::of_token(tx, presented).boxed()).await;
        let is_newest = |session: &Session| session.generation <= presented.generation;
        let alive = found?.filter(|found| !found.ended && found.session.idle_expires_at > now);
        Ok(alive.map(|found| found.session).filter(is_newest).map(|session| RefreshInfo {
            session: session.id,
            user: session.user,
            scopes: session.scopes,
            expires_at: session.idle_expires_at,
        }))
    }

    /// Under a wrong master secret every token looks forged. Nobody is to be logged out by that, or to
    /// believe that they are: whatever looks like a token is for a server that can tell.
    pub(super) fn read(&self, token: &str) -> Result<RefreshToken, SessionsError> {
        if !self.tokens.can_mint() && RefreshToken::looks_like_token(token) {
            return Err(TokensError::NoSigningKey.into());
        }
        RefreshToken::decode(token, &self.mac).ok_or(SessionsError::InvalidRefreshToken)
    }
}

async fn rotate(tx: &Tx, presented: &RefreshToken, rotation: &Rotation) -> Result<Outcome, SessionsError> {
    let goes_on = store::rotate(tx, presented, rotation).await?
        // The successor is unproven or fresh, so its reply may have been lost: hand it out again.
        || store::reissue(tx, presented, rotation).await?;
    let Some(found) = store::of_token(tx, presented).await? else {
        return Ok(Outcome::Unknown);
    };
    let session = found.session;
    if goes_on {
        let user = accounts::find(tx, session.user).await?;
        return Ok(Outcome::Rotated(Box::new((session, user))));
    }
    if found.ended {
        return Ok(Outcome::Revoked);
    }
    let Some(revocation) = revocation::end(tx, session.user, session.id, rotation.now).await? else {
        // It has run out, or somebody who showed the same was faster.
        let ended = store::of_token(tx, presented).await?.is_some_and(|found| found.ended);
        return Ok(if ended { Outcome::Revoked } else { Outcome::Unknown });
    };
    let event = Event::RefreshTokenReused;
    store::record(tx, session.user, rotation.event, event, session.id, rotation.now).await?;
    Ok(Outcome::Reused(revocation))
}
