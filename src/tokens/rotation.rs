//! The life cycle of signing keys: standby, active, retired, deleted.
//!
//! There is one active key and one standby key. Verifiers load the standby key before it becomes active. A
//! rotation is one transaction: it retires the active key, activates the oldest standby key and creates a new
//! standby key. Every statement has the expected status of its key as a condition. If two processes rotate at
//! the same time, the statements of the second process change no row, and its transaction fails.
//!
//! If the master secret can't decrypt the active key, no key is rotated or created: other replicas could not
//! decrypt a new key.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;

use super::algorithms::{self, Alg};
use super::store::{self, StoredKey};
use super::{KeyStatus, MAX_TTL, TokensError};
use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::secrets::{MasterSecret, Purpose, Vault};

/// How long a key is active before the automatic rotation.
const SIGNING_PERIOD: TimeDelta = TimeDelta::days(30);
/// The minimum age of a standby key before the automatic rotation. It exceeds the five minutes for which
/// other services cache the keys.
const MIN_STANDBY: TimeDelta = TimeDelta::minutes(10);
/// The maximum time until every replica has loaded a new key.
const PROPAGATION_DELAY: std::time::Duration = std::time::Duration::from_secs(1);
/// The maximum number of attempts when other processes change the keys at the same time.
const ATTEMPTS: u32 = 5;

/// A key, without its private part.
#[derive(Debug, Clone)]
pub struct KeySummary {
    /// The id of the key.
    pub kid: String,
    /// The algorithm of the key, as in RFC 7518.
    pub alg: String,
    /// The status of the key.
    pub status: KeyStatus,
    /// When the key was created.
    pub created_at: DateTime<Utc>,
    /// When the key became active.
    pub activated_at: Option<DateTime<Utc>>,
    /// When the key was retired.
    pub retired_at: Option<DateTime<Utc>>,
    /// When the key is deleted.
    pub delete_at: Option<DateTime<Utc>>,
}

/// Creates, rotates and deletes keys, in a server or on the command line.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    db: Db,
    clock: Clock,
    vault: Arc<Vault>,
}

/// A change of the key ring, applied in one transaction.
struct Change {
    /// The key that is retired or deleted.
    transition: Transition,
    /// The standby key that becomes active.
    promoted: Option<String>,
    /// The standby keys that are deleted.
    discarded: Vec<String>,
    /// The keys that are inserted.
    created: Vec<StoredKey>,
    now: DateTime<Utc>,
}

enum Transition {
    None,
    Retire(String),
    Delete(String, KeyStatus),
}

impl KeyRotation {
    /// Creates the service. Private keys are encrypted under `secret`.
    pub fn new(db: &Db, clock: Clock, secret: &MasterSecret) -> Self {
        Self { db: db.clone(), clock, vault: Arc::new(Vault::from_secret(secret, Purpose::KeyRing)) }
    }

    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// Creates the first two keys if there are none, and rotates if the algorithm of the active key is not
    /// `alg`. The server calls this function at startup.
    pub(super) async fn ensure_keys(&self, alg: Alg) -> Result<(), TokensError> {
        for _ in 0..ATTEMPTS {
            let stored = self.load().await?;
            let done = match active(&stored) {
                None => self.create_first_keys(alg).await,
                Some(key) if key.alg == alg.name() => return Ok(()),
                Some(key) if !self.can_decrypt(key) => return Ok(()),
                Some(key) => self.change_algorithm(key, &stored, alg).await,
            };
            match done {
                Err(TokensError::ConcurrentRotation) => {}
                other => return other,
            }
        }
        Err(StoreError::conflict().into())
    }

    async fn create_first_keys(&self, alg: Alg) -> Result<(), TokensError> {
        let created = vec![
            self.create_key(alg, KeyStatus::Active).await?,
            self.create_key(alg, KeyStatus::Standby).await?,
        ];
        match self.change(Transition::None, None, created).await {
            Ok(()) => tracing::info!("created the first signing keys"),
            // Another replica has created the first keys. This replica uses these keys.
            Err(TokensError::Store(StoreError::UniqueViolation(_))) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn change_algorithm(
        &self,
        active: &StoredKey,
        stored: &[StoredKey],
        alg: Alg,
    ) -> Result<(), TokensError> {
        let existing = self.standby(stored, |key| key.alg == alg.name());
        let next = match existing {
            Some(key) => key.kid.clone(),
            None => self.publish_standby(stored, alg).await?,
        };
        let created = vec![self.create_key(alg, KeyStatus::Standby).await?];
        self.change(Transition::Retire(active.kid.clone()), Some(next), created).await?;
        tracing::info!(from = active.alg, to = alg.name(), "changed the signing algorithm");
        Ok(())
    }

    /// Replaces the standby keys with a new key, and waits until every replica has loaded the new key.
    /// Returns the kid of the new key.
    async fn publish_standby(&self, stored: &[StoredKey], alg: Alg) -> Result<String, TokensError> {
        let key = self.create_key(alg, KeyStatus::Standby).await?;
        let kid = key.kid.clone();
        let discarded = standbys(stored).map(|key| key.kid.clone()).collect();
        let now = self.clock.now();
        let change =
            Change { transition: Transition::None, promoted: None, discarded, created: vec![key], now };
        self.write(change).await?;
        tokio::time::sleep(PROPAGATION_DELAY).await;
        Ok(kid)
    }

    /// Rotates the keys at once. Returns the kid of the new active key.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if the master secret is wrong, or [`TokensError::ConcurrentRotation`] if
    /// another process rotated at the same time.
    pub async fn rotate(&self) -> Result<String, TokensError> {
        let stored = self.load().await?;
        let active = active(&stored).filter(|key| self.can_decrypt(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::from_name(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let next = match self.standby(&stored, |_| true) {
            Some(key) => key.kid.clone(),
            None => self.publish_standby(&stored, alg).await?,
        };
        // If two processes have created a standby key at the same time, the key that is not activated remains
        // the standby key.
        let has_another = self.standby(&stored, |key| key.kid != next).is_some();
        let created =
            if has_another { Vec::new() } else { vec![self.create_key(alg, KeyStatus::Standby).await?] };
        self.change(Transition::Retire(active.kid.clone()), Some(next.clone()), created).await?;
        tracing::info!(retired = active.kid, active = next, "rotated the signing keys");
        Ok(next)
    }

    /// Deletes a key immediately. All tokens that the key signed become invalid. If the key is active, the
    /// standby key becomes active. Returns `false` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if the master secret is wrong and the key is not retired.
    pub async fn revoke(&self, kid: &str) -> Result<bool, TokensError> {
        for _ in 0..ATTEMPTS {
            let stored = self.load().await?;
            let Some(key) = stored.iter().find(|key| key.kid == kid) else {
                return Ok(false);
            };
            let transition = Transition::Delete(key.kid.clone(), key.status);
            let done = match key.status {
                KeyStatus::Retired => self.change(transition, None, Vec::new()).await,
                status => self.replace(transition, status, &stored).await,
            };
            match done {
                Ok(()) => {
                    tracing::warn!(kid, "revoked a signing key and every token that it signed");
                    return Ok(true);
                }
                Err(TokensError::ConcurrentRotation) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::conflict().into())
    }

    async fn replace(
        &self,
        transition: Transition,
        status: KeyStatus,
        stored: &[StoredKey],
    ) -> Result<(), TokensError> {
        let active = active(stored).filter(|key| self.can_decrypt(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::from_name(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let mut created = vec![self.create_key(alg, KeyStatus::Standby).await?];
        let mut next = None;
        if status == KeyStatus::Active {
            next = self.standby(stored, |_| true).map(|key| key.kid.clone());
            // Without a standby key, activate a new key at once, although verifiers have not loaded it yet:
            // the deleted key may be stolen, so its deletion can't wait.
            if next.is_none() {
                created.push(self.create_key(alg, KeyStatus::Active).await?);
            }
        }
        self.change(transition, next, created).await
    }

    /// Deletes retired keys, creates a missing standby key, and rotates the keys, each when it is due.
    pub(super) async fn housekeep(&self) -> Result<(), TokensError> {
        let now = self.clock.now();
        let deleted = self.db.write(now, |tx, now| store::delete_expired_keys(tx, *now).boxed()).await?;
        if deleted > 0 {
            tracing::info!(keys = deleted, "deleted retired signing keys");
        }
        let stored = self.load().await?;
        let active = active(&stored).filter(|key| self.can_decrypt(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::from_name(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let Some(standby) = self.standby(&stored, |_| true) else {
            let created = vec![self.create_key(alg, KeyStatus::Standby).await?];
            return self.change(Transition::None, None, created).await;
        };
        let since = active.activated_at.unwrap_or(active.created_at);
        if now - since < SIGNING_PERIOD || now - standby.created_at < MIN_STANDBY {
            return Ok(());
        }
        match self.rotate().await {
            Ok(_) | Err(TokensError::ConcurrentRotation) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Re-encrypts, under the current master secret, every key that is encrypted under a former master
    /// secret. Returns the number of these keys.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if an active or standby key can't be decrypted; in this case no key is
    /// changed.
    pub async fn reencrypt(&self) -> Result<usize, TokensError> {
        let mut reencrypted = Vec::new();
        for key in self.load().await? {
            let (kid, sealed) = (&key.kid, &key.sealed_private_key);
            if self.vault.is_current(kid, sealed) {
                continue;
            }
            match self.vault.open(kid, sealed) {
                Ok(private) => {
                    let sealed = self.vault.seal(kid, &private);
                    let sealed = sealed.map_err(|error| TokensError::Signing(error.to_string()))?;
                    reencrypted.push((key.kid, sealed));
                }
                // Skip a retired key, because it does not sign.
                Err(_) if key.status == KeyStatus::Retired => {}
                Err(_) => return Err(TokensError::NoSigningKey),
            }
        }
        let count = reencrypted.len();
        self.db.write(reencrypted, |tx, keys| store_reencrypted(tx, keys).boxed()).await?;
        Ok(count)
    }

    async fn load(&self) -> Result<Vec<StoredKey>, StoreError> {
        load_keys(&self.db).await
    }

    fn can_decrypt(&self, key: &StoredKey) -> bool {
        self.vault.open(&key.kid, &key.sealed_private_key).is_ok()
    }

    /// Returns the oldest standby key that can be decrypted and matches the filter.
    fn standby<'a>(
        &self,
        stored: &'a [StoredKey],
        matches: impl Fn(&StoredKey) -> bool,
    ) -> Option<&'a StoredKey> {
        standbys(stored).filter(|key| matches(key) && self.can_decrypt(key)).min_by_key(|key| key.created_at)
    }

    /// Generates a key with an encrypted private part; does not store it.
    async fn create_key(&self, alg: Alg, status: KeyStatus) -> Result<StoredKey, TokensError> {
        let failed = |what: &dyn std::fmt::Display| TokensError::Signing(what.to_string());
        let fresh = tokio::task::spawn_blocking(move || algorithms::generate(alg));
        let fresh = fresh.await.map_err(|error| failed(&error))??;
        let now = self.clock.now();
        Ok(StoredKey {
            alg: alg.name().to_owned(),
            status,
            sealed_private_key: self
                .vault
                .seal(&fresh.kid, &fresh.private)
                .map_err(|error| failed(&error))?,
            public_key: fresh.public,
            kid: fresh.kid,
            created_at: now,
            activated_at: (status == KeyStatus::Active).then_some(now),
            retired_at: None,
            delete_at: None,
        })
    }

    async fn change(
        &self,
        transition: Transition,
        promoted: Option<String>,
        created: Vec<StoredKey>,
    ) -> Result<(), TokensError> {
        let now = self.clock.now();
        self.write(Change { transition, promoted, discarded: Vec::new(), created, now }).await
    }

    async fn write(&self, change: Change) -> Result<(), TokensError> {
        self.db.write(change, |tx, change| write(tx, change).boxed()).await
    }
}

/// Returns all keys, oldest first, without their private parts.
///
/// # Errors
///
/// [`TokensError::Store`].
pub async fn list_keys(db: &Db) -> Result<Vec<KeySummary>, TokensError> {
    let summary = |key: StoredKey| KeySummary {
        kid: key.kid,
        alg: key.alg,
        status: key.status,
        created_at: key.created_at,
        activated_at: key.activated_at,
        retired_at: key.retired_at,
        delete_at: key.delete_at,
    };
    Ok(load_keys(db).await?.into_iter().map(summary).collect())
}

async fn load_keys(db: &Db) -> Result<Vec<StoredKey>, StoreError> {
    db.read((), |tx, ()| store::keys(tx).boxed()).await
}

fn active(stored: &[StoredKey]) -> Option<&StoredKey> {
    stored.iter().find(|key| key.status == KeyStatus::Active)
}

fn standbys(stored: &[StoredKey]) -> impl Iterator<Item = &StoredKey> {
    stored.iter().filter(|key| key.status == KeyStatus::Standby)
}

async fn write(tx: &Tx, change: &Change) -> Result<(), TokensError> {
    let expect = |changed: bool| changed.then_some(()).ok_or(TokensError::ConcurrentRotation);
    match &change.transition {
        Transition::None => {}
        // The key is deleted after `MAX_TTL`: its last token has then expired, whatever the configured
        // lifetime was.
        Transition::Retire(kid) => {
            expect(store::retire_key(tx, kid, change.now, change.now + MAX_TTL).await?)?;
        }
        Transition::Delete(kid, status) => expect(store::delete_key(tx, kid, *status).await?)?,
    }
    if let Some(kid) = &change.promoted {
        expect(store::promote_key(tx, kid, change.now).await?)?;
    }
    for kid in &change.discarded {
        expect(store::delete_key(tx, kid, KeyStatus::Standby).await?)?;
    }
    for key in &change.created {
        store::insert_key(tx, key).await?;
    }
    Ok(())
}

async fn store_reencrypted(tx: &Tx, keys: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
    for (kid, sealed) in keys {
        store::reencrypt_key(tx, kid, sealed).await?;
    }
    Ok(())
}
