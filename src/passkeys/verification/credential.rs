//! The JSON of a credential, as browsers and operating systems return it: `RegistrationResponseJSON` and
//! `AuthenticationResponseJSON` (Web Authentication §5.1).
//!
//! Unknown fields are ignored, because each level of the specification adds some fields, and a login must not
//! fail after the update of a browser.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// base64url with optional padding: some apps add the padding that the specification omits.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The value of `type`. The specification defines no other value.
const TYPE: &str = "public-key";
/// The maximum number of stored transports, the ways in which the client can reach the authenticator.
const TRANSPORTS_MAX: usize = 8;
/// The maximum length of a transport, in characters.
const TRANSPORT_LENGTH_MAX: usize = 20;

/// The response of an authenticator that has created a passkey.
#[derive(Debug, Clone)]
pub struct Attestation {
    pub(in crate::passkeys) id: Vec<u8>,
    pub(super) client_data: Vec<u8>,
    pub(super) object: Vec<u8>,
    pub(in crate::passkeys) transports: Vec<String>,
}

/// The response of an authenticator that has used a passkey.
#[derive(Debug, Clone)]
pub struct Assertion {
    pub(in crate::passkeys) id: Vec<u8>,
    pub(super) client_data: Vec<u8>,
    pub(super) authenticator_data: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(in crate::passkeys) user_handle: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64URL.decode(text).map(Self).map_err(|_| D::Error::custom("not base64url"))
    }
}

#[derive(Debug, Deserialize)]
struct Credential<R> {
    id: Bytes,
    #[serde(rename = "rawId")]
    raw_id: Bytes,
    #[serde(rename = "type")]
    kind: String,
    response: R,
}

#[derive(Debug, Deserialize)]
struct AttestationResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: Bytes,
    #[serde(rename = "attestationObject")]
    object: Bytes,
    transports: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct AssertionResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: Bytes,
    #[serde(rename = "authenticatorData")]
    authenticator_data: Bytes,
    signature: Bytes,
    #[serde(rename = "userHandle")]
    user_handle: Option<Bytes>,
}

/// Returns the credential id and the response, if `type`, `id` and `rawId` are valid.
fn open<'a, R: Deserialize<'a>>(json: &'a Value) -> Option<(Vec<u8>, R)> {
    let credential = Credential::<R>::deserialize(json).ok()?;
    let is_valid = credential.kind == TYPE && credential.id.0 == credential.raw_id.0;
    is_valid.then_some((credential.raw_id.0, credential.response))
}

impl Attestation {
    /// Parses a `RegistrationResponseJSON`.
    pub fn parse(json: &Value) -> Option<Self> {
        let (id, response) = open::<AttestationResponse>(json)?;
        let is_transport = |name: &String| {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            !name.is_empty() && name.len() <= TRANSPORT_LENGTH_MAX && is_plain
        };
        let transports = response.transports.unwrap_or_default();
        let transports = transports.into_iter().filter(is_transport).take(TRANSPORTS_MAX).collect();
        Some(Self { id, client_data: response.client_data.0, object: response.object.0, transports })
    }
}

impl Assertion {
    /// Parses an `AuthenticationResponseJSON`.
    pub fn parse(json: &Value) -> Option<Self> {
        let (id, response) = open::<AssertionResponse>(json)?;
        Some(Self {
            id,
            client_data: response.client_data.0,
            authenticator_data: response.authenticator_data.0,
            signature: response.signature.0,
            user_handle: response.user_handle.map(|handle| handle.0),
        })
    }
}
