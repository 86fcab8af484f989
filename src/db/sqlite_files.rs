//! Watches the files of a SQLite database.
//!
//! On Unix, a deleted or replaced file stays open: SQLite would continue to write to the old file. The next
//! start would not find this file, so every acknowledged write would be lost. The writer therefore checks the
//! files before each commit. It also refuses writes to a damaged database.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use super::StoreError;

/// The files of an open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SqliteFiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: PathBuf,
    file: Option<(PathBuf, FileId)>,
    /// The write-ahead log. Not set after a start on a full disk: the log does not exist yet.
    log: OnceLock<(PathBuf, FileId)>,
    is_lost: AtomicBool,
    damage: OnceLock<String>,
}

/// Identifies a file: its device and its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|file| Self(file.dev(), file.ino()))
    }
}

impl SqliteFiles {
    /// Watches the current file of the database at `path` and the current file of its write-ahead log.
    pub(super) fn watch(path: &Path) -> Self {
        let files = Self::watch_database(path);
        files.watch_log();
        files
    }

    /// Watches only the database at `path`, which has no write-ahead log yet.
    pub(super) fn watch_database(path: &Path) -> Self {
        Self(Arc::new(Inner {
            database: path.to_owned(),
            file: watched(path.to_owned()),
            log: OnceLock::new(),
            is_lost: AtomicBool::new(false),
            damage: OnceLock::new(),
        }))
    }

    /// Also watches the current file of the write-ahead log.
    pub(super) fn watch_log(&self) {
        if let Some(log) = watched(wal_of(&self.0.database)) {
            // Has no effect if the log is watched already.
            drop(self.0.log.set(log));
        }
    }

    /// Returns the first watched file that was deleted or replaced.
    fn find_lost(&self) -> Option<&Path> {
        let watched = [self.0.file.as_ref(), self.0.log.get()].into_iter().flatten();
        let mut lost = watched.filter(|(path, id)| FileId::of(path).ok() != Some(*id));
        lost.next().map(|(path, _)| path.as_path())
    }

    /// Returns [`StoreError::Unavailable`] if a file was deleted or replaced, or if the database is damaged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Inner { is_lost, damage, .. } = &*self.0;
        let lost = self.find_lost();
        if is_lost.swap(lost.is_some(), Ordering::Relaxed) != lost.is_some() {
            if let Some(path) = lost {
                tracing::error!(
                    path = %path.display(),
                    "the file of the database was deleted or replaced under the running server: refusing writes; \
                     put it back, or stop the server and restore a backup"
                );
            } else {
                tracing::info!("the file of the database is back: accepting writes");
            }
        }
        if lost.is_some() || damage.get().is_some() {
            return Err(StoreError::unavailable());
        }
        Ok(())
    }

    /// Refuses writes from now on, because the database is damaged.
    pub(super) fn report_damage(&self, damage: String) {
        tracing::error!(damage, "the database is damaged: refusing writes; restore a backup");
        // Fails if damage was reported before.
        drop(self.0.damage.set(damage));
    }
}

/// Returns the file with its current id, if it exists.
fn watched(path: PathBuf) -> Option<(PathBuf, FileId)> {
    let id = FileId::of(&path).ok()?;
    Some((path, id))
}

/// Returns the path of the write-ahead log of a SQLite file.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

/// Returns `path` with `suffix` at its end.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes the files of a SQLite database, if they exist.
pub fn remove_sqlite_files(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        drop(fs::remove_file(with_suffix(path, suffix)));
    }
}

/// A temporary SQLite database, or another temporary file. Dropping the value removes its files, also if the
/// task that uses them is aborted.
#[derive(Debug)]
pub struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// Creates the value. The file need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        remove_sqlite_files(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_while_a_database_file_is_deleted_or_replaced_and_after_damage() {
        // N-23
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("x.db"), dir.path().join("aside"));
        for path in [path.clone(), wal_of(&path)] {
            fs::write(path, "").unwrap();
        }
        let files = SqliteFiles::watch(&path);
        files.check().unwrap();
        for path in [path.clone(), wal_of(&path)] {
            fs::rename(&path, &aside).unwrap();
            assert!(files.check().is_err());
            fs::write(&path, "").unwrap();
            assert!(files.check().is_err());
            fs::rename(&aside, &path).unwrap();
            files.check().unwrap();
        }
        files.report_damage("broken".to_owned());
        assert!(files.check().is_err());
    }
}
