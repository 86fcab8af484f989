//! Tests with the examples of the standards: RFC 7515 A.1 to A.5, RFC 7517 A.1 and A.2, RFC 7638 §3.1,
//! RFC 8037 A.1 to A.5.
//!
//! The RSA key of RFC 7638 §3.1 is the RSA key of RFC 7517 A.1. RFC 7517 A.2 contains the keys of A.1 with
//! their private parts.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{sign, verify};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use super::{Alg, KeyParameters, decoding_key, encoding_key, thumbprint, to_public_key};

/// The bytes of an `RSAPublicKey` (RFC 8017 A.1.1) before a modulus of 2048 bits, and the bytes after the
/// modulus: the exponent 65537.
const RSA_HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
const RSA_TAIL: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// Returns a test vector by its JSON pointer (RFC 6901).
fn vector(pointer: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    all.pointer(pointer).unwrap().clone()
}

fn text(pointer: &str) -> String {
    vector(pointer).as_str().unwrap().to_owned()
}

fn bytes(pointer: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text(pointer)).unwrap()
}

fn point(name: &str) -> Vec<u8> {
    [&[4], &bytes(&format!("/keys/{name}/x"))[..], &bytes(&format!("/keys/{name}/y"))].concat()
}

/// Converts a key of the test vectors to the format of the database, and decodes it with the code under test.
fn key(name: &str) -> (Alg, DecodingKey) {
    let field = |field: &str| bytes(&format!("/keys/{name}/{field}"));
    let (alg, key) = match text(&format!("/keys/{name}/kty")).as_str() {
        "EC" => (Alg::Es256, decoding_key(Alg::Es256, &point(name), None)),
        "OKP" => (Alg::EdDsa, decoding_key(Alg::EdDsa, &field("x"), None)),
        "RSA" => {
            let der = [&RSA_HEAD[..], &field("n"), &RSA_TAIL].concat();
            (Alg::Rs256, decoding_key(Alg::Rs256, &der, None))
        }
        _ => (Alg::Hs256, decoding_key(Alg::Hs256, b"", Some(&field("k")))),
    };
    (alg, key.unwrap())
}

/// Returns the private part of an EC key in PKCS #8.
fn private_ec(name: &str) -> Vec<u8> {
    let private = bytes(&format!("/keys/{name}/d"));
    let curve = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &private, &point(name)).unwrap();
    pair.to_pkcs8v1().unwrap().as_ref().to_vec()
}

const SIGNED: [(&str, &str); 4] = [
    ("RFC 7515 A.1", "RFC 7515 A.1"),
    ("RFC 7515 A.2", "RFC 7515 A.2"),
    ("RFC 7515 A.3", "RFC 7515 A.3"),
    ("RFC 8037 A.4", "RFC 8037 A.1"),
];

#[test]
fn the_example_signatures_of_the_standards_verify_only_with_their_own_keys() {
    for (token, name) in SIGNED {
        let token = text(&format!("/jws/{token}"));
        let (payload, signature) = token.rsplit_once('.').unwrap();
        let (alg, own) = key(name);
        assert!(verify(signature, payload.as_bytes(), &own, alg.jose()).unwrap(), "{name}");
        assert!(!verify(signature, format!("{payload}A").as_bytes(), &own, alg.jose()).unwrap(), "{name}");
        for (_, other) in SIGNED.into_iter().filter(|(_, other)| *other != name) {
            let (alg, key) = key(other);
            assert!(
                !verify(signature, payload.as_bytes(), &key, alg.jose()).unwrap_or(false),
                "{name} {other}"
            );
        }
    }
}

#[test]
fn an_ed25519_signature_equals_the_example_in_rfc_8037() {
    let (seed, public) = (bytes("/keys/RFC 8037 A.1/d"), bytes("/keys/RFC 8037 A.1/x"));
    let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let key = encoding_key(Alg::EdDsa, private.as_ref()).unwrap();
    let token = text("/jws/RFC 8037 A.4");
    let (payload, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(sign(payload.as_bytes(), &key, Alg::EdDsa.jose()).unwrap(), signature);
}

#[test]
fn an_hs256_signature_equals_the_example_in_rfc_7515() {
    let key = encoding_key(Alg::Hs256, &bytes("/keys/RFC 7515 A.1/k")).unwrap();
    let token = text("/jws/RFC 7515 A.1");
    let (payload, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(sign(payload.as_bytes(), &key, Alg::Hs256.jose()).unwrap(), signature);
}

#[test]
fn signatures_made_with_the_private_keys_verify_with_the_public_keys() {
    for name in ["RFC 7515 A.3", "RFC 7517 A.1, EC"] {
        let (alg, public) = key(name);
        let signature = sign(b"payload", &encoding_key(alg, &private_ec(name)).unwrap(), alg.jose()).unwrap();
        assert!(verify(&signature, b"payload", &public, alg.jose()).unwrap(), "{name}");
    }
}

#[test]
fn key_thumbprints_equal_the_examples_of_the_standards() {
    for (name, expected) in vector("/thumbprints").as_object().unwrap() {
        let (alg, key) = key(name);
        assert_eq!(thumbprint(alg, &key).unwrap(), expected.as_str().unwrap(), "{name}");
    }
}

#[test]
fn published_keys_equal_the_public_fields_of_the_examples_of_the_standards() {
    // S-32
    for (name, jwk) in vector("/keys").as_object().unwrap() {
        let (alg, key) = key(name);
        let published = match to_public_key("a kid", alg, &key).map(|key| key.parameters) {
            Some(KeyParameters::Ec { x, y }) => json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
            Some(KeyParameters::Ed { x }) => json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            Some(KeyParameters::Rsa { n, e }) => json!({ "kty": "RSA", "n": n, "e": e }),
            None => json!({}),
        };
        let mut expected = jwk.clone();
        let fields = expected.as_object_mut().unwrap();
        fields.retain(|field, _| !["d", "k", "use", "alg", "kid"].contains(&field.as_str()));
        if alg == Alg::Hs256 {
            fields.clear();
        }
        assert_eq!(published, expected, "{name}");
    }
}

#[test]
fn the_key_set_of_rfc_7517_and_the_database_format_decode_to_the_same_keys() {
    // RFC 7517 A.1
    let names = ["RFC 7517 A.1, EC", "RFC 7517 A.1, RSA"];
    let keys = names.map(|name| vector(&format!("/keys/{name}")));
    let set: JwkSet = serde_json::from_value(json!({ "keys": keys })).unwrap();
    for (name, id) in names.into_iter().zip(["1", "2011-04-29"]) {
        let (alg, own) = key(name);
        let read = DecodingKey::from_jwk(set.find(id).unwrap()).unwrap();
        assert_eq!(to_public_key(id, alg, &read), to_public_key(id, alg, &own));
        assert_eq!(thumbprint(alg, &read).unwrap(), thumbprint(alg, &own).unwrap());
    }
}
