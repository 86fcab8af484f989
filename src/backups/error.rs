//! Why a backup can't be made or used.

use std::io;
use std::path::Path;

use crate::db::{OpenError, StoreError};

/// Why a backup can't be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file can't be read or written.
    #[error("failed to {action} {path}")]
    Io {
        /// `read`, `write`, `lock`, `remove` or `replace`.
        action: &'static str,
        /// The path of the file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is not a backup.
    #[error("{path} is not a backup of Tripgate")]
    NotABackup {
        /// The path of the file.
        path: String,
    },
    /// A newer version has made the backup.
    #[error("{path} was made by a newer version of Tripgate: use that version")]
    NewerFormat {
        /// The path of the file.
        path: String,
    },
    /// The schema in the backup is newer than the schema of this version.
    #[error("{path} has a newer schema than this version supports ({step}): use the newer version")]
    NewerSchema {
        /// The path of the file.
        path: String,
        /// The unknown step.
        step: String,
    },
    /// The end of the file is missing.
    #[error("{path} is truncated: its end is missing")]
    Truncated {
        /// The path of the file.
        path: String,
    },
    /// The checksum is wrong.
    #[error("{path} is damaged: its checksum is wrong")]
    Damaged {
        /// The path of the file.
        path: String,
    },
    /// The content does not match the header.
    #[error("{path} is damaged: {fault}")]
    Content {
        /// The path of the file.
        path: String,
        /// The difference.
        fault: String,
    },
    /// The backup was made under another master secret.
    #[error(
        "{path} was made under another master secret, which encrypts the signing keys in the backup: first restore \
         the secret file under which the backup was made"
    )]
    ForeignSecret {
        /// The path of the file.
        path: String,
    },
    /// The settings require encrypted backups, but there is no master secret.
    #[error(
        "backup_encryption is on, but there is no master secret: put the secret file back, or set backup_encryption to \
         off"
    )]
    NoKey,
    /// The settings require encrypted backups, but this backup is not encrypted.
    #[error(
        "{path} is not encrypted, but backup_encryption is on: set backup_encryption to off if you trust the file"
    )]
    NotEncrypted {
        /// The path of the file.
        path: String,
    },
    /// Another process is making a backup.
    #[error("another backup is being made in {dir}: wait until it is complete")]
    Busy {
        /// The directory of the backups.
        dir: String,
    },
    /// The backup is encrypted, but there is no master secret.
    #[error("{path} is encrypted: first restore the secret file under which it was made")]
    NoSecret {
        /// The path of the file.
        path: String,
    },
    /// The backup is of another kind of database.
    #[error("{path} is a backup of {found}, but the database is {expected}")]
    OtherKind {
        /// The path of the file.
        path: String,
        /// The kind of the backup.
        found: String,
        /// The kind of the database.
        expected: &'static str,
    },
    /// A program that makes or restores dumps is not installed.
    #[error("{program} is not installed: install the package {package}")]
    NoTool {
        /// The program.
        program: &'static str,
        /// The Debian package.
        package: &'static str,
    },
    /// A program that makes or restores dumps failed.
    #[error("{program} failed: {reason}")]
    Tool {
        /// The program.
        program: &'static str,
        /// The last message of the program.
        reason: String,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A query on the database failed.
    #[error("failed to read the database")]
    Store(#[from] StoreError),
}

impl BackupError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.display().to_string(), source }
    }
}
