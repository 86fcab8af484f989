//! Runs the pending steps of the schema on a copy of the database, and measures them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait};

use super::open::{MigrationState, accepted_steps, connect_once, sqlite_file};
use super::sqlite_files::wal_of;
use super::sqlite_writer::immediate;
use super::{OpenError, open};

/// A migration step that was run on a copy of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsedStep {
    /// The name of the step.
    pub name: String,
    /// How long the step took.
    pub duration: Duration,
    /// Why the step failed, if it failed. Later steps are not run after a failure.
    pub error: Option<String>,
}

/// The result of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// The pending steps, up to and including the first step that failed.
    pub steps: Vec<RehearsedStep>,
    /// The size of the copy before the steps, in bytes.
    pub bytes_before: u64,
    /// The size of the copy after the steps, in bytes. On SQLite, includes the write-ahead log.
    pub bytes_after: u64,
}

/// Applies the first `count` steps of the schema to an empty database.
///
/// # Errors
///
/// [`OpenError`].
pub async fn migrate_first(url: &str, count: usize) -> Result<(), OpenError> {
    open::require_directory(url)?;
    let connection = connect_once(url).await?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let migrated = Migrator::up(&connection, Some(count)).await;
    connection.close().await.map_err(failed)?;
    migrated.map_err(failed)
}

/// Runs the pending steps on the copy at `url`, as the start of a server would run them, and measures them.
/// If a step fails, the result contains its error.
///
/// # Errors
///
/// [`OpenError`] if the copy can't be opened.
pub async fn rehearse(url: &str) -> Result<Rehearsal, OpenError> {
    let connection = connect_once(url).await?;
    let rehearsal = run(url, &connection).await;
    connection.close().await.map_err(failed)?;
    rehearsal
}

fn failed(source: DbErr) -> OpenError {
    OpenError::Migration { source }
}

async fn run(url: &str, connection: &DatabaseConnection) -> Result<Rehearsal, OpenError> {
    let steps = accepted_steps(connection).await?;
    let pending = steps.into_iter().filter(|step| step.state == MigrationState::Pending);
    let names: Vec<String> = pending.map(|step| step.name).collect();
    let bytes_before = size(url, connection).await?;
    let mut done = Vec::new();
    if connection.get_database_backend() == DbBackend::MySql {
        run_steps(names, &mut done, async || Migrator::up(connection, Some(1)).await).await;
    } else {
        // The start of a server runs all steps in one transaction.
        let transaction = connection.begin_with_options(immediate()).await.map_err(failed)?;
        run_steps(names, &mut done, async || Migrator::up(&transaction, Some(1)).await).await;
        if done.iter().all(|step| step.error.is_none()) {
            transaction.commit().await.map_err(failed)?;
        } else {
            transaction.rollback().await.map_err(failed)?;
        }
    }
    Ok(Rehearsal { steps: done, bytes_before, bytes_after: size(url, connection).await? })
}

async fn run_steps(
    names: Vec<String>,
    done: &mut Vec<RehearsedStep>,
    step: impl AsyncFn() -> Result<(), DbErr>,
) {
    for name in names {
        let started = Instant::now();
        let error = step().await.err().map(|error| error.to_string());
        let is_last = error.is_some();
        done.push(RehearsedStep { name, duration: started.elapsed(), error });
        if is_last {
            return;
        }
    }
}

/// Returns the size of a database in bytes. The sizes of MySQL are estimates.
async fn size(url: &str, connection: &DatabaseConnection) -> Result<u64, OpenError> {
    if let Some(path) = sqlite_file(url)? {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        return Ok(size(&path) + size(&wal_of(&path)));
    }
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::MySql => {
            "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS SIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE()"
        }
        _ => "SELECT pg_database_size(current_database())",
    };
    let row = connection.query_one_raw(Statement::from_string(backend, sql)).await.map_err(failed)?;
    let size: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(failed)?;
    Ok(u64::try_from(size.unwrap_or(0)).unwrap_or(0))
}
