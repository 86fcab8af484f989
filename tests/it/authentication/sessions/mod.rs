//! Sessions: refreshes with lost responses, concurrent requests, and revocation.

mod model;
mod quota;
mod races;
mod refresh;
mod revocation;

use serde_json::{Value, json};

use crate::harness::{Client, Reply, TestApp};

/// Sends a refresh request with this token.
async fn refresh(app: &TestApp, token: &str) -> Reply {
    let call = app.anonymous().post("/api/v1/auth/refresh");
    call.json(&json!({ "refresh_token": token })).await
}

/// Returns the refresh token of a grant.
fn refresh_token(grant: &Value) -> &str {
    grant["refresh_token"].as_str().unwrap()
}

/// Refreshes an active session and returns the new grant.
async fn next(app: &TestApp, grant: &Value) -> Value {
    refresh(app, refresh_token(grant)).await.expect(200).json()
}

/// Returns whether the access token of a grant is accepted.
async fn has_access(app: &TestApp, grant: &Value) -> bool {
    let reply = app.anonymous().with_grant(grant).get("/api/v1/auth/session").await;
    match reply.status {
        200 => true,
        401 => {
            reply.problem("invalid_token");
            false
        }
        other => panic!("{other}"),
    }
}

/// Asserts that the refresh token is rejected and not echoed.
async fn assert_rejected(app: &TestApp, token: &str, code: &str) {
    let reply = refresh(app, token).await.expect(401).problem(code);
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    assert_eq!(reply.json()["client_action"], "reauthenticate");
    assert!(token.len() < 8 || !reply.text().contains(token));
}

/// Returns the sessions as their owner sees them.
async fn list_sessions(client: &Client) -> Vec<Value> {
    let list = client.get("/api/v1/me/sessions").await.expect(200).json();
    list["items"].as_array().unwrap().clone()
}
