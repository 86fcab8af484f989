//! Conditional requests: a client that knows a trip reads nothing twice and overwrites nothing unseen.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{TRIPS, changes, count, etag, make, path, stop, stop_ids};
use crate::harness::TestApp;

#[tokio::test]
async fn a_matching_if_none_match_gets_304_without_a_body() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let place = path(&make(&ada, &json!({ "title": "Lisbon" })).await);
    let tag = etag(&ada, &place).await;
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        for method in [Method::GET, Method::HEAD] {
            let same = ada.call(method, &place).header("if-none-match", &known).await.expect(304);
            assert_eq!((same.header("etag"), same.body.len()), (tag.as_str(), 0), "{known}");
        }
    }
    let spread = ada.get(&place).header("if-none-match", "\"x\"").header("if-none-match", &tag).await;
    assert_eq!(spread.status, 304, "two lines are one list");
    for other in ["\"1\"", "\"x\"", "\"\""] {
        ada.get(&place).header("if-none-match", other).await.expect(200);
    }
    ada.patch(&place).json(&json!({})).await.expect(200);
    let after = ada.get(&place).header("if-none-match", &tag).await.expect(200);
    assert_ne!(after.header("etag"), tag);
}

#[tokio::test]
async fn every_trip_change_checks_if_match() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = etag(&ada, &path(&make(&ada, &json!({ "title": "Porto" })).await)).await;
    for at in 0..7 {
        let trip = make(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
        let (place, first) = (path(&trip), stop_ids(&trip)[0].clone());
        let stale = etag(&ada, &place).await;
        ada.patch(&place).json(&json!({ "notes": "n" })).await.expect(200);
        let tag = etag(&ada, &place).await;
        let before = ada.get(&place).await.json();
        let call = || changes(&ada, &place, &first).swap_remove(at);
        for wrong in [&stale, &format!("W/{tag}"), &other, &format!("{stale}, W/{tag}"), &"\"2\"".to_owned()]
        {
            call().0.header("if-match", wrong).await.expect(412).problem("precondition_failed");
        }
        for malformed in ["", "2", "\"2", "W/*", "\"a\" \"b\"", "*, \"a\""] {
            call().0.header("if-match", malformed).await.expect(400).problem("bad_request");
        }
        call().0.header("if-match", b"\xe9").await.expect(400).problem("bad_request");
        assert_eq!(ada.get(&place).await.json(), before, "nothing was done");
        let (call, status) = call();
        let done = call.header("if-match", &stale).header("if-match", &tag).await.expect(status);
        if done.status != 204 {
            assert_ne!(done.header("etag"), tag);
        }
    }
    for at in 0..7 {
        let trip = make(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
        let (call, status) = changes(&ada, &path(&trip), &stop_ids(&trip)[0]).swap_remove(at);
        call.header("if-match", "*").await.expect(status);
    }
}

#[tokio::test]
async fn of_fifty_writers_with_the_same_etag_one_succeeds() {
    // S-60
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let there = replica.anonymous().granted(ada.grant());
    let place = path(&make(&ada, &json!({ "title": "Lisbon" })).await);
    let tag = etag(&ada, &place).await;
    let writes = (0..50).map(|number| {
        let client = if number % 2 == 0 { &ada } else { &there };
        let body = json!({ "notes": format!("{number}") });
        client.patch(&place).header("if-match", &tag).json(&body).into_future()
    });
    let replies = join_all(writes).await;
    assert_eq!((count(&replies, 200), count(&replies, 412)), (1, 49));
    let won = replies.iter().find(|reply| reply.status == 200).unwrap();
    assert_eq!(ada.get(&place).await.json(), won.json());
    assert_eq!(won.json()["version"], 2);

    let tag = etag(&ada, &place).await;
    let ends = (0..50).map(|_| ada.delete(&place).header("if-match", &tag).into_future());
    let replies = join_all(ends).await;
    assert_eq!((count(&replies, 204), count(&replies, 404)), (1, 49));
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
    let trip = make(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
    make(&ada, &json!({ "title": "Porto" })).await;
    let cursor = ada.get(&format!("{TRIPS}?limit=1")).await.json()["next_cursor"].clone();
    let page = format!("?limit=1&cursor={}", cursor.as_str().unwrap());
    for list in lists.into_iter().chain([page.as_str()]) {
        let at = format!("{TRIPS}{list}");
        let tag = etag(&ada, &at).await;
        assert!(seen.insert(tag.clone()), "{list} has the tag of another list");
        for known in [tag.clone(), format!("W/{tag}"), "*".to_owned()] {
            let same = ada.get(&at).header("if-none-match", &known).await.expect(304);
            assert_eq!((same.header("etag"), same.body.len(), same.header("link")), (tag.as_str(), 0, ""));
        }
        // S-56: another user's tag says nothing, also where as much has changed.
        if !list.contains("cursor") {
            eve.get(&at).header("if-none-match", &tag).await.expect(200);
        }
        ada.get(&at).header("if-none-match", "\"x").await.expect(400).problem("bad_request");
    }
    for (call, status) in changes(&ada, &path(&trip), &stop_ids(&trip)[0]) {
        let tag = etag(&ada, TRIPS).await;
        call.header("if-match", "*").await.expect(status);
        let now = ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
        assert_ne!(now.header("etag"), tag, "every change is one of the list");
    }
    let bad = ada.get(&format!("{TRIPS}?cursor=x")).header("if-none-match", "*").await;
    bad.expect(400).problem("invalid_cursor");
}

#[tokio::test]
async fn an_empty_list_has_an_etag() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let tag = etag(&ada, TRIPS).await;
    ada.get(TRIPS).header("if-none-match", &tag).await.expect(304);
    let place = path(&make(&ada, &json!({ "title": "Lisbon" })).await);
    ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
    ada.delete(&place).await.expect(204);
    let after = ada.get(TRIPS).header("if-none-match", &tag).await.expect(200);
    assert_eq!(after.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn a_recreated_trip_has_a_new_etag() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let made_id = app.clock.new_id().to_string();
    let body = json!({ "title": "Lisbon", "id": made_id });
    let place = path(&make(&ada, &body).await);
    let tag = etag(&ada, &place).await;
    ada.delete(&place).await.expect(204);
    app.clock.advance(TimeDelta::milliseconds(1));
    let again = make(&ada, &body).await;
    assert_eq!(again["version"], 3, "its versions go on where they ended");
    assert_ne!(etag(&ada, &place).await, tag);
    ada.patch(&place).header("if-match", &tag).json(&json!({})).await.expect(412);
    ada.delete(&place).await.expect(204);
    assert_eq!(make(&ada, &body).await["version"], 5);
}

#[tokio::test]
async fn cors_allows_conditional_headers() {
    let app =
        TestApp::with(|settings| settings.cors_origins = vec!["https://app.example.org".to_owned()]).await;
    let asked = app.anonymous().call(Method::OPTIONS, TRIPS).undocumented();
    let asked =
        asked.header("origin", "https://app.example.org").header("access-control-request-method", "PUT");
    let told = asked.await.expect(204);
    let allowed = told.header("access-control-allow-headers");
    for name in ["If-Match", "If-None-Match", "Idempotency-Key"] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

#[tokio::test]
async fn unsupported_preconditions_and_bodies_are_rejected() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let made = ada.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    let (path, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
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
    // An empty object says nothing either.
    ada.put(&format!("{path}/share")).json(&json!({})).await.expect(200);
    assert_eq!(ada.get(&path).await.expect(200).json(), made.json());
}
