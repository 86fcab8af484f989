//! Logging in with a second factor.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{complete, with_code};
use crate::harness::totp::mfa_token;
use crate::harness::{PASSWORD, TestApp, email, rows};

#[tokio::test]
async fn a_password_login_with_a_second_factor_succeeds_only_after_a_code() {
    // S-89
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let body = json!({ "identifier": email("ada"), "password": PASSWORD, "device_name": "Phone", "scope": "account" });
    let reply = app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401);
    let reply = reply.problem("mfa_required");
    assert_eq!(reply.json()["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    let token = reply.json()["mfa_token"].as_str().unwrap().to_owned();
    assert_eq!(rows::sessions(&app).await.iter().filter(|row| row.ended_at.is_none()).count(), 1);
    // The code of the enrolment is used up; the app shows the next one after 30 seconds.
    app.clock.advance(TimeDelta::seconds(30));
    let code = ada.authenticator.code_at(app.clock.now());
    let reply = with_code(&app, &token, &code).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let grant = reply.json();
    assert_eq!((&grant["scope"], &grant["user"]["mfa_enabled"]), (&json!("account"), &json!(true)));
    let client = app.anonymous().with_grant(&grant);
    assert_eq!(client.claims()["amr"], json!(["pwd", "otp", "mfa"]));
    let sessions = client.get("/api/v1/me/sessions").await.expect(200).json();
    assert_eq!(sessions["items"][0]["device_name"], "Phone");
    // A wrong password reveals nothing about the second factor.
    let body = json!({ "identifier": "ada", "password": "a wrong password" });
    let reply = app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401);
    reply.problem("invalid_credentials");
}

#[tokio::test]
async fn a_password_alone_never_passes_the_second_factor() {
    // S-17, S-89
    let app = TestApp::with(|settings| settings.auth_methods.basic = true).await;
    app.sign_up_with_totp("ada").await;
    let basic = |call: crate::harness::Call| async move { call.basic("ada", PASSWORD).await.expect(401) };
    for call in [
        app.anonymous().get("/api/v1/auth/verify"),
        app.anonymous().post("/api/v1/auth/tokens"),
        app.anonymous().get("/api/v1/me"),
        app.anonymous().get("/api/v1/trips"),
    ] {
        let reply = basic(call).await.problem("mfa_required");
        assert!(reply.json().get("mfa_token").is_none());
    }
    let verify = basic(app.anonymous().get("/api/v1/auth/verify")).await;
    assert_eq!(verify.header("www-authenticate"), r#"Basic realm="tripgate", charset="UTF-8""#);
    let wrong = app.anonymous().get("/api/v1/auth/verify").basic("ada", "a wrong password").await;
    wrong.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn an_mfa_token_is_valid_for_one_login_within_five_minutes_and_five_attempts() {
    // S-90
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let next_code = || {
        app.clock.advance(TimeDelta::seconds(30));
        ada.authenticator.code_at(app.clock.now())
    };
    let token = mfa_token(&app.anonymous(), "ada").await;
    let code = next_code();
    with_code(&app, &token, &code).await.expect(200);
    let code = next_code();
    with_code(&app, &token, &code).await.expect(401).problem("invalid_credentials");

    let token = mfa_token(&app.anonymous(), "ada").await;
    app.clock.advance(TimeDelta::minutes(5));
    let code = next_code();
    with_code(&app, &token, &code).await.expect(401).problem("invalid_credentials");

    let token = mfa_token(&app.anonymous(), "ada").await;
    for _ in 0..5 {
        with_code(&app, &token, "000000").await.expect(401).problem("invalid_credentials");
    }
    let code = next_code();
    with_code(&app, &token, &code).await.expect(401).problem("invalid_credentials");

    for unknown in ["", "x", &"A".repeat(43), ada.client.token()] {
        with_code(&app, unknown, "000000").await.expect(401).problem("invalid_credentials");
    }
    // An `mfa_token` is neither an access token nor a refresh token.
    let token = mfa_token(&app.anonymous(), "ada").await;
    app.anonymous().with_token(&token).get("/api/v1/me").await.expect(401).problem("invalid_token");
    let refresh = app.anonymous().post("/api/v1/auth/refresh").json(&json!({ "refresh_token": token }));
    refresh.await.expect(401).problem("invalid_refresh_token");
}

#[tokio::test]
async fn an_mfa_token_accepts_only_the_second_factors_of_its_own_user() {
    // S-90
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let eve = app.sign_up_with_totp("eve").await;
    app.clock.advance(TimeDelta::seconds(30));
    let token = mfa_token(&app.anonymous(), "ada").await;
    let code = eve.authenticator.code_at(app.clock.now());
    with_code(&app, &token, &code).await.expect(401).problem("invalid_credentials");
    let reply = complete(&app, &token, "recovery_code", &eve.recovery_codes[0]).await;
    reply.expect(401).problem("invalid_credentials");
    with_code(&app, &token, &ada.authenticator.code_at(app.clock.now())).await.expect(200);
}

#[tokio::test]
async fn an_authenticator_code_of_the_previous_current_or_next_time_step_works_once_even_after_a_clock_jump()
{
    // S-51
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    let code_at = |seconds| ada.authenticator.code_at(app.clock.now() + TimeDelta::seconds(seconds));
    let login = async |code: &str| {
        let token = mfa_token(&app.anonymous(), "ada").await;
        with_code(&app, &token, code).await.status
    };
    app.clock.advance(TimeDelta::minutes(10));
    assert_eq!(login(&code_at(-60)).await, 401);
    assert_eq!(login(&code_at(60)).await, 401);
    assert_eq!(login(&code_at(-30)).await, 200);
    assert_eq!(login(&code_at(-30)).await, 401);
    assert_eq!(login(&code_at(30)).await, 200);
    // An older code is not valid after a newer one was used.
    assert_eq!(login(&code_at(0)).await, 401);
    let used = code_at(30);
    for minutes in [-1, -60, 1] {
        app.clock.jump(TimeDelta::minutes(minutes));
        assert_eq!(login(&used).await, 401, "{minutes}");
        assert_eq!(login(&code_at(-30)).await, 401, "{minutes}");
        app.clock.jump(TimeDelta::minutes(-minutes));
    }
    app.clock.advance(TimeDelta::minutes(2));
    assert_eq!(login(&code_at(0)).await, 200);
}

#[tokio::test]
async fn exactly_one_of_fifty_parallel_uses_of_an_authenticator_code_succeeds() {
    // S-51
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up_with_totp("ada").await;
    app.clock.advance(TimeDelta::minutes(1));
    let code = ada.authenticator.code_at(app.clock.now());
    let tokens = join_all((0..10).map(|_| async { mfa_token(&app.anonymous(), "ada").await })).await;
    let calls = (0..50).map(|number| {
        let server = if number % 2 == 0 { &app } else { &replica };
        let (token, code) = (&tokens[number % tokens.len()], &code);
        async move { with_code(server, token, code).await.status }
    });
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 401, 429].contains(status)), "{statuses:?}");
}

#[tokio::test]
async fn after_ten_wrong_codes_the_wait_before_each_attempt_grows() {
    // S-52
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    app.clock.advance(TimeDelta::minutes(1));
    for number in 0..10 {
        let token = mfa_token(&app.anonymous(), "ada").await;
        // Wrong codes of both kinds are counted together.
        let field = if number % 2 == 0 { "totp_code" } else { "recovery_code" };
        complete(&app, &token, field, "000000").await.expect(401);
    }
    for secs in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        let token = mfa_token(&app.anonymous(), "ada").await;
        let code = ada.authenticator.code_at(app.clock.now());
        // During the wait, even a correct code is rejected without a comparison.
        let reply = with_code(&app, &token, &code).await.expect(429).problem("too_many_attempts");
        assert_eq!(reply.header("retry-after"), secs.to_string());
        let body = json!({ "totp_code": code });
        ada.client.post("/api/v1/me/reauthenticate").json(&body).await;
        app.clock.advance(TimeDelta::seconds(secs));
        let token = mfa_token(&app.anonymous(), "ada").await;
        with_code(&app, &token, "000000").await.expect(401);
    }
    app.clock.advance(TimeDelta::minutes(15));
    let token = mfa_token(&app.anonymous(), "ada").await;
    with_code(&app, &token, &ada.authenticator.code_at(app.clock.now())).await.expect(200);
    // A correct code ends the delays.
    let token = mfa_token(&app.anonymous(), "ada").await;
    with_code(&app, &token, "000000").await.expect(401);
    with_code(&app, &token, "000000").await.expect(401);
}

#[tokio::test]
async fn a_request_must_contain_exactly_one_second_factor() {
    let app = TestApp::start().await;
    app.sign_up_with_totp("ada").await;
    let token = mfa_token(&app.anonymous(), "ada").await;
    let send = async |body: Value| {
        let call = app.anonymous().post("/api/v1/auth/login/mfa").json(&body);
        call.await.expect(422).field_errors()
    };
    let error = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    assert_eq!(send(json!({ "mfa_token": token })).await, error("/totp_code", "required"));
    let both = json!({ "mfa_token": token, "totp_code": "1", "recovery_code": "2" });
    assert_eq!(send(both).await, error("/recovery_code", "not_allowed"));
}

#[tokio::test]
async fn a_user_can_authenticate_again_with_a_code_of_the_authenticator_app() {
    // S-85
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    ada.client.post("/api/v1/me/recovery-codes").await.expect(401).problem("step_up_required");
    let reauthenticate = async |code: &str| {
        ada.client.post("/api/v1/me/reauthenticate").json(&json!({ "totp_code": code })).await
    };
    let wrong = reauthenticate("000000").await.expect(422).problem("invalid");
    assert_eq!(wrong.field_errors(), [("/totp_code".to_owned(), "invalid_code".to_owned())]);
    let code = ada.authenticator.code_at(app.clock.now());
    let grant = reauthenticate(&code).await.expect(200).json();
    let recent = ada.client.with_token(grant["access_token"].as_str().unwrap());
    assert_eq!(recent.claims()["amr"], json!(["pwd", "otp", "mfa"]));
    recent.post("/api/v1/me/recovery-codes").await.expect(200);
    reauthenticate(&code).await.expect(422);
}

#[tokio::test]
async fn a_session_from_before_the_enrolment_cannot_be_refreshed() {
    // S-89: an enrolment ends the other sessions of the user. A session that starts at the same moment can
    // stay active, but its next refresh ends it.
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let racing = app.log_in("ada").await;
    let enrolled = crate::harness::totp::enrol(&ada, app.clock.now()).await;
    rows::revive_sessions(&app).await;
    let body = json!({ "refresh_token": racing.grant()["refresh_token"] });
    let refresh = app.anonymous().post("/api/v1/auth/refresh").json(&body).await;
    refresh.expect(401).problem("session_revoked");
    let body = json!({ "refresh_token": enrolled.client.grant()["refresh_token"] });
    let refreshed = app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(200).json();
    assert_eq!(app.anonymous().with_grant(&refreshed).claims()["amr"], json!(["pwd", "otp", "mfa"]));
}
