//! Links that show a trip to whoever has them, without signing in.
//!
//! A trip has one link at most; asking for it again gives the same one, and after it was ended a new one.
//! It ends with its trip. What it shows is the trip and nothing of its owner, and nobody can change
//! anything by it.

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

/// How often a link that comes and goes meanwhile is looked for.
const ATTEMPTS: u32 = 4;

/// Why a trip can't be shared or seen.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// There is no such trip, or it is somebody else's; or no such link.
    #[error("there is no such trip or link")]
    NotFound,
    /// The trip can't be read.
    #[error("the trip can't be read")]
    Trips(#[source] TripsError),
    /// The database.
    #[error("the links can't be read or written")]
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

/// The links. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shares {
    db: Db,
    clock: Clock,
    trips: Trips,
    codes: MacKey,
    public_url: String,
}

impl Shares {
    /// Over a database; `secret` authenticates links, which lie under `public_url`.
    pub fn new(db: Db, clock: Clock, trips: Trips, secret: &MasterSecret, public_url: String) -> Self {
        let codes = MacKey::of(secret, Purpose::Shares);
        Self { db, clock, trips, codes, public_url }
    }

    /// Where the server is reached.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The token of the link to one of the owner's trips, which is made if there is none.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`].
    pub async fn share(&self, owner: Uuid, trip: Uuid) -> Result<String, SharesError> {
        for _ in 0..ATTEMPTS {
            let known =
                self.db.read((owner, trip), |tx, (owner, trip)| store::find(tx, *owner, *trip).boxed());
            if let Some(share) = known.await? {
                return Ok(ShareToken { share }.encode(&self.codes));
            }
            let share = Uuid::from_bytes(random_bytes());
            let made =
                self.db.write((owner, trip, share, self.clock.now()), |tx, (owner, trip, share, now)| {
                    store::insert(tx, *owner, *trip, *share, *now).boxed()
                });
            match made.await {
                Ok(()) => return Ok(ShareToken { share }.encode(&self.codes)),
                // Somebody else has made it meanwhile.
                Err(StoreError::UniqueViolation(_)) => {}
                Err(StoreError::ForeignKeyViolation(_)) => return Err(SharesError::NotFound),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::conflict().into())
    }

    /// Ends the link to one of the owner's trips, if there is one.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`] if there is no such trip.
    pub async fn revoke(&self, owner: Uuid, trip: Uuid) -> Result<(), SharesError> {
        let ended =
            self.db.write((owner, trip), |tx, (owner, trip)| store::delete(tx, *owner, *trip).boxed());
        if !ended.await? {
            self.trips.find(owner, trip).await?;
        }
        Ok(())
    }

    /// The trip that a link shows.
    ///
    /// # Errors
    ///
    /// [`SharesError::NotFound`] if it is no link of ours, or has ended.
    pub async fn open(&self, token: &str) -> Result<Trip, SharesError> {
        let shown = ShareToken::decode(token, &self.codes).ok_or(SharesError::NotFound)?;
        let found = self.db.read(shown, |tx, shown| store::of_token(tx, shown).boxed()).await?;
        let (owner, trip) = found.ok_or(SharesError::NotFound)?;
        Ok(self.trips.find(owner, trip).await?)
    }
}
