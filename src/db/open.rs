//! Opening a database: connections as each backend wants them, and the schema brought up to date.
//!
//! Several replicas may start together: the schema is changed under a lock of the database's own. A
//! schema that is newer than this program is refused, because an old program would write rows that
//! the new rules don't know.

use std::path::{Path, PathBuf};
use std::time::Duration;

use migration::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, Connection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait, sqlx,
};

use super::sqlite_writer::Writer;
use super::{Backend, Db};
use crate::secrets::mask_url;

/// How long a connection may take to come about before the database counts as away.
const CONNECT: Duration = Duration::from_secs(5);
/// Read-only connections to SQLite: it reads from memory, so more than the cores only cost caches.
const SQLITE_READERS: u32 = 4;
/// How long SQLite's log grows before it is folded into the database, in pages of 4 KiB: what many commits
/// have changed is written there once.
const LOG_PAGES: &str = "4000";
/// How many texts of statements SQLite's writer keeps prepared: bundles and lists come in some lengths each.
const PREPARED: usize = 256;
/// Connections to a database server.
const POOL: u32 = 16;
/// How long a statement waits for somebody else's lock before its transaction is undone and run again: much
/// less than a caller waits, so that what is told to have failed is not done afterwards.
const LOCK_WAIT: Duration = Duration::from_secs(4);
/// The key of the lock under which the schema changes; any number that nobody else uses.
const MIGRATION_LOCK: i64 = 0x7472_6970_6761_7465;

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory of the SQLite file can't be made.
    #[error("the directory of the database {path} can't be made: {source}")]
    Directory {
        /// Of the directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The SQLite file is not there, and what was asked makes none.
    #[error(
        "there is no database at {path}: `tripgate migrate` makes one, and so does the server when it starts"
    )]
    NotFound {
        /// Of the file.
        path: String,
    },
    /// No connection.
    #[error("the database {url} can't be opened: {source}")]
    Unreachable {
        /// Without its password.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of Tripgate was here.
    #[error(
        "the database has a newer schema than this version knows ({step}): start the newer version, or restore a backup"
    )]
    Newer {
        /// The first unknown step.
        step: String,
    },
    /// A step failed.
    #[error("the schema of the database can't be brought up to date: {source}")]
    Migration {
        /// Why.
        source: DbErr,
    },
}

/// What to do with the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateCommand {
    /// Apply all steps that are missing.
    Up,
    /// Undo so many of the last steps, with the data in them.
    Down(u32),
    /// Apply and undo nothing.
    Status,
}

/// Opens a database that is there.
///
/// # Errors
///
/// [`OpenError::NotFound`], and as [`open`].
pub async fn open_existing(url: &str) -> Result<Db, OpenError> {
    refuse_absent(url)?;
    open(url).await
}

/// Opens the database at `url` and applies the steps that its schema lacks. The scheme is `sqlite`,
/// `postgres`, `postgresql` or `mysql`.
///
/// # Errors
///
/// [`OpenError`], each case one clear line.
pub async fn open(url: &str) -> Result<Db, OpenError> {
    let unreachable = |error: DbErr| OpenError::Unreachable { url: mask_url(url), source: error.into() };
    let backend = if is_sqlite(url) {
        make_directory(url)?;
        let options = sqlite_options(url, false);
        let writer = Database::connect(options.clone()).await.map_err(unreachable)?;
        change(&writer, MigrateCommand::Up).await?;
        // A file on a read-only disk opens, and then refuses every write: also one that changes nothing.
        writer.execute_unprepared("DELETE FROM seaql_migrations WHERE 1 = 0").await.map_err(unreachable)?;
        let readers = Database::connect(sqlite_options(url, true)).await.map_err(unreachable)?;
        Backend::Sqlite { writer: Writer::start(writer, options), readers }
    } else {
        migrate(url, MigrateCommand::Up).await?;
        let mut options = server_options(url, POOL);
        let lock_wait = LOCK_WAIT.as_millis().to_string();
        options.map_sqlx_postgres_opts(move |postgres| {
            postgres.application_name("tripgate").options([("lock_timeout", &lock_wait)])
        });
        Backend::Server { pool: Database::connect(options).await.map_err(unreachable)? }
    };
    Ok(Db { backend })
}

/// Changes the schema, or tells its state: a line for each step. Makes a SQLite database only on the
/// way up.
///
/// # Errors
///
/// [`OpenError`], each case one clear line.
pub async fn migrate(url: &str, what: MigrateCommand) -> Result<Vec<String>, OpenError> {
    let unreachable = |error: DbErr| OpenError::Unreachable { url: mask_url(url), source: error.into() };
    match what {
        MigrateCommand::Up => make_directory(url)?,
        MigrateCommand::Down(_) | MigrateCommand::Status => refuse_absent(url)?,
    }
    try_to_connect(url).await?;
    let options = if is_sqlite(url) { sqlite_options(url, false) } else { server_options(url, 1) };
    let connection = Database::connect(options).await.map_err(unreachable)?;
    let done = change(&connection, what).await;
    connection.close().await.map_err(unreachable)?;
    done
}

async fn change(connection: &DatabaseConnection, what: MigrateCommand) -> Result<Vec<String>, OpenError> {
    let applied = refuse_newer(applied(connection).await?)?;
    let known = names();
    let up_to_date = applied.len() == known.len();
    match what {
        MigrateCommand::Up if up_to_date => {}
        MigrateCommand::Up => {
            locked(connection, None).await.map_err(|source| OpenError::Migration { source })?;
        }
        MigrateCommand::Down(steps) => {
            locked(connection, Some(steps)).await.map_err(|source| OpenError::Migration { source })?;
        }
        MigrateCommand::Status => {}
    }
    let applied = self::applied(connection).await?;
    Ok(known
        .into_iter()
        .map(|name| format!("{:8} {name}", if applied.contains(&name) { "applied" } else { "pending" }))
        .collect())
}

/// Runs the steps while nobody else does: up if `down` is none. On SQLite and PostgreSQL all of it is
/// one transaction; on MySQL, whose DDL commits by itself, a named lock and repeatable steps serve.
async fn locked(connection: &DatabaseConnection, down: Option<u32>) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    if backend == DbBackend::MySql {
        let lock = "SELECT GET_LOCK('tripgate_migrate', 60)";
        let row = connection.query_one_raw(Statement::from_string(backend, lock)).await?;
        let held = row.and_then(|row| row.try_get_by_index::<Option<i64>>(0).ok().flatten());
        if held != Some(1) {
            return Err(DbErr::Custom("somebody else has been changing it for a minute".to_owned()));
        }
        let done = match down {
            None => Migrator::up(connection, None).await,
            Some(steps) => Migrator::down(connection, Some(steps)).await,
        };
        connection
            .query_one_raw(Statement::from_string(backend, "SELECT RELEASE_LOCK('tripgate_migrate')"))
            .await?;
        return done;
    }
    let transaction = connection.begin_with_options(immediate()).await?;
    if backend == DbBackend::Postgres {
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    }
    match down {
        None => Migrator::up(&transaction, None).await?,
        Some(steps) => Migrator::down(&transaction, Some(steps)).await?,
    }
    transaction.commit().await
}

/// A transaction that takes SQLite's write lock at once, because one that reads before it writes fails with
/// `SQLITE_BUSY_SNAPSHOT` if anything else wrote in between, whatever the busy timeout. To a server it is like
/// any other.
pub(super) fn immediate() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    }
}

fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// The applied steps; none in an empty database, which has no table of them yet.
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

fn refuse_newer(applied: Vec<String>) -> Result<Vec<String>, OpenError> {
    let known = names();
    match applied.iter().find(|name| !known.contains(name)) {
        Some(step) => Err(OpenError::Newer { step: step.clone() }),
        None => Ok(applied),
    }
}

/// Connects once without a pool: a pool tries again until its time is up, and then says no more than
/// that.
async fn try_to_connect(url: &str) -> Result<(), OpenError> {
    let attempt = async {
        if url.starts_with("mysql:") {
            sqlx::MySqlConnection::connect(url).await?.close().await
        } else if is_sqlite(url) {
            Ok(())
        } else {
            sqlx::PgConnection::connect(url).await?.close().await
        }
    };
    let source: Box<dyn std::error::Error + Send + Sync> = match tokio::time::timeout(CONNECT, attempt).await
    {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.into(),
        Err(elapsed) => elapsed.into(),
    };
    Err(OpenError::Unreachable { url: mask_url(url), source })
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// The file of a SQLite database; none of one on a server.
fn sqlite_file(url: &str) -> Result<Option<PathBuf>, OpenError> {
    if !is_sqlite(url) {
        return Ok(None);
    }
    let options: Result<SqliteConnectOptions, _> = url.parse();
    match options {
        Ok(options) => Ok(Some(options.get_filename().to_owned())),
        Err(error) => Err(OpenError::Unreachable { url: url.to_owned(), source: error.into() }),
    }
}

fn make_directory(url: &str) -> Result<(), OpenError> {
    match sqlite_file(url)?.as_deref().and_then(Path::parent) {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::create_dir_all(parent)
            .map_err(|source| OpenError::Directory { path: parent.display().to_string(), source }),
        _ => Ok(()),
    }
}

fn refuse_absent(url: &str) -> Result<(), OpenError> {
    match sqlite_file(url)? {
        // Where it can't be seen whether it is there, opening it says why.
        Some(path) if matches!(path.try_exists(), Ok(false)) => {
            Err(OpenError::NotFound { path: path.display().to_string() })
        }
        _ => Ok(()),
    }
}

fn sqlite_options(url: &str, read_only: bool) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    let size = if read_only { SQLITE_READERS } else { 1 };
    options
        .max_connections(size)
        .min_connections(u32::from(!read_only))
        .acquire_timeout(CONNECT)
        // A connection to a file does not go stale.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite.foreign_keys(true).busy_timeout(CONNECT);
            if read_only {
                return sqlite.read_only(true);
            }
            // FULL syncs the log at every COMMIT: what was acknowledged survives a power cut.
            sqlite
                .create_if_missing(true)
                .pragma("wal_autocheckpoint", LOG_PAGES)
                .statement_cache_capacity(PREPARED)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
        });
    options
}

fn server_options(url: &str, size: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(size)
        .min_connections(1)
        .connect_timeout(CONNECT)
        .acquire_timeout(CONNECT)
        .idle_timeout(Some(Duration::from_mins(5)))
        .sqlx_logging(false)
        .map_sqlx_mysql_pool_opts(|pool| {
            pool.after_connect(|connection, _| Box::pin(async move { prepare_session(connection).await }))
        });
    options
}

/// What a session of MySQL or MariaDB needs.
async fn prepare_session(connection: &mut sqlx::MySqlConnection) -> Result<(), sqlx::Error> {
    // A statement sees what was committed before it, as on PostgreSQL: who waited for a row's lock
    // then goes on with its newest version instead of failing.
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    sqlx::query(isolation).execute(&mut *connection).await?;
    let lock_wait = format!("SET SESSION innodb_lock_wait_timeout = {}", LOCK_WAIT.as_secs());
    sqlx::query(AssertSqlSafe(lock_wait)).execute(&mut *connection).await?;
    // On Galera a read on one node must not miss what another node has acknowledged.
    match sqlx::query("SET SESSION wsrep_sync_wait = 1").execute(connection).await {
        // A server without Galera does not know the variable, and has no other nodes.
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
