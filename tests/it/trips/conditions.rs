//! Conditional requests: they avoid repeated downloads and lost updates.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{TRIPS, changes, count_status, create_trip, etag, path, stop, stop_ids};
use crate::harness::TestApp;

#[tokio::test]
async fn a_matching_if_none_match_gets_304_without_a_body() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip_path = path(&create_trip(&ada, &json!({ "title": "Lisbon" })).await);
    let tag = etag(&ada, &trip_path).await;
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    for condition in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        for method in [Method::GET, Method::HEAD] {
            let same = ada.call(method, &trip_path).header("if-none-match", &condition).await.expect(304);
            assert_eq!((same.header("etag"), same.body.len()), (tag.as_str(), 0), "{condition}");
        }
    }
    let two_headers =
        ada.get(&trip_path).header("if-none-match", "\"x\"").header("if-none-match", &tag).await;
    assert_eq!(two_headers.status, 304, "two header lines form one list");
    for other in ["\"1\"", "\"x\"", "\"\""] {
        ada.get(&trip_path).header("if-none-match", other).await.expect(200);
    }
    ada.patch(&trip_path).json(&json!({ "title": "Lisbon" })).await.expect(200);
    let after = ada.get(&trip_path).header("if-none-match", &tag).await.expect(200);
    assert_ne!(after.header("etag"), tag);
}

#[tokio::test]
async fn every_operation_that_changes_a_trip_checks_the_header_if_match() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = etag(&ada, &path(&create_trip(&ada, &json!({ "title": "Porto" })).await)).await;
    for at in 0..7 {
        let trip = create_trip(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
        let (trip_path, first) = (path(&trip), stop_ids(&trip)[0].clone());
        let stale = etag(&ada, &trip_path).await;
        ada.patch(&trip_path).json(&json!({ "notes": "n" })).await.expect(200);
        let tag = etag(&ada, &trip_path).await;
        let before = ada.get(&trip_path).await.json();
        let call = || changes(&ada, &trip_path, &first).swap_remove(at);
        for mismatch in
            [&stale, &format!("W/{tag}"), &other, &format!("{stale}, W/{tag}"), &"\"2\"".to_owned()]
        {
            call().0.header("if-match", mismatch).await.expect(412).problem("precondition_failed");
        }
        for malformed in ["", "2", "\"2", "W/*", "\"a\" \"b\"", "*, \"a\""] {
            call().0.header("if-match", malformed).await.expect(400).problem("bad_request");
        }
        call().0.header("if-match", b"\xe9").await.expect(400).problem("bad_request");
        assert_eq!(ada.get(&trip_path).await.json(), before, "rejected requests change nothing");
        let (call, status) = call();
        let done = call.header("if-match", &stale).header("if-match", &tag).await.expect(status);
        if done.status != 204 {
            assert_ne!(done.header("etag"), tag);
        }
    }
    for at in 0..7 {
        let trip = create_trip(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
        let (call, status) = changes(&ada, &path(&trip), &stop_ids(&trip)[0]).swap_remove(at);
        call.header("if-match", "*").await.expect(status);
    }
}

#[tokio::test]
async fn exactly_one_of_fifty_writers_with_the_same_etag_succeeds() {
    // S-60
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.anonymous().with_grant(ada.grant());
    let trip_path = path(&create_trip(&ada, &json!({ "title": "Lisbon" })).await);
    let tag = etag(&ada, &trip_path).await;
    let writes = (0..50).map(|number| {
        let client = if number % 2 == 0 { &ada } else { &on_replica };
        let body = json!({ "notes": format!("{number}") });
        client.patch(&trip_path).header("if-match", &tag).json(&body).into_future()
    });
    let replies = join_all(writes).await;
    assert_eq!((count_status(&replies, 200), count_status(&replies, 412)), (1, 49));
    let winner = replies.iter().find(|reply| reply.status == 200).unwrap();
    assert_eq!(ada.get(&trip_path).await.json(), winner.json());
    assert_eq!(winner.json()["version"], 2);

    let tag = etag(&ada, &trip_path).await;
    let deletes = (0..50).map(|_| ada.delete(&trip_path).header("if-match", &tag).into_future());
    let replies = join_all(deletes).await;
    assert_eq!((count_status(&replies, 204), count_status(&replies, 404)), (1, 49));
}

#[tokio::test]
async fn an_unchanged_list_gets_304_without_a_body() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let lists = [
        "",
        "?limit=1",
        "?limit=2",
        "?sort=title",
        "?status=planned",
        "?q=lisbon",
        "?starts_from=2027-01-01",
    ];
    let mut seen = BTreeSet::new();
    let trip = create_trip(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
    create_trip(&ada, &json!({ "title": "Porto" })).await;
    let cursor = ada.get(&format!("{TRIPS}?limit=1")).await.json()["next_cursor"].clone();
    let second_page = format!("?limit=1&cursor={}", cursor.as_str().unwrap());
    for list in lists.into_iter().chain([second_page.as_str()]) {
        let at = format!("{TRIPS}{list}");
        let tag = etag(&ada, &at).await;
        assert!(seen.insert(tag.clone()), "{list} has the etag of another list");
        for condition in [tag.clone(), format!("W/{tag}"), "*".to_owned()] {
            let same = ada.get(&at).header("if-none-match", &condition).await.expect(304);
            assert_eq!((same.header("etag"), same.body.len(), same.header("link")), (tag.as_str(), 0, ""));
        }
        // S-56: another user's etag does not match, even after the same number of changes.
        if !list.contains("cursor") {
            eve.get(&at).header("if-none-match", &tag).await.expect(200);
        }
        ada.get(&at).header("if-none-match", "\"x").await.expect(400).problem("bad_request");
    }
    for (call, status) in changes(&ada, &path(&trip), &stop_ids(&trip)[0]) {
        let tag = etag(&ada, TRIPS).await;
        call.header("if-match", "*").await.expect(status);
        let now = ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
        assert_ne!(now.header("etag"), tag, "every change of a trip changes the list's etag");
    }
    let reply = ada.get(&format!("{TRIPS}?cursor=x")).header("if-none-match", "*").await;
    reply.expect(400).problem("invalid_cursor");
}

#[tokio::test]
async fn an_empty_list_has_an_etag() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let tag = etag(&ada, TRIPS).await;
    ada.get(TRIPS).header("if-none-match", &tag).await.expect(304);
    let trip_path = path(&create_trip(&ada, &json!({ "title": "Lisbon" })).await);
    ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
    ada.delete(&trip_path).await.expect(204);
    let after = ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
    assert_eq!(after.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn a_trip_that_is_deleted_and_created_again_has_a_new_etag() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let id = app.clock.new_id().to_string();
    let body = json!({ "title": "Lisbon", "id": id });
    let trip_path = path(&create_trip(&ada, &body).await);
    let tag = etag(&ada, &trip_path).await;
    ada.delete(&trip_path).await.expect(204);
    app.clock.advance(TimeDelta::milliseconds(1));
    let again = create_trip(&ada, &body).await;
    assert_eq!(again["version"], 3, "versions continue after the deletion");
    assert_ne!(etag(&ada, &trip_path).await, tag);
    ada.patch(&trip_path).header("if-match", &tag).json(&json!({})).await.expect(412);
    ada.delete(&trip_path).await.expect(204);
    assert_eq!(create_trip(&ada, &body).await["version"], 5);
}

#[tokio::test]
async fn a_cors_preflight_allows_the_conditional_headers_and_the_idempotency_key() {
    let app =
        TestApp::with(|settings| settings.cors_origins = vec!["https://app.example.org".to_owned()]).await;
    let preflight = app.anonymous().call(Method::OPTIONS, TRIPS).undocumented();
    let preflight =
        preflight.header("origin", "https://app.example.org").header("access-control-request-method", "PUT");
    let reply = preflight.await.expect(204);
    let allowed = reply.header("access-control-allow-headers");
    for name in ["If-Match", "If-None-Match", "Idempotency-Key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

#[tokio::test]
async fn unsupported_preconditions_and_bodies_are_rejected() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    let (path, tag) = (created.header("location").to_owned(), created.header("etag").to_owned());
    for condition in ["*", &tag, "\"other\"", "garb age"] {
        let change = ada.patch(&path).header("if-none-match", condition).json(&json!({ "title": "x" }));
        change.await.expect(400).problem("bad_request");
        ada.delete(&path).header("if-none-match", condition).await.expect(400).problem("bad_request");
        ada.get(&path).header("if-match", condition).await.expect(400).problem("bad_request");
    }
    let body = json!({ "expires_in": 5 });
    ada.put(&format!("{path}/share")).json(&body).await.expect(400).problem("bad_request");
    ada.delete(&format!("{path}/share")).json(&body).await.expect(400).problem("bad_request");
    ada.delete(&path).json(&body).await.expect(400).problem("bad_request");
    // An empty object is accepted as an empty body.
    ada.put(&format!("{path}/share")).json(&json!({})).await.expect(200);
    assert_eq!(ada.get(&path).await.expect(200).json(), created.json());
}
