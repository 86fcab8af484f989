//! Opens a database: configures the connections for each backend and migrates the schema.
//!
//! Replicas can start at the same time, so the schema is migrated under a lock of the database. A schema that
//! is newer than this program is rejected, because this program would write rows that violate newer rules.

use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use migration::SchemaManager;
use sea_orm::sqlx::Connection;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement, sqlx,
};

use super::connection_options::{
    CONNECT_TIMEOUT, file_of, is_sqlite, lane_options, server_options, sqlite_options,
};
use super::full_disk::{ImmutableReaders, connect_immutable, is_disk_full};
use super::lanes::{Lane, Lanes};
use super::migration_lock::run_locked;
use super::opened_connections::OpenedConnections;
use super::read_pool::ReadPool;
use super::row_readers::DatabaseFile;
use super::sqlite_files::{SqliteFiles, wal_of};
use super::sqlite_writer::Writer;
use super::steps::step_names;
use super::{Backend, Db, StoreError};
use crate::secrets::mask_url;

/// The delay before the next attempt to open a SQLite file that another process has locked.
const LOCKED_RETRY: Duration = Duration::from_millis(20);

/// Why the database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the SQLite file does not exist.
    #[error("the directory {path} of the database does not exist: create it, or correct database_url")]
    Directory {
        /// The path of the directory.
        path: String,
    },
    /// The SQLite file does not exist or is empty, and the operation does not create it.
    #[error("there is no database at {path}: run `tripgate migrate` or start the server to create it")]
    NotFound {
        /// The path of the file.
        path: String,
    },
    /// The database can't be reached or opened.
    #[error("failed to open the database {url}")]
    Unreachable {
        /// The URL without its password.
        url: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version of Tripgate has migrated the schema.
    #[error(
        "the database has a newer schema than this version supports ({step}): start the newer version, or \
         restore a backup"
    )]
    Newer {
        /// The first unknown migration step.
        step: String,
    },
    /// A migration step failed.
    #[error("failed to migrate the schema of the database")]
    Migration {
        /// The cause.
        source: DbErr,
    },
}

/// A step of the schema's migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStep {
    /// The name of the step. It contains the date on which the step was written.
    pub name: String,
    /// Whether the step was applied to the database.
    pub state: MigrationState,
}

/// The state of a migration step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// The step was applied.
    Applied,
    /// The step was not applied, or was reverted.
    Pending,
}

/// Opens an existing database.
///
/// # Errors
///
/// [`OpenError::NotFound`], and the errors of [`open`].
pub async fn open_existing(url: &str) -> Result<Db, OpenError> {
    require_existing(url)?;
    open(url).await
}

/// Returns true if the database has no schema, or if the SQLite file does not exist. Creates nothing.
///
/// # Errors
///
/// [`OpenError`].
pub async fn is_empty(url: &str) -> Result<bool, OpenError> {
    if sqlite_file(url)?.is_some_and(|path| is_missing(&path)) {
        return Ok(true);
    }
    check_connection(url).await?;
    let options =
        if is_sqlite(url) { sqlite_options(url, Some(Lane::default())) } else { server_options(url, 1) };
    let unreachable = |error: DbErr| OpenError::Unreachable { url: mask_url(url), source: error.into() };
    let connection = match Database::connect(options).await {
        // The disk is full, but the file is not empty. `open` decides whether the database can be used.
        Err(_) if sqlite_file(url)?.is_some_and(|path| is_disk_full(&path)) => return Ok(false),
        connected => connected.map_err(unreachable)?,
    };
    let applied = applied(&connection).await;
    connection.close().await.map_err(unreachable)?;
    Ok(applied?.is_empty())
}

/// Opens the database at `url` and migrates its schema. The scheme is `sqlite`, `postgres`, `postgresql` or
/// `mysql`.
///
/// # Errors
///
/// [`OpenError`]. Each message is one line.
pub async fn open(url: &str) -> Result<Db, OpenError> {
    let backend = if is_sqlite(url) {
        require_directory(url)?;
        match connect(sqlite_options(url, None)).await {
            Ok(writer) => open_sqlite(url, writer).await?,
            Err(error) => open_on_full_disk(url).await.ok_or_else(|| unreachable(url)(error))?,
        }
    } else {
        migrate_up(url).await?;
        let opened = OpenedConnections::default();
        let pools = Lanes::from_fn(|lane| Database::connect(lane_options(url, lane, &opened)));
        Backend::Server { pools: pools.await.map_err(unreachable(url))?, opened }
    };
    Ok(Db { backend, lane: Lane::default(), writes: Arc::default() })
}

/// Opens the SQLite database at `url` without a journal and without syncs, and migrates its schema. No other
/// process may use the file. After an error or a crash the file is possibly damaged, and the caller must delete it.
/// The caller must sync the file before it takes the place of another database.
///
/// A statement that changes most rows of a table takes half as long as in WAL mode, which writes each page twice.
///
/// # Errors
///
/// [`OpenError`]. Each message is one line.
pub async fn open_unjournaled(url: &str) -> Result<Db, OpenError> {
    let writer = connect(sqlite_options(url, None)).await.map_err(unreachable(url))?;
    for pragma in ["PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"] {
        writer.execute_unprepared(pragma).await.map_err(unreachable(url))?;
    }
    Ok(Db { backend: open_sqlite(url, writer).await?, lane: Lane::default(), writes: Arc::default() })
}

/// Migrates the schema on the writer's connection, and opens the read-only connections.
async fn open_sqlite(url: &str, writer: DatabaseConnection) -> Result<Backend, OpenError> {
    let unreachable = unreachable(url);
    apply_pending(&writer).await?;
    // This statement fails on a read-only disk. SQLite opens a file on such a disk, but rejects every write,
    // even a write that changes nothing.
    writer.execute_unprepared("DELETE FROM seaql_migrations WHERE 1 = 0").await.map_err(&unreachable)?;
    let path = sqlite_file(url)?.unwrap_or_default();
    let readers = Lanes::from_fn(|lane| {
        let options = sqlite_options(url, Some(lane));
        let (unreachable, path) = (&unreachable, path.clone());
        async move {
            let pool = Database::connect(options).await.map_err(unreachable)?;
            Ok(ReadPool::for_lane(&pool, lane, DatabaseFile { path, is_immutable: false }))
        }
    });
    let files = SqliteFiles::watch(&path);
    let writer = Writer::start(writer, sqlite_options(url, None), files.clone());
    Ok(Backend::Sqlite { writer, readers: readers.await?, files })
}

/// Opens a SQLite database for reads, if the disk is full and the schema is up to date. The writer connects
/// when there is space.
async fn open_on_full_disk(url: &str) -> Option<Backend> {
    let connection = connect_immutable(url).await?;
    let applied = applied(&connection).await;
    drop(connection.close().await);
    if applied.ok()? != step_names() {
        return None;
    }
    let immutable = ImmutableReaders::open(url).await.ok()?;
    tracing::warn!("the disk is full: writes fail until there is space");
    let (readers, files) = (immutable.pools(), SqliteFiles::watch_database(&file_of(url).ok()??));
    let writer = Writer::start_without_space(sqlite_options(url, None), files.clone(), immutable);
    Some(Backend::Sqlite { writer, readers, files })
}

/// Applies all pending steps. Creates a SQLite database that does not exist. Returns every step.
///
/// # Errors
///
/// [`OpenError`]. Each message is one line.
pub async fn migrate_up(url: &str) -> Result<Vec<MigrationStep>, OpenError> {
    require_directory(url)?;
    let connection = connect_once(url).await?;
    let result = apply_pending(&connection).await;
    connection.close().await.map_err(unreachable(url))?;
    result
}

/// Reverts the newest `count` steps, and deletes the data that these steps added. Returns every step.
///
/// # Errors
///
/// [`OpenError::NotFound`], and the errors of [`migrate_up`].
pub async fn migrate_down(url: &str, count: u32) -> Result<Vec<MigrationStep>, OpenError> {
    require_existing(url)?;
    let connection = connect_once(url).await?;
    let result = revert(&connection, count).await;
    connection.close().await.map_err(unreachable(url))?;
    result
}

/// Returns every step with its state. Changes nothing.
///
/// # Errors
///
/// [`OpenError::NotFound`], and the errors of [`migrate_up`].
pub async fn migration_status(url: &str) -> Result<Vec<MigrationStep>, OpenError> {
    require_existing(url)?;
    let connection = match connect_once(url).await {
        // The disk is possibly full. An immutable connection needs no space.
        Err(error) => connect_immutable(url).await.ok_or(error)?,
        connected => connected?,
    };
    let result = accepted_steps(&connection).await;
    connection.close().await.map_err(unreachable(url))?;
    result
}

async fn apply_pending(connection: &DatabaseConnection) -> Result<Vec<MigrationStep>, OpenError> {
    let steps = accepted_steps(connection).await?;
    if steps.iter().all(|step| step.state == MigrationState::Applied) {
        return Ok(steps);
    }
    run_locked(connection, None).await.map_err(|source| OpenError::Migration { source })?;
    Ok(steps_with_state(&applied(connection).await?))
}

async fn revert(connection: &DatabaseConnection, count: u32) -> Result<Vec<MigrationStep>, OpenError> {
    accepted_steps(connection).await?;
    run_locked(connection, Some(count)).await.map_err(|source| OpenError::Migration { source })?;
    Ok(steps_with_state(&applied(connection).await?))
}

/// Returns every step. Rejects a database with a newer schema.
pub(super) async fn accepted_steps(connection: &DatabaseConnection) -> Result<Vec<MigrationStep>, OpenError> {
    let applied = applied(connection).await?;
    let known = step_names();
    match applied.iter().find(|name| !known.contains(name)) {
        Some(step) => Err(OpenError::Newer { step: step.clone() }),
        None => Ok(steps_with_state(&applied)),
    }
}

fn steps_with_state(applied: &[String]) -> Vec<MigrationStep> {
    let step = |name: String| {
        let is_applied = applied.contains(&name);
        let state = if is_applied { MigrationState::Applied } else { MigrationState::Pending };
        MigrationStep { name, state }
    };
    step_names().into_iter().map(step).collect()
}

/// Returns the applied steps. An empty database has no steps, and no table that lists them.
async fn applied(connection: &DatabaseConnection) -> Result<Vec<String>, OpenError> {
    let failed = |source| OpenError::Migration { source };
    let manager = SchemaManager::new(connection);
    if !manager.has_table("seaql_migrations").await.map_err(failed)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT version FROM seaql_migrations ORDER BY version";
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
    rows.map_err(failed)?.iter().map(|row| row.try_get_by_index(0).map_err(failed)).collect()
}

/// Connects for a migration. Reports why the database can't be reached.
pub(super) async fn connect_once(url: &str) -> Result<DatabaseConnection, OpenError> {
    check_connection(url).await?;
    // On a server, a second connection renews the migration lock while the migration runs.
    let options = if is_sqlite(url) { sqlite_options(url, None) } else { server_options(url, 2) };
    connect(options).await.map_err(unreachable(url))
}

/// Connects. Retries while another process opens the same SQLite file. If the file is locked, the switch to
/// WAL fails at once, because SQLite's busy timeout does not apply to the switch.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    let started = Instant::now();
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if started.elapsed() < CONNECT_TIMEOUT && is_locked(&error) => {
                tokio::time::sleep(LOCKED_RETRY).await;
            }
            result => return result,
        }
    }
}

fn is_locked(error: &DbErr) -> bool {
    matches!(StoreError::from(error.clone()), StoreError::Conflict(_))
}

pub(super) fn unreachable(url: &str) -> impl Fn(DbErr) -> OpenError {
    let url = mask_url(url);
    move |error| OpenError::Unreachable { url: url.clone(), source: error.into() }
}

/// Connects to a server once, without a pool. A pool retries until its timeout and then reports only the
/// timeout. Does nothing for SQLite.
pub(super) async fn check_connection(url: &str) -> Result<(), OpenError> {
    let attempt = async {
        if url.starts_with("mysql:") {
            sqlx::MySqlConnection::connect(url).await?.close().await
        } else if is_sqlite(url) {
            Ok(())
        } else {
            sqlx::PgConnection::connect(url).await?.close().await
        }
    };
    let source: Box<dyn std::error::Error + Send + Sync> =
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(())) => return Ok(()),
            // Omit the driver's own text, which ends with a line number of the database server's source code.
            Ok(Err(sqlx::Error::Database(error))) => error.message().to_owned().into(),
            Ok(Err(error)) => error.into(),
            Err(elapsed) => elapsed.into(),
        };
    Err(OpenError::Unreachable { url: mask_url(url), source })
}

/// Returns the file of a SQLite database, or `None` for a server.
///
/// # Errors
///
/// [`OpenError::Unreachable`] if the URL is not valid.
pub fn sqlite_file(url: &str) -> Result<Option<PathBuf>, OpenError> {
    file_of(url).map_err(|error| OpenError::Unreachable { url: url.to_owned(), source: error.into() })
}

/// Returns the number of connections of a server's pool that are in use, and the maximum number of
/// connections.
pub(super) fn pool_usage(pool: &DatabaseConnection) -> (u32, u32) {
    let usage = |size: u32, idle: usize, max| (size.saturating_sub(u32::try_from(idle).unwrap_or(size)), max);
    match pool.get_database_backend() {
        DbBackend::Postgres => {
            let pool = pool.get_postgres_connection_pool();
            usage(pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
        DbBackend::MySql => {
            let pool = pool.get_mysql_connection_pool();
            usage(pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
        _ => (0, 0),
    }
}

/// Checks that the directory of a SQLite file exists. Creating the directory would hide a misspelled path.
///
/// # Errors
///
/// [`OpenError::Directory`].
pub fn require_directory(url: &str) -> Result<(), OpenError> {
    match sqlite_file(url)?.as_deref().and_then(Path::parent) {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(OpenError::Directory { path: parent.display().to_string() })
        }
        _ => Ok(()),
    }
}

fn require_existing(url: &str) -> Result<(), OpenError> {
    match sqlite_file(url)? {
        Some(path) if is_missing(&path) => Err(OpenError::NotFound { path: path.display().to_string() }),
        _ => Ok(()),
    }
}

/// Returns true if the SQLite file and its write-ahead log are each missing or empty. Returns false if one of
/// them can't be checked, so that opening the database reports the error.
fn is_missing(path: &Path) -> bool {
    let is_empty = |path: &Path| {
        std::fs::metadata(path).map_or_else(|error| error.kind() == NotFound, |file| file.len() == 0)
    };
    is_empty(path) && is_empty(&wal_of(path))
}
