//! Passkeys: registration, login, second factor and step-up.

mod login;
mod registration;
mod second_factor;

use serde_json::{Value, json};

use crate::harness::{Client, Reply, TestApp};

const OPTIONS: &str = "/api/v1/auth/passkeys/options";
const LOGIN: &str = "/api/v1/auth/passkeys/login";
const PASSKEYS: &str = "/api/v1/me/passkeys";

async fn log_in(app: &TestApp, body: &Value) -> Reply {
    app.anonymous().post(LOGIN).json(body).await
}

/// Returns the passkeys of the client.
async fn list(client: &Client) -> Vec<Value> {
    client.get(PASSKEYS).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn rename(client: &Client, id: &str, name: &str) -> Reply {
    client.patch(&format!("{PASSKEYS}/{id}")).json(&json!({ "name": name })).await
}
