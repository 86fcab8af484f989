//! `kill -9` in the middle of writing: what was acknowledged is there, and nothing is half done.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{PASSWORD, TestApp};
use crate::process::Process;

const WRITERS: usize = 8;
const ROUNDS: usize = 3;

/// Makes trips until the server is gone; the ids of those that it acknowledged.
async fn write(server: &Process, token: &str, count: &AtomicUsize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "title": format!("Trip {number}"), "notes": "n".repeat(2_000) });
        let call = server.call(Method::POST, "/api/v1/trips").bearer_auth(token).json(&body);
        let Ok(response) = call.send().await else { return acknowledged };
        assert_eq!(response.status(), 201);
        // Half an answer acknowledges nothing.
        let Ok(trip) = response.json::<Value>().await else { return acknowledged };
        acknowledged.push(trip["id"].as_str().unwrap().to_owned());
    }
}

/// Every trip that the list shows, page by page.
async fn listed(server: &Process, token: &str) -> Vec<Value> {
    let mut trips = Vec::new();
    let mut path = "/api/v1/trips?limit=100".to_owned();
    loop {
        let response = server.call(Method::GET, &path).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let page: Value = response.json().await.unwrap();
        trips.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/trips?limit=100&cursor={cursor}"),
            None => return trips,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_kill() {
    // S-70
    // Its database and secret, on whichever database the tests run; its own server only looks on.
    let app = TestApp::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    // Tokens of one server have to be good at the next, whatever its port.
    let serve =
        || Process::serve_over(dir.path(), app.settings(), &["--public-url", "https://tripgate.test"]);
    let mut server = serve();
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let count = Arc::new(AtomicUsize::new(0));
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        let running = Arc::new(server);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (server, token, count) = (Arc::clone(&running), token.clone(), Arc::clone(&count));
                tokio::spawn(async move { write(&server, &token, &count).await })
            })
            .collect();
        sleep(Duration::from_millis(700 + 150 * round as u64)).await;
        running.kill();
        let before = acknowledged.len();
        for ids in join_all(writers).await {
            acknowledged.extend(ids.unwrap());
        }
        assert!(acknowledged.len() > before + WRITERS, "hardly anything was written");
        server = serve();
        let trips = listed(&server, &token).await;
        let ids: HashSet<String> = trips.iter().map(|trip| trip["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), trips.len(), "a trip is listed twice");
        assert_eq!(acknowledged.difference(&ids).next(), None, "an acknowledged trip is gone");
        let unacknowledged = ids.difference(&acknowledged).count();
        assert!(unacknowledged <= WRITERS * (round + 1), "{unacknowledged} trips that nobody was told of");
        for trip in &trips {
            assert_eq!(trip["notes"].as_str().map(str::len), Some(2_000), "half a trip");
            assert_eq!(trip["version"], 1);
        }
        let log_in = json!({ "identifier": "ada", "password": PASSWORD });
        let again = server.call(Method::POST, "/api/v1/auth/login").json(&log_in).send().await.unwrap();
        assert_eq!(again.status(), 200);
    }
}
