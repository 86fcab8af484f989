//! The token format: three parts in canonical base64url. The header and the payload must be unambiguous JSON.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Scene;
use super::forge::part;

#[tokio::test]
async fn a_token_must_have_three_parts() {
    // S-27
    let scene = Scene::new().await;
    let token = scene.ada.token();
    let parts: Vec<_> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let cases = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        head.to_owned(),
        format!("{head}."),
        format!("{head}.{body}"),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{head}.{body}."),
        format!(".{token}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{token}.{body}.{signature}"),
        format!("{token}.."),
        format!("{token}{token}"),
        format!("{token},{token}"),
        format!("{token};"),
        token.replace('.', ".."),
        token.replace('.', ":"),
        token.replace('.', "%2E"),
        token.to_uppercase(),
        token.chars().rev().collect(),
    ];
    for case in &cases {
        scene.assert_rejected(case, case).await;
    }
    // An encrypted token has five parts (RFC 7516): header, encrypted key, initialization vector, ciphertext and tag.
    let jwe = part(json!({ "alg": "dir", "enc": "A256GCM", "typ": "at+jwt" }).to_string());
    for case in
        [format!("{jwe}..{body}.{body}.{signature}"), format!("{jwe}.{body}.{body}.{body}.{signature}")]
    {
        scene.assert_rejected("JWE", &case).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn the_jws_json_serializations_are_rejected() {
    // S-27
    let scene = Scene::new().await;
    let parts: Vec<_> = scene.ada.token().split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general = json!({
        "payload": parts[1],
        "signatures": [{ "protected": parts[0], "signature": parts[2] }],
    });
    for form in [flattened, general, json!(scene.ada.token()), json!([scene.ada.token()])] {
        scene.assert_rejected("as JSON", &form.to_string()).await;
        scene.assert_rejected("as JSON, encoded", &part(form.to_string())).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn base64_padding_and_whitespace_and_other_alphabets_are_rejected() {
    // S-27
    let scene = Scene::new().await;
    let token = scene.ada.token();
    let parts: Vec<_> = token.split('.').collect();
    for at in 0..3 {
        for changed in [
            format!("{}=", parts[at]),
            format!("{}==", parts[at]),
            format!("{}%3D", parts[at]),
            format!(" {}", parts[at]),
            format!("{} ", parts[at]),
            format!("\t{}", parts[at]),
            format!("{}!", parts[at]),
            format!("\"{}\"", parts[at]),
            format!("{} {}", &parts[at][..5], &parts[at][5..]),
        ] {
            let mut token_parts = parts.clone();
            token_parts[at] = &changed;
            let modified = token_parts.join(".");
            // Whitespace around a field value is not part of the value (RFC 9110 §5.5).
            if modified.trim_matches(' ') != token {
                scene.assert_rejected(&format!("part {at}: {modified}"), &modified).await;
            }
        }
    }
    // Encode a valid token with other alphabets or with padding. The token has an extra claim, so that it
    // contains `-` and `_`, in which the alphabets differ.
    let mut claims = scene.forge.claims();
    claims["note"] = json!("???>>>ÿÿÿ~~~");
    let valid = scene.forge.with_claims(&claims);
    scene.assert_accepted("an extra claim", &valid).await;
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE] {
        let recoded: Vec<_> =
            valid.split('.').map(|part| engine.encode(URL_SAFE_NO_PAD.decode(part).unwrap())).collect();
        let recoded = recoded.join(".");
        assert_ne!(recoded, valid);
        scene.assert_rejected("another alphabet", &recoded).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn fields_repeated_within_the_header_or_the_payload_are_rejected() {
    // S-27
    let scene = Scene::new().await;
    let forge = &scene.forge;
    let (header, claims) = (forge.header().to_string(), forge.claims().to_string());
    let again = |object: &str, field: &str| {
        let inside = &object[1..object.len() - 1];
        [format!("{{{inside},{field}}}"), format!("{{{field},{inside}}}")]
    };
    let kid = forge.kid();
    let escaped = format!(r#""\u006bid":"{kid}""#);
    for field in
        [r#""alg":"none""#, r#""alg":"ES256""#, r#""typ":"at+jwt""#, r#""kid":"x""#, escaped.as_str()]
    {
        for duplicated in again(&header, field) {
            scene.assert_rejected(&duplicated, &forge.sign(&duplicated, &claims)).await;
        }
    }
    let other_sub = r#""sub":"01890a5d-ac96-774b-bcce-b302099a8057""#;
    for field in [other_sub, r#""exp":9999999999"#, r#""scope":"account""#, r#""\u0061ud":"tripgate""#] {
        for duplicated in again(&claims, field) {
            scene.assert_rejected(&duplicated, &forge.sign(&header, &duplicated)).await;
        }
    }
    let nested = again(&claims, r#""extra":{"a":1,"a":2}"#);
    scene.assert_rejected("nested duplicate", &forge.sign(&header, &nested[0])).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn header_and_payload_must_be_objects_in_strict_json() {
    // S-27, S-58
    let scene = Scene::new().await;
    let forge = &scene.forge;
    let (header, claims) = (forge.header().to_string(), forge.claims().to_string());
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let with = |object: &str, field: &str| format!("{},{field}}}", &object[..object.len() - 1]);
    let cases: Vec<(String, String)> = vec![
        ("[]".to_owned(), claims.clone()),
        ("null".to_owned(), claims.clone()),
        ("\"x\"".to_owned(), claims.clone()),
        (String::new(), claims.clone()),
        ("{}".to_owned(), claims.clone()),
        (format!("[{header}]"), claims.clone()),
        (format!("{header}{header}"), claims.clone()),
        (format!("\u{feff}{header}"), claims.clone()),
        (header.replace('"', "'"), claims.clone()),
        (with(&header, r#""x":"\ud800""#), claims.clone()),
        (with(&header, "\"x\":\"\\u0000\""), claims.clone()),
        (with(&header, "\"x\":1e400"), claims.clone()),
        (with(&header, &format!("\"x\":{deep}")), claims.clone()),
        (header.clone(), "[]".to_owned()),
        (header.clone(), "null".to_owned()),
        (header.clone(), "1".to_owned()),
        (header.clone(), String::new()),
        (header.clone(), "{}".to_owned()),
        (header.clone(), format!("[{claims}]")),
        (header.clone(), format!("{claims}x")),
        (header.clone(), with(&claims, "\"x\":\"\\u0000\"")),
        (header.clone(), with(&claims, "\"x\":NaN")),
        (header.clone(), with(&claims, &format!("\"x\":{deep}"))),
        (header.clone(), part(&claims)),
    ];
    for (header, payload) in cases {
        let case: String = format!("{header} {payload}").chars().take(200).collect();
        scene.assert_rejected(&case, &forge.sign(&header, &payload)).await;
    }
    let payload = [claims.as_bytes(), b"\xff"].concat();
    scene.assert_rejected("invalid UTF-8", &forge.sign(&header, payload)).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn an_oversized_token_with_a_valid_signature_is_rejected() {
    // S-22
    let scene = Scene::new().await;
    let token = scene.forge.with_claim("note", Some(json!("x".repeat(20_000))));
    scene.assert_rejected("27 kB", &token).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn refresh_tokens_ids_and_passwords_are_rejected_as_access_tokens_and_tokens_are_rejected_as_passwords()
{
    // S-26
    let scene = Scene::new().await;
    let grant = scene.ada.grant();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let refresh = text(&grant["refresh_token"]);
    for other in [
        refresh.clone(),
        refresh.rsplit('.').next().unwrap().to_owned(),
        refresh.trim_start_matches("v1.").to_owned(),
        text(&grant["session_id"]),
        scene.ada.id().to_owned(),
        scene.forge.kid(),
        crate::harness::PASSWORD.to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
    ] {
        scene.assert_rejected(&other, &other).await;
    }
    let body = json!({ "identifier": "ada", "password": scene.ada.token() });
    let reply = scene.app.anonymous().post("/api/v1/auth/login").json(&body).await;
    reply.expect(401).problem("invalid_credentials");
    let body = json!({ "identifier": "ada", "password": refresh });
    let reply = scene.app.anonymous().post("/api/v1/auth/login").json(&body).await;
    reply.expect(401).problem("invalid_credentials");
    scene.assert_unchanged().await;
}
