//! Operations that depend on earlier operations, and results that are too large for one response.

use serde_json::{Value, json};

use super::{SYNC, TRIPS, create_trip, feed, new_id, next, send, statuses};
use crate::harness::{Client, TestApp};

pub(super) fn op(op: &str, id: &str, base: Option<i64>, trip: &Value) -> Value {
    let mut operation = json!({ "op_id": new_id(), "op": op, "id": id });
    let fields = [("base_version", base.map(Value::from)), ("trip", (!trip.is_null()).then(|| trip.clone()))];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        operation[name] = value;
    }
    operation
}

async fn get_trip(client: &Client, id: &str) -> Value {
    client.get(&format!("{TRIPS}/{id}")).await.expect(200).json()
}

#[tokio::test]
async fn operations_that_depend_on_a_failed_operation_are_not_applied() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    // The first operation builds on version 1, and the later ones build on its result. However, another device
    // has already created version 2.
    let late = json!({ "title": "late" });
    for (case, first, expected) in [
        ("stale", json!({ "notes": "first" }), "conflict"),
        (
            "breaks a rule",
            json!({ "stops": [{ "name": "s", "latitude": 1, "longitude": 2, "arrives_at": "2027-05-01T10:00", "departs_at": "2027-05-01T09:00" }] }),
            "rejected",
        ),
        ("unknown field", json!({ "owner": "eve" }), "rejected"),
    ] {
        for (second, trip) in [("update", &late), ("delete", &Value::Null)] {
            let (id, other) = (create_trip(&ada, case).await, create_trip(&ada, "other").await);
            ada.patch(&format!("{TRIPS}/{id}")).json(&json!({ "title": "theirs" })).await.expect(200);
            let operations = json!([
                op("update", &id, Some(1), &first),
                op("update", &other, Some(1), &late),
                op(second, &id, Some(2), trip),
                op("update", &id, Some(3), &late),
            ]);
            let results = send(&ada, &operations).await;
            assert_eq!(statuses(&results), [expected, "applied", "conflict", "conflict"], "{case}, {second}");
            assert_eq!(get_trip(&ada, &id).await["title"], "theirs");
            assert_eq!(results[2]["trip"], get_trip(&ada, &id).await, "the server's copy");
        }
    }
}

#[tokio::test]
async fn an_operation_can_build_on_an_earlier_operation_even_if_an_operation_between_them_fails() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let id = new_id();
    let title = |title: &str| json!({ "title": title });
    let operations = json!([
        op("create", &id, None, &title("one")),
        op("update", &id, Some(1), &title("two")),
        op("update", &id, Some(1), &title("stale")),
        op("update", &id, Some(2), &title("three")),
        op("update", &id, Some(3), &title("")),
        op("update", &id, Some(3), &title("four")),
    ]);
    let expected = ["applied", "applied", "conflict", "applied", "rejected", "applied"];
    assert_eq!(statuses(&send(&ada, &operations).await), expected);
    // When the operations are sent again, the applied ones are duplicates, and the others fail as before.
    let resent = ["duplicate", "duplicate", "conflict", "duplicate", "rejected", "duplicate"];
    assert_eq!(statuses(&send(&ada, &operations).await), resent);
    assert_eq!(get_trip(&ada, &id).await["title"], "four");
}

#[tokio::test]
async fn the_maximum_base_version_is_accepted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let operations = json!([op("delete", &new_id(), Some(i64::MAX), &Value::Null)]);
    assert_eq!(statuses(&send(&ada, &operations).await), ["applied"]);
    assert_eq!(statuses(&send(&ada, &operations).await), ["duplicate"]);
}

/// Returns a trip of about 190 KB.
fn large(title: &str) -> Value {
    let stops: Vec<Value> = (0..90)
        .map(|_| json!({ "name": "s", "latitude": 1, "longitude": 2, "notes": "n".repeat(2_000) }))
        .collect();
    json!({ "title": title, "stops": stops })
}

#[tokio::test]
async fn large_pages_of_the_list_and_the_feed_end_early_and_paging_returns_every_trip() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = Vec::new();
    for number in 0..60 {
        let created = ada.post(TRIPS).json(&large(&number.to_string())).await.expect(201).json();
        ids.push(created["id"].as_str().unwrap().to_owned());
    }
    let deleted = ids.remove(30);
    ada.delete(&format!("{TRIPS}/{deleted}")).await.expect(204);
    let (mut received, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let path =
            format!("{TRIPS}?limit=100{}", cursor.map_or(String::new(), |one| format!("&cursor={one}")));
        let page = ada.get(&path).await.expect(200);
        assert!(page.body.len() < 12 << 20, "{}", page.body.len());
        let page = page.json();
        received.extend(
            page["items"].as_array().unwrap().iter().map(|trip| trip["id"].as_str().unwrap().to_owned()),
        );
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        assert!(received.len() < 59);
    }
    received.reverse();
    assert_eq!(received, ids);
    let (mut received, mut page) = (Vec::new(), feed(&ada, None, 500).await);
    loop {
        let changes = page["changes"].as_array().unwrap();
        received.extend(changes.iter().map(|change| change["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        assert!(changes.len() < 59);
        let cursor = next(&page).to_owned();
        page = feed(&ada, Some(&cursor), 500).await;
    }
    ids.push(deleted);
    assert_eq!(received, ids);
}

#[tokio::test]
async fn an_oversized_result_list_ends_early_and_the_remaining_operations_can_be_resent() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post(TRIPS).json(&large("large")).await.expect(201).json();
    let id = created["id"].as_str().unwrap();
    let mut remaining: Vec<Value> =
        (1..=120).map(|base| op("update", id, Some(base), &json!({ "notes": base.to_string() }))).collect();
    let mut requests = 0;
    while !remaining.is_empty() {
        let reply = ada.post(SYNC).json(&json!({ "operations": remaining })).await.expect(200);
        assert!(reply.body.len() < 9 << 20, "{}", reply.body.len());
        let reply = reply.json();
        let results = reply["results"].as_array().unwrap();
        assert!(!results.is_empty() && statuses(results).iter().all(|status| *status == "applied"));
        for (result, operation) in results.iter().zip(remaining.drain(..results.len())) {
            assert_eq!(result["op_id"], operation["op_id"]);
        }
        requests += 1;
    }
    assert!(requests > 2, "{requests}");
    assert_eq!(
        (&get_trip(&ada, id).await["version"], &get_trip(&ada, id).await["notes"]),
        (&json!(121), &json!("120"))
    );
}
