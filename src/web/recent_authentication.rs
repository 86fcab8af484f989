//! Requires a recent authentication for operations that change how an account is protected (RFC 9470).

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::caller::{Caller, Credential};
use super::credentials::step_up_required;
use super::problem::Problem;
use crate::accounts::Authorization;
use crate::tokens::BY_OPERATOR;

/// The maximum age of an authentication for operations that require a recent authentication.
const STEP_UP_MAX_AGE: TimeDelta = TimeDelta::minutes(5);

impl<R> Caller<R> {
    /// Checks that the user has authenticated within the last 5 minutes. The time of the authentication is the
    /// `auth_time` of the token; refreshing does not change this time. A token that an operator minted and a personal
    /// access token never pass this check. The transaction of the operation must call [`Authorization::lock`].
    ///
    /// # Errors
    ///
    /// `step_up_required`.
    pub fn require_recent_authentication(&self, now: DateTime<Utc>) -> Result<Authorization, Problem> {
        let is_recent = match &self.credential {
            Credential::Token(token) => {
                let age = now - token.authenticated_at;
                age <= STEP_UP_MAX_AGE && !token.amr.iter().any(|method| method == BY_OPERATOR)
            }
            Credential::Personal(_) => false,
            Credential::Password { .. } => true,
        };
        self.authorization().filter(|_| is_recent).ok_or_else(|| step_up_required(STEP_UP_MAX_AGE))
    }

    /// Returns the authorization, which a transaction can check again, or `None` for a personal access token.
    pub fn authorization(&self) -> Option<Authorization> {
        match &self.credential {
            Credential::Token(token) => Some(Authorization::Token(self.tokens.clone(), Arc::clone(token))),
            Credential::Personal(_) => None,
            Credential::Password { user, credentials_version } => {
                Some(Authorization::Password { user: *user, credentials_version: *credentials_version })
            }
        }
    }
}
