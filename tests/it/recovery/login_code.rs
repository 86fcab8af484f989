//! Login by a mailed code.

use chrono::TimeDelta;
use serde_json::json;

use super::{ADA, LOGIN_BY_CODE, LOGIN_CODE, begin, confirmed, mailed, post};
use crate::harness::totp::enrol;

#[tokio::test]
async fn a_login_code_works_once_and_only_for_its_own_flow() {
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    let mail = mailed(&app, &app.anonymous(), LOGIN_CODE, ADA).await;
    // The mail contains no link, and another flow does not accept the code.
    assert_eq!(mail.token, "");
    let other = begin(&app.anonymous(), LOGIN_CODE, "bob@example.org").await;
    post(&app, LOGIN_BY_CODE, json!({ "flow_id": other, "code": mail.code }))
        .await
        .expect(422)
        .problem("invalid_code");
    let body = mail.with_code(json!({ "device_name": "Ada's watch" }));
    let grant = post(&app, LOGIN_BY_CODE, body.clone()).await.expect(200);
    assert_eq!(grant.header("cache-control"), "no-store");
    assert_eq!(grant.json()["user"]["email_verified"], true);
    let watch = app.anonymous().with_grant(&grant.json());
    assert!(watch.is_alive().await && ada.is_alive().await);
    let sessions = watch.get("/api/v1/me/sessions").await.expect(200).json();
    assert_eq!(sessions["items"][0]["device_name"], "Ada's watch");
    assert_eq!(watch.get("/api/v1/auth/session").await.expect(200).json()["amr"], json!(["otp"]));
    post(&app, LOGIN_BY_CODE, body).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_mailed_code_does_not_replace_the_second_factor() {
    // S-47
    let app = super::start().await;
    let enrolled = enrol(&confirmed(&app, "ada").await, app.clock.now()).await;
    let mail = mailed(&app, &app.anonymous(), LOGIN_CODE, ADA).await;
    let reply =
        post(&app, LOGIN_BY_CODE, mail.with_code(json!({}))).await.expect(401).problem("mfa_required");
    let token = reply.json()["mfa_token"].as_str().unwrap().to_owned();
    let body = json!({ "mfa_token": token, "recovery_code": enrolled.recovery_codes[0] });
    let grant = post(&app, "/api/v1/auth/login/mfa", body).await.expect(200).json();
    assert!(app.anonymous().with_grant(&grant).is_alive().await);
}

#[tokio::test]
async fn an_unknown_address_gets_a_flow_id_but_no_valid_code() {
    // S-11
    let app = super::start().await;
    let flow = begin(&app.anonymous(), LOGIN_CODE, "nobody@example.org").await;
    assert!(app.mails().await.is_empty());
    let body = json!({ "flow_id": flow, "code": "12345678" });
    post(&app, LOGIN_BY_CODE, body).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_login_code_expires_after_15_minutes() {
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let mail = mailed(&app, &app.anonymous(), LOGIN_CODE, ADA).await;
    app.clock.advance(TimeDelta::minutes(15));
    post(&app, LOGIN_BY_CODE, mail.with_code(json!({}))).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn exactly_one_of_20_parallel_logins_with_a_code_succeeds() {
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let mail = mailed(&app, &app.anonymous(), LOGIN_CODE, ADA).await;
    let logins = (0..20).map(|_| async { post(&app, LOGIN_BY_CODE, mail.with_code(json!({}))).await.status });
    let statuses = futures_util::future::join_all(logins).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}
