//! Clients: other services that may ask whether a token is good, and may end it.
//!
//! The operator makes them; nobody signs up for this. A client's secret is random, told once, and kept
//! as its digest, so that the database lets nobody in. Each request of a client is looked up anew:
//! who was removed gets no further answer. What a client is told of a token is what this server itself
//! would make of it ([`Introspector`]).

pub mod api;
mod introspection;
mod store;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError};
use crate::secrets::{equal, random_bytes, sha256};
use crate::sessions::SessionsError;

pub use introspection::{ActiveToken, Introspector};

/// The longest name of a client, in characters.
pub const NAME_MAX: usize = 100;
/// The longest id that is looked up, in bytes; ours have 36.
const ID_MAX: usize = 64;

/// A service that may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// What the operator calls it; no two have the same.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What the operator hands to the service.
#[derive(Clone)]
pub struct ClientCredentials {
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`: 256 random bits, told here and never again.
    pub secret: String,
}

/// What an operator may want done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand {
    /// Make one of this name.
    Add(String),
    /// Say which there are.
    List,
    /// Take the credentials of this id back.
    Remove(String),
}

/// Why a client can't be made, found or answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// Of no use as a name.
    #[error("a client's name has 1 to {NAME_MAX} characters, none of them a control character")]
    BadName,
    /// There is one of this name.
    #[error("there is a client of this name already")]
    NameTaken,
    /// There is none of this id.
    #[error("there is no client with this id")]
    NoSuchClient,
    /// No client has these credentials.
    #[error("wrong client id or secret")]
    BadCredentials,
    /// Whether a token was revoked can't be told.
    #[error("what was revoked can't be read")]
    Unknown,
    /// The sessions.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// The database.
    #[error("the clients can't be read or written")]
    Store(#[from] StoreError),
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

/// The clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    db: Db,
    clock: Clock,
}

impl Clients {
    /// Over a database, with a clock.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Makes a client.
    ///
    /// # Errors
    ///
    /// [`ClientsError::BadName`] or [`ClientsError::NameTaken`].
    pub async fn add(&self, name: &str) -> Result<ClientCredentials, ClientsError> {
        let name = name.trim();
        if !(1..=NAME_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(ClientsError::BadName);
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

    /// All of them, oldest first.
    ///
    /// # Errors
    ///
    /// [`ClientsError::Store`].
    pub async fn list(&self) -> Result<Vec<Client>, ClientsError> {
        self.db.read((), |tx, ()| store::all(tx).boxed()).await.map_err(ClientsError::Store)
    }

    /// Takes a client's credentials back, from its next request on.
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

    /// Finds out which client has these credentials.
    ///
    /// # Errors
    ///
    /// [`ClientsError::BadCredentials`].
    pub async fn authenticate(&self, id: &str, secret: &str) -> Result<Client, ClientsError> {
        // Nothing else is an id of ours, and not every database takes every character.
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientsError::BadCredentials);
        }
        let found: Result<Option<(Client, Vec<u8>)>, StoreError> =
            self.db.read(id.to_owned(), |tx, id| store::find(tx, id).boxed()).await;
        match found? {
            Some((client, digest)) if equal(&digest, &sha256(secret.as_bytes())) => Ok(client),
            _ => Err(ClientsError::BadCredentials),
        }
    }

    /// Does what an operator wants done, and says so in lines.
    ///
    /// # Errors
    ///
    /// Those of [`Clients::add`], [`Clients::list`] and [`Clients::remove`].
    pub async fn manage(&self, what: &ClientCommand) -> Result<Vec<String>, ClientsError> {
        match what {
            ClientCommand::Add(name) => {
                let ClientCredentials { id, secret } = self.add(name).await?;
                Ok(vec![format!("client_id      {id}"), format!("client_secret  {secret}")])
            }
            ClientCommand::List => {
                let line = |client: Client| {
                    let made = client.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                    format!("{}  {made}  {}", client.id, client.name)
                };
                Ok(self.list().await?.into_iter().map(line).collect())
            }
            ClientCommand::Remove(id) => {
                self.remove(id).await?;
                Ok(vec![format!("removed {id}")])
            }
        }
    }
}
