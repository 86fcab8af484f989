//! Waiting logins: the first factor is correct, and the login waits for the second factor. A random token
//! identifies each waiting login.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Device;
use crate::secrets::{random_bytes, sha256};
use crate::tokens::Scopes;

/// The maximum number of attempts to complete one login.
pub(super) const TRIES_MAX: i64 = 5;

/// A waiting login.
#[derive(Debug, Clone)]
pub(super) struct PendingLogin {
    pub(super) user: Uuid,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) scopes: Scopes,
    /// The authentication methods of the first factor.
    pub(super) amr: Vec<String>,
    pub(super) device: Device,
}

/// The digest of the token of a waiting login. Tokens are random, so a token identifies one login of one
/// user.
#[derive(Debug, Clone)]
pub(super) struct LoginToken {
    pub(super) digest: [u8; 32],
}

impl LoginToken {
    /// Creates a token. Returns its text and its digest.
    pub(super) fn random() -> (String, Self) {
        let text = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
        let token = Self::of(&text);
        (text, token)
    }

    /// Returns the token with this text.
    pub(super) fn of(text: &str) -> Self {
        Self { digest: sha256(text.as_bytes()) }
    }
}
