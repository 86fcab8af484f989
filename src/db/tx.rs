//! The connection that a store's queries run on, inside a transaction or not.

use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    Statement, Value,
};

use super::StoreError;
use super::readers::Readers;

/// What queries run on. Remembers whether anything was changed through it.
#[derive(Debug)]
pub struct Tx {
    connection: Connection,
    changed: AtomicBool,
}

#[derive(Debug)]
enum Connection {
    Pooled(DatabaseConnection),
    Reader(Readers),
    Transaction(DatabaseTransaction),
}

impl Tx {
    pub(super) fn pooled(pool: DatabaseConnection) -> Self {
        Self { connection: Connection::Pooled(pool), changed: AtomicBool::new(false) }
    }

    pub(super) fn reader(readers: Readers) -> Self {
        Self { connection: Connection::Reader(readers), changed: AtomicBool::new(false) }
    }

    pub(super) fn transaction(transaction: DatabaseTransaction) -> Self {
        Self { connection: Connection::Transaction(transaction), changed: AtomicBool::new(false) }
    }

    /// Whether anything was changed since the last time this was asked.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.connection {
            Connection::Pooled(_) | Connection::Reader(_) => Ok(()),
            Connection::Transaction(transaction) => transaction.commit().await.map_err(StoreError::from),
        }
    }

    /// A rollback that fails leaves nothing behind: the connection is lost, and with it the transaction.
    pub(super) async fn rollback(self) {
        if let Connection::Transaction(transaction) = self.connection
            && let Err(error) = transaction.rollback().await
        {
            tracing::debug!(%error, "a rollback failed");
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
        let done = match &self.connection {
            Connection::Pooled(pool) => pool.execute_raw(statement).await,
            Connection::Reader(readers) => readers.execute(statement).await,
            Connection::Transaction(transaction) => transaction.execute_raw(statement).await,
        }?;
        self.note_execution(&done);
        Ok(done)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
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
        let statement = with_literal_limit(statement);
        self.note_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_one_raw(statement).await,
            Connection::Reader(readers) => readers.query_one(statement).await,
            Connection::Transaction(transaction) => transaction.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = with_literal_limit(statement);
        self.note_query(&statement.sql);
        match &self.connection {
            Connection::Pooled(pool) => pool.query_all_raw(statement).await,
            Connection::Reader(readers) => readers.query_all(statement).await,
            Connection::Transaction(transaction) => transaction.query_all_raw(statement).await,
        }
    }
}
