//! Refresh: each refresh token has exactly one successor, even if a response is lost.
//!
//! The row of a session contains the generation of its newest refresh token. A rotation is one conditional
//! update that raises the generation by one. If several requests send the same token, on any number of
//! replicas, one of them raises the generation. The other requests find the raised generation and return the
//! same successor: a refresh token is computed, not random. Parallel refreshes therefore all succeed, and a
//! token never has two different successors.
//!
//! A client that did not receive the response sends the previous token again, perhaps months later. The
//! client receives the same successor as long as the successor is unused: no request has used an access token
//! that was issued with the successor, and the successor was not exchanged for the next token, which would
//! have raised the generation. In a grace period of 30 seconds after the rotation, a use of the access token
//! is ignored, because parallel requests can arrive in any order. In all other cases two parties hold tokens
//! of the session, and the server can't tell which party is the thief. The server then ends this session and
//! no other (RFC 9700 §4.14.2).
//!
//! A token can have a higher generation than the row only if the database was restored from a backup that is
//! older than the token. The server can't know which other changes of the session were lost, so it ends the
//! session in this case too.
//!
//! The use of an access token is recorded in memory and written to the database within seconds. If a crash
//! loses the record, the previous token stays usable for longer; no client loses its session.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Grant, RefreshToken, Session, Sessions, SessionsError, revocation, second_factor, store};
use crate::accounts::{self, User};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::metrics::{self, RefreshOutcome};
use crate::tokens::{Revocation, Scopes, TokensError};

/// How long the previous token stays usable after a rotation, even if the successor's access token was used.
const GRACE: TimeDelta = TimeDelta::seconds(30);

/// The maximum difference between the times that two replicas get from `Clock::shared_now`.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// The values that a rotation writes, and its conditions.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    pub(super) now: DateTime<Utc>,
    pub(super) idle_expires_at: DateTime<Utc>,
    pub(super) access_expires_at: DateTime<Utc>,
    /// The time of the rotation, from `Clock::shared_now`, so that all replicas can compare it.
    pub(super) rotated_at: DateTime<Utc>,
    /// A token that was replaced between these two times is in its grace period. The second time is in the
    /// future, because the clocks of replicas differ. If the time of a rotation is after the second time, the
    /// clock was set back in the meantime, and there is no grace period.
    pub(super) grace: (DateTime<Utc>, DateTime<Utc>),
    /// The newest generation whose access token was used, if this use is not written to the database yet.
    pub(super) used_generation: Option<i64>,
    /// The security event of a reuse.
    event: NewEvent,
}

/// The result of a rotation.
enum Outcome {
    Rotated(Box<(Session, User)>),
    Reused(Revocation),
    /// The session was ended, but not because of a reuse: a restored backup contains a lower generation than
    /// the token, or the session was started without the second factor that the account requires.
    Lost(Revocation),
    Revoked,
    Unknown,
}

impl Outcome {
    const fn in_metrics(&self) -> RefreshOutcome {
        match self {
            Self::Rotated(_) => RefreshOutcome::Rotated,
            Self::Reused(_) => RefreshOutcome::Reused,
            Self::Lost(_) => RefreshOutcome::Lost,
            Self::Revoked => RefreshOutcome::Revoked,
            Self::Unknown => RefreshOutcome::Unknown,
        }
    }
}

/// The metadata of a valid refresh token (RFC 7662 §2.2).
#[derive(Debug, Clone)]
pub struct RefreshInfo {
    /// The session that the token refreshes.
    pub session: Uuid,
    /// The owner of the session.
    pub user: Uuid,
    /// The scopes of the access tokens of the session.
    pub scopes: Scopes,
    /// When the refresh token expires.
    pub expires_at: DateTime<Utc>,
}

impl Sessions {
    /// Exchanges a refresh token for the next grant of its session.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidRefreshToken`], [`SessionsError::Revoked`], or a wrapped
    /// [`TokensError::NoSigningKey`].
    pub async fn refresh(&self, token: &str) -> Result<Grant, SessionsError> {
        let presented = self.decode(token)?;
        let (now, shared_now) = (self.clock.now(), self.clock.shared_now());
        let rotation = Rotation {
            now,
            rotated_at: shared_now,
            idle_expires_at: now + TimeDelta::seconds(self.lifetimes.idle_secs.into()),
            access_expires_at: now + self.tokens.ttl(),
            grace: (shared_now - GRACE, shared_now + SKEW),
            used_generation: self.tokens.used_generation(presented.session),
            // The id of the owner is a placeholder, because only the transaction finds the owner.
            event: NewEvent::new(&self.clock, Uuid::nil(), EventKind::RefreshTokenReuse)
                .in_session(Some(presented.session)),
        };
        let input = (presented, rotation);
        let outcome =
            self.db.write(input, |tx, (presented, rotation)| rotate(tx, presented, rotation).boxed()).await?;
        metrics::refreshed(outcome.in_metrics());
        match outcome {
            Outcome::Rotated(found) => {
                let (mut session, user) = *found;
                session.generation = presented.generation + 1;
                let grant = self.issue_grant(&mut session, user, now)?;
                audit::record(Event::Refreshed, Some(session.user), Some(session.id));
                Ok(grant)
            }
            Outcome::Reused(revocation) => {
                self.tokens.apply(&revocation);
                audit::record(Event::RefreshTokenReused, None, Some(presented.session));
                Err(SessionsError::Revoked)
            }
            Outcome::Lost(revocation) => {
                self.tokens.apply(&revocation);
                audit::record(Event::SessionEnded, None, Some(presented.session));
                Err(SessionsError::Revoked)
            }
            Outcome::Revoked => Err(SessionsError::Revoked),
            Outcome::Unknown if self.tokens.may_be_lost(presented.session) => Err(SessionsError::Revoked),
            Outcome::Unknown => Err(SessionsError::InvalidRefreshToken),
        }
    }

    /// Returns the metadata of a refresh token if it is the newest refresh token of an active session, and
    /// `None` otherwise.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`], or a wrapped [`TokensError::NoSigningKey`].
    pub async fn introspect(&self, token: &str) -> Result<Option<RefreshInfo>, SessionsError> {
        let presented = match self.decode(token) {
            Err(SessionsError::InvalidRefreshToken) => return Ok(None),
            decoded => decoded?,
        };
        let now = self.clock.now();
        let found: Result<_, StoreError> =
            self.db.read(presented, |tx, presented| store::find_by_token(tx, presented).boxed()).await;
        let is_newest = |session: &Session| session.generation == presented.generation;
        let active = found?.filter(|found| !found.ended && found.session.idle_expires_at > now);
        Ok(active.map(|found| found.session).filter(is_newest).map(|session| RefreshInfo {
            session: session.id,
            user: session.user,
            scopes: session.scopes,
            expires_at: session.idle_expires_at,
        }))
    }

    /// Decodes a refresh token. If the server runs with a wrong master secret, the MAC of every token is
    /// wrong. The error for a well-formed token is then [`TokensError::NoSigningKey`], so that clients don't
    /// discard valid tokens.
    pub(super) fn decode(&self, token: &str) -> Result<RefreshToken, SessionsError> {
        if !self.tokens.can_mint() && RefreshToken::looks_like_token(token) {
            return Err(TokensError::NoSigningKey.into());
        }
        RefreshToken::decode(token, &self.mac).ok_or(SessionsError::InvalidRefreshToken)
    }
}

async fn rotate(tx: &Tx, presented: &RefreshToken, rotation: &Rotation) -> Result<Outcome, SessionsError> {
    let rotated = store::rotate(tx, presented, rotation).await?
        // The successor is unused, or the rotation was less than 30 seconds ago. The response with the
        // successor may have been lost: return it again.
        || store::reissue(tx, presented, rotation).await?;
    let Some(found) = store::find_by_token(tx, presented).await? else {
        return Ok(Outcome::Unknown);
    };
    let session = found.session;
    if rotated {
        let user = accounts::find(tx, session.user).await?;
        if second_factor::lacks_second_factor(&user, &session.amr) {
            // The session was started while the second factor was being enrolled.
            let ended = revocation::end(tx, session.user, session.id, rotation.now).await?;
            return Ok(ended.map_or(Outcome::Revoked, Outcome::Lost));
        }
        return Ok(Outcome::Rotated(Box::new((session, user))));
    }
    if found.ended {
        return Ok(Outcome::Revoked);
    }
    if session.idle_expires_at <= rotation.now {
        return Ok(Outcome::Unknown);
    }
    let is_newer = presented.generation > session.generation;
    let Some(revocation) = revocation::end(tx, session.user, session.id, rotation.now).await? else {
        // A concurrent request has ended the session, or deleted the account.
        let ended = store::find_by_token(tx, presented).await?.is_some_and(|found| found.ended);
        return Ok(if ended { Outcome::Revoked } else { Outcome::Unknown });
    };
    if is_newer {
        return Ok(Outcome::Lost(revocation));
    }
    events::record(tx, &rotation.event.clone().of(session.user)).await?;
    Ok(Outcome::Reused(revocation))
}
