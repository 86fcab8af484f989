//! Trips: each belongs to one user, and to anybody else it does not exist.
//!
//! Every use-case takes the owner first. Each change raises the trip's version and, in the same
//! transaction, the owner's change counter; each deletion leaves a tombstone. Rules stand here once:
//! all that makes or changes a trip ends in `TripFields::check`, and stops are made by [`Stops::new`].

pub mod api;
mod commands;
mod cursor;
mod feed;
mod fields;
mod listing;
mod stops;
mod store;
mod unit_of_work;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{BatchLoader, Db, HasStoreError, StoreError};
use crate::secrets::{MacKey, MasterSecret, Purpose};

pub use feed::{Change, Feed, FeedQuery};
pub use fields::{Patch, Status, TripFields, TripViolation};
pub use listing::{Listing, Page, Query, SEARCH_MAX, Sort};
pub use stops::{
    STOP_NAME_MAX, STOP_NOTES_MAX, STOPS_BYTES_MAX, STOPS_MAX, Stop, StopChange, StopPatch, StopViolation,
    Stops,
};
pub(crate) use unit_of_work::UnitOfWork;

/// The longest title, in characters.
pub const TITLE_MAX: usize = 200;
/// The longest destination, in characters.
pub const DESTINATION_MAX: usize = 200;
/// The longest name of a time zone that is looked at, in characters.
pub const TIME_ZONE_MAX: usize = 64;
/// The longest notes, in characters.
pub const NOTES_MAX: usize = 10_000;
/// The most trips on a page.
pub const PAGE_MAX: u16 = 100;
/// Where a page of the list or of the feed ends early, in bytes of text: so much and one step of reading.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A trip as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// Unique among the owner's.
    pub id: Uuid,
    /// What the owner says of it.
    pub draft: TripFields,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl Trip {
    /// Names this state of this trip: no other trip and no other version has the same, nor has one that
    /// is made under the same id after this one was deleted.
    pub fn etag(&self) -> String {
        let (_, low) = self.id.as_u64_pair();
        format!("{}-{:x}", self.version, low ^ self.created_at.timestamp_millis().unsigned_abs())
    }

    /// How much it takes to tell its texts, in bytes: as JSON, where a control character takes six.
    pub fn json_len(&self) -> usize {
        let escaped = |text: &str| text.bytes().map(|byte| if byte < b' ' { 6 } else { 1 }).sum::<usize>();
        let text = |text: &Option<String>| text.as_deref().map_or(0, escaped);
        let TripFields { title, destination, notes, stops, .. } = &self.draft;
        escaped(title) + text(destination) + text(notes) + stops.as_json().len()
    }
}

/// The state that a trip must be in to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Any.
    Always,
    /// One of those that these tags name.
    OneOf(Vec<String>),
    /// This version.
    Version(i64),
}

impl Precondition {
    fn check(&self, trip: &Trip) -> Result<(), TripsError> {
        match self {
            Self::OneOf(tags) if !tags.contains(&trip.etag()) => Err(TripsError::VersionMismatch),
            Self::Version(version) if *version != trip.version => Err(TripsError::VersionMismatch),
            Self::Always | Self::OneOf(_) | Self::Version(_) => Ok(()),
        }
    }
}

/// Why a trip can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TripsError {
    /// There is none of that id, or it is somebody else's.
    #[error("there is no such trip")]
    NotFound,
    /// The owner's account is gone.
    #[error("the owner is gone")]
    NoSuchOwner,
    /// Rules are broken; all of them are listed.
    #[error("the trip breaks a rule")]
    Invalid(Vec<TripViolation>),
    /// Not in the state that was asked for.
    #[error("the trip has changed")]
    VersionMismatch,
    /// The owner has a trip of that id, or the trip a stop of that id.
    #[error("the id is taken")]
    IdTaken,
    /// Not a UUID of version 7.
    #[error("the id is not a UUIDv7")]
    BadId,
    /// Not the ids of the trip's stops, each of them once.
    #[error("the order does not name each stop once")]
    InvalidOrder,
    /// Nothing but blanks to search for.
    #[error("there is nothing to search for")]
    EmptySearch,
    /// Not a cursor that this list gave to this owner.
    #[error("the cursor is not one of this list")]
    BadCursor,
    /// The stops are not as this program writes them.
    #[error("the stops of a trip can't be read")]
    Unreadable(#[source] serde_json::Error),
    /// Another request with the same idempotency key is at it, or did it.
    #[error("another request with the same key took over")]
    ClaimLost,
    /// The database.
    #[error("the trips can't be read or written")]
    Store(#[from] StoreError),
}

impl HasStoreError for TripsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// The trips. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trips {
    db: Db,
    clock: Clock,
    cursors: MacKey,
    counters: BatchLoader<Uuid, i64>,
}

impl Trips {
    /// Over a database; `secret` authenticates cursors.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret) -> Self {
        let cursors = MacKey::of(secret, Purpose::Cursors);
        let reader = db.clone();
        let counters = BatchLoader::new(move |owners| {
            let db = reader.clone();
            async move { db.read(owners, |tx, owners: &Vec<_>| store::counters(tx, owners).boxed()).await }
                .boxed()
        });
        Self { db, clock, cursors, counters }
    }

    /// An id for something new.
    pub fn new_id(&self) -> Uuid {
        self.clock.new_id()
    }

    /// One of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`].
    pub async fn find(&self, owner: Uuid, id: Uuid) -> Result<Trip, TripsError> {
        let found = self.db.read((owner, id), |tx, (owner, id)| store::find(tx, *owner, *id).boxed()).await;
        found.map_err(TripsError::Store)?.ok_or(TripsError::NotFound)
    }
}
