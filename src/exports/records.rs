//! The records of an export, without credentials.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::accounts::User;
use crate::events::{DeviceInfo, Event};
use crate::mail::QueuedMail;
use crate::passkeys::Passkey;
use crate::personal_tokens::PersonalToken;
use crate::trips::Trip;

/// The data that exists once for each user.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The account.
    pub user: User,
    /// The authenticator app.
    pub authenticator_app: Option<AuthenticatorApp>,
    /// The number of unused recovery codes.
    pub recovery_codes: u64,
}

/// An authenticator app.
#[derive(Debug, Clone, Copy)]
pub struct AuthenticatorApp {
    /// When the enrolment of the app was confirmed.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// When the unconfirmed enrolment expires.
    pub pending_until: Option<DateTime<Utc>>,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The id.
    pub id: Uuid,
    /// Scope names separated by spaces.
    pub scope: String,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// The device.
    pub device: DeviceInfo,
    /// When the user logged in.
    pub created_at: DateTime<Utc>,
    /// When the session was last used.
    pub last_seen_at: DateTime<Utc>,
    /// When the user last authenticated. `None` if an earlier version of the server started the session.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// When the session expires if it is not used.
    pub idle_expires_at: DateTime<Utc>,
    /// When the session expires.
    pub expires_at: DateTime<Utc>,
    /// When the session was revoked.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A device on which the user has logged in. Only a digest of its name and `User-Agent` is stored.
#[derive(Debug, Clone, Copy)]
pub struct KnownDevice {
    /// When the user last logged in on the device.
    pub last_seen_at: DateTime<Utc>,
}

/// A login that waits for the second factor.
#[derive(Debug, Clone)]
pub struct PendingLogin {
    /// Scope names separated by spaces.
    pub scope: String,
    /// The authentication methods of the first factor (RFC 8176).
    pub amr: Vec<String>,
    /// The device.
    pub device: DeviceInfo,
    /// When the login expires.
    pub expires_at: DateTime<Utc>,
}

/// A mailed code or link.
#[derive(Debug, Clone)]
pub struct Flow {
    /// The name of the purpose.
    pub purpose: String,
    /// The address that the code or link confirms or restores.
    pub address: Option<String>,
    /// The session that the link ends, or in which the code is valid.
    pub session: Option<Uuid>,
    /// When the code or link was requested.
    pub created_at: DateTime<Utc>,
    /// When the code or link expires.
    pub expires_at: DateTime<Utc>,
    /// When the code or link was used.
    pub used_at: Option<DateTime<Utc>>,
    /// When a later code or link replaced this one.
    pub superseded_at: Option<DateTime<Utc>>,
}

/// An idempotency key. Only a digest of the key is stored.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey {
    /// When the request was received.
    pub claimed_at: DateTime<Utc>,
    /// When the key expires.
    pub expires_at: DateTime<Utc>,
    /// The status of the response. `None` while the request runs.
    pub status: Option<u16>,
}

/// An operation of an offline app.
#[derive(Debug, Clone, Copy)]
pub struct SyncOperation {
    /// The id of the operation.
    pub id: Uuid,
    /// When the operation was applied.
    pub applied_at: DateTime<Utc>,
}

/// A deleted trip.
#[derive(Debug, Clone, Copy)]
pub struct DeletedTrip {
    /// The id of the trip.
    pub id: Uuid,
    /// The last version of the trip plus 1.
    pub version: i64,
    /// When the trip was deleted.
    pub deleted_at: DateTime<Utc>,
}

/// The share link of a trip.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The id of the trip.
    pub trip: Uuid,
    /// When the link was created.
    pub created_at: DateTime<Utc>,
}

/// Records of one kind.
#[derive(Debug)]
#[expect(missing_docs, reason = "the kinds are documented at `Kind`")]
pub enum Records {
    Sessions(Vec<Session>),
    KnownDevices(Vec<KnownDevice>),
    PendingLogins(Vec<PendingLogin>),
    Passkeys(Vec<Passkey>),
    PersonalTokens(Vec<PersonalToken>),
    Events(Vec<Event>),
    Flows(Vec<Flow>),
    Mails(Vec<QueuedMail>),
    IdempotencyKeys(Vec<IdempotencyKey>),
    SyncOperations(Vec<SyncOperation>),
    Trips(Vec<Trip>),
    DeletedTrips(Vec<DeletedTrip>),
    Shares(Vec<Share>),
}

impl Records {
    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Sessions(all) => all.len(),
            Self::KnownDevices(all) => all.len(),
            Self::PendingLogins(all) => all.len(),
            Self::Passkeys(all) => all.len(),
            Self::PersonalTokens(all) => all.len(),
            Self::Events(all) => all.len(),
            Self::Flows(all) => all.len(),
            Self::Mails(all) => all.len(),
            Self::IdempotencyKeys(all) => all.len(),
            Self::SyncOperations(all) => all.len(),
            Self::Trips(all) => all.len(),
            Self::DeletedTrips(all) => all.len(),
            Self::Shares(all) => all.len(),
        }
    }
}
