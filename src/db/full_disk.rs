//! Opens a SQLite database on a full disk: reads are served, and writes fail until there is space.
//!
//! In WAL mode, SQLite needs space to open a database. Read-only connections that treat the file as immutable
//! need no space. Their results are correct only while the write-ahead log is empty, as after a graceful
//! stop. The writer connects as soon as there is space, and then replaces these connections before its first
//! commit.

use std::path::Path;
use std::{fs, io};

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};

use super::connection_options::{file_of, sqlite_options};
use super::lanes::{Lane, Lanes};
use super::read_pool::ReadPool;
use super::row_readers::DatabaseFile;
use super::sqlite_files::wal_of;

/// The space that SQLite needs to open a database in WAL mode, in bytes.
const SPACE: usize = 64 * 1024;

/// Returns whether an error means that the disk is full, or that a quota or the maximum size of a file is
/// reached.
pub fn is_storage_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Returns whether there is no space for another file in the directory of the database.
pub(super) fn is_disk_full(database: &Path) -> bool {
    let probe = database.with_extension(format!("probe-{}", std::process::id()));
    let written = fs::write(&probe, vec![0; SPACE]);
    // Removing the file fails if the disk had no space even for the file's name, because the file then does
    // not exist.
    drop(fs::remove_file(&probe));
    written.is_err_and(|error| is_storage_full(&error))
}

/// Connects to the database for reads, if the disk is full and the write-ahead log is empty. Returns `None`
/// otherwise.
pub(super) async fn connect_immutable(url: &str) -> Option<DatabaseConnection> {
    let path = file_of(url).ok()??;
    if !is_disk_full(&path) || fs::metadata(wal_of(&path)).is_ok_and(|log| log.len() > 0) {
        return None;
    }
    Database::connect(immutable_options(url, Lane::default())).await.ok()
}

fn immutable_options(url: &str, lane: Lane) -> ConnectOptions {
    let mut options = sqlite_options(url, Some(lane));
    options.map_sqlx_sqlite_opts(|sqlite| sqlite.read_only(true).immutable(true));
    options
}

fn database_file(url: &str, is_immutable: bool) -> DatabaseFile {
    DatabaseFile { path: file_of(url).ok().flatten().unwrap_or_default(), is_immutable }
}

/// The read-only connections to an immutable file. They must be replaced before the first commit.
#[derive(Debug)]
pub(super) struct ImmutableReaders {
    url: String,
    readers: Lanes<ReadPool>,
}

impl ImmutableReaders {
    /// Opens the connections of each lane.
    ///
    /// # Errors
    ///
    /// [`DbErr`].
    pub(super) async fn open(url: &str) -> Result<Self, DbErr> {
        let readers = Lanes::from_fn(|lane| async move {
            let pool = Database::connect(immutable_options(url, lane)).await?;
            Ok::<_, DbErr>(ReadPool::for_lane(&pool, lane, database_file(url, true)))
        });
        Ok(Self { url: url.to_owned(), readers: readers.await? })
    }

    /// Returns the pools, which remain valid after [`replace`](Self::replace).
    pub(super) fn pools(&self) -> Lanes<ReadPool> {
        self.readers.clone()
    }

    /// Waits until the running queries have ended, then replaces the connections with connections that see
    /// the writer's commits.
    ///
    /// # Errors
    ///
    /// [`DbErr`]. Some of the pools are then possibly replaced already.
    pub(super) async fn replace(&self) -> Result<(), DbErr> {
        for lane in Lane::ALL {
            let pool = Database::connect(sqlite_options(&self.url, Some(lane))).await?;
            self.readers.get(lane).replace_pool(&pool, database_file(&self.url, false)).await?;
        }
        tracing::info!("there is space on the disk again: accepting writes");
        Ok(())
    }
}
