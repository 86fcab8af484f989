//! The key ring as the database has it now, in memory.
//!
//! It is read anew when a poll finds it changed, and when a token names a key that is not in it: the key
//! may have come a moment ago. However many such tokens come, one reading at a time serves all that
//! waited for it, readings keep their distance, and what was found to be nobody's key is remembered for
//! a while. A name that no key of ours could have is not asked about.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use quick_cache::sync::Cache;

use super::freshness::POLL_TIMEOUT;
use super::key_ring::{Key, KeyRing};
use super::single_flight::SingleFlight;
use super::store;
use super::{Inner, PublicKey, TokenError, Tokens, TokensError};
use crate::db::{Db, StoreError};
use crate::secrets::Vault;

/// The least time between two readings that a token asked for.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(50);
/// For how long it is remembered that there is no such key.
const UNKNOWN_KID_RETENTION: Duration = Duration::from_secs(10);
/// Of how many that is remembered.
const UNKNOWN_KIDS_CAPACITY: usize = 1_024;
/// The length of every `kid` of ours: 32 bytes in base64url.
const KID_CHARS: usize = 43;

pub(super) struct KeyCache {
    db: Db,
    vault: Arc<Vault>,
    ring: RwLock<Arc<KeyRing>>,
    /// Raised when a key has gone: what was verified before is to be verified again.
    epoch: AtomicU64,
    /// One at a time, so that an older reading never replaces a newer one.
    readings: SingleFlight,
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
            readings: SingleFlight::new(POLL_TIMEOUT),
            unknown_kids: Cache::new(UNKNOWN_KIDS_CAPACITY),
        })
    }

    pub(super) fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ask for it before the ring: then it is never newer than what the ring verified.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Reads what has changed.
    pub(super) async fn poll(&self) -> Result<(), StoreError> {
        self.read(Duration::ZERO).await
    }

    /// The key of this name, from the database if need be.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<Key>, TokenError> {
        if let Some(key) = self.ring().key(kid) {
            return Ok(key);
        }
        let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let known = |at: Instant| at.elapsed() < UNKNOWN_KID_RETENTION;
        if kid.len() != KID_CHARS
            || !kid.bytes().all(is_ours)
            || self.unknown_kids.get(kid).is_some_and(known)
        {
            return Err(TokenError::Invalid);
        }
        self.read(MIN_REFRESH_INTERVAL).await.map_err(|_| TokenError::Unverifiable)?;
        self.ring().key(kid).ok_or_else(|| {
            self.unknown_kids.insert(kid.to_owned(), Instant::now());
            TokenError::Invalid
        })
    }

    async fn read(&self, min_interval: Duration) -> Result<(), StoreError> {
        let reading = self.readings.share(min_interval, self.replace()).await;
        if reading.worked { Ok(()) } else { Err(StoreError::unavailable()) }
    }

    async fn replace(&self) -> Result<(), StoreError> {
        let before = self.ring();
        let marks = self.db.read((), |tx, ()| store::key_version(tx).boxed()).await?;
        if before.is_of(marks) {
            return Ok(());
        }
        let stored = self.db.read((), |tx, ()| store::keys(tx).boxed()).await?;
        let after = KeyRing::assemble(&stored, &self.vault, Some(&before));
        let loses = before.loses_by(&after);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        if loses {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Tokens {
    /// Does what is due for the keys: makes a standby, rotates, removes what is gone. One replica suffices.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] under a wrong master secret: another replica may have the right one.
    pub async fn housekeep(&self) -> Result<(), TokensError> {
        let Inner { lifecycle, keys, .. } = &*self.inner;
        lifecycle.housekeep().await?;
        Ok(keys.poll().await?)
    }

    /// The public keys, for whoever verifies our tokens, and a name for just these.
    pub fn public_keys(&self) -> (Vec<PublicKey>, String) {
        let ring = self.inner.keys.ring();
        let (keys, etag) = ring.published();
        (keys.to_vec(), etag.to_owned())
    }
}
