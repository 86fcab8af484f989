//! Access tokens: minting and verifying them, and the keys that sign them.
//!
//! A token is a JWT in the profile of RFC 9068. It is verified without the database, and as strictly
//! as RFC 8725 asks: one algorithm per key, the exact type, issuer and audience, every claim present
//! and of its kind, no `crit` that we don't understand, no key that the token brings along. What was
//! verified once is remembered until it expires, and refused all the same once it is revoked. Tokens
//! hold no personal data.

mod algorithms;
pub mod api;
mod cache_key;
mod freshness;
mod key_cache;
mod key_ring;
mod revocations;
mod rotation;
mod scope;
mod single_flight;
mod store;
mod usage;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use jsonwebtoken::Header;
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::secrets::{MasterSecret, random_bytes};

pub use algorithms::{Alg, KeyParameters, PublicKey};
use cache_key::{CacheKey, CacheKeyRef};
use freshness::Freshness;
use key_cache::KeyCache;
pub use revocations::Revocation;
use revocations::Revocations;
pub use rotation::{KeyRotation, KeySummary, list_keys};
pub use scope::{Scope, Scopes};
pub use store::Status;
use usage::TokenUsage;
pub use usage::TokenUse;
use verify::Claims;
pub use verify::TokenError;

/// The `typ` of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";
/// How somebody proved who they are who gave their password (RFC 8176).
pub const BY_PASSWORD: &str = "pwd";
/// The `client_id` of every token: there is one first-party client.
pub const CLIENT_ID: &str = "tripgate";
/// No setting and no clock lets a token live longer.
pub const MAX_TTL: TimeDelta = TimeDelta::seconds(7 * 86_400 + 120);
/// How many verified tokens are remembered. One takes some 1,000 bytes.
const CACHE_CAPACITY: usize = 16_384;

/// Why a token can't be minted or the key ring not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The active key can't be decrypted under the present master secret.
    #[error("there is no key to sign with")]
    NoSigningKey,
    /// Somebody else changed the key ring at the same moment.
    #[error("somebody else changed the keys at the same moment")]
    ConcurrentRotation,
    /// The cryptographic library refused; nothing that a caller could change.
    #[error("signing failed: {0}")]
    Signing(String),
    /// The database.
    #[error("the key ring can't be read")]
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

/// A verified access token.
#[derive(Debug)]
pub struct AccessToken {
    /// Its own name, `jti`.
    pub id: Uuid,
    /// Whose it is.
    pub user: Uuid,
    /// The session that it belongs to, if one is kept.
    pub session: Option<Uuid>,
    /// Which refresh token of the session came with it.
    pub generation: Option<i64>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// How its owner proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When it was minted, to the millisecond.
    pub minted_at: DateTime<Utc>,
    /// When it was minted, to the second, as it says itself.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// The revision of the revocations at which it was good.
    checked_revision: AtomicU64,
    /// The epoch of the key ring that verified it.
    epoch: u64,
}

/// For whom a token is to be minted.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The user.
    pub user: Uuid,
    /// The session, if one is kept.
    pub session: Option<Uuid>,
    /// Which refresh token of the session comes with it.
    pub generation: Option<i64>,
    /// What the token may be used for.
    pub scopes: Scopes,
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When they did.
    pub authenticated_at: DateTime<Utc>,
    /// The token must not outlive this, if anything.
    pub until: Option<DateTime<Utc>>,
}

/// A fresh token.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The JWT in compact form.
    pub token: String,
    /// How long it is good, in seconds.
    pub expires_in_secs: i64,
    /// Until when.
    pub expires_at: DateTime<Utc>,
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
    lifecycle: KeyRotation,
    keys: KeyCache,
    verified: Cache<CacheKey, Arc<AccessToken>>,
    revoked: Revocations,
    proofs: TokenUsage,
    freshness: Freshness,
}

impl Tokens {
    /// Reads the key ring, and makes the first keys if there are none. From now on `alg` signs.
    ///
    /// # Errors
    ///
    /// [`TokensError::Store`], and [`TokensError::Signing`] if a key can't be made.
    pub async fn open(
        db: &Db,
        clock: Clock,
        secret: &MasterSecret,
        issuer: String,
        audience: String,
        ttl_secs: u32,
        alg: Alg,
    ) -> Result<Self, TokensError> {
        let lifecycle = KeyRotation::new(db, clock.clone(), secret);
        lifecycle.begin(alg).await?;
        let keys = KeyCache::open(db, lifecycle.vault()).await?;
        let revoked = Revocations::new();
        revoked.poll(db).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                db: db.clone(),
                clock,
                issuer,
                audience,
                ttl: TimeDelta::seconds(ttl_secs.into()),
                lifecycle,
                keys,
                verified: Cache::new(CACHE_CAPACITY),
                revoked,
                proofs: TokenUsage::default(),
                freshness: Freshness::new(),
            }),
        })
    }

    /// Who issues the tokens (`iss`).
    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// For whom they are issued (`aud`).
    pub fn audience(&self) -> &str {
        &self.inner.audience
    }

    /// Mints a token for `subject`, good from now on.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] under a wrong master secret.
    pub fn mint(&self, subject: Subject) -> Result<Minted, TokensError> {
        let Inner { clock, issuer, audience, keys, .. } = &*self.inner;
        let now = clock.now();
        let expires_at = subject.until.unwrap_or(DateTime::<Utc>::MAX_UTC).min(now + self.life(&subject));
        let ring = keys.ring();
        let (key, signing) = ring.signing().ok_or(TokensError::NoSigningKey)?;
        let header =
            Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(key.alg.jose()) };
        let claims = Claims {
            iss: issuer.clone(),
            aud: audience.clone(),
            sub: subject.user,
            client_id: CLIENT_ID.to_owned(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            nbf: None,
            jti: clock.new_id(),
            sid: subject.session,
            generation: subject.generation,
            scope: subject.scopes.to_string(),
            auth_time: subject.authenticated_at.timestamp(),
            amr: subject.amr,
        };
        let token = jsonwebtoken::encode(&header, &claims, signing)
            .map_err(|error| TokensError::Signing(error.to_string()))?;
        let expires_in_secs = (expires_at - now).num_seconds();
        Ok(Minted { token, expires_in_secs, expires_at })
    }

    /// Refreshed tokens live up to a twentieth less, each another time: apps that began together don't
    /// come back for ever in step.
    fn life(&self, subject: &Subject) -> TimeDelta {
        let ttl = self.inner.ttl;
        if subject.generation.is_none_or(|generation| generation == 1) {
            return ttl;
        }
        let jitter = u16::from_le_bytes(random_bytes());
        let most = ttl.num_seconds() / 20;
        ttl - TimeDelta::seconds(most * i64::from(jitter) / i64::from(u16::MAX))
    }

    /// Verifies a token, from memory if it was verified before.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        if self.inner.freshness.is_stale() && !self.poll().await {
            return Err(TokenError::Unverifiable);
        }
        let known = self.inner.verified.get(&CacheKeyRef(token));
        let known = match known.filter(|known| known.epoch == self.inner.keys.epoch()) {
            Some(known) => known,
            None => self.verify_uncached(token).await?,
        };
        if verify::has_expired(known.expires_at, self.inner.clock.now()) {
            self.inner.verified.remove(&CacheKeyRef(token));
            return Err(TokenError::Expired);
        }
        if self.is_revoked(&known) {
            return Err(TokenError::Revoked);
        }
        Ok(known)
    }

    async fn verify_uncached(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let Inner { keys, verified, proofs, .. } = &*self.inner;
        let epoch = keys.epoch();
        let header = verify::header(token).ok_or(TokenError::Invalid)?;
        let kid = verify::kid(&header).ok_or(TokenError::Invalid)?;
        let key = keys.find(kid).await?;
        let fresh = Arc::new(verify::verify(&self.inner, token, &header, &key, epoch)?);
        verified.insert(CacheKey(token.into()), Arc::clone(&fresh));
        if !self.is_revoked(&fresh)
            && let (Some(session), Some(generation)) = (fresh.session, fresh.generation)
        {
            proofs.note(TokenUse { user: fresh.user, session, generation });
        }
        Ok(fresh)
    }

    /// Looked up only when something was revoked since the last time, however many entries there are.
    fn is_revoked(&self, token: &AccessToken) -> bool {
        let revoked = &self.inner.revoked;
        let revision = revoked.revision();
        if token.checked_revision.load(Ordering::Relaxed) == revision {
            return false;
        }
        let subjects = [token.session, Some(token.id), Some(token.user)];
        if subjects.into_iter().flatten().any(|subject| revoked.refuses(subject, token.minted_at)) {
            return true;
        }
        token.checked_revision.store(revision, Ordering::Relaxed);
        false
    }

    /// Reads what other replicas changed; `false` if the database can't be asked.
    pub async fn poll(&self) -> bool {
        let Inner { db, revoked, keys, freshness, .. } = &*self.inner;
        let read = async {
            revoked.poll(db).await?;
            keys.poll().await
        };
        freshness.renew(read).await
    }

    /// Makes a revocation that is committed good on this replica at once.
    pub fn apply(&self, revocation: &Revocation) {
        self.inner.revoked.apply(revocation);
    }

    /// The newest generation of a session of which an access token was seen here and not written yet.
    pub fn used_generation(&self, session: Uuid) -> Option<i64> {
        self.inner.proofs.newest(session)
    }

    /// At most so many proofs that wait to be written.
    pub fn usage_batch(&self, limit: usize) -> Vec<TokenUse> {
        self.inner.proofs.batch(limit)
    }

    /// These proofs are written.
    pub fn acknowledge(&self, written: &[TokenUse]) {
        self.inner.proofs.acknowledge(written);
    }

    /// The longest life of a token that is minted now.
    pub fn ttl(&self) -> TimeDelta {
        self.inner.ttl
    }

    /// Whether tokens can be minted at all: not under a wrong master secret.
    pub fn can_mint(&self) -> bool {
        self.inner.keys.ring().signing().is_some()
    }

    /// What expired before has expired by every replica's clock.
    fn past(&self) -> DateTime<Utc> {
        self.inner.clock.now() - verify::SKEW * 2
    }

    /// Drops from memory what concerns only tokens that have expired.
    pub fn forget(&self) {
        self.inner.revoked.forget_before(self.past());
    }

    /// Drops from the database what concerns only tokens that have expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.inner.db.write(self.past(), |tx, past| store::drop_revocations(tx, *past).boxed()).await?;
        Ok(())
    }
}

/// Writes a revocation, in the transaction of what causes it.
///
/// # Errors
///
/// [`StoreError`].
pub async fn revoke(tx: &Tx, revocation: &Revocation) -> Result<(), StoreError> {
    store::revoke(tx, revocation).await
}
