//! `Idempotency-Key`: a repeated request takes effect once.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::housekeeping;
use tripgate::idempotency::{self, Claimed, Reference, ResultRecorder};
use tripgate::trips::{Trip, TripFields, TripsError, UncheckedFields};

use super::{create_trip, path};
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp, rows};

const TRIPS: &str = "/api/v1/trips";

fn post(client: &Client, key: &str, title: &str) -> Call {
    client.post(TRIPS).header("idempotency-key", key).json(&json!({ "title": title }))
}

/// Asserts that two responses are equal.
#[track_caller]
fn assert_same(one: &Reply, other: &Reply) {
    assert_eq!(one.status, other.status);
    assert_eq!(one.text(), other.text());
    for name in ["location", "etag", "content-type", "cache-control"] {
        assert_eq!(one.header(name), other.header(name), "{name}");
    }
}

async fn count_trips(client: &Client) -> usize {
    client.get(&format!("{TRIPS}?limit=100")).await.expect(200).json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn an_operation_that_does_not_support_idempotency_keys_rejects_them() {
    // N-9
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "username": "brian", "password": PASSWORD });
    let signup = app.anonymous().post("/api/v1/auth/signup").header("idempotency-key", "k").json(&body);
    signup.await.expect(400).problem("bad_request");
    assert_eq!(rows::users(&app).await.len(), 1, "the rejected sign-up created an account");
    let trip = path(&create_trip(&ada, &json!({ "title": "Lisbon" })).await);
    for call in
        [ada.get("/api/v1/me"), ada.patch(&trip).json(&json!({ "title": "Porto" })), ada.delete(&trip)]
    {
        call.header("idempotency-key", "k").await.expect(400).problem("bad_request");
    }
    assert_eq!(ada.get(&trip).await.expect(200).json()["title"], "Lisbon");
    ada.post("/api/v1/nothing").header("idempotency-key", "k").await.expect(404);
    ada.post(&trip).header("idempotency-key", "k").await.expect(405);
}

#[tokio::test]
async fn requests_with_the_same_idempotency_key_create_one_trip_and_get_the_same_response() {
    // S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let first = post(&ada, "a-key", "Lisbon").await.expect(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    let trip = first.header("location").to_owned();
    // The response stays the same after a change of the trip, on every replica, and until the end of the seventh day.
    ada.patch(&trip).json(&json!({ "title": "Porto" })).await.expect(200);
    let replica = app.replica().await;
    let there = replica.log_in("ada").await;
    for (client, wait) in
        [(&ada, TimeDelta::zero()), (&there, TimeDelta::days(7) - TimeDelta::milliseconds(1))]
    {
        app.clock.advance(wait);
        let again = post(&renewed(&app, client).await, "\"a-key\"", "Lisbon").await.expect(201);
        assert_same(&first, &again);
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    assert_eq!(rows::trips(&app).await, 1);
    app.clock.advance(TimeDelta::milliseconds(1));
    let later = post(&app.log_in("ada").await, "a-key", "Lisbon").await.expect(201);
    assert_ne!(later.header("location"), trip);
    assert_eq!(rows::trips(&app).await, 2);
}

/// Returns the client, logged in again if its token has expired.
async fn renewed(app: &TestApp, client: &Client) -> Client {
    match client.get("/api/v1/me").await.status {
        200 => client.clone(),
        _ => app.log_in("ada").await,
    }
}

#[tokio::test]
async fn requests_with_the_same_idempotency_key_create_one_stop() {
    // S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = ada.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    let stops = format!("{}/stops", trip.header("location"));
    let stop = json!({ "name": "Belém", "latitude": 38.7, "longitude": -9.2 });
    let add = async || ada.post(&stops).header("idempotency-key", "a-key").json(&stop).await.expect(201);
    let (first, again) = (add().await, add().await);
    assert_same(&first, &again);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let trip = ada.get(trip.header("location")).await.expect(200).json();
    assert_eq!(trip["stops"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_request_may_differ_in_field_order_and_white_space() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let send = |body: &str| {
        let call = ada.post(TRIPS).header("idempotency-key", "k").header("content-type", "application/json");
        call.body(body)
    };
    let first = send(r#"{"title":"Lisbon","notes":"n"}"#).await.expect(201);
    assert_same(&first, &send(r#"{ "notes" : "n", "title" : "Lisbon" }"#).await);
    assert_eq!(rows::trips(&app).await, 1);
}

#[tokio::test]
async fn an_idempotency_key_that_was_used_for_another_request_is_rejected() {
    // S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let first = post(&ada, "k", "Lisbon").await.expect(201);
    let other = post(&ada, "k", "Porto").await.expect(422).problem("idempotency_key_reused");
    assert_eq!(other.field_errors(), [("/Idempotency-Key".to_owned(), "reused".to_owned())]);
    // Another request with the key is also rejected while the first request runs.
    rows::reopen_keys(&app).await;
    post(&ada, "k", "Porto").await.expect(422).problem("idempotency_key_reused");
    assert_eq!(count_trips(&ada).await, 1);
    // Keys are case-sensitive. Without a key, no response is stored.
    post(&ada, "K", "Porto").await.expect(201);
    ada.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    assert_eq!(count_trips(&ada).await, 3);
    assert!(first.header("location").starts_with(TRIPS));
}

#[tokio::test]
async fn idempotency_keys_of_different_users_are_independent() {
    // S-56
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let hers = post(&ada, "k", "Ada's secret journey").await.expect(201);
    let other = post(&eve, "k", "Ada's secret journey").await.expect(201);
    assert_ne!(hers.header("location"), other.header("location"));
    assert_eq!(other.header("idempotency-replayed"), "");
    post(&eve, "k", "Porto").await.expect(422).problem("idempotency_key_reused");
    assert_eq!((count_trips(&ada).await, count_trips(&eve).await), (1, 1));
}

#[tokio::test]
async fn a_request_with_an_invalid_idempotency_key_creates_no_trip() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let long = "x".repeat(256);
    for key in ["", "\"\"", "a b", "\"a", "caf\u{e9}", &long, &format!("\"{long}\"")] {
        post(&ada, key, "Lisbon").await.expect(400).problem("invalid_idempotency_key");
    }
    let twice = post(&ada, "a", "Lisbon").header("idempotency-key", "a").await;
    twice.expect(400).problem("invalid_idempotency_key");
    assert_eq!(rows::trips(&app).await, 0);
    post(&ada, &"x".repeat(255), "Lisbon").await.expect(201);
}

#[tokio::test]
async fn a_rejected_request_does_not_use_up_its_idempotency_key() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    post(&ada, "k", "").await.expect(422).problem("invalid");
    let bad = json!({ "title": "Lisbon", "time_zone": "Moon/Sea" });
    ada.post(TRIPS).header("idempotency-key", "k").json(&bad).await.expect(422).problem("invalid");
    ada.post(TRIPS).header("idempotency-key", "k").body("{").await.expect(415);
    app.log_in_for("ada", "trips:read").await.post(TRIPS).header("idempotency-key", "k").await.expect(403);
    assert_eq!(rows::keys(&app).await.len(), 0);
    assert_eq!(post(&ada, "k", "Lisbon").await.expect(201).header("idempotency-replayed"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_requests_with_one_idempotency_key_create_one_trip() {
    // S-61
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let there = replica.log_in("ada").await;
    for round in 0..3 {
        let key = format!("key-{round}");
        let calls = (0..50).map(|number| post(if number % 2 == 0 { &ada } else { &there }, &key, "Lisbon"));
        let replies = join_all(calls.map(IntoFuture::into_future)).await;
        let created: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 201).collect();
        let locations: HashSet<&str> = created.iter().map(|reply| reply.header("location")).collect();
        assert_eq!(locations.len(), 1);
        let first = created.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count();
        assert_eq!(first, 1, "exactly one request created the trip");
        for reply in replies.into_iter().filter(|reply| reply.status != 201) {
            let reply = reply.expect(409).problem("idempotency_in_progress");
            assert_eq!(reply.header("retry-after"), "1");
        }
        assert_eq!(rows::trips(&app).await, round + 1);
        assert_eq!(post(&ada, &key, "Lisbon").await.expect(201).header("idempotency-replayed"), "true");
    }
}

#[tokio::test]
async fn the_claim_of_an_idempotency_key_by_a_crashed_request_is_taken_over_after_30_seconds() {
    // S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    post(&ada, "k", "Lisbon").await.expect(201);
    // Create the state after a crash between the claim of the key and the write of the trip.
    rows::reopen_keys(&app).await;
    rows::delete_trips(&app).await;
    app.clock.advance(TimeDelta::seconds(30) - TimeDelta::milliseconds(1));
    let early = post(&ada, "k", "Lisbon").await.expect(409).problem("idempotency_in_progress");
    assert_eq!((early.header("retry-after"), early.json()["client_action"].as_str()), ("1", Some("retry")));
    app.clock.advance(TimeDelta::milliseconds(1));
    let again = post(&ada, "k", "Lisbon").await.expect(201);
    assert_eq!(again.header("idempotency-replayed"), "");
    assert_same(&again, &post(&ada, "k", "Lisbon").await);
    assert_eq!(rows::trips(&app).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_fifty_requests_takes_over_an_abandoned_claim_of_an_idempotency_key() {
    // S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for round in 1..=3 {
        let key = format!("k{round}");
        post(&ada, &key, "Lisbon").await.expect(201);
        rows::reopen_keys(&app).await;
        app.clock.advance(TimeDelta::seconds(31));
        join_all((0..50).map(|_| post(&ada, &key, "Lisbon").into_future())).await;
        post(&ada, &key, "Lisbon").await.expect(201);
        // Each round leaves two trips: the trip of the first request, and the trip of the request that took
        // over the claim.
        assert_eq!(rows::trips(&app).await, 2 * round);
    }
}

#[tokio::test]
async fn expired_idempotency_keys_and_those_of_deleted_accounts_are_deleted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    post(&ada, "old", "Lisbon").await.expect(201);
    app.clock.advance(TimeDelta::days(6));
    let ada = app.log_in("ada").await;
    post(&ada, "new", "Porto").await.expect(201);
    app.clock.advance(TimeDelta::days(1));
    housekeeping::sweep_sync(app.services().clone()).await;
    assert_eq!(rows::keys(&app).await.len(), 1);
    let ada = app.log_in("ada").await;
    assert_eq!(post(&ada, "new", "Porto").await.expect(201).header("idempotency-replayed"), "true");
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    assert_eq!(rows::keys(&app).await.len(), 0);
}

#[tokio::test]
async fn idempotency_keys_and_requests_are_stored_only_as_digests() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    post(&ada, "cAnAry-key", "Lisbon").await.expect(201);
    let stored = rows::keys(&app).await;
    let [key] = stored.as_slice() else { panic!("{stored:?}") };
    assert_eq!((key.key_digest.len(), key.request_digest.len(), key.status), (32, 32, Some(201)));
    assert_eq!(key.expires_at - key.claimed_at, TimeDelta::days(7).num_milliseconds());
    assert!(!format!("{key:?}").contains("Lisbon"), "{key:?}");
}

#[tokio::test]
async fn an_idempotency_key_occupies_little_space_regardless_of_the_size_of_the_trip() {
    // A-3
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let stops: Vec<Value> = (0..100).map(|number| json!({ "name": format!("Stop {number}") })).collect();
    let trip = json!({ "title": "Lisbon", "notes": "n".repeat(10_000), "stops": stops });
    let create = async || ada.post(TRIPS).header("idempotency-key", "trip").json(&trip).await.expect(201);
    let first = create().await;
    assert_same(&first, &create().await);
    assert_eq!(ada.get(first.header("location")).await.expect(200).text(), first.text());
    let stop = json!({ "name": "Belém", "notes": "n".repeat(2_000) });
    let path = format!("{}/stops", first.header("location"));
    let add = async || ada.post(&path).header("idempotency-key", "stop").json(&stop).await.expect(201);
    assert_same(&add().await, &add().await);
    for key in rows::keys(&app).await {
        assert_eq!((key.body.unwrap().len(), key.location, key.etag), (0, None, None));
        let size = key.reference.unwrap().len();
        assert!(size < 200, "{size}");
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_response_even_after_the_trip_was_deleted() {
    // A-3, S-61
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "title": "Lisbon", "stops": [{ "name": "Belém" }, { "name": "Sintra" }] });
    let create = async || ada.post(TRIPS).header("idempotency-key", "k").json(&body).await.expect(201);
    let first = create().await;
    let trip = first.header("location");
    app.clock.advance(TimeDelta::minutes(1));
    ada.patch(trip).json(&json!({ "title": "Porto", "stops": null })).await.expect(200);
    assert_same(&first, &create().await);
    ada.delete(trip).await.expect(204);
    assert_same(&first, &create().await);
    ada.get(trip).await.expect(404);
    assert_eq!(count_trips(&ada).await, 0);
}

#[tokio::test]
async fn a_response_that_an_earlier_server_version_saved_is_returned_again() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let first = post(&ada, "k", "Lisbon").await.expect(201);
    let body = first.text().replace("Lisbon", "Former");
    rows::save_whole_response(&app, first.header("location"), "\"1-former\"", &body).await;
    let again = post(&ada, "k", "Lisbon").await.expect(201);
    assert_eq!((again.text(), again.header("etag")), (body.as_str(), "\"1-former\""));
    assert_eq!(again.header("location"), first.header("location"));
}

#[tokio::test]
async fn a_request_whose_claim_of_an_idempotency_key_was_taken_over_has_no_effect() {
    // S-61
    let app = TestApp::start().await;
    let owner = app.sign_up("ada").await.id().parse().unwrap();
    let services = app.services();
    let request = idempotency::Request { owner, key: [1; 32], digest: [2; 32] };
    let claim = async || match services.idempotency.claim(&request).await.unwrap() {
        Claimed::Start(claim) => claim,
        Claimed::Replay(response) => panic!("{response:?}"),
    };
    let create = async |claim| {
        let recorder = ResultRecorder::new(claim, Arc::new(|_: &Trip| Reference("{}".to_owned())));
        let fields = UncheckedFields { title: "Lisbon".to_owned(), ..UncheckedFields::default() };
        let fields = TripFields::parse(fields).unwrap();
        services.trips.create(owner, None, fields, Some(recorder)).await
    };
    let slow = claim().await;
    app.clock.advance(TimeDelta::seconds(30));
    let fast = claim().await;
    assert!(matches!(create(slow.clone()).await, Err(TripsError::ClaimLost)));
    assert_eq!(rows::trips(&app).await, 0);
    services.idempotency.release(slow.clone()).await.unwrap();
    create(fast).await.unwrap();
    assert!(matches!(create(slow).await, Err(TripsError::ClaimLost)));
    assert_eq!(rows::trips(&app).await, 1);
}
