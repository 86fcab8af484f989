//! The sign-up mode `confirm_first`, and the setting that requires confirmed accounts.

use serde_json::{Value, json};
use tripgate::config::Signup;

use super::{ADA, CONFIRM, LOGIN, Mailed, NEW_PASSWORD, OLD_PASSWORD, confirmed, of_signup, post};
use crate::harness::{TestApp, rows};

const SIGNUP: &str = "/api/v1/auth/signup";
const TRIPS: &str = "/api/v1/trips";

async fn confirm_first() -> TestApp {
    TestApp::with(|settings| {
        settings.limits = false;
        settings.signup = Signup::ConfirmFirst;
    })
    .await
}

/// Signs up, and returns the id of the flow that confirms the address.
async fn pending(app: &TestApp, body: Value) -> String {
    let reply = post(app, SIGNUP, body).await.expect(202);
    assert_eq!(reply.header("cache-control"), "no-store");
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().len(), 1);
    body["flow_id"].as_str().unwrap().to_owned()
}

async fn pending_mail(app: &TestApp, password: &str) -> Mailed {
    let flow = pending(app, json!({ "email": ADA, "password": password })).await;
    let mail = app.mail_to(ADA).await;
    Mailed { flow, code: mail.code().to_owned(), token: mail.token().to_owned() }
}

#[tokio::test]
async fn the_sign_up_mode_confirm_first_issues_no_token_before_the_address_is_confirmed() {
    let app = confirm_first().await;
    let mail = pending_mail(&app, OLD_PASSWORD).await;
    let login = json!({ "identifier": ADA, "password": OLD_PASSWORD });
    post(&app, LOGIN, login.clone()).await.expect(403).problem("unconfirmed_account");
    let token = app.anonymous().post("/api/v1/auth/tokens").basic(ADA, OLD_PASSWORD);
    token.await.expect(403).problem("unconfirmed_account");
    let verify = app.anonymous().get("/api/v1/auth/verify").basic(ADA, OLD_PASSWORD);
    verify.await.expect(403).problem("unconfirmed_account");
    // A wrong password does not reveal the state of the account.
    let wrong = json!({ "identifier": ADA, "password": NEW_PASSWORD });
    post(&app, LOGIN, wrong).await.expect(401).problem("invalid_credentials");
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    post(&app, LOGIN, login).await.expect(200);
}

#[tokio::test]
async fn the_sign_up_mode_confirm_first_requires_an_address() {
    let app = confirm_first().await;
    let body = json!({ "username": "ada", "password": OLD_PASSWORD });
    let reply = post(&app, SIGNUP, body).await.expect(422).problem("invalid").json();
    assert_eq!(reply["errors"][0]["pointer"], "/email");
}

#[tokio::test]
async fn in_the_sign_up_mode_confirm_first_a_taken_address_gets_the_usual_response_and_its_owner_gets_a_mail()
{
    // S-11
    let app = confirm_first().await;
    let mail = pending_mail(&app, OLD_PASSWORD).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let flow = pending(&app, json!({ "email": "ADA@example.org", "password": NEW_PASSWORD })).await;
    let report = app.mails().await.pop().unwrap();
    assert!(report.to() == ADA && report.code.is_none() && report.link.is_none(), "{}", report.text);
    let guess = json!({ "flow_id": flow, "code": "12345678" });
    post(&app, CONFIRM, guess).await.expect(422).problem("invalid_code");
    assert_eq!(rows::users(&app).await.len(), 1);
    assert!(app.can_log_in(ADA, OLD_PASSWORD).await && !app.can_log_in(ADA, NEW_PASSWORD).await);
}

#[tokio::test]
async fn the_sign_up_mode_confirm_first_does_not_assign_a_taken_username() {
    // S-11
    let app = confirm_first().await;
    let body = |email: &str| json!({ "email": email, "username": "lovelace", "password": OLD_PASSWORD });
    pending(&app, body("first@example.org")).await;
    pending(&app, body(ADA)).await;
    let mut names: Vec<_> =
        rows::users(&app).await.into_iter().map(|user| (user.email, user.username)).collect();
    names.sort();
    let expected = [(Some(ADA), None), (Some("first@example.org"), Some("lovelace"))];
    assert_eq!(names, expected.map(|(email, name)| (email.map(str::to_owned), name.map(str::to_owned))));
}

#[tokio::test]
async fn the_code_from_the_mail_of_a_sign_up_sets_only_the_password_of_that_sign_up() {
    // S-80, S-81
    let app = confirm_first().await;
    // A stranger signs up with Ada's address. Then Ada signs up with the same address.
    let stranger = pending_mail(&app, "the stranger's harbour").await;
    let ada = pending_mail(&app, OLD_PASSWORD).await;
    assert_eq!(rows::users(&app).await.len(), 1);
    post(&app, CONFIRM, stranger.with_code(json!({}))).await.expect(422).problem("invalid_code");
    post(&app, CONFIRM, ada.with_code(json!({}))).await.expect(204);
    assert!(app.can_log_in(ADA, OLD_PASSWORD).await);
    assert!(!app.can_log_in(ADA, "the stranger's harbour").await);
}

#[tokio::test]
async fn the_link_in_a_sign_up_mail_requires_a_password_and_does_not_set_the_password_of_that_sign_up() {
    // S-80
    let app = confirm_first().await;
    pending_mail(&app, OLD_PASSWORD).await;
    let stranger = pending_mail(&app, "the stranger's harbour").await;
    // The stranger knows the id of the flow, and Ada has the mail. Ada opens the link and enters her own
    // password.
    post(&app, CONFIRM, stranger.with_token(json!({}))).await.expect(422).problem("invalid");
    post(&app, CONFIRM, stranger.with_token(json!({ "password": OLD_PASSWORD }))).await.expect(204);
    assert!(app.can_log_in(ADA, OLD_PASSWORD).await);
    assert!(!app.can_log_in(ADA, "the stranger's harbour").await);
}

#[tokio::test]
async fn if_confirmation_is_required_an_unconfirmed_account_can_use_only_the_operations_under_auth_and_me() {
    // Rows 39 and 40 of `documents::parity`.
    let app = TestApp::with(|settings| {
        settings.require_confirmed = true;
        settings.auth_methods.basic = true;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let trip = json!({ "title": "Lisbon" });
    ada.get(TRIPS).await.expect(403).problem("unconfirmed_account");
    ada.post(TRIPS).json(&trip).await.expect(403).problem("unconfirmed_account");
    ada.get("/api/v1/sync").await.expect(403).problem("unconfirmed_account");
    app.anonymous().get(TRIPS).basic(ADA, OLD_PASSWORD).await.expect(403).problem("unconfirmed_account");
    ada.get("/api/v1/me").await.expect(200);
    ada.get("/api/v1/me/sessions").await.expect(200);
    ada.get("/api/v1/auth/session").await.expect(200);
    let mail = of_signup(&app, &ada).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    ada.post(TRIPS).json(&trip).await.expect(201);
    app.anonymous().get(TRIPS).basic(ADA, OLD_PASSWORD).await.expect(200);
}

#[tokio::test]
async fn by_default_an_unconfirmed_account_can_use_trips() {
    let app = super::start().await;
    app.sign_up("ada").await.get(TRIPS).await.expect(200);
    confirmed(&app, "bob").await.get(TRIPS).await.expect(200);
}
