//! Watches the files of a SQLite database.
//!
//! On Unix, a deleted or replaced file stays open: SQLite would go on to write to a file that nothing else
//! sees, and every acknowledged write would be lost at the next start. The writer therefore checks the files
//! before each commit. It also refuses writes to a damaged database.

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
    files: Vec<(PathBuf, FileId)>,
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
    /// Watches the database at `path` and its write-ahead log, as they are now.
    pub(super) fn watch(path: &Path) -> Self {
        let files = [path.to_owned(), wal_of(path)];
        let watched = files.into_iter().filter_map(|path| FileId::of(&path).ok().map(|id| (path, id)));
        Self(Arc::new(Inner {
            files: watched.collect(),
            is_lost: AtomicBool::new(false),
            damage: OnceLock::new(),
        }))
    }

    /// Returns [`StoreError::Unavailable`] if a file was deleted or replaced, or if the database is damaged.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let Inner { files, is_lost, damage } = &*self.0;
        let lost = files.iter().find(|(path, id)| FileId::of(path).ok() != Some(*id));
        if is_lost.swap(lost.is_some(), Ordering::Relaxed) != lost.is_some() {
            if let Some((path, _)) = lost {
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

/// Returns the path of the write-ahead log of a SQLite file.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_or_replaced_file_is_noticed_and_so_is_its_return() {
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
