//! The life of a key: standby, active, retired, gone.
//!
//! There is one active key, and a standby that everybody knows before it signs. To rotate is one
//! transaction: the active key retires, the oldest standby takes its place, a new standby is made.
//! Every step says which key it takes to be what, and its row count tells whether that was so: of two
//! who rotate at once one does, and the other finds it done.
//!
//! Under a master secret that does not open the active key nothing is rotated and no key is made: it
//! would be one that nobody else can use.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;

use super::algorithms::{self, Alg};
use super::store::{self, Status, StoredKey};
use super::{MAX_TTL, TokensError};
use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::secrets::{MasterSecret, Purpose, Vault};

/// How long a key signs.
const SIGNING_PERIOD: TimeDelta = TimeDelta::days(30);
/// How long a standby is shown before it may sign unasked: others keep what they read for five minutes.
const MIN_STANDBY: TimeDelta = TimeDelta::minutes(10);
/// How long every replica may take to learn of a key.
const PROPAGATION_DELAY: std::time::Duration = std::time::Duration::from_secs(1);
/// How often it is tried again after somebody else was faster.
const ATTEMPTS: u32 = 5;

/// A key, without anything private.
#[derive(Debug, Clone)]
pub struct KeySummary {
    /// Its name.
    pub kid: String,
    /// Its algorithm, as in RFC 7518.
    pub alg: String,
    /// Where it is in its life.
    pub status: Status,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it began to sign.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it ceased to sign.
    pub retired_at: Option<DateTime<Utc>>,
    /// When it goes.
    pub delete_at: Option<DateTime<Utc>>,
}

/// Makes, rotates and removes keys, on a server or beside one.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    db: Db,
    clock: Clock,
    vault: Arc<Vault>,
}

/// One step of the ring.
struct Step {
    /// From which status the active key, or the one to be removed, goes.
    leaves: Transition,
    /// The standby that becomes active.
    promotes: Option<String>,
    /// Standbys that make room.
    discards: Vec<String>,
    makes: Vec<StoredKey>,
    now: DateTime<Utc>,
}

enum Transition {
    Nobody,
    Retires(String),
    Goes(String, Status),
}

impl KeyRotation {
    /// Over a database; keys are sealed under `secret`.
    pub fn new(db: &Db, clock: Clock, secret: &MasterSecret) -> Self {
        Self { db: db.clone(), clock, vault: Arc::new(Vault::of(secret, Purpose::KeyRing)) }
    }

    pub(super) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault)
    }

    /// At the start of a server: makes the first two keys, and changes the algorithm if the active key
    /// has another.
    pub(super) async fn begin(&self, alg: Alg) -> Result<(), TokensError> {
        for _ in 0..ATTEMPTS {
            let stored = self.stored().await?;
            let done = match active(&stored) {
                None => self.create_first_keys(alg).await,
                Some(key) if key.alg == alg.name() => return Ok(()),
                Some(key) if !self.opens(key) => return Ok(()),
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
        let makes = vec![self.make(alg, Status::Active).await?, self.make(alg, Status::Standby).await?];
        let kept = self.take(Transition::Nobody, None, makes).await;
        match kept {
            Ok(()) => tracing::info!("the first signing keys were made"),
            // Another replica was faster: its keys are the ones.
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
        let known = self.standby(stored, |key| key.alg == alg.name());
        let next = match known {
            Some(key) => key.kid.clone(),
            None => self.show_new(stored, alg).await?,
        };
        let makes = vec![self.make(alg, Status::Standby).await?];
        self.take(Transition::Retires(active.kid.clone()), Some(next), makes).await?;
        tracing::info!(from = active.alg, to = alg.name(), "tokens are signed with another algorithm");
        Ok(())
    }

    /// A standby in place of those that are there, once everybody may know it.
    async fn show_new(&self, stored: &[StoredKey], alg: Alg) -> Result<String, TokensError> {
        let key = self.make(alg, Status::Standby).await?;
        let kid = key.kid.clone();
        let discards = standbys(stored).map(|key| key.kid.clone()).collect();
        let now = self.clock.now();
        let step = Step { leaves: Transition::Nobody, promotes: None, discards, makes: vec![key], now };
        self.write(step).await?;
        tokio::time::sleep(PROPAGATION_DELAY).await;
        Ok(kid)
    }

    /// Rotates at once; the name of the key that signs now.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] under a wrong master secret, [`TokensError::ConcurrentRotation`] if somebody else
    /// rotated at the same time.
    pub async fn rotate(&self) -> Result<String, TokensError> {
        let stored = self.stored().await?;
        let active = active(&stored).filter(|key| self.opens(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::named(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let next = match self.standby(&stored, |_| true) {
            Some(key) => key.kid.clone(),
            None => self.show_new(&stored, alg).await?,
        };
        // If two were made at once there is one already that comes after.
        let follows = self.standby(&stored, |key| key.kid != next).is_some();
        let makes = if follows { Vec::new() } else { vec![self.make(alg, Status::Standby).await?] };
        self.take(Transition::Retires(active.kid.clone()), Some(next.clone()), makes).await?;
        tracing::info!(retired = active.kid, active = next, "the signing keys were rotated");
        Ok(next)
    }

    /// Removes a key at once, with all tokens that it signed; if it was the active one the standby takes
    /// its place. `false` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] under a wrong master secret, unless the key is retired.
    pub async fn revoke(&self, kid: &str) -> Result<bool, TokensError> {
        for _ in 0..ATTEMPTS {
            let stored = self.stored().await?;
            let Some(key) = stored.iter().find(|key| key.kid == kid) else {
                return Ok(false);
            };
            let leaves = Transition::Goes(key.kid.clone(), key.status);
            let done = match key.status {
                Status::Retired => self.take(leaves, None, Vec::new()).await,
                status => self.replace(leaves, status, &stored).await,
            };
            match done {
                Ok(()) => {
                    tracing::warn!(kid, "a signing key was revoked, with every token that it signed");
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
        leaves: Transition,
        status: Status,
        stored: &[StoredKey],
    ) -> Result<(), TokensError> {
        let active = active(stored).filter(|key| self.opens(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::named(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let mut makes = vec![self.make(alg, Status::Standby).await?];
        let mut next = None;
        if status == Status::Active {
            next = self.standby(stored, |_| true).map(|key| key.kid.clone());
            // One that nobody has seen is better than one that somebody stole.
            if next.is_none() {
                makes.push(self.make(alg, Status::Active).await?);
            }
        }
        self.take(leaves, next, makes).await
    }

    /// What is due: a standby where there is none, a rotation, the end of retired keys.
    pub(super) async fn housekeep(&self) -> Result<(), TokensError> {
        let now = self.clock.now();
        let gone = self.db.write(now, |tx, now| store::remove_gone(tx, *now).boxed()).await?;
        if gone > 0 {
            tracing::info!(keys = gone, "retired signing keys are gone");
        }
        let stored = self.stored().await?;
        let active = active(&stored).filter(|key| self.opens(key)).ok_or(TokensError::NoSigningKey)?;
        let alg = Alg::named(&active.alg).ok_or(TokensError::NoSigningKey)?;
        let Some(standby) = self.standby(&stored, |_| true) else {
            let makes = vec![self.make(alg, Status::Standby).await?];
            return self.take(Transition::Nobody, None, makes).await;
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

    /// Encrypts every key under the current master secret that was encrypted under another known one;
    /// how many.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if a key that signs or will can't be decrypted: nothing is changed.
    pub async fn reencrypt(&self) -> Result<usize, TokensError> {
        let mut anew = Vec::new();
        for key in self.stored().await? {
            let (kid, sealed) = (&key.kid, &key.sealed_private_key);
            if self.vault.is_current(kid, sealed) {
                continue;
            }
            match self.vault.open(kid, sealed) {
                Ok(private) => {
                    let sealed = self.vault.seal(kid, &private);
                    anew.push((key.kid, sealed.map_err(|error| TokensError::Signing(error.to_string()))?));
                }
                // It signs nothing any more.
                Err(_) if key.status == Status::Retired => {}
                Err(_) => return Err(TokensError::NoSigningKey),
            }
        }
        let count = anew.len();
        self.db.write(anew, |tx, anew| reencrypt_all(tx, anew).boxed()).await?;
        Ok(count)
    }

    async fn stored(&self) -> Result<Vec<StoredKey>, StoreError> {
        stored(&self.db).await
    }

    fn opens(&self, key: &StoredKey) -> bool {
        self.vault.open(&key.kid, &key.sealed_private_key).is_ok()
    }

    /// The oldest standby that can be decrypted.
    fn standby<'a>(
        &self,
        stored: &'a [StoredKey],
        fits: impl Fn(&StoredKey) -> bool,
    ) -> Option<&'a StoredKey> {
        standbys(stored).filter(|key| fits(key) && self.opens(key)).min_by_key(|key| key.created_at)
    }

    async fn make(&self, alg: Alg, status: Status) -> Result<StoredKey, TokensError> {
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
            activated_at: (status == Status::Active).then_some(now),
            retired_at: None,
            delete_at: None,
        })
    }

    async fn take(
        &self,
        leaves: Transition,
        promotes: Option<String>,
        makes: Vec<StoredKey>,
    ) -> Result<(), TokensError> {
        let now = self.clock.now();
        self.write(Step { leaves, promotes, discards: Vec::new(), makes, now }).await
    }

    async fn write(&self, step: Step) -> Result<(), TokensError> {
        self.db.write(step, |tx, step| write(tx, step).boxed()).await
    }
}

/// Every key, the oldest first: nothing of it is secret.
///
/// # Errors
///
/// [`TokensError::Store`].
pub async fn list_keys(db: &Db) -> Result<Vec<KeySummary>, TokensError> {
    let row = |key: StoredKey| KeySummary {
        kid: key.kid,
        alg: key.alg,
        status: key.status,
        created_at: key.created_at,
        activated_at: key.activated_at,
        retired_at: key.retired_at,
        delete_at: key.delete_at,
    };
    Ok(stored(db).await?.into_iter().map(row).collect())
}

async fn stored(db: &Db) -> Result<Vec<StoredKey>, StoreError> {
    db.read((), |tx, ()| store::keys(tx).boxed()).await
}

fn active(stored: &[StoredKey]) -> Option<&StoredKey> {
    stored.iter().find(|key| key.status == Status::Active)
}

fn standbys(stored: &[StoredKey]) -> impl Iterator<Item = &StoredKey> {
    stored.iter().filter(|key| key.status == Status::Standby)
}

async fn write(tx: &Tx, step: &Step) -> Result<(), TokensError> {
    let was_so = |was_so: bool| was_so.then_some(()).ok_or(TokensError::ConcurrentRotation);
    match &step.leaves {
        Transition::Nobody => {}
        // Whatever the settings of whoever signed with it were, its last token has expired by then.
        Transition::Retires(kid) => {
            was_so(store::retire_key(tx, kid, step.now, step.now + MAX_TTL).await?)?;
        }
        Transition::Goes(kid, status) => was_so(store::remove_key(tx, kid, *status).await?)?,
    }
    if let Some(kid) = &step.promotes {
        was_so(store::promote_key(tx, kid, step.now).await?)?;
    }
    for kid in &step.discards {
        was_so(store::remove_key(tx, kid, Status::Standby).await?)?;
    }
    for key in &step.makes {
        store::insert_key(tx, key).await?;
    }
    Ok(())
}

async fn reencrypt_all(tx: &Tx, anew: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
    for (kid, sealed) in anew {
        store::reencrypt_key(tx, kid, sealed).await?;
    }
    Ok(())
}
