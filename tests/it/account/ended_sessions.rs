//! Sensitive changes by a caller whose session ends while the request is processed. The transaction of each change
//! checks the session again. The requests in these tests reach a replica that has not read the revocations yet.

use chrono::TimeDelta;
use futures_util::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::passkeys::{Device, begin_registration};
use crate::harness::totp::Authenticator;
use crate::harness::{Client, PASSWORD, TestApp, email, rounds};

const NEW_PASSWORD: &str = "a louder harbour at dawn";

/// Returns a client with an access token without a session.
async fn with_sessionless_token(app: &TestApp, name: &str) -> Client {
    let token = app.anonymous().post("/api/v1/auth/tokens").basic(name, PASSWORD).await.expect(200).json();
    // A revocation ends the tokens that were issued at least a millisecond before it.
    app.clock.advance(TimeDelta::milliseconds(1));
    app.anonymous().with_token(token["access_token"].as_str().unwrap())
}

async fn change_password(owner: &Client) {
    owner.post("/api/v1/me/password").json(&json!({ "new_password": NEW_PASSWORD })).await.expect(204);
}

/// Prepares sensitive changes by a thief. Returns the method, path and body of each request.
async fn prepare_changes(app: &TestApp, thief: &Client) -> Vec<(Method, &'static str, Value)> {
    let (challenge, options) = begin_registration(thief).await;
    let credential = Device::new(&options, -7).attest(&options);
    let enrolment = thief.post("/api/v1/me/totp").await.expect(200).json();
    let code = Authenticator::new(&enrolment).code_at(app.clock.now());
    vec![
        (Method::POST, "/api/v1/me/tokens", json!({ "name": "thief", "scope": "account" })),
        (Method::POST, "/api/v1/me/passkeys", json!({ "challenge_id": challenge, "credential": credential })),
        (Method::POST, "/api/v1/me/email", json!({ "email": "thief@example.org" })),
        (Method::POST, "/api/v1/me/totp/confirm", json!({ "code": code })),
        (Method::DELETE, "/api/v1/me/totp", Value::Null),
        (Method::POST, "/api/v1/me/recovery-codes", Value::Null),
        (Method::PATCH, "/api/v1/me", json!({ "username": "thief" })),
        (Method::POST, "/api/v1/me/password", json!({ "new_password": "a thief in the harbour" })),
        (Method::DELETE, "/api/v1/me", Value::Null),
    ]
}

async fn assert_refused(thief: &Client, changes: Vec<(Method, &'static str, Value)>) {
    for (method, path, body) in changes {
        let call = thief.call(method, path);
        let call = if body.is_null() { call } else { call.json(&body) };
        call.await.expect(401).problem("invalid_token");
    }
}

async fn assert_untouched(app: &TestApp, owner: &Client) {
    assert_eq!(owner.get("/api/v1/me/tokens").await.expect(200).json()["items"], json!([]));
    assert_eq!(owner.get("/api/v1/me/passkeys").await.expect(200).json()["items"], json!([]));
    let me = owner.get("/api/v1/me").await.expect(200).json();
    let expected = (&json!("ada"), &json!(email("ada")), &json!(false));
    assert_eq!((&me["username"], &me["email"], &me["mfa_enabled"]), expected);
    assert!(app.can_log_in("ada", NEW_PASSWORD).await);
    assert!(!app.mails().await.iter().any(|mail| mail.to() == "thief@example.org"));
}

#[tokio::test]
async fn a_session_that_has_ended_on_another_replica_allows_no_sensitive_change() {
    // S-41, S-85
    let app = TestApp::start().await;
    let owner = app.sign_up("ada").await;
    let replica = app.replica().await;
    let thief = replica.log_in("ada").await;
    let changes = prepare_changes(&app, &thief).await;
    change_password(&owner).await;
    assert_refused(&thief, changes).await;
    assert_untouched(&app, &owner).await;
}

#[tokio::test]
async fn a_sessionless_token_that_was_revoked_on_another_replica_allows_no_sensitive_change() {
    // S-41, S-85
    let app = TestApp::start().await;
    let owner = app.sign_up("ada").await;
    let replica = app.replica().await;
    let thief = with_sessionless_token(&replica, "ada").await;
    let changes = prepare_changes(&app, &thief).await;
    change_password(&owner).await;
    assert_refused(&thief, changes).await;
    assert_untouched(&app, &owner).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_address_that_is_requested_during_a_password_change_cannot_be_completed() {
    // S-41, S-85
    let app = TestApp::with(|settings| settings.limits = false).await;
    let replica = app.replica().await;
    for round in 0..rounds(20) {
        let name = format!("user-{round}");
        let owner = app.sign_up(&name).await;
        let thief = if round % 2 == 0 {
            replica.log_in(&name).await
        } else {
            // On SQLite, both requests go to one server, and one transaction can contain both.
            with_sessionless_token(&app, &name).await
        };
        let address = format!("thief-{round}@example.org");
        let request = async { thief.post("/api/v1/me/email").json(&json!({ "email": address })).await };
        let (requested, ()) = join(request, change_password(&owner)).await;
        if requested.status == 202 {
            let code = replica.mail_to(&address).await.code().to_owned();
            let proof = json!({ "flow_id": requested.json()["flow_id"], "code": code });
            let confirmed = replica.anonymous().post("/api/v1/auth/email/confirm").json(&proof).await;
            assert!(confirmed.status >= 400, "{}", confirmed.text());
        } else {
            requested.expect(401).problem("invalid_token");
        }
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["email"], json!(email(&name)));
    }
}
