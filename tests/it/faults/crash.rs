//! `kill -9` during writes: acknowledged writes survive, and no write is partial.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::harness::process::Process;
use crate::harness::{PASSWORD, TestApp, rows};

const WRITERS: usize = 8;
const ROUNDS: usize = 3;
const PHONES: usize = 6;

/// Creates trips until the server is dead. Returns the ids of the acknowledged trips.
async fn write(server: &Process, token: &str, count: &AtomicUsize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "title": format!("Trip {number}"), "notes": "n".repeat(2_000) });
        let call = server.call(Method::POST, "/api/v1/trips").bearer_auth(token).json(&body);
        let Ok(response) = call.send().await else { return acknowledged };
        assert_eq!(response.status(), 201);
        // A truncated response is no acknowledgement.
        let Ok(trip) = response.json::<Value>().await else { return acknowledged };
        acknowledged.push(trip["id"].as_str().unwrap().to_owned());
    }
}

/// Returns all trips of the list, page by page.
async fn list_all(server: &Process, token: &str) -> Vec<Value> {
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
async fn acknowledged_writes_survive_when_the_server_is_killed() {
    // S-70
    // `app` provides the database and the secret. The server of `app` gets no requests.
    let app = TestApp::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    // A fixed issuer keeps tokens valid after a restart on another port.
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
        assert!(acknowledged.len() > before + WRITERS, "too few acknowledged writes");
        server = serve();
        let trips = list_all(&server, &token).await;
        let ids: HashSet<String> = trips.iter().map(|trip| trip["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), trips.len(), "a trip is listed twice");
        assert_eq!(acknowledged.difference(&ids).next(), None, "an acknowledged trip is missing");
        let unacknowledged = ids.difference(&acknowledged).count();
        assert!(unacknowledged <= WRITERS * (round + 1), "{unacknowledged} unacknowledged trips");
        for trip in &trips {
            assert_eq!(trip["notes"].as_str().map(str::len), Some(2_000), "a partial trip");
            assert_eq!(trip["version"], 1);
        }
        let log_in = json!({ "identifier": "ada", "password": PASSWORD });
        let again = server.call(Method::POST, "/api/v1/auth/login").json(&log_in).send().await.unwrap();
        assert_eq!(again.status(), 200);
    }
}

/// A client that refreshes its session in a loop and stores the tokens that it received last.
#[derive(Debug)]
struct Phone {
    refresh_token: String,
    access_token: String,
    /// The number of successful refreshes.
    refreshed: usize,
    /// The number of lost responses.
    lost: usize,
}

impl Phone {
    fn new(grant: &Value) -> Self {
        let token = |name: &str| grant[name].as_str().unwrap().to_owned();
        let (refresh_token, access_token) = (token("refresh_token"), token("access_token"));
        Self { refresh_token, access_token, refreshed: 0, lost: 0 }
    }

    /// Refreshes until the server is dead. Of every three responses, the phone loses two: it stops
    /// waiting for one, and discards another after receiving it. While an earlier request is in flight, the phone
    /// repeats the same token and never sends a newer token: if the old token arrived last, the server would
    /// treat it as stolen.
    async fn refresh_until_killed(mut self, server: &Process) -> Self {
        let mut in_flight = Vec::new();
        loop {
            let body = json!({ "refresh_token": self.refresh_token });
            let call = server.call(Method::POST, "/api/v1/auth/refresh").json(&body);
            let turn = self.refreshed + self.lost;
            if turn % 3 == 1 {
                let mut reply = tokio::spawn(call.send());
                let wait = Duration::from_micros(200 * (turn as u64 % 40));
                if matches!(timeout(wait, &mut reply).await, Ok(Ok(Err(_)))) {
                    return self;
                }
                in_flight.push(reply);
                self.lost += 1;
                continue;
            }
            let Ok(response) = call.send().await else { return self };
            assert_eq!(response.status(), 200, "an honest client was logged out");
            let Ok(grant) = response.json::<Value>().await else { return self };
            if turn % 3 == 2 {
                self.lost += 1;
                continue;
            }
            join_all(in_flight.drain(..).filter(|reply| !reply.is_finished())).await;
            let (refreshed, lost) = (self.refreshed + 1, self.lost);
            self = Self { refreshed, lost, ..Self::new(&grant) };
            let call = server.call(Method::GET, "/api/v1/auth/session").bearer_auth(&self.access_token);
            if let Ok(response) = call.send().await {
                assert_eq!(response.status(), 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_killed_server_nor_a_lost_response_logs_a_client_out() {
    // S-39
    let app = TestApp::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let serve =
        || Process::serve_over(dir.path(), app.settings(), &["--public-url", "https://tripgate.test"]);
    let mut server = serve();
    let mut phones = Vec::new();
    for number in 0..PHONES {
        phones.push(Phone::new(&server.sign_up(&format!("ada{number}")).await));
    }
    for round in 0..ROUNDS {
        let running = Arc::new(server);
        let tasks: Vec<_> = phones
            .into_iter()
            .map(|phone| {
                let server = Arc::clone(&running);
                tokio::spawn(async move { phone.refresh_until_killed(&server).await })
            })
            .collect();
        sleep(Duration::from_millis(500 + 170 * round as u64)).await;
        running.kill();
        phones = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        // Move the last refresh into the past: in the grace period, the server would accept the previous
        // token anyway.
        rows::age_rotations(&app).await;
        server = serve();
    }
    assert!(phones.iter().all(|phone| phone.refreshed > ROUNDS && phone.lost > ROUNDS), "{phones:?}");
    for phone in phones {
        let body = json!({ "refresh_token": phone.refresh_token });
        let last = server.call(Method::POST, "/api/v1/auth/refresh").json(&body).send().await.unwrap();
        assert_eq!(last.status(), 200);
    }
    assert_eq!(rows::thefts(&app).await.len(), 0);
}

/// Creates trips with idempotency keys until the server is dead. Returns each key with its response, if one
/// arrived.
async fn write_keyed(server: &Process, token: &str, count: &AtomicUsize) -> Vec<(usize, Option<Value>)> {
    let mut sent = Vec::new();
    loop {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let response = match send_keyed(server, token, number).await {
            Ok(response) if response.status() == 201 => response.json().await.ok(),
            Ok(response) => panic!("{}", response.status()),
            Err(_) => None,
        };
        let is_dead = response.is_none();
        sent.push((number, response));
        if is_dead {
            return sent;
        }
    }
}

async fn send_keyed(server: &Process, token: &str, number: usize) -> reqwest::Result<reqwest::Response> {
    let body = json!({ "title": format!("Trip {number}") });
    let call = server.call(Method::POST, "/api/v1/trips").bearer_auth(token).json(&body);
    call.header("idempotency-key", format!("key-{number}")).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_creates_one_trip_even_if_the_server_is_killed() {
    // S-61
    let app = TestApp::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let serve =
        || Process::serve_over(dir.path(), app.settings(), &["--public-url", "https://tripgate.test"]);
    let mut server = serve();
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let count = Arc::new(AtomicUsize::new(0));
    let mut keys = 0;
    for round in 0..ROUNDS {
        let running = Arc::new(server);
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (server, token, count) = (Arc::clone(&running), token.clone(), Arc::clone(&count));
                tokio::spawn(async move { write_keyed(&server, &token, &count).await })
            })
            .collect();
        // Wait for a number of writes instead of a fixed time, so that the kill also happens during writes on
        // a slow machine.
        while count.load(Ordering::Relaxed) < keys + 5 * WRITERS + 7 * round {
            sleep(Duration::from_millis(1)).await;
        }
        running.kill();
        let sent: Vec<_> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        keys += sent.len();
        server = serve();
        // Age the claims as if the claim timeout had passed.
        rows::age_claims(&app).await;
        for (number, response) in sent {
            let again = send_keyed(&server, &token, number).await.unwrap();
            assert_eq!(again.status(), 201, "key {number}");
            let replayed = again.headers().contains_key("idempotency-replayed");
            let again: Value = again.json().await.unwrap();
            assert_eq!(again["title"], format!("Trip {number}"));
            if let Some(response) = response {
                assert!(replayed && again == response, "key {number}: {again} is not {response}");
            }
        }
        let trips = list_all(&server, &token).await;
        let titles: HashSet<&str> = trips.iter().map(|trip| trip["title"].as_str().unwrap()).collect();
        assert_eq!((titles.len(), trips.len()), (keys, keys), "one trip per key");
    }
}

/// Returns a sync request that creates and updates `count` trips.
fn sync_body(count: usize) -> Value {
    let clock = tripgate::clock::Clock::system();
    let operations: Vec<Value> = (0..count)
        .flat_map(|number| {
            let id = clock.new_id();
            let trip = json!({ "title": format!("Trip {number}") });
            [
                json!({ "op_id": clock.new_id(), "op": "create", "id": id, "trip": trip }),
                json!({
                    "op_id": clock.new_id(), "op": "update", "id": id, "base_version": 1,
                    "trip": { "notes": "n" },
                }),
            ]
        })
        .collect();
    json!({ "operations": operations })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_request_that_a_killed_server_interrupts_is_applied_once_when_repeated() {
    let app = TestApp::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    let serve =
        || Process::serve_over(dir.path(), app.settings(), &["--public-url", "https://tripgate.test"]);
    let mut server = serve();
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let (mut interrupted, mut trips, mut round) = (0, 0, 0);
    // Repeat until kills have interrupted three requests.
    while interrupted < 3 {
        round += 1;
        assert!(round <= 30, "only {interrupted} requests were interrupted");
        let running = Arc::new(server);
        let (target, bearer) = (Arc::clone(&running), token.clone());
        let sending = tokio::spawn(async move {
            let mut sent = Vec::new();
            loop {
                let body = sync_body(250);
                let call = target.call(Method::POST, "/api/v1/sync").bearer_auth(&bearer).json(&body);
                sent.push(body);
                let Ok(response) = call.send().await else { return sent };
                if response.json::<Value>().await.is_err() {
                    return sent;
                }
            }
        });
        sleep(Duration::from_millis(250 + 77 * (round % 9))).await;
        running.kill();
        let sent = sending.await.unwrap();
        server = serve();
        for body in &sent {
            let again = server.call(Method::POST, "/api/v1/sync").bearer_auth(&token).json(body).send().await;
            let again: Value = again.unwrap().json().await.unwrap();
            let statuses: HashSet<&str> =
                again["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
            assert!(statuses.is_subset(&HashSet::from(["applied", "duplicate"])), "{statuses:?}");
            interrupted += usize::from(statuses.len() == 2);
        }
        trips += 250 * sent.len();
    }
    let all = list_all(&server, &token).await;
    assert_eq!(all.len(), trips);
    assert!(all.iter().all(|trip| trip["version"] == 2 && trip["notes"] == "n"));
}
