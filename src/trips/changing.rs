//! Making, changing and deleting trips: each is one transaction with one condition.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::{Uuid, Variant};

use super::{Condition, Draft, Patch, Trip, Trips, TripsError, store};
use crate::db::{StoreError, Tx};
use crate::idempotency::Receipt;

impl Trips {
    /// Makes a trip, under an id that the client has made or a new one; with a receipt if the request has
    /// an idempotency key.
    ///
    /// # Errors
    ///
    /// [`TripsError::BadId`]; [`TripsError::Taken`]; [`TripsError::Invalid`]; [`TripsError::NoSuchOwner`];
    /// [`TripsError::Overtaken`].
    pub async fn create(
        &self,
        owner: Uuid,
        id: Option<Uuid>,
        draft: Draft,
        receipt: Option<Receipt<Trip>>,
    ) -> Result<Trip, TripsError> {
        draft.check().map_err(TripsError::Invalid)?;
        if id.is_some_and(|id| !is_v7(id)) {
            return Err(TripsError::BadId);
        }
        let now = self.clock.now();
        let is_given = id.is_some();
        let id = id.unwrap_or_else(|| self.clock.new_id());
        let trip = Trip { id, draft, version: 1, created_at: now, updated_at: now };
        let input = (owner, trip, is_given, receipt);
        let made = self.db.write(input, |tx, (owner, trip, is_given, receipt)| {
            async move {
                // Nobody else has an id that was made here just now.
                let made = if *is_given {
                    create_given(tx, *owner, trip.clone()).await?
                } else {
                    create(tx, *owner, trip.clone()).await?
                };
                signed(tx, receipt.as_ref(), made).await
            }
            .boxed()
        });
        made.await
    }

    /// Changes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::Changed`]; [`TripsError::Invalid`], also where only the
    /// whole breaks a rule.
    pub async fn change(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Condition,
        patch: Patch,
    ) -> Result<Trip, TripsError> {
        self.alter(owner, id, condition, patch, |patch, before| Ok(patch.apply(before)), None).await
    }

    /// Puts a whole draft in the place of what is said of one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::Changed`]; [`TripsError::Invalid`].
    pub async fn replace(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Condition,
        draft: Draft,
    ) -> Result<Trip, TripsError> {
        self.alter(owner, id, condition, draft, |draft, _| Ok(draft.clone()), None).await
    }

    /// Deletes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::Changed`].
    pub async fn delete(&self, owner: Uuid, id: Uuid, condition: Condition) -> Result<(), TripsError> {
        let input = (owner, id, condition, self.clock.now());
        let gone = self
            .db
            .write(input, |tx, (owner, id, condition, now)| delete(tx, *owner, *id, condition, *now).boxed());
        gone.await
    }

    /// Makes what `edit` says with `input` of what is said of a trip that is in the wanted state.
    pub(super) async fn alter<I: Send + Sync + 'static>(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Condition,
        input: I,
        edit: fn(&I, &Draft) -> Result<Draft, TripsError>,
        receipt: Option<Receipt<Trip>>,
    ) -> Result<Trip, TripsError> {
        let input = (owner, id, condition, input, self.clock.now(), receipt);
        let altered = self.db.write(input, move |tx, (owner, id, condition, input, now, receipt)| {
            async move {
                let made = alter(tx, *owner, *id, condition, *now, move |before| edit(input, before)).await?;
                signed(tx, receipt.as_ref(), made).await
            }
            .boxed()
        });
        altered.await
    }
}

/// Whether it is a UUID of version 7 (RFC 9562 §5.7), which has its place in time.
pub(super) fn is_v7(id: Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}

/// What was made, if nobody has taken the request over.
async fn signed(tx: &Tx, receipt: Option<&Receipt<Trip>>, made: Trip) -> Result<Trip, TripsError> {
    match receipt {
        Some(receipt) if !receipt.sign(tx, &made).await? => Err(TripsError::Overtaken),
        _ => Ok(made),
    }
}

async fn create(tx: &Tx, owner: Uuid, trip: Trip) -> Result<Trip, TripsError> {
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    store::insert(tx, owner, &trip).await.map_err(owner_gone)?;
    Ok(trip)
}

/// As [`create`], under an id that may be taken, or that of a trip which was deleted: its versions go on
/// from there, so that nobody who knows an old one takes it for a new one.
pub(super) async fn create_given(tx: &Tx, owner: Uuid, trip: Trip) -> Result<Trip, TripsError> {
    if store::find(tx, owner, trip.id).await?.is_some() {
        return Err(TripsError::Taken);
    }
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    let last = store::take_tombstone(tx, owner, trip.id).await?;
    let trip = Trip { version: last.unwrap_or(0) + 1, ..trip };
    match store::insert(tx, owner, &trip).await {
        // Made by somebody else since it was looked for: from the start again.
        Err(StoreError::Unique(_)) => Err(StoreError::stale().into()),
        done => done.map(|()| trip).map_err(owner_gone),
    }
}

pub(super) async fn alter<F>(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    condition: &Condition,
    now: DateTime<Utc>,
    edit: F,
) -> Result<Trip, TripsError>
where
    F: FnOnce(&Draft) -> Result<Draft, TripsError> + Send,
{
    // Locked where the database locks rows, so that writers of one trip wait for each other. The
    // condition on the version holds where they don't: on another node of a cluster.
    let before = store::find_for_update(tx, owner, id).await?.ok_or(TripsError::NotFound)?;
    condition.check(&before)?;
    let draft = edit(&before.draft)?;
    draft.check().map_err(TripsError::Invalid)?;
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    let after = Trip { draft, version: before.version + 1, updated_at: now.max(before.updated_at), ..before };
    if store::replace(tx, owner, &after, before.version).await? {
        Ok(after)
    } else {
        Err(StoreError::stale().into())
    }
}

pub(super) async fn delete(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    condition: &Condition,
    now: DateTime<Utc>,
) -> Result<(), TripsError> {
    let last = store::find_for_update(tx, owner, id).await?.ok_or(TripsError::NotFound)?;
    condition.check(&last)?;
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    if !store::delete(tx, owner, id, last.version).await? {
        return Err(StoreError::stale().into());
    }
    store::bury(tx, owner, id, last.version + 1, now).await.map_err(owner_gone)
}

/// The rows of trips refer to their owner alone: what a foreign key misses is the account.
fn owner_gone(error: StoreError) -> TripsError {
    match error {
        StoreError::Missing(_) => TripsError::NoSuchOwner,
        error => error.into(),
    }
}
