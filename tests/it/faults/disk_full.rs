//! A temporarily full disk.

use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::process::Process;

const TRIPS: &str = "/api/v1/trips";

/// Starts a server on SQLite.
fn serve(dir: &TempDir) -> Process {
    Process::serve(dir.path(), &["--public-url", "https://tripgate.test"])
}

async fn create(server: &Process, token: &str) -> (StatusCode, Value) {
    let body = json!({ "title": "Lisbon", "notes": "n".repeat(9_000) });
    let response = server.call(Method::POST, TRIPS).bearer_auth(token).json(&body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// Asserts that each of these trips can be read.
async fn check_trips(server: &Process, token: &str, trips: &[Value]) {
    for trip in trips {
        let path = format!("{TRIPS}/{}", trip["id"].as_str().unwrap());
        let response = server.call(Method::GET, &path).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200, "an acknowledged trip is missing");
    }
}

/// Starts a server that can't write to any file, as on a full disk.
fn serve_on_a_full_disk(dir: &TempDir) -> Process {
    let mut command = Command::new("sh");
    let script = "ulimit -S -f 0; exec \"$0\" --listen 127.0.0.1:0 --bcrypt-cost 4 \
                  --public-url https://tripgate.test";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tripgate")]);
    command.current_dir(dir.path()).env_clear().stdin(Stdio::null());
    Process::start(command)
}

#[tokio::test]
async fn a_server_starts_on_a_full_disk_and_writes_when_there_is_space_again() {
    // S-72, F-6
    let dir = TempDir::new().unwrap();
    let server = serve(&dir);
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let mut trips = vec![create(&server, &token).await.1];
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    let server = serve_on_a_full_disk(&dir);
    for _ in 0..2 {
        check_trips(&server, &token, &trips).await;
        let (_, problem) = create(&server, &token).await;
        assert_eq!(problem["code"], "storage_full");
    }
    server.limit_files(None);
    for _ in 0..8 {
        let (status, trip) = create(&server, &token).await;
        assert_eq!(status, 201);
        trips.push(trip);
        check_trips(&server, &token, &trips).await;
    }
    server.kill();
    server.wait_for_exit();
    check_trips(&serve(&dir), &token, &trips).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_resume_after_a_full_disk_and_acknowledged_trips_survive() {
    // S-70, S-71, S-72, F-6
    let dir = TempDir::new().unwrap();
    let server = serve(&dir);
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let mut trips = vec![create(&server, &token).await.1];
    for round in 0..3 {
        let log = dir.path().join("data/tripgate.db-wal").metadata().unwrap().len();
        server.limit_files(Some(log));
        for _ in 0..=round {
            let (status, problem) = create(&server, &token).await;
            assert_eq!(status, 503, "the disk is full");
            assert_eq!(problem["client_action"], "retry");
            check_trips(&server, &token, &trips).await;
        }
        server.limit_files(None);
        for _ in 0..3 {
            let (status, trip) = create(&server, &token).await;
            assert_eq!(status, 201);
            trips.push(trip);
        }
        check_trips(&server, &token, &trips).await;
    }
    server.kill();
    check_trips(&serve(&dir), &token, &trips).await;
}
