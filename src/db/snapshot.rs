//! Copies a SQLite database while other processes use it, and inspects a copy.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use sea_orm::sqlx::{self, Connection as _};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};

use super::connection_options::sqlite_options;
use super::integrity::find_fault;
use super::lanes::Lane;
use super::pace::Pace;
use super::{OpenError, StoreError};
use crate::thread_priority;

/// The number of instructions of SQLite's virtual machine between two checks of the progress of a copy.
const CHECK_EVERY: i32 = 1000;

/// What a copy contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The number of rows of each table.
    pub tables: BTreeMap<String, i64>,
    /// The applied steps of the schema.
    pub steps: Vec<String>,
    /// The first fault in the structure, if the copy is damaged.
    pub fault: Option<String>,
}

/// Returns the URL of a SQLite file.
pub fn file_url(path: &Path) -> String {
    format!("sqlite://{}", path.to_string_lossy().replace('%', "%25").replace('?', "%3F"))
}

/// Copies a SQLite database to a new file, in one consistent state. The copy blocks no writer, because it is
/// a reader in WAL mode.
///
/// # Errors
///
/// [`StoreError`].
pub async fn snapshot(url: &str, to: &Path) -> Result<(), StoreError> {
    let pool = Database::connect(sqlite_options(url, Some(Lane::default()))).await?;
    let copied = async {
        let mut connection = pool.get_sqlite_connection_pool().acquire().await?.detach();
        let mut progress = Progress::new(to);
        // SQLite calls this progress handler on the connection's thread, so a pause delays only the copy.
        let proceed = move || {
            progress.pause();
            true
        };
        connection.lock_handle().await?.set_progress_handler(CHECK_EVERY, proceed);
        let target = to.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await?;
        connection.close().await
    }
    .await;
    pool.close().await?;
    copied.map_err(|error| StoreError::from(DbErr::Exec(RuntimeErr::SqlxError(error.into()))))
}

/// The progress of a copy.
struct Progress {
    target: PathBuf,
    file: Option<File>,
    bytes: u64,
    pace: Pace,
}

impl Progress {
    fn new(target: &Path) -> Self {
        Self { target: target.to_owned(), file: None, bytes: 0, pace: Pace::default() }
    }

    /// Pauses the copy if enough was written since the last pause.
    fn pause(&mut self) {
        if self.file.is_none() {
            thread_priority::lower();
            self.file = File::open(&self.target).ok();
        }
        if let Some(file) = &self.file
            && let Ok(metadata) = file.metadata()
        {
            let written = metadata.len().saturating_sub(self.bytes);
            self.bytes = metadata.len();
            // Ignore an error of the sync, because SQLite reports errors of the disk.
            drop(self.pace.wrote(written, file));
        }
    }
}

/// Moves the changes of the write-ahead log into the file of a SQLite database that no other process uses. Does
/// nothing if the database can't be opened.
pub async fn checkpoint(url: &str) {
    if let Ok(connection) = Database::connect(sqlite_options(url, None)).await {
        drop(connection.execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await);
        drop(connection.close().await);
    }
}

/// Inspects a SQLite file that no other process uses.
///
/// # Errors
///
/// [`StoreError`].
pub async fn inspect(path: &Path) -> Result<Contents, StoreError> {
    let connection = Database::connect(sqlite_options(&file_url(path), Some(Lane::default()))).await?;
    let contents = contents(&connection).await;
    connection.close().await?;
    Ok(contents?)
}

async fn contents(connection: &DatabaseConnection) -> Result<Contents, DbErr> {
    if let Some(fault) = find_fault(connection).await? {
        return Ok(Contents { tables: BTreeMap::new(), steps: Vec::new(), fault: Some(fault) });
    }
    let texts = async |sql: &str| {
        let rows = connection.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
        rows.iter().map(|row| row.try_get_by_index::<String>(0)).collect::<Result<Vec<_>, _>>()
    };
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut tables = BTreeMap::new();
    for name in texts(names).await? {
        let count = Statement::from_string(DbBackend::Sqlite, format!("SELECT COUNT(*) FROM \"{name}\""));
        let row = connection.query_one_raw(count).await?;
        tables.insert(name, row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default());
    }
    let steps = texts("SELECT version FROM seaql_migrations ORDER BY version").await?;
    Ok(Contents { tables, steps, fault: None })
}

/// Returns the number of connections to the database at `url`, without the one that this function opens.
/// Returns 0 for SQLite.
///
/// # Errors
///
/// [`OpenError`].
pub async fn other_connections(url: &str) -> Result<i64, OpenError> {
    let (backend, sql) = match url.split(':').next() {
        Some("sqlite") => return Ok(0),
        Some("mysql") => (
            DbBackend::MySql,
            "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        ),
        _ => (
            DbBackend::Postgres,
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND backend_type = 'client backend'",
        ),
    };
    let unreachable = super::open::unreachable(url);
    let connection =
        Database::connect(super::connection_options::server_options(url, 1)).await.map_err(&unreachable)?;
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await;
    connection.close().await.map_err(&unreachable)?;
    let count = row.and_then(|row| row.map(|row| row.try_get_by_index(0)).transpose());
    Ok(count.map_err(&unreachable)?.unwrap_or_default())
}
