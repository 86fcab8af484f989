//! The commands that make, list, check and restore backups.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::actions::{log_done, record_done};
use crate::app::{StartError, backups_of, create_data_dir, remembered, set_umask};
use crate::backups::{Backup, BackupError, Backups, Header};
use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::{DatabaseRecord, LockError, ServerLock};
use crate::db::{self, Db, TemporaryFile, remove_sqlite_files, with_suffix};
use crate::epochs::{Epochs, Renewal, Renewed};
use crate::replicas;

/// Why a command on backups fails.
#[derive(Debug, thiserror::Error)]
pub enum ManageBackupsError {
    /// The backup can't be created, read or restored. If a check of the backup failed, nothing was changed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A server uses the database.
    #[error(transparent)]
    Running(#[from] LockError),
    /// Other programs are connected to the database.
    #[error("{0} connections use the database: stop all servers first")]
    Connected(i64),
    /// There is a database, and the operator has not allowed the command to replace it.
    #[error("restoring replaces the database {0}: add --yes if you want that")]
    Exists(String),
    /// The database can't be opened, or the new epoch can't begin.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A restored backup.
#[derive(Debug)]
pub struct Restored {
    /// The header of the backup.
    pub header: Header,
    /// The new feed epoch.
    pub renewed: Renewed,
    /// The new path of the replaced SQLite database, if there was one.
    pub replaced: Option<PathBuf>,
}

/// Makes a backup, even while servers run.
///
/// # Errors
///
/// [`ManageBackupsError`].
pub async fn create_backup(settings: &Settings) -> Result<Backup, ManageBackupsError> {
    set_umask();
    let created = backups_of(settings, Clock::system())?.create().await?;
    log_done("backup create");
    Ok(created)
}

/// Returns the backups, newest first.
///
/// # Errors
///
/// [`ManageBackupsError`].
pub fn list_backups(settings: &Settings) -> Result<Vec<Backup>, ManageBackupsError> {
    Ok(backups_of(settings, Clock::system())?.list()?)
}

/// Checks a backup. Unpacks a backup of SQLite to a temporary file beside it.
///
/// # Errors
///
/// [`ManageBackupsError`].
pub async fn verify_backup(settings: &Settings, path: &Path) -> Result<Header, ManageBackupsError> {
    set_umask();
    let copy = TemporaryFile::new(with_suffix(path, &format!(".{}.check", std::process::id())));
    Ok(backups_of(settings, Clock::system())?.unpack(path, Some(copy.path())).await?)
}

/// Replaces the database with a backup, and begins a new feed epoch. Changes the database only after every
/// check has succeeded.
///
/// # Errors
///
/// [`ManageBackupsError`].
pub async fn restore_backup(
    settings: &Settings,
    path: &Path,
    may_replace: bool,
) -> Result<Restored, ManageBackupsError> {
    set_umask();
    create_data_dir(&settings.data_dir)?;
    let backups = backups_of(settings, Clock::system())?;
    let url = settings.database_url.expose();
    let file = db::sqlite_file(url).map_err(StartError::from)?;
    let lock = file.as_deref().map(ServerLock::acquire).transpose()?;
    let connections = db::other_connections(url).await.map_err(StartError::from)?;
    if connections > 0 {
        return Err(ManageBackupsError::Connected(connections));
    }
    let restored = match &file {
        Some(file) => restore_sqlite(settings, &backups, path, file, may_replace).await,
        None => restore_dump(settings, &backups, path, may_replace).await,
    };
    drop(lock);
    if restored.is_ok() {
        record_done(settings, "backup restore").await;
    }
    restored
}

async fn restore_sqlite(
    settings: &Settings,
    backups: &Backups,
    path: &Path,
    file: &Path,
    may_replace: bool,
) -> Result<Restored, ManageBackupsError> {
    let exists = fs::metadata(file).is_ok_and(|found| found.len() > 0);
    if exists && !may_replace {
        return Err(ManageBackupsError::Exists(file.display().to_string()));
    }
    let copy = TemporaryFile::new(with_suffix(file, ".restoring"));
    remove_sqlite_files(copy.path());
    let header = backups.unpack(path, Some(copy.path())).await?;
    backups.require_same_kind(path, &header)?;
    // Apply the migration steps that the backup does not have, and begin the new epoch, before the copy
    // replaces the database.
    let db = db::open_unjournaled(&db::file_url(copy.path())).await.map_err(StartError::from)?;
    let renewed = renew_epoch(settings, db).await?;
    let replaced = exists.then(|| with_suffix(file, ".before-restore"));
    if exists {
        // After a checkpoint, the old database is one file, and one rename moves it. If the checkpoint fails,
        // because the database is damaged, the write-ahead log is moved with the file.
        db::checkpoint(&db::file_url(file)).await;
    }
    replace(file, copy.path(), replaced.as_deref()).map_err(|source| {
        let path = file.display().to_string();
        BackupError::Io { action: "replace", path, source }
    })?;
    remember(settings, &renewed)?;
    Ok(Restored { header, renewed, replaced })
}

/// Moves the database `file` to `old`, and then the database `new` to `file`. If the second move fails, moves
/// the database back from `old` to `file`.
fn replace(file: &Path, new: &Path, old: Option<&Path>) -> io::Result<()> {
    File::open(new)?.sync_all()?;
    if let Some(old) = old {
        remove_sqlite_files(old);
        move_database(file, old)?;
    }
    // These files belong to the old database.
    for suffix in ["-wal", "-shm", "-journal"] {
        drop(fs::remove_file(with_suffix(file, suffix)));
    }
    if let Err(error) = fs::rename(new, file) {
        old.map_or(Ok(()), |old| move_back(old, file))?;
        return Err(error);
    }
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Moves a SQLite database together with its write-ahead log, because the log can contain changes that are
/// not in the database file yet. Moves both files or neither.
fn move_database(from: &Path, to: &Path) -> io::Result<()> {
    let (log, moved_log) = (with_suffix(from, "-wal"), with_suffix(to, "-wal"));
    let has_log = log.exists();
    if has_log {
        fs::rename(&log, &moved_log)?;
    }
    if let Err(error) = fs::rename(from, to) {
        if has_log {
            move_back(&moved_log, &log)?;
        }
        return Err(error);
    }
    Ok(())
}

/// Moves the files of the old database back. If the move fails, the error names the current path of the
/// files.
fn move_back(from: &Path, to: &Path) -> io::Result<()> {
    move_database(from, to).map_err(|error| {
        let (from, to) = (from.display(), to.display());
        io::Error::new(error.kind(), format!("the old database is at {from}: move it to {to} ({error})"))
    })
}

async fn restore_dump(
    settings: &Settings,
    backups: &Backups,
    path: &Path,
    may_replace: bool,
) -> Result<Restored, ManageBackupsError> {
    let url = settings.database_url.expose();
    let header = backups.unpack(path, None).await?;
    backups.require_same_kind(path, &header)?;
    if !may_replace && !db::is_empty(url).await.map_err(StartError::from)? {
        return Err(ManageBackupsError::Exists(crate::secrets::mask_url(url)));
    }
    backups.load_dump(path).await?;
    let db = db::open(url).await.map_err(StartError::from)?;
    let renewed = renew_epoch(settings, db).await?;
    remember(settings, &renewed)?;
    Ok(Restored { header, renewed, replaced: None })
}

/// Begins a new epoch in the database, and raises the generation of this database above the generation in the
/// record of the data directory. Deletes the rows of the servers that ran at the time of the backup. Closes the
/// database.
async fn renew_epoch(settings: &Settings, db: Db) -> Result<Renewed, StartError> {
    let known = DatabaseRecord::in_dir(&settings.data_dir).read().ok().flatten();
    let epochs = Epochs::new(db.clone(), Clock::system());
    let renewed = async {
        replicas::clear(&db).await?;
        let state = epochs.open().await?;
        let known = known.filter(|known| known.database == state.database);
        let above_generation = known.map_or(0, |known| known.generation);
        epochs.renew(Renewal { above_generation, end_sessions: false }).await
    };
    let renewed = renewed.await;
    db.close().await;
    Ok(renewed?)
}

fn remember(settings: &Settings, renewed: &Renewed) -> Result<(), StartError> {
    Ok(DatabaseRecord::in_dir(&settings.data_dir).replace(&remembered(&renewed.state))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a database with a write-ahead log. Returns its path, and the path to which it can be moved.
    fn database(dir: &Path) -> (PathBuf, PathBuf) {
        let file = dir.join("tripgate.db");
        fs::write(&file, "database").unwrap();
        fs::write(with_suffix(&file, "-wal"), "log").unwrap();
        (file.clone(), with_suffix(&file, ".before-restore"))
    }

    fn assert_unchanged(file: &Path) {
        assert_eq!(fs::read_to_string(file).unwrap(), "database");
        assert_eq!(fs::read_to_string(with_suffix(file, "-wal")).unwrap(), "log");
    }

    #[test]
    fn the_old_database_is_moved_away_before_the_new_one_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, old) = database(dir.path());
        let new = dir.path().join("new");
        fs::write(&new, "restored").unwrap();
        replace(&file, &new, Some(&old)).unwrap();
        assert_unchanged(&old);
        assert_eq!(fs::read_to_string(&file).unwrap(), "restored");
        assert!(!with_suffix(&file, "-wal").exists() && !new.exists());
    }

    #[test]
    fn the_old_database_is_moved_back_if_the_new_one_cannot_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, old) = database(dir.path());
        // A directory can't be moved into itself.
        replace(&file, dir.path(), Some(&old)).unwrap_err();
        assert_unchanged(&file);
        assert!(!old.exists() && !with_suffix(&old, "-wal").exists());
    }

    #[test]
    fn the_write_ahead_log_stays_with_the_old_database_if_the_database_file_cannot_be_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (file, old) = database(dir.path());
        let new = dir.path().join("new");
        fs::write(&new, "restored").unwrap();
        // A file can't replace a directory.
        fs::create_dir(&old).unwrap();
        replace(&file, &new, Some(&old)).unwrap_err();
        assert_unchanged(&file);
    }
}
