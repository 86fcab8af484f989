//! Codes of authenticator apps (TOTP, RFC 6238) and recovery codes.
//!
//! A user enrols an app with a secret, and confirms the enrolment with a code of the app. Until then the new
//! secret is pending, and an earlier secret stays active. A code is valid for its time step of 30 seconds and
//! for one step before and after it. A code is accepted only if its step is later than the step of the last
//! accepted code. A used code therefore never becomes valid again, even if the clock is set back. A recovery
//! code can be used once instead of a code of the app.
//!
//! The secret is encrypted under a key that is derived from the master secret. Recovery codes are stored as
//! keyed hashes; their key is encrypted together with the secret. Wrong codes of the app and wrong recovery
//! codes are counted together. After 10 wrong codes, the user must wait before each attempt, up to 15
//! minutes. An attempt is counted before a code is compared.
//!
//! A code is checked in the transaction of the caller, which decides what the code is used for.

pub mod api;
mod attempts;
mod code;
mod recovery_code;
mod store;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::secrets::{DecryptError, MasterSecret, Purpose, Vault};

pub use attempts::Attempt;
pub use code::Enrolment;
use code::Secret;
pub use recovery_code::RecoveryCode;

/// The number of recovery codes that a user gets at a time.
pub const RECOVERY_CODES: usize = 10;
/// How long an enrolment can be confirmed.
const PENDING_TTL: TimeDelta = TimeDelta::hours(1);

/// Why an authenticator app can't be enrolled, or a code can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum TotpError {
    /// The code does not belong to a pending enrolment.
    #[error("wrong code, or no pending enrolment")]
    InvalidCode,
    /// The user has no authenticator app.
    #[error("the user has no authenticator app")]
    NotEnabled,
    /// The account was deleted.
    #[error("no such user")]
    NoSuchUser,
    /// The secret is encrypted under another master secret.
    #[error("failed to decrypt the secret of an authenticator app")]
    Sealed(#[from] DecryptError),
    /// An error of the database.
    #[error("failed to read or write authenticator apps and recovery codes")]
    Store(#[from] StoreError),
}

impl HasStoreError for TotpError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// Enrols authenticator apps and checks codes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Totp {
    db: Db,
    clock: Clock,
    vault: Arc<Vault>,
    issuer: Arc<str>,
}

impl Totp {
    /// Creates the service. Authenticator apps show the host of `public_url` as the issuer.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret, public_url: &str) -> Self {
        let vault = Arc::new(Vault::from_secret(secret, Purpose::TotpSecrets));
        Self { db, clock, vault, issuer: code::issuer(public_url).into() }
    }

    /// Begins the enrolment of an authenticator app, which shows `account` as the name. Replaces an
    /// unconfirmed enrolment. An app that was enrolled before stays active until the new app is confirmed.
    ///
    /// # Errors
    ///
    /// [`TotpError::NoSuchUser`].
    pub async fn enrol(&self, user: Uuid, account: &str) -> Result<Enrolment, TotpError> {
        let secret = Secret::random();
        let pending = self.vault.seal(&name(user), &secret.to_bytes())?;
        let until = self.clock.now() + PENDING_TTL;
        let written: Result<(), StoreError> = self
            .db
            .write((user, pending, until), |tx, (user, pending, until)| {
                store::put_pending(tx, *user, pending, *until).boxed()
            })
            .await;
        match written {
            Ok(()) => Ok(code::enrolment(&secret, &self.issuer, account)),
            Err(StoreError::ForeignKeyViolation(_)) => Err(TotpError::NoSuchUser),
            Err(error) => Err(error.into()),
        }
    }

    /// Confirms the pending enrolment with a code of the app. Returns new recovery codes. Earlier recovery
    /// codes are no longer valid.
    ///
    /// # Errors
    ///
    /// [`TotpError::InvalidCode`].
    pub async fn confirm(
        &self,
        tx: &Tx,
        user: Uuid,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<RecoveryCode>, TotpError> {
        let found = store::find(tx, user).await?;
        let pending = found.and_then(|row| row.pending.filter(|_| row.pending_until > now));
        let pending = pending.ok_or(TotpError::InvalidCode)?;
        let secret = self.open(user, &pending)?;
        let step = secret.check(code, now).ok_or(TotpError::InvalidCode)?;
        if !store::confirm(tx, user, &pending, step, now).await? {
            return Err(TotpError::InvalidCode);
        }
        replace_codes(tx, user, &secret).await
    }

    /// Uses a code of the user's authenticator app. Returns `false` if the code is wrong, or was used before.
    ///
    /// # Errors
    ///
    /// [`TotpError::NotEnabled`].
    pub async fn use_code(
        &self,
        tx: &Tx,
        user: Uuid,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, TotpError> {
        let secret = self.secret(tx, user).await?;
        let Some(step) = secret.check(code, now) else { return Ok(false) };
        // If several requests send the same code in parallel, this statement accepts only one of them (RFC
        // 6238 §5.2).
        Ok(store::use_step(tx, user, step).await?)
    }

    /// Uses a recovery code of the user. Returns `false` if the code is wrong, or was used before.
    ///
    /// # Errors
    ///
    /// [`TotpError::NotEnabled`].
    pub async fn use_recovery_code(&self, tx: &Tx, user: Uuid, code: &str) -> Result<bool, TotpError> {
        let secret = self.secret(tx, user).await?;
        let Some(code) = RecoveryCode::parse(code) else { return Ok(false) };
        if !store::use_recovery_code(tx, user, &code.tag(&secret)).await? {
            return Ok(false);
        }
        store::reset_failures(tx, user).await?;
        Ok(true)
    }

    /// Replaces all recovery codes of the user with new codes. The caller has locked the user. Without the lock, a
    /// concurrent request would not see the new codes, and would not delete them.
    ///
    /// # Errors
    ///
    /// [`TotpError::NotEnabled`].
    pub async fn replace_recovery_codes(&self, tx: &Tx, user: Uuid) -> Result<Vec<RecoveryCode>, TotpError> {
        let secret = self.secret(tx, user).await?;
        replace_codes(tx, user, &secret).await
    }

    /// Returns the number of unused recovery codes of the user.
    ///
    /// # Errors
    ///
    /// [`TotpError::Store`].
    pub async fn count_recovery_codes(&self, user: Uuid) -> Result<u64, TotpError> {
        let count = self.db.read(user, |tx, user| count_recovery_codes(tx, *user).boxed()).await;
        count.map_err(TotpError::Store)
    }

    async fn secret(&self, tx: &Tx, user: Uuid) -> Result<Secret, TotpError> {
        let sealed = store::find(tx, user).await?.and_then(|row| row.sealed);
        self.open(user, &sealed.ok_or(TotpError::NotEnabled)?)
    }

    fn open(&self, user: Uuid, sealed: &[u8]) -> Result<Secret, TotpError> {
        let bytes = self.vault.open(&name(user), sealed)?;
        Ok(Secret::from_bytes(&bytes).ok_or(DecryptError)?)
    }
}

/// Returns the name that is bound to an encrypted secret, so that the secret of one user can't be used for
/// another user.
fn name(user: Uuid) -> String {
    format!("totp {}", user.simple())
}

async fn replace_codes(tx: &Tx, user: Uuid, secret: &Secret) -> Result<Vec<RecoveryCode>, TotpError> {
    let codes: Vec<RecoveryCode> = (0..RECOVERY_CODES).map(|_| RecoveryCode::random()).collect();
    let tags = codes.iter().map(|code| code.tag(secret)).collect();
    store::replace_recovery_codes(tx, user, tags).await?;
    Ok(codes)
}

/// Counts an attempt of the user to enter a code, before the code is compared.
///
/// # Errors
///
/// [`StoreError`].
pub async fn begin_attempt(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<Attempt, StoreError> {
    if store::count_attempt(tx, user, now).await? {
        return Ok(Attempt::Counted);
    }
    let found = store::find(tx, user).await?;
    Ok(match found.filter(|row| row.sealed.is_some()) {
        Some(row) => Attempt::blocked(row.blocked_until, now),
        None => Attempt::NotEnabled,
    })
}

/// Returns the number of unused recovery codes of the user.
///
/// # Errors
///
/// [`StoreError`].
pub async fn count_recovery_codes(tx: &Tx, user: Uuid) -> Result<u64, StoreError> {
    store::count_recovery_codes(tx, user).await
}

/// Removes the authenticator app and the recovery codes of the user. Returns `false` if there was no confirmed app.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove(tx: &Tx, user: Uuid) -> Result<bool, StoreError> {
    store::remove(tx, user).await
}

/// Re-encrypts, under the current master secret, every secret that is encrypted under a former master secret.
/// Returns the number of re-encrypted active secrets. Pending secrets are re-encrypted but not counted.
///
/// # Errors
///
/// [`StoreError`].
pub async fn reencrypt(db: &Db, secret: &MasterSecret) -> Result<usize, StoreError> {
    let vault = Vault::from_secret(secret, Purpose::TotpSecrets);
    let (mut after, mut count) = (Uuid::nil(), 0);
    loop {
        let rows = db.read(after, |tx, after| store::next_page(tx, *after).boxed()).await?;
        let Some(last) = rows.last() else { return Ok(count) };
        after = last.user;
        let resealed = |user, sealed: Option<Vec<u8>>| {
            let sealed = sealed.filter(|sealed| !vault.is_current(&name(user), sealed))?;
            let new = vault.open(&name(user), &sealed).and_then(|plain| vault.seal(&name(user), &plain));
            new.ok().map(|new| (sealed, new))
        };
        for row in rows {
            let (user, in_force, pending) =
                (row.user, resealed(row.user, row.sealed), resealed(row.user, row.pending));
            count += usize::from(in_force.is_some());
            if in_force.is_some() || pending.is_some() {
                let input = (user, in_force, pending);
                db.write(input, |tx, (user, in_force, pending)| {
                    store::reseal(tx, *user, in_force.as_ref(), pending.as_ref()).boxed()
                })
                .await?;
            }
        }
    }
}
