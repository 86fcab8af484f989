//! Enrolling and removing an authenticator app.

use chrono::TimeDelta;
use serde_json::json;

use super::{mfa_enabled, with_code};
use crate::harness::totp::{Authenticator, enrol, mfa_token};
use crate::harness::{PASSWORD, Reply, TestApp, rows};

const TOTP: &str = "/api/v1/me/totp";
const CONFIRM: &str = "/api/v1/me/totp/confirm";

fn check_invalid_code(reply: Reply) {
    let reply = reply.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/code".to_owned(), "invalid_code".to_owned())]);
}

#[tokio::test]
async fn an_authenticator_app_takes_effect_only_after_its_confirmation() {
    // S-52
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let reply = ada.post(TOTP).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let enrolment = reply.json();
    let (secret, uri) = (enrolment["secret"].as_str().unwrap(), enrolment["otpauth_uri"].as_str().unwrap());
    assert_eq!(secret.len(), 32);
    assert_eq!(
        uri,
        format!("otpauth://totp/tripgate.test:ada%40example.org?secret={secret}&issuer=tripgate.test")
    );
    assert!(enrolment["qr_svg"].as_str().unwrap().contains("<svg"));
    assert_eq!(mfa_enabled(&ada).await, json!(false));
    app.log_in("ada").await;
    check_invalid_code(ada.post(CONFIRM).json(&json!({ "code": "000000" })).await);
    assert_eq!(mfa_enabled(&ada).await, json!(false));
    let code = Authenticator::new(&enrolment).code_at(app.clock.now());
    let confirmed = ada.post(CONFIRM).json(&json!({ "code": code })).await.expect(200);
    assert_eq!(confirmed.header("cache-control"), "no-store");
    assert_eq!(confirmed.json()["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(mfa_enabled(&ada).await, json!(true));
    mfa_token(&app.anonymous(), "ada").await;
    check_invalid_code(ada.post(CONFIRM).json(&json!({ "code": code })).await);
    // The secret is shown only once: a repeated enrolment has another secret.
    assert_ne!(ada.post(TOTP).await.expect(200).json()["secret"], enrolment["secret"]);
}

#[tokio::test]
async fn enrolling_and_removing_an_authenticator_app_ends_all_other_sessions() {
    // S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let other = app.log_in("ada").await;
    let enrolled = enrol(&ada, app.clock.now()).await;
    other.get("/api/v1/me").await.expect(401).problem("invalid_token");
    ada.get("/api/v1/me").await.expect(200);
    app.clock.advance(TimeDelta::seconds(30));
    let token = mfa_token(&app.anonymous(), "ada").await;
    let code = enrolled.authenticator.code_at(app.clock.now());
    let second = app.anonymous().with_grant(&with_code(&replica, &token, &code).await.expect(200).json());
    let waiting = mfa_token(&app.anonymous(), "ada").await;
    ada.delete(TOTP).await.expect(204);
    second.get("/api/v1/me").await.expect(401).problem("invalid_token");
    assert_eq!(mfa_enabled(&ada).await, json!(false));
    app.log_in("ada").await;
    ada.delete(TOTP).await.expect(204);
    assert!(rows::pending_logins(&app).await.is_empty());
    with_code(&app, &waiting, &code).await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn the_old_authenticator_app_stays_active_until_the_new_app_is_confirmed() {
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    app.clock.advance(TimeDelta::seconds(30));
    let new = Authenticator::new(&ada.client.post(TOTP).await.expect(200).json());
    let token = mfa_token(&app.anonymous(), "ada").await;
    with_code(&app, &token, &new.code_at(app.clock.now())).await.expect(401);
    with_code(&app, &token, &ada.authenticator.code_at(app.clock.now())).await.expect(200);
    let body = json!({ "code": new.code_at(app.clock.now()) });
    let codes = ada.client.post(CONFIRM).json(&body).await.expect(200).json();
    app.clock.advance(TimeDelta::seconds(30));
    let token = mfa_token(&app.anonymous(), "ada").await;
    with_code(&app, &token, &ada.authenticator.code_at(app.clock.now())).await.expect(401);
    let body = json!({ "mfa_token": token, "recovery_code": ada.recovery_codes[0] });
    app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(401);
    let body = json!({ "mfa_token": token, "recovery_code": codes["recovery_codes"][0] });
    app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(200);
    with_code(&app, &token, &new.code_at(app.clock.now())).await.expect(401);
}

#[tokio::test]
async fn an_enrolment_expires_after_an_hour_and_is_replaced_by_the_next() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let first = Authenticator::new(&ada.post(TOTP).await.expect(200).json());
    let second = Authenticator::new(&ada.post(TOTP).await.expect(200).json());
    check_invalid_code(ada.post(CONFIRM).json(&json!({ "code": first.code_at(app.clock.now()) })).await);
    app.clock.advance(TimeDelta::hours(1));
    let ada = app.log_in("ada").await;
    check_invalid_code(ada.post(CONFIRM).json(&json!({ "code": second.code_at(app.clock.now()) })).await);
}

#[tokio::test]
async fn changing_the_second_factor_requires_a_recent_authentication() {
    // S-52, S-85
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let code = json!({ "code": "000000" });
    for call in [
        ada.client.post(TOTP),
        ada.client.post(CONFIRM).json(&code),
        ada.client.delete(TOTP),
        ada.client.post("/api/v1/me/recovery-codes"),
    ] {
        call.await.expect(401).problem("step_up_required");
    }
    assert_eq!(mfa_enabled(&ada.client).await, json!(true));
}

#[tokio::test]
async fn the_authenticator_secret_and_the_recovery_codes_are_not_stored_in_plain_text() {
    // S-36, S-52, S-91
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let enrolment = ada.post(TOTP).await.expect(200).json();
    let authenticator = Authenticator::new(&enrolment);
    let body = json!({ "code": authenticator.code_at(app.clock.now()) });
    let confirmed = ada.post(CONFIRM).json(&body).await.expect(200).json();
    let row = rows::totp_secrets(&app).await.remove(0);
    let sealed = row.sealed.unwrap();
    let secret = authenticator.secret();
    assert!(!sealed.windows(secret.len()).any(|part| part == secret));
    for code in confirmed["recovery_codes"].as_array().unwrap() {
        let plain = code.as_str().unwrap().replace('-', "");
        let tags = rows::recovery_codes(&app).await;
        assert!(tags.iter().all(|row| row.tag.len() == 32 && row.tag != plain.as_bytes()));
    }
    let vault = tripgate::secrets::Vault::from_secret(
        &tripgate::secrets::MasterSecret::read(&app.settings().secret_file).unwrap(),
        tripgate::secrets::Purpose::TotpSecrets,
    );
    let name = format!("totp {}", ada.id().replace('-', ""));
    assert!(vault.open(&name, &sealed).unwrap().starts_with(secret));
}

#[tokio::test]
async fn the_second_factor_works_after_two_rotations_of_the_master_secret() {
    // S-36
    let app = TestApp::start_now().await;
    let ada = app.sign_up_with_totp("ada").await;
    for _ in 0..2 {
        crate::authentication::keys::run_command(&app, &["secret", "rotate"]).await;
    }
    let app = app
        .restart_after(|settings| {
            let text = std::fs::read_to_string(&settings.secret_file).unwrap();
            // Remove the former secrets from the file.
            std::fs::write(&settings.secret_file, text.lines().next().unwrap()).unwrap();
        })
        .await;
    app.clock.advance(TimeDelta::seconds(30));
    let token = mfa_token(&app.anonymous(), "ada").await;
    with_code(&app, &token, &ada.authenticator.code_at(app.clock.now())).await.expect(200);
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let reply = app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401).json();
    let body = json!({ "mfa_token": reply["mfa_token"], "recovery_code": ada.recovery_codes[0] });
    app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(200);
}
