//! A unit of work: changes to one owner's trips that are applied in memory one by one and written together.
//!
//! The trips are read and locked once. Each change sees the result of the changes before it; a change that
//! fails has no effect. [`UnitOfWork::save`] writes conditionally: if a trip no longer has the version that
//! was read, which can happen on a multi-node cluster, the whole transaction runs again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::{Uuid, Variant};

use super::store::{Limits, Write};
use super::{Precondition, Quotas, Trip, TripFields, TripsError, Usage, store};
use crate::db::{StoreError, Tx};
use crate::epochs::{self, VersionFloor};

/// The trips of one owner that one transaction reads and changes.
#[derive(Debug)]
pub(crate) struct UnitOfWork {
    owner: Uuid,
    now: DateTime<Utc>,
    quotas: Quotas,
    slots: BTreeMap<Uuid, Slot>,
    /// The number of changes so far.
    changes: i64,
    /// The difference that the changes so far make to the owner's usage.
    difference: Usage,
    /// The owner's usage before the changes, if it was read.
    usage: Option<Usage>,
    floor: VersionFloor,
}

/// The state of one trip id.
#[derive(Debug, Default)]
struct Slot {
    /// The trip, with all changes so far.
    trip: Option<Trip>,
    /// The trip's version; after a deletion, its last version plus 1; 0 if the trip never existed.
    version: i64,
    /// The number of the last change to this id. The unit of work numbers its changes from 1.
    last_change: Option<i64>,
    /// The version of the row in the trips table, if there is one.
    row_version: Option<i64>,
    /// Whether the unit of work has deleted the trip of the row in the trips table. Stays true if the unit of
    /// work then creates a trip with the same id.
    is_row_deleted: bool,
    /// The version of the row in the tombstones table, if there is one.
    tombstone_version: Option<i64>,
}

impl Slot {
    /// Returns the writes that bring the tables to the state of this slot. `changes` is the total number of
    /// changes in the unit of work.
    fn writes(
        &self,
        id: Uuid,
        changes: i64,
        limits: Limits,
        at: DateTime<Utc>,
    ) -> impl Iterator<Item = Write<'_>> {
        let writes = self.last_change.map(|change| {
            let seq_offset = changes - change;
            let (delete, update) =
                if self.is_row_deleted { (self.row_version, None) } else { (None, self.row_version) };
            let result = match (&self.trip, update) {
                (Some(trip), Some(version)) => Write::Update { trip, version, seq_offset, limits },
                (Some(trip), None) => Write::Insert { trip, seq_offset, limits },
                (None, _) => Write::InsertTombstone { id, version: self.version, seq_offset, at },
            };
            let delete = delete.map(|version| Write::Delete { id, version });
            let delete_tombstone =
                self.tombstone_version.map(|version| Write::DeleteTombstone { id, version });
            [delete, delete_tombstone, Some(result)]
        });
        writes.into_iter().flatten().flatten()
    }
}

impl UnitOfWork {
    /// Creates an empty unit of work, for trips with server-generated ids.
    pub(super) fn new(owner: Uuid, now: DateTime<Utc>, quotas: Quotas) -> Self {
        Self {
            owner,
            now,
            quotas,
            slots: BTreeMap::new(),
            changes: 0,
            difference: Usage::default(),
            usage: None,
            floor: VersionFloor::default(),
        }
    }

    /// Reads and locks the owner's trips with these ids. `created` contains the ids with which the caller
    /// intends to create trips. Also reads the tombstones of the ids in `created`.
    ///
    /// On a database with row locks, no other transaction can change the trips before this transaction ends.
    /// This call must be the first in its transaction. All writers lock the trips first, in the order of
    /// their ids, and then the counter, so that they can't deadlock.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn load(
        tx: &Tx,
        owner: Uuid,
        ids: &[Uuid],
        created: &[Uuid],
        now: DateTime<Utc>,
        quotas: Quotas,
    ) -> Result<Self, StoreError> {
        let mut work = Self::new(owner, now, quotas);
        for trip in store::find_for_update(tx, owner, ids).await? {
            let (id, version) = (trip.id, trip.version);
            let slot = Slot { trip: Some(trip), version, row_version: Some(version), ..Slot::default() };
            work.slots.insert(id, slot);
        }
        let missing: Vec<Uuid> = created.iter().filter(|id| !work.slots.contains_key(id)).copied().collect();
        if !missing.is_empty() {
            for (id, version) in store::tombstones(tx, owner, &missing).await? {
                work.slots.insert(id, Slot { version, tombstone_version: Some(version), ..Slot::default() });
            }
            work.floor = epochs::version_floor(tx).await?;
        }
        Ok(work)
    }

    /// Reads the owner's usage, so that each change is checked against the quotas separately. Locks the
    /// owner's counter. Without this call, [`UnitOfWork::save`] checks all changes together.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn load_usage(&mut self, tx: &Tx) -> Result<(), StoreError> {
        self.usage = Some(store::usage(tx, self.owner, true).await?);
        Ok(())
    }

    /// Returns the trip with this id, with all changes so far.
    pub(crate) fn find(&self, id: Uuid) -> Option<&Trip> {
        self.slots.get(&id)?.trip.as_ref()
    }

    /// Returns the version above which a new trip with this id starts if the database contains no trip and no
    /// tombstone with this id.
    pub(crate) fn version_floor(&self, id: Uuid) -> i64 {
        self.floor.for_id(id)
    }

    /// Creates a trip. If a trip with this id was deleted, or was possibly lost when the database was
    /// restored from a backup, the versions of the new trip start above those of the former trip. A client
    /// that still has the former trip therefore never mistakes the new trip for the former trip.
    ///
    /// # Errors
    ///
    /// [`TripsError::InvalidId`]; [`TripsError::IdTaken`]; [`TripsError::QuotaExceeded`].
    pub(crate) fn create(&mut self, id: Uuid, fields: TripFields) -> Result<Trip, TripsError> {
        check_id(id)?;
        if self.find(id).is_some() {
            return Err(TripsError::IdTaken);
        }
        let version = self.slots.get(&id).map_or(0, |slot| slot.version).max(self.floor.for_id(id)) + 1;
        let trip = Trip { id, fields, version, created_at: self.now, updated_at: self.now };
        self.set(trip.clone())?;
        Ok(trip)
    }

    /// Replaces the fields of a trip with the result of `edit`, if the trip meets the precondition.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; the errors of `edit`;
    /// [`TripsError::QuotaExceeded`].
    pub(crate) fn modify<F>(
        &mut self,
        id: Uuid,
        precondition: &Precondition,
        edit: F,
    ) -> Result<Trip, TripsError>
    where
        F: FnOnce(&TripFields) -> Result<TripFields, TripsError>,
    {
        let before = self.find(id).ok_or(TripsError::NotFound)?;
        precondition.check(before)?;
        let fields = edit(&before.fields)?;
        let (version, updated_at) = (before.version + 1, self.now.max(before.updated_at));
        let after = Trip { id, fields, version, created_at: before.created_at, updated_at };
        self.set(after.clone())?;
        Ok(after)
    }

    /// Deletes a trip, if it meets the precondition.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`].
    pub(crate) fn delete(&mut self, id: Uuid, precondition: &Precondition) -> Result<(), TripsError> {
        let trip = self.find(id).ok_or(TripsError::NotFound)?;
        precondition.check(trip)?;
        let (version, before) = (trip.version + 1, Usage::of(Some(trip)));
        self.difference = self.difference.minus(before);
        let slot = self.record_change(id, version);
        slot.trip = None;
        slot.is_row_deleted = slot.row_version.is_some();
        Ok(())
    }

    fn set(&mut self, trip: Trip) -> Result<(), TripsError> {
        let change = Usage::of(Some(&trip)).minus(Usage::of(self.find(trip.id)));
        let difference = self.difference.plus(change);
        if let Some(usage) = self.usage {
            self.quotas.check(usage.plus(difference), change)?;
        }
        self.difference = difference;
        let slot = self.record_change(trip.id, trip.version);
        slot.trip = Some(trip);
        Ok(())
    }

    fn record_change(&mut self, id: Uuid, version: i64) -> &mut Slot {
        self.changes += 1;
        let slot = self.slots.entry(id).or_default();
        slot.version = version;
        slot.last_change = Some(self.changes);
        slot
    }

    /// Writes all changes.
    ///
    /// # Errors
    ///
    /// [`TripsError::NoSuchOwner`]; [`TripsError::QuotaExceeded`]; [`TripsError::Store`], with a conflict if a
    /// trip changed since it was read.
    pub(crate) async fn save(self, tx: &Tx) -> Result<(), TripsError> {
        if self.changes == 0 {
            return Ok(());
        }
        let limits = Limits::new(self.quotas, self.difference);
        let mut writes = Vec::new();
        for (id, slot) in &self.slots {
            writes.extend(slot.writes(*id, self.changes, limits, self.now));
        }
        let tombstones = writes.iter().map(Write::tombstones).sum();
        writes.push(Write::BumpCounter { changes: self.changes, usage: self.difference, tombstones });
        // The order is required: see [`Write::order`]. It also puts writes of one kind next to each other.
        // These writes have the same SQL text, so SQLite gets them as one batch.
        writes.sort_by_key(Write::order);
        match store::write(tx, self.owner, &writes).await {
            // The only foreign key of these tables refers to the owner's account, so this account is missing.
            Err(StoreError::ForeignKeyViolation(_)) => Err(TripsError::NoSuchOwner),
            // Another transaction has inserted the row since this transaction read the table.
            Err(StoreError::UniqueViolation(_)) => Err(StoreError::conflict().into()),
            Err(StoreError::Conflict(cause)) => {
                // A write affected no row: either the trip has changed, or the counter, which this transaction
                // has incremented already, is above a quota.
                self.check_quotas(tx).await?;
                Err(StoreError::Conflict(cause).into())
            }
            Ok(()) if tombstones > 0 => {
                Ok(store::trim_tombstones(tx, self.owner, self.quotas.tombstones).await?)
            }
            result => Ok(result?),
        }
    }

    /// Checks the owner's usage against the quotas. This unit of work has already updated the usage.
    async fn check_quotas(&self, tx: &Tx) -> Result<(), TripsError> {
        // If the conflict is a database error, the transaction can't be used, so this query fails. The caller
        // then returns the original error.
        let Ok(usage) = store::usage(tx, self.owner, false).await else { return Ok(()) };
        self.quotas.check(usage, self.difference)
    }
}

/// Checks the id of a trip to create.
///
/// # Errors
///
/// [`TripsError::InvalidId`].
pub(super) fn check_id(id: Uuid) -> Result<(), TripsError> {
    if is_v7(id) { Ok(()) } else { Err(TripsError::InvalidId) }
}

/// Returns whether `id` is a UUID of version 7 (RFC 9562 §5.7), which sorts by time.
fn is_v7(id: Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}
