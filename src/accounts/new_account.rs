//! Accounts that are ready to be stored.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Email, User, Username};
use crate::throttle::CredentialTag;

/// The identifiers and the profile of an account to create. The account has at least one identifier.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Required if the account has no username.
    pub email: Option<Email>,
    /// Whether the ownership of the address is proven.
    pub email_verified: bool,
    /// Required if the account has no email address.
    pub username: Option<Username>,
    /// 1 to [`super::DISPLAY_NAME_MAX`] characters.
    pub display_name: Option<String>,
    /// A language tag (BCP 47).
    pub locale: Option<String>,
    /// When the user signed up, possibly on another system.
    pub created_at: DateTime<Utc>,
}

/// A new user with a hashed password, ready to be stored.
#[derive(Debug, Clone)]
pub struct HashedUser {
    pub(super) user: User,
    pub(super) email_key: Option<String>,
    pub(super) username_key: Option<String>,
    pub(super) password_hash: String,
}

impl HashedUser {
    /// Creates the user. `password_hash` is a bcrypt hash, or [`super::NO_PASSWORD`].
    pub fn new(id: Uuid, account: NewAccount, password_hash: String, now: DateTime<Utc>) -> Self {
        let NewAccount { email, email_verified, username, display_name, locale, created_at } = account;
        Self {
            email_key: email.as_ref().map(|email| email.canonical().to_owned()),
            username_key: username.as_ref().map(|name| name.canonical().to_owned()),
            user: User {
                id,
                email: email.map(|email| email.as_entered().to_owned()),
                email_verified,
                username: username.map(|name| name.as_entered().to_owned()),
                display_name,
                mfa_enabled: false,
                locale,
                credentials_version: 0,
                disabled_at: None,
                created_at,
                updated_at: now,
                credential: CredentialTag::of_hash(&password_hash),
            },
            password_hash,
        }
    }

    /// Returns the user to be stored.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Returns the email address in canonical form.
    pub fn email_key(&self) -> Option<&str> {
        self.email_key.as_deref()
    }

    /// Returns the hash of the password.
    pub fn password_hash(&self) -> &str {
        &self.password_hash
    }

    /// Removes the username, because another user has it.
    pub fn clear_username(&mut self) {
        self.user.username = None;
        self.username_key = None;
    }
}
