//! The pool of SQLite's read-only connections.
//!
//! `sqlx`'s pool pings each returned connection in a separate task. The ping costs two more thread switches
//! for each query, and a connection to a file needs no ping. This pool therefore takes its
//! connections from the pool of `sqlx` and retains them. It never opens more connections than the pool of
//! `sqlx` allows, limits the wait for a connection, and closes a connection after an error. A caller can drop
//! a query at any time: the connection's thread finishes the query before it runs the next one. SQLite
//! interrupts a query that exceeds the time limit of the pool. In the lane of requests,
//! [`ReadPool::query_rows`] does not use these connections: the threads of `row_readers` run its statements.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sea_orm::error::ConnAcquireErr;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _};
use sea_orm::{DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::DATABASE_TIMEOUT;
use super::lanes::Lane;
use super::row_readers::{DatabaseFile, RowReaders};
use super::rows::Rows;
use super::statement_deadline::{CHECK_EVERY, StatementDeadline};
use crate::thread_priority;

/// The read-only connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ReadPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: RwLock<SqlitePool>,
    size: u32,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
    lane: Lane,
    /// The maximum duration of a query.
    limit: Duration,
    /// The threads that run the most frequent reads of requests.
    row_readers: Option<RowReaders>,
}

/// An open connection.
#[derive(Debug)]
struct Session {
    connection: SqliteConnection,
    deadline: Arc<StatementDeadline>,
}

impl Session {
    async fn open(pool: &SqlitePool, lane: Lane) -> Result<Self, sqlx::Error> {
        let mut connection = pool.acquire().await?.detach();
        let deadline = Arc::new(StatementDeadline::never());
        let running = Arc::clone(&deadline);
        let mut has_normal_priority = true;
        // SQLite calls this progress handler on the connection's thread. Returning false interrupts the
        // query.
        let check = move || {
            if lane == Lane::Searches && mem::replace(&mut has_normal_priority, false) {
                thread_priority::lower();
            }
            !running.has_passed()
        };
        connection.lock_handle().await?.set_progress_handler(CHECK_EVERY, check);
        Ok(Self { connection, deadline })
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> SqlitePool {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an idle connection, or opens a connection. The caller must hold a permit.
    async fn session(&self) -> Result<Session, DbErr> {
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            None => {
                Session::open(&self.pool(), self.lane).await.map_err(|error| DbErr::Conn(driver(error)))?
            }
        };
        session.deadline.set(self.limit);
        Ok(session)
    }

    async fn take(&self) -> Result<Reader<'_>, DbErr> {
        let failed = |error| DbErr::ConnectionAcquire(error);
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => timeout(DATABASE_TIMEOUT, self.permits.acquire())
                .await
                .map_err(|_| failed(ConnAcquireErr::Timeout))?
                .map_err(|_| failed(ConnAcquireErr::ConnectionClosed))?,
        };
        Ok(Reader { session: Some(self.session().await?), inner: self, _permit: permit })
    }
}

/// A connection for one query. Dropping this value returns the connection to the pool.
struct Reader<'a> {
    session: Option<Session>,
    inner: &'a Inner,
    // The permit is released after the connection is back in the pool, because `drop` runs before the fields
    // are dropped.
    _permit: SemaphorePermit<'a>,
}

impl Reader<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbErr> {
        let session = self.session.as_mut();
        let connection = session.map(|session| &mut session.connection);
        connection.ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    /// Returns the result of the query. Closes the connection after an error.
    fn finish<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        result.map_err(|error| {
            self.session = None;
            driver(error)
        })
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.inner.idle().extend(self.session.take());
    }
}

/// A connection in a read transaction. Dropping this value before [`Snapshot::end`] closes the connection,
/// because a query is possibly still running on it.
#[derive(Debug)]
pub(super) struct Snapshot {
    session: AsyncMutex<Option<Session>>,
    pool: ReadPool,
    _permit: OwnedSemaphorePermit,
}

impl Snapshot {
    /// Ends the transaction, and returns the connection to the pool.
    pub(super) async fn end(&self) {
        let Some(mut session) = self.session.lock().await.take() else { return };
        session.deadline.set(self.pool.0.limit);
        if sqlx::query("ROLLBACK").execute(&mut session.connection).await.is_ok() {
            self.pool.0.idle().push(session);
        }
    }

    pub(super) async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut session = self.session.lock().await;
        let done = query(statement).execute(self.connection(&mut session)?).await;
        done.map(ExecResult::from).map_err(|error| DbErr::Exec(driver(error)))
    }

    pub(super) async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut session = self.session.lock().await;
        let row = query(statement).fetch_optional(self.connection(&mut session)?).await;
        Ok(row.map_err(|error| DbErr::Query(driver(error)))?.map(QueryResult::from))
    }

    pub(super) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut session = self.session.lock().await;
        let rows = query(statement).fetch_all(self.connection(&mut session)?).await;
        let rows = rows.map_err(|error| DbErr::Query(driver(error)))?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    /// Returns the connection for the next statement, and starts the time limit of the statement.
    fn connection<'a>(&self, session: &'a mut Option<Session>) -> Result<&'a mut SqliteConnection, DbErr> {
        let session = session.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
        session.deadline.set(self.pool.0.limit);
        Ok(&mut session.connection)
    }
}

fn driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}

fn query(statement: Statement) -> Query<'static, Sqlite, SqlxValues> {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

impl ReadPool {
    /// Opens connections on demand, up to the limit of `pool`. `limit` is the maximum duration of a query.
    fn new(pool: &DatabaseConnection, lane: Lane, limit: Duration, row_readers: Option<RowReaders>) -> Self {
        let pool = pool.get_sqlite_connection_pool().clone();
        let size = pool.options().get_max_connections();
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        let pool = RwLock::new(pool);
        Self(Arc::new(Inner { pool, size, permits, idle: Mutex::default(), lane, limit, row_readers }))
    }

    /// Creates the pool of a lane. `pool` is connected to `file`.
    pub(super) fn for_lane(pool: &DatabaseConnection, lane: Lane, file: DatabaseFile) -> Self {
        let (size, limit) = (lane.row_readers(), lane.statement_timeout());
        let row_readers = (size > 0).then(|| RowReaders::new(file, size, limit));
        Self::new(pool, lane, limit, row_readers)
    }

    /// Waits until the running queries have ended, then closes all connections. Later queries use new
    /// connections from `pool`, which is connected to `file`.
    ///
    /// # Errors
    ///
    /// [`DbErr::ConnectionAcquire`] if the queries do not end in time, or the pool was closed.
    pub(super) async fn replace_pool(
        &self,
        pool: &DatabaseConnection,
        file: DatabaseFile,
    ) -> Result<(), DbErr> {
        let failed = |error| DbErr::ConnectionAcquire(error);
        let _all = timeout(DATABASE_TIMEOUT, self.0.permits.acquire_many(self.0.size))
            .await
            .map_err(|_| failed(ConnAcquireErr::Timeout))?
            .map_err(|_| failed(ConnAcquireErr::ConnectionClosed))?;
        let pool = pool.get_sqlite_connection_pool().clone();
        *self.0.pool.write().unwrap_or_else(PoisonError::into_inner) = pool;
        self.0.idle().clear();
        match &self.0.row_readers {
            Some(readers) => readers.replace_file(file).await,
            None => Ok(()),
        }
    }

    pub(super) async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut reader = self.0.take().await?;
        let done = query(statement).execute(reader.connection()?).await;
        reader.finish(done).map(ExecResult::from).map_err(DbErr::Exec)
    }

    pub(super) async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut reader = self.0.take().await?;
        let row = query(statement).fetch_optional(reader.connection()?).await;
        Ok(reader.finish(row).map_err(DbErr::Query)?.map(QueryResult::from))
    }

    pub(super) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut reader = self.0.take().await?;
        let rows = query(statement).fetch_all(reader.connection()?).await;
        let rows = reader.finish(rows).map_err(DbErr::Query)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    /// Returns the rows of a statement, read by a thread of `row_readers` if the pool has one.
    pub(super) async fn query_rows(&self, statement: Statement) -> Result<Rows, DbErr> {
        match &self.0.row_readers {
            Some(readers) => readers.query(statement).await.map(Rows::from),
            None => self.query_all(statement).await.map(Rows::from),
        }
    }

    /// Returns the number of connections in use and the maximum number of connections.
    pub(super) fn usage(&self) -> (u32, u32) {
        let free = u32::try_from(self.0.permits.available_permits()).unwrap_or(self.0.size);
        let (used, max) = self.0.row_readers.as_ref().map_or((0, 0), RowReaders::usage);
        let count = |threads: usize| u32::try_from(threads).unwrap_or(u32::MAX);
        (self.0.size.saturating_sub(free) + count(used), self.0.size + count(max))
    }

    /// Begins a read transaction: all its queries see the database as it was at the first query.
    ///
    /// # Errors
    ///
    /// [`DbErr`].
    pub(super) async fn snapshot(&self) -> Result<Snapshot, DbErr> {
        let failed = |error| DbErr::ConnectionAcquire(error);
        let permit = timeout(DATABASE_TIMEOUT, Arc::clone(&self.0.permits).acquire_owned())
            .await
            .map_err(|_| failed(ConnAcquireErr::Timeout))?
            .map_err(|_| failed(ConnAcquireErr::ConnectionClosed))?;
        let mut session = self.0.session().await?;
        let begun = sqlx::query("BEGIN").execute(&mut session.connection).await;
        begun.map_err(|error| DbErr::Exec(driver(error)))?;
        Ok(Snapshot { session: AsyncMutex::new(Some(session)), pool: self.clone(), _permit: permit })
    }

    /// Closes the pool, after the running queries have ended.
    pub(super) async fn close(&self) {
        // A query that still runs after the timeout keeps its connection until the pool is dropped.
        let permits = timeout(DATABASE_TIMEOUT, self.0.permits.acquire_many(self.0.size));
        let rows = async {
            if let Some(readers) = &self.0.row_readers {
                readers.close().await;
            }
        };
        let (permits, ()) = tokio::join!(permits, rows);
        self.0.permits.close();
        drop(permits);
        let idle = mem::take(&mut *self.0.idle());
        for Session { connection, .. } in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "failed to close a read-only connection");
            }
        }
        self.0.pool().close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::StoreError;
    use sea_orm::{ConnectOptions, Database, DbBackend};
    use std::time::Instant;

    /// Returns a pool of at most two connections, each to a separate in-memory database.
    async fn pool_of_two() -> ReadPool {
        with_limit(DATABASE_TIMEOUT).await
    }

    async fn with_limit(limit: Duration) -> ReadPool {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(2).min_connections(0);
        ReadPool::new(&Database::connect(options).await.unwrap(), Lane::Requests, limit, None)
    }

    fn sql(text: &str) -> Statement {
        Statement::from_string(DbBackend::Sqlite, text)
    }

    const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) \
         SELECT sum(i) FROM n";

    #[tokio::test]
    async fn fifty_parallel_queries_share_the_two_connections_of_the_pool() {
        let readers = pool_of_two().await;
        let queries = (0..50).map(|_| readers.query_all(sql("SELECT 1 UNION SELECT 2")));
        for rows in futures_util::future::join_all(queries).await {
            assert_eq!(rows.unwrap().len(), 2);
        }
        assert!((1..=2).contains(&readers.0.idle().len()));
    }

    #[tokio::test]
    async fn a_connection_is_not_reused_after_a_failed_query() {
        let readers = pool_of_two().await;
        readers.query_one(sql("SELECT 1")).await.unwrap();
        assert_eq!(readers.0.idle().len(), 1);
        assert!(readers.query_all(sql("SELECT * FROM nothing")).await.is_err());
        assert_eq!(readers.0.idle().len(), 0);
        assert!(readers.query_one(sql("SELECT 1")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_dropped_query_does_not_affect_other_queries() {
        let readers = pool_of_two().await;
        for _ in 0..4 {
            let dropped = timeout(Duration::from_millis(2), readers.query_all(sql(SLOW))).await;
            assert!(dropped.is_err());
            assert!(readers.query_one(sql("SELECT 1")).await.unwrap().is_some());
        }
        assert_eq!(readers.0.permits.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_query_is_interrupted_at_its_deadline() {
        // A-1, S-105
        let readers = with_limit(Duration::from_millis(20)).await;
        let endless = SLOW.replace("1000000", "1000000000");
        let started = Instant::now();
        let interrupted = readers.query_all(sql(&endless)).await.map_err(StoreError::from);
        assert!(matches!(interrupted, Err(StoreError::TimedOut(_))), "{interrupted:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(readers.query_one(sql("SELECT 1")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn closing_the_pool_waits_for_running_queries_and_rejects_new_queries() {
        let readers = pool_of_two().await;
        let slow = tokio::spawn({
            let readers = readers.clone();
            let slow = SLOW.replace("1000000", "2000000");
            async move { readers.query_all(sql(&slow)).await.map(|rows| rows.len()) }
        });
        while readers.0.permits.available_permits() == 2 {
            tokio::task::yield_now().await;
        }
        readers.close().await;
        // The query takes longer than this timeout. The task ends shortly after the query.
        let rows = timeout(Duration::from_millis(250), slow).await;
        assert_eq!(rows.expect("the pool closed before the query ended").unwrap().unwrap(), 1);
        let rejected = readers.query_all(sql("SELECT 1")).await;
        assert!(matches!(rejected, Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))));
    }
}
