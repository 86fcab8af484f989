//! Share links: read access to a trip for everyone who has the link, without authentication.
//!
//! A trip has at most one link. Sharing a trip again returns the same link. After the link was revoked,
//! sharing the trip creates a new link. Deleting the trip revokes its link. A link gives access to the trip
//! only: it reveals nothing about the owner and allows no changes.

pub mod api;
mod store;
mod token;

use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError};
use crate::secrets::{MacKey, MasterSecret, Purpose, random_bytes};
use crate::trips::{Trip, Trips, TripsError};

use token::ShareToken;

/// The maximum number of attempts to find or create a link while concurrent requests create and revoke it.
const ATTEMPTS: u32 = 4;

/// The error of an operation on share links.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// The owner has no such trip, or the link does not exist.
    #[error("there is no such trip or link")]
    NotFound,
    /// Reading the trip failed.
    #[error("failed to read the trip")]
    Trips(#[source] TripsError),
    /// The database failed.
    #[error("failed to read or write share links")]
    Store(#[from] StoreError),
}

impl From<TripsError> for SharesError {
    fn from(error: TripsError) -> Self {
        match error {
            TripsError::NotFound => Self::NotFound,
            error => Self::Trips(error),
        }
    }
}

/// Creates, revokes and resolves share links. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shares {
    db: Db,
    clock: Clock,
    trips: Trips,
    mac: MacKey,
    public_url: String,
}

impl Shares {
    /// Creates the service. The key that authenticates the tokens of links is derived from `secret`. Links
    /// begin with `public_url`.
    pub fn new(db: Db, clock: Clock, trips: Trips, secret: &MasterSecret, public_url: String) -> Self {
        let mac = MacKey::from_secret(secret, Purpose::Shares);
        Self { db, clock, trips, mac, public_url }
    }

    /// Returns the URL of the server, as configured.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Returns the token of the link to one of the owner's trips. Creates the link if there is none.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`].
    pub async fn share(&self, owner: Uuid, trip: Uuid) -> Result<String, SharesError> {
        for _ in 0..ATTEMPTS {
            let existing =
                self.db.read((owner, trip), |tx, (owner, trip)| store::find(tx, *owner, *trip).boxed());
            if let Some(id) = existing.await? {
                return Ok(ShareToken { id }.encode(&self.mac));
            }
            let id = Uuid::from_bytes(random_bytes());
            let input = (owner, trip, id, self.clock.now());
            let inserted = self.db.write(input, |tx, (owner, trip, id, now)| {
                store::insert(tx, *owner, *trip, *id, *now).boxed()
            });
            match inserted.await {
                Ok(()) => return Ok(ShareToken { id }.encode(&self.mac)),
                // A concurrent request has created the link: read it.
                Err(StoreError::UniqueViolation(_)) => {}
                Err(StoreError::ForeignKeyViolation(_)) => return Err(SharesError::NotFound),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::conflict().into())
    }

    /// Revokes the link to one of the owner's trips, if there is one.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`] if there is no such trip.
    pub async fn revoke(&self, owner: Uuid, trip: Uuid) -> Result<(), SharesError> {
        let deleted =
            self.db.write((owner, trip), |tx, (owner, trip)| store::delete(tx, *owner, *trip).boxed());
        if !deleted.await? {
            self.trips.find(owner, trip).await?;
        }
        Ok(())
    }

    /// Returns the trip that the link with this token shows.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`] if the token is invalid or the link was revoked.
    pub async fn resolve(&self, token: &str) -> Result<Trip, SharesError> {
        let token = ShareToken::decode(token, &self.mac).ok_or(SharesError::NotFound)?;
        let found = self.db.read(token, |tx, token| store::find_by_token(tx, token).boxed()).await?;
        let (owner, trip) = found.ok_or(SharesError::NotFound)?;
        Ok(self.trips.find(owner, trip).await?)
    }
}
