//! Access tokens: mints, verifies and revokes them, and manages the keys that sign them.
//!
//! A token is a JWT in the profile of RFC 9068 and contains no personal data. Verification uses the keys and
//! revocations in memory, so most requests need no query. Verification is as strict as RFC 8725 requires: one
//! algorithm per key, the exact type, issuer and audience, every claim present with the correct type, no
//! unknown `crit`, and no key from the token itself. A verified token is cached until it expires; revocations
//! are checked for cached tokens too.

mod algorithms;
pub mod api;
mod cache_key;
mod cached_reads;
mod freshness;
mod key_cache;
mod key_ring;
mod mint;
mod open;
mod poll;
mod restore;
mod revocations;
mod rotation;
mod scope;
mod single_flight;
mod state;
mod store;
mod usage;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::metrics;

pub use algorithms::{Alg, KeyParameters, PublicKey};
use cache_key::{CacheKey, CacheKeyRef};
pub use cached_reads::ReadMark;
use freshness::Freshness;
use key_cache::KeyCache;
pub use mint::{Minted, Subject};
use restore::Epoch;
pub use restore::discard_keys;
use revocations::Revocations;
pub use revocations::{Revocation, of_user, revoked_until, without_session};
pub use rotation::{KeyRotation, KeySummary, list_keys};
pub use scope::{Scope, Scopes};
pub use state::can_sign;
use usage::TokenUsage;
pub use usage::TokenUse;
pub use verify::TokenError;

/// A revocation and its number in the table.
type NumberedRevocation = (i64, Revocation);

/// The `typ` of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";
/// The `amr` value for authentication by password (RFC 8176).
pub const BY_PASSWORD: &str = "pwd";
/// The `amr` value of tokens that an operator mints. Such a token proves no recent authentication.
pub const BY_OPERATOR: &str = "operator";
/// The `amr` value for authentication by a mailed code (RFC 8176).
pub const BY_CODE: &str = "otp";
/// The `client_id` of every token: there is one first-party client.
pub const CLIENT_ID: &str = "tripgate";
/// The maximum lifetime of a token under any settings, including clock skew.
pub const MAX_TTL: TimeDelta = TimeDelta::seconds(7 * 86_400 + 120);
/// The capacity of the cache of verified tokens. Each token takes about 1,000 bytes of memory.
const CACHE_CAPACITY: usize = 16_384;

/// Why a token can't be minted, or the key ring can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The active key can't be decrypted under the current master secret.
    #[error("failed to decrypt the signing key with the master secret")]
    NoSigningKey,
    /// Another process changed the key ring at the same time.
    #[error("another process changed the keys at the same time")]
    ConcurrentRotation,
    /// The cryptographic library failed. A caller can't correct this.
    #[error("signing failed: {0}")]
    Signing(String),
    /// An error of the database.
    #[error("failed to read or write the key ring")]
    Store(#[from] StoreError),
}

impl HasStoreError for TokensError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NoSigningKey | Self::ConcurrentRotation | Self::Signing(_) => None,
        }
    }
}

/// The status of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyStatus {
    /// Published in advance, so that every verifier has loaded the key before the key signs tokens.
    Standby,
    /// Signs new tokens.
    Active,
    /// No longer signs; verifies until its last token has expired.
    Retired,
}

impl KeyStatus {
    /// Returns the name in the database and in the output of the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "active" => Self::Active,
            "standby" => Self::Standby,
            _ => Self::Retired,
        }
    }
}

/// A verified access token.
#[derive(Debug)]
pub struct AccessToken {
    /// The id of the token (`jti`).
    pub id: Uuid,
    /// The user of the token (`sub`).
    pub user: Uuid,
    /// The session of the token, if there is one.
    pub session: Option<Uuid>,
    /// The generation of the refresh token that was issued with the access token.
    pub generation: Option<i64>,
    /// The scopes of the token.
    pub scopes: Scopes,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the user authenticated (`auth_time`).
    pub authenticated_at: DateTime<Utc>,
    /// When the token was minted, with millisecond precision.
    pub minted_at: DateTime<Utc>,
    /// When the token was minted, in whole seconds (`iat`).
    pub issued_at: DateTime<Utc>,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
    /// The revision of the revocations at the last check that found no revocation of the token.
    checked_revision: AtomicU64,
    /// The feed epoch (see `epochs`) in which the session of the token was found in the database.
    checked_epoch: AtomicI64,
    /// The epoch of the key ring that verified the token.
    epoch: u64,
}

/// Mints and verifies access tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    clock: Clock,
    issuer: String,
    audience: String,
    ttl: TimeDelta,
    rotation: KeyRotation,
    keys: KeyCache,
    verified: Cache<CacheKey, Arc<AccessToken>>,
    revocations: Revocations,
    usage: TokenUsage,
    freshness: Freshness,
    epoch: Epoch,
}

impl Tokens {
    /// Returns the issuer of the tokens (`iss`).
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Returns the audience of the tokens (`aud`).
    pub fn audience(&self) -> &str {
        &self.inner.audience
    }

    /// Verifies a token. A token that was verified before comes from the cache.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let verified = self.verify_freshly(token).await;
        if let Err(error) = &verified {
            metrics::token_rejected(error.rejection());
        }
        verified
    }

    async fn verify_freshly(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let freshness = &self.inner.freshness;
        let polled_at = freshness.polled_at();
        let verified = self.verify_in_memory(token).await?;
        if freshness.is_fresh(polled_at) {
            return Ok(verified);
        }
        // Another replica may have revoked the token since the last poll.
        if !self.poll().await {
            return Err(TokenError::Unverifiable);
        }
        self.verify_in_memory(token).await
    }

    /// Verifies a token with the keys and revocations in memory. Reads the database only if the `kid` is
    /// unknown, or once for a token from before the feed epoch.
    async fn verify_in_memory(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let cached = self.inner.verified.get(&CacheKeyRef(token));
        let verified = match cached.filter(|cached| cached.epoch == self.inner.keys.epoch()) {
            Some(cached) => cached,
            None => self.verify_uncached(token).await?,
        };
        if verify::has_expired(verified.expires_at, self.inner.clock.now()) {
            self.inner.verified.remove(&CacheKeyRef(token));
            return Err(TokenError::Expired);
        }
        if self.is_revoked(&verified) {
            return Err(TokenError::Revoked);
        }
        self.check_session_exists(&verified).await?;
        Ok(verified)
    }

    async fn verify_uncached(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let Inner { keys, verified, usage, .. } = &*self.inner;
        let epoch = keys.epoch();
        let header = verify::header(token).ok_or(TokenError::Invalid)?;
        let kid = verify::kid(&header).ok_or(TokenError::Invalid)?;
        let key = keys.find(kid).await?;
        let fresh = Arc::new(verify::verify(&self.inner, token, &header, &key, epoch)?);
        verified.insert(CacheKey(token.into()), Arc::clone(&fresh));
        if !self.is_revoked(&fresh)
            && let (Some(session), Some(generation)) = (fresh.session, fresh.generation)
        {
            usage.record(TokenUse { user: fresh.user, session, generation });
        }
        Ok(fresh)
    }

    /// Returns true if the token is revoked. Searches the revocations only if they changed since the token's
    /// last check.
    fn is_revoked(&self, token: &AccessToken) -> bool {
        let revocations = &self.inner.revocations;
        let revision = revocations.revision();
        if token.checked_revision.load(Ordering::Relaxed) == revision {
            return false;
        }
        if subjects(token).into_iter().any(|subject| revocations.rejects(subject, token.minted_at)) {
            return true;
        }
        token.checked_revision.store(revision, Ordering::Relaxed);
        false
    }

    /// Returns true if a token was revoked or its session has ended. The transaction must already have locked
    /// the user.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn was_revoked(&self, tx: &Tx, token: &AccessToken) -> Result<bool, StoreError> {
        if self.is_revoked(token) {
            return Ok(true);
        }
        if let Some(session) = token.session {
            return Ok(!store::has_not_ended(tx, token.user, session).await?);
        }
        // The table of revocations has no index for subjects, so read only those revocations that are
        // possibly not in memory yet.
        let after = self.inner.revocations.unsettled_after();
        store::is_revoked_after(tx, after, &subjects(token), token.minted_at).await
    }

    /// Applies a committed revocation on this replica at once.
    pub fn apply(&self, revocation: &Revocation) {
        self.inner.revocations.apply(revocation);
    }

    /// Returns the newest generation whose access token was used in the session, if this use is not written
    /// to the database yet.
    pub fn used_generation(&self, session: Uuid) -> Option<i64> {
        self.inner.usage.newest(session)
    }

    /// Returns up to `limit` recorded uses of access tokens. These uses are not written to the database yet.
    pub fn usage_batch(&self, limit: usize) -> Vec<TokenUse> {
        self.inner.usage.batch(limit)
    }

    /// Removes uses of access tokens from memory, because they are written to the database now.
    pub fn acknowledge(&self, written: &[TokenUse]) {
        self.inner.usage.acknowledge(written);
    }

    /// Returns the configured lifetime of a token.
    pub fn ttl(&self) -> TimeDelta {
        self.inner.ttl
    }

    /// Returns true if tokens can be minted, and false if the server runs with a wrong master secret.
    pub fn can_mint(&self) -> bool {
        self.inner.keys.ring().signing_key().is_some()
    }

    /// Returns a time in the past: revocations whose last token expired before this time are no longer
    /// needed. Revocations are retained for [`MAX_TTL`] after the expiry of their last token, because expired
    /// tokens become valid again if the clock was wrong and is set back.
    fn revocations_before(&self) -> DateTime<Utc> {
        self.inner.clock.now() - MAX_TTL
    }

    /// Removes from memory the revocations that are no longer needed. Call it only while the clock is steady.
    pub fn prune_revocations(&self) {
        self.inner.revocations.prune(self.revocations_before());
    }

    /// Deletes from the database the revocations that are no longer needed. Call it only while the clock is
    /// steady.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let before = self.revocations_before();
        self.inner.db.write(before, |tx, before| store::delete_revocations(tx, *before).boxed()).await?;
        Ok(())
    }
}

/// Returns the subjects whose revocation includes the token.
fn subjects(token: &AccessToken) -> [Uuid; 4] {
    let group = token.session.unwrap_or_else(|| revocations::subject_without_session(token.user));
    // Revocations that an earlier version of the server has stored contain the id of the user itself.
    [group, token.id, revocations::subject_of_user(token.user), token.user]
}

/// Inserts a revocation, in the transaction that causes it.
///
/// # Errors
///
/// [`StoreError`].
pub async fn revoke(tx: &Tx, revocation: &Revocation) -> Result<(), StoreError> {
    store::revoke(tx, revocation).await
}

/// Inserts revocations, in the transaction that causes them.
///
/// # Errors
///
/// [`StoreError`].
pub async fn revoke_all(tx: &Tx, revocations: &[Revocation]) -> Result<(), StoreError> {
    store::revoke_all(tx, revocations).await
}
