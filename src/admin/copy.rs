//! The command that copies everything to another database.
//!
//! The target gets the id, epoch and generation of the source. A server with the same secret and data
//! directory can therefore continue with the target, and clients need no change. If servers run during the
//! copy, the copy lacks the changes that the servers make after the copy has begun. A server that starts on
//! such a copy begins a new feed epoch, because the data directory records a newer generation.

use std::fs;
use std::time::{Duration, Instant};

use super::actions::log_done;
use crate::app::{StartError, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::{LockError, ServerLock};
use crate::db::{
    self, CopiedTable, CopyError, CopyMark, CopyProgress, MigrationState, OpenError, StoreError,
};
use crate::epochs::{DatabaseState, Epochs};
use crate::secrets::mask_url;

/// The table with the identity of the database.
pub(super) const IDENTITY_TABLE: &str = "feed_epoch";
/// How long to wait until the database server has closed the connections of a killed copy.
const KILLED_COPY_WAIT: Duration = Duration::from_secs(3);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Why a database can't be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyDatabaseError {
    /// The target is the source database itself.
    #[error("the target {0} is the configured database itself")]
    Same(String),
    /// The schema of the source is not up to date.
    #[error("the database {0} has pending migrations: run `tripgate migrate up` first")]
    Pending(String),
    /// The source is itself an incomplete copy.
    #[error("the database {0} is an incomplete copy: complete the copy first")]
    IncompleteSource(String),
    /// The target has tables of another program.
    #[error("the target {url} has tables of another program ({table}): copy to an empty database")]
    OtherProgram {
        /// The URL without its password.
        url: String,
        /// The first table of the other program.
        table: String,
    },
    /// The target has data that was not copied from this database.
    #[error("the target {0} has data of another installation: copy to an empty database")]
    Foreign(String),
    /// Servers have used the target since it was copied.
    #[error("servers have used the target {0} since it was copied: copy to an empty database")]
    Used(String),
    /// Servers use the target.
    #[error("{connections} connections use the target {url}: stop the servers on it first")]
    Busy {
        /// The URL without its password.
        url: String,
        /// The number of connections.
        connections: i64,
    },
    /// A server uses the SQLite target.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The databases can't be read or written.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<OpenError> for CopyDatabaseError {
    fn from(error: OpenError) -> Self {
        Self::Start(error.into())
    }
}

impl From<StoreError> for CopyDatabaseError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}

/// A verified copy.
#[derive(Debug)]
pub struct Copied {
    /// The URL of the source without its password.
    pub source: String,
    /// The URL of the target without its password.
    pub target: String,
    /// The tables, in the order in which they were copied.
    pub tables: Vec<CopiedTable>,
    /// Whether servers used the source during the copy. The target then lacks the changes that these servers
    /// made after the start of the copy.
    pub servers_running: bool,
    /// How long the copy took.
    pub duration: Duration,
}

/// Copies everything to the database at `target`, or only the changes since the last copy to this
/// database. Reads one snapshot of the source, even while servers run.
///
/// # Errors
///
/// [`CopyDatabaseError`].
pub async fn copy_database(
    settings: &Settings,
    target: &str,
    progress: &dyn Fn(CopyProgress<'_>),
) -> Result<Copied, CopyDatabaseError> {
    set_umask();
    let started = Instant::now();
    let source = settings.database_url.expose();
    require_other_database(source, target)?;
    require_migrated(source).await?;
    let source_use = use_of(source).await?;
    db::require_directory(target)?;
    let target_lock = db::sqlite_file(target)?.map(|file| ServerLock::acquire(&file)).transpose()?;
    let connections = connections(target).await?;
    if connections > 0 {
        return Err(CopyDatabaseError::Busy { url: mask_url(target), connections });
    }
    let origin = state_of(source).await?.database.to_string();
    require_own_target(source, target, &origin).await?;
    // Mark the target as an incomplete copy before the migration, so that no server starts on it if the copy
    // is interrupted.
    db::mark_copy(target, &CopyMark { origin: origin.clone(), generation: None }).await?;
    db::migrate_up(target).await?;
    let tables = db::copy_tables(source, target, IDENTITY_TABLE, progress).await?;
    let generation = Some(state_of(target).await?.generation);
    db::mark_copy(target, &CopyMark { origin, generation }).await?;
    let servers_running = source_use.is_used || db::other_connections(source).await? > 0;
    drop((target_lock, source_use));
    log_done("copy");
    Ok(Copied {
        source: mask_url(source),
        target: mask_url(target),
        tables,
        servers_running,
        duration: started.elapsed(),
    })
}

fn require_other_database(source: &str, target: &str) -> Result<(), CopyDatabaseError> {
    let path = |url| Ok::<_, OpenError>(db::sqlite_file(url)?.and_then(|path| fs::canonicalize(path).ok()));
    let (from, to) = (path(source)?, path(target)?);
    if source == target || (from.is_some() && from == to) {
        return Err(CopyDatabaseError::Same(mask_url(target)));
    }
    Ok(())
}

/// Whether a server uses a database. For a SQLite database that no server uses, this value holds the lock of
/// the database: no server can start on the database until this value is dropped.
#[derive(Debug)]
struct SourceUse {
    is_used: bool,
    _lock: Option<ServerLock>,
}

async fn use_of(url: &str) -> Result<SourceUse, CopyDatabaseError> {
    let Some(file) = db::sqlite_file(url)? else {
        return Ok(SourceUse { is_used: connections(url).await? > 0, _lock: None });
    };
    match ServerLock::acquire(&file) {
        Ok(lock) => Ok(SourceUse { is_used: false, _lock: Some(lock) }),
        Err(LockError::Held { .. }) => Ok(SourceUse { is_used: true, _lock: None }),
        Err(error) => Err(error.into()),
    }
}

/// Returns the number of connections to a database on a server. If there are connections, waits up to
/// [`KILLED_COPY_WAIT`] until they are closed, because they can belong to a killed copy.
async fn connections(url: &str) -> Result<i64, CopyDatabaseError> {
    let started = Instant::now();
    loop {
        let connections = db::other_connections(url).await?;
        if connections == 0 || started.elapsed() >= KILLED_COPY_WAIT {
            return Ok(connections);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Checks that the source exists, has the current schema, and is not an incomplete copy.
async fn require_migrated(source: &str) -> Result<(), CopyDatabaseError> {
    let steps = db::migration_status(source).await?;
    if steps.iter().any(|step| step.state == MigrationState::Pending) {
        return Err(CopyDatabaseError::Pending(mask_url(source)));
    }
    if db::find_copy_mark(source).await?.is_some_and(|mark| mark.generation.is_none()) {
        return Err(CopyDatabaseError::IncompleteSource(mask_url(source)));
    }
    Ok(())
}

/// Returns the state of a database. If no server has opened the database yet, creates its id.
async fn state_of(url: &str) -> Result<DatabaseState, CopyDatabaseError> {
    let db = db::open_existing(url).await?;
    let state = Epochs::new(db.clone(), Clock::system()).open().await;
    db.close().await;
    Ok(state?)
}

/// Checks that the target is empty, or a copy of the same database that no server has changed since the copy.
async fn require_own_target(source: &str, target: &str, origin: &str) -> Result<(), CopyDatabaseError> {
    let url = || mask_url(target);
    if let Some(table) = db::find_foreign_table(source, target).await? {
        return Err(CopyDatabaseError::OtherProgram { url: url(), table });
    }
    let Some(mark) = db::find_copy_mark(target).await? else {
        return if db::has_rows(target).await? { Err(CopyDatabaseError::Foreign(url())) } else { Ok(()) };
    };
    if mark.origin != origin {
        return Err(CopyDatabaseError::Foreign(url()));
    }
    let Some(generation) = mark.generation else { return Ok(()) };
    let state = state_of(target).await?;
    // A server raises the generation when it starts, so a different generation means that a server has used
    // the target.
    if state.generation != generation || state.database.to_string() != origin {
        return Err(CopyDatabaseError::Used(url()));
    }
    Ok(())
}
