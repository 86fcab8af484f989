//! Responses to requests with a token that can write trips but not read them, and patches that change
//! nothing.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{TRIPS, UNKNOWN_ID, create_trip, path, stop, stop_ids};
use crate::harness::TestApp;

const SECRET: &str = "canary-Wz4-harbour";

#[tokio::test]
async fn a_token_that_cannot_read_trips_gets_no_trip_from_a_write() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let writer = app.log_in_for("ada", "trips:write").await;
    let body = json!({ "title": SECRET, "notes": SECRET, "stops": [stop(SECRET)] });
    let created = writer.post(TRIPS).json(&body).await.expect(204);
    let trip_path = created.header("location").to_owned();
    let trip = ada.get(&trip_path).await.expect(200);
    assert_eq!((&trip.json()["title"], created.header("etag")), (&json!(SECRET), trip.header("etag")));
    let one = format!("{trip_path}/stops/{}", stop_ids(&trip.json())[0]);
    let put = writer.put(&format!("{TRIPS}/{UNKNOWN_ID}")).header("if-none-match", "*");
    let put = put.json(&body).await.expect(204);
    assert_eq!(put.header("location"), format!("{TRIPS}/{UNKNOWN_ID}"));
    let added = writer.post(&format!("{trip_path}/stops")).json(&stop("Graça")).await.expect(204);
    ada.patch(added.header("location")).json(&json!({ "name": "Alfama" })).await.expect(200);
    let mut ids = stop_ids(&ada.get(&trip_path).await.json());
    ids.reverse();
    for call in [
        writer.patch(&trip_path).json(&json!({})),
        writer.patch(&trip_path).json(&json!({ "title": "Lisbon" })),
        writer.patch(&one).json(&json!({})),
        writer.patch(&one).json(&json!({ "notes": "late" })),
        writer.put(&format!("{trip_path}/stops/order")).json(&json!({ "stop_ids": ids })),
        writer.put(&trip_path).header("if-match", "*").json(&body),
    ] {
        let reply = call.await.expect(204);
        assert!(reply.body.is_empty() && !reply.header("etag").is_empty());
    }
    let changed = ada.get(&trip_path).await.expect(200).json();
    assert_eq!((&changed["version"], &changed["stops"].as_array().unwrap().len()), (&json!(7), &1));
    writer.get(&trip_path).await.expect(403).problem("insufficient_scope");
}

#[tokio::test]
async fn a_replayed_response_contains_the_trip_only_for_a_token_that_can_read_trips() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let writer = app.log_in_for("ada", "trips:write").await;
    let body = json!({ "title": SECRET });
    let keyed = |client: &crate::harness::Client, key: &str| {
        client.post(TRIPS).header("idempotency-key", key).json(&body).into_future()
    };
    let first = keyed(&ada, "a").await.expect(201);
    let replayed = keyed(&writer, "a").await.expect(204);
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.header("location"), first.header("location"));
    let first = keyed(&writer, "b").await.expect(204);
    let replayed = keyed(&ada, "b").await.expect(201);
    assert_eq!(replayed.header("location"), first.header("location"));
    assert_eq!(replayed.json()["title"], SECRET);
    let stops = format!("{}/stops", first.header("location"));
    let stop = json!({ "name": SECRET });
    for _ in 0..2 {
        writer.post(&stops).header("idempotency-key", "c").json(&stop).await.expect(204);
    }
    let replayed = writer.post(&stops).header("idempotency-key", "c").json(&stop).await.expect(204);
    assert_eq!(replayed.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn sync_results_have_no_trip_for_a_token_that_cannot_read_trips() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let writer = app.log_in_for("ada", "trips:write").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon", "notes": SECRET })).await;
    let operation = |op_id: &str, base: u64| json!({ "op_id": op_id, "op": "update", "id": trip["id"], "base_version": base, "trip": { "title": "x" } });
    let (one, two) = ("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bee");
    let operations = json!({ "operations": [operation(one, 1), operation(one, 1), operation(two, 7)] });
    let reply = writer.post("/api/v1/sync").json(&operations).await.expect(200);
    let results = reply.json()["results"].clone();
    let result = |op_id: &str, status: &str| json!({ "op_id": op_id, "status": status });
    let expected = [result(one, "applied"), result(one, "duplicate"), result(two, "conflict")];
    assert_eq!(results, json!(expected));
    assert!(!reply.text().contains(SECRET));
    let results = ada.post("/api/v1/sync").json(&operations).await.expect(200).json()["results"].clone();
    assert_eq!(results[0]["trip"]["notes"], SECRET);
}

#[tokio::test]
async fn a_patch_without_fields_changes_nothing() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon", "stops": [stop("Graça")] })).await;
    let (trip_path, tag) = (path(&trip), ada.get(&path(&trip)).await.header("etag").to_owned());
    let one = format!("{trip_path}/stops/{}", stop_ids(&trip)[0]);
    let cursor = ada.get("/api/v1/sync").await.expect(200).json()["next_cursor"].clone();
    app.clock.advance(TimeDelta::seconds(1));
    let patched = ada.patch(&trip_path).json(&json!({})).await.expect(200);
    assert_eq!((patched.json(), patched.header("etag")), (trip.clone(), tag.as_str()));
    let patched = ada.patch(&one).header("if-match", &tag).json(&json!({})).await.expect(200);
    assert_eq!((&patched.json(), patched.header("etag")), (&trip["stops"][0], tag.as_str()));
    for path in [&trip_path, &one] {
        ada.patch(path).header("if-match", "\"9-9\"").json(&json!({})).await.expect(412);
    }
    ada.patch(&format!("{trip_path}/stops/{UNKNOWN_ID}")).json(&json!({})).await.expect(404);
    ada.patch(&format!("{TRIPS}/{UNKNOWN_ID}")).json(&json!({})).await.expect(404);
    let feed = ada.get(&format!("/api/v1/sync?cursor={}", cursor.as_str().unwrap())).await.expect(200).json();
    assert_eq!(feed["changes"], Value::Array(Vec::new()));
}
