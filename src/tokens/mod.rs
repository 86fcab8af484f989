//! Access tokens: minting and verifying them, and the keys that sign them.
//!
//! A token is a JWT in the profile of RFC 9068. It is verified without the database, and as strictly
//! as RFC 8725 asks: one algorithm per key, the exact type, issuer and audience, every claim present
//! and of its kind, no `crit` that we don't understand, no key that the token brings along. What was
//! verified once is remembered until it expires. Tokens hold no personal data.

mod ring;
mod scope;
mod store;
mod verify;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Header};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, RoomError, StoreError};
use crate::secrets::{MasterSecret, Purpose, Vault, sha256};

use ring::KeyRing;
pub use scope::{Scope, Scopes};
pub use verify::TokenError;

/// The `typ` of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";
/// The `client_id` of every token: there is one first-party client.
const CLIENT_ID: &str = "tripgate";
/// How many verified tokens are remembered. One takes some 300 bytes.
const REMEMBERED: usize = 16_384;

/// Why a token can't be minted or the key ring not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The active key can't be decrypted under the present master secret.
    #[error("there is no key to sign with")]
    NoSigningKey,
    /// The cryptographic library refused; nothing that a caller could change.
    #[error("signing failed: {0}")]
    Signing(String),
    /// The database.
    #[error("the key ring can't be read")]
    Store(#[from] StoreError),
}

impl RoomError for TokensError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::NoSigningKey | Self::Signing(_) => None,
        }
    }
}

/// What an access token says, on the wire (RFC 9068 §2.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    client_id: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    jti: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
    scope: String,
    auth_time: i64,
    amr: Vec<String>,
}

/// A verified access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Whose it is.
    pub user: Uuid,
    /// The session that it belongs to, if one is kept.
    pub session: Option<Uuid>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// How its owner proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When it was minted.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// For whom a token is to be minted.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The user.
    pub user: Uuid,
    /// The session, if one is kept.
    pub session: Option<Uuid>,
    /// What the token may be used for.
    pub scopes: Scopes,
    /// How the user proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When they did.
    pub authenticated_at: DateTime<Utc>,
}

/// A fresh token.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The JWT in compact form.
    pub token: String,
    /// How long it is good, in seconds.
    pub expires_in_secs: i64,
}

/// Mints and verifies access tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    issuer: String,
    audience: String,
    ttl: TimeDelta,
    ring: KeyRing,
    verified: Cache<[u8; 32], Arc<AccessToken>>,
}

impl Tokens {
    /// Reads the key ring, and makes the first key if there is none.
    ///
    /// # Errors
    ///
    /// [`TokensError::Store`], and [`TokensError::Signing`] if the first key can't be made.
    pub async fn open(
        db: &Db,
        clock: Clock,
        secret: &MasterSecret,
        issuer: String,
        audience: String,
        ttl_secs: u32,
    ) -> Result<Self, TokensError> {
        let vault = Vault::new(&secret.derive(Purpose::KeyRing));
        let ring = KeyRing::open(db, &clock, &vault).await?;
        let ttl = TimeDelta::seconds(ttl_secs.into());
        let verified = Cache::new(REMEMBERED);
        Ok(Self { inner: Arc::new(Inner { clock, issuer, audience, ttl, ring, verified }) })
    }

    /// Mints a token for `subject`, good from now on.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] under a wrong master secret.
    pub fn mint(&self, subject: Subject) -> Result<Minted, TokensError> {
        let Inner { clock, issuer, audience, ttl, ring, .. } = &*self.inner;
        let now = clock.now();
        let key = ring.signing().ok_or(TokensError::NoSigningKey)?;
        let header = Header {
            typ: Some(TYPE.to_owned()),
            kid: Some(key.kid.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = Claims {
            iss: issuer.clone(),
            aud: audience.clone(),
            sub: subject.user,
            client_id: CLIENT_ID.to_owned(),
            iat: now.timestamp(),
            exp: (now + *ttl).timestamp(),
            nbf: None,
            jti: clock.new_id(),
            sid: subject.session,
            scope: subject.scopes.to_string(),
            auth_time: subject.authenticated_at.timestamp(),
            amr: subject.amr,
        };
        let token = jsonwebtoken::encode(&header, &claims, &key.encoding)
            .map_err(|error| TokensError::Signing(error.to_string()))?;
        Ok(Minted { token, expires_in_secs: ttl.num_seconds() })
    }

    /// Verifies a token, from memory if it was verified before.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<Arc<AccessToken>, TokenError> {
        let Inner { clock, verified, .. } = &*self.inner;
        // The digest stands for the token, so that none lies about in memory.
        let digest = sha256(token.as_bytes());
        if let Some(known) = verified.get(&digest) {
            if verify::has_expired(known.expires_at, clock.now()) {
                verified.remove(&digest);
                return Err(TokenError::Expired);
            }
            return Ok(known);
        }
        let fresh = Arc::new(verify::verify(&self.inner, token)?);
        verified.insert(digest, Arc::clone(&fresh));
        Ok(fresh)
    }
}
