//! An immutable snapshot of the key ring. Private keys are decrypted in memory only.
//!
//! When the keys in the database change, a new ring replaces the old ring. The new ring reuses private keys
//! that are already decrypted. When the stored keys are re-encrypted under a new master secret, a server that
//! still runs with the previous secret therefore continues to sign.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::KeyStatus;
use super::algorithms::{self, Alg, PublicKey};
use super::store::{KeyVersion, StoredKey};
use crate::secrets::{Vault, sha256};

/// The keys that verify tokens, indexed by `kid`, and the key that signs tokens.
pub(super) struct KeyRing {
    keys: HashMap<String, Arc<RingKey>>,
    active: Option<Arc<RingKey>>,
    /// When the active key was activated.
    active_since: Option<DateTime<Utc>>,
    published: Vec<PublicKey>,
    etag: String,
    /// The versions of the keys as loaded, to detect a change.
    versions: Vec<KeyVersion>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("versions", &self.versions).finish_non_exhaustive()
    }
}

/// A loaded key.
pub(super) struct RingKey {
    pub(super) kid: String,
    pub(super) alg: Alg,
    /// `None` for an HS256 key whose secret can't be decrypted.
    pub(super) decoding_key: Option<DecodingKey>,
    encoding_key: Option<EncodingKey>,
}

impl KeyRing {
    /// Creates a ring from the stored keys. `previous` is the ring that the new ring replaces.
    pub(super) fn assemble(stored: &[StoredKey], vault: &Vault, previous: Option<&Self>) -> Self {
        let mut ring = Self {
            keys: HashMap::new(),
            active: None,
            active_since: None,
            published: Vec::new(),
            etag: String::new(),
            versions: stored.iter().map(StoredKey::key_version).collect(),
        };
        ring.versions.sort_unstable();
        for row in stored {
            let loaded = previous.and_then(|ring| ring.keys.get(&row.kid));
            // Decode a key again if its private part could not be decrypted before: the decryption may
            // succeed now.
            let loaded = loaded.filter(|key| key.encoding_key.is_some() || row.status == KeyStatus::Retired);
            let Some(key) = loaded.map(Arc::clone).or_else(|| decode(row, vault).map(Arc::new)) else {
                tracing::error!(kid = row.kid, "ignoring a corrupt signing key in the database");
                continue;
            };
            if row.status == KeyStatus::Active {
                if key.encoding_key.is_none() {
                    // Continue without a signing key: issued tokens stay valid, so a wrong master secret ends
                    // no session.
                    tracing::error!(
                        kid = row.kid,
                        "failed to decrypt the signing key with the master secret: the server cannot issue tokens"
                    );
                }
                ring.active = Some(Arc::clone(&key));
                ring.active_since = row.activated_at.or(Some(row.created_at));
            }
            ring.keys.insert(row.kid.clone(), key);
        }
        ring.publish(stored);
        ring
    }

    /// Sets the public keys and their etag. The keys are in the order of creation, so the result is the same
    /// on every replica.
    fn publish(&mut self, stored: &[StoredKey]) {
        let mut order: Vec<&StoredKey> = stored.iter().collect();
        order.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
        let key = |row: &StoredKey| {
            let key = self.keys.get(&row.kid)?;
            algorithms::to_public_key(&key.kid, key.alg, key.decoding_key.as_ref()?)
        };
        self.published = order.into_iter().filter_map(key).collect();
        // The etag depends on the kids and on the version of the server. The kids of public keys are
        // thumbprints, so they identify the whole keys.
        let mut content = env!("CARGO_PKG_VERSION").to_owned();
        for key in &self.published {
            content.push(' ');
            content.push_str(&key.kid);
        }
        let digest = sha256(content.as_bytes());
        self.etag = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest));
    }

    /// Returns the active key and its encoding key, or `None` if the active key can't be decrypted.
    pub(super) fn signing_key(&self) -> Option<(&RingKey, &EncodingKey)> {
        let key = self.active.as_deref()?;
        Some((key, key.encoding_key.as_ref()?))
    }

    /// Returns when the active key was activated.
    pub(super) fn signs_since(&self) -> Option<DateTime<Utc>> {
        self.active_since
    }

    pub(super) fn key(&self, kid: &str) -> Option<Arc<RingKey>> {
        self.keys.get(kid).map(Arc::clone)
    }

    /// Returns true if the ring was loaded from these versions, in any order.
    pub(super) fn has_versions(&self, mut versions: Vec<KeyVersion>) -> bool {
        versions.sort_unstable();
        self.versions == versions
    }

    /// Returns true if a key of this ring is not in `other`.
    pub(super) fn has_key_missing_in(&self, other: &Self) -> bool {
        self.keys.keys().any(|kid| !other.keys.contains_key(kid))
    }

    /// Returns the public keys and their etag.
    pub(super) fn published(&self) -> (&[PublicKey], &str) {
        (&self.published, &self.etag)
    }
}

/// Decodes a stored key. Returns `None` if it is corrupt.
fn decode(row: &StoredKey, vault: &Vault) -> Option<RingKey> {
    let alg = Alg::from_name(&row.alg)?;
    // A retired key does not sign, so its private part is needed only for HS256, which verifies with it.
    let private = (row.status != KeyStatus::Retired || alg == Alg::Hs256)
        .then(|| vault.open(&row.kid, &row.sealed_private_key).ok())
        .flatten();
    let decoding_key = algorithms::decoding_key(alg, &row.public_key, private.as_deref());
    if decoding_key.is_none() && (alg != Alg::Hs256 || private.is_some()) {
        return None;
    }
    let encoding_key = private.and_then(|private| algorithms::encoding_key(alg, &private));
    Some(RingKey { kid: row.kid.clone(), alg, decoding_key, encoding_key })
}
