//! Makes the tokens that the server must refuse, under its own key or an attacker's.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tripgate::secrets::{MasterSecret, Purpose, Vault};

use crate::harness::TestApp;
use crate::stored;

/// What stands before the point of a P-256 public key in its DER form (RFC 5480).
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key, and a good token to depart from.
pub(super) struct Forge {
    pkcs8: Vec<u8>,
    header: Value,
    claims: Value,
}

/// One part of a token.
pub(super) fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What one part of a token says.
pub(super) fn read(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

impl Forge {
    /// With the key that the server signs with, read from its database and opened with its secret.
    pub(super) async fn of(app: &TestApp, token: &str) -> Self {
        let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
        let vault = Vault::new(&secret.derive(Purpose::KeyRing));
        let key = stored::active_key(app).await;
        let pkcs8 = vault.open(&key.kid, &key.sealed_private_key).unwrap();
        Self { pkcs8, header: read(token, 0), claims: read(token, 1) }
    }

    /// With a key that is nobody's but the attacker's.
    pub(super) fn attacker(&self) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.unwrap().as_ref().to_vec();
        Self { pkcs8, header: self.header.clone(), claims: self.claims.clone() }
    }

    fn pair(&self, algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).unwrap()
    }

    /// The uncompressed point.
    pub(super) fn point(&self) -> Vec<u8> {
        self.pair(&ECDSA_P256_SHA256_FIXED_SIGNING).public_key().as_ref().to_vec()
    }

    pub(super) fn jwk(&self) -> Value {
        let point = self.point();
        json!({ "kty": "EC", "crv": "P-256", "x": part(&point[1..33]), "y": part(&point[33..]) })
    }

    pub(super) fn der(&self) -> Vec<u8> {
        [&SPKI[..], &self.point()].concat()
    }

    pub(super) fn pem(&self) -> String {
        let encoded = STANDARD.encode(self.der());
        let (first, second) = encoded.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
    }

    pub(super) fn kid(&self) -> String {
        self.header["kid"].as_str().unwrap().to_owned()
    }

    pub(super) fn header(&self) -> Value {
        self.header.clone()
    }

    pub(super) fn claims(&self) -> Value {
        self.claims.clone()
    }

    /// Header and payload as they stand, signed.
    pub(super) fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let said = format!("{}.{}", part(header), part(payload));
        let signature =
            self.pair(&ECDSA_P256_SHA256_FIXED_SIGNING).sign(&SystemRandom::new(), said.as_bytes()).unwrap();
        format!("{said}.{}", part(signature))
    }

    /// A good token.
    pub(super) fn good(&self) -> String {
        self.with_header(&self.header())
    }

    /// The good claims behind another header.
    pub(super) fn with_header(&self, header: &Value) -> String {
        self.sign(header.to_string(), self.claims.to_string())
    }

    /// The good header before other claims.
    pub(super) fn with_claims(&self, claims: &Value) -> String {
        self.sign(self.header.to_string(), claims.to_string())
    }

    /// The good token with one member of its header set to something else, or none.
    pub(super) fn header_member(&self, name: &str, value: Option<Value>) -> String {
        self.with_header(&member(self.header(), name, value))
    }

    /// The good token with one claim set to something else, or none.
    pub(super) fn claim(&self, name: &str, value: Option<Value>) -> String {
        self.with_claims(&member(self.claims(), name, value))
    }

    /// Header and payload of the good token, the header changed, without a signature.
    pub(super) fn unsigned(&self, name: &str, value: Option<Value>) -> String {
        format!("{}.{}", part(member(self.header(), name, value).to_string()), part(self.claims.to_string()))
    }

    /// The good token with another signature.
    pub(super) fn signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.unsigned("kid", Some(json!(self.kid()))), part(signature))
    }

    /// The good token with its signature in DER (RFC 3279), as most tools write it.
    pub(super) fn signed_in_der(&self) -> String {
        let said = self.unsigned("kid", Some(json!(self.kid())));
        let pair = self.pair(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let signature = pair.sign(&SystemRandom::new(), said.as_bytes()).unwrap();
        format!("{said}.{}", part(signature))
    }

    /// A token under a shared key of these bytes.
    pub(super) fn hmac(&self, name: &str, algorithm: hmac::Algorithm, key: &[u8]) -> String {
        let said = self.unsigned("alg", Some(json!(name)));
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), said.as_bytes());
        format!("{said}.{}", part(tag))
    }
}

fn member(mut object: Value, name: &str, value: Option<Value>) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    object
}
