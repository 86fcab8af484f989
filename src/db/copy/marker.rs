//! The mark of a copy: a table in the target. It stores the id of the source database, and whether the copy
//! is complete. A server does not start on an incomplete copy.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use super::super::{Db, StoreError, Tx};
use super::{CopyError, catalog};

/// The mark of a database that is the target of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyMark {
    /// The id of the source database.
    pub origin: String,
    /// The generation of the complete copy; `None` while the copy is incomplete.
    pub generation: Option<i64>,
}

const TABLE: &str = "tripgate_copy";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS tripgate_copy \
                      (id INTEGER NOT NULL PRIMARY KEY, origin VARCHAR(64) NOT NULL, generation BIGINT NULL)";

/// Returns the mark, or `None` if the database has none.
pub(super) async fn find(connection: &impl ConnectionTrait) -> Result<Option<CopyMark>, DbErr> {
    if catalog::names(connection).await?.contains(TABLE) { row(connection).await } else { Ok(None) }
}

async fn row(connection: &impl ConnectionTrait) -> Result<Option<CopyMark>, DbErr> {
    let backend = connection.get_database_backend();
    let select = Statement::from_string(backend, "SELECT origin, generation FROM tripgate_copy WHERE id = 1");
    let Some(row) = connection.query_one_raw(select).await? else { return Ok(None) };
    Ok(Some(CopyMark { origin: row.try_get_by_index(0)?, generation: row.try_get_by_index(1)? }))
}

/// Writes the mark, or replaces the existing mark.
pub(super) async fn put(connection: &DatabaseConnection, mark: &CopyMark) -> Result<(), CopyError> {
    let backend = connection.get_database_backend();
    connection.execute_unprepared(CREATE).await?;
    let mark = mark.clone();
    let (insert, update) = match backend {
        DbBackend::Postgres => (
            "INSERT INTO tripgate_copy (origin, generation, id) VALUES ($1, $2, 1)",
            "UPDATE tripgate_copy SET origin = $1, generation = $2 WHERE id = 1",
        ),
        _ => (
            "INSERT INTO tripgate_copy (origin, generation, id) VALUES (?, ?, 1)",
            "UPDATE tripgate_copy SET origin = ?, generation = ? WHERE id = 1",
        ),
    };
    let sql = if row(connection).await?.is_some() { update } else { insert };
    let values = [mark.origin.into(), mark.generation.into()];
    connection.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

impl Db {
    /// Returns whether this database is the target of a copy that is not complete.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn is_incomplete_copy(&self) -> Result<bool, StoreError> {
        self.read((), |tx, ()| is_incomplete(tx).boxed()).await
    }
}

async fn is_incomplete(tx: &Tx) -> Result<bool, StoreError> {
    Ok(find(tx).await?.is_some_and(|mark| mark.generation.is_none()))
}
