//! Creates forged tokens, signed with the server's own key or an attacker's.

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

use crate::harness::{TestApp, rows};

/// The DER prefix of a P-256 public key (RFC 5480). The point follows it.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A signing key, and the header and claims of a valid token.
pub(super) struct Forge {
    pkcs8: Vec<u8>,
    header: Value,
    claims: Value,
}

/// Encodes one part of a token.
pub(super) fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes one part of a token.
pub(super) fn read(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

impl Forge {
    /// Creates a forge with the server's signing key, decrypted with the server's master secret.
    pub(super) async fn new(app: &TestApp, token: &str) -> Self {
        let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
        let vault = Vault::new(&secret.derive(Purpose::KeyRing));
        let key = rows::active_key(app).await;
        let pkcs8 = vault.open(&key.kid, &key.sealed_private_key).unwrap();
        Self { pkcs8, header: read(token, 0), claims: read(token, 1) }
    }

    /// Returns a forge with a new key, which the server does not know.
    pub(super) fn attacker(&self) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.unwrap().as_ref().to_vec();
        Self { pkcs8, header: self.header.clone(), claims: self.claims.clone() }
    }

    fn pair(&self, algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).unwrap()
    }

    /// Returns the uncompressed point of the public key.
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

    /// Returns a token with this header and payload, signed.
    pub(super) fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let signing_input = format!("{}.{}", part(header), part(payload));
        let signature = self
            .pair(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .sign(&SystemRandom::new(), signing_input.as_bytes())
            .unwrap();
        format!("{signing_input}.{}", part(signature))
    }

    /// Returns a valid token.
    pub(super) fn valid(&self) -> String {
        self.with_header(&self.header())
    }

    /// Returns a token with the valid claims and another header, signed.
    pub(super) fn with_header(&self, header: &Value) -> String {
        self.sign(header.to_string(), self.claims.to_string())
    }

    /// Returns a token with the valid header and other claims, signed.
    pub(super) fn with_claims(&self, claims: &Value) -> String {
        self.sign(self.header.to_string(), claims.to_string())
    }

    /// Returns the valid token with one header field replaced or removed, signed.
    pub(super) fn with_header_field(&self, name: &str, value: Option<Value>) -> String {
        self.with_header(&with_field(self.header(), name, value))
    }

    /// Returns the valid token with one claim replaced or removed, signed.
    pub(super) fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        self.with_claims(&with_field(self.claims(), name, value))
    }

    /// Returns the signing input of the valid token with one header field replaced or removed.
    pub(super) fn unsigned(&self, name: &str, value: Option<Value>) -> String {
        format!(
            "{}.{}",
            part(with_field(self.header(), name, value).to_string()),
            part(self.claims.to_string())
        )
    }

    /// Returns the valid token with another signature.
    pub(super) fn signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.unsigned("kid", Some(json!(self.kid()))), part(signature))
    }

    /// Returns the valid token with its signature in DER (RFC 3279), the format of most tools.
    pub(super) fn signed_in_der(&self) -> String {
        let signing_input = self.unsigned("kid", Some(json!(self.kid())));
        let pair = self.pair(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let signature = pair.sign(&SystemRandom::new(), signing_input.as_bytes()).unwrap();
        format!("{signing_input}.{}", part(signature))
    }

    /// Returns a token with an HMAC under this key.
    pub(super) fn hmac(&self, name: &str, algorithm: hmac::Algorithm, key: &[u8]) -> String {
        let signing_input = self.unsigned("alg", Some(json!(name)));
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), signing_input.as_bytes());
        format!("{signing_input}.{}", part(tag))
    }
}

fn with_field(mut object: Value, name: &str, value: Option<Value>) -> Value {
    let fields = object.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    object
}
