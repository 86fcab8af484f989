//! Opens the key ring and the revocations, in a server or on the command line.

use std::sync::Arc;

use chrono::TimeDelta;
use quick_cache::sync::Cache;

use super::freshness::Freshness;
use super::key_cache::KeyCache;
use super::poll::read_changes;
use super::restore::Epoch;
use super::revocations::Revocations;
use super::usage::TokenUsage;
use super::{Alg, CACHE_CAPACITY, Inner, KeyRotation, Tokens, TokensError};
use crate::clock::Clock;
use crate::db::Db;
use crate::secrets::MasterSecret;

impl Tokens {
    /// Loads the key ring, and creates the first keys if there are none. New tokens are signed with `alg`.
    ///
    /// # Errors
    ///
    /// [`TokensError::Store`], or [`TokensError::Signing`] if a key can't be generated.
    pub async fn open(
        db: &Db,
        clock: Clock,
        secret: &MasterSecret,
        issuer: String,
        audience: String,
        ttl_secs: u32,
        alg: Alg,
    ) -> Result<Self, TokensError> {
        KeyRotation::new(db, clock.clone(), secret).ensure_keys(alg).await?;
        Self::attach(db, clock, secret, issuer, audience, ttl_secs).await
    }

    /// Loads the key ring of a server without changing it. New tokens are signed with the server's active
    /// key.
    ///
    /// # Errors
    ///
    /// [`TokensError::Store`].
    pub async fn attach(
        db: &Db,
        clock: Clock,
        secret: &MasterSecret,
        issuer: String,
        audience: String,
        ttl_secs: u32,
    ) -> Result<Self, TokensError> {
        let rotation = KeyRotation::new(db, clock.clone(), secret);
        let keys = KeyCache::open(db, rotation.vault()).await?;
        let revocations = Revocations::new();
        let polled_at = clock.monotonic();
        let epoch = Epoch::new();
        read_changes(db, &keys, &revocations, &epoch).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                db: db.clone(),
                freshness: Freshness::new(clock.clone(), polled_at),
                clock,
                issuer,
                audience,
                ttl: TimeDelta::seconds(ttl_secs.into()),
                rotation,
                keys,
                verified: Cache::new(CACHE_CAPACITY),
                revocations,
                usage: TokenUsage::default(),
                epoch,
            }),
        })
    }
}
