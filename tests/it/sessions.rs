//! Staying logged in over lost replies and parallel requests, and the end of a session.

mod ending;
mod model;
mod races;
mod refresh;

use serde_json::{Value, json};

use crate::harness::{Client, Reply, TestApp};

/// Sends this refresh token.
async fn refresh(app: &TestApp, token: &str) -> Reply {
    let call = app.anonymous().post("/api/v1/auth/refresh");
    call.json(&json!({ "refresh_token": token })).await
}

/// The refresh token of a grant.
fn refresh_token(grant: &Value) -> &str {
    grant["refresh_token"].as_str().unwrap()
}

/// The next grant of a session that goes on.
async fn next(app: &TestApp, grant: &Value) -> Value {
    refresh(app, refresh_token(grant)).await.expect(200).json()
}

/// Whether the access token of a grant is taken.
async fn gets_in(app: &TestApp, grant: &Value) -> bool {
    let reply = app.anonymous().granted(grant).get("/api/v1/auth/session").await;
    match reply.status {
        200 => true,
        401 => {
            reply.problem("invalid_token");
            false
        }
        other => panic!("{other}"),
    }
}

/// The refresh token gets nobody in, and the answer does not repeat it.
async fn is_refused(app: &TestApp, token: &str, code: &str) {
    let reply = refresh(app, token).await.expect(401).problem(code);
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    assert_eq!(reply.json()["client_action"], "reauthenticate");
    assert!(token.len() < 8 || !reply.text().contains(token));
}

/// The session as its owner sees it.
async fn listed(client: &Client) -> Vec<Value> {
    let list = client.get("/api/v1/me/sessions").await.expect(200).json();
    list["items"].as_array().unwrap().clone()
}
