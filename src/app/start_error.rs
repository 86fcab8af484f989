//! Why a server can't start.

use std::io;

use crate::backups::BackupError;
use crate::data_dir::{LockError, RecordError};
use crate::db::{OpenError, StoreError};
use crate::mail::MailSetupError;
use crate::passkeys::PasskeysError;
use crate::replicas::JoinError;
use crate::secrets::SecretError;
use crate::tokens::TokensError;

/// The reason why a server can't start. Each case displays as one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be created or written to.
    #[error("failed to create or write to the data directory {path}")]
    DataDir {
        /// The directory.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The master secret is missing or not valid.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database can't be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The clock of the database can't be compared with the system clock, because the database failed.
    #[error("failed to read the time from the database")]
    Clock(#[source] StoreError),
    /// The mails can't be sent with these settings.
    #[error(transparent)]
    Mail(#[from] MailSetupError),
    /// The stored passkeys do not belong to the configured domain, or can't be read.
    #[error(transparent)]
    Passkeys(#[from] PasskeysError),
    /// The signing keys can't be read.
    #[error("failed to read the signing keys")]
    Tokens(#[from] TokensError),
    /// A query on the database failed.
    #[error("failed to read or write the database")]
    Store(#[from] StoreError),
    /// The file that records the identity of the database can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The backup before a migration failed.
    #[error("failed to make a backup before the migration (backup_before_migration=off turns it off)")]
    Backup(#[source] BackupError),
    /// Another server uses the SQLite database.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The server can't join the other servers that use the database.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The SQLite database is damaged.
    #[error("the database {database} is damaged ({fault}): restore a backup")]
    DatabaseDamaged {
        /// The URL of the database.
        database: String,
        /// The first error that the check found.
        fault: String,
    },
    /// A copy to this database was interrupted.
    #[error("the database {database} is an incomplete copy: run `tripgate copy` again")]
    IncompleteCopy {
        /// The URL of the database, without its password.
        database: String,
    },
    /// There is no database, but there was one at an earlier start.
    #[error(
        "the database {database} is missing or empty, but {beside} is from an earlier start: put the database \
         back, restore a backup, or run `tripgate serve --create` to begin with a new database"
    )]
    DatabaseLost {
        /// The URL of the database, without its password.
        database: String,
        /// The file that shows the earlier start.
        beside: String,
    },
    /// There is no database, and the command does not create one.
    #[error(
        "there is no database at {path}: run this command in the directory of the server, or add --create to \
         create the database before the first start"
    )]
    NoDatabase {
        /// The path of the file.
        path: String,
    },
    /// The database is not the database that earlier starts used.
    #[error(
        "the database {database} is not the one recorded in {record}: restore the recorded database, or run \
         `tripgate epoch renew` to use {database} from now on"
    )]
    ForeignDatabase {
        /// The URL of the database, without its password.
        database: String,
        /// The file that records the identity of the database.
        record: String,
    },
    /// The database has signing keys, but the secret is missing.
    #[error(
        "the secret file {secret} is missing, but the database {database} has keys that are encrypted under \
         it: put the file back, or run `tripgate serve --create` to begin with a new secret; every user must then \
         log in again"
    )]
    SecretLost {
        /// The URL of the database, without its password.
        database: String,
        /// The path of the secret.
        secret: String,
    },
}
