//! The response body of an export.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use uuid::Uuid;

use crate::accounts::api::UserBody;
use crate::events::api::EventBody;
use crate::events::{DeviceInfo, Event};
use crate::exports::{
    AuthenticatorApp, DeletedTrip, Flow, IdempotencyKey, KnownDevice, PendingLogin, Profile, Session, Share,
    SyncOperation,
};
use crate::mail::QueuedMail;
use crate::passkeys::api::PasskeyBody;
use crate::personal_tokens::api::PersonalTokenBody;
use crate::trips::api::TripBody;
use crate::web::examples;
use crate::web::json::{serialize_instant, serialize_optional_instant};

/// The data that is stored about the user, without secrets and computed values.
#[derive(Debug, Object, Serialize)]
pub(super) struct AccountExport {
    /// Time when the export began.
    #[serde(serialize_with = "serialize_instant")]
    exported_at: DateTime<Utc>,
    /// Account of the user.
    user: UserBody,
    /// Whether the account has a password. The password itself is not stored, only a hash of it.
    has_password: bool,
    /// Authenticator app. Absent if the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<ExportedTotp>,
    /// Number of unused recovery codes.
    #[oai(validator(minimum(value = "0")))]
    recovery_codes_remaining: u64,
    /// Sessions, including those that ended recently.
    sessions: Vec<ExportedSession>,
    /// Devices on which the user has logged in, to detect a new device. Only digests of devices are stored.
    known_devices: Vec<ExportedDevice>,
    /// Logins that wait for the second factor.
    pending_logins: Vec<ExportedLogin>,
    /// Passkeys, without their keys.
    passkeys: Vec<PasskeyBody>,
    /// Personal access tokens.
    personal_tokens: Vec<PersonalTokenBody>,
    /// Security events.
    events: Vec<EventBody>,
    /// Mailed codes and links.
    flows: Vec<ExportedFlow>,
    /// Mails that wait for their delivery, or whose delivery failed.
    mails: Vec<ExportedMail>,
    /// Idempotency keys. Absent if the access token lacks the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_keys: Option<Vec<ExportedKey>>,
    /// Operations of offline apps. Absent if the access token lacks the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_operations: Option<Vec<ExportedOperation>>,
    /// Trips with their stops. Absent if the access token lacks the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    trips: Option<Vec<TripBody>>,
    /// Deleted trips, without their content. Absent if the access token lacks the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_trips: Option<Vec<ExportedDeletion>>,
    /// Share links of trips. Absent if the access token lacks the scope `trips:read`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<Vec<ExportedShare>>,
}

/// The fields of [`AccountExport`] before its lists, with the same names.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    #[serde(serialize_with = "serialize_instant")]
    exported_at: DateTime<Utc>,
    user: UserBody,
    has_password: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<ExportedTotp>,
    recovery_codes_remaining: u64,
}

impl Head {
    pub(super) fn new(profile: Profile, exported_at: DateTime<Utc>) -> Self {
        let Profile { user, authenticator_app, recovery_codes } = profile;
        let has_password = user.has_password();
        Self {
            exported_at,
            user: user.into(),
            has_password,
            totp: authenticator_app.map(ExportedTotp::from),
            recovery_codes_remaining: recovery_codes,
        }
    }
}

/// An authenticator app in an export.
#[derive(Debug, Object, Serialize)]
struct ExportedTotp {
    /// Time when the enrolment of the app was confirmed. Absent if the enrolment is not confirmed yet.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<DateTime<Utc>>,
    /// Time when the unconfirmed enrolment expires.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    pending_until: Option<DateTime<Utc>>,
}

/// A session in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedSession {
    /// Id of the session.
    id: Uuid,
    /// Scopes of its access tokens, separated by spaces.
    scope: String,
    /// Methods by which the user logged in, such as `pwd` (RFC 8176).
    amr: Vec<String>,
    /// Name of the device, as sent when logging in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// `User-Agent` of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Time of the login.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time of the last use.
    #[serde(serialize_with = "serialize_instant")]
    last_seen_at: DateTime<Utc>,
    /// Time of the last authentication in the session. Absent for a session that an earlier version created.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    authenticated_at: Option<DateTime<Utc>>,
    /// Time when the session expires if it is not used.
    #[serde(serialize_with = "serialize_instant")]
    idle_expires_at: DateTime<Utc>,
    /// Time when the session expires.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
    /// Time when the session was ended.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
}

/// A device in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedDevice {
    /// Time of the last login on the device.
    #[serde(serialize_with = "serialize_instant")]
    last_seen_at: DateTime<Utc>,
}

/// A login that waits for the second factor, in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedLogin {
    /// Scopes that the login requests, separated by spaces.
    scope: String,
    /// Methods of the first factor, such as `pwd` (RFC 8176).
    amr: Vec<String>,
    /// Name of the device, as sent when logging in.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    /// `User-Agent` of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Time when the login expires.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
}

/// A mailed code or link in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedFlow {
    /// Purpose of the code or link, such as `confirm_address` or `reset_password`. The list may grow.
    purpose: String,
    /// Email address that the code or link confirms or restores.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Id of the session that the link ends, or in which the code is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// Time when the code or link was requested.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time when the code or link expires.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
    /// Time when the code or link was used.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    used_at: Option<DateTime<Utc>>,
    /// Time when a later code or link replaced this one.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    superseded_at: Option<DateTime<Utc>>,
}

/// A mail in an export, without its codes and links.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedMail {
    /// Kind of the mail, such as `confirm_address` or `new_device`. The list may grow.
    kind: String,
    /// Email address of the recipient. Absent if the address was encrypted under another master secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Time when the mail was queued.
    #[serde(serialize_with = "serialize_instant")]
    queued_at: DateTime<Utc>,
    /// Number of failed attempts to deliver the mail.
    #[oai(validator(minimum(value = "0")))]
    attempts: u64,
    /// Time of the next attempt. Absent if the delivery failed for good.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    /// Time when the delivery failed for good.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    failed_at: Option<DateTime<Utc>>,
}

/// An idempotency key in an export. Only a digest of the key is stored.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedKey {
    /// Time when the request with the key was received.
    #[serde(serialize_with = "serialize_instant")]
    claimed_at: DateTime<Utc>,
    /// Time when the key expires.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
    /// Status of the response. Absent while the request runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// An operation of an offline app, in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedOperation {
    /// Id of the operation, which the app generated.
    op_id: Uuid,
    /// Time when the operation was applied.
    #[serde(serialize_with = "serialize_instant")]
    applied_at: DateTime<Utc>,
}

/// A deleted trip in an export.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedDeletion {
    /// Id of the trip.
    id: Uuid,
    /// Last version of the trip plus 1.
    version: i64,
    /// Time of the deletion.
    #[serde(serialize_with = "serialize_instant")]
    deleted_at: DateTime<Utc>,
}

/// A share link in an export, without its token.
#[derive(Debug, Object, Serialize)]
pub(super) struct ExportedShare {
    /// Id of the trip.
    trip_id: Uuid,
    /// Time when the link was created.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
}

impl From<AuthenticatorApp> for ExportedTotp {
    fn from(AuthenticatorApp { confirmed_at, pending_until }: AuthenticatorApp) -> Self {
        Self { confirmed_at, pending_until }
    }
}

impl From<Session> for ExportedSession {
    fn from(session: Session) -> Self {
        Self {
            id: session.id,
            scope: session.scope,
            amr: session.amr,
            device_name: session.device.name,
            user_agent: session.device.user_agent,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            authenticated_at: session.authenticated_at,
            idle_expires_at: session.idle_expires_at,
            expires_at: session.expires_at,
            ended_at: session.ended_at,
        }
    }
}

impl From<KnownDevice> for ExportedDevice {
    fn from(KnownDevice { last_seen_at }: KnownDevice) -> Self {
        Self { last_seen_at }
    }
}

impl From<PendingLogin> for ExportedLogin {
    fn from(login: PendingLogin) -> Self {
        let PendingLogin { scope, amr, device, expires_at } = login;
        Self { scope, amr, device_name: device.name, user_agent: device.user_agent, expires_at }
    }
}

impl From<Flow> for ExportedFlow {
    fn from(flow: Flow) -> Self {
        let Flow { purpose, address, session, created_at, expires_at, used_at, superseded_at } = flow;
        Self { purpose, address, session_id: session, created_at, expires_at, used_at, superseded_at }
    }
}

impl From<QueuedMail> for ExportedMail {
    fn from(mail: QueuedMail) -> Self {
        let QueuedMail { kind, to, queued_at, attempts, next_attempt_at, failed_at, .. } = mail;
        Self { kind, to, queued_at, attempts, next_attempt_at, failed_at }
    }
}

impl From<IdempotencyKey> for ExportedKey {
    fn from(IdempotencyKey { claimed_at, expires_at, status }: IdempotencyKey) -> Self {
        Self { claimed_at, expires_at, status }
    }
}

impl From<SyncOperation> for ExportedOperation {
    fn from(SyncOperation { id, applied_at }: SyncOperation) -> Self {
        Self { op_id: id, applied_at }
    }
}

impl From<DeletedTrip> for ExportedDeletion {
    fn from(DeletedTrip { id, version, deleted_at }: DeletedTrip) -> Self {
        Self { id, version, deleted_at }
    }
}

impl From<Share> for ExportedShare {
    fn from(Share { trip, created_at }: Share) -> Self {
        Self { trip_id: trip, created_at }
    }
}

impl Example for AccountExport {
    fn example() -> Self {
        let device =
            DeviceInfo { name: Some(examples::DEVICE.to_owned()), user_agent: Some("Trips/1.4".to_owned()) };
        let signup = Event {
            id: Uuid::from_u128(0x019c_adb9_5028_7000_a1d4_3c55_90e7_1b02),
            kind: "signup".to_owned(),
            at: examples::at(0),
            session: Some(examples::SESSION),
            address: Some("192.0.2.7".to_owned()),
            device: device.clone(),
        };
        let export = Event {
            id: Uuid::from_u128(0x019c_adb9_a410_7000_a1d4_3c55_90e7_1b03),
            kind: "data_exported".to_owned(),
            at: examples::at(120),
            session: None,
            device: DeviceInfo::default(),
            ..signup.clone()
        };
        let session = Session {
            id: examples::SESSION,
            scope: examples::SCOPE.to_owned(),
            amr: vec!["pwd".to_owned()],
            device,
            created_at: examples::at(0),
            last_seen_at: examples::at(0),
            authenticated_at: Some(examples::at(0)),
            idle_expires_at: examples::at(5_184_000),
            expires_at: examples::at(31_536_000),
            ended_at: None,
        };
        let flow = Flow {
            purpose: "confirm_address".to_owned(),
            session: None,
            address: Some(examples::EMAIL.to_owned()),
            created_at: examples::at(0),
            expires_at: examples::at(900),
            used_at: None,
            superseded_at: None,
        };
        Self {
            exported_at: examples::at(120),
            user: UserBody::example(),
            has_password: true,
            totp: None,
            recovery_codes_remaining: 0,
            sessions: vec![session.into()],
            known_devices: vec![ExportedDevice { last_seen_at: examples::at(0) }],
            pending_logins: Vec::new(),
            passkeys: Vec::new(),
            personal_tokens: Vec::new(),
            events: vec![signup.into(), export.into()],
            flows: vec![flow.into()],
            mails: Vec::new(),
            idempotency_keys: Some(Vec::new()),
            sync_operations: Some(Vec::new()),
            trips: Some(vec![TripBody::example()]),
            deleted_trips: Some(Vec::new()),
            shares: Some(vec![ExportedShare { trip_id: examples::TRIP, created_at: examples::at(100) }]),
        }
    }
}
