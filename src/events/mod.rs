//! The security events of an account: what happened, when, from which address and on which device. With this
//! list, the user can notice a login by another person.
//!
//! [`record`] runs in the transaction that causes the event. Some events are different, because a client can
//! cause very many of them: failed logins, logins without a session, and exports. These events must not cost
//! one transaction each, so they are collected in memory, and [`Events::flush`] writes them together. Failed
//! logins must not fill the table either. For each account and IP address, `flush` writes at most one failed
//! login per minute. For each account, it writes at most [`FAILURES_PER_HOUR`] failed logins per hour and
//! [`FAILURES_PER_DAY`] per day.
//!
//! Events are deleted after [`RETENTION`]. If an account has more than [`EVENTS_MAX`] events, its oldest events
//! are deleted.

pub mod api;
mod kinds;
mod pending;
mod store;

use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::audit;
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::secrets::{MacKey, MasterSecret, Purpose};

pub use kinds::EventKind;
use pending::Pending;

/// How long events are stored.
pub const RETENTION: TimeDelta = TimeDelta::days(90);
/// The maximum number of events of an account. If there are more, the oldest events are deleted.
pub const EVENTS_MAX: u64 = 5_000;
/// The maximum number of failed logins of an account that are stored in an hour.
pub const FAILURES_PER_HOUR: usize = 10;
/// The maximum number of failed logins of an account that are stored in a day.
pub const FAILURES_PER_DAY: usize = 50;
/// The maximum number of events on a page.
pub const PAGE_MAX: u16 = 100;
/// The maximum number of known devices of an account. A further device replaces the device whose last login
/// is the oldest.
const DEVICES_MAX: u64 = 100;
/// The number of rows that one transaction of a sweep deletes.
const SWEEP_BATCH: u64 = 500;
/// The prefix that separates cursors of events from all other messages that the same key signs.
const CURSOR_CONTEXT: &[u8] = b"events v1";

/// A device, as it describes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name that the user sees.
    pub name: Option<String>,
    /// The `User-Agent`.
    pub user_agent: Option<String>,
}

/// An event to record.
#[derive(Debug, Clone)]
pub struct NewEvent {
    id: Uuid,
    user: Uuid,
    kind: EventKind,
    session: Option<Uuid>,
    address: Option<IpAddr>,
    device: Option<DeviceInfo>,
    at: DateTime<Utc>,
}

impl NewEvent {
    /// Creates an event that happens now. Call this function in the task of the request, because it reads the
    /// client's address from the current request.
    pub fn new(clock: &Clock, user: Uuid, kind: EventKind) -> Self {
        let (id, at) = (clock.new_id(), clock.now());
        Self { id, user, kind, session: None, address: audit::client_address(), device: None, at }
    }

    /// Sets the session that the event belongs to. The event then has the device of the session, unless
    /// [`NewEvent::on`] sets a device.
    #[must_use]
    pub fn in_session(self, session: Option<Uuid>) -> Self {
        Self { session, ..self }
    }

    /// Sets the device.
    #[must_use]
    pub fn on(self, device: DeviceInfo) -> Self {
        Self { device: Some(device), ..self }
    }

    /// Sets the address of the client.
    #[must_use]
    pub fn from(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// Returns the same event with a new id and with this kind.
    #[must_use]
    pub fn followed_by(self, clock: &Clock, kind: EventKind) -> Self {
        Self { id: clock.new_id(), kind, ..self }
    }

    /// Returns when the event happens.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// Returns the address of the client.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Sets the user.
    #[must_use]
    pub fn of(self, user: Uuid) -> Self {
        Self { user, ..self }
    }
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id of the event, a UUIDv7.
    pub id: Uuid,
    /// The name of the kind of the event.
    pub kind: String,
    /// When the event happened.
    pub at: DateTime<Utc>,
    /// The session that the event belongs to.
    pub session: Option<Uuid>,
    /// The address of the client.
    pub address: Option<String>,
    /// The device.
    pub device: DeviceInfo,
}

/// A page of events, the newest first.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub items: Vec<Event>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Why events can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The cursor was not issued for the events of this user.
    #[error("invalid cursor")]
    InvalidCursor,
    /// An error of the database.
    #[error("failed to read or write security events")]
    Store(#[from] StoreError),
}

impl HasStoreError for EventsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::InvalidCursor => None,
        }
    }
}

/// Records, collects and lists security events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    db: Db,
    clock: Clock,
    cursors: MacKey,
    pending: Arc<Pending>,
}

impl Events {
    /// Creates the service.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret) -> Self {
        let cursors = MacKey::from_secret(secret, Purpose::Cursors);
        Self { db, clock, cursors, pending: Arc::default() }
    }

    /// Collects an event that a client can cause very often: a failed login, a login without a session, or an
    /// export. [`Events::flush`] writes it.
    pub fn collect(&self, user: Uuid, kind: EventKind) {
        self.pending.add(NewEvent::new(&self.clock, user, kind));
    }

    /// Writes the collected events.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the events that were not written are lost.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let collected = self.pending.take();
        for batch in collected.chunks(100) {
            self.db.write(batch.to_vec(), |tx, batch| write_collected(tx, batch).boxed()).await?;
        }
        Ok(())
    }

    /// Returns a page of the user's events, the newest first. Writes the collected events of this replica
    /// first, so that the page contains them.
    ///
    /// # Errors
    ///
    /// [`EventsError::InvalidCursor`].
    pub async fn list(&self, user: Uuid, cursor: Option<&str>, limit: u16) -> Result<EventPage, EventsError> {
        let context = [CURSOR_CONTEXT, user.as_bytes()].concat();
        let before = match cursor {
            None => Uuid::max(),
            Some(text) => {
                let id = self.cursors.open_signed(&context, text);
                let id = id.and_then(|bytes| Uuid::from_slice(&bytes).ok());
                id.ok_or(EventsError::InvalidCursor)?
            }
        };
        self.flush().await?;
        let limit = limit.clamp(1, PAGE_MAX);
        let input = (user, before, self.clock.now() - RETENTION, u64::from(limit) + 1);
        let found: Result<Vec<Event>, StoreError> = self
            .db
            .read(input, |tx, (user, before, since, limit)| {
                store::list(tx, *user, *before, *since, *limit).boxed()
            })
            .await;
        let mut items = found?;
        let has_more = items.len() > usize::from(limit);
        items.truncate(limit.into());
        let last = items.last().filter(|_| has_more);
        let next = last.map(|event| self.cursors.sign(&context, event.id.as_bytes()));
        Ok(EventPage { items, next })
    }

    /// Deletes events that are older than [`RETENTION`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let before = self.clock.now() - RETENTION;
        self.db.sweep(before, SWEEP_BATCH, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await
    }
}

/// Records an event, in the transaction that causes it.
///
/// # Errors
///
/// [`StoreError`].
pub async fn record(tx: &Tx, event: &NewEvent) -> Result<(), StoreError> {
    store::insert(tx, event.user, event).await?;
    // To save time, delete the excess events only after about one in 64 inserts. The last byte of the id
    // selects these inserts.
    if event.id.as_bytes().last().is_some_and(|byte| byte % 64 == 0) {
        store::trim(tx, event.user, EVENTS_MAX).await?;
    }
    Ok(())
}

/// Stores the device of a login. Returns true if the account was not used on this device before.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remember_device(
    tx: &Tx,
    user: Uuid,
    device: &DeviceInfo,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let digest = fingerprint(device);
    if store::touch_device(tx, user, &digest, now).await? {
        return Ok(false);
    }
    store::insert_device(tx, user, &digest, now).await?;
    store::trim_devices(tx, user, DEVICES_MAX).await?;
    Ok(true)
}

/// Deletes a device, so that the next login on this device counts as a login on a new device.
///
/// # Errors
///
/// [`StoreError`].
pub async fn forget_device(tx: &Tx, user: Uuid, device: &DeviceInfo) -> Result<(), StoreError> {
    store::delete_devices(tx, user, Some(&fingerprint(device))).await
}

/// Deletes all devices of an account.
///
/// # Errors
///
/// [`StoreError`].
pub async fn forget_devices(tx: &Tx, user: Uuid) -> Result<(), StoreError> {
    store::delete_devices(tx, user, None).await
}

/// Returns a digest of the name and the `User-Agent` of a device. Ignores digits and dots in the
/// `User-Agent`, so that an update of the app or of the system does not count as a new device.
fn fingerprint(device: &DeviceInfo) -> [u8; 32] {
    let name = device.name.as_deref().unwrap_or_default();
    let user_agent = device.user_agent.as_deref().unwrap_or_default();
    let family: String =
        user_agent.chars().filter(|letter| !letter.is_ascii_digit() && *letter != '.').collect();
    crate::secrets::sha256([name.as_bytes(), b"\0", family.as_bytes()].concat().as_slice())
}

/// Writes collected events, but only as many failed logins as the limits allow.
async fn write_collected(tx: &Tx, events: &[NewEvent]) -> Result<(), StoreError> {
    for event in events {
        if event.kind == EventKind::LoginFailed && !is_allowed(tx, event).await? {
            continue;
        }
        // The account was possibly deleted after the event was collected.
        if store::user_exists(tx, event.user).await? {
            record(tx, event).await?;
        }
    }
    Ok(())
}

/// Returns whether the limits allow storing one more failed login of the account.
async fn is_allowed(tx: &Tx, event: &NewEvent) -> Result<bool, StoreError> {
    let kind = EventKind::LoginFailed.name();
    let since = event.at - TimeDelta::days(1);
    let recent = store::recent(tx, event.user, kind, since, FAILURES_PER_DAY as u64).await?;
    let within = |period: TimeDelta| {
        let since = event.at - period;
        recent.iter().filter(move |(at, _)| *at > since)
    };
    let address = event.address.map(|address| address.to_string());
    Ok(recent.len() < FAILURES_PER_DAY
        && within(TimeDelta::hours(1)).count() < FAILURES_PER_HOUR
        && !within(TimeDelta::minutes(1)).any(|(_, known)| *known == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_an_updated_app_is_not_a_new_device() {
        let device = |name: &str, user_agent: &str| DeviceInfo {
            name: Some(name.to_owned()),
            user_agent: Some(user_agent.to_owned()),
        };
        let phone = fingerprint(&device("Phone", "Trips/1.4 (iPhone; iOS 19.1)"));
        assert_eq!(phone, fingerprint(&device("Phone", "Trips/1.12.1 (iPhone; iOS 20)")));
        for other in [device("Tablet", "Trips/1.4 (iPhone; iOS 19.1)"), device("Phone", "curl/8.5.0")] {
            assert_ne!(phone, fingerprint(&other), "{other:?}");
        }
    }
}
