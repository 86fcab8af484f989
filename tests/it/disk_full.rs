//! A disk that is full for a while.

use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;

const TRIPS: &str = "/api/v1/trips";

/// A server on SQLite that outlives the signal which comes with a file that may not grow.
fn serve(dir: &TempDir) -> Process {
    let mut command = Command::new("sh");
    let script =
        "trap '' XFSZ; exec \"$0\" --listen 127.0.0.1:0 --bcrypt-cost 4 --public-url https://tripgate.test";
    command.args(["-c", script, env!("CARGO_BIN_EXE_tripgate")]);
    command.current_dir(dir.path()).env_clear().stdin(Stdio::null());
    Process::start(command)
}

async fn make(server: &Process, token: &str) -> (StatusCode, Value) {
    let body = json!({ "title": "Lisbon", "notes": "n".repeat(9_000) });
    let made = server.call(Method::POST, TRIPS).bearer_auth(token).json(&body).send().await.unwrap();
    (made.status(), made.json().await.unwrap())
}

/// Asserts that each of these trips can be read.
async fn are_there(server: &Process, token: &str, trips: &[Value]) {
    for trip in trips {
        let path = format!("{TRIPS}/{}", trip["id"].as_str().unwrap());
        let read = server.call(Method::GET, &path).bearer_auth(token).send().await.unwrap();
        assert_eq!(read.status(), 200, "an acknowledged trip is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_once_there_is_room_again_is_kept() {
    // S-70, S-71, S-72
    let dir = TempDir::new().unwrap();
    let server = serve(&dir);
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let mut trips = vec![make(&server, &token).await.1];
    for turn in 0..3 {
        let log = dir.path().join("data/tripgate.db-wal").metadata().unwrap().len();
        server.limit_files(Some(log));
        for _ in 0..=turn {
            let (status, problem) = make(&server, &token).await;
            assert_eq!(status, 503, "there is no room for it");
            assert_eq!(problem["client_action"], "retry");
            are_there(&server, &token, &trips).await;
        }
        server.limit_files(None);
        for _ in 0..3 {
            let (status, trip) = make(&server, &token).await;
            assert_eq!(status, 201);
            trips.push(trip);
        }
        are_there(&server, &token, &trips).await;
    }
    server.kill();
    are_there(&serve(&dir), &token, &trips).await;
}
