//! Trips: each belongs to one user, and to anybody else it does not exist.
//!
//! Every use-case takes the owner first. Each change raises the trip's version and, in the same
//! transaction, the owner's change counter. Rules stand here once: creating and changing a trip end
//! in the same `Draft::check`.

pub mod api;
mod cursor;
mod store;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, RoomError, StoreError, Tx};
use crate::secrets::{Authenticator, MasterSecret, Purpose};

pub use cursor::Position;

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

/// A trip as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    /// Unique among the owner's.
    pub id: Uuid,
    /// What the owner says of it.
    pub draft: Draft,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What an owner says of a trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// 1 to [`TITLE_MAX`] characters.
    pub title: String,
    /// 1 to [`DESTINATION_MAX`] characters.
    pub destination: Option<String>,
    /// The first day.
    pub start_date: Option<NaiveDate>,
    /// The last day, not before the first.
    pub end_date: Option<NaiveDate>,
    /// An IANA name.
    pub time_zone: Option<String>,
    /// At most [`NOTES_MAX`] characters.
    pub notes: Option<String>,
    /// Where it stands.
    pub status: Status,
}

/// Where a trip stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// Ahead.
    #[default]
    Planned,
    /// Under way.
    Active,
    /// Over.
    Completed,
    /// Put away.
    Archived,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Active, Self::Completed, Self::Archived];

    /// As it is written and kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Archived => "archived",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// A change: `None` keeps, `Some(None)` clears (RFC 7396).
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Can't be cleared.
    pub title: Option<String>,
    /// See [`Draft`].
    pub destination: Option<Option<String>>,
    /// See [`Draft`].
    pub start_date: Option<Option<NaiveDate>>,
    /// See [`Draft`].
    pub end_date: Option<Option<NaiveDate>>,
    /// See [`Draft`].
    pub time_zone: Option<Option<String>>,
    /// See [`Draft`].
    pub notes: Option<Option<String>>,
    /// Can't be cleared.
    pub status: Option<Status>,
}

impl Patch {
    /// The draft after this change.
    fn apply(&self, before: &Draft) -> Draft {
        let Self { title, destination, start_date, end_date, time_zone, notes, status } = self.clone();
        let before = before.clone();
        Draft {
            title: title.unwrap_or(before.title),
            destination: destination.unwrap_or(before.destination),
            start_date: start_date.unwrap_or(before.start_date),
            end_date: end_date.unwrap_or(before.end_date),
            time_zone: time_zone.unwrap_or(before.time_zone),
            notes: notes.unwrap_or(before.notes),
            status: status.unwrap_or(before.status),
        }
    }
}

/// A rule that a draft breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `end_date` lies before `start_date`.
    #[error("end_date must not be before start_date")]
    EndsBeforeStart,
    /// `start_date` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    StartOutOfRange,
    /// `end_date` lies outside the years 1 to 9999.
    #[error("must be in the years 0001 to 9999")]
    EndOutOfRange,
    /// `time_zone` is not in the IANA database.
    #[error("must be the name of a time zone in the IANA database, such as Europe/Lisbon")]
    UnknownTimeZone,
}

impl Draft {
    /// Checks what no single member shows. Lengths are checked where the text comes in, and once more
    /// by the database.
    fn check(&self) -> Result<(), Vec<Fault>> {
        let in_range = |date: Option<NaiveDate>| date.is_none_or(|date| (1..=9999).contains(&date.year()));
        let mut faults = Vec::new();
        if !in_range(self.start_date) {
            faults.push(Fault::StartOutOfRange);
        }
        if !in_range(self.end_date) {
            faults.push(Fault::EndOutOfRange);
        }
        if self.start_date.zip(self.end_date).is_some_and(|(start, end)| end < start) {
            faults.push(Fault::EndsBeforeStart);
        }
        if self.time_zone.as_ref().is_some_and(|name| name.parse::<chrono_tz::Tz>().is_err()) {
            faults.push(Fault::UnknownTimeZone);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// A page of trips, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// At most as many as were asked for.
    pub items: Vec<Trip>,
    /// Where the next page begins, if there is one; for the same owner alone.
    pub next: Option<String>,
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
    Invalid(Vec<Fault>),
    /// Not a cursor that this list gave to this owner.
    #[error("the cursor is not one of this list")]
    BadCursor,
    /// The database.
    #[error("the trips can't be read or written")]
    Store(#[from] StoreError),
}

impl RoomError for TripsError {
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
    cursors: Authenticator,
}

impl Trips {
    /// Over a database; `secret` authenticates cursors.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret) -> Self {
        Self { db, clock, cursors: Authenticator::of(secret, Purpose::Cursors) }
    }

    /// The owner's trips, newest first, from where `cursor` points; at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TripsError::BadCursor`].
    pub async fn list(&self, owner: Uuid, limit: u16, cursor: Option<&str>) -> Result<Page, TripsError> {
        let decode = |text| Position::decode(text, owner, &self.cursors).ok_or(TripsError::BadCursor);
        let after = cursor.map(decode).transpose()?;
        let wanted = usize::from(limit.clamp(1, PAGE_MAX));
        // One more than wanted tells whether there is a next page.
        let input = (owner, after, u64::from(limit.clamp(1, PAGE_MAX)) + 1);
        let found = self
            .db
            .read(input, |tx, (owner, after, take)| store::page(tx, *owner, *after, *take).boxed())
            .await;
        let mut items = found.map_err(TripsError::Store)?;
        let more = items.len() > wanted;
        items.truncate(wanted);
        let last =
            items.last().filter(|_| more).map(|trip| Position { created_at: trip.created_at, id: trip.id });
        Ok(Page { items, next: last.map(|position| position.encode(owner, &self.cursors)) })
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

    /// Makes a trip.
    ///
    /// # Errors
    ///
    /// [`TripsError::Invalid`]; [`TripsError::NoSuchOwner`].
    pub async fn create(&self, owner: Uuid, draft: Draft) -> Result<Trip, TripsError> {
        draft.check().map_err(TripsError::Invalid)?;
        let now = self.clock.now();
        let trip = Trip { id: self.clock.new_id(), draft, version: 1, created_at: now, updated_at: now };
        let input = (owner, trip.clone());
        self.db.write(input, |tx, (owner, trip)| create(tx, *owner, trip).boxed()).await?;
        Ok(trip)
    }

    /// Changes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`]; [`TripsError::Invalid`], also where only the whole breaks a rule.
    pub async fn change(&self, owner: Uuid, id: Uuid, patch: Patch) -> Result<Trip, TripsError> {
        let input = (owner, id, patch, self.clock.now());
        self.db.write(input, |tx, (owner, id, patch, now)| change(tx, *owner, *id, patch, *now).boxed()).await
    }

    /// Deletes one of the owner's trips.
    ///
    /// # Errors
    ///
    /// [`TripsError::NotFound`].
    pub async fn delete(&self, owner: Uuid, id: Uuid) -> Result<(), TripsError> {
        self.db.write((owner, id), |tx, (owner, id)| delete(tx, *owner, *id).boxed()).await
    }
}

async fn create(tx: &Tx, owner: Uuid, trip: &Trip) -> Result<(), TripsError> {
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    store::insert(tx, owner, trip).await.map_err(owner_gone)
}

async fn change(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    patch: &Patch,
    now: DateTime<Utc>,
) -> Result<Trip, TripsError> {
    // Locked where the database locks rows, so that writers of one trip wait for each other. The
    // condition on the version holds where they don't: on another node of a cluster.
    let before = store::find_for_update(tx, owner, id).await?.ok_or(TripsError::NotFound)?;
    let draft = patch.apply(&before.draft);
    draft.check().map_err(TripsError::Invalid)?;
    store::count_change(tx, owner).await.map_err(owner_gone)?;
    let after = Trip { draft, version: before.version + 1, updated_at: now.max(before.updated_at), ..before };
    if store::replace(tx, owner, &after, before.version).await? {
        Ok(after)
    } else {
        Err(StoreError::stale().into())
    }
}

async fn delete(tx: &Tx, owner: Uuid, id: Uuid) -> Result<(), TripsError> {
    if !store::delete(tx, owner, id).await? {
        return Err(TripsError::NotFound);
    }
    store::count_change(tx, owner).await.map_err(owner_gone)
}

/// The rows of trips refer to their owner alone: what a foreign key misses is the account.
fn owner_gone(error: StoreError) -> TripsError {
    match error {
        StoreError::Missing(_) => TripsError::NoSuchOwner,
        error => error.into(),
    }
}
