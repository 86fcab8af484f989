//! Sync: what changed since an app asked last, and what an app did while it was offline.
//!
//! The feed follows the counter of the owner's changes, so it misses nothing and repeats nothing, however
//! many write meanwhile. Operations are decided one by one, in their order, and what an operation overwrites
//! it must name: one that was made on an older state than the server's is a conflict and changes nothing, and
//! so is whatever was made on top of one that was not done.
//! Each is applied once: its id is kept by the transaction that applies it. Only what was applied is
//! kept; a conflict or a refusal did nothing, and is decided anew when it is sent again.

pub mod api;
mod cursor;
mod store;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::secrets::{MacKey, MasterSecret, Purpose};
use crate::trips::{Change, FeedQuery, Patch, Precondition, Trip, TripFields, Trips, TripsError, UnitOfWork};

use cursor::Position;

/// The most changes of one answer.
pub const CHANGES_MAX: u16 = 500;
/// The most operations of one request.
pub const OPERATIONS_MAX: usize = 500;
/// How much of trips is told in one answer, in bytes of text: then it ends early.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;
/// How long an operation is remembered.
pub const REMEMBERED: TimeDelta = TimeDelta::days(7);
/// How old a cursor may be: deletions are told for so long.
pub const CURSOR_AGE: TimeDelta = TimeDelta::days(180);
/// How long tombstones are kept: a day longer, because no two clocks agree.
const TOMBSTONES_KEPT: TimeDelta = TimeDelta::days(181);
/// How many operations are done in one transaction: so many trips are in memory at once, and so long do the
/// owner's other writers wait.
const BATCH: usize = 32;
/// How many dead rows are deleted in one transaction.
const SWEEP_BATCH: u64 = 200;

/// A piece of the feed.
#[derive(Debug)]
pub struct ChangesPage {
    /// In order.
    pub changes: Vec<Change>,
    /// Where the next piece begins; for the same owner alone.
    pub next: String,
    /// Whether it is there already.
    pub has_more: bool,
}

/// Something that an app did.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its name, made by the app.
    pub op_id: Uuid,
    /// SHA-256 of all that was said of it.
    pub digest: [u8; 32],
    /// Of the trip.
    pub id: Uuid,
    /// The version that it was made on; 0 if there was none.
    pub base: i64,
    /// What it did to it.
    pub deed: Mutation,
}

/// What is done to a trip.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Makes it; the patch has a title.
    Create(Patch),
    /// Changes it.
    Update(Patch),
    /// Deletes it.
    Delete,
    /// Nothing: it could not be read. What was made on top of it must not be done either.
    Unreadable,
}

/// What became of an operation.
#[derive(Debug)]
pub enum Outcome {
    /// Done; the trip as it is now, if there is one.
    Applied(Option<Trip>),
    /// Done before; the trip as it is now, if there is one.
    Duplicate(Option<Trip>),
    /// Not done: the trip has moved on; as it is now, if there is one.
    Conflict(Option<Trip>),
    /// Not done: a rule is broken.
    Rejected(TripsError),
    /// Not done: its name stands for another operation.
    OperationIdReused,
    /// Not done: it could not be read.
    Unreadable,
}

impl Outcome {
    /// How much of trips it tells, in bytes.
    fn json_len(&self) -> usize {
        match self {
            Self::Applied(trip) | Self::Duplicate(trip) | Self::Conflict(trip) => {
                trip.as_ref().map_or(0, Trip::json_len)
            }
            Self::Rejected(_) | Self::OperationIdReused | Self::Unreadable => 0,
        }
    }
}

/// How far the operations of a request have come.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Of trips on which an operation was not done: the least version that such a one was made on.
    broken: HashMap<Uuid, i64>,
    /// Of trips on which one was done: the version that the last of them left.
    left: HashMap<Uuid, i64>,
    /// How much of trips is told by now.
    told: usize,
}

impl Progress {
    /// Whether the operation counts on one that was not done: the version that it names is not the one it
    /// expects there, but somebody else's.
    fn depends_on_failed(&self, operation: &Operation) -> bool {
        let Operation { id, base, .. } = operation;
        self.broken.get(id).is_some_and(|least| base > least) && self.left.get(id) != Some(base)
    }

    fn note(&mut self, operation: &Operation, outcome: &Outcome) {
        let Operation { id, base, .. } = operation;
        match outcome {
            Outcome::Applied(Some(trip)) => {
                self.left.insert(*id, trip.version);
            }
            Outcome::Applied(None) => {}
            Outcome::Duplicate(_) => {
                self.left.insert(*id, base.saturating_add(1));
            }
            _ => {
                let least = self.broken.entry(*id).or_insert(*base);
                *least = std::cmp::min(*least, *base);
            }
        }
        self.told += outcome.json_len();
    }
}

/// Why a feed can't be read or operations can't be done.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Not a cursor that the feed gave to this owner.
    #[error("the cursor is not one of this feed")]
    BadCursor,
    /// Deletions since the cursor may have been forgotten.
    #[error("the cursor is too old")]
    TooOld,
    /// The trips can't be read or written.
    #[error(transparent)]
    Trips(TripsError),
    /// The database.
    #[error("the operations can't be read or written")]
    Store(#[from] StoreError),
}

impl From<TripsError> for SyncError {
    fn from(error: TripsError) -> Self {
        match error {
            TripsError::Store(error) => Self::Store(error),
            error => Self::Trips(error),
        }
    }
}

impl HasStoreError for SyncError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Trips(error) => error.store(),
            Self::BadCursor | Self::TooOld => None,
        }
    }
}

/// The feed and the operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sync {
    db: Db,
    clock: Clock,
    trips: Trips,
    cursors: MacKey,
}

impl Sync {
    /// Over a database; `secret` authenticates cursors.
    pub fn new(db: Db, clock: Clock, trips: Trips, secret: &MasterSecret) -> Self {
        Self { db, clock, trips, cursors: MacKey::of(secret, Purpose::Cursors) }
    }

    /// What became of the owner's trips behind the cursor; without one all that there is.
    ///
    /// # Errors
    ///
    /// [`SyncError::BadCursor`]; [`SyncError::TooOld`].
    pub async fn changes(
        &self,
        owner: Uuid,
        cursor: Option<&str>,
        limit: u16,
    ) -> Result<ChangesPage, SyncError> {
        // Before anything is read: whatever is not, happens after this.
        let now = self.clock.now();
        let from = match cursor {
            Some(text) => Position::decode(text, owner, &self.cursors).ok_or(SyncError::BadCursor)?,
            // Deletions are told from the start too: the app may know the trip from what it sent.
            None => Position { seq: 0, since: now },
        };
        if from.since <= now - CURSOR_AGE {
            return Err(SyncError::TooOld);
        }
        let limit = limit.clamp(1, CHANGES_MAX);
        let window = FeedQuery { after: from.seq, limit };
        let feed = self.trips.feed(owner, window).await?;
        // The database is an older one than that which gave the cursor: a backup was restored.
        if from.seq > feed.counter {
            return Err(SyncError::TooOld);
        }
        let last = feed.changes.last().map_or(from.seq, |change| change.seq);
        let next = if feed.has_more {
            Position { seq: last, ..from }
        } else {
            Position { seq: feed.counter, since: now }
        };
        let next = next.encode(owner, &self.cursors);
        Ok(ChangesPage { changes: feed.changes, next, has_more: feed.has_more })
    }

    /// Does what an app did, in its order; one outcome for each, or for those alone whose outcomes fit into
    /// one answer: the others were not looked at.
    ///
    /// # Errors
    ///
    /// Those of the database, and if the owner is gone; what was done before is remembered.
    pub async fn apply(&self, owner: Uuid, operations: Vec<Operation>) -> Result<Vec<Outcome>, SyncError> {
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut progress = Progress::default();
        for batch in operations.chunks(BATCH) {
            let input = (owner, batch.to_vec(), progress, self.clock.now());
            let done = self.db.write(input, |tx, (owner, batch, progress, now)| {
                apply(tx, *owner, batch, progress.clone(), *now).boxed()
            });
            let some;
            (some, progress) = done.await?;
            let is_cut = some.len() < batch.len();
            outcomes.extend(some);
            if is_cut {
                break;
            }
        }
        Ok(outcomes)
    }

    /// Forgets what is too old to be asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.trips.sweep(TOMBSTONES_KEPT).await?;
        let before = self.clock.now() - REMEMBERED;
        while self.db.write(before, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await?
            == SWEEP_BATCH
        {}
        Ok(())
    }
}

async fn apply(
    tx: &Tx,
    owner: Uuid,
    batch: &[Operation],
    mut progress: Progress,
    now: DateTime<Utc>,
) -> Result<(Vec<Outcome>, Progress), SyncError> {
    let mut ids: Vec<Uuid> = batch.iter().map(|operation| operation.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let made = batch.iter().filter(|operation| matches!(operation.deed, Mutation::Create(_)));
    let made: Vec<Uuid> = made.map(|operation| operation.id).collect();
    let mut work = UnitOfWork::on(tx, owner, &ids, &made, now).await?;
    let ops: Vec<Uuid> = batch.iter().map(|operation| operation.op_id).collect();
    let (mut known, mut old) = (HashMap::new(), HashSet::new());
    for (op, digest, is_remembered) in store::applied(tx, owner, &ops, now - REMEMBERED).await? {
        if is_remembered {
            known.insert(op, digest);
        } else {
            old.insert(op);
        }
    }
    let (mut outcomes, mut applied) = (Vec::with_capacity(batch.len()), Vec::new());
    for operation in batch {
        if progress.told >= MAX_RESPONSE_BYTES {
            break;
        }
        let outcome = match known.get(&operation.op_id) {
            Some(digest) if *digest == operation.digest => {
                Outcome::Duplicate(work.find(operation.id).cloned())
            }
            Some(_) => Outcome::OperationIdReused,
            None if progress.depends_on_failed(operation) => {
                Outcome::Conflict(work.find(operation.id).cloned())
            }
            None => decide(&mut work, operation)?,
        };
        if let Outcome::Applied(_) = outcome {
            known.insert(operation.op_id, operation.digest.to_vec());
            applied.push((operation.op_id, operation.digest));
        }
        progress.note(operation, &outcome);
        outcomes.push(outcome);
    }
    work.save(tx).await?;
    remember(tx, owner, &applied, &old, now).await?;
    Ok((outcomes, progress))
}

/// `old` are those of the ids that were used for an operation so long ago that it is forgotten.
async fn remember(
    tx: &Tx,
    owner: Uuid,
    applied: &[(Uuid, [u8; 32])],
    old: &HashSet<Uuid>,
    now: DateTime<Utc>,
) -> Result<(), SyncError> {
    let forgotten: Vec<Uuid> = applied.iter().map(|(op, _)| *op).filter(|op| old.contains(op)).collect();
    if !forgotten.is_empty() {
        store::forget(tx, owner, &forgotten, now - REMEMBERED).await?;
    }
    match store::remember(tx, owner, applied, now).await {
        // The same was sent twice at once, and the other one was faster: from the start again.
        Err(StoreError::UniqueViolation(_)) => Err(StoreError::conflict().into()),
        Err(StoreError::ForeignKeyViolation(_)) => Err(SyncError::Trips(TripsError::NoSuchOwner)),
        done => Ok(done?),
    }
}

fn decide(work: &mut UnitOfWork, operation: &Operation) -> Result<Outcome, SyncError> {
    let (id, base) = (operation.id, Precondition::Version(operation.base));
    let done = match &operation.deed {
        Mutation::Create(patch) => work.create(id, patch.apply(&TripFields::default())).map(Some),
        Mutation::Update(patch) => work.modify(id, &base, |before| Ok(patch.apply(before))).map(Some),
        Mutation::Delete => match work.delete(id, &base) {
            // It is as it should be.
            Ok(()) | Err(TripsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        },
        Mutation::Unreadable => return Ok(Outcome::Unreadable),
    };
    match done {
        Ok(trip) => Ok(Outcome::Applied(trip)),
        Err(TripsError::NotFound) => Ok(Outcome::Conflict(None)),
        Err(TripsError::VersionMismatch | TripsError::IdTaken) => {
            Ok(Outcome::Conflict(work.find(id).cloned()))
        }
        Err(error @ (TripsError::Invalid(_) | TripsError::BadId)) => Ok(Outcome::Rejected(error)),
        Err(error) => Err(error.into()),
    }
}
