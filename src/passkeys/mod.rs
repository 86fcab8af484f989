//! Passkeys: credentials of Web Authentication Level 3 that are stored on the user's device or in a password manager.
//!
//! A passkey proves two factors at once: its signature proves possession of the device, and the device has
//! verified the user, for example by a PIN or a fingerprint. A user can log in with a passkey alone, without
//! a password and without an identifier. A passkey can also be the second factor after a password, and it can
//! prove the user's identity again before a sensitive operation. A passkey does not make the account require
//! a second factor: the password still works, so the loss of a passkey does not lock the user out.
//!
//! `verification` verifies the responses of authenticators step by step, without the database. Every response contains
//! a [`Challenge`], which works once. User verification is always required; attestation is not requested. The host name
//! of the relying party is fixed when the first passkey is registered, because a passkey works for one host name only.

pub mod api;
mod authentication;
mod challenge;
mod challenges;
mod registration;
mod store;
mod verification;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::accounts::{AccountsError, Authorization};
use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};

pub use challenge::{Ceremony, Challenge};
pub use challenges::TTL;
use verification::Expected;
pub use verification::{ALGORITHMS, Assertion, Attestation, Rejection, RelyingParty};

/// The maximum number of passkeys of a user.
pub const MAX_PASSKEYS: u64 = 20;
/// The maximum length of a name, in characters.
pub const NAME_MAX: usize = 100;
/// The `amr` value for authentication by a passkey: proof of possession of a key (RFC 8176).
pub const BY_PASSKEY: &str = "pop";
/// The maximum number of rows that one transaction of a sweep deletes.
const BATCH_SIZE: u64 = 500;

/// The properties of a passkey that its owner can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The id of the passkey.
    pub id: Uuid,
    /// The name of the passkey, 1 to [`NAME_MAX`] characters.
    pub name: String,
    /// When the passkey was registered.
    pub created_at: DateTime<Utc>,
    /// When the passkey was last used.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether the passkey is synced or backed up.
    pub is_backed_up: bool,
}

/// What a client needs to find a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRef {
    /// The credential id.
    pub id: Vec<u8>,
    /// The ways in which the client can reach the authenticator, such as `usb` or `internal`.
    pub transports: Vec<String>,
}

/// What a client needs to create a passkey.
#[derive(Debug, Clone)]
pub struct CreationOptions {
    /// The challenge.
    pub challenge: Challenge,
    /// The host name of the relying party.
    pub rp_id: String,
    /// The id of the user, which is also the user handle.
    pub user: Uuid,
    /// The name of the account.
    pub name: String,
    /// The name that the device displays.
    pub display_name: String,
    /// The passkeys that the user has already.
    pub known: Vec<CredentialRef>,
}

/// What a client needs to use a passkey.
#[derive(Debug, Clone)]
pub struct RequestOptions {
    /// The challenge.
    pub challenge: Challenge,
    /// The host name of the relying party.
    pub rp_id: String,
    /// The passkeys of the user; empty if the user is not known.
    pub allowed: Vec<CredentialRef>,
}

/// The response of an authenticator, with the id of its challenge.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The id of the challenge.
    pub challenge: Uuid,
    /// The response of the authenticator.
    pub assertion: Assertion,
}

/// Why a passkey can't be registered, listed, changed or used.
#[derive(Debug, thiserror::Error)]
pub enum PasskeysError {
    /// The owner has no passkey with this id.
    #[error("the owner has no such passkey")]
    NotFound,
    /// The user has no passkey.
    #[error("the user has no passkey")]
    NoPasskey,
    /// The account was deleted, or the login of the caller has ended, while the request was processed.
    #[error("the caller is no longer logged in")]
    NotLoggedIn,
    /// The user already has [`MAX_PASSKEYS`] passkeys, the maximum.
    #[error("the user already has the maximum of {MAX_PASSKEYS} passkeys")]
    TooMany,
    /// The passkey is registered already, for this or another user.
    #[error("the passkey is registered already")]
    AlreadyRegistered,
    /// The response of the authenticator is not valid.
    #[error("the response of the authenticator is not valid")]
    Rejected(#[source] Rejection),
    /// The passkeys were registered for another relying party.
    #[error(
        "passkey_rp_id is {configured}, but the passkeys were registered for {stored} and work only there: set \
         TRIPGATE_PASSKEY_RP_ID={stored}"
    )]
    OtherRelyingParty {
        /// The host name of the registered passkeys.
        stored: String,
        /// The host name in the settings.
        configured: String,
    },
    /// The database failed.
    #[error("failed to read or write passkeys")]
    Store(#[from] StoreError),
}

impl HasStoreError for PasskeysError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<AccountsError> for PasskeysError {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Store(error) => Self::Store(error),
            _ => Self::NotLoggedIn,
        }
    }
}

/// Registers and checks passkeys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passkeys {
    // Futures contain copies of several services, and each of these services contains a `Passkeys`. The `Arc`
    // keeps the futures small.
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Db,
    clock: Clock,
    relying_party: RelyingParty,
}

impl Passkeys {
    /// Creates the service.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::OtherRelyingParty`] if passkeys were registered for another host name.
    pub async fn open(db: Db, clock: Clock, relying_party: RelyingParty) -> Result<Self, PasskeysError> {
        let passkeys = Self { inner: Arc::new(Inner { db, clock, relying_party }) };
        let this = passkeys.clone();
        let checked: Result<_, StoreError> =
            passkeys.inner.db.read(this, |tx, this| this.check_relying_party(tx).boxed()).await;
        checked??;
        Ok(passkeys)
    }

    async fn check_relying_party(&self, tx: &Tx) -> Result<Result<(), PasskeysError>, StoreError> {
        let configured = self.inner.relying_party.id();
        Ok(match store::any_rp_id(tx).await? {
            Some(stored) if stored != configured => {
                Err(PasskeysError::OtherRelyingParty { stored, configured: configured.to_owned() })
            }
            _ => Ok(()),
        })
    }

    fn expected<'a>(&'a self, challenge: &'a [u8]) -> Expected<'a> {
        Expected { relying_party: &self.inner.relying_party, challenge, user_verification: true }
    }

    /// Returns the owner's passkeys, newest first.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::Store`].
    pub async fn list(&self, owner: Uuid) -> Result<Vec<Passkey>, PasskeysError> {
        let found = self.inner.db.read(owner, |tx, owner| store::list(tx, *owner).boxed()).await;
        found.map_err(PasskeysError::Store)
    }

    /// Renames one of the owner's passkeys.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::NotFound`].
    pub async fn rename(&self, owner: Uuid, id: Uuid, name: String) -> Result<Passkey, PasskeysError> {
        self.inner
            .db
            .write((owner, id, name), |tx, (owner, id, name)| {
                async move {
                    if !store::rename(tx, *owner, *id, name).await? {
                        return Err(PasskeysError::NotFound);
                    }
                    store::find(tx, *owner, *id).await?.ok_or(PasskeysError::NotFound)
                }
                .boxed()
            })
            .await
    }

    /// Removes one of the owner's passkeys.
    ///
    /// # Errors
    ///
    /// [`PasskeysError::NotFound`] or [`PasskeysError::NotLoggedIn`].
    pub async fn remove(&self, authorization: Authorization, id: Uuid) -> Result<(), PasskeysError> {
        let (owner, session) = (authorization.user(), authorization.session());
        let event = NewEvent::new(&self.inner.clock, owner, EventKind::PasskeyRemoved).in_session(session);
        self.inner
            .db
            .write((authorization, id, event), |tx, (authorization, id, event)| {
                async move {
                    if !authorization.lock(tx).await? {
                        return Err(PasskeysError::NotLoggedIn);
                    }
                    if !store::delete(tx, authorization.user(), *id).await? {
                        return Err(PasskeysError::NotFound);
                    }
                    Ok(events::record(tx, event).await?)
                }
                .boxed()
            })
            .await?;
        audit::record(Event::PasskeyRemoved, Some(owner), session);
        Ok(())
    }

    /// Deletes challenges that have expired. Call it only while [`Clock::is_steady`] returns true.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.inner.clock.now();
        self.inner
            .db
            .sweep(now, BATCH_SIZE, |tx, now| store::challenges::sweep(tx, *now, BATCH_SIZE).boxed())
            .await
    }
}

/// Returns whether the user has a passkey.
///
/// # Errors
///
/// [`StoreError`].
pub async fn has_any(tx: &Tx, user: Uuid) -> Result<bool, StoreError> {
    Ok(store::count(tx, user).await? > 0)
}

/// Removes all passkeys of a user. Returns their number.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_all(tx: &Tx, user: Uuid) -> Result<u64, StoreError> {
    store::delete_all(tx, user).await
}
