//! Clients: other services that may introspect and revoke tokens.
//!
//! Only the operator creates clients. A client's secret is random and shown once. The database stores only a
//! digest of the secret, so a copy of the database reveals no credentials. Each request looks the client up
//! in the database, so a removal takes effect with the next request. Introspection applies the same checks as
//! the server's own API ([`Introspector`]).

pub mod api;
mod introspection;
mod store;

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError};
use crate::plain_text::is_line;
use crate::secrets::{constant_time_eq, random_bytes, sha256};
use crate::sessions::SessionsError;
use crate::throttle::{Blocked, Throttle, ThrottleError, limits};

pub use introspection::{ActiveToken, Introspector};

/// The maximum length of a client's name, in characters.
pub const NAME_MAX: usize = 100;
/// The maximum length of a client id in a request, in bytes. A generated id has 36 bytes.
const ID_MAX: usize = 64;

/// A service that may introspect and revoke tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The `client_id` of the client.
    pub id: String,
    /// The unique name that the operator has chosen.
    pub name: String,
    /// When the client was created.
    pub created_at: DateTime<Utc>,
}

/// The credentials of a new client.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The `client_id` of the client.
    pub id: String,
    /// The `client_secret`: 256 random bits, which can't be read later.
    pub secret: String,
}

/// Why a client can't be created, found, authenticated or removed, or why its request fails.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The name is empty, too long, or has a control character.
    #[error("a client's name has 1 to {NAME_MAX} characters, none of them a control character")]
    InvalidName,
    /// Another client has this name.
    #[error("a client with this name already exists")]
    NameTaken,
    /// No client has this id.
    #[error("no client with this id")]
    NoSuchClient,
    /// No client has these credentials.
    #[error("wrong client id or secret")]
    InvalidCredentials,
    /// The token can't be verified: the keys or the revocations can't be read.
    #[error("failed to verify the token")]
    Unverifiable,
    /// The session of a refresh token cannot be read or ended.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// There were too many failed attempts.
    #[error("too many attempts")]
    Throttled(#[from] Blocked),
    /// An error of the database.
    #[error("failed to read or write clients")]
    Store(#[from] StoreError),
}

impl From<ThrottleError> for ClientsError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Blocked(blocked) => Self::Throttled(blocked),
            ThrottleError::Store(error) => Self::Store(error),
        }
    }
}

impl HasStoreError for ClientsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Sessions(error) => error.store(),
            _ => None,
        }
    }
}

/// Creates, lists, authenticates and removes clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    db: Db,
    clock: Clock,
}

impl Clients {
    /// Creates the service.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Creates a client.
    ///
    /// # Errors
    ///
    /// [`ClientsError::InvalidName`] or [`ClientsError::NameTaken`].
    pub async fn add(&self, name: &str) -> Result<ClientCredentials, ClientsError> {
        let name = name.trim();
        if !(1..=NAME_MAX).contains(&name.chars().count()) || !is_line(name) {
            return Err(ClientsError::InvalidName);
        }
        let secret = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
        let client = Client {
            id: self.clock.new_id().to_string(),
            name: name.to_owned(),
            created_at: self.clock.now(),
        };
        let id = client.id.clone();
        let digest = sha256(secret.as_bytes());
        let written = self
            .db
            .write((client, digest), |tx, (client, digest)| store::insert(tx, client, digest).boxed())
            .await;
        match written {
            Ok(()) => Ok(ClientCredentials { id, secret }),
            Err(StoreError::UniqueViolation(_)) => Err(ClientsError::NameTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns all clients, oldest first.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Store`].
    pub async fn list(&self) -> Result<Vec<Client>, ClientsError> {
        self.db.read((), |tx, ()| store::all(tx).boxed()).await.map_err(ClientsError::Store)
    }

    /// Removes a client. The next request of the client is rejected.
    ///
    /// # Errors
    ///
    /// [`ClientsError::NoSuchClient`].
    pub async fn remove(&self, id: &str) -> Result<(), ClientsError> {
        let id = id.to_owned();
        let removed: Result<bool, StoreError> =
            self.db.write(id, |tx, id| store::remove(tx, id).boxed()).await;
        if removed? { Ok(()) } else { Err(ClientsError::NoSuchClient) }
    }

    /// Returns the client with these credentials.
    ///
    /// # Errors
    ///
    /// [`ClientsError::InvalidCredentials`] or [`ClientsError::Throttled`].
    pub async fn authenticate(
        &self,
        id: &str,
        secret: &str,
        address: IpAddr,
        throttle: &Throttle,
    ) -> Result<Client, ClientsError> {
        // Before the query, reject ids that the server can't have generated: generated ids contain only visible
        // ASCII characters, and PostgreSQL returns an error for NUL.
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientsError::InvalidCredentials);
        }
        // The prefix keeps the counters of clients apart from those of accounts: no canonical name of an
        // account begins with `client` and a space.
        let attempt = throttle.check(limits::of_login(&format!("client {id}"), address)).await?;
        let found: Result<Option<(Client, Vec<u8>)>, StoreError> =
            self.db.read(id.to_owned(), |tx, id| store::find(tx, id).boxed()).await;
        match found? {
            Some((client, digest)) if constant_time_eq(&digest, &sha256(secret.as_bytes())) => {
                attempt.succeeded().await?;
                Ok(client)
            }
            _ => {
                attempt.failed().await?;
                Err(ClientsError::InvalidCredentials)
            }
        }
    }
}
