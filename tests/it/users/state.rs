//! `tripgate users`: disables, enables, confirms and deletes accounts, ends sessions and removes second
//! factors.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{OLD_PASSWORD, event_types, refused, users, users_json};
use crate::harness::passkeys::{Device, register};
use crate::harness::process::{Process, run, stderr};
use crate::harness::totp::mfa_token;
use crate::harness::{Client, TestApp, email, rows};

const TRIPS: &str = "/api/v1/trips";

/// Creates a personal access token, and returns a client with it.
async fn personal_token(owner: &Client) -> Client {
    let body = json!({ "name": "script", "scope": "trips:read" });
    let created = owner.post("/api/v1/me/tokens").json(&body).await.expect(201).json();
    owner.with_token(created["token"].as_str().unwrap())
}

/// Shares a new trip, and returns the path of the link.
async fn shared_trip(owner: &Client) -> String {
    let created = owner.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    let link = owner.put(&format!("{}/share", created.header("location"))).await.expect(200).json();
    format!("/api/v1/shared/{}", link["token"].as_str().unwrap())
}

/// Logs in with a passkey, and returns the status.
async fn log_in_with(app: &TestApp, device: &mut Device) -> u16 {
    let body = device.log_in(&app.anonymous()).await;
    app.anonymous().post("/api/v1/auth/passkeys/login").json(&body).await.status
}

#[tokio::test]
async fn a_disabled_account_accepts_no_credential_and_keeps_its_data() {
    // S-95
    let app = TestApp::start_now_with(|settings| settings.auth_methods.basic = true).await;
    let ada = app.sign_up("ada").await;
    let script = personal_token(&ada).await;
    let shared = shared_trip(&ada).await;
    let basic = || app.anonymous().post("/api/v1/auth/tokens").basic("ada", OLD_PASSWORD);
    let sessionless =
        app.anonymous().with_token(basic().await.expect(200).json()["access_token"].as_str().unwrap());
    let flow = app.anonymous().post("/api/v1/auth/login/code").json(&json!({ "email": email("ada") }));
    let flow = flow.await.expect(202).json()["flow_id"].clone();
    let code = app.mail_to(&email("ada")).await.code().to_owned();
    for client in [&ada, &script, &sessionless] {
        client.get(TRIPS).await.expect(200);
    }
    let disabled = users_json(&app, &["disable", "ada"]).await;
    assert_eq!((&disabled["disabled"], &disabled["sessions_ended"]), (&json!(true), &json!(1)));
    assert!(disabled["disabled_at"].is_string());
    for client in [&ada, &script, &sessionless] {
        client.get(TRIPS).await.expect(401);
    }
    assert!(!ada.can_refresh().await && !app.can_log_in("ada", OLD_PASSWORD).await);
    basic().await.expect(401).problem("invalid_credentials");
    app.anonymous().get(TRIPS).basic("ada", OLD_PASSWORD).await.expect(401);
    let by_code = json!({ "flow_id": flow, "code": code });
    app.anonymous().post("/api/v1/auth/login/code/confirm").json(&by_code).await.expect(422);
    app.anonymous().get(&shared).await.expect(404);
    assert!(users(&app, &["disable", "ada"]).await.contains("was disabled already"));
    assert_eq!(users_json(&app, &["list", "--disabled"]).await.as_array().unwrap().len(), 1);
    let enabled = users_json(&app, &["enable", "ada"]).await;
    assert_eq!(enabled["disabled"], false);
    assert!(enabled.get("disabled_at").is_none());
    assert!(!ada.is_alive().await && !ada.can_refresh().await, "ended sessions stay ended");
    let again = app.log_in("ada").await;
    assert_eq!(again.get(TRIPS).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
    script.get(TRIPS).await.expect(200);
    app.anonymous().get(&shared).await.expect(200);
    assert_eq!(event_types(&again).await[..3], ["login_succeeded", "account_enabled", "account_disabled"]);
}

#[tokio::test]
async fn a_mailed_login_code_of_a_disabled_account_does_not_log_in() {
    let app = TestApp::start_now().await;
    app.sign_up("ada").await;
    users(&app, &["disable", "ada"]).await;
    let flow = app.anonymous().post("/api/v1/auth/login/code").json(&json!({ "email": email("ada") }));
    let flow = flow.await.expect(202).json()["flow_id"].clone();
    let code = app.mail_to(&email("ada")).await.code().to_owned();
    let body = json!({ "flow_id": flow, "code": code });
    let reply = app.anonymous().post("/api/v1/auth/login/code/confirm").json(&body).await.expect(422);
    assert_eq!(reply.field_errors()[0].1, "invalid_code");
}

#[tokio::test]
async fn a_login_that_waits_for_the_second_factor_ends_when_the_account_is_disabled() {
    // S-89
    let app = TestApp::start_now().await;
    let ada = app.sign_up_with_totp("ada").await;
    let token = mfa_token(&app.anonymous(), "ada").await;
    users(&app, &["disable", "ada"]).await;
    users(&app, &["enable", "ada"]).await;
    app.clock.advance(TimeDelta::seconds(30));
    let code = ada.authenticator.code_at(app.clock.now());
    let body = json!({ "mfa_token": token, "totp_code": code });
    app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(401);
}

#[tokio::test]
async fn ending_the_sessions_of_a_user_keeps_personal_tokens_and_the_sessions_of_other_users_valid() {
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let tablet = app.log_in("ada").await;
    let brian = app.sign_up("brian").await;
    let script = personal_token(&ada).await;
    let ended = users_json(&app, &["end-sessions", "ada"]).await;
    assert_eq!(ended, json!({ "user_id": ada.id(), "sessions_ended": 2 }));
    for client in [&ada, &tablet] {
        assert!(!client.is_alive().await && !client.can_refresh().await);
    }
    assert!(brian.is_alive().await && script.is_alive().await);
    let again = app.log_in("ada").await;
    assert!(event_types(&again).await.contains(&"sessions_ended".to_owned()));
}

#[tokio::test]
async fn a_confirmation_by_an_operator_invalidates_the_mailed_code() {
    // S-80
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let mailed = app.mail_to(&email("ada")).await.code().to_owned();
    let confirmed = users_json(&app, &["confirm", "ada"]).await;
    assert_eq!(confirmed["email_verified"], true);
    assert_eq!(ada.get("/api/v1/me").await.expect(200).json()["email_verified"], true);
    assert_eq!(event_types(&ada).await[0], "email_confirmed");
    let body = json!({ "flow_id": ada.grant()["flow_id"], "code": mailed });
    ada.post("/api/v1/auth/email/confirm").json(&body).await.expect(422);
    assert!(users(&app, &["confirm", "ada"]).await.contains("confirmed already"));
    let body = json!({ "username": "grace", "password": OLD_PASSWORD });
    app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201);
    assert!(refused(&app, &["confirm", "grace"]).contains("no email address"));
}

#[tokio::test]
async fn an_operator_removes_a_lost_second_factor() {
    let app = TestApp::start_now().await;
    let ada = app.sign_up_with_totp("ada").await;
    assert!(!app.can_log_in("ada", OLD_PASSWORD).await);
    let reset = users_json(&app, &["mfa-reset", "ada"]).await;
    assert_eq!((&reset["mfa_enabled"], &reset["sessions_ended"]), (&json!(false), &json!(1)));
    assert!(!ada.client.is_alive().await);
    let again = app.log_in("ada").await;
    assert!(event_types(&again).await.contains(&"mfa_reset".to_owned()));
    assert!(rows::totp_secrets(&app).await.is_empty() && rows::recovery_codes(&app).await.is_empty());
    assert!(users(&app, &["mfa-reset", "ada"]).await.contains("had no second factor"));
    assert!(again.is_alive().await, "without a second factor nothing is changed");
}

#[tokio::test]
async fn the_command_mfa_reset_removes_the_passkeys_of_the_user() {
    let app = TestApp::start_now().await;
    let mut device = register(&app.sign_up("ada").await).await;
    assert_eq!(log_in_with(&app, &mut device).await, 200);
    let reset = users_json(&app, &["mfa-reset", "ada"]).await;
    assert_eq!(reset["sessions_ended"], 2);
    assert_eq!(log_in_with(&app, &mut device).await, 401);
    assert!(app.can_log_in("ada", OLD_PASSWORD).await);
}

#[tokio::test]
async fn a_disabled_user_cannot_log_in_with_a_passkey() {
    // S-95
    let app = TestApp::start_now().await;
    let mut device = register(&app.sign_up("ada").await).await;
    users(&app, &["disable", "ada"]).await;
    assert_eq!(log_in_with(&app, &mut device).await, 401);
    users(&app, &["enable", "ada"]).await;
    assert_eq!(log_in_with(&app, &mut device).await, 200);
}

#[tokio::test]
async fn an_operator_deletes_an_account_only_with_the_flag_yes() {
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    app.sign_up("brian").await;
    assert!(refused(&app, &["delete", "ada"]).contains("add --yes"));
    assert!(ada.is_alive().await);
    let deleted = users_json(&app, &["delete", "ada", "--yes"]).await;
    assert_eq!(deleted, json!({ "user_id": ada.id(), "deleted": true }));
    assert!(!ada.is_alive().await && !ada.can_refresh().await);
    assert!(!app.can_log_in("ada", OLD_PASSWORD).await && app.can_log_in("brian", OLD_PASSWORD).await);
    assert!(refused(&app, &["delete", "ada", "--yes"]).contains("there is no user"));
}

#[tokio::test]
async fn a_running_server_refuses_a_disabled_user_within_a_second() {
    // S-95
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up("ada").await;
    let me = async |token: &Value| {
        let call = server.call(Method::GET, "/api/v1/me").bearer_auth(token.as_str().unwrap());
        call.send().await.unwrap().status().as_u16()
    };
    assert_eq!(me(&grant["access_token"]).await, 200);
    let output = run(dir.path(), &["users", "disable", "ada"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let since = Instant::now();
    while me(&grant["access_token"]).await != 401 {
        assert!(since.elapsed() < Duration::from_secs(1), "the access token is still accepted");
    }
}
