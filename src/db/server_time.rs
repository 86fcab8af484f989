//! The clock of the database server.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Backend, Db, StoreError, Tx};
use crate::clock::from_millis;

impl Db {
    /// Returns the time of the database server's clock, or `None` for SQLite, which uses the clock of this
    /// machine.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn now(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        match &self.backend {
            Backend::Sqlite { .. } => Ok(None),
            Backend::Server { .. } => self.read((), |tx, ()| server_time(tx).boxed()).await.map(Some),
        }
    }
}

/// Returns the time of the database server's clock.
async fn server_time(tx: &Tx) -> Result<DateTime<Utc>, StoreError> {
    let backend = tx.get_database_backend();
    // Neither query depends on the time zone of the session.
    let sql = match backend {
        DbBackend::MySql => "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",
        _ => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    };
    let row = tx.query_one_raw(Statement::from_string(backend, sql)).await?;
    let row = row.ok_or_else(|| StoreError::internal("the database returned no time"))?;
    Ok(from_millis(row.try_get_by_index(0)?))
}
