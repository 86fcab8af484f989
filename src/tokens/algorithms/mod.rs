//! The signature algorithms. This module generates, encodes, decodes and publishes keys.
//!
//! A key has exactly one algorithm. The id of a key (`kid`) is the thumbprint of its public part, or random
//! for HS256. The `alg` of a token must equal the algorithm of the key; the server never selects an algorithm
//! by `alg` (RFC 8725 §3.1).

#[cfg(test)]
mod vectors;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::TokensError;
use crate::secrets::random_bytes;

/// An algorithm that signs access tokens (RFC 7518 §3, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alg {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with 2048 bits.
    Rs256,
    /// HMAC with SHA-256. Only this server can verify the tokens, and the key is never published.
    Hs256,
}

impl Alg {
    /// All algorithms.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Hs256];

    /// Returns the name in tokens and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    pub(super) const fn jose(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
            Self::Rs256 => Algorithm::RS256,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

/// A newly generated key.
pub(super) struct FreshKey {
    /// 43 characters of base64url: the thumbprint of the public key (RFC 7638), or random bytes for HS256.
    pub(super) kid: String,
    /// The public key, in the format of [`decoding_key`]. Empty for HS256.
    pub(super) public: Vec<u8>,
    /// The private key in PKCS #8, or the secret itself for HS256.
    pub(super) private: Vec<u8>,
}

/// Generates a key. Takes some tenths of a second for RS256.
pub(super) fn generate(alg: Alg) -> Result<FreshKey, TokensError> {
    let failed = |error: &dyn std::fmt::Display| TokensError::Signing(error.to_string());
    let random = SystemRandom::new();
    let (private, public) = match alg {
        Alg::Es256 => {
            let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(|e| failed(&e))?;
            let pair = EcdsaKeyPair::from_pkcs8(curve, pkcs8.as_ref()).map_err(|e| failed(&e))?;
            (pkcs8.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
        Alg::EdDsa => {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&random).map_err(|e| failed(&e))?;
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|e| failed(&e))?;
            (pkcs8.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
        Alg::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|e| failed(&e))?;
            let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|e| failed(&e))?;
            (pkcs8.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
        }
        Alg::Hs256 => {
            let kid = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
            return Ok(FreshKey { kid, public: Vec::new(), private: random_bytes::<32>().to_vec() });
        }
    };
    let key = decoding_key(alg, &public, None).ok_or_else(|| failed(&"failed to decode the new key"))?;
    let kid = thumbprint(alg, &key).map_err(|e| failed(&e))?;
    Ok(FreshKey { kid, public, private })
}

/// Returns the thumbprint of a public key (RFC 7638): 43 characters.
pub(super) fn thumbprint(alg: Alg, key: &DecodingKey) -> jsonwebtoken::errors::Result<String> {
    Jwk::from_decoding_key(key, Some(alg.jose()))?.thumbprint(ThumbprintHash::SHA256)
}

/// Returns the key that verifies signatures. `public` is an uncompressed point for ES256 (SEC 1 §2.3.3), 32
/// bytes for `EdDSA` (RFC 8032), or an `RSAPublicKey` in DER for RS256 (RFC 8017). HS256 uses `private`
/// instead. Returns `None` if the key has a wrong format. The format of a key for RS256 is not checked.
pub(super) fn decoding_key(alg: Alg, public: &[u8], private: Option<&[u8]>) -> Option<DecodingKey> {
    match alg {
        Alg::Es256 => {
            let (4, point) = public.split_first()? else { return None };
            let (x, y) = point.split_at_checked(32)?;
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            DecodingKey::from_ec_components(&x, &y).ok()
        }
        Alg::EdDsa => (public.len() == 32).then(|| DecodingKey::from_ed_der(public)),
        Alg::Rs256 => Some(DecodingKey::from_rsa_der(public)),
        // Anyone could forge tokens under an empty secret.
        Alg::Hs256 => private.filter(|secret| secret.len() >= 32).map(DecodingKey::from_secret),
    }
}

/// Returns the key that signs. Returns `None` for a key for RS256 that can't be parsed, and for a secret for
/// HS256 that is too short. Other keys are not checked.
pub(super) fn encoding_key(alg: Alg, private: &[u8]) -> Option<EncodingKey> {
    match alg {
        Alg::Es256 => Some(EncodingKey::from_ec_der(private)),
        Alg::EdDsa => Some(EncodingKey::from_ed_der(private)),
        Alg::Rs256 => {
            // jsonwebtoken parses an RSA key in PKCS #8 only from PEM, not from DER.
            let body = STANDARD.encode(private);
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
            EncodingKey::from_rsa_pem(pem.as_bytes()).ok()
        }
        Alg::Hs256 => (private.len() >= 32).then(|| EncodingKey::from_secret(private)),
    }
}

/// A public key for other services (RFC 7517). The type can't hold the private part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The id of the key.
    pub kid: String,
    /// The algorithm of the key.
    pub alg: Alg,
    /// The parameters of the key.
    pub parameters: KeyParameters,
}

/// The parameters of a public key, each in base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyParameters {
    /// A key on P-256 (RFC 7518 §6.2).
    Ec {
        /// The x coordinate.
        x: String,
        /// The y coordinate.
        y: String,
    },
    /// A key on Ed25519 (RFC 8037 §2).
    Ed {
        /// The public key.
        x: String,
    },
    /// An RSA key (RFC 7518 §6.3).
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
}

/// Returns the public form of a key, or `None` for HS256.
pub(super) fn to_public_key(kid: &str, alg: Alg, key: &DecodingKey) -> Option<PublicKey> {
    if alg == Alg::Hs256 {
        return None;
    }
    let parameters = match Jwk::from_decoding_key(key, Some(alg.jose())).ok()?.algorithm {
        AlgorithmParameters::EllipticCurve(point) => KeyParameters::Ec { x: point.x, y: point.y },
        AlgorithmParameters::OctetKeyPair(key) => KeyParameters::Ed { x: key.x },
        AlgorithmParameters::RSA(key) => KeyParameters::Rsa { n: key.n, e: key.e },
        _ => return None,
    };
    Some(PublicKey { kid: kid.to_owned(), alg, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_algorithm_verifies_only_its_own_signatures() {
        for alg in Alg::ALL {
            let [one, two] = [generate(alg).unwrap(), generate(alg).unwrap()];
            assert_ne!(one.kid, two.kid);
            assert_eq!(one.kid.len(), 43);
            let secret = (alg == Alg::Hs256).then_some(one.private.as_slice());
            let key = decoding_key(alg, &one.public, secret).unwrap();
            let sign = |private: &[u8]| {
                jsonwebtoken::crypto::sign(b"payload", &encoding_key(alg, private).unwrap(), alg.jose())
                    .unwrap()
            };
            let verify = |signature: &str| {
                jsonwebtoken::crypto::verify(signature, b"payload", &key, alg.jose()).unwrap()
            };
            assert!(verify(&sign(&one.private)), "{alg:?}");
            assert!(!verify(&sign(&two.private)), "{alg:?}");
            assert_eq!(to_public_key(&one.kid, alg, &key).is_none(), alg == Alg::Hs256);
        }
    }

    #[test]
    fn keys_and_secrets_of_a_wrong_length_are_rejected() {
        for alg in [Alg::Es256, Alg::EdDsa] {
            assert!(decoding_key(alg, b"", None).is_none());
            assert!(decoding_key(alg, &[4; 31], None).is_none());
        }
        assert!(decoding_key(Alg::Hs256, b"", None).is_none());
        assert!(decoding_key(Alg::Hs256, b"", Some(&[7; 31])).is_none());
        assert!(encoding_key(Alg::Hs256, b"").is_none());
    }
}
