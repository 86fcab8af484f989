//! Accounts: who people are here, and how they prove it.
//!
//! An account has an email address, a username or both, each unique without regard to case, and a
//! password. An unknown user and a wrong password are the same answer after the same work. Nothing
//! here knows of sessions or tokens.

pub mod api;
mod identifiers;
mod store;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::passwords::{Overloaded, Password, Passwords, Verified};

pub use identifiers::{
    EMAIL_MAX, Email, Identifier, InvalidIdentifier, USERNAME_MAX, USERNAME_MIN, Username,
};

/// The longest display name, in characters.
pub const DISPLAY_NAME_MAX: usize = 100;

/// Somebody who signed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names them for ever.
    pub id: Uuid,
    /// As given.
    pub email: Option<String>,
    /// Whether they have shown that the address is theirs.
    pub email_verified: bool,
    /// As given.
    pub username: Option<String>,
    /// What the app calls them.
    pub display_name: Option<String>,
    /// When they signed up.
    pub created_at: DateTime<Utc>,
    /// When the account last changed.
    pub updated_at: DateTime<Utc>,
}

/// Somebody who signs up, checked: at least one identifier, and a password that the policy accepts.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// At least one of the two is there.
    pub email: Option<Email>,
    /// At least one of the two is there.
    pub username: Option<Username>,
    /// In the clear, as briefly as can be.
    pub password: Password,
    /// 1 to [`DISPLAY_NAME_MAX`] characters.
    pub display_name: Option<String>,
}

/// A change of the profile: `None` keeps, `Some(None)` clears.
#[derive(Debug, Clone, Default)]
pub struct ProfilePatch {
    /// 1 to [`DISPLAY_NAME_MAX`] characters.
    pub display_name: Option<Option<String>>,
    /// Cleared only where an email address remains.
    pub username: Option<Option<Username>>,
}

/// Why an account can't be made, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The email address or username belongs to somebody.
    #[error("the identifier is taken")]
    IdentifierTaken,
    /// Nobody, or not their password.
    #[error("wrong identifier or password")]
    BadCredentials,
    /// The account is gone.
    #[error("there is no such user")]
    NoSuchUser,
    /// Clearing the username would leave nothing to log in with.
    #[error("the last identifier can't be cleared")]
    LastIdentifier,
    /// Too many passwords wait to be hashed.
    #[error("overloaded")]
    Overloaded(#[from] Overloaded),
    /// The database.
    #[error("the accounts can't be read or written")]
    Store(#[from] StoreError),
}

impl HasStoreError for AccountsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// A user as it will be stored, its password hashed.
#[derive(Debug, Clone)]
pub struct HashedUser {
    user: User,
    email_key: Option<String>,
    username_key: Option<String>,
    password_hash: String,
}

impl HashedUser {
    /// The user that this will be.
    pub fn user(&self) -> &User {
        &self.user
    }
}

/// The accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    passwords: Passwords,
}

impl Accounts {
    /// Over a database, with a clock and hashing threads.
    pub fn new(db: Db, clock: Clock, passwords: Passwords) -> Self {
        Self { db, clock, passwords }
    }

    /// Lets the hashing threads know what the dearest stored hash costs. Reads every user's hash: 0.4 s of
    /// one core for a million, so no start waits for it.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn load_max_hash_cost(&self) -> Result<(), StoreError> {
        if let Some(cost) = self.db.read((), |tx, ()| store::highest_cost(tx).boxed()).await? {
            self.passwords.observe_cost(cost);
        }
        Ok(())
    }

    /// The rules for passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Hashes the password of somebody who signs up; [`insert`] then stores them, in the same
    /// transaction as whatever else signing up makes.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Overloaded`].
    pub async fn hash_password(&self, new: NewUser) -> Result<HashedUser, AccountsError> {
        let password_hash = self.passwords.hash(new.password).await?;
        let now = self.clock.now();
        Ok(HashedUser {
            email_key: new.email.as_ref().map(|email| email.key().to_owned()),
            username_key: new.username.as_ref().map(|name| name.key().to_owned()),
            password_hash,
            user: User {
                id: self.clock.new_id(),
                email: new.email.map(|email| email.given().to_owned()),
                email_verified: false,
                username: new.username.map(|name| name.given().to_owned()),
                display_name: new.display_name,
                created_at: now,
                updated_at: now,
            },
        })
    }

    /// Finds out who somebody is from what they typed. Takes the same time and does the same work
    /// whether or not there is such a user.
    ///
    /// # Errors
    ///
    /// [`AccountsError::BadCredentials`] or [`AccountsError::Overloaded`].
    pub async fn authenticate(&self, identifier: &str, password: &str) -> Result<User, AccountsError> {
        // No user has such a password, so this is no news about any of them, and no hash is spent on it.
        let password = Password::given(password).ok_or(AccountsError::BadCredentials)?;
        // Nor such an identifier; and to fold a quarter of a megabyte of it takes a worker's time.
        if identifier.len() > 4 * EMAIL_MAX {
            return Err(AccountsError::BadCredentials);
        }
        let name = Identifier::given(identifier);
        let found = self.db.read(name, |tx, name| store::find_by_login(tx, name).boxed()).await;
        self.check_password(found.map_err(AccountsError::Store)?, password).await
    }

    /// Makes sure once more that whoever is logged in knows their password.
    ///
    /// # Errors
    ///
    /// [`AccountsError::BadCredentials`] or [`AccountsError::Overloaded`].
    pub async fn authenticate_user(&self, user: Uuid, password: &str) -> Result<User, AccountsError> {
        let password = Password::given(password).ok_or(AccountsError::BadCredentials)?;
        let found = self.db.read(user, |tx, user| store::find_credentials(tx, *user).boxed()).await;
        self.check_password(found.map_err(AccountsError::Store)?, password).await
    }

    async fn check_password(
        &self,
        found: Option<store::Credentials>,
        password: Password,
    ) -> Result<User, AccountsError> {
        let Some(found) = found else {
            self.passwords.verify_dummy(password).await?;
            audit::note(Event::LoginFailed, None, None);
            return Err(AccountsError::BadCredentials);
        };
        match self.passwords.verify(password.clone(), found.password_hash.clone()).await? {
            Verified::Match => Ok(found.user),
            Verified::Mismatch => {
                audit::note(Event::LoginFailed, Some(found.user.id), None);
                Err(AccountsError::BadCredentials)
            }
            Verified::MatchNeedsRehash => {
                self.rehash(&found, password).await;
                Ok(found.user)
            }
        }
    }

    /// Stores the password under the configured cost. It is an improvement, not a condition: a failure
    /// is logged and the next login tries again.
    async fn rehash(&self, found: &store::Credentials, password: Password) {
        let (id, old) = (found.user.id, found.password_hash.clone());
        let Ok(new) = self.passwords.hash(password).await else {
            return;
        };
        let written: Result<bool, StoreError> = self
            .db
            .write((id, old, new), |tx, (id, old, new)| store::replace_hash(tx, *id, old, new).boxed())
            .await;
        if let Err(error) = written {
            tracing::warn!(%error, "a password was not hashed again at the configured cost");
        }
    }

    /// A user by id.
    ///
    /// # Errors
    ///
    /// [`AccountsError::NoSuchUser`].
    pub async fn find(&self, user: Uuid) -> Result<User, AccountsError> {
        let found = self.db.read(user, |tx, user| store::find(tx, *user).boxed()).await;
        found.map_err(AccountsError::Store)?.ok_or(AccountsError::NoSuchUser)
    }

    /// Changes what the user calls themselves.
    ///
    /// # Errors
    ///
    /// [`AccountsError::NoSuchUser`], [`AccountsError::IdentifierTaken`] or
    /// [`AccountsError::LastIdentifier`].
    pub async fn change_profile(&self, user: Uuid, patch: ProfilePatch) -> Result<User, AccountsError> {
        let input = (user, patch, self.clock.now());
        self.db.write(input, |tx, (user, patch, now)| change_profile(tx, *user, patch, *now).boxed()).await
    }
}

async fn change_profile(
    tx: &Tx,
    user: Uuid,
    patch: &ProfilePatch,
    now: DateTime<Utc>,
) -> Result<User, AccountsError> {
    let before = store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)?;
    if matches!(patch.username, Some(None)) && before.email.is_none() {
        return Err(AccountsError::LastIdentifier);
    }
    match store::change_profile(tx, user, patch, now).await {
        Ok(true) => {}
        Ok(false) => return Err(AccountsError::NoSuchUser),
        Err(StoreError::UniqueViolation(_)) => return Err(AccountsError::IdentifierTaken),
        Err(error) => return Err(error.into()),
    }
    store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)
}

/// A user by id, as part of a transaction.
///
/// # Errors
///
/// [`AccountsError::NoSuchUser`].
pub async fn find(tx: &Tx, user: Uuid) -> Result<User, AccountsError> {
    store::find(tx, user).await?.ok_or(AccountsError::NoSuchUser)
}

/// Deletes a user, and with them everything that is theirs.
///
/// # Errors
///
/// [`AccountsError::NoSuchUser`].
pub async fn delete(tx: &Tx, user: Uuid) -> Result<(), AccountsError> {
    if store::delete(tx, user).await? { Ok(()) } else { Err(AccountsError::NoSuchUser) }
}

/// Stores a prepared user.
///
/// # Errors
///
/// [`AccountsError::IdentifierTaken`]: whether it is, is the database's to say.
pub async fn insert(tx: &Tx, prepared: &HashedUser) -> Result<(), AccountsError> {
    match store::insert(tx, prepared).await {
        Err(StoreError::UniqueViolation(_)) => Err(AccountsError::IdentifierTaken),
        other => Ok(other?),
    }
}
