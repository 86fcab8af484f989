//! The command that rehearses an upgrade: it runs the pending migration steps on a copy of the database.

use std::time::{Duration, Instant};

use super::copy::IDENTITY_TABLE;
use crate::app::{StartError, set_umask};
use crate::config::Settings;
use crate::db::{self, CopyError, CopyMark, MigrationState, OpenError, Rehearsal, StoreError, TemporaryFile};
use crate::secrets::mask_url;

/// Why an upgrade can't be rehearsed. A failed migration step is not an error, but part of the result.
#[derive(Debug, thiserror::Error)]
pub enum RehearseUpgradeError {
    /// The database is on a server, and no scratch database was given.
    #[error(
        "a rehearsal needs a copy of the database: create an empty database on the server and name it with --to URL, or \
         restore a dump to a scratch database, set TRIPGATE_DATABASE_URL to its URL, and run `tripgate migrate up`"
    )]
    NeedsScratch,
    /// The scratch database has tables.
    #[error("the database {0} is not empty: a rehearsal needs an empty database")]
    NotEmpty(String),
    /// The database can't be copied to a file.
    #[error("failed to copy the database to {path}")]
    Snapshot {
        /// The path of the copy.
        path: String,
        /// The cause.
        source: StoreError,
    },
    /// The database can't be copied to the scratch database.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<OpenError> for RehearseUpgradeError {
    fn from(error: OpenError) -> Self {
        Self::Start(error.into())
    }
}

/// The result of a rehearsal.
#[derive(Debug)]
pub struct RehearsedUpgrade {
    /// The URL of the database without its password.
    pub database: String,
    /// How long it took to copy the database.
    pub copy_duration: Duration,
    /// The result on the copy; `None` if no step is pending.
    pub rehearsal: Option<Rehearsal>,
    /// The maximum space that the backup before the migration needs, in bytes.
    pub backup_bytes: u64,
}

/// Runs the pending steps on a copy of the database, even while servers run, and changes nothing else. If
/// `scratch` names an empty database, leaves the copy there. Otherwise copies a SQLite database to a temporary
/// file beside it.
///
/// # Errors
///
/// [`RehearseUpgradeError`].
pub async fn rehearse_upgrade(
    settings: &Settings,
    scratch: Option<&str>,
) -> Result<RehearsedUpgrade, RehearseUpgradeError> {
    set_umask();
    let url = settings.database_url.expose();
    let steps = db::migration_status(url).await?;
    let applied = steps.iter().filter(|step| step.state == MigrationState::Applied).count();
    let mut rehearsed = RehearsedUpgrade {
        database: mask_url(url),
        copy_duration: Duration::ZERO,
        rehearsal: None,
        backup_bytes: 0,
    };
    if applied == steps.len() {
        return Ok(rehearsed);
    }
    let started = Instant::now();
    let file = db::sqlite_file(url)?;
    let rehearsal = match (file.as_deref(), scratch) {
        (None, None) => return Err(RehearseUpgradeError::NeedsScratch),
        (_, Some(scratch)) => {
            copy_to(url, scratch, applied).await?;
            rehearsed.copy_duration = started.elapsed();
            db::rehearse(scratch).await?
        }
        (Some(file), None) => {
            let copy =
                TemporaryFile::new(db::with_suffix(file, &format!(".{}.rehearsal", std::process::id())));
            let path = || copy.path().display().to_string();
            let taken = db::snapshot(url, copy.path()).await;
            taken.map_err(|source| RehearseUpgradeError::Snapshot { path: path(), source })?;
            rehearsed.copy_duration = started.elapsed();
            db::rehearse(&db::file_url(copy.path())).await?
        }
    };
    // A backup of SQLite needs space for an uncompressed copy of the database, and for the compressed file
    // beside it. A dump of a database server needs no more space than these two files.
    let is_backed_up = settings.backups.before_migration;
    rehearsed.backup_bytes = if is_backed_up { rehearsal.bytes_before * 2 } else { 0 };
    rehearsed.rehearsal = Some(rehearsal);
    Ok(rehearsed)
}

/// Copies a database with an older schema to an empty database. The copy is marked as incomplete, so that no
/// server starts on it.
async fn copy_to(url: &str, scratch: &str, steps: usize) -> Result<(), RehearseUpgradeError> {
    db::require_directory(scratch)?;
    if !db::has_no_tables(scratch).await? {
        return Err(RehearseUpgradeError::NotEmpty(mask_url(scratch)));
    }
    db::migrate_first(scratch, steps).await?;
    db::mark_copy(scratch, &CopyMark { origin: "rehearsal".to_owned(), generation: None }).await?;
    db::copy_tables(url, scratch, IDENTITY_TABLE, &|_| {}).await?;
    Ok(())
}
