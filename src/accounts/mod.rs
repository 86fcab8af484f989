//! Accounts: users, their identifiers and their passwords.
//!
//! An account has an email address, a username or both. The canonical form of each identifier is unique. An
//! account can have a password; without a password, its hash is [`NO_PASSWORD`]. An unknown user and a wrong
//! password give the same error after the same work. This module does not depend on sessions.

mod address;
mod administration;
pub mod api;
mod attack;
mod authorization;
mod credentials;
mod deletion;
mod identifiers;
mod in_transaction;
mod login_attempt;
mod new_account;
mod new_password;
mod password_policy;
mod store;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::audit::{self, Event};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError};
use crate::events::{EventKind, Events, NewEvent};
use crate::flows::Flows;
use crate::metrics::{AuthOutcome, AuthResult};
use crate::passwords::{Overloaded, Password, Passwords};
use crate::plain_text;
use crate::throttle::{Blocked, CredentialTag, Throttle, ThrottleError, limits};
use crate::tokens::Tokens;

use address::Confirmation;
pub use address::{change_address, confirm_address};
pub use administration::{KnownKeys, UserFilter, delete, find_keys, insert_all, search, set_disabled};
pub use authorization::Authorization;
pub use credentials::{NO_PASSWORD, lock_unchanged, replace_password};
pub use deletion::DELETION_TIMEOUT;
pub use identifiers::{
    EMAIL_MAX, Email, Identifier, InvalidIdentifier, USERNAME_MAX, USERNAME_MIN, USERNAME_PATTERN,
    USERNAME_RULE, Username,
};
use in_transaction::change_profile;
pub use in_transaction::{find, insert, lock, lookup, page, set_mfa_enabled};
pub use login_attempt::LoginAttempt;
pub use new_account::{HashedUser, NewAccount};
pub use password_policy::{PasswordPolicy, PolicyViolation};

/// The minimum length of a language tag, in characters.
pub const LOCALE_MIN: usize = 2;
/// The maximum length of a language tag, in characters.
pub const LOCALE_MAX: usize = 35;
/// The pattern of a language tag (BCP 47), such as `de` or `pt-BR`.
pub const LOCALE_PATTERN: &str = "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$";

/// The maximum length of a display name, in characters.
pub const DISPLAY_NAME_MAX: usize = 100;

/// Returns whether a text is a valid display name.
pub fn is_display_name(text: &str) -> bool {
    plain_text::is_line(text) && (1..=DISPLAY_NAME_MAX).contains(&text.chars().count())
}

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The permanent id.
    pub id: Uuid,
    /// The email address as entered.
    pub email: Option<String>,
    /// Whether the user has proven ownership of the address.
    pub email_verified: bool,
    /// The username as entered.
    pub username: Option<String>,
    /// The name that the app displays.
    pub display_name: Option<String>,
    /// Whether logging in requires a second factor.
    pub mfa_enabled: bool,
    /// The language for mails, a language tag (BCP 47).
    pub locale: Option<String>,
    /// Incremented when the password is replaced, a second factor becomes required or optional, or an
    /// operator disables or enables the account.
    pub credentials_version: i64,
    /// When an operator disabled the account.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When the user signed up.
    pub created_at: DateTime<Utc>,
    /// When the account last changed.
    pub updated_at: DateTime<Utc>,
    /// Identifies the stored hash of the current password.
    pub credential: CredentialTag,
}

/// A validated sign-up: at least one identifier, and a password that the policy accepts.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Required if there is no username.
    pub email: Option<Email>,
    /// Required if there is no email address.
    pub username: Option<Username>,
    /// The plaintext password, not hashed yet.
    pub password: Password,
    /// 1 to [`DISPLAY_NAME_MAX`] characters.
    pub display_name: Option<String>,
    /// A language tag (BCP 47).
    pub locale: Option<String>,
}

/// A change of the profile. `None` leaves a field unchanged, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct ProfilePatch {
    /// 1 to [`DISPLAY_NAME_MAX`] characters.
    pub display_name: Option<Option<String>>,
    /// A language tag (BCP 47).
    pub locale: Option<Option<String>>,
    /// Can be cleared only if the user has an email address.
    pub username: Option<Option<Username>>,
}

/// Why an account can't be created, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// Another user has the email address or username.
    #[error("the email address or username is taken")]
    IdentifierTaken,
    /// The user does not exist or is disabled, or the password is wrong.
    #[error("wrong identifier or password")]
    InvalidCredentials,
    /// The password is correct, but the account requires a second factor, which this kind of request can't send.
    #[error("the account requires a second factor")]
    SecondFactorRequired,
    /// A logged-in user has sent a wrong password.
    #[error("wrong password of a logged-in user")]
    WrongPassword,
    /// The password is correct, but the address must be confirmed first.
    #[error("the email address is not confirmed")]
    Unconfirmed,
    /// The account does not exist or was deleted, or the login of the caller has ended.
    #[error("no such user")]
    NoSuchUser,
    /// The username can't be removed, because the account has no email address to log in with.
    #[error("the only identifier of the account cannot be removed")]
    LastIdentifier,
    /// The wait for a password hash is too long, or the computation of the hash has failed.
    #[error("overloaded")]
    Overloaded(#[from] Overloaded),
    /// There were too many failed attempts.
    #[error("too many attempts")]
    Throttled(#[from] Blocked),
    /// An error of the database.
    #[error("failed to read or write accounts")]
    Store(#[from] StoreError),
}

impl From<ThrottleError> for AccountsError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Blocked(blocked) => Self::Throttled(blocked),
            ThrottleError::Store(error) => Self::Store(error),
        }
    }
}

impl AuthOutcome for AccountsError {
    fn auth_result(&self) -> Option<AuthResult> {
        match self {
            Self::InvalidCredentials => Some(AuthResult::InvalidCredentials),
            Self::SecondFactorRequired => Some(AuthResult::MfaRequired),
            Self::Overloaded(_) => Some(AuthResult::Overloaded),
            Self::Throttled(_) => Some(AuthResult::Throttled),
            Self::IdentifierTaken
            | Self::WrongPassword
            | Self::Unconfirmed
            | Self::NoSuchUser
            | Self::LastIdentifier
            | Self::Store(_) => None,
        }
    }
}

impl HasStoreError for AccountsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// Creates, authenticates, changes and deletes accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts {
    db: Db,
    clock: Clock,
    passwords: Passwords,
    policy: PasswordPolicy,
    tokens: Tokens,
    throttle: Throttle,
    events: Events,
    flows: Flows,
    confirmation: Confirmation,
}

impl Accounts {
    /// Creates the service.
    #[expect(clippy::too_many_arguments, reason = "the composition root names each service once")]
    pub fn new(
        db: Db,
        clock: Clock,
        passwords: Passwords,
        policy: PasswordPolicy,
        tokens: Tokens,
        throttle: Throttle,
        events: Events,
        flows: Flows,
    ) -> Self {
        let confirmation = Confirmation::default();
        Self { db, clock, passwords, policy, tokens, throttle, events, flows, confirmation }
    }

    /// Loads the highest bcrypt cost of all stored hashes. Every failed verification then takes as long as a
    /// verification at that cost. The query reads the hash of every user (0.4 s of one core for a million
    /// users), so the server does not wait for it at startup.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn load_max_hash_cost(&self) -> Result<(), StoreError> {
        if let Some(cost) = self.db.read((), |tx, ()| store::highest_cost(tx).boxed()).await? {
            self.passwords.observe_cost(cost);
        }
        Ok(())
    }

    /// Checks a new password against the policy. `identifiers` are the user's email address and username.
    ///
    /// # Errors
    ///
    /// The first [`PolicyViolation`].
    pub fn check_new_password(
        &self,
        password: &str,
        identifiers: &[&str],
    ) -> Result<Password, PolicyViolation> {
        self.policy.check(password, identifiers)
    }

    /// Hashes the password of a new user. [`insert`] stores the result in the caller's transaction.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Overloaded`].
    pub async fn hash_password(&self, new: NewUser) -> Result<HashedUser, AccountsError> {
        let password_hash = self.passwords.hash(new.password).await?;
        let now = self.clock.now();
        let account = NewAccount {
            email: new.email,
            email_verified: false,
            username: new.username,
            display_name: new.display_name,
            locale: new.locale,
            created_at: now,
        };
        Ok(HashedUser::new(self.clock.new_id(), account, password_hash, now))
    }

    /// Proves that a logged-in user knows the password of the account. A wrong password is an error in the
    /// input, not a failed authentication: the session stays valid, and the user can correct the password.
    ///
    /// # Errors
    ///
    /// [`AccountsError::WrongPassword`], [`AccountsError::NoSuchUser`], [`AccountsError::Throttled`] or
    /// [`AccountsError::Overloaded`].
    pub async fn prove_password(&self, user: Uuid, password: &str) -> Result<(), AccountsError> {
        let password = Password::parse(password).ok_or(AccountsError::WrongPassword)?;
        let attempt = self.throttle.begin(limits::of_user(user)).await?;
        let found = self.db.read(user, |tx, user| store::find_credentials(tx, *user).boxed()).await;
        let found = found.map_err(AccountsError::Store)?.ok_or(AccountsError::NoSuchUser)?;
        match self.check_password(Some(found), password).await {
            Ok(accepted) => {
                attempt.succeeded().await?;
                self.with_current_hash(accepted).await;
                Ok(())
            }
            Err(AccountsError::InvalidCredentials) => {
                attempt.failed().await?;
                audit::record(Event::LoginFailed, Some(user), None);
                Err(AccountsError::WrongPassword)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether `identifier` is the email address or the username of the user.
    ///
    /// # Errors
    ///
    /// [`AccountsError::Store`].
    pub async fn has_identifier(&self, user: Uuid, identifier: &str) -> Result<bool, AccountsError> {
        let Some(identifier) = Identifier::from_entered(identifier) else { return Ok(false) };
        let found = self.db.read(identifier, |tx, of| store::find_by_identifier(tx, of).boxed()).await;
        Ok(found.map_err(AccountsError::Store)?.is_some_and(|found| found.user.id == user))
    }

    /// Returns a user by id.
    ///
    /// # Errors
    ///
    /// [`AccountsError::NoSuchUser`].
    pub async fn find(&self, user: Uuid) -> Result<User, AccountsError> {
        let found = self.db.read(user, |tx, user| store::find(tx, *user).boxed()).await;
        found.map_err(AccountsError::Store)?.ok_or(AccountsError::NoSuchUser)
    }

    /// Changes the display name, the language and the username. `session` is the session of the caller. A change of the
    /// username needs an authorization.
    ///
    /// # Errors
    ///
    /// [`AccountsError::NoSuchUser`], [`AccountsError::IdentifierTaken`] or
    /// [`AccountsError::LastIdentifier`].
    pub async fn change_profile(
        &self,
        user: Uuid,
        session: Option<Uuid>,
        patch: ProfilePatch,
        authorization: Option<Authorization>,
    ) -> Result<User, AccountsError> {
        let renamed = NewEvent::new(&self.clock, user, EventKind::UsernameChanged).in_session(session);
        let input = (user, patch, renamed, authorization);
        self.db
            .write(input, |tx, (user, patch, renamed, authorization)| {
                async move {
                    if let Some(authorization) = authorization {
                        authorization.require_lock(tx).await?;
                    }
                    change_profile(tx, *user, patch, renamed).await
                }
                .boxed()
            })
            .await
    }
}
