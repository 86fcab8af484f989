//! Classifies database errors in the same way on SQLite, PostgreSQL, MySQL and MariaDB.

use std::sync::Arc;

use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why a query or a transaction failed. The driver's error is only for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row violates a unique constraint. Return this error: only on SQLite can the transaction continue.
    #[error("a row violates a unique constraint")]
    UniqueViolation(#[source] Arc<DbErr>),
    /// A row violates a foreign key: the row that it refers to does not exist.
    #[error("a row violates a foreign key")]
    ForeignKeyViolation(#[source] Arc<DbErr>),
    /// A concurrent transaction holds a lock or has changed a row that this one read. Retryable.
    #[error("conflict with another transaction")]
    Conflict(#[source] Option<Arc<DbErr>>),
    /// No connection is available, or it broke. The transaction may or may not have been committed.
    #[error("the database is unavailable")]
    Unavailable(#[source] Option<Arc<DbErr>>),
    /// The connection broke before the transaction ran anything. Retryable.
    #[error("a connection was lost while idle")]
    LostWhileIdle(#[source] Option<Arc<DbErr>>),
    /// The disk or the quota is full.
    #[error("the database's storage is full")]
    StorageFull(#[source] Arc<DbErr>),
    /// A statement exceeded the time limit of its connection.
    #[error("a statement took too long")]
    TimedOut(#[source] Option<Arc<DbErr>>),
    /// Any other error: a bug in this program.
    #[error("a statement failed")]
    Other(#[source] Arc<DbErr>),
}

impl StoreError {
    /// Returns the error for a conditional update whose row has changed since the same transaction read it.
    pub fn conflict() -> Self {
        Self::Conflict(None)
    }

    /// Returns the error for work that exceeded its time limit between two statements.
    pub fn timed_out() -> Self {
        Self::TimedOut(None)
    }

    pub(crate) fn unavailable() -> Self {
        Self::Unavailable(None)
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::Other(Arc::new(DbErr::Custom(message.to_owned())))
    }

    /// Returns whether running the whole transaction again may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::LostWhileIdle(_))
    }

    /// Returns whether the transaction can continue after this error on SQLite, which then undoes only the
    /// statement.
    pub(super) fn undoes_only_statement(&self) -> bool {
        matches!(self, Self::UniqueViolation(_) | Self::ForeignKeyViolation(_))
    }

    /// Returns whether a connection broke. Excludes a timeout while waiting for a connection, because the
    /// caller must not wait a second time.
    pub(super) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Unavailable(Some(source)) if !is_pool_exhausted(source))
    }

    /// Converts the error of a transaction that had not run anything yet.
    pub(super) fn before_any_work(self) -> Self {
        let is_lost = self.is_lost_connection();
        match self {
            Self::Unavailable(source) if is_lost => Self::LostWhileIdle(source),
            other => other,
        }
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let Some(driver) = driver_error(&error) else {
            return match error {
                DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Self::Unavailable(Some(Arc::new(error))),
                DbErr::RecordNotUpdated => Self::conflict(),
                _ => Self::Other(Arc::new(error)),
            };
        };
        let classify: fn(Arc<DbErr>) -> Self = match &*driver {
            sqlx::Error::Database(database) => classify(database.as_ref()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::BeginFailed
            | sqlx::Error::WorkerCrashed => |source| Self::Unavailable(Some(source)),
            _ => Self::Other,
        };
        classify(Arc::new(error))
    }
}

fn driver_error(error: &DbErr) -> Option<Arc<sqlx::Error>> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(driver))
        | DbErr::Exec(RuntimeErr::SqlxError(driver))
        | DbErr::Query(RuntimeErr::SqlxError(driver)) => Some(Arc::clone(driver)),
        _ => None,
    }
}

fn is_pool_exhausted(error: &DbErr) -> bool {
    matches!(error, DbErr::ConnectionAcquire(_))
        || driver_error(error).is_some_and(|driver| matches!(&*driver, sqlx::Error::PoolTimedOut))
}

fn classify(error: &dyn DatabaseError) -> fn(Arc<DbErr>) -> StoreError {
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreError::UniqueViolation,
        ErrorKind::ForeignKeyViolation => return StoreError::ForeignKeyViolation,
        _ => {}
    }
    let conflict: fn(Arc<DbErr>) -> StoreError = |source| StoreError::Conflict(Some(source));
    let timed_out: fn(Arc<DbErr>) -> StoreError = |source| StoreError::TimedOut(Some(source));
    let unavailable: fn(Arc<DbErr>) -> StoreError = |source| StoreError::Unavailable(Some(source));
    if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return match mysql.number() {
            // Deadlock (also Galera's failed certification), lock wait timeout, row changed since the
            // snapshot.
            1213 | 1205 | 1020 => conflict,
            // Shutdown, killed, server gone, too many connections, Galera node not ready, network errors,
            // read-only.
            1053 | 1927 | 2006 | 2013 | 1040 | 1047 | 1158..=1161 | 1290 => unavailable,
            // The time limit of MariaDB and of MySQL.
            1969 | 3024 => timed_out,
            // Disk full, table full.
            1021 | 1114 => StoreError::StorageFull,
            _ => StoreError::Other,
        };
    }
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return match code.as_ref() {
            // Serialization failure, deadlock, lock not available.
            "40001" | "40P01" | "55P03" => conflict,
            "53100" => StoreError::StorageFull,
            // Query canceled: the time limit.
            "57014" => timed_out,
            // Connection exceptions, too many connections, shutdown, idle in a transaction, read-only standby.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" => unavailable,
            other if other.starts_with("08") => unavailable,
            _ => StoreError::Other,
        };
    }
    // SQLite: the low byte of an extended code is the primary code.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED.
        Ok(5 | 6) => conflict,
        // SQLITE_INTERRUPT.
        Ok(9) => timed_out,
        // SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY: errors of the disk, not of the statement.
        Ok(10 | 14 | 8) => unavailable,
        // SQLITE_FULL.
        Ok(13) => StoreError::StorageFull,
        _ => StoreError::Other,
    }
}
