//! Confirmation of an address.

use chrono::TimeDelta;
use serde_json::json;

use super::{ADA, CONFIRM, ME, OLD_PASSWORD, RESEND, RESET, begin, mailed, of_signup, post, wrong};

#[tokio::test]
async fn the_sign_up_code_confirms_the_address_and_can_be_sent_again_for_10_minutes() {
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    assert_eq!(ada.grant()["user"]["email_verified"], false);
    let mail = of_signup(&app, &ada).await;
    for _ in 0..8 {
        post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(204);
        app.clock.advance(TimeDelta::seconds(70));
    }
    assert_eq!(ada.get(ME).await.expect(200).json()["email_verified"], true);
    app.clock.advance(TimeDelta::minutes(2));
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_sign_up_without_an_address_sends_no_mail() {
    let app = super::start().await;
    let body = json!({ "username": "ada", "password": OLD_PASSWORD });
    let grant = post(&app, "/api/v1/auth/signup", body).await.expect(201).json();
    assert!(grant.get("flow_id").is_none());
    assert!(app.mails().await.is_empty());
}

#[tokio::test]
async fn the_sign_up_link_confirms_the_address_only_with_the_access_token_or_the_password() {
    // S-80
    let app = super::start().await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let mail = of_signup(&app, &ada).await;
    let missing = post(&app, CONFIRM, mail.with_token(json!({}))).await.expect(422).problem("invalid");
    assert_eq!(missing.json()["errors"][0]["pointer"], "/password");
    // The access token of another account is not sufficient.
    bob.post(CONFIRM).json(&mail.with_token(json!({}))).await.expect(422).problem("invalid");
    let wrong = mail.with_token(json!({ "password": "not the password" }));
    let reply = post(&app, CONFIRM, wrong).await.expect(422).problem("invalid").json();
    assert_eq!(reply["errors"][0]["code"], "wrong_password");
    assert_eq!(ada.get(ME).await.expect(200).json()["email_verified"], false);
    post(&app, CONFIRM, mail.with_token(json!({ "password": OLD_PASSWORD }))).await.expect(204);
    assert_eq!(ada.get(ME).await.expect(200).json()["email_verified"], true);
    let mail = of_signup(&app, &bob).await;
    bob.post(CONFIRM).json(&mail.with_token(json!({}))).await.expect(204);
    assert_eq!(bob.get(ME).await.expect(200).json()["email_verified"], true);
}

#[tokio::test]
async fn wrong_passwords_that_are_sent_with_a_sign_up_link_use_up_the_tries_of_the_link() {
    // S-79
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    let mail = of_signup(&app, &ada).await;
    for _ in 0..5 {
        let guess = mail.with_token(json!({ "password": "not the password" }));
        post(&app, CONFIRM, guess).await.expect(422).problem("invalid");
    }
    let right = mail.with_token(json!({ "password": OLD_PASSWORD }));
    post(&app, CONFIRM, right).await.expect(422).problem("invalid_code");
}

#[tokio::test]
async fn a_confirmation_code_that_was_requested_without_an_access_token_requires_the_password() {
    // S-80
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    let first = of_signup(&app, &ada).await;
    let foreign = mailed(&app, &app.anonymous(), RESEND, ADA).await;
    // The code in the new mail replaces the code in the earlier mail.
    post(&app, CONFIRM, first.with_code(json!({}))).await.expect(422).problem("invalid_code");
    let missing = post(&app, CONFIRM, foreign.with_code(json!({}))).await.expect(422).problem("invalid");
    assert_eq!(missing.json()["errors"][0]["pointer"], "/password");
    // Without a password the response does not depend on the code, and no try is used.
    for _ in 0..6 {
        let guess = json!({ "flow_id": foreign.flow, "code": wrong(&foreign.code) });
        assert_eq!(post(&app, CONFIRM, guess).await.json()["errors"], missing.json()["errors"]);
    }
    // The server sends the mail to the stored spelling of the address.
    begin(&ada, RESEND, "ADA@Example.org").await;
    assert_eq!(app.mails().await.last().unwrap().to(), ADA);
    let own = mailed(&app, &ada, RESEND, ADA).await;
    post(&app, CONFIRM, own.with_code(json!({}))).await.expect(204);
    assert_eq!(ada.get(ME).await.expect(200).json()["email_verified"], true);
}

#[tokio::test]
async fn resending_a_code_to_an_unknown_or_a_confirmed_address_sends_no_mail() {
    // S-11
    let app = super::start().await;
    super::confirmed(&app, "ada").await;
    let before = app.mails().await.len();
    let known = begin(&app.anonymous(), RESEND, ADA).await;
    let unknown = begin(&app.anonymous(), RESEND, "nobody@example.org").await;
    assert_eq!(app.mails().await.len(), before);
    for flow in [known, unknown] {
        let body = json!({ "flow_id": flow, "code": "00000000" });
        let missing = post(&app, CONFIRM, body.clone()).await.expect(422).problem("invalid").json();
        assert_eq!(missing["errors"][0]["pointer"], "/password");
        let body = super::merged(body, json!({ "new_password": super::NEW_PASSWORD }));
        post(&app, CONFIRM, body).await.expect(422).problem("invalid_code");
    }
}

#[tokio::test]
async fn every_unusable_confirmation_code_gets_the_same_response() {
    // S-26, S-46
    let app = super::start().await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let (of_ada, of_bob) = (of_signup(&app, &ada).await, of_signup(&app, &bob).await);
    let reset = mailed(&app, &app.anonymous(), super::FORGOT, ADA).await;
    let mut replies = Vec::new();
    for body in [
        json!({ "flow_id": of_ada.flow, "code": wrong(&of_ada.code) }),
        // The code of another user, a code for another purpose, a code with an unknown flow, and malformed
        // codes.
        json!({ "flow_id": of_bob.flow, "code": of_ada.code }),
        json!({ "flow_id": reset.flow, "code": reset.code }),
        json!({ "flow_id": "01890a5d-ac96-774b-bcce-b302099a8057", "code": of_ada.code }),
        json!({ "flow_id": of_ada.flow, "code": "x".repeat(10_000) }),
        json!({ "flow_id": of_ada.flow, "code": "" }),
    ] {
        let mut reply = post(&app, CONFIRM, body).await.expect(422).problem("invalid_code").json();
        reply["request_id"] = json!("");
        replies.push(reply);
    }
    replies.dedup();
    assert_eq!(replies.len(), 1, "{replies:#?}");
    for token in [reset.token.as_str(), of_ada.code.as_str(), ada.token(), &"x".repeat(10_000), ""] {
        ada.post(CONFIRM).json(&json!({ "token": token })).await.expect(422).problem("invalid_code");
    }
    // The token of a confirmation cannot reset the password.
    let body = of_ada.with_token(json!({ "new_password": super::NEW_PASSWORD }));
    post(&app, RESET, body).await.expect(422).problem("invalid_code");
    app.clock.advance(TimeDelta::minutes(15));
    post(&app, CONFIRM, of_ada.with_code(json!({}))).await.expect(422).problem("invalid_code");
    app.anonymous().get(ME).bearer(&of_ada.token).await.expect(401).problem("invalid_token");
}

#[tokio::test]
async fn a_confirmation_code_may_contain_spaces_and_dashes() {
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    let mail = of_signup(&app, &ada).await;
    let code = format!(" {}-{} ", &mail.code[..4], &mail.code[4..]);
    post(&app, CONFIRM, json!({ "flow_id": mail.flow, "code": code })).await.expect(204);
}

#[tokio::test]
async fn a_confirmation_must_contain_either_a_token_or_a_code_and_at_most_one_password() {
    let app = super::start().await;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (body, pointer, code) in [
        (json!({}), "/code", "required"),
        (json!({ "flow_id": id }), "/code", "required"),
        (json!({ "code": "1" }), "/flow_id", "required"),
        (json!({ "token": "x", "code": "1" }), "/token", "not_allowed"),
        (json!({ "token": "x", "flow_id": id, "code": "1" }), "/token", "not_allowed"),
        (json!({ "token": "x", "password": "a", "new_password": "b" }), "/new_password", "not_allowed"),
    ] {
        let reply = post(&app, CONFIRM, body).await.expect(422).problem("invalid").json();
        assert_eq!(reply["errors"][0]["pointer"], pointer);
        assert_eq!(reply["errors"][0]["code"], code);
    }
}

#[tokio::test]
async fn requesting_a_confirmation_email_with_an_invalid_access_token_gets_401() {
    // S-29
    let app = super::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "email": ADA });
    app.anonymous().post(RESEND).bearer("x").json(&body).await.expect(401).problem("invalid_token");
    app.clock.advance(TimeDelta::hours(1));
    ada.post(RESEND).json(&body).await.expect(401).problem("invalid_token");
    // A token without the scope `account` causes no error, but the code then requires the password.
    let reader = app.log_in_for("ada", "trips:read").await;
    let mail = mailed(&app, &reader, RESEND, ADA).await;
    post(&app, CONFIRM, mail.with_code(json!({}))).await.expect(422).problem("invalid");
}
