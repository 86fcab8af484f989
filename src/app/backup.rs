//! The backups of a server: their directory, and the backup before a migration.

use super::{StartError, master_secret};
use crate::backups::{BackupError, Backups};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{self, MigrationState};
use crate::error_chain::error_chain;

/// Returns the backups of the configured database. Creates no secret.
///
/// # Errors
///
/// [`StartError::Secret`].
pub(crate) fn backups_of(settings: &Settings, clock: Clock) -> Result<Backups, StartError> {
    let has_secret = settings.secret.is_some() || settings.secret_file.exists();
    let secret = if has_secret { Some(master_secret(settings)?) } else { None };
    let dir = settings.backups.dir.clone().unwrap_or_else(|| settings.data_dir.join("backups"));
    let is_encrypted = settings.backups.is_encrypted;
    Ok(Backups { url: settings.database_url.expose().to_owned(), dir, secret, is_encrypted, clock })
}

/// Makes a backup if migration steps are pending. If the database is on a server and the programs for a
/// backup are not installed, only logs a warning, because the operator probably makes backups in another way.
///
/// # Errors
///
/// [`StartError::Backup`].
pub(crate) async fn back_up_before_migration(settings: &Settings, clock: &Clock) -> Result<(), StartError> {
    let url = settings.database_url.expose();
    if !settings.backups.before_migration || db::is_empty(url).await? {
        return Ok(());
    }
    let is_pending =
        db::migration_status(url).await?.iter().any(|step| step.state == MigrationState::Pending);
    if !is_pending {
        return Ok(());
    }
    match backups_of(settings, clock.clone())?.create().await {
        Ok(created) => {
            tracing::info!(path = %created.path.display(), "made a backup before the migration");
            Ok(())
        }
        Err(error @ BackupError::NoTool { .. }) => {
            tracing::warn!(causes = error_chain(&error), "no backup was made before the migration");
            Ok(())
        }
        Err(error) => Err(StartError::Backup(error)),
    }
}
