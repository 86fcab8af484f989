//! The key ring: public keys in the clear, the private key that signs decrypted in memory only.
//!
//! Several replicas may start on an empty database at once: each makes a key, the database keeps the
//! first that comes, and all read what was kept.

use std::collections::HashMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::TokensError;
use super::store::{self, StoredKey};
use crate::clock::Clock;
use crate::db::{Db, StoreError};
use crate::secrets::Vault;

/// The keys that verify, by `kid`, and the one that signs.
pub(super) struct KeyRing {
    verifying: HashMap<String, VerifyingKey>,
    signing: Option<SigningKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("kids", &self.verifying.keys()).finish_non_exhaustive()
    }
}

pub(super) struct VerifyingKey {
    pub(super) alg: Algorithm,
    pub(super) decoding: DecodingKey,
}

pub(super) struct SigningKey {
    pub(super) kid: String,
    pub(super) encoding: EncodingKey,
}

impl KeyRing {
    pub(super) async fn open(db: &Db, clock: &Clock, vault: &Vault) -> Result<Self, TokensError> {
        let mut stored = read(db).await?;
        if !stored.iter().any(|key| key.active) {
            let (key, now) = (generate(vault)?, clock.now());
            let kept: Result<(), StoreError> =
                db.write((key, now), |tx, (key, now)| store::insert_active(tx, key, *now).boxed()).await;
            match kept {
                Ok(()) => tracing::info!("a first signing key was made"),
                // Another replica was faster: its key is the one.
                Err(StoreError::Unique(_)) => {}
                Err(error) => return Err(error.into()),
            }
            stored = read(db).await?;
        }
        Ok(Self::assemble(&stored, vault))
    }

    fn assemble(stored: &[StoredKey], vault: &Vault) -> Self {
        let mut ring = Self { verifying: HashMap::new(), signing: None };
        for key in stored {
            if let Some(verifying) = verifying(key) {
                ring.verifying.insert(key.kid.clone(), verifying);
            } else {
                tracing::error!(kid = key.kid, "a signing key in the database is damaged and left out");
            }
            if key.active {
                match vault.open(&key.kid, &key.sealed_private_key) {
                    Ok(private) => {
                        let encoding = EncodingKey::from_ec_der(&private);
                        ring.signing = Some(SigningKey { kid: key.kid.clone(), encoding });
                    }
                    // Tokens that are out still verify; nobody is logged out by a mistake in deployment.
                    Err(error) => {
                        tracing::error!(kid = key.kid, %error, "no tokens can be minted: the signing key can't be decrypted");
                    }
                }
            }
        }
        ring
    }

    pub(super) fn signing(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    pub(super) fn verifying(&self, kid: &str) -> Option<&VerifyingKey> {
        self.verifying.get(kid)
    }
}

async fn read(db: &Db) -> Result<Vec<StoredKey>, StoreError> {
    db.read((), |tx, ()| store::all(tx).boxed()).await
}

fn verifying(key: &StoredKey) -> Option<VerifyingKey> {
    if key.alg != "ES256" {
        return None;
    }
    let (4, point) = key.public_key.split_first()? else {
        return None;
    };
    let (x, y) = point.split_at_checked(32)?;
    let decoding =
        DecodingKey::from_ec_components(&URL_SAFE_NO_PAD.encode(x), &URL_SAFE_NO_PAD.encode(y)).ok()?;
    Some(VerifyingKey { alg: Algorithm::ES256, decoding })
}

/// A new P-256 key. Its `kid` is its thumbprint (RFC 7638).
fn generate(vault: &Vault) -> Result<StoredKey, TokensError> {
    let failed = |what: &dyn std::fmt::Display| TokensError::Signing(what.to_string());
    let random = SystemRandom::new();
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|e| failed(&e))?;
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).map_err(|e| failed(&e))?;
    let jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(pkcs8.as_ref()), Algorithm::ES256)
        .map_err(|e| failed(&e))?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|e| failed(&e))?;
    let sealed_private_key = vault.seal(&kid, pkcs8.as_ref()).map_err(|e| failed(&e))?;
    Ok(StoredKey {
        kid,
        alg: "ES256".to_owned(),
        active: true,
        public_key: pair.public_key().as_ref().to_vec(),
        sealed_private_key,
    })
}
