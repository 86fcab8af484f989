//! Device tokens: a device that has logged the user in before is throttled only by its own failures.

use serde_json::{Value, json};

use super::{HOME, WRONG, fail, login, refused, start};
use crate::harness::rows;
use crate::harness::{Call, PASSWORD, TestApp};

/// Returns the request of a login with a device token.
fn device_login(app: &TestApp, name: &str, password: &str, token: &Value) -> Call {
    let body = json!({ "identifier": name, "password": password, "device_token": token });
    app.anonymous().post("/api/v1/auth/login").header("x-forwarded-for", HOME).json(&body)
}

/// Sends logins with a wrong password from many addresses, until the account is blocked for unknown devices.
async fn attack(app: &TestApp, name: &str) {
    for address in 0..10 {
        fail(app, &format!("198.51.100.{address}"), name, 10).await;
    }
    refused(login(app, "192.0.2.1", name, PASSWORD).await);
}

#[tokio::test]
async fn the_owner_logs_in_with_a_known_device_while_the_account_is_attacked_from_many_addresses() {
    // S-82
    let app = start().await;
    let token = app.sign_up("ada").await.grant()["device_token"].clone();
    attack(&app, "ada").await;
    refused(login(&app, HOME, "ada", PASSWORD).await);
    let grant = device_login(&app, "ada", PASSWORD, &token).await.expect(200).json();
    device_login(&app, "ADA@example.org", PASSWORD, &grant["device_token"]).await.expect(200);
    let refresh = json!({ "refresh_token": grant["refresh_token"] });
    let refreshed = app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(200).json();
    device_login(&app, "ada", PASSWORD, &refreshed["device_token"]).await.expect(200);
}

#[tokio::test]
async fn a_known_device_is_throttled_by_its_own_failures() {
    // S-82
    let app = start().await;
    let first = app.sign_up("ada").await.grant()["device_token"].clone();
    let second = app.log_in("ada").await.grant()["device_token"].clone();
    for _ in 0..10 {
        device_login(&app, "ada", WRONG, &first).await.expect(401).problem("invalid_credentials");
    }
    refused(device_login(&app, "ada", PASSWORD, &first).await);
    device_login(&app, "ada", PASSWORD, &second).await.expect(200);
    login(&app, HOME, "ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_device_token_does_not_log_in_and_has_no_effect_for_another_account() {
    // S-82
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let mallory = app.sign_up("mallory").await.grant()["device_token"].clone();
    let token = ada.grant()["device_token"].clone();
    device_login(&app, "ada", WRONG, &token).await.expect(401);
    ada.with_token(token.as_str().unwrap()).get("/api/v1/me").await.expect(401).problem("invalid_token");
    let refresh = json!({ "refresh_token": token });
    app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(401);
    attack(&app, "ada").await;
    for foreign in
        [mallory, json!("x"), json!(""), json!("x".repeat(5000)), ada.grant()["access_token"].clone()]
    {
        refused(device_login(&app, "ada", PASSWORD, &foreign).await);
    }
    device_login(&app, "ada", PASSWORD, &Value::Null).await.expect(429);
}

#[tokio::test]
async fn a_device_token_becomes_invalid_when_the_password_changes() {
    // S-82
    let app = start().await;
    let token = app.sign_up("ada").await.grant()["device_token"].clone();
    app.sign_up("bob").await;
    let other = rows::password_hash(&app, "bob").await;
    attack(&app, "ada").await;
    rows::set_password_hash(&app, "ada", &other).await;
    refused(device_login(&app, "ada", PASSWORD, &token).await);
}
