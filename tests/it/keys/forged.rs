//! What nobody gets in with, under every algorithm that the server may sign with.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tripgate::config::SigningAlg;

use super::signers::{Signer, part, read, tag};
use super::{ALGORITHMS, signing_with};
use crate::harness::{Client, TestApp};

/// The order of Ed25519's group: S and S + L are the same number to a lax verifier.
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
            let key = Signer::of(&app).await;
            let (header, claims) = (read(ada.token(), 0), read(ada.token(), 1));
            assert_eq!(header["alg"], name);
            let scene = Self { app, ada, key, header, claims, name };
            // What is refused below is not refused for another reason.
            let copy = scene.key.token(&scene.header, &scene.claims);
            scene.app.anonymous().with_token(copy).get("/api/v1/me").await.expect(200);
            scenes.push(scene);
        }
        scenes
    }

    fn header(&self, member: &str, value: Value) -> Value {
        let mut header = self.header.clone();
        header[member] = value;
        header
    }

    /// What is signed, before the signature.
    fn said(&self, header: &Value) -> String {
        format!("{}.{}", part(header.to_string()), part(self.claims.to_string()))
    }

    async fn refuses(&self, what: &str, token: &str) {
        let reply = self.app.anonymous().with_token(token).get("/api/v1/auth/session").await;
        assert_eq!(reply.status, 401, "{}: {what}", self.name);
        reply.problem("invalid_token");
    }
}

#[tokio::test]
async fn no_other_algorithm_and_no_none_is_taken() {
    // S-19, S-20
    for scene in Scene::each().await {
        let names =
            ["none", "None", "nOnE", "", "HS256", "HS384", "ES256", "EdDSA", "RS256", "PS256", "RS512"];
        for alg in names.into_iter().filter(|alg| *alg != scene.name) {
            let header = scene.header("alg", json!(alg));
            scene.refuses(alg, &scene.key.token(&header, &scene.claims)).await;
            scene.refuses(alg, &format!("{}.", scene.said(&header))).await;
        }
        scene.refuses("null", &scene.key.token(&scene.header("alg", Value::Null), &scene.claims)).await;
        scene.refuses("no signature", &format!("{}.", scene.said(&scene.header))).await;
    }
}

#[tokio::test]
async fn what_everybody_can_read_of_a_key_is_no_shared_key() {
    // S-20
    for scene in Scene::each().await {
        let kid = scene.header["kid"].as_str().unwrap();
        let public = &scene.key.public;
        let mut readable = vec![Vec::new(), vec![0; 32], kid.into(), public.clone()];
        if scene.name != "HS256" {
            let pem = STANDARD.encode(public);
            readable.push(format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n").into());
            readable.push(scene.key.jwk().to_string().into());
            let shown = scene.app.anonymous().get("/.well-known/jwks.json").await.expect(200);
            readable.push(shown.json()["keys"][0].to_string().into());
            readable.push(shown.body);
        }
        for key in readable {
            for (alg, mac) in
                [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
            {
                let said = scene.said(&scene.header("alg", json!(alg)));
                scene.refuses(alg, &format!("{said}.{}", part(tag(mac, &key, said.as_bytes())))).await;
            }
            let said = scene.said(&scene.header);
            let tag = tag(hmac::HMAC_SHA256, &key, said.as_bytes());
            scene.refuses("under the key's own name", &format!("{said}.{}", part(tag))).await;
        }
    }
}

#[tokio::test]
async fn an_attackers_key_of_any_kind_gets_nobody_in() {
    // S-21, S-22
    for scene in Scene::each().await {
        for (alg, name) in ALGORITHMS {
            let attacker = Signer::attacker(alg);
            let header = scene.header("alg", json!(name));
            scene.refuses("our kid", &attacker.token(&header, &scene.claims)).await;
            let mut brought = header.clone();
            brought["jwk"] = attacker.jwk();
            scene.refuses("jwk", &attacker.token(&brought, &scene.claims)).await;
            for kid in
                [json!("x' OR 1=1 --"), json!("../../etc/passwd"), json!(["a"]), json!("a\0b"), json!(null)]
            {
                let mut header = brought.clone();
                header["kid"] = kid;
                scene.refuses("kid", &attacker.token(&header, &scene.claims)).await;
            }
        }
    }
}

/// S + L, as 32 bytes, least significant first.
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
async fn a_signature_is_taken_in_one_form_and_unchanged() {
    // S-23
    for scene in Scene::each().await {
        let token = scene.ada.token().to_owned();
        let (said, signature) = token.rsplit_once('.').unwrap();
        let good = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let length = good.len();
        let mut forms = vec![
            Vec::new(),
            vec![0; length],
            vec![0xff; length],
            good[..length - 1].to_vec(),
            good[..length / 2].to_vec(),
            good[..16].to_vec(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
            [&good[..], &good].concat(),
            good.iter().rev().copied().collect(),
        ];
        if scene.name == "EdDSA" {
            let (r, s) = good.split_at(32);
            forms.push([r, &plus_order(s)].concat());
            forms.push([&[0; 32], s].concat());
        }
        for at in [0, length / 2 - 1, length / 2, length - 1] {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << bit;
                forms.push(flipped);
            }
        }
        for form in forms {
            scene.refuses(&format!("{form:02x?}"), &format!("{said}.{}", part(form))).await;
        }
        // The last character has bits that a lax decoder ignores.
        for at in [0, token.len() / 2, said.len() - 1, said.len() + 1, token.len() - 1] {
            for new in ['A', 'B', 'Q', 'g', 'w', 'x', '_', '='] {
                let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
                if changed != token {
                    scene.refuses(&format!("{new} at {at}"), &changed).await;
                }
            }
        }
        scene.ada.get("/api/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn claims_and_header_are_as_strict_under_every_key() {
    // S-24, S-25, S-26, S-27
    for scene in Scene::each().await {
        let now = scene.app.clock.now().timestamp();
        let bad = [
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
        for (name, value) in bad {
            let mut claims = scene.claims.clone();
            claims[name] = value;
            scene
                .refuses(&format!("{name} {}", claims[name]), &scene.key.token(&scene.header, &claims))
                .await;
        }
        for (name, value) in [
            ("typ", json!("JWT")),
            ("typ", json!(null)),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
        ] {
            let header = scene.header(name, value);
            scene.refuses(name, &scene.key.token(&header, &scene.claims)).await;
        }
        let token = scene.ada.token();
        let refresh = scene.ada.grant()["refresh_token"].as_str().unwrap();
        for other in [refresh, &format!("{token}="), &format!("{token}.{token}"), &format!("{token}.a.b")] {
            scene.refuses("no access token", other).await;
        }
    }
}

#[tokio::test]
async fn the_secret_of_hs256_is_nowhere_in_the_clear() {
    // S-32, S-36
    let app = signing_with(SigningAlg::Hs256).await;
    let ada = app.sign_up("ada").await;
    assert_eq!(app.anonymous().get("/.well-known/jwks.json").await.expect(200).json(), json!({ "keys": [] }));
    for key in crate::stored::signing_keys(&app).await {
        assert!(key.public_key.is_empty());
        assert_eq!(key.sealed_private_key.len(), 12 + 32 + 16);
    }
    // Without the secret nothing can be verified, and nobody is logged out for that.
    let mistaken = super::beside(&app, |settings| {
        settings.secret =
            Some(tripgate::config::Secret::new("another secret, given by mistake, of many bytes"));
    });
    super::on(&mistaken.await, &ada).get("/api/v1/me").await.expect(503);
    ada.get("/api/v1/me").await.expect(200);
}
