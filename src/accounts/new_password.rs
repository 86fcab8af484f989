//! A new password for an existing account.

use super::{Accounts, PolicyViolation, User};
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
