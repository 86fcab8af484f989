//! What can go wrong with a database, told apart alike on SQLite, PostgreSQL and MySQL or MariaDB.

use std::sync::Arc;

use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why a query or a transaction failed. The driver's error is kept for the log alone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A unique constraint refused the row. The transaction may go on only on SQLite: return it.
    #[error("a unique constraint refused a row")]
    UniqueViolation(#[source] Arc<DbErr>),
    /// A foreign key refused the row: what it refers to is gone.
    #[error("a foreign key refused a row")]
    ForeignKeyViolation(#[source] Arc<DbErr>),
    /// Another transaction was in the way, or moved a row on that was read here; worth trying again.
    #[error("another transaction was in the way")]
    Conflict(#[source] Option<Arc<DbErr>>),
    /// No connection, or it broke; what was under way may or may not have happened.
    #[error("the database is away")]
    Unavailable(#[source] Option<Arc<DbErr>>),
    /// A connection was dead before anything was asked of it; worth trying again.
    #[error("a connection was lost while idle")]
    LostWhileIdle(#[source] Option<Arc<DbErr>>),
    /// No room left on the device or in the quota.
    #[error("the database has no room left")]
    StorageFull(#[source] Arc<DbErr>),
    /// Anything else: a fault of ours.
    #[error("the database refused a statement")]
    Other(#[source] Arc<DbErr>),
}

impl StoreError {
    /// A conditional update whose row had moved on since it was read in the same transaction.
    pub fn conflict() -> Self {
        Self::Conflict(None)
    }

    pub(crate) fn unavailable() -> Self {
        Self::Unavailable(None)
    }

    pub(super) fn internal(what: String) -> Self {
        Self::Other(Arc::new(DbErr::Custom(what)))
    }

    /// Whether running the whole transaction again may help.
    pub(super) fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::LostWhileIdle(_))
    }

    /// Whether the transaction can go on after this error on SQLite: only the statement was undone.
    pub(super) fn leaves_transaction(&self) -> bool {
        matches!(self, Self::UniqueViolation(_) | Self::ForeignKeyViolation(_))
    }

    /// Whether a connection broke. That none could be had is something else: who waited for one in vain
    /// has waited long enough.
    pub(super) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Unavailable(Some(source)) if !is_pool_exhausted(source))
    }

    /// This error, known to have come before the transaction did anything.
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
    let away: fn(Arc<DbErr>) -> StoreError = |source| StoreError::Unavailable(Some(source));
    if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return match mysql.number() {
            // Deadlock (and Galera's failed certification), lock wait timeout, changed since the snapshot.
            1213 | 1205 | 1020 => conflict,
            // Shutting down, killed, gone, too many connections, a Galera node that is not ready, read only.
            1053 | 1927 | 2006 | 2013 | 1040 | 1047 | 1158..=1161 | 1290 => away,
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
            // Connection exceptions, too many connections, shutting down, read-only standby.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25006" => away,
            other if other.starts_with("08") => away,
            _ => StoreError::Other,
        };
    }
    // SQLite: the low byte of the extended code is the primary one.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED.
        Ok(5 | 6) => conflict,
        // SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY: the disk, not the statement.
        Ok(10 | 14 | 8) => away,
        // SQLITE_FULL.
        Ok(13) => StoreError::StorageFull,
        _ => StoreError::Other,
    }
}
