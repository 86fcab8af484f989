//! Changes of the email address, and how a change is undone.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    ADA, CHANGE, CONFIRM, FORGOT, LOGIN_CODE, ME, NEW_PASSWORD, OLD_PASSWORD, RESET, UNDO, begin, confirmed,
    mailed, post,
};
use crate::harness::TestApp;

const NEW: &str = "ada@new.example.org";

/// Returns the token of the undo link in the newest mail to the old address.
async fn undo_token(app: &TestApp, old: &str) -> String {
    let mail = app.mail_to(old).await;
    assert!(mail.link.as_deref().is_some_and(|link| link.starts_with("/account/undo#")), "{}", mail.text);
    assert!(mail.code.is_none());
    mail.token().to_owned()
}

#[tokio::test]
async fn the_email_address_changes_when_the_new_one_is_confirmed_and_sessions_stay_valid() {
    // S-47, S-88
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    let phone = app.log_in("ada").await;
    let mail = mailed(&app, &ada, CHANGE, NEW).await;
    let report = app.mail_to(ADA).await;
    assert!(report.text.contains(NEW) && report.link.is_none(), "{}", report.text);
    assert_eq!(ada.get(ME).await.expect(200).json()["email"], ADA);
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let me = ada.get(ME).await.expect(200).json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!(NEW), &json!(true)));
    assert!(phone.is_alive().await);
    assert!(app.can_log_in(NEW, OLD_PASSWORD).await && !app.can_log_in(ADA, OLD_PASSWORD).await);
    assert!(app.mail_to(ADA).await.text.contains(NEW));
    undo_token(&app, ADA).await;
}

#[tokio::test]
async fn a_change_of_address_requires_a_recent_authentication() {
    // S-47, S-85
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let body = json!({ "email": NEW });
    ada.post(CHANGE).json(&body).await.expect(401).problem("step_up_required");
    let proof = json!({ "password": OLD_PASSWORD });
    let grant = ada.post("/api/v1/me/reauthenticate").json(&proof).await.expect(200).json();
    ada.with_token(grant["access_token"].as_str().unwrap()).post(CHANGE).json(&body).await.expect(202);
}

#[tokio::test]
async fn undoing_a_change_of_address_restores_the_address_and_ends_the_thiefs_sessions() {
    // S-88
    let app = super::start().await;
    let thief = confirmed(&app, "ada").await;
    let mail = mailed(&app, &thief, CHANGE, NEW).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let token = undo_token(&app, ADA).await;
    // The thief then changes the address again, resets the password with a mail to the new address, and
    // begins a third change of the address.
    let third = "ada@third.example.org";
    let mail = mailed(&app, &thief, CHANGE, third).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let later = undo_token(&app, NEW).await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, third).await;
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    let thief = app.log_in_with_password("ada", NEW_PASSWORD).await;
    let pending = mailed(&app, &thief, CHANGE, "ada@fourth.example.org").await;
    let code = mailed(&app, &app.anonymous(), LOGIN_CODE, third).await;
    app.clock.advance(TimeDelta::days(7) - TimeDelta::minutes(1));
    post(&app, UNDO, json!({ "token": token })).await.expect(204);
    assert!(!thief.is_alive().await && !thief.can_refresh().await);
    post(&app, CONFIRM, pending.with_code(json!({}))).await.expect(422).problem("invalid_code");
    post(&app, super::LOGIN_BY_CODE, code.with_code(json!({}))).await.expect(422).problem("invalid_code");
    post(&app, UNDO, json!({ "token": later })).await.expect(422).problem("invalid_code");
    post(&app, UNDO, json!({ "token": token })).await.expect(422).problem("invalid_code");
    // The account has the address of its owner again, so the owner can choose a new password.
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    post(&app, RESET, mail.with_token(json!({ "new_password": "the owner's harbour" }))).await.expect(204);
    assert!(super::is_verified(&app, ADA, "the owner's harbour").await);
}

#[tokio::test]
async fn an_earlier_undo_link_still_works_after_a_later_undo_link_was_used() {
    // S-88
    let app = super::start().await;
    let thief = confirmed(&app, "ada").await;
    let mut tokens = Vec::new();
    for (old, new) in [(ADA, NEW), (NEW, "ada@third.example.org")] {
        let mail = mailed(&app, &thief, CHANGE, new).await;
        post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
        tokens.push(undo_token(&app, old).await);
        app.clock.advance(TimeDelta::seconds(1));
    }
    post(&app, UNDO, json!({ "token": tokens[1] })).await.expect(204);
    post(&app, UNDO, json!({ "token": tokens[0] })).await.expect(204);
    assert!(super::is_verified(&app, ADA, OLD_PASSWORD).await);
}

#[tokio::test]
async fn an_undo_link_expires_after_7_days_and_until_then_the_old_address_is_reserved() {
    // S-88
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    let bob = app.sign_up("bob").await;
    let mail = mailed(&app, &ada, CHANGE, NEW).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let token = undo_token(&app, ADA).await;
    let signup = json!({ "email": "ADA@example.org", "password": OLD_PASSWORD });
    post(&app, "/api/v1/auth/signup", signup.clone()).await.expect(409).problem("identifier_taken");
    let before = app.mails().await.len();
    begin(&bob, CHANGE, ADA).await;
    // Only Bob gets a mail, at his current address. The reserved address gets no code.
    let mails = app.mails().await;
    assert_eq!((mails.len(), mails.last().unwrap().to()), (before + 1, "bob@example.org"));
    app.clock.advance(TimeDelta::days(7));
    post(&app, UNDO, json!({ "token": token })).await.expect(422).problem("invalid_code");
    post(&app, "/api/v1/auth/signup", signup).await.expect(201);
}

#[tokio::test]
async fn a_change_to_a_taken_address_gets_the_usual_response_and_the_owner_of_the_address_gets_a_mail() {
    // S-11, S-47
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    confirmed(&app, "bob").await;
    let flow = begin(&ada, CHANGE, "Bob@Example.org").await;
    let mail = app.mail_to("bob@example.org").await;
    assert!(mail.code.is_none() && mail.subject().contains("already have an account"), "{}", mail.text);
    let body = json!({ "flow_id": flow, "code": "12345678" });
    post(&app, CONFIRM, body).await.expect(422).problem("invalid_code");
    // Another user signs up with the address between the request and the confirmation.
    let mail = mailed(&app, &ada, CHANGE, "carol@example.org").await;
    app.sign_up("carol").await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(422).problem("invalid_code");
    assert_eq!(ada.get(ME).await.expect(200).json()["email"], ADA);
}

#[tokio::test]
async fn a_user_without_an_email_address_can_add_one() {
    let app = super::start().await;
    let body = json!({ "username": "ada", "password": OLD_PASSWORD });
    let grant = post(&app, "/api/v1/auth/signup", body).await.expect(201).json();
    let ada = app.anonymous().with_grant(&grant);
    let mail = mailed(&app, &ada, CHANGE, NEW).await;
    assert_eq!(app.mails().await.len(), 1);
    ada.post(CONFIRM).json(&mail.with_token(json!({}))).await.expect(204);
    let me = ada.get(ME).await.expect(200).json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!(NEW), &json!(true)));
    assert_eq!(app.mails().await.len(), 1);
}

#[tokio::test]
async fn a_code_sent_to_the_old_address_is_invalid_after_the_address_is_changed() {
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    let reset = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let mail = mailed(&app, &ada, CHANGE, NEW).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let body = reset.with_token(json!({ "new_password": NEW_PASSWORD }));
    post(&app, RESET, body).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn the_owner_of_the_new_address_cannot_take_over_a_confirmed_account() {
    // S-47, S-80, S-89
    let app = super::start().await;
    let ada = confirmed(&app, "ada").await;
    let mail = mailed(&app, &ada, CHANGE, NEW).await;
    let body = mail.with_token(json!({ "new_password": NEW_PASSWORD }));
    let reply = post(&app, CONFIRM, body).await.expect(422).problem("invalid").json();
    let error = &reply["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/new_password"), &json!("not_allowed")));
    assert!(ada.is_alive().await && app.can_log_in(ADA, OLD_PASSWORD).await);
    assert_eq!(ada.get(ME).await.expect(200).json()["email"], ADA);
    post(&app, CONFIRM, mail.with_token(json!({ "password": OLD_PASSWORD }))).await.expect(204);
    assert_eq!(ada.get(ME).await.expect(200).json()["email"], NEW);
}

#[tokio::test]
async fn changing_an_unconfirmed_address_releases_it_for_another_sign_up() {
    // S-81
    let app = super::start().await;
    let stranger = app.sign_up("ada").await;
    let mail = mailed(&app, &stranger, CHANGE, NEW).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
    let body = json!({ "email": ADA, "password": NEW_PASSWORD });
    post(&app, "/api/v1/auth/signup", body).await.expect(201);
}
