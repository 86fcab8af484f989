//! Second factors: authenticator apps and recovery codes.

mod enrolment;
mod login;
mod races;
mod recovery_codes;

use serde_json::{Value, json};

use crate::harness::{Client, Reply, TestApp};

async fn complete(app: &TestApp, token: &str, field: &str, code: &str) -> Reply {
    let body = json!({ "mfa_token": token, field: code });
    app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await
}

async fn with_code(app: &TestApp, token: &str, code: &str) -> Reply {
    complete(app, token, "totp_code", code).await
}

async fn mfa_enabled(client: &Client) -> Value {
    client.get("/api/v1/me").await.expect(200).json()["mfa_enabled"].clone()
}
