//! The in-memory copy of the key ring in the database.
//!
//! The cache reloads the ring when a poll finds a change, and when a token names a key id (`kid`) that is not
//! in the ring, because the key may be new. Such tokens can't overload the database: concurrent reloads share
//! one query, queries have a minimum interval, and unknown kids are cached for a while. A kid in a wrong
//! format causes no query.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use quick_cache::sync::Cache;

use super::freshness::POLL_TIMEOUT;
use super::key_ring::{KeyRing, RingKey};
use super::single_flight::SingleFlight;
use super::store::{self, KeyVersion};
use super::{Inner, PublicKey, TokenError, Tokens, TokensError};
use crate::db::{Db, StoreError};
use crate::secrets::Vault;

/// The minimum interval between two reloads caused by unknown kids.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(50);
/// How long an unknown kid is cached.
const UNKNOWN_KID_RETENTION: Duration = Duration::from_secs(10);
/// The maximum number of cached unknown kids.
const UNKNOWN_KIDS_CAPACITY: usize = 1_024;
/// The length of every generated `kid`: 32 bytes in base64url.
const KID_CHARS: usize = 43;

pub(super) struct KeyCache {
    db: Db,
    vault: Arc<Vault>,
    ring: RwLock<Arc<KeyRing>>,
    /// The epoch of the key ring, which is raised when a key is deleted. Tokens that were verified in an
    /// earlier epoch must be verified again.
    epoch: AtomicU64,
    /// Runs one reload at a time, so that an older result never replaces a newer one.
    reloads: SingleFlight,
    unknown_kids: Cache<String, Instant>,
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCache").field("ring", &self.ring()).finish_non_exhaustive()
    }
}

impl KeyCache {
    pub(super) async fn open(db: &Db, vault: Arc<Vault>) -> Result<Self, StoreError> {
        let stored = db.read((), |tx, ()| store::keys(tx).boxed()).await?;
        let ring = KeyRing::assemble(&stored, &vault, None);
        Ok(Self {
            db: db.clone(),
            vault,
            ring: RwLock::new(Arc::new(ring)),
            epoch: AtomicU64::new(0),
            reloads: SingleFlight::new(POLL_TIMEOUT),
            unknown_kids: Cache::new(UNKNOWN_KIDS_CAPACITY),
        })
    }

    pub(super) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the epoch. Read the epoch before the ring, so that the epoch is never newer than the ring that
    /// verifies a token.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Reloads the ring if `versions`, which a poll has read, differ from the versions of the keys in memory.
    pub(super) async fn reload_if_changed(&self, versions: Vec<KeyVersion>) -> Result<(), StoreError> {
        if self.ring().has_versions(versions) { Ok(()) } else { self.poll().await }
    }

    /// Reloads the ring if it has changed.
    pub(super) async fn poll(&self) -> Result<(), StoreError> {
        self.reload(Duration::ZERO).await
    }

    /// Returns the key with this kid. Reloads the ring if the kid is unknown.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<RingKey>, TokenError> {
        if let Some(key) = self.ring().key(kid) {
            return Ok(key);
        }
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_recent = |at: Instant| at.elapsed() < UNKNOWN_KID_RETENTION;
        if kid.len() != KID_CHARS
            || !kid.bytes().all(is_base64url)
            || self.unknown_kids.get(kid).is_some_and(is_recent)
        {
            return Err(TokenError::Invalid);
        }
        self.reload(MIN_REFRESH_INTERVAL).await.map_err(|_| TokenError::Unverifiable)?;
        self.ring().key(kid).ok_or_else(|| {
            self.unknown_kids.insert(kid.to_owned(), Instant::now());
            TokenError::Invalid
        })
    }

    async fn reload(&self, min_interval: Duration) -> Result<(), StoreError> {
        let flight = self.reloads.run(min_interval, self.replace_if_changed()).await;
        if flight.succeeded { Ok(()) } else { Err(StoreError::unavailable()) }
    }

    async fn replace_if_changed(&self) -> Result<(), StoreError> {
        let previous = self.ring();
        let versions = self.db.read((), |tx, ()| store::key_versions(tx).boxed()).await?;
        if previous.has_versions(versions) {
            return Ok(());
        }
        let stored = self.db.read((), |tx, ()| store::keys(tx).boxed()).await?;
        let current = KeyRing::assemble(&stored, &self.vault, Some(&previous));
        let has_deleted_key = previous.has_key_missing_in(&current);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        if has_deleted_key {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Tokens {
    /// Maintains the keys: creates a missing standby key, rotates the keys, and deletes retired keys, each
    /// when it is due. Call this function on one replica only.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if the server runs with a wrong master secret. Another replica may have
    /// the correct secret.
    pub async fn housekeep(&self) -> Result<(), TokensError> {
        let Inner { rotation, keys, .. } = &*self.inner;
        rotation.housekeep().await?;
        Ok(keys.poll().await?)
    }

    /// Returns the public keys for other services that verify tokens, and the etag of this set.
    pub fn public_keys(&self) -> (Vec<PublicKey>, String) {
        let ring = self.inner.keys.ring();
        let (keys, etag) = ring.published();
        (keys.to_vec(), etag.to_owned())
    }
}
