//! The administrative commands. They change the database and the master secret while servers run.
//!
//! Running servers poll the changes from the database twice a second.

mod keys;

use crate::app::{StartError, create_data_dir, set_umask};
use crate::clients::{Clients, ClientsError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{self, OpenError};

pub use crate::clients::ClientCommand;
pub use crate::db::MigrateCommand;
pub use keys::{KeyCommand, KeysError, SecretCommand, keys, secrets};

/// Migrates the schema of the database or reports its state. Returns a line for each step.
///
/// # Errors
///
/// [`StartError`].
pub async fn migrate(settings: &Settings, command: MigrateCommand) -> Result<Vec<String>, StartError> {
    set_umask();
    if command == MigrateCommand::Up {
        create_data_dir(&settings.data_dir)?;
    }
    Ok(db::migrate(settings.database_url.expose(), command).await?)
}

/// Creates, lists or removes the credentials of other services. Returns lines for the operator, or the error
/// of the command.
///
/// # Errors
///
/// [`StartError`].
pub async fn manage_clients(
    settings: &Settings,
    command: ClientCommand,
) -> Result<Result<Vec<String>, ClientsError>, StartError> {
    set_umask();
    let url = settings.database_url.expose();
    let db = match db::open_existing(url).await {
        Err(OpenError::NotFound { path }) if matches!(command, ClientCommand::Add(_)) => {
            // The operator may create clients before the first start, or may be in the wrong directory.
            tracing::warn!(
                path,
                "there is no database here: creating one; run this command in the directory of the server"
            );
            create_data_dir(&settings.data_dir)?;
            db::open(url).await?
        }
        opened => opened?,
    };
    let done = Clients::new(db.clone(), Clock::system()).manage(&command).await;
    db.close().await;
    Ok(done)
}
