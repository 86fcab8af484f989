//! Checks whether a SQLite database is damaged.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};

use super::connection_options::sqlite_options;
use super::full_disk::connect_immutable;
use super::lanes::Lane;
use super::{Backend, Db, StoreError};

/// The result of [`Db::check_integrity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// The database is not damaged.
    Sound,
    /// The database is damaged. The text describes the first fault.
    Damaged(String),
    /// The check has not ended within the limit. It continues in the background; if it finds a fault, the
    /// database rejects writes.
    Unfinished,
}

impl Db {
    /// Checks the structure of a SQLite file, whose URL is `url`. Waits for the result for at most `limit`.
    /// Returns `Sound` for a database server, which checks its own files.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the check can't be run.
    pub async fn check_integrity(&self, url: &str, limit: Duration) -> Result<Integrity, StoreError> {
        let Backend::Sqlite { files, .. } = &self.backend else { return Ok(Integrity::Sound) };
        // The check can take minutes, so it has a separate connection.
        let connection = match Database::connect(sqlite_options(url, Some(Lane::default()))).await {
            Ok(connection) => connection,
            Err(error) => connect_immutable(url).await.ok_or(error)?,
        };
        let mut check = tokio::spawn(async move {
            let fault = find_fault(&connection).await;
            drop(connection.close().await);
            fault
        });
        if let Ok(found) = tokio::time::timeout(limit, &mut check).await {
            let fault = found.map_err(|_| StoreError::unavailable())??;
            return Ok(fault.map_or(Integrity::Sound, Integrity::Damaged));
        }
        let files = files.clone();
        tokio::spawn(async move {
            match check.await {
                Ok(Ok(Some(fault))) => files.report_damage(fault),
                Ok(Ok(None)) => tracing::info!("the database was checked and is not damaged"),
                Ok(Err(error)) => tracing::warn!(%error, "failed to check the database"),
                Err(error) => tracing::warn!(%error, "failed to check the database"),
            }
        });
        Ok(Integrity::Unfinished)
    }
}

/// Returns the first fault of the database. If SQLite's check itself fails, because a page can't be read at
/// all, returns the error of the check as the fault.
pub(super) async fn find_fault(connection: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let statement = Statement::from_string(DbBackend::Sqlite, "PRAGMA quick_check(1)");
    let row = match connection.query_one_raw(statement).await {
        Err(error) if error.to_string().contains("malformed") => return Ok(Some(error.to_string())),
        row => row?,
    };
    let result: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?;
    // SQLite can describe a fault in several lines, but an error message has only one line.
    Ok(result.filter(|result| result != "ok").map(|result| result.replace('\n', " ")))
}
