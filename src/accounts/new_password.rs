//! A new password for an existing account.

use super::{Accounts, HashedUser, PolicyViolation, User};
use crate::passwords::Password;

impl Accounts {
    /// Checks a new password of a user against the policy.
    ///
    /// # Errors
    ///
    /// The first [`PolicyViolation`].
    pub fn check_password_of(&self, user: &User, password: &str) -> Result<Password, PolicyViolation> {
        let identifiers: Vec<&str> =
            [&user.email, &user.username].into_iter().flatten().map(String::as_str).collect();
        self.policy.check(password, &identifiers)
    }
}

impl HashedUser {
    /// Returns the hash of the password.
    pub fn password_hash(&self) -> &str {
        &self.password_hash
    }

    /// Removes the username, which another user has.
    pub fn clear_username(&mut self) {
        self.user.username = None;
        self.username_key = None;
    }
}
