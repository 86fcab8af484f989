//! Verifies tokens that are not in the cache.
//!
//! `jsonwebtoken` checks signature, algorithm, issuer and audience. By default it uses the system clock, and
//! accepts tokens that must be rejected according to RFC 8725 (any `typ`, an unknown `crit`, a missing `aud`
//! or `iss`, a future `nbf`, a duplicate field). This module uses the injected clock and rejects all of these
//! tokens.

use std::sync::atomic::{AtomicI64, AtomicU64};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::key_ring::RingKey;
use super::{AccessToken, CLIENT_ID, Inner, Scopes, TYPE};
use crate::metrics::{AuthOutcome, AuthResult, TokenRejection};
use crate::strict_json;

/// The maximum difference between the clocks of two replicas.
pub(super) const SKEW: TimeDelta = TimeDelta::seconds(30);
/// The maximum length of a token, in bytes. A minted token has about 700 bytes.
const MAX_BYTES: usize = 4096;
/// The maximum number of JSON values in a header or a payload.
const MAX_VALUES: usize = 1000;

/// The claims of an access token, in wire format (RFC 9068 §2.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: Uuid,
    pub(super) client_id: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    pub(super) jti: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<Uuid>,
    /// The generation of the refresh token that was issued with the token (a private claim).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<i64>,
    pub(super) scope: String,
    pub(super) auth_time: i64,
    pub(super) amr: Vec<String>,
}

/// Why a token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token was valid and has expired.
    #[error("the access token has expired")]
    Expired,
    /// The token, its session or its user was revoked.
    #[error("the access token was revoked")]
    Revoked,
    /// The token was never valid, or its key was deleted. The reason is not reported.
    #[error("the access token is invalid")]
    Invalid,
    /// The token can't be verified: the database is unavailable, or the key can't be decrypted.
    #[error("failed to read the signing keys or the revocations")]
    Unverifiable,
}

impl AuthOutcome for TokenError {
    fn auth_result(&self) -> Option<AuthResult> {
        match self {
            Self::Invalid | Self::Expired | Self::Revoked => Some(AuthResult::InvalidCredentials),
            Self::Unverifiable => None,
        }
    }
}

impl TokenError {
    /// Returns the reason under which the metrics count the rejection.
    pub(super) const fn rejection(self) -> TokenRejection {
        match self {
            Self::Invalid => TokenRejection::Invalid,
            Self::Expired => TokenRejection::Expired,
            Self::Revoked => TokenRejection::Revoked,
            Self::Unverifiable => TokenRejection::Unverifiable,
        }
    }
}

pub(super) fn has_expired(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - SKEW >= expires_at
}

/// Verifies a token with its parsed header and the key that the header names; `epoch` is the epoch of the key
/// ring.
pub(super) fn verify(
    tokens: &Inner,
    token: &str,
    header: &Map<String, Value>,
    key: &RingKey,
    epoch: u64,
) -> Result<AccessToken, TokenError> {
    if header.get("alg").and_then(Value::as_str) != Some(key.alg.name()) {
        return Err(TokenError::Invalid);
    }
    // If the key can't be decrypted, the server can't tell whether the token is valid. The error `Invalid`
    // would make clients discard the token.
    let decoding_key = key.decoding_key.as_ref().ok_or(TokenError::Unverifiable)?;
    let mut validation = Validation::new(key.alg.jose());
    validation.set_issuer(&[&tokens.issuer]);
    validation.set_audience(&[&tokens.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // `accept` checks `exp` and `nbf` with the injected clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, decoding_key, &validation)
        .map_err(|_| TokenError::Invalid)?
        .claims;
    accept(claims, tokens.clock.now(), epoch)
}

/// Returns the header of a token. The token must have three parts, and the first two must be JSON objects in
/// canonical base64url. A duplicate field in one of these objects is rejected, because parsers differ in
/// which value they use.
pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let object = |part: &str| match strict_json::parse(&URL_SAFE_NO_PAD.decode(part).ok()?, MAX_VALUES) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    };
    object(payload)?;
    object(header)
}

/// Returns the `kid` of a header if the header has the correct type and no extensions. Keys in the header
/// (`jwk`, `x5c`) or behind its links (`jku`, `x5u`) are never used (RFC 8725 §3.10).
pub(super) fn kid(header: &Map<String, Value>) -> Option<&str> {
    let media_type = header.get("typ")?.as_str()?.to_ascii_lowercase();
    // RFC 7515 §4.1.9: the prefix `application/` is optional.
    if media_type.strip_prefix("application/").unwrap_or(&media_type) != TYPE {
        return None;
    }
    // RFC 7515 §4.1.11: a token with an unsupported extension is rejected. This server supports no extension.
    if header.contains_key("crit") || header.contains_key("b64") {
        return None;
    }
    header.get("kid")?.as_str()
}

/// Checks the claims that `jsonwebtoken` does not check.
fn accept(claims: Claims, now: DateTime<Utc>, epoch: u64) -> Result<AccessToken, TokenError> {
    let instant = |seconds: i64| DateTime::from_timestamp(seconds, 0).ok_or(TokenError::Invalid);
    let issued_at = instant(claims.iat)?;
    let expires_at = instant(claims.exp)?;
    let not_before = claims.nbf.map_or(Ok(issued_at), instant)?;
    if claims.exp <= 0 || claims.client_id != CLIENT_ID || not_before.max(issued_at) > now + SKEW {
        return Err(TokenError::Invalid);
    }
    if has_expired(expires_at, now) {
        return Err(TokenError::Expired);
    }
    let scopes = Scopes::parse(&claims.scope).ok_or(TokenError::Invalid)?;
    // The time in `jti`, a UUIDv7, has millisecond precision (RFC 9562 §5.7). `iat` has whole seconds.
    let (seconds, nanos) = claims.jti.get_timestamp().ok_or(TokenError::Invalid)?.to_unix();
    let minted_at = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanos));
    Ok(AccessToken {
        id: claims.jti,
        user: claims.sub,
        session: claims.sid,
        generation: claims.generation,
        scopes,
        amr: claims.amr,
        authenticated_at: instant(claims.auth_time)?,
        minted_at: minted_at.ok_or(TokenError::Invalid)?,
        issued_at,
        expires_at,
        checked_revision: AtomicU64::new(0),
        checked_epoch: AtomicI64::new(0),
        epoch,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_example_token_of_the_standards_has_an_acceptable_header() {
        // S-19, S-25
        let vectors: Value = serde_json::from_str(include_str!("algorithms/vectors.json")).unwrap();
        for (name, token) in vectors["jws"].as_object().unwrap() {
            // The payload of RFC 8037 A.4 is not JSON. The headers of the other tokens have no `kid`, and
            // their `typ` is missing or wrong.
            let header = header(token.as_str().unwrap());
            assert_eq!(header.is_none(), name == "RFC 8037 A.4");
            assert_eq!(header.as_ref().and_then(kid), None, "{name}");
        }
    }
}
