//! The bodies of the operations on passkeys. The operations for logging in and for authenticating again use
//! some of these bodies too.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::passkeys::{
    ALGORITHMS, Assertion, CreationOptions, CredentialRef, Passkey, Proof, RequestOptions, TTL,
};
use crate::web::examples;
use crate::web::json::{serialize_instant, serialize_optional_instant};
use crate::web::json_object::JsonObject;
use crate::web::problem::FieldError;

/// The id of the challenge in the examples.
const EXAMPLE_CHALLENGE: Uuid = Uuid::from_u128(0x019c_adb9_5028_7000_b6a4_4f0e_8d21_93c5);
/// The id of the passkey in the examples.
pub(super) const EXAMPLE_ID: Uuid = Uuid::from_u128(0x019c_adb9_a410_7000_9c1e_77d0_35ba_2f48);
/// The name of the passkey in the examples.
pub(super) const EXAMPLE_NAME: &str = "Grace's phone";
/// The credential id in the examples.
const EXAMPLE_CREDENTIAL: &[u8] = b"a passkey of Grace";

/// The options with which a client asks the authenticator to create or to use a passkey.
#[derive(Debug, Object, Serialize)]
pub struct PasskeyOptions {
    /// Id of the challenge. Send it back with the response of the authenticator. Valid once.
    challenge_id: Uuid,
    /// `PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON` of Web Authentication
    /// Level 3. Pass it unchanged to `PublicKeyCredential.parseCreationOptionsFromJSON` or
    /// `parseRequestOptionsFromJSON` in a browser, or to the Credential Manager of Android. On iOS, use the
    /// fields of this object.
    options: JsonObject,
    /// Time when the challenge expires.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
}

/// The response of an authenticator to a challenge.
#[derive(Debug, Object)]
pub struct PasskeyProof {
    /// `challenge_id` of the options.
    challenge_id: Uuid,
    /// `AuthenticationResponseJSON` of Web Authentication Level 3: the result of `toJSON()` in a browser, or of the
    /// Credential Manager of Android. The binary fields are base64url. Unknown fields are ignored.
    credential: JsonObject,
}

/// A passkey of the user.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Passkey")]
pub struct PasskeyBody {
    /// Id of the passkey.
    id: Uuid,
    /// Name that the user chose. `Passkey` if the user chose none.
    name: String,
    /// Time when the passkey was registered.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time when the passkey was last used. Absent if it was never used.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    last_used_at: Option<DateTime<Utc>>,
    /// Whether the passkey is synced or backed up, so that it survives the loss of the device.
    backed_up: bool,
}

impl From<Passkey> for PasskeyBody {
    fn from(passkey: Passkey) -> Self {
        Self {
            id: passkey.id,
            name: passkey.name,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
            backed_up: passkey.is_backed_up,
        }
    }
}

impl Example for PasskeyBody {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: EXAMPLE_NAME.to_owned(),
            created_at: examples::at(0),
            last_used_at: None,
            backed_up: true,
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn descriptors(credentials: &[CredentialRef]) -> Value {
    let descriptor = |credential: &CredentialRef| {
        let mut descriptor = json!({ "type": "public-key", "id": encoded(&credential.id) });
        if let Some(fields) = descriptor.as_object_mut().filter(|_| !credential.transports.is_empty()) {
            fields.insert("transports".to_owned(), json!(credential.transports));
        }
        descriptor
    };
    credentials.iter().map(descriptor).collect()
}

fn creation_json(options: &CreationOptions) -> Value {
    let algorithm = |alg: &i64| json!({ "type": "public-key", "alg": alg });
    json!({
        "rp": { "id": options.rp_id, "name": options.rp_id },
        "user": {
            "id": encoded(options.user.as_bytes()),
            "name": options.name,
            "displayName": options.display_name,
        },
        "challenge": encoded(&options.challenge.value),
        "pubKeyCredParams": ALGORITHMS.iter().map(algorithm).collect::<Value>(),
        "timeout": TTL.num_milliseconds(),
        "excludeCredentials": descriptors(&options.known),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": true,
            "userVerification": "required",
        },
        "attestation": "none",
        "extensions": { "credProps": true },
    })
}

fn request_json(options: &RequestOptions) -> Value {
    json!({
        "challenge": encoded(&options.challenge.value),
        "timeout": TTL.num_milliseconds(),
        "rpId": options.rp_id,
        "allowCredentials": descriptors(&options.allowed),
        "userVerification": "required",
    })
}

/// Converts a value to an object. A value of `json!` with braces is always an object.
fn object(value: Value) -> JsonObject {
    JsonObject::new(value).unwrap_or_else(JsonObject::empty)
}

impl From<CreationOptions> for PasskeyOptions {
    fn from(options: CreationOptions) -> Self {
        Self {
            challenge_id: options.challenge.id,
            expires_at: options.challenge.expires_at,
            options: object(creation_json(&options)),
        }
    }
}

impl From<RequestOptions> for PasskeyOptions {
    fn from(options: RequestOptions) -> Self {
        Self {
            challenge_id: options.challenge.id,
            expires_at: options.challenge.expires_at,
            options: object(request_json(&options)),
        }
    }
}

fn example_challenge() -> crate::passkeys::Challenge {
    crate::passkeys::Challenge {
        id: EXAMPLE_CHALLENGE,
        value: b"a random value of 32 bytes, once".to_vec(),
        expires_at: examples::at(300),
    }
}

fn example_rp_id() -> String {
    "trips.example.org".to_owned()
}

impl Example for PasskeyOptions {
    fn example() -> Self {
        let allowed = vec![CredentialRef {
            id: EXAMPLE_CREDENTIAL.to_vec(),
            transports: vec!["hybrid".to_owned(), "internal".to_owned()],
        }];
        RequestOptions { challenge: example_challenge(), rp_id: example_rp_id(), allowed }.into()
    }
}

/// The options of a login, in which the passkey identifies the user.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct LoginOptions(PasskeyOptions);

impl Example for LoginOptions {
    fn example() -> Self {
        let options =
            RequestOptions { challenge: example_challenge(), rp_id: example_rp_id(), allowed: Vec::new() };
        Self(options.into())
    }
}

/// Options of a registration.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct RegistrationOptions(PasskeyOptions);

impl Example for RegistrationOptions {
    fn example() -> Self {
        let options = CreationOptions {
            challenge: example_challenge(),
            rp_id: example_rp_id(),
            user: examples::USER,
            name: examples::EMAIL.to_owned(),
            display_name: examples::NAME.to_owned(),
            known: Vec::new(),
        };
        Self(options.into())
    }
}

/// Returns the JSON of an example credential whose field `response` has the given value.
fn example_credential(response: &Value) -> JsonObject {
    object(json!({
        "id": encoded(EXAMPLE_CREDENTIAL),
        "rawId": encoded(EXAMPLE_CREDENTIAL),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": response,
    }))
}

fn example_client_data(kind: &str) -> String {
    encoded(
        json!({
            "type": kind,
            "challenge": encoded(&example_challenge().value),
            "origin": examples::SERVER,
            "crossOrigin": false,
        })
        .to_string()
        .as_bytes(),
    )
}

/// Returns the challenge and the credential of a registration in the examples.
pub(super) fn example_registration() -> (Uuid, JsonObject) {
    let credential = example_credential(&json!({
        "clientDataJSON": example_client_data("webauthn.create"),
        "attestationObject": encoded(b"CBOR of the authenticator"),
        "transports": ["hybrid", "internal"],
    }));
    (EXAMPLE_CHALLENGE, credential)
}

impl Example for PasskeyProof {
    fn example() -> Self {
        let credential = example_credential(&json!({
            "clientDataJSON": example_client_data("webauthn.get"),
            "authenticatorData": encoded(b"data of the authenticator"),
            "signature": encoded(b"signature of the authenticator"),
            "userHandle": encoded(examples::USER.as_bytes()),
        }));
        Self { challenge_id: EXAMPLE_CHALLENGE, credential }
    }
}

/// Returns the error for a credential that does not have the form of the specification.
pub(super) fn malformed_credential(pointer: &str) -> FieldError {
    let detail = "Credential must be the JSON of a Web Authentication credential, with base64url fields.";
    FieldError::new(pointer, "invalid_format", detail)
}

impl PasskeyProof {
    /// Creates a proof from its fields, for bodies that contain other fields too.
    pub fn new(challenge_id: Uuid, credential: JsonObject) -> Self {
        Self { challenge_id, credential }
    }

    /// Returns the fields, for the examples of bodies that contain other fields too.
    pub fn into_parts(self) -> (Uuid, JsonObject) {
        (self.challenge_id, self.credential)
    }

    /// Returns the parsed response.
    ///
    /// # Errors
    ///
    /// An error whose pointer begins with `pointer`.
    pub fn check(&self, pointer: &str) -> Result<Proof, FieldError> {
        let assertion = Assertion::parse(self.credential.value());
        let assertion = assertion.ok_or_else(|| malformed_credential("/credential").under(pointer))?;
        Ok(Proof { challenge: self.challenge_id, assertion })
    }
}
