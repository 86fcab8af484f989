//! The examples of the standards, through the code that signs, verifies, names and shows our keys:
//! RFC 7515 A.1 to A.5, RFC 7517 A.1 and A.2, RFC 7638 §3.1, RFC 8037 A.1 to A.5.
//!
//! The RSA key of RFC 7638 §3.1 is that of RFC 7517 A.1, whose keys with their private halves are A.2.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::{sign, verify};
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use super::{Alg, KeyParameters, shown, signing, thumbprint, verifying};
use crate::tokens::verify::{header, kid};

/// What stands before the modulus in an `RSAPublicKey` of 2048 bits, and behind it for 65537 (RFC 8017 A.1.1).
const RSA_HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
const RSA_TAIL: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

/// A vector by its pointer (RFC 6901).
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

/// A key as our database has it, read by our own code.
fn key(name: &str) -> (Alg, DecodingKey) {
    let member = |member: &str| bytes(&format!("/keys/{name}/{member}"));
    let (alg, key) = match text(&format!("/keys/{name}/kty")).as_str() {
        "EC" => (Alg::Es256, verifying(Alg::Es256, &point(name), None)),
        "OKP" => (Alg::EdDsa, verifying(Alg::EdDsa, &member("x"), None)),
        "RSA" => {
            let der = [&RSA_HEAD[..], &member("n"), &RSA_TAIL].concat();
            (Alg::Rs256, verifying(Alg::Rs256, &der, None))
        }
        _ => (Alg::Hs256, verifying(Alg::Hs256, b"", Some(&member("k")))),
    };
    (alg, key.unwrap())
}

/// The private half of an EC key in PKCS #8.
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
fn the_signatures_of_the_standards_are_good_and_nobody_elses() {
    for (token, name) in SIGNED {
        let token = text(&format!("/jws/{token}"));
        let (said, signature) = token.rsplit_once('.').unwrap();
        let (alg, own) = key(name);
        assert!(verify(signature, said.as_bytes(), &own, alg.jose()).unwrap(), "{name}");
        assert!(!verify(signature, format!("{said}A").as_bytes(), &own, alg.jose()).unwrap(), "{name}");
        for (_, other) in SIGNED.into_iter().filter(|(_, other)| *other != name) {
            let (alg, key) = key(other);
            assert!(!verify(signature, said.as_bytes(), &key, alg.jose()).unwrap_or(false), "{name} {other}");
        }
    }
}

#[test]
fn no_example_of_the_standards_names_a_key_of_ours() {
    // S-19, S-25
    for (name, token) in vector("/jws").as_object().unwrap() {
        // The payload of RFC 8037 A.4 is no JSON, the header of the others says no `kid` and no type of ours.
        let header = header(token.as_str().unwrap());
        assert_eq!(header.is_none(), name == "RFC 8037 A.4");
        assert_eq!(header.as_ref().and_then(kid), None, "{name}");
    }
}

#[test]
fn ed25519_signs_as_in_the_standard() {
    let (seed, public) = (bytes("/keys/RFC 8037 A.1/d"), bytes("/keys/RFC 8037 A.1/x"));
    let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let key = signing(Alg::EdDsa, private.as_ref()).unwrap();
    let token = text("/jws/RFC 8037 A.4");
    let (said, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(sign(said.as_bytes(), &key, Alg::EdDsa.jose()).unwrap(), signature);
}

#[test]
fn hs256_signs_as_in_the_standard() {
    let key = signing(Alg::Hs256, &bytes("/keys/RFC 7515 A.1/k")).unwrap();
    let token = text("/jws/RFC 7515 A.1");
    let (said, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(sign(said.as_bytes(), &key, Alg::Hs256.jose()).unwrap(), signature);
}

#[test]
fn the_private_keys_of_the_standards_sign_for_their_public_ones() {
    for name in ["RFC 7515 A.3", "RFC 7517 A.1, EC"] {
        let (alg, public) = key(name);
        let signature = sign(b"said", &signing(alg, &private_ec(name)).unwrap(), alg.jose()).unwrap();
        assert!(verify(&signature, b"said", &public, alg.jose()).unwrap(), "{name}");
    }
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    for (name, expected) in vector("/thumbprints").as_object().unwrap() {
        let (alg, key) = key(name);
        assert_eq!(thumbprint(alg, &key).unwrap(), expected.as_str().unwrap(), "{name}");
    }
}

#[test]
fn keys_are_shown_as_in_the_standards_and_nothing_private_of_them() {
    // S-32
    for (name, jwk) in vector("/keys").as_object().unwrap() {
        let (alg, key) = key(name);
        let said = match shown("a name", alg, &key).map(|key| key.numbers) {
            Some(KeyParameters::Ec { x, y }) => json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }),
            Some(KeyParameters::Ed { x }) => json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
            Some(KeyParameters::Rsa { n, e }) => json!({ "kty": "RSA", "n": n, "e": e }),
            None => json!({}),
        };
        let mut expected = jwk.clone();
        let members = expected.as_object_mut().unwrap();
        members.retain(|member, _| !["d", "k", "use", "alg", "kid"].contains(&member.as_str()));
        if alg == Alg::Hs256 {
            members.clear();
        }
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn the_key_set_of_the_standard_gives_the_keys_that_we_make_of_its_numbers() {
    // RFC 7517 A.1
    let names = ["RFC 7517 A.1, EC", "RFC 7517 A.1, RSA"];
    let keys = names.map(|name| vector(&format!("/keys/{name}")));
    let set: JwkSet = serde_json::from_value(json!({ "keys": keys })).unwrap();
    for (name, id) in names.into_iter().zip(["1", "2011-04-29"]) {
        let (alg, own) = key(name);
        let read = DecodingKey::from_jwk(set.find(id).unwrap()).unwrap();
        assert_eq!(shown(id, alg, &read), shown(id, alg, &own));
        assert_eq!(thumbprint(alg, &read).unwrap(), thumbprint(alg, &own).unwrap());
    }
}
