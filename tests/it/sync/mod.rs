//! Sync: the change feed, and operations from devices that were offline.

mod batches;
mod dependent_operations;
mod feed;
mod requests;
mod two_devices;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::housekeeping;

use crate::harness::{Client, TestApp, rounds, rows};

const TRIPS: &str = "/api/v1/trips";
const SYNC: &str = "/api/v1/sync";
const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn feed(client: &Client, cursor: Option<&str>, limit: u64) -> Value {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    client.get(&format!("{SYNC}?limit={limit}{cursor}")).await.expect(200).json()
}

fn next(page: &Value) -> &str {
    page["next_cursor"].as_str().unwrap()
}

/// Returns the kind, trip id and version of each change.
fn summarize(page: &Value) -> Vec<(String, String, i64)> {
    let text = |change: &Value, name: &str| change[name].as_str().unwrap().to_owned();
    let changes = page["changes"].as_array().unwrap().iter();
    changes.map(|c| (text(c, "op"), text(c, "id"), c["version"].as_i64().unwrap())).collect()
}

async fn create_trip(client: &Client, title: &str) -> String {
    let created = client.post(TRIPS).json(&json!({ "title": title })).await.expect(201).json();
    created["id"].as_str().unwrap().to_owned()
}

async fn send(client: &Client, operations: &Value) -> Vec<Value> {
    let reply = client.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
    reply["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn new_id() -> String {
    tripgate::clock::Clock::system().new_id().to_string()
}

#[tokio::test]
async fn the_operations_of_a_sync_request_are_applied_one_by_one_in_order() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (known, deleted) = (create_trip(&ada, "known").await, create_trip(&ada, "gone").await);
    ada.patch(&format!("{TRIPS}/{known}")).json(&json!({ "notes": "n" })).await.expect(200);
    ada.delete(&format!("{TRIPS}/{deleted}")).await.expect(204);
    let new = new_id();
    let op = |op: &str, id: &str, rest: Value| {
        let mut operation = json!({ "op_id": new_id(), "op": op, "id": id });
        operation.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        operation
    };
    let operations = json!([
        op(
            "create",
            &new,
            json!({ "trip": { "title": "new", "stops": [{ "name": "s", "latitude": 1, "longitude": 2 }] } })
        ),
        op("update", &new, json!({ "base_version": 1, "trip": { "title": "newer", "notes": null } })),
        op("create", &new, json!({ "trip": { "title": "again" } })),
        op("update", &known, json!({ "base_version": 2, "trip": { "title": "right", "notes": null } })),
        op("update", &known, json!({ "base_version": 1, "trip": { "title": "late" } })),
        op("update", &known, json!({ "trip": { "title": "blind" } })),
        op("update", &known, json!({ "base_version": 3, "trip": { "title": "" } })),
        op("delete", &known, json!({ "base_version": 2 })),
        op("delete", &known, json!({})),
        op("update", &deleted, json!({ "base_version": 1, "trip": { "title": "x" } })),
        op("delete", &deleted, json!({ "base_version": 1 })),
        op("delete", UNKNOWN, json!({ "base_version": 1 })),
        op("create", "01890a5d-ac96-474b-bcce-b302099a8057", json!({ "trip": { "title": "v4" } })),
        op("create", &new_id(), json!({ "trip": { "notes": "no title" } })),
        op(
            "create",
            &new_id(),
            json!({ "trip": { "title": "t", "start_date": "2026-05-02", "end_date": "2026-05-01" } })
        ),
        op("create", &new_id(), json!({ "trip": { "title": "t", "version": 7 } })),
        op("merge", &known, json!({ "base_version": 3, "trip": { "title": "t" } })),
        op("delete", &new, json!({ "base_version": 2 })),
    ]);
    let results = send(&ada, &operations).await;
    assert_eq!(
        statuses(&results),
        [
            "applied", "applied", "conflict", "applied", "conflict", "rejected", "rejected", "conflict",
            "rejected", "conflict", "applied", "applied", "rejected", "rejected", "rejected", "rejected",
            "rejected", "applied"
        ]
    );
    assert_result_contents(&operations, &results);
    let known = ada.get(&format!("{TRIPS}/{known}")).await.expect(200).json();
    assert_eq!((&known["title"], known.get("notes"), &known["version"]), (&json!("right"), None, &json!(3)));
    assert_eq!(rows::trips(&app).await, 1);
}

/// Asserts that the fields of the results other than `status` are correct.
fn assert_result_contents(operations: &Value, results: &[Value]) {
    for (result, operation) in results.iter().zip(operations.as_array().unwrap()) {
        assert_eq!(result["op_id"], operation["op_id"]);
        assert_eq!(result.get("problem").is_some(), result["status"] == "rejected", "{result}");
    }
    assert_eq!((&results[1]["trip"]["version"], &results[1]["trip"]["title"]), (&json!(2), &json!("newer")));
    assert_eq!((&results[2]["trip"], &results[3]["trip"]["version"]), (&results[1]["trip"], &json!(3)));
    assert_eq!((&results[4]["trip"], &results[7]["trip"]), (&results[3]["trip"], &results[3]["trip"]));
    assert!([9, 10, 11, 17].iter().all(|at| results[*at].get("trip").is_none()), "the trip does not exist");
    let pointers: Vec<&Value> = [5, 6, 8, 12, 13, 14, 15, 16]
        .iter()
        .map(|at| &results[*at]["problem"]["errors"][0]["pointer"])
        .collect();
    assert_eq!(
        pointers,
        [
            "/base_version",
            "/trip/title",
            "/base_version",
            "/id",
            "/trip/title",
            "/trip/end_date",
            "/trip/version",
            "/op"
        ]
    );
}

#[tokio::test]
async fn an_operation_that_is_repeated_within_seven_days_is_applied_only_once() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (id, op_id) = (new_id(), new_id());
    let create = json!([{ "op_id": op_id, "op": "create", "id": id, "trip": { "title": "one" } }]);
    let first = send(&ada, &create).await;
    let again = send(&ada, &create).await;
    assert_eq!((statuses(&first), statuses(&again)), (vec!["applied"], vec!["duplicate"]));
    assert_eq!(first[0]["trip"], again[0]["trip"]);
    let twice = json!([
        { "op_id": new_id(), "op": "update", "id": id, "base_version": 1, "trip": { "title": "two" } },
        create[0],
    ]);
    let mut twice = twice.as_array().unwrap().clone();
    twice.push(twice[0].clone());
    assert_eq!(statuses(&send(&ada, &json!(twice)).await), ["applied", "duplicate", "duplicate"]);
    // The same `op_id` with other content is rejected. Another user may use the same `op_id`.
    let other = json!([{ "op_id": op_id, "op": "create", "id": new_id(), "trip": { "title": "one" } }]);
    let reused = send(&ada, &other).await;
    assert_eq!(reused[0]["problem"]["code"], "idempotency_key_reused");
    let eve = app.sign_up("eve").await;
    assert_eq!(statuses(&send(&eve, &create).await), ["applied"]);
    // A repeated create does not restore a deleted trip.
    ada.delete(&format!("{TRIPS}/{id}")).await.expect(204);
    let repeated = send(&ada, &create).await;
    assert_eq!((statuses(&repeated), repeated[0].get("trip")), (vec!["duplicate"], None));
    app.clock.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    housekeeping::sweep_sync(app.services().clone()).await;
    let ada = app.log_in("ada").await;
    assert_eq!(statuses(&send(&ada, &create).await), ["duplicate"]);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(statuses(&send(&ada, &create).await), ["applied"], "the id expires even before the sweep");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_sent_twenty_times_concurrently_are_applied_once() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.log_in("ada").await;
    let id = create_trip(&ada, "x").await;
    let operations: Vec<Value> = (0..10)
        .map(|number| {
            if number < 5 {
                json!({ "op_id": new_id(), "op": "create", "id": new_id(), "trip": { "title": "n" } })
            } else {
                json!({ "op_id": new_id(), "op": "update", "id": id, "base_version": number - 4, "trip": { "title": number.to_string() } })
            }
        })
        .collect();
    let operations = json!(operations);
    let sent = (0..20).map(|number| send(if number % 2 == 0 { &ada } else { &on_replica }, &operations));
    let results = join_all(sent).await;
    for at in 0..10 {
        let statuses: Vec<&str> =
            results.iter().map(|results| results[at]["status"].as_str().unwrap()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == "applied").count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == "duplicate").count(), 19, "{statuses:?}");
    }
    assert_eq!(ada.get(&format!("{TRIPS}/{id}")).await.expect(200).json()["version"], 6);
    assert_eq!(rows::trips(&app).await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_concurrent_changes_to_one_trip_version_applies_and_the_others_conflict() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let id = create_trip(&ada, "x").await;
    for base in 1..=5 {
        let sent = (0..20).map(|number| {
            let ada = ada.clone();
            let update = json!([{ "op_id": new_id(), "op": "update", "id": id, "base_version": base, "trip": { "title": number.to_string() } }]);
            async move { send(&ada, &update).await.remove(0) }
        });
        let results = join_all(sent).await;
        let (applied, others): (Vec<&Value>, Vec<&Value>) =
            results.iter().partition(|r| r["status"] == "applied");
        assert_eq!(applied.len(), 1);
        assert!(
            others.iter().all(|r| r["status"] == "conflict" && r["trip"] == applied[0]["trip"]),
            "{others:?}"
        );
    }
}
