//! The email address of an account: confirms it, changes it, and finds the user who has an address.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use quick_cache::sync::Cache;
use uuid::Uuid;

use super::{Accounts, AccountsError, Email, Identifier, User, store};
use crate::db::{StoreError, Tx};

/// How long a user stays in the cache of confirmed addresses.
const CONFIRMED_TTL: Duration = Duration::from_mins(1);
/// The capacity of the cache of confirmed addresses, in users.
const CONFIRMED_CAPACITY: usize = 65_536;

/// Caches which users have a confirmed address, and stores whether a login requires a confirmed address.
#[derive(Clone)]
pub(super) struct Confirmation {
    /// The users whose address is confirmed, each with the monotonic time of the query that read the user.
    /// The cache saves a query for most requests.
    confirmed: Arc<Cache<Uuid, Duration>>,
    is_first: bool,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self { confirmed: Arc::new(Cache::new(CONFIRMED_CAPACITY)), is_first: false }
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation").field("is_first", &self.is_first).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Sets whether users must confirm their address before they can log in.
    #[must_use]
    pub fn confirming_first(mut self, is_first: bool) -> Self {
        self.confirmation.is_first = is_first;
        self
    }

    /// Returns true if the user must confirm the address before a login by any method.
    pub fn must_confirm(&self, user: &User) -> bool {
        self.confirmation.is_first && user.email.is_some() && !user.email_verified
    }

    /// Returns whether the address of a user is confirmed. A result of `true` is cached and can be up to a
    /// minute old.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn is_confirmed(&self, user: Uuid) -> Result<bool, StoreError> {
        let now = self.clock.monotonic();
        if self.confirmation.confirmed.get(&user).is_some_and(|at| now.saturating_sub(at) < CONFIRMED_TTL) {
            return Ok(true);
        }
        let found = self.db.read(user, |tx, user| store::find(tx, *user).boxed()).await?;
        let is_confirmed = found.is_some_and(|user| user.email_verified);
        if is_confirmed {
            self.confirmation.confirmed.insert(user, now);
        }
        Ok(is_confirmed)
    }

    /// Returns the user with this email address.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let identifier = Identifier::Email(email.canonical().to_owned());
        let found = self.db.read(identifier, |tx, of| store::find_by_identifier(tx, of).boxed()).await?;
        Ok(found.map(|found| found.user))
    }
}

/// Confirms the address of a user. Returns `false` if the user now has a different address.
///
/// # Errors
///
/// [`StoreError`].
pub async fn confirm_address(
    tx: &Tx,
    user: Uuid,
    address: &str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    store::confirm_address(tx, user, address, now).await
}

/// Replaces the email address of a user.
///
/// # Errors
///
/// [`AccountsError::IdentifierTaken`] if the unique index of the database rejects the address, or
/// [`AccountsError::NoSuchUser`].
pub async fn change_address(
    tx: &Tx,
    user: Uuid,
    email: &Email,
    is_verified: bool,
    now: DateTime<Utc>,
) -> Result<(), AccountsError> {
    match store::change_address(tx, user, email, is_verified, now).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(AccountsError::NoSuchUser),
        Err(StoreError::UniqueViolation(_)) => Err(AccountsError::IdentifierTaken),
        Err(error) => Err(error.into()),
    }
}
