//! Sign-ups by a stranger with the address of another person: the owner of the mailbox can reclaim the account, and
//! the stranger gains no access when the owner confirms the address.

use chrono::TimeDelta;
use serde_json::json;

use super::{
    ADA, CONFIRM, FORGOT, LOGIN_BY_CODE, LOGIN_CODE, ME, NEW_PASSWORD, OLD_PASSWORD, RESEND, RESET, begin,
    mailed, of_signup, post,
};
use crate::harness::{Client, TestApp};

/// Signs up a stranger with Ada's address.
async fn stranger(app: &TestApp) -> Client {
    let stranger = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(1));
    stranger
}

/// Asserts that the stranger's session, refresh token and password are no longer valid.
async fn assert_reclaimed(app: &TestApp, stranger: &Client) {
    assert!(!stranger.is_alive().await && !stranger.can_refresh().await);
    assert!(!app.can_log_in("ada", OLD_PASSWORD).await);
    assert!(!app.can_log_in(ADA, OLD_PASSWORD).await);
}

#[tokio::test]
async fn a_mailbox_owner_can_reclaim_an_account_by_a_password_reset() {
    // S-80, S-81
    let app = super::start().await;
    let stranger = stranger(&app).await;
    let pending = of_signup(&app, &stranger).await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    assert_reclaimed(&app, &stranger).await;
    assert!(super::is_verified(&app, ADA, NEW_PASSWORD).await);
    post(&app, CONFIRM, pending.with_code(json!({}))).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_mailbox_owner_can_reclaim_an_account_by_the_link_of_the_strangers_sign_up() {
    // S-80, S-81
    let app = super::start().await;
    let stranger = stranger(&app).await;
    let mail = of_signup(&app, &stranger).await;
    // The link alone confirms nothing.
    post(&app, CONFIRM, mail.with_token(json!({}))).await.expect(422).problem("invalid");
    assert_eq!(stranger.get(ME).await.expect(200).json()["email_verified"], false);
    post(&app, CONFIRM, mail.with_token(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    assert_reclaimed(&app, &stranger).await;
    assert!(super::is_verified(&app, ADA, NEW_PASSWORD).await);
}

#[tokio::test]
async fn a_mailbox_owner_can_reclaim_an_account_by_a_confirmation_code_that_was_sent_again() {
    // S-80, S-81
    let app = super::start().await;
    let stranger = stranger(&app).await;
    let mail = mailed(&app, &app.anonymous(), RESEND, ADA).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(422).problem("invalid");
    post(&app, CONFIRM, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    assert_reclaimed(&app, &stranger).await;
    assert!(super::is_verified(&app, ADA, NEW_PASSWORD).await);
}

#[tokio::test]
async fn a_mailbox_owner_can_reclaim_an_account_by_a_login_code() {
    // S-80, S-81
    let app = super::start().await;
    let stranger = stranger(&app).await;
    let mail = mailed(&app, &app.anonymous(), LOGIN_CODE, ADA).await;
    let grant = post(&app, LOGIN_BY_CODE, mail.with_code(json!({}))).await.expect(200).json();
    assert_reclaimed(&app, &stranger).await;
    let ada = app.anonymous().with_grant(&grant);
    let me = ada.get(ME).await.expect(200).json();
    assert_eq!((&me["email_verified"], &me["id"]), (&json!(true), &stranger.grant()["user"]["id"]));
    assert!(ada.can_refresh().await);
}

#[tokio::test]
async fn a_stranger_gets_no_access_to_an_account_that_the_owner_of_the_address_created() {
    // S-80
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    let own = of_signup(&app, &ada).await;
    // The stranger requests every kind of mail, and knows the id of each flow, but no code.
    for (request, confirm, more) in [
        (RESEND, CONFIRM, json!({ "new_password": NEW_PASSWORD })),
        (FORGOT, RESET, json!({ "new_password": NEW_PASSWORD })),
        (LOGIN_CODE, LOGIN_BY_CODE, json!({})),
    ] {
        let flow = begin(&app.anonymous(), request, ADA).await;
        let guess = super::merged(json!({ "flow_id": flow, "code": own.code }), more);
        post(&app, confirm, guess).await.expect(422).problem("invalid_code");
    }
    assert!(ada.is_alive().await && app.can_log_in(ADA, OLD_PASSWORD).await);
    // The owner can still confirm the address with a new code.
    let own = mailed(&app, &ada, RESEND, ADA).await;
    post(&app, CONFIRM, own.with_code(json!({}))).await.expect(204);
    assert!(ada.is_alive().await && app.can_log_in(ADA, OLD_PASSWORD).await);
}

#[tokio::test]
async fn a_confirmed_account_keeps_its_username_and_trips_after_a_password_reset() {
    let app = super::start().await;
    let ada = super::confirmed(&app, "ada").await;
    ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    app.clock.advance(TimeDelta::seconds(1));
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    let ada = app.log_in_with_password("ada", NEW_PASSWORD).await;
    assert_eq!(ada.get("/api/v1/trips").await.expect(200).json()["items"][0]["title"], "Lisbon");
}
