//! Lists, rotates and revokes the signing keys.

use super::actions::record;
use super::open_existing;
use crate::app::{StartError, master_secret, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::Db;
use crate::operators::Action;
use crate::secrets::MasterSecret;
use crate::tokens::{self, KeyRotation, KeySummary, TokensError};

/// Why a command for the signing keys or the master secret failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys are not encrypted under the configured master secret.
    #[error("this master secret does not decrypt the signing keys; nothing was changed")]
    WrongSecret,
    /// Another process changed the key ring at the same time.
    #[error(
        "another process changed the keys at the same time, so this command changed nothing: run it again"
    )]
    ConcurrentRotation,
    /// No key has this id.
    #[error("there is no key {kid:?}")]
    NoSuchKey {
        /// The id.
        kid: String,
    },
    /// The master secret comes from the settings, which the command can't change.
    #[error(
        "TRIPGATE_SECRET is set: add a second line to it, `next ` followed by a new secret, and restart every server"
    )]
    SecretInSettings,
    /// The database, the secret or the settings can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<TokensError> for KeysError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NoSigningKey => Self::WrongSecret,
            TokensError::ConcurrentRotation => Self::ConcurrentRotation,
            TokensError::Signing(_) | TokensError::Store(_) => Self::Start(error.into()),
        }
    }
}

/// Returns all keys, oldest first, without their private parts. Needs no master secret.
///
/// # Errors
///
/// [`KeysError::Start`].
pub async fn list_keys(settings: &Settings) -> Result<Vec<KeySummary>, KeysError> {
    set_umask();
    let db = open_existing(settings).await?;
    let keys = tokens::list_keys(&db).await;
    db.close().await;
    Ok(keys?)
}

/// Activates the standby key immediately. Returns its kid.
///
/// # Errors
///
/// [`KeysError::WrongSecret`], [`KeysError::ConcurrentRotation`], [`KeysError::Start`].
pub async fn rotate_key(settings: &Settings) -> Result<String, KeysError> {
    set_umask();
    let secret = existing_secret(settings)?;
    with_keys(settings, &secret, async |keys, db| {
        let kid = keys.rotate().await?;
        record(db, Action::new(&Clock::system(), "keys rotate").on(&kid)).await;
        Ok(kid)
    })
    .await
}

/// Removes the key with this id immediately, and invalidates every token that it signed.
///
/// # Errors
///
/// [`KeysError::NoSuchKey`], [`KeysError::WrongSecret`], [`KeysError::Start`].
pub async fn revoke_key(settings: &Settings, kid: &str) -> Result<(), KeysError> {
    set_umask();
    let secret = existing_secret(settings)?;
    let was_revoked = with_keys(settings, &secret, async |keys, db| {
        let was_revoked = keys.revoke(kid).await?;
        if was_revoked {
            record(db, Action::new(&Clock::system(), "keys revoke").on(&kid)).await;
        }
        Ok(was_revoked)
    });
    if was_revoked.await? { Ok(()) } else { Err(KeysError::NoSuchKey { kid: kid.to_owned() }) }
}

/// Returns the existing master secret. Never creates a secret, because a new secret can't decrypt the keys.
pub(super) fn existing_secret(settings: &Settings) -> Result<MasterSecret, StartError> {
    match settings.secret {
        Some(_) => Ok(master_secret(settings)?),
        None => Ok(MasterSecret::read(&settings.secret_file)?),
    }
}

/// Opens the database and runs `work` on its keys.
pub(super) async fn with_keys<T>(
    settings: &Settings,
    secret: &MasterSecret,
    work: impl AsyncFnOnce(KeyRotation, &Db) -> Result<T, TokensError>,
) -> Result<T, KeysError> {
    let db = open_existing(settings).await?;
    let result = work(KeyRotation::new(&db, Clock::system(), secret), &db).await;
    db.close().await;
    Ok(result?)
}
