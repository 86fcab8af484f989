//! The feed epoch, a random number that distinguishes a restored database from the database before the
//! restore.
//!
//! After a restore from a backup, clients still have versions and cursors of changes that the database no longer
//! contains, and access tokens of sessions that it no longer contains. [`Epochs::renew`] invalidates these in one
//! transaction:
//!
//! - The epoch, a random number, is replaced. Each cursor contains the epoch, so cursors from before the
//!   renewal are never accepted again.
//! - The versions of all trips and tombstones and the change counters of all users are increased by a random
//!   number, so entity tags and base versions from before the renewal match nothing. The sum of the random
//!   numbers of all renewals is the version floor. A new trip whose id is from before the renewal starts with
//!   a version above this floor.
//! - Access tokens from before the renewal are accepted only if their session is in the database (see
//!   `tokens`).
//!
//! The generation of the database is incremented regularly while servers write. The data directory of each
//! server records the highest generation that the server has seen. If the generation of the database is lower
//! than the recorded generation, the database was restored from a backup.

mod store;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::secrets::random_bytes;

/// The maximum duration of a renewal. A renewal updates every trip, so it can take long.
const RENEWAL_TIMEOUT: std::time::Duration = std::time::Duration::from_hours(1);

/// The identity and the age of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseState {
    /// The id of the database. A restored backup has the same id.
    pub database: Uuid,
    /// The feed epoch.
    pub epoch: i64,
    /// The sum of the numbers that renewals have added to the versions of trips.
    pub version_floor: i64,
    /// A number that is incremented regularly while servers write.
    pub generation: i64,
    /// When the epoch began; 1970-01-01 if the epoch was never renewed.
    pub began_at: DateTime<Utc>,
}

/// The parameters of a renewal.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// The generation that the new generation must exceed.
    pub above_generation: i64,
    /// Whether to end all sessions, so that every user must log in again.
    pub end_sessions: bool,
}

/// The effect of a renewal.
#[derive(Debug, Clone, Copy)]
pub struct Renewed {
    /// The state of the database after the renewal.
    pub state: DatabaseState,
    /// The number of trips whose version was increased.
    pub trips: u64,
    /// The number of sessions that were ended.
    pub ended_sessions: u64,
}

/// The version above which a new trip starts if its id was possibly in use before the database was restored
/// from a backup. A client that still has the earlier trip with this id must not mistake the new trip for the
/// earlier one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct VersionFloor {
    version: i64,
    /// The time of the restore, in milliseconds since 1970.
    restored_at: i64,
}

impl VersionFloor {
    /// Returns the floor for this id. The floor is 0 if the id is newer than the restore, or if the database
    /// was never restored.
    pub(crate) fn for_id(self, id: Uuid) -> i64 {
        let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
        let millis = i64::try_from(seconds * 1000 + u64::from(nanos) / 1_000_000).unwrap_or(i64::MAX);
        if millis > self.restored_at { 0 } else { self.version }
    }
}

/// Returns the version floor, within the transaction that creates trips.
///
/// # Errors
///
/// [`StoreError`].
pub(crate) async fn version_floor(tx: &Tx) -> Result<VersionFloor, StoreError> {
    let state = store::find(tx).await?.ok_or_else(StoreError::conflict)?;
    Ok(VersionFloor { version: state.version_floor, restored_at: state.began_at.timestamp_millis() })
}

/// The values that a renewal writes.
#[derive(Debug, Clone, Copy)]
struct NewEpoch {
    epoch: i64,
    /// The number that is added to versions, counters and the generation.
    step: i64,
    above_generation: i64,
    end_sessions: bool,
    now: DateTime<Utc>,
}

/// Reads and renews the feed epoch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Epochs {
    db: Db,
    clock: Clock,
}

impl Epochs {
    /// Creates the service.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Returns the state of the database. Gives a new database its id and its first epoch.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn open(&self) -> Result<DatabaseState, StoreError> {
        if let Some(state) = self.find().await? {
            return Ok(state);
        }
        let first = DatabaseState {
            database: Uuid::from_bytes(random_bytes()),
            epoch: random_epoch(),
            version_floor: 0,
            generation: 1,
            began_at: DateTime::UNIX_EPOCH,
        };
        match self.db.write(first, |tx, first| store::insert(tx, first).boxed()).await {
            // A unique violation means that another replica has inserted the row.
            Ok(()) | Err(StoreError::UniqueViolation(_)) => {}
            Err(error) => return Err(error),
        }
        self.find().await?.ok_or_else(StoreError::conflict)
    }

    /// Returns the state of the database, or `None` if no server has opened it yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn find(&self) -> Result<Option<DatabaseState>, StoreError> {
        self.db.read((), |tx, ()| store::find(tx).boxed()).await
    }

    /// Increments the generation by 1 and returns the new state.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn advance(&self) -> Result<DatabaseState, StoreError> {
        self.db.write((), |tx, ()| advance(tx).boxed()).await
    }

    /// Begins a new epoch. The time that this call takes is proportional to the number of trips.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn renew(&self, renewal: Renewal) -> Result<Renewed, StoreError> {
        let new = NewEpoch {
            epoch: random_epoch(),
            step: random_step(),
            above_generation: renewal.above_generation,
            end_sessions: renewal.end_sessions,
            now: self.clock.now(),
        };
        self.db.write_within(RENEWAL_TIMEOUT, new, |tx, new| renew(tx, *new).boxed()).await
    }
}

async fn advance(tx: &Tx) -> Result<DatabaseState, StoreError> {
    store::advance(tx).await?;
    store::find(tx).await?.ok_or_else(StoreError::conflict)
}

async fn renew(tx: &Tx, new: NewEpoch) -> Result<Renewed, StoreError> {
    // Replace the epoch first. This statement locks the row, so that concurrent renewals run one after the
    // other.
    store::replace_epoch(tx, &new).await?;
    let trips = store::raise_versions(tx, new.step).await?;
    store::raise_counters(tx, new.step).await?;
    let ended_sessions = if new.end_sessions { store::end_sessions(tx, new.now).await? } else { 0 };
    let state = store::find(tx).await?.ok_or_else(StoreError::conflict)?;
    Ok(Renewed { state, trips, ended_sessions })
}

/// Returns a random epoch. The epoch is never 0, because 0 means "no epoch" in old cursors.
fn random_epoch() -> i64 {
    (i64::from_be_bytes(random_bytes()) & i64::MAX).max(1)
}

/// Returns a random number between 2^32 and 2^40. The number is higher than the number of changes that one
/// trip can have had since a backup. The number differs each time, because the same backup can be restored
/// twice. The sum of thousands of such numbers stays below 2^53, the limit of exact integers in JavaScript.
fn random_step() -> i64 {
    let random = i64::from_be_bytes(random_bytes()) & ((1 << 40) - 1);
    random.max(1 << 32)
}
