//! Trips. Each trip belongs to one user. For all other users, the trip does not exist.
//!
//! Every use case takes the owner as its first argument. Each change raises the trip's version and, in the
//! same transaction, the owner's change counter; each deletion leaves a tombstone, a row that records the
//! deletion. Each rule is checked in one place: only [`TripFields::parse`] and [`Stops::new`] accept new
//! fields and new stops.

pub mod api;
mod borrowed_trip;
mod commands;
mod cursor;
mod feed;
mod fields;
mod listing;
mod page_cache;
mod query;
mod quotas;
mod searches;
mod sort_keys;
mod stops;
mod store;
mod unit_of_work;
mod violations;

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{BatchLoader, Db, HasStoreError, StoreError, Tx};
use crate::secrets::{MacKey, MasterSecret, Purpose, sha256};

pub use borrowed_trip::BorrowedTrip;
pub use feed::{Feed, FeedQuery};
pub use fields::{Patch, Status, TripFields, UncheckedFields};
pub use listing::{PageState, RenderedPage};
use page_cache::PageCache;
pub use query::{Listing, Query, SEARCH_MAX, Sort};
pub use quotas::{Quota, Quotas, Usage};
use searches::Searches;
pub use stops::{
    STOP_NAME_MAX, STOP_NOTES_MAX, STOPS_BYTES_MAX, STOPS_MAX, Stop, StopChange, StopPatch, Stops,
    generated_stop_id,
};
pub(crate) use unit_of_work::UnitOfWork;
pub use violations::{StopViolation, TripViolation};

/// The maximum length of a title, in characters.
pub const TITLE_MAX: usize = 200;
/// The maximum length of a destination, in characters.
pub const DESTINATION_MAX: usize = 200;
/// The maximum length of a time zone name, in characters; longer names are rejected without a lookup.
pub const TIME_ZONE_MAX: usize = 64;
/// The maximum length of the notes, in characters.
pub const NOTES_MAX: usize = 10_000;
/// The maximum number of trips on a page.
pub const PAGE_MAX: u16 = 100;
/// The size of trips, in bytes of JSON, at which a page of the list or the feed ends early. The size is
/// checked after each chunk, so a page can exceed this limit by one chunk.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The years that dates and times can be in.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// Returns whether the IANA database has a time zone with this name.
fn is_time_zone(name: &str) -> bool {
    name.parse::<chrono_tz::Tz>().is_ok()
}

/// A trip, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// The id of the trip, unique among the owner's trips.
    pub id: Uuid,
    /// The fields that the owner sets.
    pub fields: TripFields,
    /// Starts at 1, or above the versions of a deleted trip with the same id; each change adds 1. After the
    /// database was restored from a backup, a new feed epoch raises the version further, so that it differs
    /// from all versions that clients know (see `epochs`).
    pub version: i64,
    /// The time of creation.
    pub created_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// The last change of a trip.
#[derive(Debug, Clone)]
pub struct Change {
    /// The change number: the position in the order of the owner's changes.
    pub seq: i64,
    /// The trip's id.
    pub id: Uuid,
    /// The trip's version; for a deleted trip, its last version plus 1.
    pub version: i64,
    /// The current trip; `None` if it was deleted.
    pub trip: Option<Trip>,
}

impl Trip {
    /// Returns the entity tag of this state of this trip: the version, and a digest of the whole trip. No
    /// other trip and no other state of this trip has the same tag, even if the database was restored from a
    /// backup and the version was assigned a second time.
    pub fn etag(&self) -> String {
        let UncheckedFields { title, destination, start_date, end_date, time_zone, notes, status, stops } =
            &*self.fields;
        let mut content = self.id.as_bytes().to_vec();
        for number in [self.version, self.created_at.timestamp_millis(), self.updated_at.timestamp_millis()] {
            content.extend(number.to_be_bytes());
        }
        for day in [start_date, end_date] {
            content.extend(day.map_or(i64::MIN, |day| i64::from(day.num_days_from_ce())).to_be_bytes());
        }
        let optional = [destination, time_zone, notes].map(Option::as_deref);
        let required = [title.as_str(), status.name(), stops.as_json()].map(Some);
        for text in required.into_iter().chain(optional) {
            // The length separates the texts. `usize::MAX` marks an absent text, because no text has this
            // length.
            content.extend(text.map_or(usize::MAX, str::len).to_be_bytes());
            content.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        let digest = sha256(&content).iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        format!("{}-{digest:x}", self.version)
    }

    /// Returns the size of the trip's texts, in bytes of UTF-8. A quota limits the sum of these sizes.
    fn stored_len(&self) -> i64 {
        let UncheckedFields { title, destination, time_zone, notes, stops, .. } = &*self.fields;
        let optional = [destination, time_zone, notes].map(|text| text.as_ref().map_or(0, String::len));
        let len = title.len() + stops.as_json().len() + optional.iter().sum::<usize>();
        i64::try_from(len).unwrap_or(i64::MAX)
    }

    /// Returns the approximate size of the trip's texts as JSON, in bytes.
    pub fn json_len(&self) -> usize {
        BorrowedTrip::from(self).json_len()
    }
}

/// The state that a trip must be in for a change to apply (RFC 9110 §13.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Any state.
    Always,
    /// The trip has one of these entity tags.
    OneOf(Vec<String>),
    /// The trip has this version.
    Version(i64),
}

impl Precondition {
    fn check(&self, trip: &Trip) -> Result<(), TripsError> {
        match self {
            Self::OneOf(etags) if !etags.contains(&trip.etag()) => Err(TripsError::VersionMismatch),
            Self::Version(version) if *version != trip.version => Err(TripsError::VersionMismatch),
            Self::Always | Self::OneOf(_) | Self::Version(_) => Ok(()),
        }
    }
}

/// The row of an owner's change counter.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// The value of the counter, which each change increments and a new feed epoch raises.
    changes: i64,
    /// The number and the size of the owner's trips.
    usage: Usage,
}

/// The error of an operation on trips.
#[derive(Debug, thiserror::Error)]
pub enum TripsError {
    /// The owner has no trip with this id, or the trip has no stop with this id.
    #[error("there is no such trip")]
    NotFound,
    /// The owner's account does not exist.
    #[error("the owner does not exist")]
    NoSuchOwner,
    /// The trip violates these rules.
    #[error("the trip violates a rule")]
    Invalid(Vec<TripViolation>),
    /// The trip does not meet the [`Precondition`].
    #[error("the trip has changed")]
    VersionMismatch,
    /// The owner already has a trip with this id, or the trip already has a stop with this id.
    #[error("the id is taken")]
    IdTaken,
    /// The id is not a UUID of version 7.
    #[error("the id is not a UUIDv7")]
    InvalidId,
    /// The new order does not contain the id of each stop of the trip exactly once.
    #[error("the order must contain the id of each stop exactly once")]
    InvalidOrder,
    /// The search text is empty after folding.
    #[error("the search text is empty")]
    EmptySearch,
    /// The owner's other searches took too long.
    #[error("the owner has other searches running")]
    TooManySearches,
    /// The search took too long.
    #[error("the search took too long")]
    SearchTimedOut(#[source] StoreError),
    /// The cursor was not issued for this list and this owner.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// The stored stops are not valid JSON.
    #[error("failed to parse the stored stops of a trip")]
    CorruptStops(#[source] serde_json::Error),
    /// The owner would store more than a quota allows.
    #[error("the change would exceed a quota of the owner")]
    QuotaExceeded(Quota),
    /// Another request with the same idempotency key has taken over the claim of this request.
    #[error("another request with the same idempotency key took over the claim")]
    ClaimLost,
    /// The database failed.
    #[error("failed to read or write trips")]
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

/// Creates, finds, lists, changes and deletes trips. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trips {
    db: Db,
    clock: Clock,
    cursors: MacKey,
    counters: BatchLoader<Uuid, Counter>,
    quotas: Quotas,
    searches: Searches,
    pages: PageCache,
}

impl Trips {
    /// Creates the service. The key that authenticates cursors is derived from `secret`. `page_cache_bytes` is
    /// the maximum size of the cache of pages; 0 turns it off.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret, quotas: Quotas, page_cache_bytes: u64) -> Self {
        let cursors = MacKey::from_secret(secret, Purpose::Cursors);
        let reader = db.clone();
        let counters = BatchLoader::new(move |owners| {
            let db = reader.clone();
            async move { db.read(owners, |tx, owners: &Vec<_>| store::counters(tx, owners).boxed()).await }
                .boxed()
        });
        let pages = PageCache::new(page_cache_bytes);
        Self { db, clock, cursors, counters, quotas, searches: Searches::default(), pages }
    }

    /// Returns a new id for a trip or a stop.
    pub fn new_id(&self) -> Uuid {
        self.clock.new_id()
    }

    /// Returns the quotas of each user.
    pub fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// Returns the number and the size of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn usage(&self, owner: Uuid) -> Result<Usage, StoreError> {
        let counter = self.counters.get(owner).await?;
        Ok(counter.map(|counter| counter.usage).unwrap_or_default())
    }

    /// Returns one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::Store`].
    pub async fn find(&self, owner: Uuid, id: Uuid) -> Result<Trip, TripsError> {
        let found = self.db.read((owner, id), |tx, (owner, id)| store::find(tx, *owner, *id).boxed()).await;
        found.map_err(TripsError::Store)?.ok_or(TripsError::NotFound)
    }
}

/// Returns up to `limit` of the owner's trips whose ids are after `after`, in the order of their ids.
///
/// # Errors
///
/// [`StoreError`].
pub async fn page_by_id(
    tx: &Tx,
    owner: Uuid,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Trip>, StoreError> {
    store::page_by_id(tx, owner, after, limit).await
}
