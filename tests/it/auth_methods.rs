//! The ways in besides logging in: a token for a password, Basic on every call, the token in the query.

mod basic;
mod query;
mod tokens;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::conformance::operations;
use crate::harness::{Client, Reply, TestApp};

const BEARER: &str = r#"Bearer realm="tripgate""#;
const BASIC: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

/// All challenges of an answer, each in a field of its own.
fn challenges(reply: &Reply) -> Vec<&str> {
    reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect()
}

/// Every operation that takes an access token, with this in place of `{id}`, and a body if it wants one.
fn protected(id: &str) -> Vec<(Method, String, Option<Value>)> {
    let takes_token = |operation: &Value| operation["security"] == json!([{ "bearerAuth": [] }]);
    operations()
        .filter(|(.., operation)| takes_token(operation))
        .map(|(path, method, operation)| {
            let segment = |part| if str::starts_with(part, '{') { id } else { part };
            let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
            let body = operation.get("requestBody").map(|_| json!({ "title": "Lisbon" }));
            (method.to_uppercase().parse().unwrap(), path, body)
        })
        .collect()
}

/// What `POST /auth/tokens` gives to somebody whom the harness signed up.
async fn bought(app: &TestApp, name: &str) -> Value {
    let call = app.anonymous().post("/api/v1/auth/tokens").basic(name, crate::harness::PASSWORD);
    call.await.expect(200).json()
}

/// Somebody with a bought token.
async fn with_bought(app: &TestApp, name: &str) -> Client {
    let grant = bought(app, name).await;
    app.anonymous().with_token(grant["access_token"].as_str().unwrap())
}
