//! Forged tokens, for every algorithm that the server can sign with.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tripgate::config::SigningAlg;

use super::signers::{Signer, part, read, tag};
use super::{ALGORITHMS, signing_with};
use crate::harness::{Client, TestApp};

/// The order of the Ed25519 group. A signature consists of R and S, 32 bytes each. A verifier that does not check
/// S < L (RFC 8032, section 5.1.7) also accepts a signature with S + L.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

struct Scene {
    app: TestApp,
    ada: Client,
    key: Signer,
    header: Value,
    claims: Value,
    name: &'static str,
}

impl Scene {
    async fn each() -> Vec<Self> {
        let mut scenes = Vec::new();
        for (alg, name) in ALGORITHMS {
            let app = signing_with(alg).await;
            let ada = app.sign_up("ada").await;
            let key = Signer::active_key(&app).await;
            let (header, claims) = (read(ada.token(), 0), read(ada.token(), 1));
            assert_eq!(header["alg"], name);
            let scene = Self { app, ada, key, header, claims, name };
            // The server accepts an unmodified token that the test signs, so the modifications cause the
            // later rejections.
            let copy = scene.key.token(&scene.header, &scene.claims);
            scene.app.anonymous().with_token(copy).get("/api/v1/me").await.expect(200);
            scenes.push(scene);
        }
        scenes
    }

    fn header_with(&self, name: &str, value: Value) -> Value {
        let mut header = self.header.clone();
        header[name] = value;
        header
    }

    /// Returns the signing input (RFC 7515 §2) with this header and the unmodified claims.
    fn signing_input(&self, header: &Value) -> String {
        format!("{}.{}", part(header.to_string()), part(self.claims.to_string()))
    }

    async fn assert_rejected(&self, what: &str, token: &str) {
        let reply = self.app.anonymous().with_token(token).get("/api/v1/auth/session").await;
        assert_eq!(reply.status, 401, "{}: {what}", self.name);
        reply.problem("invalid_token");
    }
}

#[tokio::test]
async fn tokens_with_another_or_no_algorithm_are_rejected() {
    // S-19, S-20
    for scene in Scene::each().await {
        let names =
            ["none", "None", "nOnE", "", "HS256", "HS384", "ES256", "EdDSA", "RS256", "PS256", "RS512"];
        for alg in names.into_iter().filter(|alg| *alg != scene.name) {
            let header = scene.header_with("alg", json!(alg));
            scene.assert_rejected(alg, &scene.key.token(&header, &scene.claims)).await;
            scene.assert_rejected(alg, &format!("{}.", scene.signing_input(&header))).await;
        }
        scene
            .assert_rejected("null", &scene.key.token(&scene.header_with("alg", Value::Null), &scene.claims))
            .await;
        scene.assert_rejected("no signature", &format!("{}.", scene.signing_input(&scene.header))).await;
    }
}

#[tokio::test]
async fn a_token_with_an_hmac_whose_key_is_public_data_is_rejected() {
    // S-20
    for scene in Scene::each().await {
        let kid = scene.header["kid"].as_str().unwrap();
        let public = &scene.key.public;
        let mut readable = vec![Vec::new(), vec![0; 32], kid.into(), public.clone()];
        if scene.name != "HS256" {
            let pem = STANDARD.encode(public);
            readable.push(format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n").into());
            readable.push(scene.key.jwk().to_string().into());
            let published = scene.app.anonymous().get("/.well-known/jwks.json").await.expect(200);
            readable.push(published.json()["keys"][0].to_string().into());
            readable.push(published.body);
        }
        for key in readable {
            for (alg, mac) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                let input = scene.signing_input(&scene.header_with("alg", json!(alg)));
                scene
                    .assert_rejected(alg, &format!("{input}.{}", part(tag(mac, &key, input.as_bytes()))))
                    .await;
            }
            let input = scene.signing_input(&scene.header);
            let tag = tag(hmac::HMAC_SHA256, &key, input.as_bytes());
            scene
                .assert_rejected("HMAC with the header of a genuine token", &format!("{input}.{}", part(tag)))
                .await;
        }
    }
}

#[tokio::test]
async fn tokens_signed_by_an_attackers_key_are_rejected() {
    // S-21, S-22
    for scene in Scene::each().await {
        for (alg, name) in ALGORITHMS {
            let attacker = Signer::attacker(alg);
            let header = scene.header_with("alg", json!(name));
            scene.assert_rejected("kid of the server", &attacker.token(&header, &scene.claims)).await;
            let mut with_jwk = header.clone();
            with_jwk["jwk"] = attacker.jwk();
            scene.assert_rejected("jwk", &attacker.token(&with_jwk, &scene.claims)).await;
            for kid in
                [json!("x' OR 1=1 --"), json!("../../etc/passwd"), json!(["a"]), json!("a\0b"), json!(null)]
            {
                let mut header = with_jwk.clone();
                header["kid"] = kid;
                scene.assert_rejected("kid", &attacker.token(&header, &scene.claims)).await;
            }
        }
    }
}

/// Returns the sum of S and the group order L, as 32 bytes in little-endian order.
fn plus_order(s: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let add = |(a, b): (&u8, &u8)| {
        let sum = u16::from(*a) + u16::from(*b) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    };
    s.iter().zip(&L).map(add).collect()
}

#[tokio::test]
async fn modified_or_re_encoded_signatures_are_rejected() {
    // S-23
    for scene in Scene::each().await {
        let token = scene.ada.token().to_owned();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let valid = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let length = valid.len();
        let mut forms = vec![
            Vec::new(),
            vec![0; length],
            vec![0xff; length],
            valid[..length - 1].to_vec(),
            valid[..length / 2].to_vec(),
            valid[..16].to_vec(),
            [&valid[..], &[0]].concat(),
            [&[0], &valid[..]].concat(),
            [&valid[..], &valid].concat(),
            valid.iter().rev().copied().collect(),
        ];
        if scene.name == "EdDSA" {
            let (r, s) = valid.split_at(32);
            forms.push([r, &plus_order(s)].concat());
            forms.push([&[0; 32], s].concat());
        }
        for at in [0, length / 2 - 1, length / 2, length - 1] {
            for bit in 0..8 {
                let mut flipped = valid.clone();
                flipped[at] ^= 1 << bit;
                forms.push(flipped);
            }
        }
        for form in forms {
            scene.assert_rejected(&format!("{form:02x?}"), &format!("{input}.{}", part(form))).await;
        }
        // The last character of a signature contains bits that a lenient Base64 decoder ignores.
        for at in [0, token.len() / 2, input.len() - 1, input.len() + 1, token.len() - 1] {
            for new in ['A', 'B', 'Q', 'g', 'w', 'x', '_', '='] {
                let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
                if changed != token {
                    scene.assert_rejected(&format!("{new} at {at}"), &changed).await;
                }
            }
        }
        scene.ada.get("/api/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn the_claims_and_the_header_are_validated_with_every_signing_algorithm() {
    // S-24, S-25, S-26, S-27
    for scene in Scene::each().await {
        let now = scene.app.clock.now().timestamp();
        let invalid = [
            ("exp", json!(null)),
            ("exp", json!((now + 60).to_string())),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("exp", json!(now - 31)),
            ("nbf", json!(now + 31)),
            ("nbf", json!("soon")),
            ("iat", json!(now + 31)),
            ("iss", json!("https://evil.test")),
            ("iss", json!(null)),
            ("aud", json!("other")),
            ("aud", json!(null)),
            ("sub", json!("ada")),
            ("sub", json!(null)),
            ("jti", json!(null)),
            ("client_id", json!("other")),
            ("scope", json!("admin")),
        ];
        for (name, value) in invalid {
            let mut claims = scene.claims.clone();
            claims[name] = value;
            scene
                .assert_rejected(
                    &format!("{name} {}", claims[name]),
                    &scene.key.token(&scene.header, &claims),
                )
                .await;
        }
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!(null)),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
        ] {
            let header = scene.header_with(name, value);
            scene.assert_rejected(name, &scene.key.token(&header, &scene.claims)).await;
        }
        let token = scene.ada.token();
        let refresh = scene.ada.grant()["refresh_token"].as_str().unwrap();
        for other in [refresh, &format!("{token}="), &format!("{token}.{token}"), &format!("{token}.a.b")] {
            scene.assert_rejected("not an access token", other).await;
        }
    }
}

#[tokio::test]
async fn the_hs256_key_is_neither_published_nor_stored_in_plain_text_and_a_server_that_lacks_it_returns_503()
{
    // S-32, S-36
    let app = signing_with(SigningAlg::Hs256).await;
    let ada = app.sign_up("ada").await;
    assert_eq!(app.anonymous().get("/.well-known/jwks.json").await.expect(200).json(), json!({ "keys": [] }));
    for key in crate::harness::rows::signing_keys(&app).await {
        assert!(key.public_key.is_empty());
        assert_eq!(key.sealed_private_key.len(), 12 + 32 + 16);
    }
    // Without the correct secret, a server can't verify any token. It returns 503, because a 401 would make
    // clients log out.
    let misconfigured = super::start_with_same_data(&app, |settings| {
        settings.secret =
            Some(tripgate::config::Secret::new("another secret, set by mistake, of many bytes"));
    });
    super::client_on(&misconfigured.await, &ada).get("/api/v1/me").await.expect(503);
    ada.get("/api/v1/me").await.expect(200);
}
