//! Personal access tokens: creating, listing, using and removing them.

mod digest;
mod services;

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tripgate::accounts::NO_PASSWORD;
use tripgate::db::StoreError;

use crate::harness::{Client, PASSWORD, TestApp, email, rows};

const TOKENS: &str = "/api/v1/me/tokens";

async fn create(owner: &Client, body: Value) -> Value {
    let reply = owner.post(TOKENS).json(&body).await.expect(201);
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()
}

/// Creates a token. Returns the id of the token and a client that uses the token.
async fn with_token(owner: &Client, scope: &str) -> (String, Client) {
    let created = create(owner, json!({ "name": "script", "scope": scope })).await;
    (created["id"].as_str().unwrap().to_owned(), owner.with_token(created["token"].as_str().unwrap()))
}

#[tokio::test]
async fn a_personal_token_is_shown_once_and_works_as_bearer_within_its_scopes() {
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut created = create(&ada, json!({ "name": "Calendar export", "scope": "trips:read" })).await;
    let token = created["token"].take().as_str().unwrap().to_owned();
    let id = created["id"].take();
    assert!(token.starts_with("tgp_") && token.len() == 108, "{token}");
    let mut expected = json!({
        "id": null, "name": "Calendar export", "scope": "trips:read", "digest": false, "token": null,
        "created_at": "2026-03-02T08:30:00.000Z",
    });
    assert_eq!(created, expected);
    let script = app.anonymous().with_token(&token);
    assert_eq!(script.get("/api/v1/trips").await.expect(200).json()["items"], json!([]));
    let refused = script.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await;
    refused.expect(403).problem("insufficient_scope");
    script.get("/api/v1/me").await.expect(403).problem("insufficient_scope");
    let session = script.get("/api/v1/auth/session").await.expect(200).json();
    assert_eq!(
        session,
        json!({
            "user_id": ada.id(), "scope": "trips:read", "amr": ["personal_token"],
            "issued_at": "2026-03-02T08:30:00.000Z",
        })
    );
    let fields = expected.as_object_mut().unwrap();
    fields.remove("token");
    fields.insert("id".to_owned(), id);
    fields.insert("last_used_at".to_owned(), json!("2026-03-02T08:30:00.000Z"));
    let list = ada.get(TOKENS).await.expect(200);
    assert_eq!(list.json(), json!({ "items": [expected] }));
    assert!(!list.text().contains(&token[5..]));
}

#[tokio::test]
async fn the_database_contains_neither_the_personal_token_nor_an_unkeyed_hash_of_it() {
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = create(&ada, json!({ "name": "x", "scope": "account", "digest": true })).await;
    let token = created["token"].as_str().unwrap();
    let row = rows::personal_tokens(&app).await.remove(0);
    let plain = [
        token.as_bytes().to_vec(),
        tripgate::secrets::sha256(token.as_bytes()).to_vec(),
        tripgate::secrets::sha256(format!("{}:tripgate:{token}", row.id).as_bytes()).to_vec(),
    ];
    let sealed = row.sealed_digest_hash.unwrap();
    for plain in plain {
        assert!(row.token_hash != plain && !sealed.windows(plain.len()).any(|part| part == plain));
    }
}

#[tokio::test]
async fn an_invalid_request_creates_no_personal_token() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (body, pointer, code) in [
        (json!({ "scope": "account" }), "/name", "required"),
        (json!({ "name": "x" }), "/scope", "required"),
        (json!({ "name": "", "scope": "account" }), "/name", "too_short"),
        (json!({ "name": "a\nb", "scope": "account" }), "/name", "invalid_format"),
        (json!({ "name": "x", "scope": "" }), "/scope", "not_allowed"),
        (json!({ "name": "x", "scope": "admin" }), "/scope", "not_allowed"),
        (
            json!({ "name": "x", "scope": "account", "expires_at": "tomorrow" }),
            "/expires_at",
            "invalid_format",
        ),
        (
            json!({ "name": "x", "scope": "account", "expires_at": "2026-03-02T08:30:00Z" }),
            "/expires_at",
            "in_the_past",
        ),
        (json!({ "name": "x", "scope": "account", "digest": "yes" }), "/digest", "wrong_type"),
        (json!({ "name": "x", "scope": "account", "token": "x" }), "/token", "unknown_member"),
    ] {
        let errors = ada.post(TOKENS).json(&body).await.expect(422).field_errors();
        assert_eq!(errors, [(pointer.to_owned(), code.to_owned())], "{body}");
    }
    assert!(rows::personal_tokens(&app).await.is_empty());
}

#[tokio::test]
async fn a_personal_token_never_has_a_scope_that_its_creator_lacks() {
    // S-93
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let narrow = app.log_in_for("ada", "account trips:read").await;
    let body = json!({ "name": "x", "scope": "trips:read trips:write" });
    narrow.post(TOKENS).json(&body).await.expect(403).problem("insufficient_scope");
    assert!(rows::personal_tokens(&app).await.is_empty());
}

#[tokio::test]
async fn creating_a_token_requires_a_recent_login_which_a_personal_token_does_not_replace() {
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (id, script) = with_token(&ada, "account").await;
    let body = json!({ "name": "x", "scope": "account" });
    script.post(TOKENS).json(&body).await.expect(401).problem("step_up_required");
    let reauthenticate =
        script.post("/api/v1/me/reauthenticate").json(&json!({ "password": PASSWORD })).await;
    reauthenticate.expect(401).problem("unauthenticated");
    app.clock.advance(TimeDelta::seconds(301));
    ada.post(TOKENS).json(&body).await.expect(401).problem("step_up_required");
    // Removing a token is always possible.
    ada.delete(&format!("{TOKENS}/{id}")).await.expect(204);
    assert!(rows::personal_tokens(&app).await.is_empty());
}

#[tokio::test]
async fn a_removed_personal_token_is_refused_at_once_and_on_every_replica_within_a_second() {
    // S-93
    let app = TestApp::start_now().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let (id, script) = with_token(&ada, "trips:read").await;
    let there = replica.anonymous().with_token(script.token());
    script.get("/api/v1/trips").await.expect(200);
    there.get("/api/v1/trips").await.expect(200);
    ada.delete(&format!("{TOKENS}/{id}")).await.expect(204);
    let removed_at = Instant::now();
    let refused = script.get("/api/v1/trips").await.expect(401).problem("invalid_token");
    assert!(refused.header("www-authenticate").contains(r#"error="invalid_token""#));
    while there.get("/api/v1/trips").await.status == 200 {
        assert!(removed_at.elapsed() < Duration::from_secs(1));
    }
    ada.delete(&format!("{TOKENS}/{id}")).await.expect(404).problem("not_found");
    assert_eq!(ada.get(TOKENS).await.expect(200).json(), json!({ "items": [] }));
}

#[tokio::test]
async fn another_user_can_neither_see_nor_remove_a_personal_token() {
    // S-93
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let (id, script) = with_token(&ada, "trips:read").await;
    assert_eq!(eve.get(TOKENS).await.expect(200).json(), json!({ "items": [] }));
    eve.delete(&format!("{TOKENS}/{id}")).await.expect(404).problem("not_found");
    script.get("/api/v1/trips").await.expect(200);
}

#[tokio::test]
async fn an_expired_personal_token_is_refused_and_later_deleted() {
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "name": "x", "scope": "trips:read", "expires_at": "2026-03-02T10:30:00+01:00" });
    let created = create(&ada, body).await;
    assert_eq!(created["expires_at"], "2026-03-02T09:30:00.000Z");
    let script = ada.with_token(created["token"].as_str().unwrap());
    app.clock.advance(TimeDelta::seconds(3599));
    script.get("/api/v1/trips").await.expect(200);
    app.clock.advance(TimeDelta::seconds(1));
    let detail = script.get("/api/v1/trips").await.expect(401).problem("invalid_token").json();
    assert!(detail["detail"].as_str().unwrap().contains("expired"), "{detail}");
    for (days, left) in [(29, 1), (2, 0)] {
        app.clock.advance(TimeDelta::days(days));
        app.services().personal_tokens.sweep().await.unwrap();
        assert_eq!(rows::personal_tokens(&app).await.len(), left);
    }
}

#[tokio::test]
async fn modified_and_unknown_personal_tokens_are_refused() {
    // S-93
    let app = TestApp::start().await;
    let other = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (_, script) = with_token(&ada, "trips:read").await;
    let (_, foreign) = with_token(&other.sign_up("ada").await, "trips:read").await;
    let token = script.token();
    // A token with the id of a valid token and the secret of another valid token.
    let (_, second) = with_token(&ada, "trips:read").await;
    let mixed = format!("{}{}", &token[..36], &second.token()[36..100]);
    let sum = tripgate::secrets::sha256(mixed.as_bytes());
    let sum = u32::from_be_bytes(sum[..4].try_into().unwrap());
    let sum = format!("{sum:08x}");
    for invalid in [
        token.to_uppercase(),
        format!("{token}0"),
        token[..107].to_owned(),
        token.replacen("tgp_", "tgq_", 1),
        format!("{mixed}{sum}"),
        foreign.token().to_owned(),
        "tgp_".to_owned(),
    ] {
        let reply = app.anonymous().with_token(&invalid).get("/api/v1/trips").await;
        reply.expect(401).problem("invalid_token");
    }
    script.get("/api/v1/trips").await.expect(200);
}

#[tokio::test]
async fn a_personal_token_cannot_be_exchanged_for_another_token_and_is_rejected_in_the_query() {
    // S-93, S-26
    let app = TestApp::with(|settings| {
        settings.auth_methods.basic = true;
        settings.auth_methods.query_token = true;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let (_, script) = with_token(&ada, "account trips:read trips:write").await;
    let token = script.token();
    script.get("/api/v1/me").await.expect(200);
    for (method, path) in [("POST", "/api/v1/auth/tokens"), ("GET", "/api/v1/auth/verify")] {
        let call = || app.anonymous().call(method.parse().unwrap(), path);
        call().basic("ada", token).await.expect(401).problem("invalid_credentials");
        call().basic(token, "").await.expect(401).problem("invalid_credentials");
        call().bearer(token).await.expect(401).problem("unauthenticated");
    }
    let body = json!({ "identifier": "ada", "password": token });
    app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401).problem("invalid_credentials");
    let body = json!({ "refresh_token": token });
    let refused = app.anonymous().post("/api/v1/auth/refresh").json(&body).await;
    refused.expect(401).problem("invalid_refresh_token");
    let query = app.anonymous().get(&format!("/api/v1/trips?token={token}")).await;
    query.expect(401).problem("invalid_token");
    let user_name = app.anonymous().get("/api/v1/trips").basic(token, "").await;
    user_name.expect(401).problem("invalid_token");
}

#[tokio::test]
async fn a_personal_token_is_accepted_as_the_basic_password_of_its_user_if_basic_is_enabled() {
    // S-93
    let app = TestApp::with(|settings| settings.auth_methods.basic = true).await;
    let ada = app.sign_up("ada").await;
    app.sign_up("eve").await;
    let (id, script) = with_token(&ada, "trips:read").await;
    let token = script.token();
    let trips = |name: &str, password: &str| app.anonymous().get("/api/v1/trips").basic(name, password);
    for name in ["ada", "ADA", &email("ada")] {
        trips(name, token).await.expect(200);
    }
    let me = app.anonymous().get("/api/v1/me").basic("ada", token).await;
    me.expect(403).problem("insufficient_scope");
    for name in ["eve", "nobody", "", ada.id(), &id] {
        trips(name, token).await.expect(401).problem("invalid_credentials");
    }
    trips("ada", PASSWORD).await.expect(200);
    ada.delete(&format!("{TOKENS}/{id}")).await.expect(204);
    trips("ada", token).await.expect(401).problem("invalid_credentials");
    let off = app.replica_with(|settings| settings.auth_methods.basic = false).await;
    let (_, second) = with_token(&ada, "trips:read").await;
    let refused = off.anonymous().get("/api/v1/trips").basic("ada", second.token()).await;
    refused.expect(401).problem("unauthenticated");
}

#[tokio::test]
async fn a_user_has_at_most_50_personal_tokens_even_if_they_are_created_at_once() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "name": "x", "scope": "account" });
    let all = (0..55).map(async |_| ada.post(TOKENS).json(&body).await);
    let replies = futures_util::future::join_all(all).await;
    let (created, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!(created.len(), 50);
    for reply in refused {
        reply.expect(507).problem("quota_exceeded");
    }
    let id = created[0].json()["id"].as_str().unwrap().to_owned();
    ada.delete(&format!("{TOKENS}/{id}")).await.expect(204);
    create(&ada, body).await;
}

#[tokio::test]
async fn the_last_use_of_a_personal_token_is_recorded_at_most_once_a_minute_and_survives_a_restart() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (_, script) = with_token(&ada, "trips:read").await;
    let last_use = async |app: &TestApp| {
        let all = app.anonymous().with_token(ada.token()).get(TOKENS).await.expect(200).json();
        all["items"][0]["last_used_at"].clone()
    };
    assert_eq!(last_use(&app).await, Value::Null);
    for (seconds, expected) in [(0, "08:30:00"), (59, "08:30:00"), (1, "08:31:00"), (70, "08:32:10")] {
        app.clock.advance(TimeDelta::seconds(seconds));
        script.get("/api/v1/trips").await.expect(200);
        assert_eq!(last_use(&app).await, format!("2026-03-02T{expected}.000Z"));
    }
    let app = app.restart().await;
    assert_eq!(last_use(&app).await, "2026-03-02T08:32:10.000Z");
}

#[tokio::test]
async fn the_personal_tokens_of_a_deleted_user_are_refused_on_every_replica() {
    // S-93, S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let (_, script) = with_token(&ada, "trips:read").await;
    let there = replica.anonymous().with_token(script.token());
    there.get("/api/v1/trips").await.expect(200);
    script.get("/api/v1/trips").await.expect(200);
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    script.get("/api/v1/trips").await.expect(401).problem("invalid_token");
    app.clock.advance(TimeDelta::seconds(1));
    there.get("/api/v1/trips").await.expect(401).problem("invalid_token");
    assert!(rows::personal_tokens(&app).await.is_empty());
}

#[tokio::test]
async fn removing_the_credentials_of_a_user_invalidates_all_personal_tokens_of_that_user() {
    // S-93
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let scripts = [with_token(&ada, "trips:read").await.1, with_token(&ada, "account").await.1];
    let (_, other) = with_token(&eve, "trips:read").await;
    for script in &scripts {
        script.get("/api/v1/auth/session").await.expect(200);
    }
    let services = app.services();
    let user = ada.id().parse().unwrap();
    let input = (services.sessions.clone(), user, app.clock.now());
    let ended: Result<_, StoreError> = services
        .db
        .write(input, |tx, (sessions, user, now)| {
            Box::pin(sessions.drop_credentials(tx, *user, NO_PASSWORD, *now))
        })
        .await;
    services.sessions.apply_ended(user, &ended.unwrap());
    for script in &scripts {
        script.get("/api/v1/auth/session").await.expect(401).problem("invalid_token");
    }
    other.get("/api/v1/trips").await.expect(200);
}
