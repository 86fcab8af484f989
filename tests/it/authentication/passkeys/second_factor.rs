//! A passkey as the second factor of a login, and for step-up.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{OPTIONS, log_in};
use crate::harness::passkeys::{Device, register};
use crate::harness::totp::{Enrolled, enrol, mfa_token};
use crate::harness::{Client, PASSWORD, Reply, TestApp};

const MFA: &str = "/api/v1/auth/login/mfa";
const REAUTHENTICATE: &str = "/api/v1/me/reauthenticate";

/// Creates an account with an authenticator app and a passkey.
async fn sign_up(app: &TestApp, name: &str) -> (Enrolled, Device) {
    let client = app.sign_up(name).await;
    let device = register(&client).await;
    (enrol(&client, app.clock.now()).await, device)
}

async fn respond(device: &mut Device, client: &Client, token: &str) -> Value {
    device.respond(client, OPTIONS, &json!({ "mfa_token": token })).await
}

async fn complete(client: &Client, token: &str, passkey: &Value) -> Reply {
    client.post(MFA).json(&json!({ "mfa_token": token, "passkey": passkey })).await
}

#[tokio::test]
async fn a_passkey_is_accepted_as_the_second_factor_of_a_login_with_a_password() {
    // S-89
    let app = TestApp::start().await;
    let (ada, mut device) = sign_up(&app, "ada").await;
    let anonymous = app.anonymous();
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let reply = anonymous.post("/api/v1/auth/login").json(&body).await.expect(401).problem("mfa_required");
    assert_eq!(reply.json()["methods"], json!(["totp", "recovery_code", "passkey"]));
    let token = reply.json()["mfa_token"].as_str().unwrap().to_owned();
    let begun = anonymous.post(OPTIONS).json(&json!({ "mfa_token": token })).await.expect(200).json();
    assert_eq!(begun["options"]["allowCredentials"].as_array().unwrap().len(), 1);
    // The `mfa_token` identifies the user, so the user handle may be missing.
    device.user_handle = None;
    let passkey = respond(&mut device, &anonymous, &token).await;
    let both = json!({ "mfa_token": token, "totp_code": "123456", "passkey": passkey });
    let reply = anonymous.post(MFA).json(&both).await.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/passkey".to_owned(), "not_allowed".to_owned())]);
    let grant = complete(&anonymous, &token, &passkey).await.expect(200).json();
    assert_eq!(anonymous.with_grant(&grant).claims()["amr"], json!(["pwd", "pop", "mfa"]));
    // The `mfa_token` and the challenge cannot be used again.
    complete(&anonymous, &token, &passkey).await.expect(401).problem("invalid_credentials");
    anonymous
        .post(OPTIONS)
        .json(&json!({ "mfa_token": token }))
        .await
        .expect(401)
        .problem("invalid_credentials");
    // Basic credentials with the password are rejected: they cannot contain a second factor.
    anonymous.get("/api/v1/auth/verify").basic("ada", PASSWORD).await.expect(401).problem("mfa_required");
    assert_eq!(ada.client.get("/api/v1/me").await.expect(200).json()["mfa_enabled"], true);
}

#[tokio::test]
async fn a_passkey_alone_logs_in_to_an_account_with_a_second_factor() {
    let app = TestApp::start().await;
    let (_, mut device) = sign_up(&app, "ada").await;
    let grant = log_in(&app, &device.log_in(&app.anonymous()).await).await.expect(200).json();
    let client = app.anonymous().with_grant(&grant);
    // The session can be refreshed, like a session that began with a password and a code.
    let refresh = json!({ "refresh_token": client.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/refresh").json(&refresh).await.expect(200);
}

#[tokio::test]
async fn the_second_step_of_a_login_accepts_only_a_passkey_of_the_user_and_only_for_the_challenge_of_this_login()
 {
    // S-90, S-92
    let app = TestApp::start().await;
    let (_, mut device) = sign_up(&app, "ada").await;
    let (_, mut foreign) = sign_up(&app, "eve").await;
    let anonymous = app.anonymous();
    let token = mfa_token(&anonymous, "ada").await;
    let other = mfa_token(&anonymous, "ada").await;
    let for_other = respond(&mut device, &anonymous, &other).await;
    let for_login = device.log_in(&anonymous).await;
    let by_foreign = respond(&mut foreign, &anonymous, &token).await;
    let mut without_verification = respond(&mut device, &anonymous, &token).await;
    device.flags = 0b001;
    without_verification["credential"] = respond(&mut device, &anonymous, &token).await["credential"].clone();
    device.flags = 0b101;
    for passkey in [&for_other, &for_login, &by_foreign, &without_verification] {
        let reply = complete(&anonymous, &token, passkey).await;
        reply.expect(401).problem("invalid_credentials");
    }
    // The fifth attempt is the last attempt that the server accepts.
    let passkey = respond(&mut device, &anonymous, &token).await;
    complete(&anonymous, &token, &passkey).await.expect(200);
    complete(&anonymous, &other, &for_other).await.expect(200);
    let expired = mfa_token(&anonymous, "ada").await;
    app.clock.advance(TimeDelta::minutes(5));
    let reply = anonymous.post(OPTIONS).json(&json!({ "mfa_token": expired })).await;
    reply.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn a_passkey_is_accepted_as_the_second_factor_while_codes_are_blocked() {
    let app = TestApp::start().await;
    let (_, mut device) = sign_up(&app, "ada").await;
    let anonymous = app.anonymous();
    let mut last = 0;
    for _ in 0..11 {
        let token = mfa_token(&anonymous, "ada").await;
        let body = json!({ "mfa_token": token, "totp_code": "000000" });
        last = anonymous.post(MFA).json(&body).await.status;
    }
    assert_eq!(last, 429);
    let token = mfa_token(&anonymous, "ada").await;
    let passkey = respond(&mut device, &anonymous, &token).await;
    complete(&anonymous, &token, &passkey).await.expect(200);
}

#[tokio::test]
async fn an_account_without_a_passkey_gets_no_passkey_options() {
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let token = mfa_token(&app.anonymous(), "ada").await;
    let reply = app.anonymous().post(OPTIONS).json(&json!({ "mfa_token": token })).await;
    reply.expect(404).problem("not_found");
    ada.client.post("/api/v1/me/reauthenticate/options").await.expect(404).problem("not_found");
}

#[tokio::test]
async fn a_login_with_two_second_factors_or_a_malformed_passkey_is_rejected_and_can_be_corrected() {
    let app = TestApp::start().await;
    let (_, mut device) = sign_up(&app, "ada").await;
    let token = mfa_token(&app.anonymous(), "ada").await;
    let passkey = respond(&mut device, &app.anonymous(), &token).await;
    let both = json!({ "mfa_token": token, "passkey": passkey, "totp_code": "000000" });
    app.anonymous().post(MFA).json(&both).await.expect(422).problem("invalid");
    let malformed = json!({ "challenge_id": passkey["challenge_id"], "credential": {} });
    let reply = complete(&app.anonymous(), &token, &malformed).await.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/passkey/credential".to_owned(), "invalid_format".to_owned())]);
    complete(&app.anonymous(), &token, &passkey).await.expect(200);
}

#[tokio::test]
async fn a_user_can_authenticate_again_with_a_passkey() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let mut device = register(&ada).await;
    let mut foreign = register(&eve).await;
    app.clock.advance(TimeDelta::minutes(6));
    let options = "/api/v1/me/reauthenticate/options";
    let passkey = foreign.respond(&eve, options, &json!({})).await;
    let by_foreign = foreign.respond(&ada, options, &json!({})).await;
    for wrong in [passkey, by_foreign, device.log_in(&app.anonymous()).await] {
        let reply = ada.post(REAUTHENTICATE).json(&json!({ "passkey": wrong })).await.expect(422);
        assert_eq!(reply.field_errors(), [("/passkey/credential".to_owned(), "invalid_passkey".to_owned())]);
    }
    ada.post("/api/v1/me/passkeys/options").await.expect(401).problem("step_up_required");
    let passkey = device.respond(&ada, options, &json!({})).await;
    let reply = ada.post(REAUTHENTICATE).json(&json!({ "passkey": passkey })).await.expect(200).json();
    let recent = ada.with_token(reply["access_token"].as_str().unwrap());
    assert_eq!(recent.claims()["amr"], json!(["pwd", "pop", "mfa"]));
    recent.post("/api/v1/me/passkeys/options").await.expect(200);
    ada.post(REAUTHENTICATE).json(&json!({ "passkey": passkey })).await.expect(422).problem("invalid");
    let both = json!({ "passkey": passkey, "password": PASSWORD });
    ada.post(REAUTHENTICATE).json(&both).await.expect(422).problem("invalid");
}
