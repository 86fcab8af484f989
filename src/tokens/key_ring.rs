//! The key ring at one moment: public keys in the clear, private ones decrypted in memory only.
//!
//! A ring never changes; when the database's has changed, another takes its place. A private key that
//! was decrypted once is carried over: while the keys are encrypted anew under another master secret,
//! a server that knows only the former one goes on signing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithms::{self, Alg, PublicKey};
use super::store::{KeyVersion, Status, StoredKey};
use crate::secrets::{Vault, sha256};

/// The keys that verify, by `kid`, and the one that signs.
pub(super) struct KeyRing {
    keys: HashMap<String, Arc<Key>>,
    active: Option<Arc<Key>>,
    published: Vec<PublicKey>,
    etag: String,
    /// What was read, to see whether it has changed.
    marks: Vec<KeyVersion>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// One key.
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) alg: Alg,
    /// Absent if it takes the private key, and that can't be decrypted.
    pub(super) verifying: Option<DecodingKey>,
    signing: Option<EncodingKey>,
}

impl KeyRing {
    /// From the rows; `before` is the ring whose place it takes.
    pub(super) fn assemble(stored: &[StoredKey], vault: &Vault, before: Option<&Self>) -> Self {
        let mut ring = Self {
            keys: HashMap::new(),
            active: None,
            published: Vec::new(),
            etag: String::new(),
            marks: stored.iter().map(StoredKey::key_version).collect(),
        };
        ring.marks.sort_unstable();
        for row in stored {
            let known = before.and_then(|ring| ring.keys.get(&row.kid));
            // Without its private key it may be one that could not be decrypted then.
            let known = known.filter(|key| key.signing.is_some() || row.status == Status::Retired);
            let Some(key) = known.map(Arc::clone).or_else(|| read(row, vault).map(Arc::new)) else {
                tracing::error!(kid = row.kid, "a signing key in the database is damaged and left out");
                continue;
            };
            if row.status == Status::Active {
                if key.signing.is_none() {
                    // Tokens that are out still verify; nobody is logged out by a mistake in deployment.
                    tracing::error!(
                        kid = row.kid,
                        "no tokens can be minted: the signing key was encrypted under another master secret"
                    );
                }
                ring.active = Some(Arc::clone(&key));
            }
            ring.keys.insert(row.kid.clone(), key);
        }
        ring.publish(stored);
        ring
    }

    /// Alike on every replica: in the order in which the keys were made.
    fn publish(&mut self, stored: &[StoredKey]) {
        let mut order: Vec<&StoredKey> = stored.iter().collect();
        order.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
        let key = |row: &StoredKey| {
            let key = self.keys.get(&row.kid)?;
            algorithms::shown(&key.kid, key.alg, key.verifying.as_ref()?)
        };
        self.published = order.into_iter().filter_map(key).collect();
        // The names are thumbprints: they stand for all the rest.
        let mut said = env!("CARGO_PKG_VERSION").to_owned();
        for key in &self.published {
            said.push(' ');
            said.push_str(&key.kid);
        }
        let digest = sha256(said.as_bytes());
        self.etag = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or(&digest));
    }

    /// The key that signs, and how; `None` if it can't be decrypted.
    pub(super) fn signing(&self) -> Option<(&Key, &EncodingKey)> {
        let key = self.active.as_deref()?;
        Some((key, key.signing.as_ref()?))
    }

    pub(super) fn key(&self, kid: &str) -> Option<Arc<Key>> {
        self.keys.get(kid).map(Arc::clone)
    }

    /// Whether these are its rows, in any order.
    pub(super) fn is_of(&self, mut marks: Vec<KeyVersion>) -> bool {
        marks.sort_unstable();
        self.marks == marks
    }

    /// Whether `other` lacks a key that is here.
    pub(super) fn loses_by(&self, other: &Self) -> bool {
        self.keys.keys().any(|kid| !other.keys.contains_key(kid))
    }

    pub(super) fn published(&self) -> (&[PublicKey], &str) {
        (&self.published, &self.etag)
    }
}

fn read(row: &StoredKey, vault: &Vault) -> Option<Key> {
    let alg = Alg::named(&row.alg)?;
    // A retired key signs nothing any more.
    let private = (row.status != Status::Retired || alg == Alg::Hs256)
        .then(|| vault.open(&row.kid, &row.sealed_private_key).ok())
        .flatten();
    let verifying = algorithms::verifying(alg, &row.public_key, private.as_deref());
    if verifying.is_none() && (alg != Alg::Hs256 || private.is_some()) {
        return None;
    }
    let signing = private.and_then(|private| algorithms::signing(alg, &private));
    Some(Key { kid: row.kid.clone(), alg, verifying, signing })
}
