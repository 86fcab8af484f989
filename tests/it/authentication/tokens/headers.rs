//! The token header: unknown key ids, embedded keys, critical extensions and token types.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::Scene;
use super::forge::part;

#[tokio::test]
async fn an_unknown_kid_is_rejected() {
    // S-22
    let scene = Scene::new().await;
    let kid = scene.forge.kid();
    let truncated = kid[..kid.len() - 1].to_owned();
    let values = [
        json!("' OR '1'='1"),
        json!("x' UNION SELECT public_key FROM signing_keys --"),
        json!(format!("{kid}'; DROP TABLE users; --")),
        json!("%"),
        json!("../../../../dev/null"),
        json!("/etc/passwd"),
        json!("file:///dev/null"),
        json!("http://127.0.0.1/key"),
        json!("${jndi:ldap://127.0.0.1/a}"),
        json!("| cat /etc/passwd"),
        json!("\0"),
        json!(format!("{kid}\0")),
        json!(format!("{kid}\n")),
        json!(format!(" {kid}")),
        json!(kid.to_uppercase()),
        json!(truncated),
        json!(format!("{kid}{kid}")),
        json!(""),
        json!("0"),
        json!("x".repeat(20_000)),
        json!([kid]),
        json!([]),
        json!({ "kid": kid }),
        json!({}),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(null),
    ];
    let attacker = scene.forge.attacker();
    for value in values {
        let case: String = format!("kid {value}").chars().take(80).collect();
        scene.assert_rejected(&case, &scene.forge.with_header_field("kid", Some(value.clone()))).await;
        scene.assert_rejected(&case, &attacker.with_header_field("kid", Some(value))).await;
    }
    scene.assert_rejected("no kid", &scene.forge.with_header_field("kid", None)).await;
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_kid_of_100_kilobytes_is_rejected() {
    // S-22
    let scene = Scene::new().await;
    let token = scene.forge.with_header_field("kid", Some(json!("x".repeat(100_000))));
    let request = format!(
        "GET /api/v1/me HTTP/1.1\r\nHost: tripgate.test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let reply = scene.app.raw(request).await;
    let statuses = reply.statuses();
    assert!(reply.closed && statuses.iter().all(|status| [400, 401, 431].contains(status)), "{statuses:?}");
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_key_or_key_url_in_the_token_header_is_never_used() {
    // S-21
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let attacker = scene.forge.attacker();
    let mut jwk = attacker.jwk();
    jwk["kid"] = json!(scene.forge.kid());
    let certificate = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, attacker.der());
    let embedded = [
        ("jwk", jwk.clone()),
        ("jwk", json!({ "keys": [jwk] })),
        ("jwk", json!(jwk.to_string())),
        ("jwk", json!({ "kty": "oct", "k": part([0; 32]) })),
        ("jku", json!(url)),
        ("jku", json!([url])),
        ("x5u", json!(url)),
        ("x5c", json!([certificate])),
        ("x5t", json!(part([0; 20]))),
        ("x5t#S256", json!(part([0; 32]))),
    ];
    for (name, value) in &embedded {
        for kid in [Some(json!(scene.forge.kid())), Some(json!("attacker")), None] {
            let mut header = scene.forge.header();
            header[*name] = value.clone();
            match kid {
                Some(kid) => header["kid"] = kid,
                None => drop(header.as_object_mut().unwrap().remove("kid")),
            }
            scene.assert_rejected(&format!("{header}"), &attacker.with_header(&header)).await;
        }
    }
    let mut all: Map<String, Value> = scene.forge.header().as_object().unwrap().clone();
    all.extend(embedded.map(|(name, value)| (name.to_owned(), value)));
    scene.assert_rejected("all fields", &attacker.with_header(&Value::Object(all))).await;
    let connection = timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(connection.is_err(), "the server fetched a key");
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_critical_header_extension_is_rejected() {
    // S-27
    let scene = Scene::new().await;
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!(["urn:x"]),
        json!(["alg"]),
        json!([]),
        json!(null),
        json!("exp"),
    ] {
        scene
            .assert_rejected(&format!("crit {crit}"), &scene.forge.with_header_field("crit", Some(crit)))
            .await;
    }
    for b64 in [json!(false), json!(true), json!("false")] {
        scene
            .assert_rejected(&format!("b64 {b64}"), &scene.forge.with_header_field("b64", Some(b64.clone())))
            .await;
        let mut header = scene.forge.header();
        header["b64"] = b64;
        header["crit"] = json!(["b64"]);
        scene.assert_rejected(&format!("{header}"), &scene.forge.with_header(&header)).await;
    }
    scene.assert_unchanged().await;
}

#[tokio::test]
async fn a_token_whose_typ_header_is_not_at_jwt_is_rejected() {
    // S-25
    let scene = Scene::new().await;
    for typ in
        ["JWT", "jwt", "", "at", "jwt+at", "at+jwt ", "id+jwt", "dpop+jwt", "refresh+jwt", "text/at+jwt"]
    {
        scene
            .assert_rejected(&format!("typ {typ:?}"), &scene.forge.with_header_field("typ", Some(json!(typ))))
            .await;
    }
    for typ in [json!(null), json!(["at+jwt"]), json!({}), json!(1)] {
        scene.assert_rejected(&format!("typ {typ}"), &scene.forge.with_header_field("typ", Some(typ))).await;
    }
    scene.assert_rejected("no typ", &scene.forge.with_header_field("typ", None)).await;
    // Media types ignore case, and the prefix `application/` is optional (RFC 7515 §4.1.9).
    for typ in ["AT+JWT", "application/at+jwt"] {
        scene.assert_accepted(typ, &scene.forge.with_header_field("typ", Some(json!(typ)))).await;
    }
    scene.assert_unchanged().await;
}
