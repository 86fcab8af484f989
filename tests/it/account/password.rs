//! The change of the password by a logged-in user.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, Reply, TestApp, rows};

const CHANGE: &str = "/api/v1/me/password";
const NEW: &str = "a stormy sea in spring";

async fn change(client: &Client, current: Option<&str>, new: &str) -> Reply {
    let mut body = json!({ "new_password": new });
    if let Some(current) = current {
        body["current_password"] = json!(current);
    }
    client.post(CHANGE).json(&body).await
}

async fn log_in(app: &TestApp, password: &str) -> Reply {
    let body = json!({ "identifier": "ada", "password": password });
    app.anonymous().post("/api/v1/auth/login").json(&body).await
}

async fn refresh(app: &TestApp, client: &Client) -> Reply {
    let body = json!({ "refresh_token": client.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/refresh").json(&body).await
}

async fn token_of(app: &TestApp, password: &str) -> Value {
    let reply = app.anonymous().post("/api/v1/auth/tokens").basic("ada", password).await.expect(200);
    reply.json()["access_token"].clone()
}

#[tokio::test]
async fn changing_the_password_ends_all_other_sessions_and_revokes_sessionless_tokens() {
    // S-8, S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let brian = app.sign_up("brian").await;
    let tablet = app.log_in("ada").await;
    let script = ada.with_token(token_of(&app, PASSWORD).await.as_str().unwrap());
    let there = replica.anonymous().with_token(tablet.token());
    there.get("/api/v1/me").await.expect(200);
    app.clock.advance(TimeDelta::minutes(6));
    change(&ada, Some(PASSWORD), NEW).await.expect(204);
    ada.get("/api/v1/me").await.expect(200);
    let ada = app.anonymous().with_grant(&refresh(&app, &ada).await.expect(200).json());
    for other in [&tablet, &script] {
        other.get("/api/v1/me").await.expect(401).problem("invalid_token");
    }
    refresh(&app, &tablet).await.expect(401).problem("session_revoked");
    brian.get("/api/v1/me").await.expect(200);
    let started = Instant::now();
    while there.get("/api/v1/me").await.status == 200 {
        assert!(started.elapsed() < Duration::from_secs(1), "the replica still accepts the token");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    log_in(&app, PASSWORD).await.expect(401).problem("invalid_credentials");
    log_in(&app, NEW).await.expect(200);
    app.clock.advance(TimeDelta::seconds(1));
    app.anonymous()
        .with_token(token_of(&app, NEW).await.as_str().unwrap())
        .get("/api/v1/me")
        .await
        .expect(200);
    let list = ada.get("/api/v1/me/sessions").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_password_change_requires_the_current_password_or_a_recent_authentication() {
    // S-8, S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    change(&ada, None, NEW).await.expect(401).problem("step_up_required");
    let reply = change(&ada, Some("a wrong one"), NEW).await.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/current_password".to_owned(), "wrong_password".to_owned())]);
    ada.get("/api/v1/me").await.expect(200);
    log_in(&app, PASSWORD).await.expect(200);
    let body = json!({ "password": PASSWORD });
    let grant = ada.post("/api/v1/me/reauthenticate").json(&body).await.expect(200).json();
    let recent = ada.with_token(grant["access_token"].as_str().unwrap());
    change(&recent, None, NEW).await.expect(204);
    recent.get("/api/v1/me").await.expect(200);
    log_in(&app, NEW).await.expect(200);
}

#[tokio::test]
async fn a_new_password_must_satisfy_the_same_rules_as_at_sign_up() {
    // S-1, S-2, S-5
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (password, code) in [
        ("short", "too_short"),
        (&"x".repeat(72), "too_long"),
        ("password1", "too_common"),
        ("ada@example.org", "same_as_identifier"),
    ] {
        let reply = change(&ada, Some(PASSWORD), password).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [("/new_password".to_owned(), code.to_owned())], "{password}");
    }
    log_in(&app, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn exactly_one_of_two_concurrent_password_changes_succeeds() {
    // S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let thief = replica.anonymous().with_grant(&log_in(&app, PASSWORD).await.expect(200).json());
    let (one, two) = tokio::join!(
        change(&ada, Some(PASSWORD), NEW),
        change(&thief, Some(PASSWORD), "a frozen sea in autumn")
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert!(statuses[0] == 204 && statuses[1] > 400, "{statuses:?}");
    let works = [log_in(&app, NEW).await.status, log_in(&app, "a frozen sea in autumn").await.status];
    assert!(works.contains(&200) && works.contains(&401), "{works:?}");
}

#[tokio::test]
async fn a_password_change_is_recorded_as_an_event() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = rows::password_hash(&app, "ada").await;
    change(&ada, Some(PASSWORD), NEW).await.expect(204);
    assert_ne!(rows::password_hash(&app, "ada").await, before);
    let events = ada.get("/api/v1/me/events").await.expect(200).json();
    assert_eq!(events["items"][0]["type"], "password_changed");
    assert_eq!(events["items"][0]["session_id"], ada.grant()["session_id"]);
}
