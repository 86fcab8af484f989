//! The data directory records which database belongs to it, so that the server detects a lost, replaced or
//! restored database.
//!
//! `database.json` is in the same directory as the master secret. It contains the id of the database, the
//! feed epoch and the highest known generation (see `epochs`). A database with a different id does not belong
//! to this directory. A database with a lower generation was restored from a backup. A power failure can lose
//! the last updates of the file. This does no harm: the file then contains a lower generation than the
//! database.

mod lock;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::is_storage_full;

pub use lock::{LockError, LockedFile, ServerLock};

const FILE: &str = "database.json";
/// The length to which the file is padded, in bytes. The file fits into one disk sector, and disks write a
/// sector completely or not at all.
const LENGTH: usize = 256;

/// The information that the data directory records about its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDatabase {
    /// The id of the database.
    pub database: Uuid,
    /// The feed epoch.
    pub epoch: i64,
    /// The highest generation that the database has had.
    pub generation: i64,
    /// Whether the last server stopped gracefully.
    pub clean: bool,
}

/// The reason why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file can't be read or written.
    #[error("failed to {action} {path}")]
    File {
        /// The path of the file.
        path: String,
        /// `read` or `write`.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The content is not valid.
    #[error("failed to read {path}: run `tripgate epoch renew` to write the damaged file again")]
    Damaged {
        /// The path of the file.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
}

impl RecordError {
    /// Returns whether the error means that the disk is full or a quota is reached.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::File { source, .. } if is_storage_full(source))
    }
}

/// The file `database.json`.
#[derive(Debug, Clone)]
pub struct DatabaseRecord {
    path: PathBuf,
}

impl DatabaseRecord {
    /// Returns the file of a data directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self { path: dir.join(FILE) }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the content of the file, or `None` if the file does not exist.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn read(&self) -> Result<Option<KnownDatabase>, RecordError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read", error)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| RecordError::Damaged { path: self.path.display().to_string(), source: error })
    }

    /// Replaces the whole file atomically, and syncs it.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn replace(&self, known: &KnownDatabase) -> Result<(), RecordError> {
        let write = || -> io::Result<()> {
            let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let written = file.write_all(&text(known)).and_then(|()| file.sync_all());
            if let Err(error) = written.and_then(|()| fs::rename(&temporary, &self.path)) {
                drop(fs::remove_file(&temporary));
                return Err(error);
            }
            self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(|error| self.failed("write", error))
    }

    /// Overwrites the file in place. Does not sync it, so that the call takes only microseconds.
    ///
    /// # Errors
    ///
    /// [`RecordError`].
    pub fn update(&self, known: &KnownDatabase) -> Result<(), RecordError> {
        let write = || OpenOptions::new().write(true).open(&self.path)?.write_all_at(&text(known), 0);
        write().map_err(|error| self.failed("write", error))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> RecordError {
        RecordError::File { path: self.path.display().to_string(), action, source }
    }
}

/// Returns the text of the file, padded to [`LENGTH`].
fn text(known: &KnownDatabase) -> Vec<u8> {
    let mut text = serde_json::to_vec(known).unwrap_or_default();
    text.resize(LENGTH.max(text.len() + 1) - 1, b' ');
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_and_an_updated_database_record_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let record = DatabaseRecord::in_dir(dir.path());
        assert_eq!(record.read().unwrap(), None);
        let mut known = KnownDatabase {
            database: Uuid::from_u128(u128::MAX),
            epoch: i64::MAX,
            generation: i64::MAX,
            clean: false,
        };
        record.replace(&known).unwrap();
        assert_eq!(record.read().unwrap(), Some(known));
        known.generation = 1;
        known.clean = true;
        record.update(&known).unwrap();
        assert_eq!(record.read().unwrap(), Some(known));
        assert_eq!(fs::metadata(record.path()).unwrap().len(), LENGTH as u64);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_a_damaged_database_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let record = DatabaseRecord::in_dir(dir.path());
        fs::write(record.path(), "{").unwrap();
        assert!(record.read().is_err());
    }
}
