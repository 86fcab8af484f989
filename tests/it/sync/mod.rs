//! Sync: the change feed, and operations from devices that were offline.

mod batches;
mod dependent_operations;
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

#[tokio::test]
async fn the_feed_reports_each_change_once_and_includes_deletions() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let empty = feed(&ada, None, 10).await;
    assert_eq!((&empty["changes"], &empty["has_more"]), (&json!([]), &json!(false)));
    let (one, two) = (create_trip(&ada, "one").await, create_trip(&ada, "two").await);
    let expected = vec![("upsert".to_owned(), one.clone(), 1), ("upsert".to_owned(), two.clone(), 1)];
    let first = feed(&ada, Some(next(&empty)), 10).await;
    assert_eq!(summarize(&first), expected);
    assert_eq!(first["changes"][0]["trip"], ada.get(&format!("{TRIPS}/{one}")).await.expect(200).json());
    assert_eq!(summarize(&feed(&ada, Some(next(&first)), 10).await), []);
    ada.patch(&format!("{TRIPS}/{one}")).json(&json!({ "title": "x" })).await.expect(200);
    ada.patch(&format!("{TRIPS}/{one}")).json(&json!({ "title": "y" })).await.expect(200);
    ada.delete(&format!("{TRIPS}/{two}")).await.expect(204);
    let second = feed(&ada, Some(next(&first)), 10).await;
    let deleted = ("delete".to_owned(), two.clone(), 2);
    assert_eq!(summarize(&second), [("upsert".to_owned(), one.clone(), 3), deleted]);
    assert!(second["changes"][1].get("trip").is_none());
    // A first sync also reports the deletion, because the app may know the trip from another endpoint.
    let deleted = ("delete".to_owned(), two.clone(), 2);
    assert_eq!(summarize(&feed(&ada, None, 10).await), [("upsert".to_owned(), one.clone(), 3), deleted]);
    // The same cursor returns the same changes, because a response may be lost.
    assert_eq!(feed(&ada, Some(next(&first)), 10).await["changes"], second["changes"]);
    // Other users see none of these changes.
    assert_eq!(summarize(&feed(&app.sign_up("eve").await, None, 10).await), []);
}

#[tokio::test]
async fn a_paged_first_sync_includes_concurrent_changes() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(create_trip(&ada, &number.to_string()).await);
    }
    let deleted_before = create_trip(&ada, "gone").await;
    ada.delete(&format!("{TRIPS}/{deleted_before}")).await.expect(204);
    let page = feed(&ada, None, 3).await;
    assert_eq!((summarize(&page).len(), &page["has_more"]), (3, &json!(true)));
    // Deletes one trip that was already returned and one that was not, and creates a new one.
    ada.delete(&format!("{TRIPS}/{}", ids[0])).await.expect(204);
    ada.delete(&format!("{TRIPS}/{}", ids[5])).await.expect(204);
    let new = create_trip(&ada, "new").await;
    let (mut all, mut page) = (summarize(&page), page);
    while page["has_more"] == true {
        page = feed(&ada, Some(next(&page)), 3).await;
        all.extend(summarize(&page));
    }
    let expected: Vec<_> = [
        ("upsert", &ids[0], 1),
        ("upsert", &ids[1], 1),
        ("upsert", &ids[2], 1),
        ("upsert", &ids[3], 1),
        ("upsert", &ids[4], 1),
        ("upsert", &ids[6], 1),
        ("delete", &deleted_before, 2),
        ("delete", &ids[0], 2),
        ("delete", &ids[5], 2),
        ("upsert", &new, 1),
    ]
    .map(|(op, id, version)| (op.to_owned(), id.clone(), version))
    .into();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_drained_feed_contains_every_trip_while_trips_change() {
    // F-11
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = HashSet::new();
    for number in 0..4 {
        ids.insert(create_trip(&ada, &number.to_string()).await);
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let writers = ids.iter().cloned().map(|id| {
        let (ada, is_done) = (ada.clone(), Arc::clone(&is_done));
        tokio::spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                ada.patch(&format!("{TRIPS}/{id}")).json(&json!({ "notes": "x" })).await.expect(200);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..rounds(200) {
        let (mut seen, mut page) = (HashSet::new(), feed(&ada, None, 10).await);
        seen.extend(summarize(&page).into_iter().map(|(_, id, _)| id));
        while page["has_more"] == true {
            page = feed(&ada, Some(next(&page)), 10).await;
            seen.extend(summarize(&page).into_iter().map(|(_, id, _)| id));
        }
        assert_eq!(seen, ids, "a trip is missing");
    }
    is_done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_feed_cursor_is_valid_for_180_days_and_one_user() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, "one").await;
    create_trip(&ada, "two").await;
    let half = feed(&ada, None, 1).await;
    let cursor = next(&half).to_owned();
    let eve = app.sign_up("eve").await;
    let list = ada.get(&format!("{TRIPS}?limit=1")).await.expect(200).json();
    let list_cursor = list["next_cursor"].as_str().unwrap();
    for (client, invalid) in
        [(&eve, cursor.as_str()), (&ada, list_cursor), (&ada, "x"), (&ada, ""), (&ada, &cursor[1..])]
    {
        let reply = client.get(&format!("{SYNC}?cursor={invalid}")).await;
        reply.expect(400).problem("invalid_cursor");
    }
    ada.get(&format!("{TRIPS}?cursor={cursor}")).await.expect(400).problem("invalid_cursor");
    ada.delete(&format!("{TRIPS}/{trip}")).await.expect(204);
    app.clock.advance(TimeDelta::days(180) - TimeDelta::milliseconds(1));
    housekeeping::sweep_sync(app.services().clone()).await;
    let ada = app.log_in("ada").await;
    let rest = feed(&ada, Some(&cursor), 10).await;
    assert_eq!(summarize(&rest).last().map(|change| change.0.as_str()), Some("delete"));
    let fresh = next(&rest).to_owned();
    app.clock.advance(TimeDelta::milliseconds(1));
    ada.get(&format!("{SYNC}?cursor={cursor}")).await.expect(410).problem("resync_required");
    feed(&ada, Some(&fresh), 10).await;
    assert_eq!(rows::tombstones(&app).await, 1);
    app.clock.advance(TimeDelta::days(2));
    housekeeping::sweep_sync(app.services().clone()).await;
    assert_eq!(rows::tombstones(&app).await, 0);
    // The cursor is newer than the counter of a restored backup.
    rows::set_counter(&app, 1).await;
    let ada = app.log_in("ada").await;
    ada.get(&format!("{SYNC}?cursor={fresh}")).await.expect(410).problem("resync_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_feed_neither_misses_nor_repeats_changes_during_concurrent_writes() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.log_in("ada").await;
    let writing = Arc::new(AtomicBool::new(true));
    let reader = tokio::spawn({
        let (ada, writing) = (on_replica.clone(), Arc::clone(&writing));
        async move {
            let (mut replayed, mut seen) = (BTreeMap::new(), HashSet::new());
            let mut cursor: Option<String> = None;
            loop {
                let last = !writing.load(Ordering::SeqCst);
                let page = feed(&ada, cursor.as_deref(), 7).await;
                for (op, id, version) in summarize(&page) {
                    assert!(seen.insert((id.clone(), version)), "reported twice: {op} {id} {version}");
                    if op == "upsert" {
                        replayed.insert(id, version)
                    } else {
                        replayed.remove(&id)
                    };
                }
                cursor = Some(next(&page).to_owned());
                if last && page["has_more"] == false {
                    return replayed;
                }
            }
        }
    });
    let writers = (0..8).map(|number| {
        let client = if number % 2 == 0 { ada.clone() } else { on_replica.clone() };
        tokio::spawn(async move {
            for round in 0..12 {
                let id = create_trip(&client, "a trip").await;
                let path = format!("{TRIPS}/{id}");
                client.patch(&path).json(&json!({ "title": "changed" })).await.expect(200);
                if round % 3 == number % 3 {
                    client.delete(&path).await.expect(204);
                }
                let op =
                    json!([{ "op_id": id, "op": "create", "id": new_id(), "trip": { "title": "sent" } }]);
                assert_eq!(statuses(&send(&client, &op).await), ["applied"]);
            }
        })
    });
    for done in join_all(writers).await {
        done.unwrap();
    }
    writing.store(false, Ordering::SeqCst);
    let replayed = reader.await.unwrap();
    let all = feed(&ada, None, 500).await;
    let current: BTreeMap<String, i64> = summarize(&all)
        .into_iter()
        .filter(|change| change.0 == "upsert")
        .map(|change| (change.1, change.2))
        .collect();
    assert_eq!((current.len(), summarize(&all).len()), (8 * 12 + 8 * 8, 2 * 8 * 12));
    assert_eq!(replayed, current);
}

fn new_id() -> String {
    tripgate::clock::Clock::system().new_id().to_string()
}

#[tokio::test]
async fn operations_are_applied_individually_in_order() {
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

/// Asserts the contents of the results besides their statuses.
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
async fn an_operation_is_applied_once_within_seven_days() {
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
    // The same id with other content is rejected. Another user may use the same id.
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
async fn one_of_twenty_changes_to_one_version_applies_and_the_others_conflict() {
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
