//! Jumps of the clock that the tests control.

use chrono::{DateTime, TimeDelta};
use serde_json::json;
use tripgate::leases::Leases;

use super::{log_out, refresh, run_jobs, status};
use crate::harness::{Client, Reply, TestApp, rows};

const YEAR: TimeDelta = TimeDelta::days(365);
const TRIPS: &str = "/api/v1/trips";

async fn post(client: &Client, key: &str) -> Reply {
    client.post(TRIPS).header("idempotency-key", key).json(&json!({ "title": "Lisbon" })).await
}

#[tokio::test]
async fn the_token_of_an_ended_session_stays_refused_after_the_clock_was_wrong() {
    // A-4, F-3, S-106
    for jump in [TimeDelta::minutes(20), TimeDelta::days(1), YEAR] {
        let app = TestApp::start().await;
        let (ada, phone) = (app.sign_up("ada").await, app.log_in("ada").await);
        log_out(&app, phone.grant()).await;
        app.clock.jump(jump);
        run_jobs(&app).await;
        app.clock.jump(-jump);
        assert_eq!((status(&app, ada.grant()).await, status(&app, phone.grant()).await), (200, 401));
        assert_eq!(refresh(&app, phone.grant()).await.1["code"], "session_revoked");
    }
}

#[tokio::test]
async fn the_token_of_an_ended_session_stays_refused_after_a_restart_under_a_wrong_clock() {
    // A-4, S-106
    for jump in [TimeDelta::minutes(20), TimeDelta::days(1), YEAR] {
        let app = TestApp::start().await;
        let (ada, phone) = (app.sign_up("ada").await, app.log_in("ada").await);
        log_out(&app, phone.grant()).await;
        app.clock.jump(jump);
        let app = app.restart().await;
        run_jobs(&app).await;
        app.clock.advance(TimeDelta::minutes(10));
        run_jobs(&app).await;
        app.clock.jump(-jump - TimeDelta::minutes(10));
        for app in [app.replica().await, app] {
            assert_eq!((status(&app, ada.grant()).await, status(&app, phone.grant()).await), (200, 401));
        }
    }
}

#[tokio::test]
async fn a_revocation_is_deleted_one_maximum_token_lifetime_after_the_last_revoked_token_expires() {
    //
    let app = TestApp::start().await;
    let phone = app.sign_up("ada").await;
    log_out(&app, phone.grant()).await;
    // The clock gets seven days ahead without a jump, so the jobs trust it.
    app.clock.advance(TimeDelta::days(7));
    run_jobs(&app).await;
    app.clock.jump(TimeDelta::days(-7));
    assert_eq!(status(&app, phone.grant()).await, 401);
    let app = app.restart().await;
    assert_eq!(status(&app, phone.grant()).await, 401);
    app.clock.advance(TimeDelta::days(8) + TimeDelta::hours(2));
    run_jobs(&app).await;
    assert_eq!(rows::revocations(&app).await, 0);
}

#[tokio::test]
async fn a_clock_that_is_a_year_ahead_for_75_seconds_causes_no_loss_of_data() {
    // A-4, F-7, S-106
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = post(&ada, "k").await.expect(201).header("location").to_owned();
    ada.delete(&trip).await.expect(204);
    let feed = ada.get("/api/v1/sync").await.expect(200).json();
    let cursor = feed["next_cursor"].as_str().unwrap();
    let keys = rows::signing_keys(&app).await;
    run_jobs(&app).await;
    for restarts in [false, true] {
        app.clock.jump(YEAR);
        let replica = if restarts { Some(app.replica().await) } else { None };
        let wrong = replica.as_ref().unwrap_or(&app);
        run_jobs(wrong).await;
        app.clock.advance(TimeDelta::seconds(75));
        run_jobs(wrong).await;
        // Under the wrong clock, the server does not treat cursors and idempotency keys as expired.
        let again = wrong.log_in("ada").await;
        again.get(&format!("/api/v1/sync?cursor={cursor}")).await.expect(200);
        assert_eq!(post(&again, "k").await.expect(201).header("idempotency-replayed"), "true");
        app.clock.jump(-YEAR);
        run_jobs(&app).await;
    }
    assert_eq!(rows::signing_keys(&app).await, keys);
    assert_eq!(rows::tombstones(&app).await, 1);
    assert_eq!(status(&app, ada.grant()).await, 200);
    let (code, grant) = refresh(&app, ada.grant()).await;
    assert_eq!(code, 200);
    let ada = app.anonymous().with_grant(&grant);
    ada.get(&format!("/api/v1/sync?cursor={cursor}")).await.expect(200);
    assert_eq!(post(&ada, "k").await.expect(201).header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_logout_under_a_wrong_clock_stays_effective_after_the_clock_is_corrected() {
    // A-4, S-40, S-106
    let app = TestApp::start().await;
    let (ada, phone) = (app.sign_up("ada").await, app.log_in("ada").await);
    let tablet = app.log_in("ada").await;
    app.clock.jump(YEAR);
    log_out(&app, phone.grant()).await;
    let laptop = app.log_in("ada").await;
    laptop.delete("/api/v1/me/sessions").await.expect(204);
    app.clock.jump(-YEAR);
    for ended in [&ada, &phone, &tablet] {
        assert_eq!(status(&app, ended.grant()).await, 401);
        assert_eq!(refresh(&app, ended.grant()).await.1["code"], "session_revoked");
    }
}

#[tokio::test]
async fn the_jobs_resume_after_an_hour_without_clock_jumps() {
    //
    let app = TestApp::with(|settings| settings.refresh_idle_secs = 86_400).await;
    log_out(&app, app.sign_up("ada").await.grant()).await;
    app.clock.jump(TimeDelta::days(20));
    run_jobs(&app).await;
    app.clock.advance(TimeDelta::minutes(59));
    run_jobs(&app).await;
    assert_eq!((rows::revocations(&app).await, rows::sessions(&app).await.len()), (1, 1));
    app.clock.advance(TimeDelta::minutes(2));
    run_jobs(&app).await;
    assert_eq!((rows::revocations(&app).await, rows::sessions(&app).await.len()), (0, 0));
}

#[tokio::test]
async fn a_replica_whose_clock_differs_from_the_clock_of_the_database_deletes_nothing() {
    // A-4, F-3, S-106
    let app = TestApp::start().await;
    log_out(&app, app.sign_up("ada").await.grant()).await;
    let keys = rows::signing_keys(&app).await;
    app.clock.advance(TimeDelta::days(40));
    for difference in [TimeDelta::days(-40), TimeDelta::minutes(-2), TimeDelta::minutes(2)] {
        app.clock.simulate_database_clock(difference);
        run_jobs(&app).await;
        let replica = app.replica().await;
        run_jobs(&replica).await;
        assert_eq!(rows::revocations(&app).await, 1);
        assert_eq!(rows::signing_keys(&app).await, keys);
    }
    app.clock.simulate_database_clock(TimeDelta::seconds(20));
    app.clock.advance(TimeDelta::hours(1));
    run_jobs(&app).await;
    assert_eq!(rows::revocations(&app).await, 0);
    assert_ne!(rows::signing_keys(&app).await, keys);
}

#[tokio::test]
async fn the_previous_refresh_token_has_no_grace_period_after_the_clock_was_set_back() {
    // A-4, S-37
    for (back, restarts) in [(2, false), (2, true), (24, true)] {
        let app = TestApp::start().await;
        let first = app.sign_up("ada").await.grant().clone();
        let (code, second) = refresh(&app, &first).await;
        assert_eq!((code, status(&app, &second).await), (200, 200));
        // The successor of the first refresh token was used. After 31 seconds, the grace period is over.
        app.clock.advance(TimeDelta::seconds(31));
        let app = if restarts { app.restart().await } else { app };
        app.clock.jump(TimeDelta::hours(-back));
        let app = if restarts { app.restart().await } else { app };
        let (code, problem) = refresh(&app, &first).await;
        assert_eq!((code, &problem["code"]), (401, &json!("session_revoked")));
    }
}

#[tokio::test]
async fn an_idempotency_key_claimed_under_a_fast_clock_is_usable_after_the_clock_is_corrected() {
    // F-7, S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (key, claimed_in) in [("a", TimeDelta::days(1)), ("b", TimeDelta::seconds(30))] {
        post(&ada, key).await.expect(201);
        // Create the state after a crash between the claim of the key and the write of the trip, under a fast clock.
        rows::reopen_keys(&app).await;
        rows::date_claims(&app, app.clock.now() + claimed_in).await;
        let again = post(&ada, key).await.expect(201);
        assert_eq!(again.header("idempotency-replayed"), "");
        assert_eq!(post(&ada, key).await.expect(201).header("idempotency-replayed"), "true");
    }
    // A claim from less than 30 s in the future is valid, because the clocks of two replicas may differ a
    // little.
    post(&ada, "c").await.expect(201);
    rows::reopen_keys(&app).await;
    rows::date_claims(&app, app.clock.now() + TimeDelta::seconds(29)).await;
    post(&ada, "c").await.expect(409).problem("idempotency_in_progress");
}

#[tokio::test]
async fn a_lease_taken_under_a_fast_clock_is_free_after_the_clock_is_corrected() {
    // F-7
    let app = TestApp::start().await;
    let leases = || Leases::new(app.services().db.clone(), app.clock.restarted());
    let minutes = TimeDelta::minutes;
    app.clock.jump(TimeDelta::days(1));
    let fast = leases();
    assert!(fast.acquire("job", minutes(3)).await.unwrap());
    assert!(!leases().acquire("job", minutes(3)).await.unwrap(), "the lease is held");
    app.clock.jump(TimeDelta::days(-1));
    let right = leases();
    assert!(right.acquire("job", minutes(3)).await.unwrap());
    app.clock.jump(-minutes(1));
    assert!(
        !leases().acquire("job", minutes(3)).await.unwrap(),
        "the clocks of replicas may differ a little"
    );
    app.clock.jump(minutes(4) + TimeDelta::milliseconds(1));
    assert!(leases().acquire("job", minutes(3)).await.unwrap());
}

#[tokio::test]
async fn a_login_near_the_end_of_the_year_9999_succeeds() {
    //
    let app = TestApp::start().await;
    let end = DateTime::parse_from_rfc3339("9999-12-31T23:59:30Z").unwrap().to_utc();
    for (name, before) in
        [("ada", YEAR), ("brian", TimeDelta::minutes(10)), ("carol", TimeDelta::zero()), ("dan", -YEAR)]
    {
        app.clock.jump(end - before - app.clock.now());
        let user = app.sign_up(name).await;
        user.get("/api/v1/me").await.expect(200);
        let again = app.log_in(name).await;
        again.get("/api/v1/auth/session").await.expect(200);
        refresh(&app, again.grant()).await;
    }
}
