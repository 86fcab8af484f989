//! Keys of every algorithm, the server's own or an attacker's.

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

use crate::harness::TestApp;
use crate::stored;

pub(super) fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn read(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A key that signs.
pub(super) struct Signer {
    alg: SigningAlg,
    private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

impl Signer {
    /// The one that the server signs with now, opened with its secret.
    pub(super) async fn of(app: &TestApp) -> Self {
        let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
        let vault = Vault::of(&secret, Purpose::KeyRing);
        let key = stored::active_key(app).await;
        let private = vault.open(&key.kid, &key.sealed_private_key).unwrap();
        Self { alg: app.settings().signing_alg, private, public: key.public_key }
    }

    /// One of the attacker's.
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

    fn sign(&self, said: &str) -> Vec<u8> {
        let (said, random) = (said.as_bytes(), SystemRandom::new());
        match self.alg {
            SigningAlg::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.private).unwrap();
                pair.sign(&random, said).unwrap().as_ref().to_vec()
            }
            SigningAlg::EdDsa => {
                Ed25519KeyPair::from_pkcs8(&self.private).unwrap().sign(said).as_ref().to_vec()
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(&self.private).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, said, &mut signature).unwrap();
                signature
            }
            SigningAlg::Hs256 => tag(hmac::HMAC_SHA256, &self.private, said),
        }
    }

    /// A token that says this.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let said = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
        format!("{said}.{}", part(self.sign(&said)))
    }

    /// The public key as a JWK.
    pub(super) fn jwk(&self) -> Value {
        match self.alg {
            SigningAlg::Es256 => json!({
                "kty": "EC", "crv": "P-256", "x": part(&self.public[1..33]), "y": part(&self.public[33..])
            }),
            SigningAlg::EdDsa => json!({ "kty": "OKP", "crv": "Ed25519", "x": part(&self.public) }),
            // The modulus stands behind the heads of the sequence and of its first number.
            SigningAlg::Rs256 => json!({ "kty": "RSA", "n": part(&self.public[9..265]), "e": "AQAB" }),
            SigningAlg::Hs256 => json!({ "kty": "oct", "k": part(&self.private) }),
        }
    }
}

pub(super) fn tag(algorithm: hmac::Algorithm, key: &[u8], said: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), said).as_ref().to_vec()
}
