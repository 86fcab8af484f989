//! Refreshing: each refresh token has one successor, even if responses are lost.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tripgate::config::Secret;

use super::{assert_rejected, has_access, list_sessions, next, refresh, refresh_token};
use crate::harness::{TestApp, rows};

#[tokio::test]
async fn refreshing_returns_new_tokens_for_the_same_session() {
    // S-37
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let narrow = app.log_in_for("ada", "trips:read").await;
    app.clock.advance(TimeDelta::minutes(14));
    let reply = refresh(&app, refresh_token(narrow.grant())).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store"); // S-31
    let grant = reply.json();
    assert_eq!(
        grant,
        json!({
            "token_type": "Bearer", "access_token": grant["access_token"], "expires_in": grant["expires_in"],
            "refresh_token": grant["refresh_token"], "refresh_expires_in": 5_184_000,
            "session_id": narrow.grant()["session_id"], "scope": "trips:read",
            "server_time": "2026-03-02T08:44:00.000Z", "device_token": grant["device_token"], "user": ada.grant()["user"],
        })
    );
    assert_ne!(grant["refresh_token"], narrow.grant()["refresh_token"]);
    let session = app.anonymous().with_grant(&grant).get("/api/v1/auth/session").await.expect(200).json();
    assert_eq!(session["amr"], json!(["pwd"]));
    assert!(has_access(&app, narrow.grant()).await, "the previous access token stays valid");
    assert_eq!(rows::sessions(&app).await.len(), 2);
}

#[tokio::test]
async fn the_lifetime_of_a_refreshed_access_token_is_reduced_at_random_by_up_to_five_percent() {
    let app = TestApp::start().await;
    let mut grant = app.sign_up("ada").await.grant().clone();
    let mut lifetimes = Vec::new();
    for _ in 0..30 {
        grant = next(&app, &grant).await;
        lifetimes.push(grant["expires_in"].as_i64().unwrap());
    }
    assert!(lifetimes.iter().all(|secs| (855..=900).contains(secs)), "{lifetimes:?}");
    lifetimes.sort_unstable();
    lifetimes.dedup();
    assert!(lifetimes.len() > 5, "{lifetimes:?}");
}

#[tokio::test]
async fn a_refresh_whose_response_was_lost_can_be_repeated_months_later() {
    // S-39
    let app = TestApp::with(|settings| settings.refresh_idle_secs = 365 * 86_400).await;
    let grant = app.sign_up("ada").await.grant().clone();
    let lost = next(&app, &grant).await;
    app.clock.advance(TimeDelta::days(90));
    let again = next(&app, &grant).await;
    assert_eq!(again["refresh_token"], lost["refresh_token"], "the repeated refresh returned another token");
    assert!(has_access(&app, &again).await);
    next(&app, &again).await;
}

#[tokio::test]
async fn a_repeated_refresh_extends_the_idle_timeout() {
    // S-39, S-42
    let app = TestApp::with(|settings| {
        settings.refresh_idle_secs = 3600;
        settings.refresh_absolute_secs = 2 * 3600;
    })
    .await;
    let grant = app.sign_up("ada").await.grant().clone();
    next(&app, &grant).await;
    for expected in [3600, 1200] {
        app.clock.advance(TimeDelta::minutes(50));
        assert_eq!(next(&app, &grant).await["refresh_expires_in"], expected);
    }
}

#[tokio::test]
async fn a_refresh_token_with_a_used_successor_is_accepted_for_30_seconds_and_a_later_use_ends_the_session() {
    // S-37
    let app = TestApp::start().await;
    let grant = app.sign_up("ada").await.grant().clone();
    let other = app.log_in("ada").await;
    let successor = next(&app, &grant).await;
    assert!(has_access(&app, &successor).await);
    app.clock.advance(TimeDelta::seconds(30));
    next(&app, &grant).await;
    app.clock.advance(TimeDelta::seconds(1));
    assert_rejected(&app, refresh_token(&grant), "session_revoked").await;
    assert!(!has_access(&app, &successor).await, "S-28");
    assert_rejected(&app, refresh_token(&successor), "session_revoked").await;
    assert!(has_access(&app, other.grant()).await, "another session was revoked");
    next(&app, other.grant()).await;
    assert_eq!(rows::thefts(&app).await, ["refresh_token_reuse"]);
}

#[tokio::test]
async fn recorded_token_usage_survives_a_restart() {
    // S-37
    let app = TestApp::start().await;
    let grant = app.sign_up("ada").await.grant().clone();
    let successor = next(&app, &grant).await;
    assert!(has_access(&app, &successor).await);
    let app = app.restart().await;
    app.clock.advance(TimeDelta::seconds(31));
    assert_rejected(&app, refresh_token(&grant), "session_revoked").await;
}

#[tokio::test]
async fn using_a_refresh_token_of_two_generations_ago_revokes_its_session() {
    // S-37
    let app = TestApp::start().await;
    let first = app.sign_up("ada").await.grant().clone();
    let second = next(&app, &first).await;
    let third = next(&app, &second).await;
    assert_rejected(&app, refresh_token(&first), "session_revoked").await;
    for grant in [&first, &second, &third] {
        assert!(!has_access(&app, grant).await);
        assert_rejected(&app, refresh_token(grant), "session_revoked").await;
    }
    assert_eq!(rows::thefts(&app).await.len(), 1, "repeated attempts record one event");
}

#[tokio::test]
async fn a_session_has_an_idle_timeout_and_an_absolute_timeout() {
    // S-42
    let app = TestApp::with(|settings| {
        settings.refresh_idle_secs = 3600;
        settings.refresh_absolute_secs = 3 * 3600;
    })
    .await;
    let idle = app.sign_up("ada").await.grant().clone();
    let mut busy = app.log_in("ada").await.grant().clone();
    assert_eq!(busy["refresh_expires_in"], 3600);
    for expected in [3600, 3600, 3600, 1800, 0] {
        app.clock.advance(TimeDelta::minutes(30));
        if expected == 0 {
            break;
        }
        busy = next(&app, &busy).await;
        assert!(busy["refresh_expires_in"].as_i64().unwrap() <= 3600);
    }
    app.clock.advance(TimeDelta::minutes(29));
    busy = next(&app, &busy).await;
    assert_eq!(busy["refresh_expires_in"], 60, "the absolute timeout applies");
    app.clock.advance(TimeDelta::seconds(60));
    assert_rejected(&app, refresh_token(&busy), "invalid_refresh_token").await;
    assert_rejected(&app, refresh_token(&idle), "invalid_refresh_token").await;
    assert_eq!(rows::thefts(&app).await.len(), 0, "an expiry is not reported as theft");
}

#[tokio::test]
async fn no_access_token_outlives_its_session() {
    // S-42
    let app = TestApp::with(|settings| {
        settings.refresh_idle_secs = 120;
        settings.refresh_absolute_secs = 180;
    })
    .await;
    let grant = app.sign_up("ada").await.grant().clone();
    assert_eq!(grant["expires_in"], 120);
    app.clock.advance(TimeDelta::seconds(100));
    let grant = next(&app, &grant).await;
    assert_eq!((&grant["expires_in"], &grant["refresh_expires_in"]), (&json!(80), &json!(80)));
    app.clock.advance(TimeDelta::seconds(80 + 30));
    assert!(!has_access(&app, &grant).await);
}

#[tokio::test]
async fn invalid_refresh_tokens_are_rejected_without_effect() {
    // S-26
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let valid = refresh_token(ada.grant());
    let mut forged = vec![String::new(), "x".to_owned(), "v1...".to_owned(), ada.token().to_owned()];
    forged.push("v1.".to_owned() + &"9".repeat(100_000));
    forged.push(valid.replace("v1.", "v2."));
    forged.push(valid.replacen(".1.", ".2.", 1));
    forged.push(valid.to_uppercase());
    forged.push(format!("{valid}="));
    for token in &forged {
        assert_rejected(&app, token, "invalid_refresh_token").await;
    }
    // A refresh token is not accepted as an access token.
    let swapped = app.anonymous().with_token(valid).get("/api/v1/me").await;
    swapped.expect(401).problem("invalid_token");
    for body in [json!({}), json!({ "refresh_token": null }), json!({ "refresh_token": 5 })] {
        app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(422).problem("invalid");
    }
    next(&app, ada.grant()).await;
}

#[tokio::test]
async fn a_wrong_master_secret_revokes_no_session() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = app.replica_with(|settings| settings.secret = Some(Secret::new("wrong ".repeat(8)))).await;
    assert!(has_access(&other, ada.grant()).await);
    refresh(&other, refresh_token(ada.grant())).await.expect(503).problem("no_signing_key");
    assert_rejected(&other, "v1.x.1.y", "invalid_refresh_token").await;
    // A logout that cannot be applied is not reported as successful.
    let body = json!({ "refresh_token": refresh_token(ada.grant()) });
    let reply = other.anonymous().post("/api/v1/auth/logout").json(&body).await;
    reply.expect(503).problem("no_signing_key");
    next(&app, ada.grant()).await;
}

#[tokio::test]
async fn a_refresh_token_of_a_later_generation_than_its_session_ends_the_session() {
    // F-1
    let app = TestApp::start().await;
    let first = app.sign_up("ada").await.grant().clone();
    let second = next(&app, &first).await;
    let third = next(&app, &second).await;
    rows::set_generation(&app, 1).await;
    assert_rejected(&app, refresh_token(&third), "session_revoked").await;
    assert!(!has_access(&app, &third).await);
    assert_rejected(&app, refresh_token(&first), "session_revoked").await;
    assert_eq!(rows::sessions(&app).await[0].generation, 1);
    assert_eq!(rows::thefts(&app).await.len(), 0, "a restored backup is not reported as theft");
}

#[tokio::test]
async fn the_last_seen_time_of_a_session_is_updated_by_refreshes_and_by_token_use() {
    // Use one server. Several servers would store the first use of the token right after the request, before
    // the clock advances.
    let app = TestApp::start().await.single().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::hours(1));
    let grant = next(&app, ada.grant()).await;
    let client = app.anonymous().with_grant(&grant);
    assert_eq!(list_sessions(&client).await[0]["last_seen_at"], "2026-03-02T09:30:00.000Z");
    app.clock.advance(TimeDelta::minutes(5));
    for _ in 0..50 {
        if list_sessions(&client).await[0]["last_seen_at"] == "2026-03-02T09:35:00.000Z" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the token usage was not recorded within 5 s");
}
