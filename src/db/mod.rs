//! The database behind `read` and `write`.
//!
//! A use-case hands over its input and a function of a [`Tx`]; what happens below is each backend's
//! own affair. SQLite has one writer that commits waiting functions together (`sqlite.rs`), and sends
//! together what they change without asking ([`Tx::execute_each`]), beside a pool of read-only connections;
//! PostgreSQL and MySQL or MariaDB run each function in a transaction of its own. Where many want one
//! row each, one statement reads them ([`BatchLoader`]).
//!
//! What always holds: a write that was answered is committed and synced; a retryable conflict is
//! tried again a few times, so a function may run more than once and must do nothing but talk to its
//! `Tx`; a client that goes away cancels nothing half-way, because no write
//! runs in the caller's task; a write that is given up because the database was away for too long is not
//! done later. Nothing here knows a table.

mod error;
mod in_lists;
mod loader;
mod open;
mod read_pool;
mod sqlite_writer;
mod statement_batch;
mod tx;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use tokio::task::JoinError;

pub use error::StoreError;
pub use in_lists::{pad_to_power_of_two, power_of_two_chunks};
pub use loader::BatchLoader;
pub use open::{MigrateCommand, OpenError, migrate, open, open_existing};
pub use tx::Tx;

/// How long a caller waits for the database before it counts as away.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a function is run again after a conflict.
const ATTEMPTS: u32 = 6;

/// What the error of every room can tell of the database beneath it.
pub trait HasStoreError: From<StoreError> + Send + 'static {
    /// The database's part in this error, if it had one.
    fn store(&self) -> Option<&StoreError>;
}

impl HasStoreError for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Sqlite { writer: sqlite_writer::Writer, readers: DatabaseConnection },
    Server { pool: DatabaseConnection },
}

impl Db {
    /// Reads. Each statement sees what was committed before it; two statements may see different
    /// moments.
    pub async fn read<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.backend {
            // Dropping a read half-way harms nothing here: the connection's own thread ends it.
            Backend::Sqlite { writer, readers } => work(&Tx::reader(writer.readers(readers)), &input).await,
            Backend::Server { pool } => {
                let pool = pool.clone();
                detached(async move {
                    let tx = Tx::pooled(pool);
                    let first = work(&tx, &input).await;
                    // A pooled connection may have died with a restarted server; the next one is new.
                    match first.as_ref().err().and_then(HasStoreError::store) {
                        Some(error) if error.is_lost_connection() => work(&tx, &input).await,
                        _ => first,
                    }
                })
                .await
            }
        }
    }

    /// Writes, in one transaction that is committed if `work` returns `Ok` and undone otherwise.
    pub async fn write<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.backend {
            Backend::Sqlite { writer, .. } => writer.submit(input, work).await,
            Backend::Server { pool } => {
                let (pool, gate) = (pool.clone(), WriteGate::default());
                let task = gate.clone();
                let work = tokio::spawn(async move { in_transaction(&pool, &input, &work, &task).await });
                gate.wait(async { work.await.unwrap_or_else(|stopped| Err(ended(&stopped).into())) }).await
            }
        }
    }

    /// Whether the database answers, within a second.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let connection = match &self.backend {
            Backend::Sqlite { readers, .. } => readers.clone(),
            Backend::Server { pool } => pool.clone(),
        };
        let ping =
            detached(
                async move { connection.execute_unprepared("SELECT 1").await.map_err(StoreError::from) },
            );
        tokio::time::timeout(Duration::from_secs(1), ping).await.unwrap_or(Err(StoreError::unavailable()))?;
        Ok(())
    }

    /// Commits what waits and closes all connections.
    pub async fn close(&self) {
        let closed = match &self.backend {
            Backend::Sqlite { writer, readers } => {
                // The writer last: who closes SQLite's last connection folds the log into the database.
                writer.readers(readers).close().await;
                let closed = readers.close_by_ref().await;
                writer.close().await;
                closed
            }
            Backend::Server { pool } => pool.close_by_ref().await,
        };
        if let Err(error) = closed {
            tracing::warn!(%error, "closing the database failed");
        }
    }
}

/// Runs the future in a task of its own, which goes on when the caller's is dropped: a `BEGIN` that
/// is cancelled on its way leaves a pooled connection inside a transaction.
async fn detached<T, E, Fut>(work: Fut) -> Result<T, E>
where
    T: Send + 'static,
    E: HasStoreError,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    match tokio::time::timeout(DATABASE_TIMEOUT, tokio::spawn(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(stopped)) => Err(ended(&stopped).into()),
        // The task goes on by itself; a connection is never left half-way through a statement.
        Err(_) => Err(StoreError::unavailable().into()),
    }
}

fn ended(stopped: &JoinError) -> StoreError {
    StoreError::internal(format!("the task of a query ended: {stopped}"))
}

/// Whether a write has begun. Its caller, who gives up after a while, and whoever runs it agree through
/// this: what was told to have failed must not be done afterwards.
#[derive(Clone, Debug, Default)]
struct WriteGate(Arc<AtomicU8>);

impl WriteGate {
    const WAITS: u8 = 0;
    const RUNS: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Whether the write may run: not any more once it is given up.
    fn begin(&self) -> bool {
        self.pass(Self::WAITS, Self::RUNS) || self.0.load(Ordering::Acquire) == Self::RUNS
    }

    /// Its run was undone; before the next it may be given up again.
    fn undone(&self) {
        self.pass(Self::RUNS, Self::WAITS);
    }

    fn pass(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Waits for the answer. A write that has not begun after [`DATABASE_TIMEOUT`] is given up. One that runs is
    /// waited for as long again: whether it will be committed is not known until it is.
    async fn wait<T, E: HasStoreError>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut answer = std::pin::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(DATABASE_TIMEOUT, &mut answer).await {
            return answer;
        }
        if self.pass(Self::WAITS, Self::GIVEN_UP) {
            return Err(StoreError::unavailable().into());
        }
        let answer = tokio::time::timeout(DATABASE_TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| {
            self.pass(Self::WAITS, Self::GIVEN_UP);
            Err(StoreError::unavailable().into())
        })
    }
}

async fn in_transaction<I, T, E, F>(
    pool: &DatabaseConnection,
    input: &I,
    work: &F,
    gate: &WriteGate,
) -> Result<T, E>
where
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let result = try_transaction(pool, input, work, gate).await;
        let is_last = attempt >= ATTEMPTS || started.elapsed() >= DATABASE_TIMEOUT;
        match result.as_ref().err().and_then(HasStoreError::store) {
            Some(error) if error.is_retryable() && !is_last => {
                tracing::debug!(%error, attempt, "a transaction is run again");
                tokio::time::sleep(pause(attempt)).await;
            }
            _ => return result,
        }
    }
}

async fn try_transaction<I, T, E, F>(
    pool: &DatabaseConnection,
    input: &I,
    work: &F,
    gate: &WriteGate,
) -> Result<T, E>
where
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    // Nothing was done yet, so a connection that turns out dead here is a reason to take another.
    let begun = pool.begin().await.map_err(|error| StoreError::from(error).before_any_work())?;
    let tx = Tx::transaction(begun);
    if !gate.begin() {
        tx.rollback().await;
        return Err(StoreError::unavailable().into());
    }
    match work(&tx, input).await {
        Ok(value) => {
            tx.commit().await.map_err(|uncommitted| uncommitted.error)?;
            Ok(value)
        }
        Err(error) => {
            tx.rollback().await;
            gate.undone();
            Err(error)
        }
    }
}

/// Grows with the attempt and differs between those who collided.
fn pause(attempt: u32) -> Duration {
    let [jitter] = crate::secrets::random_bytes::<1>();
    Duration::from_millis(u64::from(attempt) * 4 + u64::from(jitter) / 8 * u64::from(attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use sea_orm::sqlx::Error as DriverError;
    use sea_orm::{ConnectOptions, Database, DbErr, RuntimeErr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const WAIT: Duration = Duration::from_millis(200);

    /// One connection, as if it led to a server.
    async fn pool_of_one() -> DatabaseConnection {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1).acquire_timeout(WAIT).sqlx_logging(false);
        Database::connect(options).await.unwrap()
    }

    #[tokio::test]
    async fn a_read_that_gets_no_connection_waits_for_one_only_once() {
        let pool = pool_of_one().await;
        let db = Db { backend: Backend::Server { pool: pool.clone() } };
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
    async fn a_read_whose_connection_was_lost_runs_once_more() {
        // S-67
        let db = Db { backend: Backend::Server { pool: pool_of_one().await } };
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
