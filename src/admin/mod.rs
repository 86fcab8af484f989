//! The administrative commands. They change the database and the master secret while servers run.
//!
//! The functions return data; the command line formats it. Running servers poll the changes from the database
//! twice a second.

mod clients;
mod keys;
mod secret;

use crate::app::{StartError, create_data_dir, set_umask};
use crate::config::Settings;
use crate::db::{self, Db, MigrationStep, OpenError};

pub use clients::{ManageClientsError, add_client, list_clients, remove_client};
pub use keys::{KeysError, list_keys, revoke_key, rotate_key};
pub use secret::{SecretPreparation, SecretRotation, prepare_secret, rotate_secret};

/// Applies all pending steps of the schema. Returns every step.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate_up(settings: &Settings) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    create_data_dir(&settings.data_dir)?;
    Ok(db::migrate_up(settings.database_url.expose()).await?)
}

/// Reverts the newest `count` steps of the schema, including their data. Returns every step.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate_down(settings: &Settings, count: u32) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    Ok(db::migrate_down(settings.database_url.expose(), count).await?)
}

/// Returns every step of the schema with its state.
///
/// # Errors
///
/// [`StartError`].
pub async fn migration_status(settings: &Settings) -> Result<Vec<MigrationStep>, StartError> {
    set_umask();
    Ok(db::migration_status(settings.database_url.expose()).await?)
}

/// Opens the database, which must exist.
async fn open_existing(settings: &Settings) -> Result<Db, StartError> {
    Ok(db::open_existing(settings.database_url.expose()).await?)
}

/// Opens the database. Creates it, with a warning, if it does not exist.
async fn open_or_create(settings: &Settings) -> Result<Db, StartError> {
    match open_existing(settings).await {
        Err(StartError::Database(OpenError::NotFound { path })) => {
            // The operator may create clients before the first start, or may be in the wrong directory.
            tracing::warn!(
                path,
                "there is no database here: creating one; run this command in the directory of the server"
            );
            create_data_dir(&settings.data_dir)?;
            Ok(db::open(settings.database_url.expose()).await?)
        }
        opened => opened,
    }
}
