//! Share links: read access to one trip without authentication.

use std::collections::HashSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, PUBLIC_URL, TestApp};

const TRIPS: &str = "/api/v1/trips";

async fn create_trip(client: &Client) -> String {
    let body = json!({
        "title": "Lisbon", "destination": "Portugal", "start_date": "2027-04-02", "end_date": "2027-04-09",
        "time_zone": "Europe/Lisbon", "notes": "Take the tram.", "status": "active",
    });
    client.post(TRIPS).json(&body).await.expect(201).header("location").to_owned()
}

async fn create_link(client: &Client, trip: &str) -> String {
    let reply = client.put(&format!("{trip}/share")).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let (url, token) = (reply.json()["url"].clone(), reply.json()["token"].clone());
    let path = format!("/api/v1/shared/{}", token.as_str().unwrap());
    assert_eq!(url, json!(format!("{PUBLIC_URL}{path}")));
    path
}

#[tokio::test]
async fn a_share_link_shows_the_trip_without_owner_data() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada).await;
    let shared = create_link(&ada, &trip).await;
    for client in [app.anonymous(), app.sign_up("eve").await, app.anonymous().with_token("bad")] {
        let reply = client.get(&shared).await.expect(200);
        let mut expected = ada.get(&trip).await.expect(200).json();
        for field in ["id", "version", "created_at", "updated_at"] {
            assert!(expected.as_object_mut().unwrap().remove(field).is_some(), "{field}");
        }
        assert_eq!(reply.json(), expected);
        let id = trip.rsplit('/').next().unwrap();
        for secret in [ada.id(), "ada", "example.org", id] {
            assert!(!reply.text().contains(secret), "{secret}");
        }
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex"),
            ("etag", ""),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
    }
    ada.patch(&trip).json(&json!({ "title": "Porto" })).await.expect(200);
    assert_eq!(app.anonymous().get(&shared).await.expect(200).json()["title"], "Porto");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_and_repeated_share_requests_return_the_same_link() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada).await;
    let on_replica = replica.log_in("ada").await;
    let requests = (0..20).map(|number| create_link(if number % 2 == 0 { &ada } else { &on_replica }, &trip));
    let links: HashSet<String> = join_all(requests).await.into_iter().collect();
    assert_eq!(links.len(), 1);
    let app = app.restart().await;
    app.clock.advance(TimeDelta::days(400));
    assert!(links.contains(&create_link(&app.log_in("ada").await, &trip).await));
    let other = create_trip(&app.log_in("ada").await).await;
    assert!(!links.contains(&create_link(&app.log_in("ada").await, &other).await));
}

#[tokio::test]
async fn a_revoked_share_link_gets_404_and_the_next_link_is_different() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada).await;
    let share = format!("{trip}/share");
    ada.delete(&share).await.expect(204);
    let first = create_link(&ada, &trip).await;
    for _ in 0..2 {
        ada.delete(&share).await.expect(204);
        app.anonymous().get(&first).await.expect(404).problem("not_found");
    }
    let second = create_link(&ada, &trip).await;
    assert_ne!(first, second);
    app.anonymous().get(&first).await.expect(404);
    app.anonymous().get(&second).await.expect(200);
    // Creating and revoking links does not change the trip.
    assert_eq!(ada.get(&trip).await.expect(200).json()["version"], 1);
}

#[tokio::test]
async fn deleting_the_trip_or_its_owner_revokes_the_share_link() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (one, two) = (create_trip(&ada).await, create_trip(&ada).await);
    let (first, second) = (create_link(&ada, &one).await, create_link(&ada, &two).await);
    ada.delete(&one).await.expect(204);
    app.anonymous().get(&first).await.expect(404).problem("not_found");
    ada.put(&format!("{one}/share")).await.expect(404);
    ada.delete(&format!("{one}/share")).await.expect(404);
    app.anonymous().get(&second).await.expect(200);
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    app.anonymous().get(&second).await.expect(404).problem("not_found");
}

#[tokio::test]
async fn only_the_owner_can_create_or_revoke_a_share_link_and_links_are_unguessable() {
    // S-53, S-54
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let trip = create_trip(&ada).await;
    let shared = create_link(&ada, &trip).await;
    let share = format!("{trip}/share");
    eve.put(&share).await.expect(404).problem("not_found");
    eve.delete(&share).await.expect(404).problem("not_found");
    app.log_in_for("ada", "trips:read").await.put(&share).await.expect(403);
    let token = shared.rsplit('/').next().unwrap();
    let mut mutated: Vec<String> = (0..token.len())
        .map(|at| {
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    mutated.extend([
        token[1..].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        token.to_uppercase(),
        "x".to_owned(),
        "%00".to_owned(),
        trip.rsplit('/').next().unwrap().to_owned(),
        "A".repeat(43),
        "A".repeat(5_000),
    ]);
    for token in mutated {
        let reply = app.anonymous().get(&format!("/api/v1/shared/{token}")).await;
        reply.expect(404).problem("not_found");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let call = ada.call(method.parse().unwrap(), &shared).json(&json!({ "title": "x" }));
        assert_eq!(call.await.expect(405).header("allow"), "GET, HEAD");
    }
    let body: Value = app.anonymous().get(&shared).await.expect(200).json();
    assert_eq!(body["title"], "Lisbon");
    assert_eq!(app.anonymous().head(&shared).await.expect(200).header("x-robots-tag"), "noindex");
}
