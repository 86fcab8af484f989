//! The connection that queries run on, inside or outside a transaction. Each statement is logged at the level `trace`
//! with the target `tripgate::sql`, without the values that are bound to it.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, Value,
};

use super::StoreError;
use super::read_pool::{ReadPool, Snapshot};
use super::rows::Rows;
use super::statement_batch::{self, StatementBatch};

/// The connection for queries. Records whether the current function has changed anything.
#[derive(Debug)]
pub struct Tx {
    connection: Connection,
    changed: AtomicBool,
    /// The deferred changes of all functions. `Some` only in a transaction that several functions share.
    deferred: Option<Mutex<Vec<StatementBatch>>>,
    /// Why a deferred change failed. The results of all functions are then invalid.
    deferred_error: OnceLock<StoreError>,
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) struct CommitError {
    pub(super) error: StoreError,
    /// Whether the connection is known to have left the transaction.
    pub(super) is_over: bool,
}

#[derive(Debug)]
enum Connection {
    Pooled(DatabaseConnection),
    Reader(ReadPool),
    Snapshot(Arc<Snapshot>),
    Transaction(DatabaseTransaction),
}

impl Tx {
    fn new(connection: Connection) -> Self {
        Self { connection, changed: AtomicBool::new(false), deferred: None, deferred_error: OnceLock::new() }
    }

    pub(super) fn pooled(pool: DatabaseConnection) -> Self {
        Self::new(Connection::Pooled(pool))
    }

    pub(super) fn reader(readers: ReadPool) -> Self {
        Self::new(Connection::Reader(readers))
    }

    pub(super) fn snapshot(snapshot: Arc<Snapshot>) -> Self {
        Self::new(Connection::Snapshot(snapshot))
    }

    pub(super) fn transaction(transaction: DatabaseTransaction) -> Self {
        log("BEGIN");
        Self::new(Connection::Transaction(transaction))
    }

    /// Creates a transaction that several functions share. If a [deferred change
    /// fails](Self::deferred_error), all functions must run again.
    pub(super) fn shared(transaction: DatabaseTransaction) -> Self {
        Self { deferred: Some(Mutex::default()), ..Self::transaction(transaction) }
    }

    /// Returns why a deferred change of any function failed, if one failed.
    pub(super) fn deferred_error(&self) -> Option<&StoreError> {
        self.deferred_error.get()
    }

    /// Returns whether anything has changed since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    pub(super) async fn commit(self) -> Result<(), CommitError> {
        if let Err(error) = self.flush().await {
            return Err(CommitError { is_over: self.rollback().await, error: error.into() });
        }
        match self.connection {
            Connection::Pooled(_) | Connection::Reader(_) | Connection::Snapshot(_) => Ok(()),
            Connection::Transaction(transaction) => {
                let failed =
                    |error: DbErr| CommitError { is_over: false, error: StoreError::from(error).of_commit() };
                log("COMMIT");
                transaction.commit().await.map_err(failed)
            }
        }
    }

    /// Rolls back. Returns whether the connection is known to have left the transaction. If not, nothing of
    /// this transaction was committed, but the state of the connection is unknown.
    pub(super) async fn rollback(self) -> bool {
        let Connection::Transaction(transaction) = self.connection else { return true };
        log("ROLLBACK");
        let result = transaction.rollback().await;
        result.inspect_err(|error| tracing::debug!(%error, "failed to roll back a transaction")).is_ok()
    }

    /// Executes statements in order. Each must change one row, selected by its key. If several functions
    /// share the transaction, the statements can be executed later: before the next statement that does not
    /// come from `execute_each`, or before the commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if a statement changes no row, and the errors of any statement. If a
    /// statement that is executed later fails, all functions of the transaction run again.
    pub async fn execute_each(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        // Set the flag even if a statement fails, because earlier statements have possibly changed something.
        self.changed.store(true, Ordering::Relaxed);
        if self.get_database_backend() != DbBackend::Sqlite {
            return Ok(self.send_all(statements.into_iter().map(StatementBatch::single).collect()).await?);
        }
        let batches = statement_batch::from_statements(statements);
        let Some(deferred) = &self.deferred else {
            return Ok(self.send_all(statement_batch::merge(batches)).await?);
        };
        deferred.lock().unwrap_or_else(PoisonError::into_inner).extend(batches);
        Ok(())
    }

    /// Executes the deferred changes.
    async fn flush(&self) -> Result<(), DbErr> {
        let Some(deferred) = &self.deferred else { return Ok(()) };
        let batches = mem::take(&mut *deferred.lock().unwrap_or_else(PoisonError::into_inner));
        let sent = self.send_all(statement_batch::merge(batches)).await;
        if let Err(error) = &sent {
            // This call fails if an error is stored already. The first error is kept.
            drop(self.deferred_error.set(error.clone().into()));
        }
        sent
    }

    async fn send_all(&self, batches: Vec<StatementBatch>) -> Result<(), DbErr> {
        for StatementBatch { statement, count } in batches {
            let sent = self.send(statement).await?;
            // MySQL counts a row twice if an upsert updates it.
            if sent.rows_affected() < count {
                return Err(DbErr::RecordNotUpdated);
            }
        }
        Ok(())
    }

    /// Returns the rows of a query. On SQLite, this is the fastest way to read in [`super::Db::read`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn query_rows(&self, statement: Statement) -> Result<Rows, StoreError> {
        let Connection::Reader(readers) = &self.connection else {
            return Ok(self.query_all_raw(statement).await?.into());
        };
        let statement = with_literal_limit(statement);
        log(&statement.sql);
        Ok(readers.query_rows(statement).await?)
    }

    async fn send(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        log(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.execute_raw(statement).await,
            Connection::Reader(readers) => readers.execute(statement).await,
            Connection::Snapshot(snapshot) => snapshot.execute(statement).await,
            Connection::Transaction(transaction) => transaction.execute_raw(statement).await,
        }
    }

    fn record_query(&self, sql: &str) {
        log(sql);
        if !sql.starts_with("SELECT") {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    fn record_execution(&self, result: &ExecResult) {
        if result.rows_affected() > 0 {
            self.changed.store(true, Ordering::Relaxed);
        }
    }
}

fn log(sql: &str) {
    tracing::trace!(target: "tripgate::sql", sql);
}

/// Moves the value of a bound `LIMIT` into the SQL text. SQLite parses a prepared statement again if its
/// `LIMIT` is bound to a new value, which costs more than running it. Queries use few different limits, so
/// there are few different texts to cache.
fn with_literal_limit(mut statement: Statement) -> Statement {
    const BOUND: &str = " LIMIT ?";
    if statement.db_backend == DbBackend::Sqlite
        && statement.sql.ends_with(BOUND)
        && let Some(values) = &mut statement.values
        && let Some(Value::BigUnsigned(Some(limit))) = values.0.last()
    {
        let limit = format!(" LIMIT {limit}");
        values.0.pop();
        statement.sql.truncate(statement.sql.len() - BOUND.len());
        statement.sql.push_str(&limit);
    }
    statement
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        match &self.connection {
            Connection::Pooled(pool) => pool.get_database_backend(),
            Connection::Reader(_) | Connection::Snapshot(_) => DbBackend::Sqlite,
            Connection::Transaction(transaction) => transaction.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        let result = self.send(statement).await?;
        self.record_execution(&result);
        Ok(result)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        log(sql);
        let result = match &self.connection {
            Connection::Pooled(pool) => pool.execute_unprepared(sql).await,
            Connection::Reader(readers) => {
                readers.execute(Statement::from_string(DbBackend::Sqlite, sql)).await
            }
            Connection::Snapshot(snapshot) => {
                snapshot.execute(Statement::from_string(DbBackend::Sqlite, sql)).await
            }
            Connection::Transaction(transaction) => transaction.execute_unprepared(sql).await,
        }?;
        self.record_execution(&result);
        Ok(result)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.flush().await?;
        let statement = with_literal_limit(statement);
        self.record_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_one_raw(statement).await,
            Connection::Reader(readers) => readers.query_one(statement).await,
            Connection::Snapshot(snapshot) => snapshot.query_one(statement).await,
            Connection::Transaction(transaction) => transaction.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.flush().await?;
        let statement = with_literal_limit(statement);
        self.record_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_all_raw(statement).await,
            Connection::Reader(readers) => readers.query_all(statement).await,
            Connection::Snapshot(snapshot) => snapshot.query_all(statement).await,
            Connection::Transaction(transaction) => transaction.query_all_raw(statement).await,
        }
    }
}
