//! The signature: other algorithms, keys and encodings are rejected.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Scene;
use super::forge::part;

/// The order n of P-256. A verifier that reduces r and s modulo n without a range check takes n for 0.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

#[tokio::test]
async fn a_valid_token_that_the_test_signs_with_the_servers_key_is_accepted() {
    let scene = Scene::new().await;
    scene.assert_accepted("the server's own", scene.ada.token()).await;
    scene.assert_accepted("a copy under the server's key", &scene.forge.valid()).await;
}

#[tokio::test]
async fn a_token_with_a_missing_or_wrong_algorithm_is_rejected() {
    // S-19
    let scene = Scene::new().await;
    let signature = scene.ada.token().rsplit('.').next().unwrap().to_owned();
    let values = [
        Some(json!("none")),
        Some(json!("None")),
        Some(json!("NONE")),
        Some(json!("nOnE")),
        Some(json!("")),
        Some(json!(null)),
        Some(json!(["ES256"])),
        Some(json!(0)),
        Some(json!("es256")),
        Some(json!("ES256 ")),
        Some(json!("ES384")),
        Some(json!("ES256K")),
        Some(json!("EdDSA")),
        Some(json!("RS256")),
        Some(json!("PS256")),
        None,
    ];
    for value in values {
        let signing_input = scene.forge.unsigned("alg", value.clone());
        for end in [String::new(), ".".to_owned(), format!(".{signature}")] {
            scene
                .assert_rejected(&format!("alg {value:?}, end {end:?}"), &format!("{signing_input}{end}"))
                .await;
        }
        // The token is rejected even if the server's key signed it, because `alg` must be the algorithm of the key.
        scene
            .assert_rejected(&format!("alg {value:?}"), &scene.forge.with_header_field("alg", value.clone()))
            .await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_public_key_is_not_accepted_as_an_hmac_key() {
    // S-20
    let scene = Scene::new().await;
    let forge = &scene.forge;
    let (jwk, point) = (forge.jwk(), forge.point());
    let with_kid = {
        let mut jwk = jwk.clone();
        jwk["kid"] = json!(forge.kid());
        jwk.to_string()
    };
    let pem = forge.pem();
    let keys: [(&str, Vec<u8>); 12] = [
        ("PEM", pem.clone().into()),
        ("PEM, trimmed", pem.trim().into()),
        ("PEM, CR LF", pem.replace('\n', "\r\n").into()),
        ("DER", forge.der()),
        ("JWK", jwk.to_string().into()),
        ("JWK with kid", with_kid.into()),
        ("point", point.clone()),
        ("x and y", point[1..].to_vec()),
        ("x", point[1..33].to_vec()),
        ("kid", forge.kid().into()),
        ("nothing", Vec::new()),
        ("zeros", vec![0; 32]),
    ];
    for (case, key) in &keys {
        for (name, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            scene.assert_rejected(&format!("{name} by {case}"), &forge.hmac(name, algorithm, key)).await;
        }
        scene.assert_rejected(case, &forge.hmac("ES256", hmac::HMAC_SHA256, key)).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_malformed_modified_or_re_encoded_signature_is_rejected() {
    // S-23
    let scene = Scene::new().await;
    let forge = &scene.forge;
    let valid = URL_SAFE_NO_PAD.decode(forge.valid().rsplit('.').next().unwrap()).unwrap();
    let other = forge.with_claim("jti", Some(json!("01890a5d-ac96-774b-bcce-b302099a8057")));
    let other = URL_SAFE_NO_PAD.decode(other.rsplit('.').next().unwrap()).unwrap();
    let (r, s) = valid.split_at(32);
    let zero = [0; 32];
    let one = [&[0; 31][..], &[1]].concat();
    let signatures: [(&str, Vec<u8>); 18] = [
        ("nothing", vec![]),
        ("r = s = 0", vec![0; 64]),
        ("r = 0", [&zero, s].concat()),
        ("s = 0", [r, &zero].concat()),
        ("r = s = n", [ORDER, ORDER].concat()),
        ("r = n, s = 0", [ORDER, zero].concat()),
        ("r = 0, s = n", [zero, ORDER].concat()),
        ("r = s = 1", [&one[..], &one].concat()),
        ("all ones", vec![0xff; 64]),
        ("halves swapped", [s, r].concat()),
        ("r alone", r.to_vec()),
        ("r twice", [r, r].concat()),
        ("a byte short", valid[..63].to_vec()),
        ("a byte long", [&valid[..], &[0]].concat()),
        ("a byte before", [&[0], &valid[..]].concat()),
        ("padded halves", [&[0], r, &[0], s].concat()),
        ("twice", [&valid[..], &valid].concat()),
        ("another token's", other),
    ];
    for (case, signature) in &signatures {
        scene.assert_rejected(case, &forge.signature(signature)).await;
    }
    scene.assert_rejected("DER", &forge.signed_in_der()).await;
    for bit in 0..8 {
        for at in [0, 31, 32, 63] {
            let mut flipped = URL_SAFE_NO_PAD.decode(scene.ada.token().rsplit('.').next().unwrap()).unwrap();
            flipped[at] ^= 1 << bit;
            let signing_input = scene.ada.token().rsplit_once('.').unwrap().0;
            scene
                .assert_rejected(&format!("bit {bit} of {at}"), &format!("{signing_input}.{}", part(flipped)))
                .await;
        }
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn parts_of_different_tokens_cannot_be_combined() {
    let scene = Scene::new().await;
    let brian = scene.app.sign_up("brian").await;
    let (a, b): (Vec<_>, Vec<_>) =
        (scene.ada.token().split('.').collect(), brian.token().split('.').collect());
    scene.assert_rejected("claims swapped", &format!("{}.{}.{}", a[0], b[1], a[2])).await;
    scene.assert_rejected("signature swapped", &format!("{}.{}.{}", a[0], a[1], b[2])).await;
    scene.assert_rejected("parts in another order", &format!("{}.{}.{}", a[1], a[0], a[2])).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_token_signed_with_another_key_is_rejected_even_with_a_known_kid() {
    // S-21
    let scene = Scene::new().await;
    let attacker = scene.forge.attacker();
    scene.assert_rejected("known kid", &attacker.valid()).await;
    for kid in [None, Some(json!("other")), Some(Value::Null)] {
        scene.assert_rejected(&format!("kid {kid:?}"), &attacker.with_header_field("kid", kid.clone())).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn changing_any_character_of_a_token_invalidates_it() {
    // S-23
    let scene = Scene::new().await;
    let token = scene.ada.token().to_owned();
    scene.assert_accepted("unchanged", &token).await;
    for (at, old) in token.char_indices() {
        // Replace the character by a neighbour in the Base64url alphabet, and a dot by `A`. If the last character of a
        // part has unused bits, this changes only those bits. A lenient decoder would ignore them.
        let new = match old {
            'A' => 'B',
            'z' => 'y',
            '9' => '8',
            '-' => '_',
            '_' => '-',
            '.' => 'A',
            'Z' => 'Y',
            other => char::from(other as u8 + 1),
        };
        let changed = format!("{}{new}{}", &token[..at], &token[at + 1..]);
        scene.assert_rejected(&format!("{old} at {at} is {new}"), &changed).await;
    }
    scene.assert_accepted("unchanged", &token).await;
    scene.assert_unchanged().await;
}
