//! The options of connections, for each backend and lane.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::LevelFilter;
use sea_orm::sqlx::AssertSqlSafe;
use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, sqlx};

use super::LOCK_TIMEOUT;
use super::lanes::{Lane, SEARCH_STATEMENT_TIMEOUT};
use super::opened_connections::OpenedConnections;

/// How long to wait for a connection before the call fails with [`super::StoreError::Unavailable`].
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of the WAL at which SQLite checkpoints it, in pages of 4 KiB. A checkpoint writes each changed page
/// to the database once, even if many commits have changed the page.
const CHECKPOINT_PAGES: &str = "4000";
/// Size of the page cache of SQLite's writer. SQLite reads -8192 as 8192 KiB. One write changes pages of a
/// table and of its indexes. With the default of 2 MiB, the writer reads many of these pages again for each
/// write.
const WRITER_CACHE: &str = "-8192";
/// Number of prepared statements that SQLite's writer caches. Many are needed, because statements with
/// batches or lists of different lengths have different texts.
const STATEMENT_CACHE: usize = 256;
/// How long a transaction may wait for its next statement before the database rolls it back. A server process
/// that is paused in the middle of a transaction must not commit the transaction much later, because other
/// replicas poll for new rows and would miss the rows of this transaction.
const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns whether a URL names a SQLite database.
pub(super) fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// Returns the file of a SQLite database, or `None` for a server.
pub(super) fn file_of(url: &str) -> Result<Option<PathBuf>, sqlx::Error> {
    if !is_sqlite(url) {
        return Ok(None);
    }
    let options: SqliteConnectOptions = url.parse()?;
    Ok(Some(options.get_filename().to_owned()))
}

/// The duration from which a statement is logged as slow, in milliseconds. The process has one such limit
/// because it has one log.
static SLOW_STATEMENT_MILLIS: AtomicU64 = AtomicU64::new(u64::MAX);

/// Sets the duration from which statements are logged as slow, for databases that are opened afterwards.
pub fn log_statements_slower_than(limit: Duration) {
    SLOW_STATEMENT_MILLIS.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Returns the duration from which a statement is logged as slow.
pub(super) fn slow_statement() -> Duration {
    Duration::from_millis(SLOW_STATEMENT_MILLIS.load(Ordering::Relaxed))
}

/// Makes the driver log slow statements, without their bound values.
fn log_slow_statements(options: &mut ConnectOptions) {
    let limit = slow_statement();
    options
        .sqlx_logging(true)
        .sqlx_logging_level(LevelFilter::Off)
        .sqlx_slow_statements_logging_settings(LevelFilter::Warn, limit);
}

/// Returns the options of the read-only connections of the lane `readers`. If `readers` is `None`, returns
/// the options of the connection for writes.
pub(super) fn sqlite_options(url: &str, readers: Option<Lane>) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    let (read_only, size) = (readers.is_some(), readers.map_or(1, Lane::sqlite_readers));
    options
        .max_connections(size)
        .min_connections(u32::from(!read_only))
        .acquire_timeout(CONNECT_TIMEOUT)
        // A connection to a file does not become stale.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite.foreign_keys(true).busy_timeout(CONNECT_TIMEOUT);
            if read_only {
                return sqlite.read_only(true);
            }
            sqlite
                .create_if_missing(true)
                // Applies only to a new file; `Db::release_space` returns the free pages to the file system.
                .auto_vacuum(SqliteAutoVacuum::Incremental)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
                .pragma("cache_size", WRITER_CACHE)
                // Overwrites deleted data with zeros, so that it can't be read in the file. An update writes
                // 0.1 % more bytes to the WAL, and the deletion of a trip 3 %.
                .pragma("secure_delete", "ON")
                .statement_cache_capacity(STATEMENT_CACHE)
                .journal_mode(SqliteJournalMode::Wal)
                // Syncs the WAL at every COMMIT, so that acknowledged writes survive a power failure.
                .synchronous(SqliteSynchronous::Full)
        });
    log_slow_statements(&mut options);
    options
}

/// Returns the options of the connections of a lane to a server. Each new connection is counted in `opened`.
pub(super) fn lane_options(url: &str, lane: Lane, opened: &OpenedConnections) -> ConnectOptions {
    let mut options = server_options(url, lane.server_connections());
    let timeout = (lane == Lane::Searches).then_some(SEARCH_STATEMENT_TIMEOUT);
    options.map_sqlx_postgres_opts(move |postgres| {
        let postgres = postgres.application_name("tripgate");
        let postgres = postgres.options([
            ("lock_timeout", LOCK_TIMEOUT.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT.as_millis().to_string()),
        ]);
        match timeout {
            Some(timeout) => postgres.options([("statement_timeout", timeout.as_millis().to_string())]),
            None => postgres,
        }
    });
    let (on_postgres, on_mysql) = (opened.clone(), opened.clone());
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let opened = on_postgres.clone();
        pool.after_connect(move |_, _| {
            opened.increment();
            Box::pin(async { Ok(()) })
        })
    });
    options.map_sqlx_mysql_pool_opts(move |pool| {
        let opened = on_mysql.clone();
        pool.after_connect(move |connection, _| {
            opened.increment();
            Box::pin(async move {
                prepare_session(connection).await?;
                match timeout {
                    Some(timeout) => limit_statements(connection, timeout).await,
                    None => Ok(()),
                }
            })
        })
    });
    options
}

pub(super) fn server_options(url: &str, size: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(size)
        .min_connections(1)
        .connect_timeout(CONNECT_TIMEOUT)
        .acquire_timeout(CONNECT_TIMEOUT)
        .idle_timeout(Some(Duration::from_mins(5)))
        .map_sqlx_mysql_pool_opts(|pool| {
            pool.after_connect(|connection, _| Box::pin(async move { prepare_session(connection).await }))
        });
    log_slow_statements(&mut options);
    options
}

/// Limits the execution time of statements on a connection to MySQL or MariaDB. MySQL limits only SELECT
/// statements.
async fn limit_statements(
    connection: &mut sqlx::MySqlConnection,
    limit: Duration,
) -> Result<(), sqlx::Error> {
    let mariadb = format!("SET SESSION max_statement_time = {}", limit.as_secs());
    match sqlx::query(AssertSqlSafe(mariadb)).execute(&mut *connection).await {
        // The server is MySQL: there the variable has another name, and its value is in milliseconds.
        Err(sqlx::Error::Database(_)) => {
            let mysql = format!("SET SESSION max_execution_time = {}", limit.as_millis());
            sqlx::query(AssertSqlSafe(mysql)).execute(connection).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// Configures a connection to MySQL or MariaDB.
async fn prepare_session(connection: &mut sqlx::MySqlConnection) -> Result<(), sqlx::Error> {
    // At this level, a statement sees what was committed before it, as on PostgreSQL. A statement that waited
    // for the lock of a row continues with the newest version of the row instead of failing.
    let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    sqlx::query(isolation).execute(&mut *connection).await?;
    let lock_timeout = format!("SET SESSION innodb_lock_wait_timeout = {}", LOCK_TIMEOUT.as_secs());
    sqlx::query(AssertSqlSafe(lock_timeout)).execute(&mut *connection).await?;
    // Only MariaDB has this timeout.
    let idle_timeout =
        format!("SET SESSION idle_transaction_timeout = {}", IDLE_TRANSACTION_TIMEOUT.as_secs());
    // On Galera, `wsrep_sync_wait` makes a read wait until this node has applied what other nodes have
    // acknowledged. Servers without Galera don't have this variable.
    for optional in [idle_timeout.as_str(), "SET SESSION wsrep_sync_wait = 1"] {
        match sqlx::query(AssertSqlSafe(optional)).execute(&mut *connection).await {
            // Ignore a database error: the server does not have the variable.
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
