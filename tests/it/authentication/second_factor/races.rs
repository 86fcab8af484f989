//! Changes of credentials while a login is in progress, and the personal tokens that an enrolment removes.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join;
use serde_json::{Value, json};

use super::with_code;
use crate::harness::totp::Authenticator;
use crate::harness::{Client, PASSWORD, Reply, TestApp, email};

const LOGIN: &str = "/api/v1/auth/login";
const TOKENS: &str = "/api/v1/me/tokens";

/// Sends the second request while the server compares or hashes the password of the first one.
async fn overlapping<A, B>(first: A, second: B) -> (Reply, Reply)
where
    A: Future<Output = Reply>,
    B: Future<Output = Reply>,
{
    let later = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        second.await
    };
    join(first, later).await
}

async fn slow_app() -> TestApp {
    TestApp::with(|settings| settings.bcrypt_cost = 10).await
}

/// Returns the code that confirms a new authenticator app.
async fn enrolment_code(app: &TestApp, client: &Client) -> Value {
    let enrolment = client.post("/api/v1/me/totp").await.expect(200).json();
    json!({ "code": Authenticator::new(&enrolment).code_at(app.clock.now()) })
}

#[tokio::test]
async fn a_login_that_overlaps_an_enrolment_gives_no_access_without_the_second_factor() {
    // S-89
    for path in [LOGIN, "/api/v1/auth/tokens"] {
        let app = slow_app().await;
        let ada = app.sign_up("ada").await;
        let code = enrolment_code(&app, &ada).await;
        let thief = app.anonymous();
        let login = async {
            let call = thief.post(path);
            if path == LOGIN {
                call.json(&json!({ "identifier": email("ada"), "password": PASSWORD })).await
            } else {
                call.basic("ada", PASSWORD).await
            }
        };
        let confirm = async { ada.post("/api/v1/me/totp/confirm").json(&code).await };
        let (reply, confirmed) = overlapping(login, confirm).await;
        confirmed.expect(200);
        if reply.status == 200 {
            // The login completed before the enrolment, which revoked the token of the login.
            let token = reply.json()["access_token"].as_str().unwrap().to_owned();
            app.anonymous().with_token(&token).get("/api/v1/me").await.expect(401);
        } else {
            reply.expect(401);
        }
    }
}

#[tokio::test]
async fn a_login_with_the_old_password_cannot_be_completed_after_a_password_change() {
    // S-41, S-90
    let app = slow_app().await;
    let ada = app.sign_up_with_totp("ada").await;
    let thief = app.anonymous();
    let login = async {
        let body = json!({ "identifier": email("ada"), "password": PASSWORD });
        thief.post(LOGIN).json(&body).await.expect(401)
    };
    let body = json!({ "new_password": "a louder harbour at dawn" });
    let change = async { ada.client.post("/api/v1/me/password").json(&body).await };
    // The server begins the comparison of the old password 10 ms after it begins the change of the password,
    // so the login completes after the change.
    let (changed, reply) = overlapping(change, login).await;
    changed.expect(204);
    let reply = reply.json();
    if let Some(token) = reply["mfa_token"].as_str() {
        app.clock.advance(TimeDelta::seconds(30));
        let code = ada.authenticator.code_at(app.clock.now());
        with_code(&app, token, &code).await.expect(401);
    } else {
        assert_eq!(reply["code"], "invalid_credentials");
    }
}

#[tokio::test]
async fn enrolling_an_authenticator_app_removes_the_personal_tokens_with_the_scope_account() {
    // S-89
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut scripts = Vec::new();
    for scope in ["account", "trips:read"] {
        let body = json!({ "name": scope, "scope": scope });
        let created = ada.post(TOKENS).json(&body).await.expect(201).json();
        scripts.push(app.anonymous().with_token(created["token"].as_str().unwrap()));
    }
    scripts[0].get("/api/v1/me").await.expect(200);
    let code = enrolment_code(&app, &ada).await;
    ada.post("/api/v1/me/totp/confirm").json(&code).await.expect(200);
    scripts[0].get("/api/v1/me").await.expect(401);
    scripts[1].get("/api/v1/trips").await.expect(200);
    assert_eq!(ada.get(TOKENS).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
}
