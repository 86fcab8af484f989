//! Changes of one owner's trips that are decided one after the other and written together (a unit of work).
//!
//! The trips are read and locked once; each decision sees those before it, and one that fails leaves
//! everything as it was. What is written in the end is conditional: if a trip is not in the version that was
//! read any more, as on another node of a cluster, the whole transaction runs again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::{Uuid, Variant};

use super::store::Write;
use super::{Precondition, Trip, TripFields, TripsError, store};
use crate::db::{StoreError, Tx};

/// Some trips of one owner within one transaction.
#[derive(Debug)]
pub(crate) struct UnitOfWork {
    owner: Uuid,
    now: DateTime<Utc>,
    slots: BTreeMap<Uuid, Slot>,
    /// How many changes were decided.
    changes: i64,
}

/// What there is under one id.
#[derive(Debug, Default)]
struct Slot {
    /// The trip as it is by now.
    trip: Option<Trip>,
    /// Its version; where there is none any more, the one after its last; 0 where there never was one.
    version: i64,
    /// Which of the work's changes made it so.
    change: Option<i64>,
    /// The version of the row in the table.
    row: Option<i64>,
    /// That row is of a trip that was deleted, whatever came after it.
    is_dropped: bool,
    /// The version of the tombstone in the table.
    tombstone: Option<i64>,
}

impl Slot {
    /// What makes the tables say the same, after so many changes of all trips.
    fn writes(&self, id: Uuid, changes: i64, at: DateTime<Utc>) -> impl Iterator<Item = Write<'_>> {
        let writes = self.change.map(|change| {
            let seq_offset = changes - change;
            let (dropped, kept) = if self.is_dropped { (self.row, None) } else { (None, self.row) };
            let left = match (&self.trip, kept) {
                (Some(trip), Some(version)) => Write::Replace { trip, version, seq_offset },
                (Some(trip), None) => Write::Insert { trip, seq_offset },
                (None, _) => Write::InsertTombstone { id, version: self.version, seq_offset, at },
            };
            let removed = dropped.map(|version| Write::Remove { id, version });
            [removed, self.tombstone.map(|version| Write::DeleteTombstone { id, version }), Some(left)]
        });
        writes.into_iter().flatten().flatten()
    }
}

impl UnitOfWork {
    /// On trips whose ids nobody has heard of yet.
    pub(super) fn on_new(owner: Uuid, now: DateTime<Utc>) -> Self {
        Self { owner, now, slots: BTreeMap::new(), changes: 0 }
    }

    /// On those of the owner's trips that have these ids, and on new ones under those of them that are `made`.
    /// Where the database locks rows, nobody else changes the trips before this transaction ends. That comes
    /// before all else in it: writers lock trips first, in one order, then the counter, so that none waits for
    /// another in a circle.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn on(
        tx: &Tx,
        owner: Uuid,
        ids: &[Uuid],
        made: &[Uuid],
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let mut work = Self::on_new(owner, now);
        for trip in store::find_for_update(tx, owner, ids).await? {
            let (id, version) = (trip.id, trip.version);
            let slot = Slot { trip: Some(trip), version, row: Some(version), ..Slot::default() };
            work.slots.insert(id, slot);
        }
        let missing: Vec<Uuid> = made.iter().filter(|id| !work.slots.contains_key(id)).copied().collect();
        if !missing.is_empty() {
            for (id, version) in store::tombstones(tx, owner, &missing).await? {
                work.slots.insert(id, Slot { version, tombstone: Some(version), ..Slot::default() });
            }
        }
        Ok(work)
    }

    /// The trip of this id as it is by now.
    pub(crate) fn find(&self, id: Uuid) -> Option<&Trip> {
        self.slots.get(&id)?.trip.as_ref()
    }

    /// Makes a trip. If one of that id was deleted, its versions go on from there, so that nobody who knows
    /// an old one takes it for a new one.
    ///
    /// # Errors
    ///
    /// [`TripsError::BadId`]; [`TripsError::Invalid`]; [`TripsError::IdTaken`].
    pub(crate) fn create(&mut self, id: Uuid, draft: TripFields) -> Result<Trip, TripsError> {
        check(id, &draft)?;
        if self.find(id).is_some() {
            return Err(TripsError::IdTaken);
        }
        let version = self.slots.get(&id).map_or(0, |slot| slot.version) + 1;
        let trip = Trip { id, draft, version, created_at: self.now, updated_at: self.now };
        self.set(trip.clone());
        Ok(trip)
    }

    /// Makes of what is said of a trip in the wanted state what `edit` says.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; [`TripsError::Invalid`]; those of `edit`.
    pub(crate) fn modify<F>(
        &mut self,
        id: Uuid,
        condition: &Precondition,
        edit: F,
    ) -> Result<Trip, TripsError>
    where
        F: FnOnce(&TripFields) -> Result<TripFields, TripsError>,
    {
        let before = self.find(id).ok_or(TripsError::NotFound)?;
        condition.check(before)?;
        let draft = edit(&before.draft)?;
        draft.check().map_err(TripsError::Invalid)?;
        let (version, updated_at) = (before.version + 1, self.now.max(before.updated_at));
        let after = Trip { id, draft, version, created_at: before.created_at, updated_at };
        self.set(after.clone());
        Ok(after)
    }

    /// Deletes a trip in the wanted state.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`].
    pub(crate) fn delete(&mut self, id: Uuid, condition: &Precondition) -> Result<(), TripsError> {
        let last = self.find(id).ok_or(TripsError::NotFound)?;
        condition.check(last)?;
        let version = last.version + 1;
        let slot = self.change(id, version);
        slot.trip = None;
        slot.is_dropped = slot.row.is_some();
        Ok(())
    }

    fn set(&mut self, trip: Trip) {
        let slot = self.change(trip.id, trip.version);
        slot.trip = Some(trip);
    }

    fn change(&mut self, id: Uuid, version: i64) -> &mut Slot {
        self.changes += 1;
        let slot = self.slots.entry(id).or_default();
        slot.version = version;
        slot.change = Some(self.changes);
        slot
    }

    /// Writes what was decided.
    ///
    /// # Errors
    ///
    /// [`TripsError::NoSuchOwner`]; [`TripsError::Store`], with a conflict if a trip is not as it was read.
    pub(crate) async fn save(self, tx: &Tx) -> Result<(), TripsError> {
        if self.changes == 0 {
            return Ok(());
        }
        let mut writes = vec![Write::BumpCounter(self.changes)];
        for (id, slot) in &self.slots {
            writes.extend(slot.writes(*id, self.changes, self.now));
        }
        // Those of one kind one after the other, because they are sent together.
        writes.sort_by_key(Write::kind);
        store::write(tx, self.owner, &writes).await.map_err(|error| match error {
            // The rows of trips refer to their owner alone: what a foreign key misses is the account.
            StoreError::ForeignKeyViolation(_) => TripsError::NoSuchOwner,
            // Made by somebody else since it was looked for.
            StoreError::UniqueViolation(_) => StoreError::conflict().into(),
            error => error.into(),
        })
    }
}

/// Whether there may be such a trip under this id.
///
/// # Errors
///
/// [`TripsError::Invalid`]; [`TripsError::BadId`].
pub(super) fn check(id: Uuid, draft: &TripFields) -> Result<(), TripsError> {
    draft.check().map_err(TripsError::Invalid)?;
    if is_v7(id) { Ok(()) } else { Err(TripsError::BadId) }
}

/// Whether it is a UUID of version 7 (RFC 9562 §5.7), which has its place in time.
fn is_v7(id: Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}
