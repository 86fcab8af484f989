//! Attempts to authenticate, by method and result.

use super::labels::{AuthMethod, AuthResult};
use super::registry::METRICS;

/// An error that can end an attempt to authenticate.
pub trait AuthOutcome {
    /// Returns the result, or `None` if the attempt is not counted, for example after an error of the
    /// database.
    fn auth_result(&self) -> Option<AuthResult>;
}

/// Counts an attempt to authenticate.
pub fn auth_attempt(method: AuthMethod, result: AuthResult) {
    METRICS.auth_attempts.with_label_values(&[method.name(), result.name()]).inc();
}

/// Counts an attempt by its result. Does not count an attempt whose error has no [`AuthResult`].
pub fn auth_attempted<T, E: AuthOutcome>(method: AuthMethod, result: &Result<T, E>) {
    let result = match result {
        Ok(_) => Some(AuthResult::Success),
        Err(error) => error.auth_result(),
    };
    if let Some(result) = result {
        auth_attempt(method, result);
    }
}
