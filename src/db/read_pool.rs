//! SQLite's read-only connections, which stay here once they are open.
//!
//! A connection that goes back to sqlx's pool is pinged on its way, from a task of its own: for each
//! query two more changes of thread, although a file does not go away between two queries. What else the pool is for holds here too: there are no more
//! connections than it allows, who waits for one does not wait for ever, and none is used again that
//! failed. A query that is dropped half-way harms nothing: the connection's own thread ends it before
//! it takes the next.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sea_orm::error::ConnAcquireErr;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _};
use sea_orm::{DatabaseConnection, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::DATABASE_TIMEOUT;

/// The read-only connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ReadPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: SqlitePool,
    size: u32,
    permits: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self) -> Result<Reader<'_>, DbErr> {
        let refused = |error| DbErr::ConnectionAcquire(error);
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => timeout(DATABASE_TIMEOUT, self.permits.acquire())
                .await
                .map_err(|_| refused(ConnAcquireErr::Timeout))?
                .map_err(|_| refused(ConnAcquireErr::ConnectionClosed))?,
        };
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.pool.acquire().await.map_err(|error| DbErr::Conn(driver(error)))?.detach(),
        };
        Ok(Reader { connection: Some(connection), inner: self, _permit: permit })
    }
}

/// A connection for the length of one query.
struct Reader<'a> {
    connection: Option<SqliteConnection>,
    inner: &'a Inner,
    // Given back after the connection: fields are dropped in their order, and after `drop`.
    _permit: SemaphorePermit<'a>,
}

impl Reader<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, DbErr> {
        self.connection.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    /// The result; after an error the connection is not used again.
    fn end<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        result.map_err(|error| {
            self.connection = None;
            driver(error)
        })
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.inner.idle().extend(self.connection.take());
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
    /// As many as `pool` allows, opened by it when they are needed.
    pub(super) fn of(pool: &DatabaseConnection) -> Self {
        let pool = pool.get_sqlite_connection_pool().clone();
        let size = pool.options().get_max_connections();
        let permits = Semaphore::new(usize::try_from(size).unwrap_or(1));
        Self(Arc::new(Inner { pool, size, permits, idle: Mutex::default() }))
    }

    pub(super) async fn execute(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut reader = self.0.take().await?;
        let done = query(statement).execute(reader.connection()?).await;
        reader.end(done).map(ExecResult::from).map_err(DbErr::Exec)
    }

    pub(super) async fn query_one(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut reader = self.0.take().await?;
        let row = query(statement).fetch_optional(reader.connection()?).await;
        Ok(reader.end(row).map_err(DbErr::Query)?.map(QueryResult::from))
    }

    pub(super) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut reader = self.0.take().await?;
        let rows = query(statement).fetch_all(reader.connection()?).await;
        let rows = reader.end(rows).map_err(DbErr::Query)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }

    /// Closes them when the queries under way have ended.
    pub(super) async fn close(&self) {
        // Who still reads after that much patience closes its connection by itself.
        let ended = timeout(DATABASE_TIMEOUT, self.0.permits.acquire_many(self.0.size)).await;
        self.0.permits.close();
        drop(ended);
        let idle = mem::take(&mut *self.0.idle());
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "closing a connection failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::{ConnectOptions, Database, DbBackend};
    use std::time::Duration;

    /// At most two connections, each to a database in memory of its own.
    async fn two() -> ReadPool {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(2).min_connections(0);
        ReadPool::of(&Database::connect(options).await.unwrap())
    }

    fn sql(text: &str) -> Statement {
        Statement::from_string(DbBackend::Sqlite, text)
    }

    const SLOW: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT sum(i) FROM n";

    #[tokio::test]
    async fn no_more_are_open_than_allowed_and_all_queries_are_answered() {
        let readers = two().await;
        let queries = (0..50).map(|_| readers.query_all(sql("SELECT 1 UNION SELECT 2")));
        for rows in futures_util::future::join_all(queries).await {
            assert_eq!(rows.unwrap().len(), 2);
        }
        assert!((1..=2).contains(&readers.0.idle().len()));
    }

    #[tokio::test]
    async fn a_connection_that_failed_is_not_used_again() {
        let readers = two().await;
        readers.query_one(sql("SELECT 1")).await.unwrap();
        assert_eq!(readers.0.idle().len(), 1);
        assert!(readers.query_all(sql("SELECT * FROM nothing")).await.is_err());
        assert_eq!(readers.0.idle().len(), 0);
        assert!(readers.query_one(sql("SELECT 1")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_query_that_is_dropped_half_way_harms_no_other() {
        let readers = two().await;
        for _ in 0..4 {
            let dropped = timeout(Duration::from_millis(2), readers.query_all(sql(SLOW))).await;
            assert!(dropped.is_err());
            assert!(readers.query_one(sql("SELECT 1")).await.unwrap().is_some());
        }
        assert_eq!(readers.0.permits.available_permits(), 2);
    }

    #[tokio::test]
    async fn closing_waits_for_queries_and_refuses_new_ones() {
        let readers = two().await;
        let slow = tokio::spawn({
            let readers = readers.clone();
            async move { readers.query_all(sql(SLOW)).await.map(|rows| rows.len()) }
        });
        while readers.0.permits.available_permits() == 2 {
            tokio::task::yield_now().await;
        }
        readers.close().await;
        assert!(slow.is_finished());
        assert_eq!(slow.await.unwrap().unwrap(), 1);
        let refused = readers.query_all(sql("SELECT 1")).await;
        assert!(matches!(refused, Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))));
    }
}
