//! Making, changing and deleting trips: each is one transaction with one condition.

use futures_util::FutureExt;
use uuid::Uuid;

use super::work::{self, Work};
use super::{Condition, Draft, Patch, Trip, Trips, TripsError};
use crate::db::Tx;
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
        let is_given = id.is_some();
        let id = id.unwrap_or_else(|| self.clock.new_id());
        // Before anybody waits for the database.
        work::check(id, &draft)?;
        let input = (owner, id, is_given, draft, self.clock.now(), receipt);
        let made = self.db.write(input, |tx, (owner, id, is_given, draft, now, receipt)| {
            async move {
                let mut work = if *is_given {
                    Work::on(tx, *owner, &[*id], &[*id], *now).await?
                } else {
                    // Nobody else has an id that was made here just now.
                    Work::on_new(*owner, *now)
                };
                let made = work.create(*id, draft.clone())?;
                work.save(tx).await?;
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
        let gone = self.db.write(input, |tx, (owner, id, condition, now)| {
            async move {
                let mut work = Work::on(tx, *owner, &[*id], &[], *now).await?;
                work.delete(*id, condition)?;
                work.save(tx).await
            }
            .boxed()
        });
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
                let mut work = Work::on(tx, *owner, &[*id], &[], *now).await?;
                let made = work.alter(*id, condition, |before| edit(input, before))?;
                work.save(tx).await?;
                signed(tx, receipt.as_ref(), made).await
            }
            .boxed()
        });
        altered.await
    }
}

/// What was made, if nobody has taken the request over.
async fn signed(tx: &Tx, receipt: Option<&Receipt<Trip>>, made: Trip) -> Result<Trip, TripsError> {
    match receipt {
        Some(receipt) if !receipt.sign(tx, &made).await? => Err(TripsError::Overtaken),
        _ => Ok(made),
    }
}
