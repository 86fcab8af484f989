//! The test vectors of the specification (Web Authentication Level 3, §16), and one violation of each step.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::secrets::sha256;

const CHALLENGE: &[u8] = b"a challenge that was issued once";
const ID: &[u8] = b"the id of a credential";

fn relying_party() -> RelyingParty {
    let android = "android:apk-key-hash:-sYXRdwJA3hvue3mKpYrOZ9zSPC7b4mbgzJmdZEDO5w";
    RelyingParty::new("example.org".to_owned(), vec!["https://example.org".to_owned(), android.to_owned()])
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A test vector of the specification.
struct Vector(Value);

impl Vector {
    fn all() -> Vec<Self> {
        let file: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
        file["vectors"].as_array().unwrap().iter().cloned().map(Self).collect()
    }

    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    /// Returns the response, its challenge, and the authenticator data with the credential in it.
    fn registration(&self) -> (Attestation, Vec<u8>, Vec<u8>) {
        let part = &self.0["registration"];
        let object = hex(&part["attestationObject"]);
        let map = cbor::decode(&object).unwrap().into_map().unwrap();
        let data = cbor::entry(&map, "authData").unwrap().as_bytes().unwrap().clone();
        let credential = authenticator_data::AuthenticatorData::parse(&data).unwrap().credential.unwrap();
        let response = Attestation {
            id: credential.id.to_vec(),
            client_data: hex(&part["clientDataJSON"]),
            object,
            transports: Vec::new(),
        };
        (response, hex(&part["challenge"]), data)
    }

    fn authentication(&self) -> (Assertion, Vec<u8>) {
        let part = &self.0["authentication"];
        let response = Assertion {
            id: Vec::new(),
            client_data: hex(&part["clientDataJSON"]),
            authenticator_data: hex(&part["authenticatorData"]),
            signature: hex(&part["signature"]),
            user_handle: None,
        };
        (response, hex(&part["challenge"]))
    }
}

/// Verifies as the server does, except for user verification, which some vectors lack.
fn without_user_verification<T>(
    challenge: &[u8],
    verify: impl FnOnce(Expected<'_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    verify(Expected { relying_party: &relying_party(), challenge, user_verification: false })
}

#[test]
fn example_registrations_are_accepted_unless_they_are_cross_origin_or_contain_certificates() {
    let verified: Vec<(String, Result<(), Rejection>)> = Vector::all()
        .iter()
        .map(|vector| {
            let (response, challenge, _) = vector.registration();
            let verified =
                without_user_verification(&challenge, |expected| registration::verify(&response, expected));
            (vector.name().to_owned(), verified.map(|_| ()))
        })
        .collect();
    let expected = [
        ("none-es256", Ok(())),
        ("packed-self-es256", Ok(())),
        ("none-es256-crossOrigin", Err(Rejection::CrossOrigin)),
        ("none-es256-topOrigin", Err(Rejection::CrossOrigin)),
        ("none-es256-long-credential-id", Ok(())),
        // The server requests no attestation, so it has no root certificates to verify these attestations.
        ("packed-rs256", Err(Rejection::AttestationFormat)),
        ("packed-eddsa", Err(Rejection::AttestationFormat)),
    ];
    assert_eq!(verified, expected.map(|(name, result)| (name.to_owned(), result)));
}

#[test]
fn example_authentications_are_accepted_with_all_algorithms_unless_they_are_cross_origin() {
    let mut algorithms = Vec::new();
    for vector in Vector::all() {
        let (_, _, data) = vector.registration();
        let data = authenticator_data::AuthenticatorData::parse(&data).unwrap();
        let known = KnownCredential {
            public_key: data.credential.as_ref().unwrap().public_key.to_vec(),
            is_backup_eligible: data.is_backup_eligible(),
        };
        let (mut response, challenge) = vector.authentication();
        let verify = |response: &Assertion| {
            without_user_verification(&challenge, |expected| assertion::verify(response, &known, expected))
        };
        let is_embedded = vector.name().ends_with("Origin");
        let rejected = Err(Rejection::CrossOrigin);
        assert_eq!(
            verify(&response).map(|_| ()),
            if is_embedded { rejected } else { Ok(()) },
            "{}",
            vector.name()
        );
        algorithms.push(public_key::PublicKey::parse(&known.public_key).unwrap().algorithm());
        *response.signature.last_mut().unwrap() ^= 1;
        if !is_embedded {
            assert_eq!(verify(&response), Err(Rejection::Signature), "{}", vector.name());
        }
    }
    algorithms.sort_unstable();
    algorithms.dedup();
    assert_eq!(algorithms, [-257, -8, -7]);
}

const UP: u8 = 1;
const UV: u8 = 4;
const BE: u8 = 8;
const BS: u8 = 16;
const AT: u8 = 64;
const ED: u8 = 128;

/// A valid response. A test changes a part of it before the response is signed.
struct Response {
    client_data: Value,
    rp_id: &'static str,
    flags: u8,
    sign_count: u32,
    /// The bytes after the header of the authenticator data.
    after: Vec<u8>,
    /// The bytes of the attestation object before the authenticator data.
    head: Vec<u8>,
    /// The bytes after the attestation object.
    tail: Vec<u8>,
    id: Vec<u8>,
    key: EcdsaKeyPair,
}

fn cose(key: &EcdsaKeyPair) -> Vec<u8> {
    let point = key.public_key().as_ref();
    [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20], &point[1..33], &[0x22, 0x58, 0x20], &point[33..]]
        .concat()
}

fn credential(id: &[u8], key: &[u8]) -> Vec<u8> {
    [&[0; 16], u16::try_from(id.len()).unwrap().to_be_bytes().as_slice(), id, key].concat()
}

/// Returns the CBOR of an attestation object up to the value of `authData`.
fn head(format: &str, statement: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&[0x60 + u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0xa3], text("fmt"), text(format), text("attStmt"), statement.to_vec(), text("authData")].concat()
}

impl Response {
    fn new(kind: &str) -> Self {
        let curve = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(curve, pkcs8.as_ref()).unwrap();
        let challenge = "YSBjaGFsbGVuZ2UgdGhhdCB3YXMgaXNzdWVkIG9uY2U";
        Self {
            client_data: json!({
                "type": kind, "challenge": challenge, "origin": "https://example.org", "crossOrigin": false,
            }),
            rp_id: "example.org",
            flags: UP | UV,
            sign_count: 7,
            after: Vec::new(),
            head: head("none", &[0xa0]),
            tail: Vec::new(),
            id: ID.to_vec(),
            key,
        }
    }

    fn registration() -> Self {
        let mut new = Self::new(client_data::CREATE);
        new.flags |= AT;
        new.after = credential(ID, &cose(&new.key));
        new
    }

    fn authenticator_data(&self) -> Vec<u8> {
        [&sha256(self.rp_id.as_bytes())[..], &[self.flags], &self.sign_count.to_be_bytes(), &self.after]
            .concat()
    }

    fn register(&self) -> Result<NewCredential, Rejection> {
        let data = self.authenticator_data();
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let object = [self.head.as_slice(), &[0x59], &length, &data, &self.tail].concat();
        let client_data = self.client_data.to_string().into_bytes();
        let response = Attestation { id: self.id.clone(), client_data, object, transports: Vec::new() };
        let relying_party = relying_party();
        let expected =
            Expected { relying_party: &relying_party, challenge: CHALLENGE, user_verification: true };
        registration::verify(&response, expected)
    }

    /// Authenticates with a passkey that can't be backed up.
    fn authenticate(&self) -> Result<Used, Rejection> {
        let known = KnownCredential { public_key: cose(&self.key), is_backup_eligible: false };
        let client_data = self.client_data.to_string().into_bytes();
        let authenticator_data = self.authenticator_data();
        let message = [authenticator_data.as_slice(), &sha256(&client_data)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
        let response =
            Assertion { id: self.id.clone(), client_data, authenticator_data, signature, user_handle: None };
        let relying_party = relying_party();
        let expected =
            Expected { relying_party: &relying_party, challenge: CHALLENGE, user_verification: true };
        assertion::verify(&response, &known, expected)
    }
}

type Violation = (fn(&mut Response), Rejection);

/// The changes that make a response invalid in both ceremonies.
const COMMON: [Violation; 16] = [
    (|it| it.client_data = json!([]), Rejection::ClientData),
    (|it| it.client_data = json!({ "type": "webauthn.get" }), Rejection::ClientData),
    (|it| it.client_data["extra"] = json!("x".repeat(9_000)), Rejection::ClientData),
    (|it| it.client_data["type"] = json!("payment.get"), Rejection::Type),
    (|it| it.client_data["challenge"] = json!("YW5vdGhlcg"), Rejection::Challenge),
    (|it| it.client_data["challenge"] = json!(""), Rejection::Challenge),
    (|it| it.client_data["origin"] = json!("http://example.org"), Rejection::Origin),
    (|it| it.client_data["origin"] = json!("https://example.org:8443"), Rejection::Origin),
    (|it| it.client_data["origin"] = json!("https://example.org.evil.example"), Rejection::Origin),
    (|it| it.client_data["origin"] = json!("https://sub.example.org"), Rejection::Origin),
    (|it| it.client_data["crossOrigin"] = json!(true), Rejection::CrossOrigin),
    (|it| it.client_data["topOrigin"] = json!("https://example.com"), Rejection::CrossOrigin),
    (|it| it.rp_id = "example.com", Rejection::RpIdHash),
    (|it| it.flags ^= UP, Rejection::UserPresence),
    (|it| it.flags ^= UV, Rejection::UserVerification),
    (|it| it.flags |= BS, Rejection::BackupState),
];

#[test]
fn a_response_that_fails_a_single_registration_step_is_rejected() {
    // S-92
    let verified = Response::registration().register().unwrap();
    assert_eq!((verified.id.as_slice(), verified.sign_count), (ID, 7));
    let own: [Violation; 17] = [
        (|it| it.client_data["type"] = json!(client_data::GET), Rejection::Type),
        (|it| it.head[0] = 0xa2, Rejection::AttestationObject),
        (|it| it.tail = vec![0], Rejection::AttestationObject),
        (
            |it| it.head = head("none", &[[0x81; 10_000].as_slice(), &[0x80]].concat()),
            Rejection::AttestationObject,
        ),
        (|it| it.head = head("none", &[0x80]), Rejection::AttestationObject),
        (|it| it.after.push(0), Rejection::AuthenticatorData),
        (|it| it.after.truncate(20), Rejection::AuthenticatorData),
        (|it| it.after.clear(), Rejection::AuthenticatorData),
        (|it| (it.flags, it.after) = (it.flags ^ AT, Vec::new()), Rejection::AuthenticatorData),
        (|it| it.flags |= ED, Rejection::AuthenticatorData),
        (
            |it| (it.flags, it.after) = (it.flags | ED, [&it.after[..], &[0x80]].concat()),
            Rejection::AuthenticatorData,
        ),
        // The next two changes: a key with the algorithm ES384 (-35), and a point that is not on the curve.
        (|it| it.after = credential(ID, &[&[0xa1, 3, 0x38, 34][..]].concat()), Rejection::Algorithm),
        (|it| *it.after.last_mut().unwrap() ^= 1, Rejection::Algorithm),
        (|it| it.head = head("tpm", &[0xa0]), Rejection::AttestationFormat),
        (|it| it.head = head("none", &[0xa1, 0x61, b'x', 0]), Rejection::AttestationStatement),
        (
            |it| {
                it.head =
                    head("packed", &[0xa2, 0x63, b'a', b'l', b'g', 0x26, 0x63, b's', b'i', b'g', 0x41, 0]);
            },
            Rejection::AttestationStatement,
        ),
        (|it| it.id.push(0), Rejection::CredentialId),
    ];
    for (number, (change, rejection)) in COMMON.iter().chain(&own).enumerate() {
        let mut response = Response::registration();
        change(&mut response);
        assert_eq!(response.register(), Err(*rejection), "violation {number}");
    }
    for length in [0, 1024] {
        let mut response = Response::registration();
        response.id = vec![1; length];
        response.after = credential(&response.id, &cose(&response.key));
        assert_eq!(response.register(), Err(Rejection::CredentialId), "{length} bytes");
    }
}

#[test]
fn a_response_that_fails_a_single_authentication_step_is_rejected() {
    // S-92
    let used = Response::new(client_data::GET).authenticate();
    assert_eq!(used, Ok(Used { sign_count: 7, is_backed_up: false }));
    let own: [Violation; 5] = [
        (|it| it.client_data["type"] = json!(client_data::CREATE), Rejection::Type),
        (|it| it.after.push(0), Rejection::AuthenticatorData),
        (|it| it.flags |= ED, Rejection::AuthenticatorData),
        (
            |it| (it.flags, it.after) = (it.flags | AT, credential(ID, &cose(&it.key))),
            Rejection::AuthenticatorData,
        ),
        (|it| it.flags |= BE, Rejection::BackupEligibility),
    ];
    for (number, (change, rejection)) in COMMON.iter().chain(&own).enumerate() {
        let mut response = Response::new(client_data::GET);
        change(&mut response);
        assert_eq!(response.authenticate(), Err(*rejection), "violation {number}");
    }
}

#[test]
fn an_android_app_is_accepted_as_an_origin_only_if_it_is_listed() {
    let mut response = Response::new(client_data::GET);
    response.client_data["origin"] =
        json!("android:apk-key-hash:-sYXRdwJA3hvue3mKpYrOZ9zSPC7b4mbgzJmdZEDO5w");
    response.authenticate().unwrap();
    response.client_data["origin"] =
        json!("android:apk-key-hash:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(response.authenticate(), Err(Rejection::Origin));
}

#[test]
fn unknown_fields_and_extensions_of_a_registration_are_ignored() {
    let mut response = Response::registration();
    response.client_data["other_keys_can_be_added_here"] =
        json!("do not compare clientDataJSON against a template");
    response.flags |= ED;
    response.after.extend([0xa1, 0x61, b'x', 0xf5]);
    response.register().unwrap();
}
