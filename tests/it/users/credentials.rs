//! Links to choose a password, and access tokens for support.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{OLD_PASSWORD, event_types, refused, run_with_input, users, users_json};
use crate::harness::{PUBLIC_URL, TestApp};

const NEW_PASSWORD: &str = "a louder harbour at dawn";
const RESET: &str = "/api/v1/auth/password/reset";

#[tokio::test]
async fn a_reset_link_from_the_operator_works_once_and_does_not_confirm_the_address() {
    // S-46, S-80
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let old = users_json(&app, &["reset-password", "ada"]).await;
    let made = users_json(&app, &["reset-password", "ada", "--ttl-secs", "3600"]).await;
    assert_eq!(made["user_id"], ada.id());
    let expires_at: DateTime<Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
    assert!((3_590..=3_600).contains(&(expires_at - app.clock.now()).num_seconds()), "{expires_at}");
    let token = |link: &Value| {
        let link = link["link"].as_str().unwrap();
        link.strip_prefix(&format!("{PUBLIC_URL}/account/reset#")).unwrap().to_owned()
    };
    let reset = |token: String| {
        let body = json!({ "token": token, "new_password": NEW_PASSWORD });
        app.anonymous().post(RESET).json(&body)
    };
    assert!(ada.is_alive().await, "the link alone changes nothing");
    reset(token(&old)).await.expect(422);
    reset(token(&made)).await.expect(204);
    reset(token(&made)).await.expect(422);
    assert!(!ada.is_alive().await && !app.can_log_in("ada", OLD_PASSWORD).await);
    let again = app.log_in_with_password("ada", NEW_PASSWORD).await;
    assert_eq!(again.get("/api/v1/me").await.expect(200).json()["email_verified"], false);
    assert!(event_types(&again).await.contains(&"password_reset_created".to_owned()));
    let text = users(&app, &["reset-password", "ada"]).await;
    assert!(text.starts_with(PUBLIC_URL) && text.contains("The link works once, until "), "{text}");
}

#[tokio::test]
async fn a_reset_link_from_the_operator_does_not_replace_the_second_factor() {
    // S-47
    let app = TestApp::start_now().await;
    app.sign_up_with_totp("ada").await;
    let made = users_json(&app, &["reset-password", "ada"]).await;
    let token = made["link"].as_str().unwrap().split_once('#').unwrap().1;
    let body = json!({ "token": token, "new_password": NEW_PASSWORD });
    app.anonymous().post(RESET).json(&body).await.expect(204);
    let body = json!({ "identifier": "ada", "password": NEW_PASSWORD });
    let reply = app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401);
    reply.problem("mfa_required");
}

#[tokio::test]
async fn a_token_minted_by_the_operator_has_amr_operator_and_never_satisfies_step_up() {
    // S-85
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let minted = users_json(&app, &["mint", "ada"]).await;
    assert_eq!((&minted["user_id"], &minted["token_type"]), (&json!(ada.id()), &json!("Bearer")));
    assert_eq!((&minted["expires_in"], &minted["scope"]), (&json!(900), &json!("trips:read trips:write")));
    let support = app.anonymous().with_token(minted["access_token"].as_str().unwrap());
    let of_token = support.claims();
    assert_eq!((&of_token["amr"], &of_token["auth_time"]), (&json!(["operator"]), &json!(0)));
    assert_eq!((&of_token["sub"], of_token.get("sid")), (&json!(ada.id()), None));
    assert_eq!(support.get("/api/v1/auth/session").await.expect(200).json()["amr"], json!(["operator"]));
    support.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    support.get("/api/v1/me").await.expect(403).problem("insufficient_scope");
    assert_eq!(event_types(&ada).await[0], "operator_token_created");
    let args = ["mint", "ada", "--scope", "account", "--ttl-secs", "60"];
    let minted = users_json(&app, &args).await;
    assert_eq!((&minted["expires_in"], &minted["scope"]), (&json!(60), &json!("account")));
    let support = app.anonymous().with_token(minted["access_token"].as_str().unwrap());
    support.get("/api/v1/me").await.expect(200);
    for reply in [
        support.delete("/api/v1/me").await,
        support.patch("/api/v1/me").json(&json!({ "username": "eve" })).await,
        support.post("/api/v1/me/tokens").json(&json!({ "name": "x", "scope": "account" })).await,
    ] {
        reply.expect(401).problem("step_up_required");
    }
    let proven = support.post("/api/v1/me/reauthenticate").json(&json!({ "password": OLD_PASSWORD }));
    let proven = proven.await.expect(200).json();
    let proven = app.anonymous().with_token(proven["access_token"].as_str().unwrap());
    proven.delete("/api/v1/me").await.expect(401).problem("step_up_required");
    users(&app, &["end-sessions", "ada"]).await;
    assert!(!support.is_alive().await && !proven.is_alive().await);
}

#[tokio::test]
async fn no_token_is_minted_for_a_disabled_account_or_for_an_unknown_scope() {
    let app = TestApp::start_now().await;
    app.sign_up("ada").await;
    assert!(refused(&app, &["mint", "ada", "--scope", "admin"]).contains("is not a list of scopes"));
    for ttl in ["0", "604801", "x"] {
        let args = ["users", "mint", "ada", "--ttl-secs", ttl];
        assert_eq!(run_with_input(&app, &args, b"").status.code(), Some(2), "{ttl}");
    }
    users(&app, &["disable", "ada"]).await;
    assert!(refused(&app, &["mint", "ada"]).contains("the account is disabled"));
}
