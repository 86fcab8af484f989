//! Opens the database and the secret, and checks that the database, the secret and the data directory belong
//! together.
//!
//! If files of an earlier start exist, a start fails when the database is missing, empty, or not the database
//! of the earlier start. Otherwise the server would serve none of the data that its users stored, and would
//! accept new data in the wrong database. A start also fails if the secret of the database is missing. If the
//! database is an older copy of the same database, it was restored from a backup, so the start begins a new
//! feed epoch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{StartError, back_up_before_migration, master_secret};
use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::{DatabaseRecord, KnownDatabase, RecordError, ServerLock};
use crate::db::{self, Db, Integrity, StoreError};
use crate::epochs::{DatabaseState, Epochs, Renewal};
use crate::error_chain::error_chain;
use crate::secrets::{MasterSecret, mask_url};
use crate::tokens;

/// How long a start waits for the check of the database. A longer check continues in the background.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Whether a start may create a database beside an existing secret, or a secret beside an existing database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// Creates a missing database or secret only if there is no sign of an earlier start.
    First,
    /// Always creates what is missing, because the operator has allowed it.
    Allowed,
}

/// How a server starts.
#[derive(Debug, Clone, Copy)]
pub struct StartMode {
    /// What the start may create.
    pub creation: Creation,
    /// Whether to refuse a SQLite database that another server uses, and a database that a server with a
    /// different master secret uses. Tests use `false`, because they start such servers.
    pub exclusive: bool,
}

/// The identity of the database that the data directory belongs to.
#[derive(Debug)]
pub struct Identity {
    _lock: Option<ServerLock>,
    epochs: Epochs,
    record: DatabaseRecord,
    known: Mutex<KnownDatabase>,
    /// The number of writes of this process at the last call of [`Identity::mark`].
    marked_writes: AtomicU64,
}

/// The opened database, its secret and its identity.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) secret: MasterSecret,
    pub(super) identity: Identity,
}

/// Opens the database and reads or creates the secret.
pub(super) async fn open(
    settings: &Settings,
    clock: &Clock,
    StartMode { creation, exclusive }: StartMode,
) -> Result<Opened, StartError> {
    let file = db::sqlite_file(settings.database_url.expose())?;
    db::require_directory(settings.database_url.expose())?;
    let lock = file.filter(|_| exclusive).map(|file| ServerLock::acquire(&file)).transpose()?;
    let record = DatabaseRecord::in_dir(&settings.data_dir);
    let known = match record.read() {
        Err(_) if creation == Creation::Allowed => None,
        known => known?,
    };
    if creation == Creation::First && db::is_empty(settings.database_url.expose()).await? {
        refuse_empty(settings, &record, known.is_some())?;
    }
    back_up_before_migration(settings, clock).await?;
    let db = db::open(settings.database_url.expose()).await?;
    let checked = check(settings, clock, creation, &db, record, known).await;
    match checked {
        Ok((secret, identity)) => Ok(Opened { db, secret, identity: Identity { _lock: lock, ..identity } }),
        Err(error) => {
            db.close().await;
            Err(error)
        }
    }
}

/// Refuses an empty database if there are files of an earlier start.
pub(crate) fn refuse_empty(
    settings: &Settings,
    record: &DatabaseRecord,
    is_known: bool,
) -> Result<(), StartError> {
    let database = mask_url(settings.database_url.expose());
    if is_known {
        return Err(StartError::DatabaseLost { database, beside: record.path().display().to_string() });
    }
    // If the secret is in another directory, or the database on a server, the operator often creates the
    // secret before the first start. The secret then does not prove an earlier start.
    let default = settings.data_dir.join("secret");
    let is_default = settings.secret.is_none() && settings.secret_file == default;
    if is_default && default.exists() && database.starts_with("sqlite:") {
        return Err(StartError::DatabaseLost { database, beside: default.display().to_string() });
    }
    Ok(())
}

async fn check(
    settings: &Settings,
    clock: &Clock,
    creation: Creation,
    db: &Db,
    record: DatabaseRecord,
    known: Option<KnownDatabase>,
) -> Result<(MasterSecret, Identity), StartError> {
    if db.is_incomplete_copy().await? {
        return Err(StartError::IncompleteCopy { database: mask_url(settings.database_url.expose()) });
    }
    let epochs = Epochs::new(db.clone(), clock.clone());
    let mut state = epochs.open().await?;
    if let Some(known) = known
        && known.database != state.database
        && creation == Creation::First
    {
        return Err(StartError::ForeignDatabase {
            database: mask_url(settings.database_url.expose()),
            record: record.path().display().to_string(),
        });
    }
    let restored =
        known.filter(|known| known.database == state.database && known.generation > state.generation);
    if restored.is_some() || known.is_none_or(|known| !known.clean) {
        refuse_damaged(settings, db).await?;
    }
    if let Some(known) = restored {
        state = renew_older(&epochs, known).await?;
    }
    let secret = open_secret(settings, creation, db).await?;
    // Raise the generation at each start, so that a backup from before the start is detected as older. On a
    // full disk, the generation can't be raised, but the server still serves reads.
    match epochs.advance().await {
        Ok(advanced) => state = advanced,
        Err(StoreError::StorageFull(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let known = remembered(&state);
    match record.replace(&known) {
        Err(error) if error.is_storage_full() => {
            tracing::warn!(
                causes = error_chain(&error),
                "the disk is full: failed to write the record of the database in the data directory"
            );
        }
        written => written?,
    }
    let marked_writes = AtomicU64::new(db.writes());
    Ok((secret, Identity { _lock: None, epochs, record, known: Mutex::new(known), marked_writes }))
}

/// Refuses a damaged SQLite database after a crash or a restore. The check of a large database continues
/// while the server runs.
async fn refuse_damaged(settings: &Settings, db: &Db) -> Result<(), StartError> {
    let url = settings.database_url.expose();
    match db.check_integrity(url, CHECK_LIMIT).await? {
        Integrity::Damaged(fault) => Err(StartError::DatabaseDamaged { database: mask_url(url), fault }),
        Integrity::Sound | Integrity::Unfinished => Ok(()),
    }
}

/// Returns the master secret. Creates a missing secret, unless the database has signing keys, because a new
/// secret can't decrypt them. If the operator has allowed a new secret, removes the keys first.
async fn open_secret(settings: &Settings, creation: Creation, db: &Db) -> Result<MasterSecret, StartError> {
    let path = &settings.secret_file;
    if settings.secret.is_none() && !path.exists() && !tokens::list_keys(db).await?.is_empty() {
        if creation == Creation::First {
            return Err(StartError::SecretLost {
                database: mask_url(settings.database_url.expose()),
                secret: path.display().to_string(),
            });
        }
        tokens::discard_keys(db).await?;
    }
    Ok(master_secret(settings)?)
}

/// Begins a new epoch, because the database is older than the record in the data directory.
async fn renew_older(epochs: &Epochs, known: KnownDatabase) -> Result<DatabaseState, StoreError> {
    let renewal = Renewal { above_generation: known.generation, end_sessions: false };
    let renewed = epochs.renew(renewal).await?;
    tracing::warn!(
        trips = renewed.trips,
        "the database is older than the record in the data directory, for example because a backup was \
         restored: a new feed epoch has begun, and apps load all trips again"
    );
    Ok(renewed.state)
}

/// Returns the record that the data directory must contain for a database in use.
pub(crate) fn remembered(state: &DatabaseState) -> KnownDatabase {
    let DatabaseState { database, epoch, generation, .. } = *state;
    KnownDatabase { database, epoch, generation, clean: false }
}

/// Why the record in the data directory could not be updated.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// An error of the database.
    #[error("failed to raise the generation of the database")]
    Store(#[from] StoreError),
    /// The record can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Identity {
    /// If this process has written to the database since the last call, raises the generation and records it
    /// in the data directory. A backup from before this call is then detected as older. If an older copy has
    /// replaced the database while the server was running, begins a new epoch.
    ///
    /// # Errors
    ///
    /// [`MarkError`].
    pub async fn mark(&self, db: &Db) -> Result<(), MarkError> {
        if db.writes() == self.marked_writes.load(Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.advance().await?;
        self.marked_writes.store(db.writes(), Ordering::Relaxed);
        Ok(self.record.update(&known)?)
    }

    /// Records in the data directory that the server stopped gracefully.
    ///
    /// # Errors
    ///
    /// [`MarkError`].
    pub async fn finish(&self) -> Result<(), MarkError> {
        let known = KnownDatabase { clean: true, ..self.advance().await? };
        Ok(self.record.replace(&known)?)
    }

    async fn advance(&self) -> Result<KnownDatabase, StoreError> {
        let before = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.epochs.advance().await?;
        if state.generation <= before.generation {
            state = renew_older(&self.epochs, before).await?;
        }
        let known = remembered(&state);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(known)
    }
}
