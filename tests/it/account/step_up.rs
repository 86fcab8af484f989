//! Step-up: sensitive operations require a recent authentication.

use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{Client, PASSWORD, Reply, TestApp};

const REAUTHENTICATE: &str = "/api/v1/me/reauthenticate";

async fn reauthenticate(client: &Client) -> Client {
    let grant = client.post(REAUTHENTICATE).json(&json!({ "password": PASSWORD })).await.expect(200).json();
    client.with_token(grant["access_token"].as_str().unwrap())
}

async fn rename(client: &Client, name: &str) -> Reply {
    client.patch("/api/v1/me").json(&json!({ "username": name })).await
}

async fn refresh(app: &TestApp, client: &Client) -> Client {
    let body = json!({ "refresh_token": client.grant()["refresh_token"] });
    app.anonymous()
        .with_grant(&app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(200).json())
}

#[tokio::test]
async fn an_authentication_is_recent_for_five_minutes() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(5));
    rename(&ada, "countess").await.expect(200);
    app.clock.advance(TimeDelta::seconds(1));
    let reply = rename(&ada, "lovelace").await.expect(401).problem("step_up_required");
    assert_eq!(reply.json()["client_action"], "step_up");
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    for part in [r#"error="insufficient_user_authentication""#, r#"max_age="300""#] {
        assert!(challenge.contains(part), "{challenge}");
    }
    assert_eq!(ada.get("/api/v1/me").await.expect(200).json()["username"], "countess");
    // Other changes need no recent authentication.
    ada.patch("/api/v1/me").json(&json!({ "display_name": "Ada" })).await.expect(200);
}

#[tokio::test]
async fn a_stolen_access_token_cannot_delete_the_account_without_a_recent_authentication() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    ada.delete("/api/v1/me").await.expect(401).problem("step_up_required");
    ada.delete("/api/v1/me").json(&json!({})).await.expect(401).problem("step_up_required");
    ada.get("/api/v1/me").await.expect(200);
    let recent = reauthenticate(&ada).await;
    recent.delete("/api/v1/me").await.expect(204);
    recent.get("/api/v1/me").await.expect(401).problem("invalid_token");
}

#[tokio::test]
async fn reauthentication_returns_a_token_of_the_same_session_with_a_new_authentication_time() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let sessions = ada.get("/api/v1/me/sessions").await.expect(200).json();
    app.clock.advance(TimeDelta::minutes(6));
    let reply = ada.post(REAUTHENTICATE).json(&json!({ "password": PASSWORD })).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let grant = reply.json();
    assert_eq!(
        (&grant["token_type"], &grant["expires_in"], &grant["scope"], &grant["session_id"]),
        (&json!("Bearer"), &json!(900), &ada.grant()["scope"], &ada.grant()["session_id"])
    );
    let recent = ada.with_token(grant["access_token"].as_str().unwrap());
    assert_eq!(recent.claims()["auth_time"].as_i64(), ada.claims()["auth_time"].as_i64().map(|at| at + 360));
    for same in ["sid", "sub", "amr", "generation"] {
        assert_eq!(recent.claims()[same], ada.claims()[same], "{same}");
    }
    rename(&recent, "countess").await.expect(200);
    // The earlier access token and the refresh token stay valid.
    ada.get("/api/v1/me").await.expect(200);
    let list = ada.get("/api/v1/me/sessions").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), sessions["items"].as_array().unwrap().len());
    let refreshed = refresh(&app, &ada).await;
    assert_eq!(refreshed.claims()["auth_time"], recent.claims()["auth_time"], "a refresh must keep the time");
    // A logout makes the new token invalid too.
    let body = json!({ "refresh_token": refreshed.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
    recent.get("/api/v1/me").await.expect(401).problem("invalid_token");
    recent.post(REAUTHENTICATE).json(&json!({ "password": PASSWORD })).await.expect(401);
}

#[tokio::test]
async fn refreshing_a_session_does_not_count_as_a_recent_authentication() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let refreshed = refresh(&app, &ada).await;
    rename(&refreshed, "countess").await.expect(401).problem("step_up_required");
}

#[tokio::test]
async fn reauthentication_with_a_wrong_password_fails_and_leaves_the_session_valid() {
    // S-8
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let reply = ada.post(REAUTHENTICATE).json(&json!({ "password": "a wrong one" })).await.expect(422);
    assert_eq!(reply.field_errors(), [("/password".to_owned(), "wrong_password".to_owned())]);
    for body in [json!({}), json!({ "password": null })] {
        let reply = ada.post(REAUTHENTICATE).json(&body).await.expect(422);
        assert_eq!(reply.field_errors(), [("/password".to_owned(), "required".to_owned())]);
    }
    let mailed = json!({ "flow_id": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "code": "12345678" });
    for (pointer, mut second) in [("/totp_code", json!({ "totp_code": "123456" })), ("/flow_id", mailed)] {
        second["password"] = json!(PASSWORD);
        let reply = ada.post(REAUTHENTICATE).json(&second).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [(pointer.to_owned(), "not_allowed".to_owned())]);
        assert_eq!(reply.json()["detail"], "Only one proof can be sent at a time.");
    }
    rename(&ada, "countess").await.expect(401).problem("step_up_required");
    ada.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_user_with_a_sessionless_token_can_authenticate_again_with_the_password() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let token = app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let script = ada.with_token(token["access_token"].as_str().unwrap());
    app.clock.advance(TimeDelta::minutes(6));
    rename(&script, "countess").await.expect(401).problem("step_up_required");
    let reply = script.post(REAUTHENTICATE).json(&json!({ "password": PASSWORD })).await.expect(200).json();
    assert!(reply.get("session_id").is_none(), "{reply}");
    rename(&script.with_token(reply["access_token"].as_str().unwrap()), "countess").await.expect(200);
}
