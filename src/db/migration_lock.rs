//! Ensures that only one process at a time migrates the schema.
//!
//! The lock is a row of the table `tripgate_bootstrap`, which exists before the first migration. The named
//! locks of database servers (`GET_LOCK`, advisory locks) are not used, because they are local to one node of
//! a cluster such as Galera. PostgreSQL runs all steps in one transaction, which locks the row. MySQL commits
//! each DDL statement implicitly. On MySQL, a process therefore takes the lock with a conditional update of
//! the row, and renews the lock while the steps run. Each step can be repeated. SQLite locks the whole file.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, TransactionTrait};

use super::StoreError;
use super::error::is_duplicate_object;
use super::sqlite_writer::immediate;
use crate::secrets::random_bytes;

/// How long a process waits while another process migrates.
const MAX_WAIT: Duration = Duration::from_mins(2);
/// The delay before the next attempt to take the lock or to run the migration.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the lock of a killed process blocks other processes on MySQL, in seconds.
const LEASE_SECS: u64 = 60;
/// The interval between two renewals of the lock.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum number of attempts after errors that the concurrent start of another process causes.
const ATTEMPTS: u32 = 10;

/// Runs the pending steps, or reverts `down` steps, under the lock. Retries after errors that the concurrent
/// start of another process causes.
pub(super) async fn run_locked(connection: &DatabaseConnection, down: Option<u32>) -> Result<(), DbErr> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match run_once(connection, down).await {
            Err(error) if attempt < ATTEMPTS && is_caused_by_another_start(&error) => {
                tracing::debug!(%error, attempt, "retrying the migration");
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// Returns whether the error comes from the start of another process: a conflict, or a table, column or row
/// that the other process has created.
fn is_caused_by_another_start(error: &DbErr) -> bool {
    let conflict =
        matches!(StoreError::from(error.clone()), StoreError::Conflict(_) | StoreError::UniqueViolation(_));
    conflict || is_duplicate_object(error)
}

async fn run_once(connection: &DatabaseConnection, down: Option<u32>) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    if backend != DbBackend::Sqlite {
        create_row(connection).await?;
    }
    if backend == DbBackend::MySql {
        return run_leased(connection, down).await;
    }
    let transaction = connection.begin_with_options(immediate()).await?;
    if backend == DbBackend::Postgres {
        transaction.execute_unprepared("SELECT id FROM tripgate_bootstrap WHERE id = 1 FOR UPDATE").await?;
    }
    match down {
        None => Migrator::up(&transaction, None).await?,
        Some(steps) => Migrator::down(&transaction, Some(steps)).await?,
    }
    transaction.commit().await
}

async fn migrate(connection: &DatabaseConnection, down: Option<u32>) -> Result<(), DbErr> {
    match down {
        None => Migrator::up(connection, None).await,
        Some(steps) => Migrator::down(connection, Some(steps)).await,
    }
}

async fn create_row(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let table = "CREATE TABLE IF NOT EXISTS tripgate_bootstrap \
                 (id INTEGER NOT NULL PRIMARY KEY, holder VARCHAR(32) NULL, expires_at BIGINT NULL)";
    connection.execute_unprepared(table).await?;
    let row = "INSERT INTO tripgate_bootstrap (id) SELECT 1 FROM (SELECT 1 AS one) AS source \
               WHERE NOT EXISTS (SELECT 1 FROM tripgate_bootstrap AS present WHERE present.id = 1)";
    connection.execute_unprepared(row).await?;
    Ok(())
}

async fn run_leased(connection: &DatabaseConnection, down: Option<u32>) -> Result<(), DbErr> {
    let holder = format!("{:032x}", u128::from_le_bytes(random_bytes()));
    take(connection, &holder).await?;
    let result = tokio::select! {
        result = migrate(connection, down) => result,
        never = renew(connection, &holder) => match never {},
    };
    let release = format!("UPDATE tripgate_bootstrap SET holder = NULL WHERE id = 1 AND holder = '{holder}'");
    if let Err(error) = connection.execute_unprepared(&release).await {
        tracing::debug!(%error, "failed to release the migration lock");
    }
    result
}

/// Takes the lock. Waits while another process holds it.
async fn take(connection: &DatabaseConnection, holder: &str) -> Result<(), DbErr> {
    let take = format!(
        "UPDATE tripgate_bootstrap SET holder = '{holder}', expires_at = UNIX_TIMESTAMP() + {LEASE_SECS} \
         WHERE id = 1 AND (holder IS NULL OR expires_at < UNIX_TIMESTAMP())"
    );
    let started = Instant::now();
    while started.elapsed() < MAX_WAIT {
        match connection.execute_unprepared(&take).await {
            Ok(taken) if taken.rows_affected() == 1 => return Ok(()),
            Ok(_) => {}
            // On Galera, a process on another node has taken the row at the same time.
            Err(error) if is_caused_by_another_start(&error) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Err(DbErr::Custom("another process has held the migration lock for two minutes".to_owned()))
}

async fn renew(connection: &DatabaseConnection, holder: &str) -> Infallible {
    let renew = format!(
        "UPDATE tripgate_bootstrap SET expires_at = UNIX_TIMESTAMP() + {LEASE_SECS} \
         WHERE id = 1 AND holder = '{holder}'"
    );
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        if let Err(error) = connection.execute_unprepared(&renew).await {
            tracing::warn!(%error, "failed to renew the migration lock");
        }
    }
}
