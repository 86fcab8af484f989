//! Mints access tokens with the active key.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Header;
use uuid::Uuid;

use super::verify::Claims;
use super::{CLIENT_ID, Inner, Scopes, TYPE, Tokens, TokensError};
use crate::metrics;
use crate::secrets::random_bytes;

/// The content of a token to mint.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The user of the token.
    pub user: Uuid,
    /// The session of the token, if there is one.
    pub session: Option<Uuid>,
    /// The generation of the refresh token that is issued with the access token.
    pub generation: Option<i64>,
    /// The scopes of the token.
    pub scopes: Scopes,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the user authenticated.
    pub authenticated_at: DateTime<Utc>,
    /// The latest possible expiry of the token, such as the expiry of its session.
    pub until: Option<DateTime<Utc>>,
}

/// A newly minted token.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The JWT in compact form.
    pub token: String,
    /// The lifetime of the token, in seconds.
    pub expires_in_secs: i64,
    /// When the token expires.
    pub expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Mints a token for `subject`, valid from now on.
    ///
    /// # Errors
    ///
    /// [`TokensError::NoSigningKey`] if the server runs with a wrong master secret.
    pub fn mint(&self, subject: Subject) -> Result<Minted, TokensError> {
        let Inner { clock, issuer, audience, keys, .. } = &*self.inner;
        let now = clock.now();
        let expires_at = subject.until.unwrap_or(DateTime::<Utc>::MAX_UTC).min(now + self.lifetime(&subject));
        let ring = keys.ring();
        let (key, encoding_key) = ring.signing_key().ok_or(TokensError::NoSigningKey)?;
        let header =
            Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(key.alg.jose()) };
        let claims = Claims {
            iss: issuer.clone(),
            aud: audience.clone(),
            sub: subject.user,
            client_id: CLIENT_ID.to_owned(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            nbf: None,
            jti: clock.new_id(),
            sid: subject.session,
            generation: subject.generation,
            scope: subject.scopes.to_string(),
            auth_time: subject.authenticated_at.timestamp(),
            amr: subject.amr,
        };
        let token = jsonwebtoken::encode(&header, &claims, encoding_key)
            .map_err(|error| TokensError::Signing(error.to_string()))?;
        metrics::token_minted();
        let expires_in_secs = (expires_at - now).num_seconds();
        Ok(Minted { token, expires_in_secs, expires_at })
    }

    /// Returns the lifetime of a token. Refreshed tokens get up to 5 % less, at random, so that clients that
    /// logged in at the same time don't always refresh at the same time.
    fn lifetime(&self, subject: &Subject) -> TimeDelta {
        let ttl = self.inner.ttl;
        if subject.generation.is_none_or(|generation| generation == 1) {
            return ttl;
        }
        let jitter = u16::from_le_bytes(random_bytes());
        let max_reduction = ttl.num_seconds() / 20;
        ttl - TimeDelta::seconds(max_reduction * i64::from(jitter) / i64::from(u16::MAX))
    }
}
