//! Classifies database errors in the same way on SQLite, PostgreSQL, MySQL and MariaDB.

use std::sync::Arc;

use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// MySQL's error number for a lock wait timeout.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Why a query or a transaction failed. The driver's error is only for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row violates a unique constraint. The function of the transaction must then return an error, because
    /// only SQLite can continue a transaction after this violation.
    #[error("a row violates a unique constraint")]
    UniqueViolation(#[source] Arc<DbErr>),
    /// A row violates a foreign key: the row that the foreign key refers to does not exist.
    #[error("a row violates a foreign key")]
    ForeignKeyViolation(#[source] Arc<DbErr>),
    /// A concurrent transaction holds a lock, or has changed a row that this transaction read. Retryable.
    #[error("conflict with another transaction")]
    Conflict(#[source] Option<Arc<DbErr>>),
    /// No connection is available, or the connection broke. Nothing was committed.
    #[error("the database is unavailable")]
    Unavailable(#[source] Option<Arc<DbErr>>),
    /// The result of a COMMIT did not arrive, so it is unknown whether the transaction was committed.
    #[error("the result of a commit is unknown")]
    OutcomeUnknown(#[source] Option<Arc<DbErr>>),
    /// The connection broke before the transaction had run a statement. Retryable.
    #[error("a connection was lost while idle")]
    LostWhileIdle(#[source] Option<Arc<DbErr>>),
    /// The disk is full, or a quota is reached.
    #[error("the database's storage is full")]
    StorageFull(#[source] Arc<DbErr>),
    /// A statement exceeded the time limit of its connection.
    #[error("a statement took too long")]
    TimedOut(#[source] Option<Arc<DbErr>>),
    /// Any other error, for example a bug in this program or a damaged SQLite file.
    #[error("a statement failed")]
    Other(#[source] Arc<DbErr>),
}

/// An error that a read or a transaction can return: a [`StoreError`], or an error of another module, such as
/// `TripsError`, whose cause can be a [`StoreError`].
pub trait HasStoreError: From<StoreError> + Send + 'static {
    /// Returns the database error that caused this error, if any.
    fn store(&self) -> Option<&StoreError>;
}

impl HasStoreError for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl StoreError {
    /// Returns the error for a conditional update of a row that has changed since the transaction read it.
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

    pub(super) fn unknown() -> Self {
        Self::OutcomeUnknown(None)
    }

    /// Converts the error of a write that comes before the actual work of the request. If this write fails,
    /// the work is not done, so the outcome of the request is known.
    #[must_use]
    pub fn before_the_work(self) -> Self {
        match self {
            Self::OutcomeUnknown(source) => Self::Unavailable(source),
            other => other,
        }
    }

    /// Converts the error of a COMMIT. Unless the database reports a rollback, the transaction was possibly
    /// committed.
    pub(super) fn of_commit(self) -> Self {
        match self {
            Self::Unavailable(source) | Self::LostWhileIdle(source) => Self::OutcomeUnknown(source),
            other => other,
        }
    }

    /// Returns whether the error is a lock wait timeout.
    pub(super) fn is_lock_timeout(&self) -> bool {
        let Self::Conflict(Some(source)) = self else { return false };
        driver_error(source).is_some_and(|driver| {
            let error = driver.as_database_error();
            let error = error.and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>());
            error.is_some_and(|error| error.number() == LOCK_WAIT_TIMEOUT)
        })
    }

    /// Returns whether the database has ended a statement to resolve a deadlock. A Galera node also ends a read when a
    /// change of a table's schema arrives from another node.
    pub(super) fn is_deadlock(&self) -> bool {
        matches!(self, Self::Conflict(Some(_))) && !self.is_lock_timeout()
    }

    /// Converts the lock timeout of a read or a BEGIN to [`StoreError::Unavailable`]. Neither waits for a row
    /// lock, so the cause is not another transaction, but a Galera node that has lost the other nodes. Such
    /// a node reports a lock timeout when it can't wait for changes of the other nodes (`wsrep_sync_wait`).
    pub(super) fn without_locks(self) -> Self {
        match self {
            Self::Conflict(source) => Self::Unavailable(source),
            other => other,
        }
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::Other(Arc::new(DbErr::Custom(message.to_owned())))
    }

    /// Returns whether running the whole transaction again can succeed.
    pub(super) fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::LostWhileIdle(_))
    }

    /// Returns whether a transaction on SQLite can continue after this error. SQLite then undoes only the
    /// failed statement.
    pub(super) fn undoes_only_statement(&self) -> bool {
        matches!(self, Self::UniqueViolation(_) | Self::ForeignKeyViolation(_))
    }

    /// Returns whether a connection broke or was not opened, so that another run on a new connection can
    /// succeed. Excludes a timeout while waiting for a connection: another run would wait for as long again.
    pub(super) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Unavailable(Some(source)) if !is_pool_exhausted(source))
    }

    /// Converts the error of a transaction that had not run a statement yet.
    pub(super) fn before_any_work(self) -> Self {
        let is_lost = self.is_lost_connection();
        match self {
            error if error.is_lock_timeout() => error.without_locks(),
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
        let is_opening = matches!(error, DbErr::Conn(_));
        match classify(Arc::new(error)) {
            // The server has refused a new connection, for example because its disk is full.
            Self::Other(source) if is_opening => Self::Unavailable(Some(source)),
            classified => classified,
        }
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

/// Returns whether the statement failed because a table, an index, a column or a row that it creates exists
/// already.
pub(super) fn is_duplicate_object(error: &DbErr) -> bool {
    let Some(driver) = driver_error(error) else { return false };
    let Some(database) = driver.as_database_error() else { return false };
    match database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(mysql) => matches!(mysql.number(), 1050 | 1060 | 1061 | 1062),
        // Duplicate table, column or object, or unique violation in a catalog.
        None => matches!(database.code().as_deref(), Some("42P07" | "42701" | "42710" | "23505")),
    }
}

fn is_pool_exhausted(error: &DbErr) -> bool {
    matches!(error, DbErr::ConnectionAcquire(_))
        || driver_error(error).is_some_and(|driver| matches!(&*driver, sqlx::Error::PoolTimedOut))
}

type Classify = fn(Arc<DbErr>) -> StoreError;

fn conflict(source: Arc<DbErr>) -> StoreError {
    StoreError::Conflict(Some(source))
}

fn unavailable(source: Arc<DbErr>) -> StoreError {
    StoreError::Unavailable(Some(source))
}

fn timed_out(source: Arc<DbErr>) -> StoreError {
    StoreError::TimedOut(Some(source))
}

/// Classifies an error of MySQL or MariaDB by its number and text.
fn classify_mysql(number: u16, message: &str) -> Classify {
    // Galera uses several error numbers for a node that has lost the other nodes or has not joined them yet.
    let is_galera_node_away = message.contains("Not connected to Primary Component")
        || message.contains("WSREP has not yet prepared");
    match number {
        _ if is_galera_node_away => unavailable,
        // Deadlock (also Galera's failed certification), lock wait timeout, row changed since the snapshot.
        1213 | LOCK_WAIT_TIMEOUT | 1020 => conflict,
        // Shutdown, killed, server gone, too many connections, Galera node not ready, failed commit on Galera,
        // network errors, read-only.
        1053 | 1927 | 2006 | 2013 | 1040 | 1047 | 1180 | 1158..=1161 | 1290 => unavailable,
        // The statement time limits of MariaDB and of MySQL.
        1969 | 3024 => timed_out,
        // Disk full, table full.
        1021 | 1114 => StoreError::StorageFull,
        _ => StoreError::Other,
    }
}

fn classify(error: &dyn DatabaseError) -> Classify {
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreError::UniqueViolation,
        ErrorKind::ForeignKeyViolation => return StoreError::ForeignKeyViolation,
        _ => {}
    }
    if let Some(mysql) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return classify_mysql(mysql.number(), mysql.message());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(number: u16, message: &str) -> StoreError {
        classify_mysql(number, message)(Arc::new(DbErr::Custom(message.to_owned())))
    }

    #[test]
    fn a_galera_node_without_a_quorum_is_unavailable() {
        // F-5
        for (number, message) in [
            (1047, "WSREP has not yet prepared node for application use"),
            (1180, "Got error 5 \"Input/output error\" during COMMIT"),
            (
                1180,
                "Error while appending streaming replication fragment(provider status: Not connected to \
                    Primary Component)",
            ),
            (1205, "Not connected to Primary Component"),
            (1105, "WSREP has not yet prepared node for application use"),
        ] {
            let error = mysql(number, message);
            assert!(matches!(error, StoreError::Unavailable(_)), "{number} {message}: {error:?}");
            assert!(matches!(error.of_commit(), StoreError::OutcomeUnknown(_)), "{number} {message}");
        }
    }

    #[test]
    fn a_database_that_refuses_a_connection_is_unavailable() {
        let refused = || RuntimeErr::SqlxError(sqlx::Error::Configuration("refused".into()).into());
        assert!(matches!(StoreError::from(DbErr::Conn(refused())), StoreError::Unavailable(_)));
        assert!(matches!(StoreError::from(DbErr::Exec(refused())), StoreError::Other(_)));
    }

    #[test]
    fn a_lock_timeout_is_a_conflict_only_for_a_statement_that_takes_locks() {
        // F-5
        let error = mysql(1205, "Lock wait timeout exceeded; try restarting transaction");
        assert!(matches!(error, StoreError::Conflict(_)));
        assert!(matches!(error.without_locks(), StoreError::Unavailable(_)));
    }

    #[test]
    fn a_deadlock_is_distinguished_from_other_conflicts() {
        let error = mysql(1213, "Deadlock found when trying to get lock");
        assert!(matches!(error, StoreError::Conflict(_)));
        assert!(error.is_deadlock());
        assert!(!StoreError::conflict().is_deadlock());
        assert!(!StoreError::unavailable().is_deadlock());
    }

    #[test]
    fn only_a_commit_that_reports_no_result_has_an_unknown_outcome() {
        // F-10, S-108
        assert!(matches!(StoreError::unavailable().of_commit(), StoreError::OutcomeUnknown(_)));
        assert!(matches!(StoreError::conflict().of_commit(), StoreError::Conflict(_)));
        assert!(!StoreError::unknown().is_retryable());
        assert!(matches!(StoreError::unknown().before_the_work(), StoreError::Unavailable(_)));
    }
}
