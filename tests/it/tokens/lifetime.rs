//! How long a token is good, and where: on every replica, after a restart, under another secret.

use chrono::TimeDelta;
use serde_json::json;
use tripgate::config::Secret;

use super::forge::read;
use crate::harness::{Client, PASSWORD, PUBLIC_URL, TestApp, email};
use crate::stored;

const EXPIRED: &str =
    r#"Bearer realm="tripgate", error="invalid_token", error_description="The access token has expired""#;

async fn is_taken(client: &Client) {
    client.get("/api/v1/me").await.expect(200);
    client.get("/api/v1/auth/session").await.expect(200);
}

async fn has_expired(client: &Client) {
    for path in ["/api/v1/me", "/api/v1/auth/session", "/api/v1/trips"] {
        let reply = client.get(path).await.expect(401).problem("invalid_token");
        assert_eq!(reply.header("www-authenticate"), EXPIRED);
        assert_eq!(reply.json()["client_action"], "refresh");
    }
    let call = client.post("/api/v1/trips").json(&json!({ "title": "Too late" }));
    call.await.expect(401).problem("invalid_token");
}

/// The same token on a server that has never seen it.
fn on(app: &TestApp, client: &Client) -> Client {
    app.anonymous().granted(client.grant())
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
    assert_eq!(header["kid"], stored::active_key(&app).await.kid);
    let now = app.clock.now().timestamp();
    assert_eq!(
        claims,
        json!({
            "iss": PUBLIC_URL, "aud": "tripgate", "sub": quixote.id(), "client_id": "tripgate",
            "iat": now, "exp": now + 900, "jti": claims["jti"], "sid": quixote.grant()["session_id"],
            "generation": 1, "scope": "account trips:read", "auth_time": now, "amr": ["pwd"],
        })
    );
    let said = format!("{header}{claims}").to_lowercase();
    for personal in ["quixote", "mancha", &email("quixote"), PASSWORD] {
        assert!(!said.contains(personal), "{personal} stands in {said}");
    }
}

#[tokio::test]
async fn every_token_has_a_unique_jti() {
    // S-31
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let mut names = vec![read(app.sign_up("ada").await.token(), 1)["jti"].to_string()];
    for server in [&app, &replica].into_iter().cycle().take(20) {
        names.push(read(server.log_in("ada").await.token(), 1)["jti"].to_string());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 21);
}

#[tokio::test]
async fn a_token_is_valid_until_30_seconds_after_its_expiry() {
    // S-24
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(900 + 29));
    is_taken(&ada).await;
    is_taken(&on(&replica, &ada)).await;
    app.clock.advance(TimeDelta::seconds(2));
    has_expired(&ada).await;
    has_expired(&on(&replica, &ada)).await;
    assert_eq!(app.log_in("ada").await.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn an_uncached_token_expires_too() {
    // S-24
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(900 + 31));
    has_expired(&ada).await;
    has_expired(&ada).await;
}

#[tokio::test]
async fn the_token_lifetime_is_configurable() {
    for ttl_secs in [180, 604_800] {
        let app = TestApp::with(|settings| settings.access_ttl_secs = ttl_secs).await;
        let ada = app.sign_up("ada").await;
        assert_eq!(ada.grant()["expires_in"], ttl_secs);
        app.clock.advance(TimeDelta::seconds(i64::from(ttl_secs) - 1));
        is_taken(&ada).await;
        app.clock.advance(TimeDelta::seconds(32));
        has_expired(&ada).await;
    }
}

#[tokio::test]
async fn a_token_is_valid_on_every_replica_and_after_a_restart() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (here, there) = (app.sign_up("ada").await, replica.sign_up("brian").await);
    is_taken(&on(&replica, &here)).await;
    is_taken(&on(&app, &there)).await;
    let kids = stored::signing_keys(&app).await.len();
    let app = app.restart().await;
    is_taken(&on(&app, &here)).await;
    is_taken(&on(&app, &there)).await;
    is_taken(&app.log_in("ada").await).await;
    assert_eq!((kids, stored::signing_keys(&app).await.len()), (2, 2), "a restart made another key");
}

#[tokio::test]
async fn the_private_key_is_stored_encrypted() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let key = stored::active_key(&app).await;
    let plain = super::Forge::of(&app, ada.token()).await;
    let public = plain.point();
    assert_eq!(key.public_key, public);
    // PKCS #8 of P-256 holds the public point too.
    let sealed = key.sealed_private_key;
    assert!(!sealed.windows(16).any(|window| public.windows(16).any(|part| part == window)));
}

#[tokio::test]
async fn under_another_secret_existing_tokens_are_valid_and_none_are_issued() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let settings = app.settings().clone();
    let mistaken = TestApp::with(|s| {
        *s = settings;
        s.secret = Some(Secret::new("another secret, given by mistake, of enough bytes"));
    })
    .await;
    is_taken(&on(&mistaken, &ada)).await;
    let login = json!({ "identifier": "ada", "password": PASSWORD });
    let signup = json!({ "username": "brian", "password": PASSWORD });
    for (path, body) in [("/api/v1/auth/login", login), ("/api/v1/auth/signup", signup)] {
        let reply = mistaken.anonymous().post(path).json(&body).await;
        let reply = reply.expect(503).problem("no_signing_key");
        assert!(reply.header("retry-after").parse::<u64>().is_ok());
    }
    assert_eq!(stored::users(&app).await.len(), 1, "half an account was made");
    assert_eq!(stored::sessions(&app).await.len(), 1, "a session was begun that nobody can use");
    assert_eq!(stored::signing_keys(&app).await.len(), 2, "another key was made");
    // The operator corrects the secret.
    is_taken(&app.restart().await.log_in("ada").await).await;
}
