//! Authentication methods besides login: sessionless tokens, Basic credentials on every operation, and tokens
//! in the query.

mod basic;
mod query;
mod tokens;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::conformance::operations;
use crate::harness::{Client, Reply, TestApp};

const BEARER: &str = r#"Bearer realm="tripgate""#;
const BASIC: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

/// Returns all challenges of a response. Each challenge has its own header field.
fn challenges(reply: &Reply) -> Vec<&str> {
    reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}

/// Returns every operation that requires an access token, with `id` in place of the path parameters, and a
/// body if it accepts one.
fn protected(id: &str) -> Vec<(Method, String, Option<Value>)> {
    let requires_token = |operation: &Value| operation["security"] == json!([{ "bearerAuth": [] }]);
    operations()
        .filter(|(.., operation)| requires_token(operation))
        .map(|(path, method, operation)| {
            let segment = |part| if str::starts_with(part, '{') { id } else { part };
            let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
            let body = operation.get("requestBody").map(|_| json!({ "title": "Lisbon" }));
            (method.to_uppercase().parse().unwrap(), path, body)
        })
        .collect()
}

/// Requests a sessionless token for a user created by `TestApp::sign_up`, and returns the response body.
async fn issue_token(app: &TestApp, name: &str) -> Value {
    let call = app.anonymous().post("/api/v1/auth/tokens").basic(name, crate::harness::PASSWORD);
    call.await.expect(200).json()
}

/// Returns a client with a sessionless token of the user.
async fn client_with_token(app: &TestApp, name: &str) -> Client {
    let grant = issue_token(app, name).await;
    app.anonymous().with_token(grant["access_token"].as_str().unwrap())
}
