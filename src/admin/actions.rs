//! Records administrative commands, and lists the records.

use futures_util::FutureExt;

use super::open_existing;
use crate::app::{StartError, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db::{Db, StoreError};
use crate::error_chain::error_chain;
use crate::operators::{self, Action};

/// Returns the newest records of administrative commands, the newest first.
///
/// # Errors
///
/// [`StartError`].
pub async fn list_actions(settings: &Settings, limit: u64) -> Result<Vec<Action>, StartError> {
    set_umask();
    let db = open_existing(settings).await?;
    let found = operators::list(&db, limit).await;
    db.close().await;
    Ok(found?)
}

/// Records a command of the operator in the database, in a transaction of its own, and writes it to the audit
/// log. If the record can't be stored in the database, logs a warning; the command itself does not fail.
pub(super) async fn record(db: &Db, action: Action) {
    let written: Result<(), StoreError> =
        db.write(action.clone(), |tx, action| operators::record(tx, action).boxed()).await;
    if let Err(error) = written {
        tracing::warn!(causes = error_chain(&error), "failed to record the administrative command");
    }
    action.log();
}

/// Writes a command to the audit log but not to the database. Some commands must not open the database,
/// because opening the database would migrate the schema.
pub(super) fn log_done(command: &str) {
    Action::new(&Clock::system(), command).log();
}

/// Like [`record`], for a command that has closed the database.
pub(super) async fn record_done(settings: &Settings, command: &str) {
    let action = Action::new(&Clock::system(), command);
    match open_existing(settings).await {
        Ok(db) => {
            record(&db, action).await;
            db.close().await;
        }
        Err(error) => {
            tracing::warn!(causes = error_chain(&error), "failed to record the administrative command");
            action.log();
        }
    }
}
