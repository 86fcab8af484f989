//! Revocation: logging out one session or all, deleting the account, and the effect on tokens.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::json;

use super::{assert_rejected, has_access, list_sessions, next, refresh_token};
use crate::harness::{PASSWORD, TestApp, rows};

async fn log_out(app: &TestApp, token: &str) {
    let body = json!({ "refresh_token": token });
    app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
}

#[tokio::test]
async fn logging_out_revokes_only_the_session_of_its_refresh_token_and_is_idempotent() {
    // S-40, S-28
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = app.log_in("ada").await;
    for _ in 0..2 {
        log_out(&app, refresh_token(ada.grant())).await;
        assert!(!has_access(&app, ada.grant()).await);
        assert_rejected(&app, refresh_token(ada.grant()), "session_revoked").await;
    }
    for token in ["", "x", "v1.x.1.y", other.token()] {
        log_out(&app, token).await;
    }
    assert!(has_access(&app, other.grant()).await);
    next(&app, other.grant()).await;
    assert_eq!(rows::thefts(&app).await.len(), 0, "a logout is not reported as theft");
}

#[tokio::test]
async fn a_used_refresh_token_can_still_log_out() {
    // S-40
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let newer = next(&app, ada.grant()).await;
    log_out(&app, refresh_token(ada.grant())).await;
    assert!(!has_access(&app, &newer).await);
    assert_rejected(&app, refresh_token(&newer), "session_revoked").await;
}

#[tokio::test]
async fn the_session_list_contains_only_the_callers_active_sessions() {
    // S-44
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.sign_up("eve").await;
    app.clock.advance(TimeDelta::minutes(1));
    let login = json!({ "identifier": "ada", "password": PASSWORD, "device_name": "Ada's phone" });
    let login = app.anonymous().post("/api/v1/auth/login").header("user-agent", "phone/1").json(&login);
    let phone = app.anonymous().with_grant(&login.await.expect(200).json());
    let revoked = app.log_in("ada").await;
    log_out(&app, refresh_token(revoked.grant())).await;
    assert_eq!(
        list_sessions(&phone).await,
        [
            json!({
                "id": phone.grant()["session_id"], "device_name": "Ada's phone", "user_agent": "phone/1",
                "created_at": "2026-03-02T08:31:00.000Z", "last_seen_at": "2026-03-02T08:31:00.000Z",
                "current": true,
            }),
            json!({
                "id": ada.grant()["session_id"], "created_at": "2026-03-02T08:30:00.000Z",
                "last_seen_at": "2026-03-02T08:30:00.000Z", "current": false,
            }),
        ]
    );
    app.clock.advance(TimeDelta::days(60) - TimeDelta::minutes(1));
    let now = app.log_in("ada").await;
    assert_eq!(list_sessions(&now).await.len(), 2, "an expired session is listed");
}

#[tokio::test]
async fn one_device_can_log_out_another_device_of_the_user() {
    // S-40, S-44, S-54
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let phone = app.log_in("ada").await;
    let path = format!("/api/v1/me/sessions/{}", phone.grant()["session_id"].as_str().unwrap());
    eve.delete(&path).await.expect(404).problem("not_found");
    assert!(has_access(&app, phone.grant()).await);
    for _ in 0..2 {
        ada.delete(&path).await.expect(204);
        assert!(!has_access(&app, phone.grant()).await);
        assert_rejected(&app, refresh_token(phone.grant()), "session_revoked").await;
    }
    for path in [app.clock.new_id().to_string(), "x".to_owned()] {
        ada.delete(&format!("/api/v1/me/sessions/{path}")).await.expect(404).problem("not_found");
    }
    assert!(has_access(&app, ada.grant()).await);
}

#[tokio::test]
async fn one_request_logs_out_all_other_devices_on_every_replica() {
    // S-40, S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let others = [app.log_in("ada").await, app.log_in("ada").await];
    for other in &others {
        assert!(has_access(&replica, other.grant()).await);
    }
    for _ in 0..2 {
        ada.delete("/api/v1/me/sessions").await.expect(204);
    }
    let begin = Instant::now();
    for other in &others {
        assert!(!has_access(&app, other.grant()).await);
        assert_rejected(&replica, refresh_token(other.grant()), "session_revoked").await;
        while has_access(&replica, other.grant()).await {
            assert!(begin.elapsed() < Duration::from_secs(1), "the replica still accepts the revoked token");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for untouched in [&ada, &eve] {
        assert!(has_access(&app, untouched.grant()).await && has_access(&replica, untouched.grant()).await);
        next(&replica, untouched.grant()).await;
    }
}

#[tokio::test]
async fn session_revocations_survive_a_restart() {
    // S-28
    let app = TestApp::start().await;
    let (ada, revoked) = (app.sign_up("ada").await, app.log_in("ada").await);
    log_out(&app, refresh_token(revoked.grant())).await;
    let app = app.restart().await;
    assert!(!has_access(&app, revoked.grant()).await);
    assert!(has_access(&app, ada.grant()).await);
}

#[tokio::test]
async fn deleting_an_account_with_the_password_deletes_all_its_data_and_ends_its_sessions_on_replicas() {
    // S-28, S-41
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let phone = app.log_in("ada").await;
    ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    assert!(has_access(&replica, phone.grant()).await);
    let reply = ada.delete("/api/v1/me").json(&json!({ "password": "another harbour" })).await;
    // N-8: a wrong password does not log the user out.
    let reply = reply.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [("/password".to_owned(), "wrong_password".to_owned())]);
    assert_eq!(reply.json()["client_action"], "fix_input");
    let oversized = ada.delete("/api/v1/me").json(&json!({ "password": "x".repeat(1000) })).await.expect(422);
    assert_eq!(oversized.field_errors(), [("/password".to_owned(), "wrong_password".to_owned())]);
    // S-85
    app.clock.advance(TimeDelta::minutes(6));
    ada.delete("/api/v1/me").json(&json!({})).await.expect(401).problem("step_up_required");
    assert!(has_access(&app, ada.grant()).await);
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    let begin = Instant::now();
    for revoked in [&ada, &phone] {
        assert!(!has_access(&app, revoked.grant()).await);
        assert_rejected(&app, refresh_token(revoked.grant()), "invalid_refresh_token").await;
        while has_access(&replica, revoked.grant()).await {
            assert!(begin.elapsed() < Duration::from_secs(1), "the replica still accepts the revoked token");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(rows::users(&app).await.len(), 1);
    assert_eq!(rows::sessions(&app).await.len(), 1);
    assert_eq!(rows::trips(&app).await, 0);
    let login = json!({ "identifier": "ada", "password": PASSWORD });
    let login = app.anonymous().post("/api/v1/auth/login").json(&login);
    login.await.expect(401).problem("invalid_credentials");
    assert!(has_access(&app, eve.grant()).await);
    assert_ne!(app.sign_up("ada").await.id(), ada.id(), "the new account has the old id");
}

#[tokio::test]
async fn a_revoked_session_is_deleted_after_a_week_and_an_active_session_is_not() {
    let app = TestApp::with(|settings| settings.refresh_idle_secs = 20 * 86_400).await;
    let ada = app.sign_up("ada").await;
    let revoked = app.log_in("ada").await;
    log_out(&app, refresh_token(revoked.grant())).await;
    app.clock.advance(TimeDelta::days(6));
    tripgate::housekeeping::sweep(app.services().clone()).await;
    assert_rejected(&app, refresh_token(revoked.grant()), "session_revoked").await;
    app.clock.advance(TimeDelta::days(2));
    tripgate::housekeeping::sweep(app.services().clone()).await;
    assert_eq!(rows::sessions(&app).await.len(), 1);
    assert_eq!(rows::revocations(&app).await, 0);
    assert_rejected(&app, refresh_token(revoked.grant()), "invalid_refresh_token").await;
    next(&app, ada.grant()).await;
}
