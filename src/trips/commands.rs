//! Creates, changes and deletes trips: each command is one transaction with one precondition.

use futures_util::FutureExt;
use uuid::Uuid;

use super::unit_of_work::{self, UnitOfWork};
use super::{
    Patch, Precondition, StopChange, StopPatch, Stops, Trip, TripFields, Trips, TripsError, UncheckedFields,
};
use crate::db::Tx;
use crate::idempotency::ResultRecorder;

impl Trips {
    /// Creates a trip with the id that the client has chosen, or with a new id. If the request has an
    /// idempotency key, `receipt` saves the result in the same transaction.
    ///
    /// # Errors
    ///
    /// [`TripsError::InvalidId`]; [`TripsError::IdTaken`]; [`TripsError::NoSuchOwner`];
    /// [`TripsError::QuotaExceeded`]; [`TripsError::ClaimLost`].
    pub async fn create(
        &self,
        owner: Uuid,
        id: Option<Uuid>,
        fields: TripFields,
        receipt: Option<ResultRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        let is_client_id = id.is_some();
        let id = id.unwrap_or_else(|| self.clock.new_id());
        // Reject an invalid id before the request waits for the database.
        unit_of_work::check_id(id)?;
        let input = (owner, id, is_client_id, fields, self.clock.now(), receipt, self.quotas);
        let created = self.db.write(input, |tx, (owner, id, is_client_id, fields, now, receipt, quotas)| {
            async move {
                let mut work = if *is_client_id {
                    UnitOfWork::load(tx, *owner, &[*id], &[*id], *now, *quotas).await?
                } else {
                    // A server-generated id is unique, so there is no row to read.
                    UnitOfWork::new(*owner, *now, *quotas)
                };
                let trip = work.create(*id, fields.clone())?;
                work.save(tx).await?;
                save_receipt(tx, receipt.as_ref(), trip).await
            }
            .boxed()
        });
        created.await
    }

    /// Applies a patch to one of the owner's trips. A patch without fields changes nothing, and the trip keeps its
    /// version.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; [`TripsError::Invalid`] if the patched trip
    /// violates a rule; [`TripsError::QuotaExceeded`].
    pub async fn change(
        &self,
        owner: Uuid,
        id: Uuid,
        precondition: Precondition,
        patch: Patch,
    ) -> Result<Trip, TripsError> {
        if patch.is_empty() {
            let trip = self.find(owner, id).await?;
            precondition.check(&trip)?;
            return Ok(trip);
        }
        let edit = |patch: &Patch, before: &TripFields| patch.apply(before).map_err(TripsError::Invalid);
        self.modify(owner, id, precondition, patch, edit, None).await
    }

    /// Replaces all fields of one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; [`TripsError::QuotaExceeded`].
    pub async fn replace(
        &self,
        owner: Uuid,
        id: Uuid,
        precondition: Precondition,
        fields: TripFields,
    ) -> Result<Trip, TripsError> {
        self.modify(owner, id, precondition, fields, |fields, _| Ok(fields.clone()), None).await
    }

    /// Deletes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`].
    pub async fn delete(&self, owner: Uuid, id: Uuid, precondition: Precondition) -> Result<(), TripsError> {
        let input = (owner, id, precondition, self.clock.now(), self.quotas);
        let deleted = self.db.write(input, |tx, (owner, id, precondition, now, quotas)| {
            async move {
                let mut work = UnitOfWork::load(tx, *owner, &[*id], &[], *now, *quotas).await?;
                work.delete(*id, precondition)?;
                work.save(tx).await
            }
            .boxed()
        });
        deleted.await
    }

    /// Replaces the fields of a trip with the result of `edit`, if the trip meets the precondition. `edit`
    /// gets `input` and the current fields.
    pub(super) async fn modify<I: Send + Sync + 'static>(
        &self,
        owner: Uuid,
        id: Uuid,
        precondition: Precondition,
        input: I,
        edit: fn(&I, &TripFields) -> Result<TripFields, TripsError>,
        receipt: Option<ResultRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        let input = (owner, id, precondition, input, self.clock.now(), receipt, self.quotas);
        let modified =
            self.db.write(input, move |tx, (owner, id, precondition, input, now, receipt, quotas)| {
                async move {
                    let mut work = UnitOfWork::load(tx, *owner, &[*id], &[], *now, *quotas).await?;
                    let trip = work.modify(*id, precondition, |before| edit(input, before))?;
                    work.save(tx).await?;
                    save_receipt(tx, receipt.as_ref(), trip).await
                }
                .boxed()
            });
        modified.await
    }

    /// Changes the stops of one of the owner's trips. The trip gets a new version, unless the change is a
    /// patch without fields. If the request has an idempotency key, `receipt` saves the result in the same
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`] if the trip or the stop does not exist; [`TripsError::VersionMismatch`];
    /// [`TripsError::IdTaken`] if the trip already has a stop with the new stop's id;
    /// [`TripsError::InvalidOrder`]; [`TripsError::Invalid`], with the stop's index in the list;
    /// [`TripsError::CorruptStops`]; [`TripsError::QuotaExceeded`]; [`TripsError::ClaimLost`].
    pub async fn change_stops(
        &self,
        owner: Uuid,
        id: Uuid,
        precondition: Precondition,
        change: StopChange,
        receipt: Option<ResultRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        if let StopChange::Change(stop, patch) = &change
            && *patch == StopPatch::default()
        {
            let trip = self.find(owner, id).await?;
            precondition.check(&trip)?;
            let has_stop = trip.fields.stops.list()?.iter().any(|existing| existing.id == *stop);
            return if has_stop { Ok(trip) } else { Err(TripsError::NotFound) };
        }
        let edit = |change: &StopChange, before: &TripFields| {
            let list = change.apply(before.stops.list()?)?;
            let stops = Stops::new(&list).map_err(TripsError::Invalid)?;
            let fields = UncheckedFields { stops, ..before.clone().into_inner() };
            TripFields::parse(fields).map_err(TripsError::Invalid)
        };
        self.modify(owner, id, precondition, change, edit, receipt).await
    }
}

/// Saves the result if the request has an idempotency key. Returns the trip.
///
/// # Errors
///
/// [`TripsError::ClaimLost`] if another request took over the claim; the transaction must not be committed.
async fn save_receipt(
    tx: &Tx,
    receipt: Option<&ResultRecorder<Trip>>,
    trip: Trip,
) -> Result<Trip, TripsError> {
    match receipt {
        Some(receipt) if !receipt.save(tx, &trip).await? => Err(TripsError::ClaimLost),
        _ => Ok(trip),
    }
}
