//! Verifying a token that was not seen before.
//!
//! jsonwebtoken checks signature, algorithm, issuer and audience. By default it lets pass what RFC
//! 8725 wants refused (any `typ`, an unknown `crit`, a missing `aud` or `iss`, a future `nbf`, a
//! member twice) and asks the machine for the time: all of that is switched on or checked here.

use std::sync::atomic::AtomicU64;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::key_ring::Key;
use super::{AccessToken, CLIENT_ID, Inner, Scopes, TYPE};
use crate::strict_json;

/// How far the clocks of two replicas may be apart.
pub(super) const SKEW: TimeDelta = TimeDelta::seconds(30);
/// The longest token that is looked at, in bytes; ours have some 700.
const MAX_BYTES: usize = 4096;

/// What an access token says, on the wire (RFC 9068 §2.2).
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
    /// Which refresh token of the session came with it; a name of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<i64>,
    pub(super) scope: String,
    pub(super) auth_time: i64,
    pub(super) amr: Vec<String>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// It was revoked, with its session or its user or by itself.
    #[error("the access token was revoked")]
    Revoked,
    /// It never was; why is nobody's business.
    #[error("the access token is invalid")]
    Invalid,
    /// Whether it is good can't be told: the database is away, or the secret that would verify it.
    #[error("what verifies and what was revoked can't be read")]
    Unverifiable,
}

pub(super) fn has_expired(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - SKEW >= expires_at
}

/// Verifies a token whose header was read and whose key was found; `epoch` is that of the ring.
pub(super) fn verify(
    tokens: &Inner,
    token: &str,
    header: &Map<String, Value>,
    key: &Key,
    epoch: u64,
) -> Result<AccessToken, TokenError> {
    if header.get("alg").and_then(Value::as_str) != Some(key.alg.name()) {
        return Err(TokenError::Invalid);
    }
    // It may be one of ours: nobody is logged out by a mistake in deployment.
    let verifying = key.verifying.as_ref().ok_or(TokenError::Unverifiable)?;
    let mut validation = Validation::new(key.alg.jose());
    validation.set_issuer(&[&tokens.issuer]);
    validation.set_audience(&[&tokens.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // By our own clock, below.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, verifying, &validation)
        .map_err(|_| TokenError::Invalid)?
        .claims;
    accept(claims, tokens.clock.now(), epoch)
}

/// The header of a token of three parts, of which the first two are JSON objects in canonical
/// base64url. A member twice in either is refused, because somebody else's parser may read another
/// token than we do.
pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let object = |part: &str| match strict_json::parse(&URL_SAFE_NO_PAD.decode(part).ok()?) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    };
    object(payload)?;
    object(header)
}

/// The key that the header names, if the header is one that we could have written. Keys that it
/// brings along or points to (`jwk`, `jku`, `x5u`, `x5c`) are never looked at (RFC 8725 §3.10).
pub(super) fn kid(header: &Map<String, Value>) -> Option<&str> {
    let media_type = header.get("typ")?.as_str()?.to_ascii_lowercase();
    // RFC 7515 §4.1.9: `application/` may be left out or not.
    if media_type.strip_prefix("application/").unwrap_or(&media_type) != TYPE {
        return None;
    }
    // RFC 7515 §4.1.11: an extension that is not understood refuses the token; we understand none.
    if header.contains_key("crit") || header.contains_key("b64") {
        return None;
    }
    header.get("kid")?.as_str()
}

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
    // The identifier tells the millisecond, which `iat` does not (RFC 9562 §5.7).
    let (seconds, nanos) = claims.jti.get_timestamp().ok_or(TokenError::Invalid)?.to_unix();
    let minted_at = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanos));
    Ok(AccessToken {
        id: claims.jti,
        user: claims.sub,
        session: claims.sid,
        generation: claims.generation,
        scopes,
        amr: claims.amr,
        minted_at: minted_at.ok_or(TokenError::Invalid)?,
        issued_at,
        expires_at,
        checked_revision: AtomicU64::new(0),
        epoch,
    })
}
