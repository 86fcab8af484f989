//! Making, changing and deleting trips: each is one transaction with one condition.

use futures_util::FutureExt;
use uuid::Uuid;

use super::unit_of_work::{self, UnitOfWork};
use super::{Patch, Precondition, Trip, TripFields, Trips, TripsError};
use crate::db::Tx;
use crate::idempotency::ResponseRecorder;

impl Trips {
    /// Makes a trip, under an id that the client has made or a new one; with a receipt if the request has
    /// an idempotency key.
    ///
    /// # Errors
    ///
    /// [`TripsError::BadId`]; [`TripsError::IdTaken`]; [`TripsError::Invalid`]; [`TripsError::NoSuchOwner`];
    /// [`TripsError::ClaimLost`].
    pub async fn create(
        &self,
        owner: Uuid,
        id: Option<Uuid>,
        draft: TripFields,
        receipt: Option<ResponseRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        let is_given = id.is_some();
        let id = id.unwrap_or_else(|| self.clock.new_id());
        // Before anybody waits for the database.
        unit_of_work::check(id, &draft)?;
        let input = (owner, id, is_given, draft, self.clock.now(), receipt);
        let made = self.db.write(input, |tx, (owner, id, is_given, draft, now, receipt)| {
            async move {
                let mut work = if *is_given {
                    UnitOfWork::on(tx, *owner, &[*id], &[*id], *now).await?
                } else {
                    // Nobody else has an id that was made here just now.
                    UnitOfWork::on_new(*owner, *now)
                };
                let made = work.create(*id, draft.clone())?;
                work.save(tx).await?;
                save_receipt(tx, receipt.as_ref(), made).await
            }
            .boxed()
        });
        made.await
    }

    /// Changes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; [`TripsError::Invalid`], also where only the
    /// whole breaks a rule.
    pub async fn change(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Precondition,
        patch: Patch,
    ) -> Result<Trip, TripsError> {
        self.modify(owner, id, condition, patch, |patch, before| Ok(patch.apply(before)), None).await
    }

    /// Puts a whole draft in the place of what is said of one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`]; [`TripsError::Invalid`].
    pub async fn replace(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Precondition,
        draft: TripFields,
    ) -> Result<Trip, TripsError> {
        self.modify(owner, id, condition, draft, |draft, _| Ok(draft.clone()), None).await
    }

    /// Deletes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::VersionMismatch`].
    pub async fn delete(&self, owner: Uuid, id: Uuid, condition: Precondition) -> Result<(), TripsError> {
        let input = (owner, id, condition, self.clock.now());
        let gone = self.db.write(input, |tx, (owner, id, condition, now)| {
            async move {
                let mut work = UnitOfWork::on(tx, *owner, &[*id], &[], *now).await?;
                work.delete(*id, condition)?;
                work.save(tx).await
            }
            .boxed()
        });
        gone.await
    }

    /// Makes what `edit` says with `input` of what is said of a trip that is in the wanted state.
    pub(super) async fn modify<I: Send + Sync + 'static>(
        &self,
        owner: Uuid,
        id: Uuid,
        condition: Precondition,
        input: I,
        edit: fn(&I, &TripFields) -> Result<TripFields, TripsError>,
        receipt: Option<ResponseRecorder<Trip>>,
    ) -> Result<Trip, TripsError> {
        let input = (owner, id, condition, input, self.clock.now(), receipt);
        let altered = self.db.write(input, move |tx, (owner, id, condition, input, now, receipt)| {
            async move {
                let mut work = UnitOfWork::on(tx, *owner, &[*id], &[], *now).await?;
                let made = work.modify(*id, condition, |before| edit(input, before))?;
                work.save(tx).await?;
                save_receipt(tx, receipt.as_ref(), made).await
            }
            .boxed()
        });
        altered.await
    }
}

/// What was made, if nobody has taken the request over.
async fn save_receipt(
    tx: &Tx,
    receipt: Option<&ResponseRecorder<Trip>>,
    made: Trip,
) -> Result<Trip, TripsError> {
    match receipt {
        Some(receipt) if !receipt.sign(tx, &made).await? => Err(TripsError::ClaimLost),
        _ => Ok(made),
    }
}
