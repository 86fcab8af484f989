//! A device with a passkey. It signs as an authenticator does (Web Authentication §6), with a key of one of
//! three algorithms.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, PUBLIC_URL};

/// The flags of a device that has verified the user: UP and UV.
const VERIFIED: u8 = 0b101;
/// The flag of authenticator data that contains a credential: AT.
const WITH_CREDENTIAL: u8 = 0b100_0000;

pub(crate) fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

#[derive(Debug)]
enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl Key {
    fn generate(algorithm: i64) -> Self {
        let random = SystemRandom::new();
        match algorithm {
            -7 => {
                let curve = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
                Self::Es256(EcdsaKeyPair::from_pkcs8(curve, pkcs8.as_ref()).unwrap())
            }
            -8 => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Self::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
            _ => Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        }
    }

    /// Returns the `COSE_Key`.
    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], x, &[0x22, 0x58, 32], y].concat()
            }
            Self::EdDsa(pair) => {
                [&[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32], pair.public_key().as_ref()].concat()
            }
            Self::Rs256(pair) => {
                let n = pair.public_key().modulus().big_endian_without_leading_zero();
                [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59, 1, 0], n, &[0x21, 0x43, 1, 0, 1]].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A device with one passkey. A test may change its fields.
#[derive(Debug)]
pub(crate) struct Device {
    key: Key,
    /// The credential id.
    pub(crate) credential_id: Vec<u8>,
    pub(crate) user_handle: Option<Vec<u8>>,
    pub(crate) origin: String,
    pub(crate) rp_id: String,
    /// The flags of the authenticator data, except for AT.
    pub(crate) flags: u8,
    /// The counter of the next signature. It grows with each signature, unless it is 0.
    pub(crate) sign_count: u32,
    /// The id of the passkey on the server.
    pub(crate) id: String,
}

impl Device {
    /// Creates a device with a new key, for the user and the domain that these registration options name.
    pub(crate) fn new(options: &Value, algorithm: i64) -> Self {
        Self {
            key: Key::generate(algorithm),
            credential_id: Uuid::now_v7().as_bytes().to_vec(),
            user_handle: Some(decode(&options["user"]["id"])),
            origin: PUBLIC_URL.to_owned(),
            rp_id: options["rp"]["id"].as_str().unwrap().to_owned(),
            flags: VERIFIED,
            sign_count: 0,
            id: String::new(),
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({
            "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false,
        })
        .to_string()
        .into_bytes()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        [sha256(self.rp_id.as_bytes()), vec![flags], self.sign_count.to_be_bytes().to_vec()].concat()
    }

    fn credential(&self, response: &Value) -> Value {
        let id = encode(&self.credential_id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {}, "response": response,
        })
    }

    /// Returns a `RegistrationResponseJSON`, without attestation.
    pub(crate) fn attest(&self, options: &Value) -> Value {
        let length = u16::try_from(self.credential_id.len()).unwrap().to_be_bytes();
        let credential = [&[0; 16], &length[..], &self.credential_id, &self.key.cose()].concat();
        let data = [self.authenticator_data(self.flags | WITH_CREDENTIAL), credential].concat();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let object = [b"\xa3cfmtdnonegattStmt\xa0hauthData\x59".as_slice(), &length, &data].concat();
        self.credential(&json!({
            "clientDataJSON": encode(&self.client_data("webauthn.create", options)),
            "attestationObject": encode(&object),
            "transports": ["hybrid", "internal"],
        }))
    }

    /// Returns an `AuthenticationResponseJSON`.
    pub(crate) fn sign(&mut self, options: &Value) -> Value {
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(self.flags);
        if self.sign_count > 0 {
            self.sign_count = self.sign_count.saturating_add(1);
        }
        let signature = self.key.sign(&[data.clone(), sha256(&client_data)].concat());
        let mut response = json!({
            "clientDataJSON": encode(&client_data),
            "authenticatorData": encode(&data),
            "signature": encode(&signature),
        });
        if let Some(handle) = &self.user_handle {
            response["userHandle"] = json!(encode(handle));
        }
        self.credential(&response)
    }

    /// Requests options, and returns the challenge id with the signed response.
    pub(crate) async fn respond(&mut self, client: &Client, path: &str, body: &Value) -> Value {
        let begun = client.post(path).json(body).await.expect(200).json();
        json!({ "challenge_id": begun["challenge_id"], "credential": self.sign(&begun["options"]) })
    }

    /// Returns the body of a login without a password.
    pub(crate) async fn log_in(&mut self, client: &Client) -> Value {
        self.respond(client, "/api/v1/auth/passkeys/options", &json!({})).await
    }
}

/// Begins a registration. Returns the challenge id and the options for the device.
pub(crate) async fn begin_registration(client: &Client) -> (Value, Value) {
    let begun = client.post("/api/v1/me/passkeys/options").await.expect(200).json();
    (begun["challenge_id"].clone(), begun["options"].clone())
}

/// Creates a device and registers its passkey, with a key of this algorithm. The client must have
/// authenticated recently.
pub(crate) async fn register_with(client: &Client, algorithm: i64) -> Device {
    let (challenge, options) = begin_registration(client).await;
    let mut device = Device::new(&options, algorithm);
    let body = json!({ "challenge_id": challenge, "credential": device.attest(&options) });
    let created = client.post("/api/v1/me/passkeys").json(&body).await.expect(201).json();
    created["id"].as_str().unwrap().clone_into(&mut device.id);
    device
}

/// Creates a device and registers its passkey.
pub(crate) async fn register(client: &Client) -> Device {
    register_with(client, -7).await
}
