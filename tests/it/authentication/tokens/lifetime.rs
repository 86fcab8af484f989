//! Token validity: claims, expiry, replicas, restarts and another master secret.

use chrono::TimeDelta;
use serde_json::json;
use tripgate::config::Secret;

use super::forge::read;
use crate::harness::{Client, PASSWORD, PUBLIC_URL, TestApp, email, rows};

const EXPIRED: &str =
    r#"Bearer realm="tripgate", error="invalid_token", error_description="The access token has expired""#;

async fn assert_accepted(client: &Client) {
    client.get("/api/v1/me").await.expect(200);
    client.get("/api/v1/auth/session").await.expect(200);
}

async fn assert_expired(client: &Client) {
    for path in ["/api/v1/me", "/api/v1/auth/session", "/api/v1/trips"] {
        let reply = client.get(path).await.expect(401).problem("invalid_token");
        assert_eq!(reply.header("www-authenticate"), EXPIRED);
        assert_eq!(reply.json()["client_action"], "refresh");
    }
    let call = client.post("/api/v1/trips").json(&json!({ "title": "Too late" }));
    call.await.expect(401).problem("invalid_token");
}

/// Returns a client of the server `app` with the tokens of `client`.
fn client_on(app: &TestApp, client: &Client) -> Client {
    app.anonymous().with_grant(client.grant())
}

#[tokio::test]
async fn an_access_token_has_the_rfc_9068_claims_and_no_personal_data() {
    // S-31
    let app = TestApp::start().await;
    app.sign_up("quixote").await;
    let body = json!({ "display_name": "Knight of La Mancha" });
    app.log_in("quixote").await.patch("/api/v1/me").json(&body).await.expect(200);
    app.clock.advance(TimeDelta::seconds(10));
    let quixote = app.log_in_for("quixote", "trips:read account").await;
    let (header, claims) = (read(quixote.token(), 0), read(quixote.token(), 1));
    assert_eq!(header, json!({ "typ": "at+jwt", "alg": "ES256", "kid": header["kid"] }));
    assert_eq!(header["kid"], rows::active_key(&app).await.kid);
    let now = app.clock.now().timestamp();
    assert_eq!(
        claims,
        json!({
            "iss": PUBLIC_URL, "aud": "tripgate", "sub": quixote.id(), "client_id": "tripgate",
            "iat": now, "exp": now + 900, "jti": claims["jti"], "sid": quixote.grant()["session_id"],
            "generation": 1, "scope": "account trips:read", "auth_time": now, "amr": ["pwd"],
        })
    );
    let text = format!("{header}{claims}").to_lowercase();
    for personal in ["quixote", "mancha", &email("quixote"), PASSWORD] {
        assert!(!text.contains(personal), "{text} contains {personal}");
    }
}

#[tokio::test]
async fn every_token_has_a_unique_jti() {
    // S-31
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let mut ids = vec![read(app.sign_up("ada").await.token(), 1)["jti"].to_string()];
    for server in [&app, &replica].into_iter().cycle().take(20) {
        ids.push(read(server.log_in("ada").await.token(), 1)["jti"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 21);
}

#[tokio::test]
async fn an_access_token_is_valid_until_30_seconds_after_its_expiry() {
    // S-24
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(900 + 29));
    assert_accepted(&ada).await;
    assert_accepted(&client_on(&replica, &ada)).await;
    app.clock.advance(TimeDelta::seconds(2));
    assert_expired(&ada).await;
    assert_expired(&client_on(&replica, &ada)).await;
    assert_eq!(app.log_in("ada").await.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn a_token_that_is_not_in_the_cache_expires_too() {
    // S-24
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(900 + 31));
    assert_expired(&ada).await;
    assert_expired(&ada).await;
}

#[tokio::test]
async fn the_token_lifetime_is_configurable() {
    for ttl_secs in [180, 604_800] {
        let app = TestApp::with(|settings| settings.access_ttl_secs = ttl_secs).await;
        let ada = app.sign_up("ada").await;
        assert_eq!(ada.grant()["expires_in"], ttl_secs);
        app.clock.advance(TimeDelta::seconds(i64::from(ttl_secs) - 1));
        assert_accepted(&ada).await;
        app.clock.advance(TimeDelta::seconds(32));
        assert_expired(&ada).await;
    }
}

#[tokio::test]
async fn a_token_is_valid_on_every_replica_and_after_a_restart() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (ada, brian) = (app.sign_up("ada").await, replica.sign_up("brian").await);
    assert_accepted(&client_on(&replica, &ada)).await;
    assert_accepted(&client_on(&app, &brian)).await;
    let key_count = rows::signing_keys(&app).await.len();
    let app = app.restart().await;
    assert_accepted(&client_on(&app, &ada)).await;
    assert_accepted(&client_on(&app, &brian)).await;
    assert_accepted(&app.log_in("ada").await).await;
    assert_eq!((key_count, rows::signing_keys(&app).await.len()), (2, 2), "a restart created another key");
}

#[tokio::test]
async fn the_private_key_is_stored_encrypted() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let key = rows::active_key(&app).await;
    let plain = super::Forge::new(&app, ada.token()).await;
    let public = plain.point();
    assert_eq!(key.public_key, public);
    // An unencrypted P-256 private key in PKCS #8 form would contain the public point too.
    let encrypted = key.sealed_private_key;
    assert!(!encrypted.windows(16).any(|window| public.windows(16).any(|part| part == window)));
}

#[tokio::test]
async fn a_server_with_another_secret_accepts_existing_tokens_and_issues_none() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let settings = app.settings().clone();
    let other = TestApp::with(|s| {
        *s = settings;
        s.secret = Some(Secret::new("another secret, given by mistake, of enough bytes"));
    })
    .await;
    assert_accepted(&client_on(&other, &ada)).await;
    let login = json!({ "identifier": "ada", "password": PASSWORD });
    let signup = json!({ "username": "brian", "password": PASSWORD });
    for (path, body) in [("/api/v1/auth/login", login), ("/api/v1/auth/signup", signup)] {
        let reply = other.anonymous().post(path).json(&body).await;
        let reply = reply.expect(503).problem("no_signing_key");
        assert!(reply.header("retry-after").parse::<u64>().is_ok());
    }
    assert_eq!(rows::users(&app).await.len(), 1, "a failed sign-up created an account");
    assert_eq!(rows::sessions(&app).await.len(), 1, "a failed login created a session");
    assert_eq!(rows::signing_keys(&app).await.len(), 2, "another key was created");
    // The operator corrects the secret.
    assert_accepted(&app.restart().await.log_in("ada").await).await;
}
