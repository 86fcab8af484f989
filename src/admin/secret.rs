//! Prepares and replaces the master secret, and re-encrypts the signing keys and the secrets of authenticator apps.

use std::path::PathBuf;

use super::actions::{log_done, record_done};
use super::keys::{KeysError, existing_secret, with_keys};
use super::open_existing;
use crate::app::{StartError, set_umask};
use crate::config::Settings;
use crate::secrets::{MasterSecret, SecretFile};
use crate::totp;

/// The result of preparing the next master secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPreparation {
    /// The next secret was added to the file.
    Prepared {
        /// The secret file.
        path: PathBuf,
    },
    /// The file contains the next secret already. The file was not changed.
    AlreadyPrepared {
        /// The secret file.
        path: PathBuf,
    },
}

/// The result of rotating the master secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRotation {
    /// An earlier rotation was interrupted and is now complete. The secret was not changed.
    CompletedEarlierRotation {
        /// The number of keys that were re-encrypted.
        keys: usize,
    },
    /// The file contains a new current secret.
    Rotated {
        /// The secret file.
        path: PathBuf,
        /// The number of keys that were re-encrypted.
        keys: usize,
        /// Whether the new secret was prepared, so that every replica could load it before the rotation.
        was_prepared: bool,
        /// How long sessions can depend on the previous secret after every server has restarted, in seconds.
        previous_needed_secs: u32,
    },
    /// The secret comes from the settings and was not changed. The signing keys were re-encrypted under it.
    ReencryptedConfigured {
        /// The number of keys that were re-encrypted.
        keys: usize,
    },
}

/// Adds the next secret to the secret file.
///
/// # Errors
///
/// [`KeysError::SecretInSettings`], [`KeysError::Start`].
pub async fn prepare_secret(settings: &Settings) -> Result<SecretPreparation, KeysError> {
    set_umask();
    if settings.secret.is_some() {
        return Err(KeysError::SecretInSettings);
    }
    let path = settings.secret_file.clone();
    let was_added =
        SecretFile::open(&path).and_then(|mut file| file.prepare()).map_err(StartError::Secret)?;
    if was_added {
        log_done("secret prepare");
    }
    Ok(if was_added {
        SecretPreparation::Prepared { path }
    } else {
        SecretPreparation::AlreadyPrepared { path }
    })
}

/// Replaces the secret in the secret file and re-encrypts the keys under the new secret. If an earlier
/// rotation was interrupted, only completes that rotation. If the secret comes from the settings, only
/// re-encrypts the keys.
///
/// # Errors
///
/// [`KeysError::WrongSecret`], [`KeysError::Start`].
pub async fn rotate_secret(settings: &Settings) -> Result<SecretRotation, KeysError> {
    set_umask();
    let rotation = rotate(settings).await?;
    record_done(settings, "secret rotate").await;
    Ok(rotation)
}

async fn rotate(settings: &Settings) -> Result<SecretRotation, KeysError> {
    if settings.secret.is_some() {
        let keys = reencrypt(settings, &existing_secret(settings)?).await?;
        return Ok(SecretRotation::ReencryptedConfigured { keys });
    }
    let mut file = SecretFile::open(&settings.secret_file).map_err(StartError::Secret)?;
    // Before the file changes, check that its secrets decrypt the keys, and complete an interrupted rotation.
    let keys = reencrypt(settings, &MasterSecret::from(file.secrets().clone())).await?;
    if keys > 0 {
        return Ok(SecretRotation::CompletedEarlierRotation { keys });
    }
    // Write the file first. If the re-encryption fails, the file then contains the old and the new secret,
    // and the command can be repeated.
    let was_prepared = file.advance().map_err(StartError::Secret)?;
    let keys = reencrypt(settings, &MasterSecret::from(file.secrets().clone())).await?;
    Ok(SecretRotation::Rotated {
        path: settings.secret_file.clone(),
        keys,
        was_prepared,
        previous_needed_secs: settings.refresh_idle_secs,
    })
}

/// Re-encrypts the keys, and the secrets of authenticator apps, under the current secret. Returns the number of keys.
async fn reencrypt(settings: &Settings, secret: &MasterSecret) -> Result<usize, KeysError> {
    let db = open_existing(settings).await?;
    let secrets = totp::reencrypt(&db, secret).await;
    db.close().await;
    secrets.map_err(StartError::Store)?;
    // Re-encrypt the keys last, because they show whether a rotation was interrupted.
    with_keys(settings, secret, async |keys, _| keys.reencrypt().await).await
}
