//! The binary with a shifted clock, and the binary stopped by a signal.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::shim::ShiftedClock;
use crate::harness::process::Process;
use crate::harness::{PASSWORD, TestApp, rows};

const YEAR: TimeDelta = TimeDelta::days(365);
/// A duration that is longer than the interval of the jobs.
const JOBS: Duration = Duration::from_secs(65);

async fn log_in(server: &Process) -> Value {
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let response = server.call(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

async fn log_out(server: &Process, grant: &Value) {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    let response = server.call(Method::POST, "/api/v1/auth/logout").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 204);
}

/// Returns the status of a request with the access token of a grant.
async fn status(server: &Process, grant: &Value) -> u16 {
    let call = server.call(Method::GET, "/api/v1/auth/session");
    call.bearer_auth(grant["access_token"].as_str().unwrap()).send().await.unwrap().status().as_u16()
}

async fn refresh_status(server: &Process, grant: &Value) -> u16 {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    let response = server.call(Method::POST, "/api/v1/auth/refresh").json(&body).send().await.unwrap();
    response.status().as_u16()
}

async fn key_set(server: &Process) -> String {
    let response = server.call(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    response.text().await.unwrap()
}

/// Returns the difference between a server's clock and that of this process.
fn shift(grant: &Value) -> TimeDelta {
    let time: DateTime<Utc> = grant["server_time"].as_str().unwrap().parse().unwrap();
    let now = tripgate::clock::Clock::system().now();
    time - now
}

#[tokio::test]
async fn a_clock_that_is_a_year_ahead_for_a_minute_makes_no_revoked_token_valid_and_deletes_no_data() {
    // A-4, F-3, S-106
    let app = TestApp::start_now().await;
    let clock = ShiftedClock::new();
    let server = clock.serve(app.settings());
    let living = server.sign_up("ada").await;
    assert!(shift(&living).abs() < TimeDelta::minutes(1));
    let ended = log_in(&server).await;
    log_out(&server, &ended).await;
    let keys = key_set(&server).await;
    clock.set(YEAR);
    assert_eq!([status(&server, &living).await, status(&server, &ended).await], [401; 2]);
    let wrong = log_in(&server).await;
    assert!((shift(&wrong) - YEAR).abs() < TimeDelta::minutes(1), "{}", shift(&wrong));
    sleep(JOBS).await;
    clock.set(TimeDelta::zero());
    assert_eq!([status(&server, &living).await, status(&server, &ended).await], [200, 401]);
    assert_eq!(key_set(&server).await, keys);
    server.terminate();
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    assert_eq!(log.matches("the system clock jumped").count(), 1, "{log}");
    let server = clock.serve(app.settings());
    assert_eq!([status(&server, &living).await, status(&server, &ended).await], [200, 401]);
    assert_eq!([refresh_status(&server, &living).await, refresh_status(&server, &ended).await], [200, 401]);
}

#[tokio::test]
async fn a_restart_under_a_clock_that_is_a_year_ahead_makes_no_revoked_token_valid_and_deletes_no_data() {
    // A-4, S-106
    let app = TestApp::start_now().await;
    let clock = ShiftedClock::new();
    let server = clock.serve(app.settings());
    let (living, ended) = (server.sign_up("ada").await, log_in(&server).await);
    log_out(&server, &ended).await;
    let keys = key_set(&server).await;
    server.terminate();
    server.wait_for_exit();
    clock.set(YEAR);
    let server = clock.serve(app.settings());
    sleep(JOBS).await;
    server.kill();
    drop(server);
    clock.set(TimeDelta::zero());
    let server = clock.serve(app.settings());
    assert_eq!([status(&server, &living).await, status(&server, &ended).await], [200, 401]);
    assert_eq!([refresh_status(&server, &living).await, refresh_status(&server, &ended).await], [200, 401]);
    assert_eq!(key_set(&server).await, keys);
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_can_be_repeated_after_a_server_whose_clock_is_ahead_was_killed() {
    // F-7, S-61
    let app = TestApp::start_now().await;
    let clock = ShiftedClock::new();
    clock.set(TimeDelta::days(1));
    let server = clock.serve(app.settings());
    let post = async |server: &Process, grant: &Value| {
        let call = server.call(Method::POST, "/api/v1/trips").json(&json!({ "title": "Lisbon" }));
        let call = call.header("idempotency-key", "k").bearer_auth(grant["access_token"].as_str().unwrap());
        call.send().await.unwrap()
    };
    let grant = server.sign_up("ada").await;
    assert_eq!(post(&server, &grant).await.status(), 201);
    server.kill();
    drop(server);
    // Create the state after a kill between the claim of the key and the write of the trip.
    rows::reopen_keys(&app).await;
    rows::delete_trips(&app).await;
    clock.set(TimeDelta::zero());
    let server = clock.serve(app.settings());
    let grant = log_in(&server).await;
    let begin = Instant::now();
    while post(&server, &grant).await.status() == 409 {
        assert!(begin.elapsed() < Duration::from_secs(35), "the claim is still valid");
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(rows::trips(&app).await, 1);
    println!("the claim from the fast clock ended after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_whose_clocks_differ_by_more_than_2_seconds_log_a_warning() {
    let app = TestApp::start_now().await;
    // A SQLite file has only one server.
    if app.settings().database_url.expose().starts_with("sqlite:") {
        return;
    }
    let (right, fast) = (ShiftedClock::new(), ShiftedClock::new());
    fast.set(TimeDelta::seconds(20));
    let first = right.serve(app.settings());
    let log = fast.serve(app.settings()).log();
    let warning = log.lines().find(|line| line.contains("the servers on this database differ")).unwrap();
    let found = warning.split_once(&format!("({}) differs by -", first.address)).unwrap().1;
    let seconds: f64 = found.split(' ').next().unwrap().parse().unwrap();
    assert!((18.0..22.0).contains(&seconds), "{warning}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_paused_accepts_no_token_that_was_revoked_during_the_pause() {
    // F-8, S-107
    let app = TestApp::start_now().await;
    let dir = tempfile::TempDir::new().unwrap();
    let stopped = Process::serve_over(dir.path(), app.settings(), &["--public-url", "https://tripgate.test"]);
    let living = app.sign_up("ada").await.grant().clone();
    for round in 0..5 {
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(app.log_in("ada").await.grant().clone());
        }
        for session in sessions.iter().chain([&living]) {
            assert_eq!(status(&stopped, session).await, 200);
        }
        stopped.pause();
        for session in &sessions {
            let body = json!({ "refresh_token": session["refresh_token"] });
            app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
        }
        // The requests arrive while the process is stopped, a second after the revocation or later.
        sleep(Duration::from_millis(1_000 + 300 * round)).await;
        let requests = join_all(sessions.iter().map(|session| status(&stopped, session)));
        let resume = async {
            sleep(Duration::from_millis(50)).await;
            stopped.resume();
        };
        let (statuses, ()) = join(requests, resume).await;
        assert_eq!(statuses, [401; 8], "round {round}");
        assert_eq!(status(&stopped, &living).await, 200);
    }
}
