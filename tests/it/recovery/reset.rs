//! Reset of the password.

use chrono::TimeDelta;
use serde_json::json;

use super::{ADA, FORGOT, NEW_PASSWORD, OLD_PASSWORD, RESET, begin, confirmed, mailed, post};

#[tokio::test]
async fn a_reset_sets_the_password_confirms_the_address_and_ends_all_sessions_on_every_replica() {
    // S-41, S-46
    let app = super::start().await;
    let replica = app.replica().await;
    let ada = confirmed(&app, "ada").await;
    let phone = app.log_in("ada").await;
    let sessionless =
        app.anonymous().post("/api/v1/auth/tokens").basic("ada", OLD_PASSWORD).await.expect(200);
    let sessionless = app.anonymous().with_token(sessionless.json()["access_token"].as_str().unwrap());
    assert!(ada.is_alive().await && phone.is_alive().await && sessionless.is_alive().await);
    let there = replica.anonymous().with_token(phone.token());
    assert!(there.is_alive().await);
    app.clock.advance(TimeDelta::milliseconds(1));
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    for client in [&ada, &phone, &sessionless] {
        client.get(super::ME).await.expect(401).problem("invalid_token");
    }
    assert!(!ada.can_refresh().await && !phone.can_refresh().await);
    assert!(replica.services().tokens.poll().await);
    there.get(super::ME).await.expect(401).problem("invalid_token");
    assert!(!app.can_log_in(ADA, OLD_PASSWORD).await);
    assert!(super::is_verified(&app, ADA, NEW_PASSWORD).await);
    app.log_in_with_password("ada", NEW_PASSWORD).await;
    // The owner gets a mail that reports the change.
    assert_eq!(app.mails().await.last().unwrap().subject(), "Your password was changed");
}

#[tokio::test]
async fn the_code_and_the_link_of_a_reset_email_can_each_be_used_only_once() {
    // S-46
    let app = super::start().await;
    confirmed(&app, "ada").await;
    for by_token in [false, true] {
        let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
        let body = |password: &str| {
            let more = json!({ "new_password": password });
            if by_token { mail.with_token(more) } else { mail.with_code(more) }
        };
        post(&app, RESET, body(NEW_PASSWORD)).await.expect(204);
        post(&app, RESET, body("yet another harbour")).await.expect(422).problem("invalid_code");
        post(&app, RESET, mail.with_token(json!({ "new_password": "yet another harbour" })))
            .await
            .expect(422)
            .problem("invalid_code");
        assert!(app.can_log_in(ADA, NEW_PASSWORD).await);
    }
}

#[tokio::test]
async fn exactly_one_of_50_parallel_resets_succeeds() {
    // S-46
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let resets = (0..50).map(|n| {
        let body = mail.with_token(json!({ "new_password": format!("a harbour, number {n}") }));
        let app = &app;
        async move { post(app, RESET, body).await.status }
    });
    let statuses = futures_util::future::join_all(resets).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 422)), "{statuses:?}");
}

#[tokio::test]
async fn a_new_request_replaces_the_earlier_code_and_a_reset_ends_all_other_codes() {
    // S-46
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let login = mailed(&app, &app.anonymous(), super::LOGIN_CODE, ADA).await;
    let first = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    let second = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    for body in [first.with_code(json!({})), first.with_token(json!({}))] {
        let body = super::merged(body, json!({ "new_password": NEW_PASSWORD }));
        post(&app, RESET, body).await.expect(422).problem("invalid_code");
    }
    post(&app, RESET, second.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
    post(&app, super::LOGIN_BY_CODE, login.with_code(json!({}))).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_rejected_new_password_leaves_the_reset_code_usable() {
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let mail = mailed(&app, &app.anonymous(), FORGOT, ADA).await;
    for (password, code) in [("short", "too_short"), (ADA, "same_as_identifier"), ("password", "too_common")]
    {
        for _ in 0..2 {
            let reply = post(&app, RESET, mail.with_code(json!({ "new_password": password }))).await;
            let reply = reply.expect(422).problem("invalid").json();
            assert_eq!(reply["errors"][0]["code"], code);
            assert_eq!(reply["errors"][0]["pointer"], "/new_password");
        }
    }
    post(&app, RESET, mail.with_code(json!({ "new_password": NEW_PASSWORD }))).await.expect(204);
}

#[tokio::test]
async fn a_reset_mail_goes_only_to_the_stored_address_of_the_account() {
    // S-50, S-87
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let before = app.mails().await.len();
    begin(&app.anonymous(), FORGOT, "ＡＤＡ@Example.ORG").await;
    let mails = app.mails().await;
    assert_eq!((mails.len(), mails.last().unwrap().to()), (before + 1, ADA));
    for other in ["adа@example.org", "ada@examp1e.org", "ada+x@example.org", "a.da@example.org"] {
        begin(&app.anonymous(), FORGOT, other).await;
    }
    assert_eq!(app.mails().await.len(), before + 1);
}

#[tokio::test]
async fn the_host_of_the_request_does_not_appear_in_the_reset_link() {
    // S-45
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let call = app.anonymous().post(FORGOT).json(&json!({ "email": ADA }));
    call.header("x-forwarded-host", "evil.example").header("host", "evil.example").await.expect(202);
    let mail = app.mail_to(ADA).await;
    assert!(mail.link.as_deref().unwrap().starts_with("/account/reset#"));
    assert!(!mail.text.contains("evil") && !mail.html.unwrap().contains("evil"));
}

#[tokio::test]
async fn the_reset_mail_is_in_the_language_of_the_request() {
    let app = super::start().await;
    confirmed(&app, "ada").await;
    let call = app.anonymous().post(FORGOT).json(&json!({ "email": ADA }));
    call.header("accept-language", "de-AT, en;q=0.5").await.expect(202);
    assert!(app.mail_to(ADA).await.text.contains("Passwort"));
}
