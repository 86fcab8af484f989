//! Signing keys of every algorithm, of the server or of an attacker.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tripgate::config::SigningAlg;
use tripgate::secrets::{MasterSecret, Purpose, Vault};

use crate::harness::{TestApp, rows};

/// Encodes one part of a token.
pub(super) fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes the header (0) or the claims (1) of a token.
pub(super) fn read(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A signing key.
pub(super) struct Signer {
    alg: SigningAlg,
    private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

impl Signer {
    /// Decrypts the active key of the server.
    pub(super) async fn active_key(app: &TestApp) -> Self {
        let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
        let vault = Vault::from_secret(&secret, Purpose::KeyRing);
        let key = rows::active_key(app).await;
        let private = vault.open(&key.kid, &key.sealed_private_key).unwrap();
        Self { alg: app.settings().signing_alg, private, public: key.public_key }
    }

    /// Generates a key of the attacker.
    pub(super) fn attacker(alg: SigningAlg) -> Self {
        let random = SystemRandom::new();
        let (private, public) = match alg {
            SigningAlg::Es256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
                (pkcs8.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
            SigningAlg::EdDsa => {
                let pair = Ed25519KeyPair::generate().unwrap();
                (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
                (pair.as_der().unwrap().as_ref().to_vec(), pair.public_key().as_ref().to_vec())
            }
            SigningAlg::Hs256 => (vec![7; 32], Vec::new()),
        };
        Self { alg, private, public }
    }

    fn sign(&self, input: &str) -> Vec<u8> {
        let (input, random) = (input.as_bytes(), SystemRandom::new());
        match self.alg {
            SigningAlg::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.private).unwrap();
                pair.sign(&random, input).unwrap().as_ref().to_vec()
            }
            SigningAlg::EdDsa => {
                Ed25519KeyPair::from_pkcs8(&self.private).unwrap().sign(input).as_ref().to_vec()
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(&self.private).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).unwrap();
                signature
            }
            SigningAlg::Hs256 => tag(hmac::HMAC_SHA256, &self.private, input),
        }
    }

    /// Signs a token with this header and these claims.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        format!("{input}.{}", part(self.sign(&input)))
    }

    /// Returns the public key as a JWK.
    pub(super) fn jwk(&self) -> Value {
        match self.alg {
            SigningAlg::Es256 => json!({
                "kty": "EC", "crv": "P-256", "x": part(&self.public[1..33]), "y": part(&self.public[33..])
            }),
            SigningAlg::EdDsa => json!({ "kty": "OKP", "crv": "Ed25519", "x": part(&self.public) }),
            // In DER, the modulus follows the headers of the sequence and of its first integer.
            SigningAlg::Rs256 => json!({ "kty": "RSA", "n": part(&self.public[9..265]), "e": "AQAB" }),
            SigningAlg::Hs256 => json!({ "kty": "oct", "k": part(&self.private) }),
        }
    }
}

/// Computes an HMAC.
pub(super) fn tag(algorithm: hmac::Algorithm, key: &[u8], input: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), input).as_ref().to_vec()
}
