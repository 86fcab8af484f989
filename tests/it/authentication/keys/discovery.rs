//! Discovery: the public keys and the server metadata, which other services fetch.

use std::collections::HashSet;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use super::{ALGORITHMS, client_on, key_rotation, signing_with, wait_for_propagation};
use crate::harness::{PUBLIC_URL, TestApp};

const KEYS: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn the_published_keys_verify_tokens_and_contain_no_private_part() {
    // S-32
    for (alg, name) in ALGORITHMS {
        let app = signing_with(alg).await;
        let ada = app.sign_up("ada").await;
        key_rotation(&app).rotate().await.unwrap();
        wait_for_propagation().await;
        let reply = app.anonymous().get(KEYS).await.expect(200);
        let keys = reply.json()["keys"].as_array().unwrap().clone();
        if name == "HS256" {
            assert_eq!(keys, [] as [Value; 0]);
            continue;
        }
        assert_eq!(keys.len(), 3, "standby, active and retired");
        for key in &keys {
            let fields: HashSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
            let parameters: &[&str] = match name {
                "ES256" => &["crv", "x", "y"],
                "EdDSA" => &["crv", "x"],
                _ => &["n", "e"],
            };
            let expected = ["kid", "alg", "use", "kty"].iter().chain(parameters).copied().collect();
            assert_eq!(fields, expected, "{name}");
            assert_eq!((&key["alg"], &key["use"]), (&json!(name), &json!("sig")));
        }
        let keys: JwkSet = serde_json::from_slice(&reply.body).unwrap();
        for client in [&ada, &app.log_in("ada").await] {
            let header = jsonwebtoken::decode_header(client.token()).unwrap();
            let key = keys.find(&header.kid.unwrap()).unwrap();
            let mut rules = Validation::new(header.alg);
            rules.set_audience(&["tripgate"]);
            rules.validate_exp = false;
            let key = DecodingKey::from_jwk(key).unwrap();
            let claims = jsonwebtoken::decode::<Value>(client.token(), &key, &rules).unwrap().claims;
            assert_eq!(claims["sub"], ada.id());
        }
    }
}

#[tokio::test]
async fn the_key_set_is_cacheable_and_supports_if_none_match() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let first = app.anonymous().get(KEYS).await.expect(200);
    assert_eq!(first.header("cache-control"), "public, max-age=300");
    let etag = first.header("etag");
    assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
    let same = replica.anonymous().get(KEYS).await.expect(200);
    assert_eq!((same.header("etag"), &same.body), (etag, &first.body));
    for matching in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let reply = app.anonymous().get(KEYS).header("if-none-match", &matching).await.expect(304);
        assert_eq!((reply.header("etag"), reply.body.len()), (etag, 0));
    }
    let head = app.anonymous().head(KEYS).await.expect(200);
    assert_eq!(head.header("content-length"), first.body.len().to_string());
    key_rotation(&app).rotate().await.unwrap();
    wait_for_propagation().await;
    let after = replica.anonymous().get(KEYS).header("if-none-match", etag).await.expect(200);
    assert_ne!(after.header("etag"), etag);
    // Credentials are ignored, even invalid ones.
    let ada = app.sign_up("ada").await;
    client_on(&app, &ada).with_token("bad").get(KEYS).await.expect(200);
}

#[tokio::test]
async fn the_authorization_server_metadata_lists_the_endpoints() {
    let app = TestApp::start().await;
    let reply = app.anonymous().get("/.well-known/oauth-authorization-server").await.expect(200);
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    assert_eq!(
        reply.json(),
        json!({
            "issuer": PUBLIC_URL,
            "jwks_uri": format!("{PUBLIC_URL}/.well-known/jwks.json"),
            "introspection_endpoint": format!("{PUBLIC_URL}/api/v1/auth/introspect"),
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
            "revocation_endpoint": format!("{PUBLIC_URL}/api/v1/auth/revoke"),
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
            "scopes_supported": ["account", "trips:read", "trips:write"],
            "response_types_supported": [],
            "grant_types_supported": [],
        })
    );
    app.anonymous().post(KEYS).await.expect(405);
    app.anonymous().get("/.well-known/other").await.expect(404).problem("not_found");
}
