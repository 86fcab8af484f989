//! Exports: everything that is stored about a user, as a sequence of pages.
//!
//! A page is read only after the previous page was sent. An export of any size therefore needs memory for one
//! page only, and uses no database connection between pages. The pages are in the order of the primary keys,
//! so a record that exists during the whole export occurs exactly once.
//!
//! An export contains no credential, and no data with which a credential can be checked: no password hash, no
//! token, no code and no key. It also contains no data that is computed from other records, such as counters
//! and search indexes.

pub mod api;
mod records;
mod store;

use futures_util::FutureExt;
use uuid::Uuid;

use crate::accounts::AccountsError;
use crate::audit;
use crate::db::{Db, HasStoreError, StoreError};
use crate::events::{EventKind, Events};
use crate::mail::Mail;

pub use records::{
    AuthenticatorApp, DeletedTrip, Flow, IdempotencyKey, KnownDevice, PendingLogin, Profile, Records,
    Session, Share, SyncOperation,
};

/// The maximum number of records on a page.
const PAGE: u64 = 500;
/// The maximum number of trips on a page. This number is lower than [`PAGE`], because a trip can be large.
const TRIPS_PAGE: u64 = 25;

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sessions.
    Sessions,
    /// Devices on which the user has logged in.
    KnownDevices,
    /// Logins that wait for the second factor.
    PendingLogins,
    /// Passkeys.
    Passkeys,
    /// Personal access tokens.
    PersonalTokens,
    /// Security events.
    Events,
    /// Mailed codes and links.
    Flows,
    /// Mails that wait for their delivery, or whose delivery failed.
    Mails,
    /// Idempotency keys.
    IdempotencyKeys,
    /// Operations of offline apps.
    SyncOperations,
    /// Trips.
    Trips,
    /// Deleted trips.
    DeletedTrips,
    /// Share links.
    Shares,
}

/// The kinds that belong to the account.
const OF_ACCOUNT: &[Kind] = &[
    Kind::Sessions,
    Kind::KnownDevices,
    Kind::PendingLogins,
    Kind::Passkeys,
    Kind::PersonalTokens,
    Kind::Events,
    Kind::Flows,
    Kind::Mails,
];
/// The kinds that belong to the trips.
const OF_TRIPS: &[Kind] =
    &[Kind::IdempotencyKeys, Kind::SyncOperations, Kind::Trips, Kind::DeletedTrips, Kind::Shares];

impl Kind {
    /// Returns the name of the list in the export that contains the records of this kind.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::KnownDevices => "known_devices",
            Self::PendingLogins => "pending_logins",
            Self::Passkeys => "passkeys",
            Self::PersonalTokens => "personal_tokens",
            Self::Events => "events",
            Self::Flows => "flows",
            Self::Mails => "mails",
            Self::IdempotencyKeys => "idempotency_keys",
            Self::SyncOperations => "sync_operations",
            Self::Trips => "trips",
            Self::DeletedTrips => "deleted_trips",
            Self::Shares => "shares",
        }
    }

    /// Returns the maximum number of records of this kind on a page.
    const fn page(self) -> u64 {
        match self {
            Self::Trips => TRIPS_PAGE,
            _ => PAGE,
        }
    }
}

/// The key of a record, unique among the records of a kind and a user.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id(Uuid),
    Digest(Vec<u8>),
}

/// A position in an export.
#[derive(Debug, Clone)]
pub struct Position {
    /// The current kind, and the kinds after it in `OF_ACCOUNT` or `OF_TRIPS`. Never empty.
    kinds: &'static [Kind],
    /// The kinds that follow the last of `kinds`: `OF_TRIPS`, or empty.
    rest: &'static [Kind],
    /// The key of the last record before the position, if the record is of the current kind.
    after: Option<Key>,
}

impl Position {
    /// Returns the start of an export. If `has_trips` is false, the export contains only the kinds that
    /// belong to the account.
    pub fn start(has_trips: bool) -> Self {
        Self { kinds: OF_ACCOUNT, rest: if has_trips { OF_TRIPS } else { &[] }, after: None }
    }

    /// Returns the kind of the next record.
    pub fn kind(&self) -> Kind {
        self.kinds.first().copied().unwrap_or(Kind::Shares)
    }

    /// Returns whether the position is before the first record of its kind.
    pub fn is_first_of_kind(&self) -> bool {
        self.after.is_none()
    }

    /// Returns the position after a page with `count` records. `last` is the key of the last record.
    fn next(&self, count: usize, last: Option<Key>) -> Option<Self> {
        let is_full = u64::try_from(count).unwrap_or(u64::MAX) >= self.kind().page();
        if let Some(last) = last.filter(|_| is_full) {
            return Some(Self { after: Some(last), ..self.clone() });
        }
        let (kinds, rest) = match self.kinds.get(1..) {
            Some(kinds) if !kinds.is_empty() => (kinds, self.rest),
            _ => (self.rest, [].as_slice()),
        };
        (!kinds.is_empty()).then_some(Self { kinds, rest, after: None })
    }
}

/// A page of records of one kind.
#[derive(Debug)]
pub struct Page {
    /// The records.
    pub records: Records,
    /// The position of the next page, if there is one.
    pub next: Option<Position>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportsError {
    /// The account does not exist.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// A query on the database failed.
    #[error("failed to read the data of a user")]
    Store(#[from] StoreError),
}

impl HasStoreError for ExportsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Accounts(error) => error.store(),
        }
    }
}

/// Reads everything that is stored about a user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exports {
    db: Db,
    events: Events,
    mail: Mail,
}

impl Exports {
    /// Creates the service.
    pub fn new(db: Db, events: Events, mail: Mail) -> Self {
        Self { db, events, mail }
    }

    /// Begins an export. Records the export as a security event, and returns the data that exists once for
    /// each user.
    ///
    /// # Errors
    ///
    /// A wrapped [`AccountsError::NoSuchUser`].
    pub async fn begin(&self, user: Uuid) -> Result<Profile, ExportsError> {
        let profile = self.db.read(user, |tx, user| store::profile(tx, *user).boxed()).await?;
        self.events.collect(user, EventKind::DataExported);
        // Write the collected events first, so that the export contains these events and the event of the
        // export itself.
        self.events.flush().await?;
        audit::record(audit::Event::DataExported, Some(user), None);
        Ok(profile)
    }

    /// Returns the page at a position.
    ///
    /// # Errors
    ///
    /// [`ExportsError::Store`].
    pub async fn page(&self, user: Uuid, position: &Position) -> Result<Page, ExportsError> {
        let kind = position.kind();
        let input = (self.mail.clone(), user, kind, position.after.clone());
        let found: Result<_, StoreError> = self
            .db
            .read(input, |tx, (mail, user, kind, after)| {
                store::page(tx, mail, *user, *kind, after.as_ref()).boxed()
            })
            .await;
        let (records, last) = found?;
        let next = position.next(records.len(), last);
        Ok(Page { records, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_reads_all_pages_of_each_kind_of_record_before_the_next_kind() {
        let mut position = Some(Position::start(true));
        let mut visited = Vec::new();
        while let Some(at) = position {
            visited.push(at.kind());
            position = at.next(0, None);
        }
        assert_eq!(visited, [OF_ACCOUNT, OF_TRIPS].concat());
        let start = Position::start(false);
        let full = usize::try_from(PAGE).unwrap();
        let key = Key::Id(Uuid::from_u128(7));
        let next = start.next(full, Some(key.clone())).unwrap();
        assert!(next.kind() == Kind::Sessions && next.after == Some(key.clone()));
        let next = start.next(full - 1, Some(key)).unwrap();
        assert!(next.kind() == Kind::KnownDevices && next.is_first_of_kind());
    }
}
