//! The maximum number of sessions of a user.

use chrono::TimeDelta;
use serde_json::json;

use super::{has_access, next, refresh, refresh_token};
use crate::harness::TestApp;

#[tokio::test]
async fn a_login_over_the_session_quota_ends_the_session_that_has_been_idle_the_longest() {
    //
    let app = TestApp::with(|settings| settings.quotas.sessions = 2).await;
    let second = TimeDelta::seconds(1);
    let oldest = app.sign_up("ada").await.grant().clone();
    app.clock.advance(second);
    let idle = app.log_in("ada").await.grant().clone();
    app.clock.advance(second);
    let oldest = next(&app, &oldest).await;
    app.clock.advance(second);
    let bob = app.sign_up("bob").await;
    let newest = app.log_in("ada").await;
    assert!(!has_access(&app, &idle).await, "a session over the quota is active");
    refresh(&app, refresh_token(&idle)).await.expect(401).problem("session_revoked");
    assert!(has_access(&app, &oldest).await && has_access(&app, newest.grant()).await);
    bob.get("/api/v1/me").await.expect(200);
    let sessions = newest.get("/api/v1/me/sessions").await.expect(200).json();
    assert_eq!(sessions["items"].as_array().map(Vec::len), Some(2), "{}", json!(sessions));
}
