//! The state of the tokens for metrics and diagnosis.

use std::time::Duration;

use chrono::TimeDelta;

use super::Tokens;
use super::key_cache::KeyCache;
use super::rotation::KeyRotation;
use crate::clock::Clock;
use crate::db::{Db, StoreError};
use crate::secrets::MasterSecret;

impl Tokens {
    /// Returns the time since the last successful poll of the revocations.
    pub fn poll_age(&self) -> Duration {
        self.inner.freshness.age()
    }

    /// Returns whether polls of the revocations have failed for so long that no token is accepted.
    pub fn is_cut_off(&self) -> bool {
        self.inner.freshness.is_failing()
    }

    /// Returns the time since the key that signs tokens was activated, if there is one.
    pub fn signing_key_age(&self) -> Option<TimeDelta> {
        let since = self.inner.keys.ring().signs_since()?;
        Some(self.inner.clock.now() - since)
    }
}

/// Returns whether this secret decrypts the key that signs tokens.
///
/// # Errors
///
/// [`StoreError`].
pub async fn can_sign(db: &Db, clock: Clock, secret: &MasterSecret) -> Result<bool, StoreError> {
    let rotation = KeyRotation::new(db, clock, secret);
    let keys = KeyCache::open(db, rotation.vault()).await?;
    Ok(keys.ring().signing_key().is_some())
}
