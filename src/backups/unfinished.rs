//! The unencrypted files that exist while a backup is made or checked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::PREFIX;

/// A temporary SQLite database or dump. Dropping this value removes the file, also if the work is aborted.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Creates the value for a file that may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path: OsString = self.0.as_os_str().to_owned();
            path.push(suffix);
            drop(fs::remove_file(path));
        }
    }
}

/// Removes the files of backups whose process was killed.
pub(super) fn remove_all(dir: &Path) -> io::Result<()> {
    const KINDS: [&str; 6] = [".copy", ".copy-wal", ".copy-shm", ".copy-journal", ".dump", ".partial"];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && KINDS.iter().any(|kind| name.ends_with(kind)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
