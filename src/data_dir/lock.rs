//! The lock of a server on its SQLite database. A second server with the same database file fails to start.
//!
//! Two servers on one file would slow each other down, and the in-memory state of each server, such as the
//! revocations, would be out of date. The operating system releases the lock when the process ends, even if
//! the process was killed. The commands that restore or copy a database also take the lock. Other commands
//! can run beside a server.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The maximum wait for a lock that another process holds.
const KILLED_PROCESS_WAIT: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A held lock. Dropping this value releases the lock.
#[derive(Debug)]
pub struct ServerLock {
    _file: LockedFile,
}

/// Why the lock can't be acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server holds the lock.
    #[error("another server (process {pid}) uses the database {database}: stop it first")]
    Held {
        /// The path of the database.
        database: String,
        /// The id of the other process, from the lock file.
        pid: String,
    },
    /// The lock file can't be created or locked.
    #[error("failed to lock {path}")]
    File {
        /// The path of the lock file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl ServerLock {
    /// Acquires the lock of the database at `database`. The lock is a file beside the database. The file
    /// contains the process id.
    ///
    /// # Errors
    ///
    /// [`LockError`].
    pub fn acquire(database: &Path) -> Result<Self, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = Path::new(&path);
        let failed = |source| LockError::File { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path).unwrap_or_default().trim().to_owned();
                return Err(LockError::Held { database: database.display().to_string(), pid });
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(path = %path.display(), "the file system does not support locks: run only one server");
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The process id serves only for the error message of a second server. If the disk is full, the lock
        // file stays empty.
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(%error, "failed to write the process id to the lock file");
        }
        Ok(Self { _file: LockedFile(file) })
    }
}

/// A locked file or directory. Dropping this value releases the lock.
#[derive(Debug)]
pub struct LockedFile(pub File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file is not enough: a new child process inherits the open file, and closes the file
        // only when the child process executes its program.
        drop(self.0.unlock());
    }
}

/// Locks the file. Waits up to [`KILLED_PROCESS_WAIT`], because the operating system releases the lock of a
/// killed process only when the process has ended.
fn lock(file: &File) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < KILLED_PROCESS_WAIT => {
                thread::sleep(RETRY_INTERVAL);
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_can_be_held_only_once_and_the_error_names_the_process_that_holds_it() {
        // N-24
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("tripgate.db");
        let held = ServerLock::acquire(&database).unwrap();
        let refused = ServerLock::acquire(&database).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        ServerLock::acquire(&database).unwrap();
        assert!(!database.exists());
    }

    #[test]
    fn a_released_lock_is_free_although_a_child_process_has_inherited_the_open_file() {
        let file = tempfile::tempfile().unwrap();
        file.try_lock().unwrap();
        let copy = file.try_clone().unwrap();
        drop(LockedFile(file));
        // The clone refers to the same open file, like the descriptor that a child process has inherited.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
        File::open(path).unwrap().try_lock().unwrap();
    }
}
