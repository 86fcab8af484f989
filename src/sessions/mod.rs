//! Sessions: sign-up, login, refresh, logout and revocation.
//!
//! A session is one login on one device. The row of the session is committed before the client receives the
//! tokens. Sign-up writes the row in the same transaction as the user. The `tokens` module mints the access
//! tokens. A refresh token is computed from the id of the session and the generation: the number of the
//! refresh token within the session. Refresh tokens are never stored. The transaction that ends a session
//! also revokes its access tokens.

pub mod api;
mod login;
mod login_code;
mod new_device;
mod passkey_login;
mod password_change;
mod pending_login;
mod reclaim;
mod refresh;
mod refresh_token;
mod revocation;
mod second_factor;
mod sessionless_token;
mod signup;
mod start;
mod step_up;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::accounts::{Accounts, AccountsError, User};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError};
use crate::events::DeviceInfo;
use crate::flows::Flows;
use crate::mail::Languages;
use crate::metrics::{AuthOutcome, AuthResult};
use crate::passkeys::{Passkeys, PasskeysError, Rejection};
use crate::second_factors::{SecondFactors, SecondFactorsError};
use crate::secrets::{MacKey, MasterSecret, Purpose};
use crate::throttle::DeviceTokens;
use crate::tokens::{BY_PASSWORD, Scopes, Subject, Tokens, TokensError};

pub use password_change::ChangeProof;
pub use reclaim::end_every;
pub use refresh::RefreshInfo;
use refresh::Rotation;
pub use refresh_token::RefreshToken;
pub use revocation::{SessionSummary, list_active};
pub use second_factor::Challenge;
pub use sessionless_token::SessionlessToken;
pub use signup::{SignedUp, SigningUp, SignupMode};
pub use step_up::{Authenticated, StepUp};

/// The maximum length of a device name, in characters.
pub const DEVICE_NAME_MAX: usize = 100;
/// The maximum length of a stored `User-Agent`, in characters; the rest is cut off.
pub const USER_AGENT_MAX: usize = 512;

/// When sessions expire, and how many sessions a user can have.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The time without a refresh after which a session expires, in seconds.
    pub idle_secs: u32,
    /// The time after the login at which a session expires even if it is refreshed, in seconds.
    pub absolute_secs: u32,
    /// The maximum number of sessions of a user. A login that exceeds the maximum ends the session that has
    /// been idle longest.
    pub max_sessions: u32,
}

/// The device that signs up or logs in.
#[derive(Debug, Clone, Default)]
pub struct Device {
    /// The name of the device, chosen by the client: 1 to [`DEVICE_NAME_MAX`] characters.
    pub name: Option<String>,
    /// The `User-Agent` of the device.
    pub user_agent: Option<String>,
    /// The session of an earlier login of the user on this device, taken from a valid device token.
    pub known_as: Option<Uuid>,
    /// The languages of the user of the device.
    pub languages: Languages,
}

impl From<&Device> for DeviceInfo {
    fn from(device: &Device) -> Self {
        Self { name: device.name.clone(), user_agent: device.user_agent.clone() }
    }
}

impl Device {
    /// Creates a device without a device token. Cuts the user agent to [`USER_AGENT_MAX`] characters.
    pub fn new(name: Option<String>, user_agent: Option<&str>, languages: Languages) -> Self {
        let user_agent = user_agent.map(|text| text.chars().take(USER_AGENT_MAX).collect());
        Self { name, user_agent, known_as: None, languages }
    }

    /// Creates a device from the stored columns, without a device token and without languages.
    fn stored(name: Option<String>, user_agent: Option<String>) -> Self {
        Self { name, user_agent, ..Self::default() }
    }
}

/// One login.
#[derive(Debug, Clone)]
struct Session {
    id: Uuid,
    user: Uuid,
    /// The generation of the newest refresh token. The first generation is 1.
    generation: i64,
    scopes: Scopes,
    amr: Vec<String>,
    device: Device,
    created_at: DateTime<Utc>,
    /// When the user last authenticated.
    authenticated_at: DateTime<Utc>,
    idle_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    access_expires_at: DateTime<Utc>,
}

/// The result of a sign-up, a login or a refresh.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The access token: a JWT.
    pub access_token: String,
    /// The lifetime of the access token, in seconds.
    pub expires_in_secs: i64,
    /// The token that is exchanged for the next grant.
    pub refresh_token: String,
    /// The lifetime of the refresh token, in seconds.
    pub refresh_expires_in_secs: i64,
    /// The id of the session.
    pub session: Uuid,
    /// The scopes of the access token.
    pub scopes: Scopes,
    /// The device token, which proves at later logins that the user has logged in on this device before.
    pub device_token: String,
    /// When the grant was issued.
    pub at: DateTime<Utc>,
    /// The owner of the session.
    pub user: User,
    /// The flow that confirms the email address. Present if a sign-up has queued the mail with the code.
    pub flow: Option<Uuid>,
}

/// Why a session can't be started, refreshed or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// Sign-up is disabled in the settings.
    #[error("sign-up is disabled")]
    SignupClosed,
    /// Sign-up requires an invitation code, and the code in the request is missing or can't be used.
    #[error("sign-up requires an invitation code")]
    InviteRequired,
    /// Sign-up requires an email address, because users must confirm an address before they can log in.
    #[error("sign-up requires an email address")]
    EmailRequired,
    /// The code is wrong, or its flow can't be used.
    #[error("the code is not valid")]
    InvalidCode,
    /// The text is not a refresh token of this server, or the session has expired.
    #[error("invalid refresh token")]
    InvalidRefreshToken,
    /// The session was ended before it expired.
    #[error("the session was revoked")]
    Revoked,
    /// The user has no session with this id.
    #[error("no such session")]
    NoSuchSession,
    /// The first factor is correct, and the account requires a second factor.
    #[error("the account requires a second factor")]
    SecondFactorRequired(Challenge),
    /// The token of a login that waits for its second factor is unknown, used up or expired.
    #[error("the login has expired")]
    LoginExpired,
    /// The second factor is wrong, or was used before.
    #[error("wrong second factor")]
    WrongSecondFactor,
    /// There were too many wrong second factors.
    #[error("too many attempts")]
    TooManyAttempts {
        /// When the next attempt is possible, in seconds from now.
        retry_after_secs: u64,
    },
    /// The response of a passkey is not valid.
    #[error("the response of the passkey is not valid")]
    InvalidPasskey(#[source] Rejection),
    /// An error of the `passkeys` module.
    #[error(transparent)]
    Passkeys(#[from] PasskeysError),
    /// An error of the `second_factors` module.
    #[error(transparent)]
    SecondFactors(#[from] SecondFactorsError),
    /// An error of the `accounts` module.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// An error of the `tokens` module.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// An error of the database.
    #[error("failed to read or write sessions")]
    Store(#[from] StoreError),
}

impl HasStoreError for SessionsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Accounts(error) => error.store(),
            Self::Tokens(error) => error.store(),
            Self::SecondFactors(error) => error.store(),
            Self::Passkeys(error) => error.store(),
            _ => None,
        }
    }
}

impl AuthOutcome for SessionsError {
    fn auth_result(&self) -> Option<AuthResult> {
        match self {
            Self::InvalidRefreshToken
            | Self::InvalidCode
            | Self::Revoked
            | Self::LoginExpired
            | Self::InvalidPasskey(_)
            | Self::WrongSecondFactor => Some(AuthResult::InvalidCredentials),
            Self::SecondFactorRequired(_) => Some(AuthResult::MfaRequired),
            Self::TooManyAttempts { .. } => Some(AuthResult::Throttled),
            Self::Accounts(error) => error.auth_result(),
            Self::SignupClosed
            | Self::InviteRequired
            | Self::EmailRequired
            | Self::NoSuchSession
            | Self::SecondFactors(_)
            | Self::Passkeys(_)
            | Self::Tokens(_)
            | Self::Store(_) => None,
        }
    }
}

/// Starts, refreshes, lists and ends sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    db: Db,
    clock: Clock,
    accounts: Accounts,
    tokens: Tokens,
    second_factors: SecondFactors,
    passkeys: Passkeys,
    mac: MacKey,
    devices: DeviceTokens,
    lifetimes: Lifetimes,
    flows: Flows,
    signup: SignupMode,
}

impl Sessions {
    /// Creates the service.
    #[expect(clippy::too_many_arguments, reason = "the composition root names each service once")]
    pub fn new(
        db: Db,
        clock: Clock,
        accounts: Accounts,
        tokens: Tokens,
        second_factors: SecondFactors,
        passkeys: Passkeys,
        secret: &MasterSecret,
        lifetimes: Lifetimes,
        flows: Flows,
        signup: SignupMode,
    ) -> Self {
        let mac = MacKey::from_secret(secret, Purpose::RefreshTokens);
        let devices = DeviceTokens::new(secret, clock.clone());
        Self { db, clock, accounts, tokens, second_factors, passkeys, mac, devices, lifetimes, flows, signup }
    }

    /// Creates a session with generation 1. Does not store the session.
    fn new_session(&self, user: Uuid, scopes: Scopes, device: Device) -> Session {
        let created_at = self.clock.now();
        let after = |secs: u32| created_at + TimeDelta::seconds(secs.into());
        Session {
            id: self.clock.new_id(),
            user,
            generation: 1,
            scopes,
            amr: vec![BY_PASSWORD.to_owned()],
            device,
            created_at,
            authenticated_at: created_at,
            idle_expires_at: after(self.lifetimes.idle_secs),
            expires_at: after(self.lifetimes.absolute_secs),
            access_expires_at: created_at,
        }
    }

    /// Mints the tokens for the session's generation. Sign-up and login call this function before they store
    /// the session, so a server that can't mint tokens stores no session.
    fn issue_grant(
        &self,
        session: &mut Session,
        user: User,
        now: DateTime<Utc>,
    ) -> Result<Grant, TokensError> {
        let generation = session.generation;
        let minted = self.tokens.mint(Subject {
            user: session.user,
            session: Some(session.id),
            generation: Some(generation),
            scopes: session.scopes,
            amr: session.amr.clone(),
            authenticated_at: session.authenticated_at,
            until: Some(session.idle_expires_at),
        })?;
        session.access_expires_at = minted.expires_at;
        let refresh_token = RefreshToken { session: session.id, generation }.encode(&self.mac);
        Ok(Grant {
            access_token: minted.token,
            expires_in_secs: minted.expires_in_secs,
            refresh_token,
            refresh_expires_in_secs: (session.idle_expires_at - now).num_seconds(),
            session: session.id,
            scopes: session.scopes,
            device_token: self.devices.issue(user.id, session.id, user.credential),
            at: now,
            user,
            flow: None,
        })
    }
}
