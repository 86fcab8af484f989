//! Creates, lists, checks and unpacks backups of the database.
//!
//! A backup of SQLite is a consistent copy that is made while servers run; in WAL mode the copying reader
//! blocks no writer. PostgreSQL and MariaDB are backed up by their own programs. A backup is compressed and
//! has a checksum. It can be encrypted. It contains the fingerprint of the master secret, never the secret
//! itself. A file is rejected if it is damaged, has another format, or was made by a newer version or under
//! another master secret.

mod error;
mod file;
mod tools;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use tokio::task::spawn_blocking;

use crate::clock::Clock;
use crate::data_dir::LockedFile;
use crate::db::{self, MigrationState, PacedFile, StoreError, TemporaryFile};
use crate::secrets::{MasterSecret, Purpose, random_bytes};
use crate::thread_priority::LowPriorityThreads;

pub use error::BackupError;
pub use file::{Encryption, Header};
use tools::Tools;

/// The beginning and the end of the name of every backup.
const PREFIX: &str = "tripgate-";
const SUFFIX: &str = ".backup";
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// A file in the backup directory.
#[derive(Debug)]
pub struct Backup {
    /// The path of the file.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The header of the backup, or why the header can't be read.
    pub header: Result<Header, BackupError>,
}

/// The backups of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backups {
    /// The URL of the database.
    pub url: String,
    /// The directory of the backups.
    pub dir: PathBuf,
    /// The master secret, if there is one.
    pub secret: Option<MasterSecret>,
    /// Whether to encrypt new backups, and to refuse backups that are not encrypted. Requires a master secret.
    pub is_encrypted: bool,
    /// The clock.
    pub clock: Clock,
}

/// Returns the kind of a database.
fn kind(url: &str) -> &'static str {
    match url.split(':').next() {
        Some("sqlite") => "sqlite",
        Some("mysql") => "mysql",
        _ => "postgres",
    }
}

/// Runs blocking work on a thread where it blocks no async task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(unfinished(&error)))
}

/// Runs long blocking work on a thread with a low priority, so that requests to a server are not delayed.
async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = LowPriorityThreads::start("backup", 1).run(work).await;
    done.unwrap_or_else(|error| Err(unfinished(&error)))
}

fn unfinished(error: &dyn std::error::Error) -> BackupError {
    StoreError::internal(&error.to_string()).into()
}

impl Backups {
    /// Makes a backup while servers run, and returns it.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn create(&self) -> Result<Backup, BackupError> {
        if self.is_encrypted && self.secret.is_none() {
            return Err(BackupError::NoKey);
        }
        let failed = |source| BackupError::io("write", &self.dir, source);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let _lock = self.lock()?;
        remove_unfinished(&self.dir).map_err(failed)?;
        let created_at = self.clock.now();
        let path = self.dir.join(format!("{PREFIX}{}{SUFFIX}", created_at.format(TIME_FORMAT)));
        if path.exists() {
            return Err(BackupError::io("write", &path, io::ErrorKind::AlreadyExists.into()));
        }
        let mut header = Header {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            kind: kind(&self.url).to_owned(),
            schema: String::new(),
            secret: self.fingerprints().into_iter().next().unwrap_or_default(),
            tables: BTreeMap::new(),
            encryption: self.is_encrypted.then(encryption),
        };
        let bytes = match db::sqlite_file(&self.url)? {
            Some(_) => self.write_sqlite(&path, &mut header).await?,
            None => self.write_dump(&path, &mut header).await?,
        };
        Ok(Backup { path, bytes, header: Ok(header) })
    }

    /// Locks the directory, so that a backup does not remove the unfinished files of another backup. The
    /// operating system releases the lock when the process ends, also after a crash.
    fn lock(&self) -> Result<LockedFile, BackupError> {
        let failed = |source| BackupError::io("lock", &self.dir, source);
        let dir = File::open(&self.dir).map_err(failed)?;
        match dir.try_lock() {
            Ok(()) => Ok(LockedFile(dir)),
            Err(TryLockError::WouldBlock) => Err(BackupError::Busy { dir: self.dir.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    async fn write_sqlite(&self, path: &Path, header: &mut Header) -> Result<u64, BackupError> {
        let copy = TemporaryFile::new(path.with_extension("copy"));
        db::snapshot(&self.url, copy.path()).await?;
        let contents = db::inspect(copy.path()).await?;
        header.schema = contents.steps.last().cloned().unwrap_or_default();
        header.tables = contents.tables;
        let key = self.key(path, header)?;
        let (header, to) = (header.clone(), path.to_owned());
        slowly(move || {
            let read = File::open(copy.path());
            let mut content = read.map_err(|source| BackupError::io("read", copy.path(), source))?;
            // Remove the name of the copy: the open file stays readable, and no unencrypted file remains if
            // the process ends during the compression.
            drop(copy);
            file::write(&to, &header, key.as_ref(), &mut content)
        })
        .await
    }

    async fn write_dump(&self, path: &Path, header: &mut Header) -> Result<u64, BackupError> {
        let steps = db::migration_status(&self.url).await?;
        let last = steps.into_iter().rfind(|step| step.state == MigrationState::Applied);
        header.schema = last.map(|step| step.name).unwrap_or_default();
        let key = self.key(path, header)?;
        let (header, to) = (header.clone(), path.to_owned());
        let Some(tools) = Tools::new(&self.url) else { return Err(StoreError::internal("not a URL").into()) };
        slowly(move || {
            // Write the dump under another name first, so that an incomplete dump never looks like a backup.
            let dump = TemporaryFile::new(to.with_extension("dump"));
            let mut out = PacedFile::new(create_file(dump.path())?);
            let copy = |from: &mut dyn io::Read| {
                io::copy(from, &mut out).map_err(|source| BackupError::io("write", dump.path(), source))
            };
            tools.dump().write(copy)?;
            let read = File::open(dump.path());
            let mut content = read.map_err(|source| BackupError::io("read", dump.path(), source))?;
            drop(dump);
            file::write(&to, &header, key.as_ref(), &mut content)
        })
        .await
    }

    /// Returns the backups in the directory, newest first.
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`].
    pub fn list(&self) -> Result<Vec<Backup>, BackupError> {
        let failed = |source| BackupError::io("read", &self.dir, source);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if time_of(&path).is_some() {
                let bytes = fs::metadata(&path).map_err(failed)?.len();
                found.push(Backup { header: file::header(&path), bytes, path });
            }
        }
        found.sort_by(|a, b| b.path.cmp(&a.path));
        Ok(found)
    }

    /// Creates a backup if the newest backup is at least `every` old. Then deletes all backups except the
    /// `keep` newest ones. Returns the new backup.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn create_if_due(&self, every: TimeDelta, keep: usize) -> Result<Option<Backup>, BackupError> {
        let newest = self.list()?.first().and_then(|backup| time_of(&backup.path));
        if newest.is_some_and(|newest| self.clock.now() < newest + every) {
            return Ok(None);
        }
        let created = self.create().await?;
        for old in self.list()?.into_iter().skip(keep) {
            fs::remove_file(&old.path).map_err(|source| BackupError::io("remove", &old.path, source))?;
        }
        Ok(Some(created))
    }

    /// Checks a backup: its checksum, its secret and its schema. If `copy` is given, unpacks a backup of
    /// SQLite to this path and checks the structure and the number of rows; the caller removes the copy.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn unpack(&self, path: &Path, copy: Option<&Path>) -> Result<Header, BackupError> {
        let shown = || path.display().to_string();
        let from = path.to_owned();
        let header = blocking(move || file::check(&from)).await?;
        if !db::has_step(&header.schema) {
            return Err(BackupError::NewerSchema { path: shown(), step: header.schema });
        }
        let secrets = self.fingerprints();
        if !header.secret.is_empty() && !secrets.is_empty() && !secrets.contains(&header.secret) {
            return Err(BackupError::ForeignSecret { path: shown() });
        }
        if self.is_encrypted && header.encryption.is_none() {
            return Err(BackupError::NotEncrypted { path: shown() });
        }
        let key = self.key(path, &header)?;
        let (from, copy) = (path.to_owned(), copy.filter(|_| header.kind == "sqlite"));
        let Some(copy) = copy else {
            blocking(move || file::extract(&from, key.as_ref(), &mut io::sink())).await?;
            return Ok(header);
        };
        let to = copy.to_owned();
        blocking(move || {
            let mut out = create_file(&to)?;
            file::extract(&from, key.as_ref(), &mut out)?;
            out.sync_all().map_err(|source| BackupError::io("write", &to, source))
        })
        .await?;
        let contents = db::inspect(copy).await?;
        let fault = contents.fault.or_else(|| {
            (contents.tables != header.tables)
                .then(|| "the numbers of rows differ from its header".to_owned())
        });
        match fault {
            Some(fault) => Err(BackupError::Content { path: shown(), fault }),
            None => Ok(header),
        }
    }

    /// Rejects a backup of another kind of database.
    ///
    /// # Errors
    ///
    /// [`BackupError::OtherKind`].
    pub fn require_same_kind(&self, path: &Path, header: &Header) -> Result<(), BackupError> {
        let expected = kind(&self.url);
        if header.kind == expected {
            return Ok(());
        }
        Err(BackupError::OtherKind { path: path.display().to_string(), found: header.kind.clone(), expected })
    }

    /// Loads the dump of a checked backup into the PostgreSQL or MariaDB database.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn load_dump(&self, path: &Path) -> Result<(), BackupError> {
        let Some(tools) = Tools::new(&self.url) else { return Err(StoreError::internal("not a URL").into()) };
        let (from, key) = (path.to_owned(), self.key(path, &file::header(path)?)?);
        blocking(move || tools.load().read(|out| file::extract(&from, key.as_ref(), out))).await
    }

    /// Returns the fingerprints of all known master secrets, the current one first; empty if there is none.
    fn fingerprints(&self) -> Vec<String> {
        self.secret.as_ref().map(MasterSecret::fingerprints).unwrap_or_default()
    }

    /// Returns the key of a backup with this header; `None` if the backup is not encrypted.
    fn key(&self, path: &Path, header: &Header) -> Result<Option<file::Key>, BackupError> {
        let Some(Encryption { algorithm, salt }) = &header.encryption else { return Ok(None) };
        let path = || path.display().to_string();
        if algorithm != file::ALGORITHM {
            return Err(BackupError::NewerFormat { path: path() });
        }
        let secret = self.secret.as_ref().ok_or_else(|| BackupError::NoSecret { path: path() })?;
        let key = secret.derive_salted(&header.secret, Purpose::Backups, salt.as_bytes());
        key.map(Some).ok_or_else(|| BackupError::ForeignSecret { path: path() })
    }
}

fn create_file(path: &Path) -> Result<File, BackupError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.map_err(|source| BackupError::io("write", path, source))
}

/// Removes the files of incomplete backups whose process was killed. Most of these files are not encrypted.
fn remove_unfinished(dir: &Path) -> io::Result<()> {
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

/// Returns an encryption with a new salt.
fn encryption() -> Encryption {
    let salt = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    Encryption { algorithm: file::ALGORITHM.to_owned(), salt }
}

/// Returns the time in the name of a backup.
fn time_of(path: &Path) -> Option<DateTime<Utc>> {
    let name = path.file_name()?.to_str()?;
    let time = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok().map(|time| time.and_utc())
}
