//! Sessions: signing up, logging in, staying logged in, and the end of it.
//!
//! A session is one login of one device. It is written before its tokens are handed out, in the same
//! transaction as the user where somebody signs up. Access tokens come from `tokens`; refresh tokens
//! are computed from the session and its generation, and never stored. A session that ends takes its
//! access tokens with it, in the same transaction.

pub mod api;
mod refresh;
mod refresh_token;
mod revocation;
mod sessionless_token;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::accounts::{self, Accounts, AccountsError, HashedUser, NewUser, User};
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::secrets::{MacKey, MasterSecret, Purpose};
use crate::tokens::{BY_PASSWORD, Scopes, Subject, Tokens, TokensError};

pub use refresh::RefreshInfo;
use refresh::Rotation;
pub use refresh_token::RefreshToken;
pub use revocation::SessionSummary;
pub use sessionless_token::SessionlessToken;

/// The longest name of a device, in characters.
pub const DEVICE_NAME_MAX: usize = 100;
/// The longest part of a `User-Agent` that is kept, in characters.
pub const USER_AGENT_MAX: usize = 512;

/// How sessions end by themselves, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Without a refresh for so long.
    pub idle_secs: u32,
    /// However often it is refreshed.
    pub absolute_secs: u32,
}

/// The device that signs up or logs in.
#[derive(Debug, Clone, Default)]
pub struct Device {
    /// What its owner calls it: 1 to [`DEVICE_NAME_MAX`] characters.
    pub name: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
}

impl Device {
    /// With a user agent cut to what is kept.
    pub fn new(name: Option<String>, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.map(|text| text.chars().take(USER_AGENT_MAX).collect());
        Self { name, user_agent }
    }
}

/// One login.
#[derive(Debug, Clone)]
struct Session {
    id: Uuid,
    user: Uuid,
    /// The number of its newest refresh token, from 1.
    generation: i64,
    scopes: Scopes,
    amr: Vec<String>,
    device: Device,
    created_at: DateTime<Utc>,
    idle_expires_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    access_expires_at: DateTime<Utc>,
}

/// What somebody gets who signed up or logged in.
#[derive(Debug, Clone)]
pub struct Grant {
    /// A JWT.
    pub access_token: String,
    /// Its life, in seconds.
    pub expires_in_secs: i64,
    /// Buys the next grant.
    pub refresh_token: String,
    /// Its life if it is not used, in seconds.
    pub refresh_expires_in_secs: i64,
    /// The session that was begun.
    pub session: Uuid,
    /// What the access token may be used for.
    pub scopes: Scopes,
    /// When this was made.
    pub at: DateTime<Utc>,
    /// Who.
    pub user: User,
}

/// Why no session was begun, prolonged or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// Nobody may sign up here.
    #[error("signing up is closed")]
    SignupClosed,
    /// Not a refresh token of ours, or its session has run out.
    #[error("the refresh token is not good")]
    InvalidRefreshToken,
    /// The session was ended before its time.
    #[error("the session was ended")]
    Revoked,
    /// Not a session of theirs.
    #[error("there is no such session")]
    NoSuchSession,
    /// The account.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The database.
    #[error("the sessions can't be read or written")]
    Store(#[from] StoreError),
}

impl HasStoreError for SessionsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Accounts(error) => error.store(),
            Self::Tokens(error) => error.store(),
            Self::SignupClosed | Self::InvalidRefreshToken | Self::Revoked | Self::NoSuchSession => None,
        }
    }
}

/// The sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    db: Db,
    clock: Clock,
    accounts: Accounts,
    tokens: Tokens,
    mac: MacKey,
    lifetimes: Lifetimes,
    signup_open: bool,
}

impl Sessions {
    /// Over the accounts and tokens; `signup_open` says whether strangers may sign up.
    pub fn new(
        db: Db,
        clock: Clock,
        accounts: Accounts,
        tokens: Tokens,
        secret: &MasterSecret,
        lifetimes: Lifetimes,
        signup_open: bool,
    ) -> Self {
        let mac = MacKey::of(secret, Purpose::RefreshTokens);
        Self { db, clock, accounts, tokens, mac, lifetimes, signup_open }
    }

    /// Makes an account and its first session, both or neither.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SignupClosed`], or [`AccountsError::IdentifierTaken`] within.
    pub async fn sign_up(&self, new: NewUser, device: Device) -> Result<Grant, SessionsError> {
        if !self.signup_open {
            return Err(SessionsError::SignupClosed);
        }
        let prepared = self.accounts.hash_password(new).await?;
        let user = prepared.user().clone();
        let mut session = self.begin(user.id, Scopes::all(), device);
        let begun_at = session.created_at;
        let grant = self.grant(&mut session, user, begun_at)?;
        self.db
            .write((prepared, session), |tx, (prepared, session)| insert_both(tx, prepared, session).boxed())
            .await?;
        audit::note(Event::SignedUp, Some(grant.user.id), Some(grant.session));
        Ok(grant)
    }

    /// Begins a session for whoever the identifier and password belong to. `scopes` narrows what its
    /// tokens may be used for.
    ///
    /// # Errors
    ///
    /// [`AccountsError::BadCredentials`] or [`AccountsError::Overloaded`] within.
    pub async fn log_in(
        &self,
        identifier: &str,
        password: &str,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let user = self.accounts.authenticate(identifier, password).await?;
        let mut session = self.begin(user.id, scopes, device);
        let begun_at = session.created_at;
        let grant = self.grant(&mut session, user, begun_at)?;
        let written: Result<(), StoreError> =
            self.db.write(session, |tx, session| store::insert(tx, session.user, session).boxed()).await;
        match written {
            // The account was deleted while its password was being checked.
            Err(StoreError::ForeignKeyViolation(_)) => Err(AccountsError::BadCredentials.into()),
            Err(error) => Err(error.into()),
            Ok(()) => {
                audit::note(Event::LoggedIn, Some(grant.user.id), Some(grant.session));
                Ok(grant)
            }
        }
    }

    fn begin(&self, user: Uuid, scopes: Scopes, device: Device) -> Session {
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
            idle_expires_at: after(self.lifetimes.idle_secs),
            expires_at: after(self.lifetimes.absolute_secs),
            access_expires_at: created_at,
        }
    }

    /// The tokens of a session's generation. Where a session is begun this comes before it is written,
    /// so that a server that can't mint begins none that nobody can use.
    fn grant(&self, session: &mut Session, user: User, now: DateTime<Utc>) -> Result<Grant, TokensError> {
        let generation = session.generation;
        let minted = self.tokens.mint(Subject {
            user: session.user,
            session: Some(session.id),
            generation: Some(generation),
            scopes: session.scopes,
            amr: session.amr.clone(),
            authenticated_at: session.created_at,
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
            at: now,
            user,
        })
    }
}

async fn insert_both(tx: &Tx, prepared: &HashedUser, session: &Session) -> Result<(), SessionsError> {
    accounts::insert(tx, prepared).await?;
    Ok(store::insert(tx, session.user, session).await?)
}
