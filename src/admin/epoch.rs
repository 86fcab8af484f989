//! The command that begins a new feed epoch after a backup was restored.

use super::actions::record;
use crate::app::{StartError, remembered, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::DatabaseRecord;
use crate::db;
use crate::epochs::{Epochs, Renewal, Renewed};
use crate::operators::Action;

/// Begins a new feed epoch (see [`crate::epochs`]), even while servers run. If there is a data directory, also
/// updates its file `database.json`, which names the database that the directory belongs to.
///
/// # Errors
///
/// [`StartError`].
pub async fn renew_epoch(settings: &Settings, end_sessions: bool) -> Result<Renewed, StartError> {
    set_umask();
    let db = db::open_existing(settings.database_url.expose()).await?;
    let renewed = renew(settings, &Epochs::new(db.clone(), Clock::system()), end_sessions).await;
    if renewed.is_ok() {
        record(&db, Action::new(&Clock::system(), "epoch renew")).await;
    }
    db.close().await;
    renewed
}

async fn renew(settings: &Settings, epochs: &Epochs, end_sessions: bool) -> Result<Renewed, StartError> {
    let record = DatabaseRecord::in_dir(&settings.data_dir);
    // Ignore a record that can't be read, because the command replaces it.
    let known = record.read().ok().flatten();
    let state = epochs.open().await?;
    let known = known.filter(|known| known.database == state.database);
    let above_generation = known.map_or(0, |known| known.generation);
    let renewed = epochs.renew(Renewal { above_generation, end_sessions }).await?;
    // If the command and the server run on different machines, the command has no data directory.
    if settings.data_dir.is_dir() {
        record.replace(&remembered(&renewed.state))?;
    }
    Ok(renewed)
}
