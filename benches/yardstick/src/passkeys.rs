//! Devices that log in with a passkey (ES256) repeatedly, each on its own connection. A login consists of two
//! requests: the first gets the challenge, and the second sends the signature.

use std::fs;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::connection::{Connection, Error, summary, text};

/// The flags UP and UV of authenticator data: the user was present and was verified.
const VERIFIED: u8 = 0b101;
/// The flag AT of authenticator data: the data contains a credential.
const WITH_CREDENTIAL: u8 = 0b100_0000;

struct Device {
    key: EcdsaKeyPair,
    id: String,
    user_handle: String,
    origin: String,
    rp_id: String,
}

/// Registers a passkey for each access token in `file`, and logs in with all passkeys. Returns a line of JSON:
/// logins per second and their p99 latency.
///
/// # Errors
///
/// If the server rejects a passkey.
pub(crate) async fn measure(port: u16, origin: &str, file: &str, seconds: u64) -> Result<String, Error> {
    let mut devices = Vec::new();
    for token in fs::read_to_string(file)?.lines() {
        let mut connection = Connection::open(port).await?;
        let device = Device::register(&mut connection, origin, token).await?;
        devices.push((connection, device));
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let clients: Vec<_> = devices
        .into_iter()
        .map(|(connection, device)| tokio::spawn(client(connection, device, until)))
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    Ok(summary(took, seconds))
}

async fn client(mut connection: Connection, device: Device, until: Instant) -> Result<Vec<Duration>, Error> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let started = Instant::now();
        let begun = connection.post("/api/v1/auth/passkeys/options", None, &json!({})).await?;
        let credential = device.sign(text(&begun, "/options/challenge")?)?;
        let body = json!({ "challenge_id": text(&begun, "/challenge_id")?, "credential": credential });
        connection.post("/api/v1/auth/passkeys/login", None, &body).await?;
        took.push(started.elapsed());
    }
    Ok(took)
}

impl Device {
    async fn register(connection: &mut Connection, origin: &str, token: &str) -> Result<Self, Error> {
        let begun = connection.post("/api/v1/me/passkeys/options", Some(token), &json!({})).await?;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())?;
        let user_handle = text(&begun, "/options/user/id")?.to_owned();
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id)?;
        let device = Self {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref())?,
            id: URL_SAFE_NO_PAD.encode(id),
            user_handle,
            origin: origin.to_owned(),
            rp_id: text(&begun, "/options/rp/id")?.to_owned(),
        };
        let credential = device.attest(text(&begun, "/options/challenge")?)?;
        let body = json!({ "challenge_id": text(&begun, "/challenge_id")?, "credential": credential });
        connection.post("/api/v1/me/passkeys", Some(token), &body).await?;
        Ok(device)
    }

    /// Returns a `RegistrationResponseJSON`, without attestation.
    fn attest(&self, challenge: &str) -> Result<Value, Error> {
        let id = URL_SAFE_NO_PAD.decode(&self.id)?;
        let point = self.key.public_key().as_ref();
        let (x, y) = point.split_at_checked(33).ok_or("not a point")?;
        let x = x.strip_prefix(&[4]).ok_or("not an uncompressed point")?;
        let key = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32], x, &[0x22, 0x58, 32], y].concat();
        let length = u16::try_from(id.len())?.to_be_bytes();
        let credential = [&[0; 16], &length[..], &id, &key].concat();
        let data = [self.authenticator_data(VERIFIED | WITH_CREDENTIAL), credential].concat();
        let length = u16::try_from(data.len())?.to_be_bytes();
        let object = [b"\xa3cfmtdnonegattStmt\xa0hauthData\x59".as_slice(), &length, &data].concat();
        let client_data = self.client_data("webauthn.create", challenge);
        Ok(self.credential(&json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
            "attestationObject": URL_SAFE_NO_PAD.encode(object),
        })))
    }

    /// Returns an `AuthenticationResponseJSON`.
    fn sign(&self, challenge: &str) -> Result<Value, Error> {
        let client_data = self.client_data("webauthn.get", challenge);
        let data = self.authenticator_data(VERIFIED);
        let message = [data.as_slice(), digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message)?;
        Ok(self.credential(&json!({
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "userHandle": self.user_handle,
        })))
    }

    fn credential(&self, response: &Value) -> Value {
        json!({
            "id": self.id, "rawId": self.id, "type": "public-key", "clientExtensionResults": {}, "response": response,
        })
    }

    fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let data =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    /// Returns authenticator data with the counter 0, like that of synced passkeys.
    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        [digest(&SHA256, self.rp_id.as_bytes()).as_ref(), &[flags], &[0; 4]].concat()
    }
}
