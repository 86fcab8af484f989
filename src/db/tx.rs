//! The connection that a store's queries run on, inside a transaction or not.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, Value,
};

use super::StoreError;
use super::read_pool::ReadPool;
use super::statement_batch::{self, StatementBatch};

/// What queries run on. Remembers whether the function that it is lent to has changed anything.
#[derive(Debug)]
pub struct Tx {
    connection: Connection,
    changed: AtomicBool,
    /// In a transaction that several functions have in common: changes that were put off, of whichever of them.
    waiting: Option<Mutex<Vec<StatementBatch>>>,
    /// Why they could not be made, so that nothing that was told here may be believed.
    deferred_error: OnceLock<StoreError>,
}

/// A transaction that was not committed.
#[derive(Debug)]
pub(super) struct CommitError {
    pub(super) error: StoreError,
    /// Whether the connection is known to be out of it.
    pub(super) is_over: bool,
}

#[derive(Debug)]
enum Connection {
    Pooled(DatabaseConnection),
    Reader(ReadPool),
    Transaction(DatabaseTransaction),
}

impl Tx {
    fn on(connection: Connection) -> Self {
        Self { connection, changed: AtomicBool::new(false), waiting: None, deferred_error: OnceLock::new() }
    }

    pub(super) fn pooled(pool: DatabaseConnection) -> Self {
        Self::on(Connection::Pooled(pool))
    }

    pub(super) fn reader(readers: ReadPool) -> Self {
        Self::on(Connection::Reader(readers))
    }

    pub(super) fn transaction(transaction: DatabaseTransaction) -> Self {
        Self::on(Connection::Transaction(transaction))
    }

    /// One in which several functions are run, and all of them again if it is [marked for rollback](Self::deferred_error).
    pub(super) fn shared(transaction: DatabaseTransaction) -> Self {
        Self { waiting: Some(Mutex::default()), ..Self::transaction(transaction) }
    }

    /// Why changes that were put off could not be made, whoever asked for them.
    pub(super) fn deferred_error(&self) -> Option<&StoreError> {
        self.deferred_error.get()
    }

    /// Whether anything was changed since the last time this was asked.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    pub(super) async fn commit(self) -> Result<(), CommitError> {
        if let Err(error) = self.flush().await {
            return Err(CommitError { is_over: self.rollback().await, error: error.into() });
        }
        match self.connection {
            Connection::Pooled(_) | Connection::Reader(_) => Ok(()),
            Connection::Transaction(transaction) => {
                let failed = |error: DbErr| CommitError { is_over: false, error: error.into() };
                transaction.commit().await.map_err(failed)
            }
        }
    }

    /// Whether the connection is known to be out of the transaction. If not, nothing of this was committed, but
    /// of what is begun on it next nobody knows.
    pub(super) async fn rollback(self) -> bool {
        let Connection::Transaction(transaction) = self.connection else { return true };
        let done = transaction.rollback().await;
        done.inspect_err(|error| tracing::debug!(%error, "a rollback failed")).is_ok()
    }

    /// Runs statements in their order, each of which is to change one row, found by its key. In a common
    /// transaction they may be put off until something else is asked for, or to its end.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if one of them finds no row; as for any statement.
    pub async fn execute_each(&self, statements: Vec<Statement>) -> Result<(), StoreError> {
        // Also where one of them fails: those before it have changed something.
        self.changed.store(true, Ordering::Relaxed);
        if self.get_database_backend() != DbBackend::Sqlite {
            return Ok(self.send_all(statements.into_iter().map(StatementBatch::one).collect()).await?);
        }
        let bundles = statement_batch::of(statements);
        let Some(waiting) = &self.waiting else {
            return Ok(self.send_all(statement_batch::merged(bundles)).await?);
        };
        waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(bundles);
        Ok(())
    }

    /// Makes the changes that were put off.
    async fn flush(&self) -> Result<(), DbErr> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        let bundles = mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let sent = self.send_all(statement_batch::merged(bundles)).await;
        if let Err(error) = &sent {
            // The first reason stays.
            drop(self.deferred_error.set(error.clone().into()));
        }
        sent
    }

    async fn send_all(&self, bundles: Vec<StatementBatch>) -> Result<(), DbErr> {
        for StatementBatch { statement, count } in bundles {
            let sent = self.send(statement).await?;
            // MySQL counts a row twice that an insertion finds and updates.
            if sent.rows_affected() < count {
                return Err(DbErr::RecordNotUpdated);
            }
        }
        Ok(())
    }

    async fn send(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &self.connection {
            Connection::Pooled(pool) => pool.execute_raw(statement).await,
            Connection::Reader(readers) => readers.execute(statement).await,
            Connection::Transaction(transaction) => transaction.execute_raw(statement).await,
        }
    }

    fn note_query(&self, sql: &str) {
        if !sql.starts_with("SELECT") {
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    fn note_execution(&self, done: &ExecResult) {
        if done.rows_affected() > 0 {
            self.changed.store(true, Ordering::Relaxed);
        }
    }
}

/// SQLite parses a prepared statement anew at each run if its `LIMIT` is bound to a new value, which
/// costs more than the run. There are few limits, so they may stand in the text.
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
            Connection::Reader(_) => DbBackend::Sqlite,
            Connection::Transaction(transaction) => transaction.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        let done = self.send(statement).await?;
        self.note_execution(&done);
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.flush().await?;
        let done = match &self.connection {
            Connection::Pooled(pool) => pool.execute_unprepared(sql).await,
            Connection::Reader(readers) => {
                readers.execute(Statement::from_string(DbBackend::Sqlite, sql)).await
            }
            Connection::Transaction(transaction) => transaction.execute_unprepared(sql).await,
        }?;
        self.note_execution(&done);
        Ok(done)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.flush().await?;
        let statement = with_literal_limit(statement);
        self.note_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_one_raw(statement).await,
            Connection::Reader(readers) => readers.query_one(statement).await,
            Connection::Transaction(transaction) => transaction.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.flush().await?;
        let statement = with_literal_limit(statement);
        self.note_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_all_raw(statement).await,
            Connection::Reader(readers) => readers.query_all(statement).await,
            Connection::Transaction(transaction) => transaction.query_all_raw(statement).await,
        }
    }
}
