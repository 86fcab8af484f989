//! An authenticator app, which computes codes with a different implementation than the server.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Client, PASSWORD, TestApp};

/// An authenticator app with one secret.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator(Vec<u8>);

impl Authenticator {
    /// Returns an app with the Base32 secret of an enrolment.
    pub(crate) fn new(enrolment: &Value) -> Self {
        let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for character in enrolment["secret"].as_str().unwrap().bytes() {
            let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|letter| *letter == character);
            bits = bits << 5 | u32::try_from(value.unwrap()).unwrap();
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
            }
        }
        Self(bytes)
    }

    /// Returns the secret.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.0
    }

    /// Returns the code that the app shows at `time` (RFC 6238).
    pub(crate) fn code_at(&self, time: DateTime<Utc>) -> String {
        let step = (time.timestamp() / 30).to_be_bytes();
        let tag = sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0), &step);
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let word = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", word % 1_000_000)
    }
}

/// A user with an enrolled authenticator app.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    /// The session in which the app was enrolled.
    pub(crate) client: Client,
    pub(crate) authenticator: Authenticator,
    pub(crate) recovery_codes: Vec<String>,
}

/// Begins and confirms the enrolment of an authenticator app. The client must have authenticated recently.
/// `time` is the time of the server.
pub(crate) async fn enrol(client: &Client, time: DateTime<Utc>) -> Enrolled {
    let enrolment = client.post("/api/v1/me/totp").await.expect(200).json();
    let authenticator = Authenticator::new(&enrolment);
    let body = json!({ "code": authenticator.code_at(time) });
    let confirmed = client.post("/api/v1/me/totp/confirm").json(&body).await.expect(200).json();
    let codes = confirmed["recovery_codes"].as_array().unwrap().iter();
    let recovery_codes = codes.map(|code| code.as_str().unwrap().to_owned()).collect();
    Enrolled { client: client.clone(), authenticator, recovery_codes }
}

/// Logs in with the password, and returns the `mfa_token`.
pub(crate) async fn mfa_token(client: &Client, name: &str) -> String {
    let body = json!({ "identifier": name, "password": PASSWORD });
    let reply = client.post("/api/v1/auth/login").json(&body).await.expect(401).problem("mfa_required");
    reply.json()["mfa_token"].as_str().unwrap().to_owned()
}

impl TestApp {
    /// Creates an account and enrols an authenticator app for it.
    pub(crate) async fn sign_up_with_totp(&self, name: &str) -> Enrolled {
        enrol(&self.sign_up(name).await, self.clock.now()).await
    }
}
