//! Database access through [`Db::read`] and [`Db::write`].
//!
//! A use case passes its input and a function that takes a [`Tx`]. On SQLite, one writer runs the functions
//! of all waiting writes in a shared transaction (`sqlite_writer.rs`) and batches their deferred changes
//! ([`Tx::execute_each`]). Reads on SQLite use a pool of read-only connections. On PostgreSQL, MySQL and
//! MariaDB, each write runs in a separate transaction. [`BatchLoader`] reads single rows for concurrent
//! requests in one query. Searches and background jobs have separate connections (`lanes.rs`).
//!
//! Invariants:
//!
//! - A write that returned `Ok` is committed and synced.
//! - A retryable conflict is retried a few times. A function can therefore run more than once, and must have
//!   no effects except through its `Tx`.
//! - A client that disconnects never interrupts a write, because no write runs in the caller's task.
//! - A write that fails with [`StoreError::Unavailable`] was not committed and never will be. A write fails
//!   with [`StoreError::OutcomeUnknown`] if its COMMIT has begun and no result has arrived.
//! - This module does not depend on the tables of other modules.

mod connection_options;
mod copy;
mod deadline;
mod error;
mod full_disk;
mod in_lists;
mod index_hint;
mod integrity;
mod lanes;
mod loader;
mod migration_lock;
mod open;
mod opened_connections;
mod pace;
mod read_pool;
mod read_snapshot;
mod rehearsal;
mod row_readers;
mod rows;
mod server_time;
mod snapshot;
mod sqlite_files;
mod sqlite_writer;
mod statement_batch;
mod statement_deadline;
mod steps;
mod transaction;
mod tx;
mod vacuum;
mod write_gate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::task::JoinError;

use crate::metrics::{self, PoolUsage};
use crate::traces::ActiveSpan;

pub use connection_options::log_statements_slower_than;
pub use copy::{
    CopiedTable, CopyError, CopyMark, CopyProgress, copied_tables, copy_tables, find_copy_mark,
    find_foreign_table, has_no_tables, has_rows, mark_copy,
};
pub use deadline::within_one_deadline;
pub use error::{HasStoreError, StoreError};
pub use full_disk::is_storage_full;
pub use in_lists::{pad_to_power_of_two, power_of_two_chunks};
pub use index_hint::{with_index, with_indexes};
pub use integrity::Integrity;
pub use loader::BatchLoader;
pub use open::{
    MigrationState, MigrationStep, OpenError, is_empty, migrate_down, migrate_up, migration_status, open,
    open_existing, open_unjournaled, require_directory, sqlite_file,
};
pub use pace::PacedFile;
pub use rehearsal::{Rehearsal, RehearsedStep, migrate_first, rehearse};
pub use rows::{ColumnValue, Row, Rows};
pub use snapshot::{Contents, checkpoint, file_url, inspect, other_connections, snapshot};
pub use sqlite_files::{TemporaryFile, remove_sqlite_files, with_suffix};
pub use steps::{has_step, newest_step};
pub use tx::Tx;

use lanes::{Lane, Lanes};
use opened_connections::OpenedConnections;
use read_pool::ReadPool;
use transaction::{in_transaction, retry_delay};
use write_gate::WriteGate;

/// How long a caller waits for the database before its call fails with [`StoreError::Unavailable`]. After the
/// COMMIT of a write has begun, the caller waits [`COMMIT_GRACE`] longer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer a caller waits for a COMMIT that has begun, before its call fails with
/// [`StoreError::OutcomeUnknown`].
const COMMIT_GRACE: Duration = Duration::from_millis(500);
/// How long a statement waits for a lock before it fails with [`StoreError::Conflict`]. Two such waits take
/// less than [`DATABASE_TIMEOUT`], so a write that waits for two locks also fails with this error.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of times that a function runs, if each run ends in a conflict.
const ATTEMPTS: u32 = 6;

/// A database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    backend: Backend,
    writes: Arc<AtomicU64>,
    lane: Lane,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite { writer: sqlite_writer::Writer, readers: Lanes<ReadPool>, files: sqlite_files::SqliteFiles },
    Server { pools: Lanes<DatabaseConnection>, opened: OpenedConnections },
}

impl Db {
    /// Returns whether other servers can use the database at the same time. On SQLite, they can't.
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Server { .. })
    }

    /// Returns a handle to the same database that uses the connections for searches. A statement on such a
    /// connection fails with [`StoreError::TimedOut`] after a deadline.
    #[must_use]
    pub fn searches(&self) -> Self {
        Self { lane: Lane::Searches, ..self.clone() }
    }

    /// Returns a handle to the same database that uses the connections for background jobs, which requests
    /// never use.
    #[must_use]
    pub fn background(&self) -> Self {
        Self { lane: Lane::Background, ..self.clone() }
    }

    /// Returns another handle to the same database. The writes of the new handle do not count in
    /// [`Db::writes`] of this handle. The new handle is for rows that are not part of the users' data.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { writes: Arc::default(), ..self.clone() }
    }

    /// Runs a function that only reads, without a transaction. Each statement sees what was committed before
    /// it, so two statements can see different states.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`StoreError::Unavailable`] if the database is unavailable for too long.
    pub async fn read<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let _span = ActiveSpan::begin("database read");
        match &self.backend {
            // The caller can drop this future at any time: the connection's thread finishes the query.
            Backend::Sqlite { readers, .. } => {
                work(&Tx::reader(readers.get(self.lane).clone()), &input).await
            }
            Backend::Server { pools, .. } => {
                let pool = pools.get(self.lane).clone();
                let read = detached(async move {
                    let tx = Tx::pooled(pool);
                    let mut attempt = 0;
                    loop {
                        attempt += 1;
                        let result = work(&tx, &input).await;
                        match result.as_ref().err().and_then(HasStoreError::store) {
                            // A restart of the database server breaks pooled connections. Retry on a new connection.
                            Some(error) if error.is_lost_connection() && attempt == 1 => {}
                            Some(error) if error.is_deadlock() && attempt < ATTEMPTS => {
                                tokio::time::sleep(retry_delay(attempt)).await;
                            }
                            _ => return result,
                        }
                    }
                });
                read.await.map_err(|error: E| match error.store() {
                    Some(store) if store.is_lock_timeout() => store.clone().without_locks().into(),
                    _ => error,
                })
            }
        }
    }

    /// Runs `work` in one transaction, which is committed on `Ok` and rolled back on `Err`.
    ///
    /// # Errors
    ///
    /// Those of `work` and of the commit, [`StoreError::Unavailable`] if the database is unavailable for too
    /// long, and [`StoreError::OutcomeUnknown`] if the database becomes unavailable during the COMMIT.
    pub async fn write<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        self.write_within(DATABASE_TIMEOUT, input, work).await
    }

    /// Like [`Db::write`], but with the time limit `limit`. Used for work that changes very many rows.
    ///
    /// # Errors
    ///
    /// Those of [`Db::write`].
    pub async fn write_within<I, T, E, F>(&self, limit: Duration, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let limit = deadline::remaining(limit);
        let mut span = ActiveSpan::begin("database write");
        let started = Instant::now();
        let result = match &self.backend {
            Backend::Sqlite { writer, .. } => writer.submit(limit, input, work).await,
            Backend::Server { pools, .. } => {
                let (pool, gate) = (pools.get(self.lane).clone(), WriteGate::default());
                let task = gate.clone();
                let work =
                    tokio::spawn(async move { in_transaction(&pool, &input, &work, &task, limit).await });
                let done = async { work.await.unwrap_or_else(|error| Err(task_failed(&error).into())) };
                gate.wait(limit, done).await
            }
        };
        metrics::wrote(started.elapsed(), result.is_ok());
        if let Some(span) = &mut span
            && result.as_ref().err().and_then(HasStoreError::store).is_some()
        {
            span.fail();
        }
        if result.is_ok() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Returns the number of successful writes of this process.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Deletes rows in batches. Each batch has a separate transaction, so that other writes wait for at most
    /// one batch. `delete` deletes at most `batch` rows and returns their number. Stops after the first batch
    /// that deletes fewer rows than `batch`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep<I, F>(&self, input: I, batch: u64, delete: F) -> Result<(), StoreError>
    where
        I: Clone + Send + Sync + 'static,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<u64, StoreError>>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        while self.write(input.clone(), delete.clone()).await? >= batch {}
        Ok(())
    }

    /// Checks that the database responds within a second, and that a SQLite file is in place and not damaged.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if let Backend::Sqlite { files, .. } = &self.backend {
            files.check()?;
        }
        let backend = self.backend.clone();
        let ping = detached(async move {
            match backend {
                Backend::Sqlite { readers, .. } => {
                    let ping = Statement::from_string(DbBackend::Sqlite, "SELECT 1");
                    readers.background.execute(ping).await.map_err(StoreError::from)
                }
                Backend::Server { pools, .. } => {
                    pools.background.execute_unprepared("SELECT 1").await.map_err(StoreError::from)
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(1), ping).await.unwrap_or(Err(StoreError::unavailable()))?;
        Ok(())
    }

    /// Returns the usage of each pool of connections.
    pub fn pools(&self) -> [PoolUsage; 3] {
        match &self.backend {
            Backend::Sqlite { readers, .. } => readers.named().map(|(pool, readers)| {
                let (used, max) = readers.usage();
                PoolUsage { pool, used, max }
            }),
            Backend::Server { pools, .. } => pools.named().map(|(pool, connections)| {
                let (used, max) = open::pool_usage(connections);
                PoolUsage { pool, used, max }
            }),
        }
    }

    /// Commits the waiting writes and closes all connections.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite { writer, readers, .. } => {
                // Close the writer last: closing SQLite's last connection checkpoints the WAL.
                join_all(readers.all().map(ReadPool::close)).await;
                writer.close().await;
            }
            Backend::Server { pools, .. } => {
                for closed in join_all(pools.all().map(DatabaseConnection::close_by_ref)).await {
                    if let Err(error) = closed {
                        tracing::warn!(%error, "failed to close the database");
                    }
                }
            }
        }
    }
}

/// Runs the future in a separate task, which continues if the caller is dropped. A cancelled `BEGIN` would
/// leave a pooled connection inside a transaction.
async fn detached<T, E, Fut>(work: Fut) -> Result<T, E>
where
    T: Send + 'static,
    E: HasStoreError,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    match tokio::time::timeout(deadline::remaining(DATABASE_TIMEOUT), tokio::spawn(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(task_failed(&error).into()),
        // The task continues, so that no connection is left in the middle of a statement.
        Err(_) => Err(StoreError::unavailable().into()),
    }
}

fn task_failed(error: &JoinError) -> StoreError {
    StoreError::internal(&format!("the task of a query failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use sea_orm::sqlx::Error as DriverError;
    use sea_orm::{ConnectOptions, Database, DbErr, RuntimeErr, TransactionTrait};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const WAIT: Duration = Duration::from_millis(200);

    /// Returns a pool of one connection. The tests use the pool in place of a pool for a database server.
    async fn pool_of_one() -> DatabaseConnection {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).acquire_timeout(WAIT).sqlx_logging(false);
        Database::connect(options).await.unwrap()
    }

    fn server(pool: DatabaseConnection) -> Db {
        let pools = Lanes { requests: pool.clone(), searches: pool.clone(), background: pool };
        let backend = Backend::Server { pools, opened: OpenedConnections::default() };
        Db { backend, lane: Lane::default(), writes: Arc::default() }
    }

    #[tokio::test]
    async fn a_read_that_gets_no_connection_is_not_repeated_after_the_timeout() {
        let pool = pool_of_one().await;
        let db = server(pool.clone());
        let held = pool.begin().await.unwrap();
        let started = Instant::now();
        let read: Result<(), StoreError> = db
            .read((), |tx, ()| {
                async { tx.execute_unprepared("SELECT 1").await.map(|_| ()).map_err(StoreError::from) }
                    .boxed()
            })
            .await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        let waited = started.elapsed();
        assert!(waited >= WAIT && waited < WAIT * 7 / 4, "{waited:?}");
        held.rollback().await.unwrap();
    }

    #[tokio::test]
    async fn a_read_on_a_broken_database_connection_is_retried_once() {
        // S-67
        let db = server(pool_of_one().await);
        let runs = Arc::new(AtomicU32::new(0));
        let read: Result<(), StoreError> = db
            .read(Arc::clone(&runs), |_, runs| {
                runs.fetch_add(1, Ordering::Relaxed);
                let broken = DriverError::Io(std::io::ErrorKind::BrokenPipe.into());
                let lost = DbErr::Query(RuntimeErr::SqlxError(Arc::new(broken)));
                async move { Err(lost.into()) }.boxed()
            })
            .await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }
}
