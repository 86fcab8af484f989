//! Checks an identifier and a password, for all ways to log in with a password.
//!
//! The steps are the same whether or not the account exists: check the throttle, read the row of the account,
//! verify one bcrypt hash, and count a failure.

use std::net::IpAddr;

use futures_util::FutureExt;
use tokio::time::Instant;
use uuid::Uuid;

use super::credentials::active;
use super::store::Credentials;
use super::{Accounts, AccountsError, Identifier, User, store};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::error_chain::error_chain;
use crate::events::EventKind;
use crate::metrics::{self, AuthMethod};
use crate::passwords::{Password, Verified};
use crate::throttle::{Attempt, Bucket, CredentialTag, DeviceTokens, limits};
use crate::uniform_time::next_tick_since;

/// An identifier and a password, as a client sent them.
#[derive(Debug, Clone, Copy)]
pub struct LoginAttempt<'a> {
    /// The email address or username.
    pub identifier: &'a str,
    /// The password.
    pub password: &'a str,
    /// The address of the client.
    pub address: IpAddr,
    /// The device token of an earlier login, valid or not.
    pub device_token: Option<&'a str>,
}

/// A user who has sent the correct password.
pub(super) struct Accepted {
    user: User,
    /// The stored hash and the password, if the hash must be replaced ([`Verified::MatchNeedsRehash`]).
    outdated: Option<(String, Password)>,
}

impl Accounts {
    /// Authenticates a single request by its identifier and password. Writes the authentication to the audit
    /// log. A password alone never authenticates an account with a second factor.
    ///
    /// # Errors
    ///
    /// [`AccountsError::SecondFactorRequired`], and the errors of [`Accounts::verify_credentials`].
    pub async fn authenticate(&self, login: &LoginAttempt<'_>) -> Result<User, AccountsError> {
        let verified = match self.verify_credentials(login).await {
            Ok(user) if user.mfa_enabled => Err(AccountsError::SecondFactorRequired),
            verified => verified,
        };
        metrics::auth_attempted(AuthMethod::Basic, &verified);
        let user = verified?;
        audit::record(Event::Authenticated, Some(user.id), None);
        Ok(user)
    }

    /// Returns the user with this identifier and password. Takes the same time and does the same work whether
    /// or not the user exists. Writes a failure to the audit log. After a success, the caller must write an
    /// event to the audit log, because only the caller knows whether the user logs in or sends a single
    /// request.
    ///
    /// # Errors
    ///
    /// [`AccountsError::InvalidCredentials`], [`AccountsError::Unconfirmed`], [`AccountsError::Throttled`] or
    /// [`AccountsError::Overloaded`].
    pub async fn verify_credentials(&self, login: &LoginAttempt<'_>) -> Result<User, AccountsError> {
        // No account can have a password or identifier that is rejected here, so an early return does not
        // reveal whether an account exists.
        let password = Password::parse(login.password).ok_or(AccountsError::InvalidCredentials)?;
        let identifier =
            Identifier::from_entered(login.identifier).ok_or(AccountsError::InvalidCredentials)?;
        let started = Instant::now();
        let buckets = self.buckets(login, &identifier).await?;
        let attempt = self.throttle.begin(buckets).await?;
        let found = self.find_credentials(&identifier).await?;
        let owner = found.as_ref().map(|found| found.user.clone());
        match self.check_password(found, password).await {
            Ok(accepted) => {
                if let Err(error) = attempt.succeeded().await {
                    next_tick_since(started).await;
                    return Err(error.into());
                }
                let user = self.with_current_hash(accepted).await;
                if self.must_confirm(&user) {
                    return Err(AccountsError::Unconfirmed);
                }
                Ok(user)
            }
            Err(AccountsError::InvalidCredentials) => {
                let name_hash = self.throttle.account_hash(identifier.canonical());
                audit::record_failed_login(owner.as_ref().map(|user| user.id), name_hash);
                let counted = self.count_failure(attempt, owner.as_ref()).await;
                next_tick_since(started).await;
                Err(counted.err().map_or(AccountsError::InvalidCredentials, AccountsError::from))
            }
            Err(error) => Err(error),
        }
    }

    /// Begins a sign-up. The caller reports a taken identifier as a failed attempt, so that an attacker can't
    /// find out with many sign-ups which identifiers exist.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Throttled`].
    pub async fn begin_sign_up(&self, address: IpAddr) -> Result<Attempt, AccountsError> {
        Ok(self.throttle.check(limits::of_sign_up(address)).await?)
    }

    /// Counts a request for the options of a login with a passkey, in the transaction of the caller.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Throttled`]. The caller must then roll the transaction back.
    pub async fn count_passkey_options(&self, tx: &Tx, address: IpAddr) -> Result<(), AccountsError> {
        Ok(self.throttle.take(tx, &limits::of_passkey_options(address)).await?)
    }

    /// Returns the buckets that count the attempt. If the device token proves an earlier login to the
    /// account, only the bucket of the token's device counts the attempt. Any other token has no effect.
    async fn buckets(
        &self,
        login: &LoginAttempt<'_>,
        identifier: &Identifier,
    ) -> Result<Vec<Bucket>, AccountsError> {
        let name = identifier.canonical();
        if let Some(device) = login.device_token.and_then(|token| self.throttle.devices().open(token))
            && let Some(Credentials { user, .. }) = self.find_credentials(identifier).await?
            && DeviceTokens::is_known(&device, user.id, user.credential)
        {
            return Ok(limits::of_device(name, device.id));
        }
        Ok(limits::of_login(name, login.address))
    }

    async fn find_credentials(&self, identifier: &Identifier) -> Result<Option<Credentials>, StoreError> {
        self.db.read(identifier.clone(), |tx, of| store::find_by_identifier(tx, of).boxed()).await
    }

    /// Compares the password with that of the account, or with a dummy hash if the account does not exist.
    pub(super) async fn check_password(
        &self,
        found: Option<Credentials>,
        password: Password,
    ) -> Result<Accepted, AccountsError> {
        let Some(found) = found else {
            self.passwords.verify_dummy(password).await?;
            return Err(AccountsError::InvalidCredentials);
        };
        match self.passwords.verify(password.clone(), found.password_hash.clone()).await? {
            Verified::Match => Ok(Accepted { user: active(found.user)?, outdated: None }),
            Verified::Mismatch => {
                self.events.collect(found.user.id, EventKind::LoginFailed);
                Err(AccountsError::InvalidCredentials)
            }
            Verified::MatchNeedsRehash => {
                let outdated = Some((found.password_hash, password));
                Ok(Accepted { user: active(found.user)?, outdated })
            }
        }
    }

    /// Replaces the stored hash of the user if it does not have the configured cost, or is from another
    /// system. Call this function only after [`Attempt::succeeded`], because the duration of this function
    /// reveals that the password is correct.
    pub(super) async fn with_current_hash(&self, accepted: Accepted) -> User {
        let Accepted { mut user, outdated } = accepted;
        if let Some((old, password)) = outdated
            && let Some(hash) = self.rehash(user.id, old, password).await
        {
            user.credential = CredentialTag::of_hash(&hash);
        }
        user
    }

    /// Hashes the password at the configured cost, stores the hash and returns it. Returns `None` if the hash
    /// was not stored. The login still succeeds in this case, and the next login tries again.
    async fn rehash(&self, id: Uuid, old: String, password: Password) -> Option<String> {
        let new = self.passwords.hash(password).await.ok()?;
        let written: Result<bool, StoreError> = self
            .db
            .write((id, old, new.clone()), |tx, (id, old, new)| {
                store::replace_hash(tx, *id, old, new).boxed()
            })
            .await;
        match written {
            Ok(is_replaced) => is_replaced.then_some(new),
            Err(error) => {
                tracing::warn!(
                    causes = error_chain(&error),
                    "failed to replace a stored password hash with a hash of the configured bcrypt cost"
                );
                None
            }
        }
    }
}
