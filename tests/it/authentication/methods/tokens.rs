//! Sessionless tokens: issued for a password, and only for a password.

use chrono::TimeDelta;
use serde_json::json;

use super::{BASIC, challenges, client_with_token, issue_token};
use crate::harness::{PASSWORD, TestApp, email, rows};

const TOKENS: &str = "/api/v1/auth/tokens";

#[tokio::test]
async fn basic_credentials_can_be_exchanged_for_a_token_without_a_session() {
    // S-31
    let app = TestApp::with(|settings| settings.access_ttl_secs = 3600).await;
    let ada = app.sign_up("ada").await;
    for identifier in ["ada", "ADA", &email("ada")] {
        let reply = app.anonymous().post(TOKENS).basic(identifier, PASSWORD).await.expect(200);
        assert_eq!(reply.header("cache-control"), "no-store");
        let mut grant = reply.json();
        let token = grant["access_token"].take();
        assert_eq!(
            grant,
            json!({ "token_type": "Bearer", "access_token": null, "expires_in": 3600, "scope": "account trips:read trips:write" })
        );
        let bearer = app.anonymous().with_token(token.as_str().unwrap());
        assert_eq!(bearer.get("/api/v1/me").await.expect(200).account(), ada.grant()["user"]);
        bearer.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    }
    assert_eq!(rows::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn a_sessionless_token_has_no_sid_and_its_amr_is_pwd() {
    // S-31
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let session = client_with_token(&app, "ada").await.get("/api/v1/auth/session").await.expect(200).json();
    assert_eq!(
        session,
        json!({
            "user_id": ada.id(),
            "scope": "account trips:read trips:write",
            "amr": ["pwd"],
            "issued_at": "2026-03-02T08:30:00.000Z",
            "expires_at": "2026-03-02T08:45:00.000Z",
        })
    );
    let [one, other] = [issue_token(&app, "ada").await, issue_token(&app, "ada").await];
    assert_ne!(one["access_token"], other["access_token"]);
}

#[tokio::test]
async fn a_sessionless_token_expires_and_can_be_requested_again_with_the_password() {
    let app = TestApp::with(|settings| settings.access_ttl_secs = 180).await;
    app.sign_up("ada").await;
    let ada = client_with_token(&app, "ada").await;
    app.clock.advance(TimeDelta::seconds(179));
    ada.get("/api/v1/me").await.expect(200);
    app.clock.advance(TimeDelta::seconds(32));
    ada.get("/api/v1/me").await.expect(401).problem("invalid_token");
    client_with_token(&app, "ada").await.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn no_access_or_refresh_token_can_be_exchanged_for_a_sessionless_token() {
    // S-26
    for basic in [false, true] {
        let app = TestApp::with(|settings| settings.auth_methods.basic = basic).await;
        let ada = app.sign_up("ada").await;
        let sessionless = client_with_token(&app, "ada").await;
        let refresh = ada.grant()["refresh_token"].as_str().unwrap();
        for token in [ada.token(), sessionless.token(), refresh] {
            for (name, password) in [(token, ""), (token, "x"), (token, token), ("ada", token), ("", token)] {
                let call = app.anonymous().post(TOKENS).basic(name, password);
                let reply = call.await.expect(401).problem("invalid_credentials");
                assert_eq!(challenges(&reply), [BASIC]);
            }
            let reply = app.anonymous().post(TOKENS).bearer(token).await;
            let reply = reply.expect(401).problem("unauthenticated");
            assert_eq!(challenges(&reply), [BASIC]);
        }
    }
}

#[tokio::test]
async fn missing_or_wrong_credentials_get_no_token() {
    // S-17
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let reply = app.anonymous().post(TOKENS).await.expect(401).problem("unauthenticated");
    assert_eq!(challenges(&reply), [BASIC]);
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    app.anonymous().post(TOKENS).json(&body).await.expect(401).problem("unauthenticated");
    let mut problems = Vec::new();
    for (name, password) in [("ada", "wrong"), ("nobody", PASSWORD), ("", PASSWORD), ("ada", ""), ("", "")] {
        let reply = app.anonymous().post(TOKENS).basic(name, password).await;
        let reply = reply.expect(401).problem("invalid_credentials");
        assert_eq!(challenges(&reply), [BASIC]);
        let mut body = reply.json();
        body["request_id"].take();
        problems.push(body);
    }
    problems.dedup();
    assert_eq!(problems.len(), 1, "{problems:?}");
}
