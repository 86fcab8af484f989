//! HTTP Digest authentication (RFC 7616) with personal access tokens.
//!
//! Only SHA-256 and `qop=auth` are accepted. The user name is the id of the token; the password is the token
//! itself. The database stores `H(A1)`, a hash of the user name, the realm and the password. This hash is
//! sufficient to impersonate the client. It is therefore encrypted, and stored only for tokens that were
//! created for Digest. Each nonce is valid for 5 minutes. Every request must have a higher count (`nc`) than
//! all earlier requests with the same nonce, on any replica. Recording the count costs one write for each
//! request.

use std::sync::Arc;

use futures_util::FutureExt;
use uuid::Uuid;

use super::nonces::Nonce;
use super::store::{self, StoredToken};
use super::token_text::to_hex;
use super::uses::ACCURACY;
use super::{Inner, PersonalToken, PersonalTokens, PresentedId};
use crate::db::StoreError;
use crate::error_chain::error_chain;
use crate::metrics::{AuthOutcome, AuthResult};
use crate::secrets::{DecryptError, Vault, constant_time_eq, sha256};

/// The realm of every challenge.
pub const REALM: &str = "tripgate";
/// The algorithm of every challenge.
pub const ALGORITHM: &str = "SHA-256";
/// The maximum length of the client's nonce, in bytes.
const CLIENT_NONCE_MAX: usize = 256;

/// The fields of an `Authorization: Digest` header (RFC 7616 §3.4), not checked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestResponse {
    /// The id of the token.
    pub username: String,
    /// The realm.
    pub realm: String,
    /// The request target as the client sent it.
    pub uri: String,
    /// The algorithm.
    pub algorithm: String,
    /// The server's nonce.
    pub nonce: String,
    /// The count of requests with this nonce, 8 hexadecimal digits.
    pub nc: String,
    /// The client's nonce.
    pub cnonce: String,
    /// The quality of protection.
    pub qop: String,
    /// The response, 64 hexadecimal digits.
    pub response: String,
}

/// Why a Digest response is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The response is wrong, or the token is unknown, has expired, or was not created for Digest.
    #[error("the digest response is not valid")]
    Invalid,
    /// The response is correct, but the nonce has expired, was not issued by a replica of this server, or was
    /// used with the same or a higher count.
    #[error("the nonce has expired or was used")]
    Stale,
    /// The database is unavailable.
    #[error("failed to read personal access tokens")]
    Unverifiable,
}

impl AuthOutcome for DigestError {
    fn auth_result(&self) -> Option<AuthResult> {
        match self {
            Self::Invalid => Some(AuthResult::InvalidCredentials),
            // Neither error shows that the credential is wrong: after `Stale`, the client repeats the request
            // with a new nonce.
            Self::Stale | Self::Unverifiable => None,
        }
    }
}

fn hash(text: &str) -> String {
    to_hex(&sha256(text.as_bytes()))
}

/// Returns the encrypted `H(A1)` of a token (RFC 7616 §3.4.2).
pub(super) fn seal(vault: &Vault, id: Uuid, token: &str) -> Result<Vec<u8>, DecryptError> {
    vault.seal(&id.to_string(), hash(&format!("{id}:{REALM}:{token}")).as_bytes())
}

impl DigestResponse {
    /// Returns whether the response is correct for a token with this `H(A1)` (RFC 7616 §3.4.1).
    fn is_right(&self, hash_a1: &str, method: &str) -> bool {
        let Self { nonce, nc, cnonce, qop, uri, .. } = self;
        let hash_a2 = hash(&format!("{method}:{uri}"));
        let expected = hash(&format!("{hash_a1}:{nonce}:{nc}:{cnonce}:{qop}:{hash_a2}"));
        constant_time_eq(expected.as_bytes(), self.response.as_bytes())
    }

    /// Returns the id of the token and the count, if all fields have the required form.
    fn parse(&self, target: &str) -> Option<(Uuid, i64)> {
        let is_supported = self.realm == REALM && self.algorithm == ALGORITHM && self.qop == "auth";
        let is_short = (1..=CLIENT_NONCE_MAX).contains(&self.cnonce.len());
        let is_count = self.nc.len() == 8 && self.nc.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_supported || !is_short || !is_count || self.uri != target {
            return None;
        }
        let count = i64::from_str_radix(&self.nc, 16).ok().filter(|count| *count > 0)?;
        Some((Uuid::try_parse(&self.username).ok().filter(|id| id.to_string() == self.username)?, count))
    }
}

impl PersonalTokens {
    /// Returns a nonce for a challenge.
    pub fn issue_nonce(&self) -> String {
        self.inner.nonces.issue()
    }

    /// Verifies the response for this request target and one of these methods. There can be two methods,
    /// because the server handles HEAD as GET and does not know which of them the client has used.
    ///
    /// # Errors
    ///
    /// [`DigestError`].
    pub async fn verify_digest(
        &self,
        response: &DigestResponse,
        methods: &[&str],
        target: &str,
    ) -> Result<Arc<PersonalToken>, DigestError> {
        let Inner { clock, vault, nonces, uses, .. } = &*self.inner;
        let (id, count) = response.parse(target).ok_or(DigestError::Invalid)?;
        let stored = self
            .find(PresentedId(id))
            .await
            .map_err(|_| DigestError::Unverifiable)?
            .ok_or(DigestError::Invalid)?;
        let sealed = stored.sealed_digest_hash.as_deref().ok_or(DigestError::Invalid)?;
        let opened = vault.open(&id.to_string(), sealed).map_err(|_| DigestError::Invalid)?;
        let hash_a1 = String::from_utf8(opened).map_err(|_| DigestError::Invalid)?;
        let now = clock.now();
        let has_expired = stored.token.expires_at.is_some_and(|expires_at| expires_at <= now);
        if has_expired || !methods.iter().any(|method| response.is_right(&hash_a1, method)) {
            return Err(DigestError::Invalid);
        }
        let nonce = nonces.verify(&response.nonce).ok_or(DigestError::Stale)?;
        self.claim(nonce, count).await?;
        if !vault.is_current(&id.to_string(), sealed) {
            self.reseal(&stored, hash_a1).await;
        }
        let token = stored.token;
        if token.last_used_at.is_none_or(|last| now - last >= ACCURACY) {
            uses.record((token.user, token.id), now);
        }
        Ok(Arc::new(token))
    }

    /// Records that a nonce was used with this count. Fails if any replica has recorded this count or a
    /// higher count.
    async fn claim(&self, nonce: Nonce, count: i64) -> Result<(), DigestError> {
        let claimed: Result<(), StoreError> = self
            .inner
            .db
            .write((nonce, count), |tx, (nonce, count)| store::nonces::claim(tx, nonce, *count).boxed())
            .await;
        match claimed {
            Ok(()) => Ok(()),
            Err(StoreError::UniqueViolation(_)) => Err(DigestError::Stale),
            Err(_) => Err(DigestError::Unverifiable),
        }
    }

    /// Encrypts the stored hash again, under the current master secret, so that the token remains valid when
    /// the former secret is removed.
    async fn reseal(&self, stored: &StoredToken, hash_a1: String) {
        let Inner { db, vault, .. } = &*self.inner;
        let (owner, id) = (stored.token.user, stored.token.id);
        let Ok(sealed) = vault.seal(&id.to_string(), hash_a1.as_bytes()) else { return };
        let written: Result<(), StoreError> = db
            .write((owner, id, sealed), |tx, (owner, id, sealed)| {
                store::replace_digest_hash(tx, *owner, *id, sealed).boxed()
            })
            .await;
        if let Err(error) = written {
            tracing::warn!(causes = error_chain(&error), "failed to store a re-encrypted HTTP Digest hash");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_computed_response_equals_the_example_in_rfc_7616() {
        // RFC 7616 §3.9.1, SHA-256. S-94
        let response = DigestResponse {
            uri: "/dir/index.html".to_owned(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".to_owned(),
            nc: "00000001".to_owned(),
            cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned(),
            qop: "auth".to_owned(),
            response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1".to_owned(),
            ..DigestResponse::default()
        };
        let hash_a1 = hash("Mufasa:http-auth@example.org:Circle of Life");
        assert!(response.is_right(&hash_a1, "GET"));
        assert!(!response.is_right(&hash_a1, "POST"));
        assert!(!response.is_right(&hash("Mufasa:http-auth@example.org:circle of life"), "GET"));
    }
}
