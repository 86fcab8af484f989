//! Operations on top of each other, and operations that are too much for one answer.

use serde_json::{Value, json};

use super::{SYNC, TRIPS, feed, make, new_id, next, send, statuses};
use crate::harness::{Client, TestApp};

pub(super) fn op(op: &str, id: &str, base: Option<i64>, trip: &Value) -> Value {
    let mut whole = json!({ "op_id": new_id(), "op": op, "id": id });
    let members =
        [("base_version", base.map(Value::from)), ("trip", (!trip.is_null()).then(|| trip.clone()))];
    for (name, value) in members.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        whole[name] = value;
    }
    whole
}

async fn shown(client: &Client, id: &str) -> Value {
    client.get(&format!("{TRIPS}/{id}")).await.expect(200).json()
}

#[tokio::test]
async fn operations_that_depend_on_a_failed_operation_are_not_applied() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    // Each is what one phone did to version 1, while another one made version 2 of it.
    let late = json!({ "title": "late" });
    for (what, first, told) in [
        ("stale", json!({ "notes": "first" }), "conflict"),
        (
            "breaks a rule",
            json!({ "stops": [{ "name": "s", "latitude": 1, "longitude": 2, "arrives_at": "2027-05-01T10:00", "departs_at": "2027-05-01T09:00" }] }),
            "rejected",
        ),
        ("no such member", json!({ "owner": "eve" }), "rejected"),
    ] {
        for (second, trip) in [("update", &late), ("delete", &Value::Null)] {
            let (id, other) = (make(&ada, what).await, make(&ada, "other").await);
            ada.patch(&format!("{TRIPS}/{id}")).json(&json!({ "title": "theirs" })).await.expect(200);
            let operations = json!([
                op("update", &id, Some(1), &first),
                op("update", &other, Some(1), &late),
                op(second, &id, Some(2), trip),
                op("update", &id, Some(3), &late),
            ]);
            let results = send(&ada, &operations).await;
            assert_eq!(statuses(&results), [told, "applied", "conflict", "conflict"], "{what}, {second}");
            assert_eq!(shown(&ada, &id).await["title"], "theirs");
            assert_eq!(results[2]["trip"], shown(&ada, &id).await, "the server's copy");
        }
    }
}

#[tokio::test]
async fn operations_can_build_on_earlier_ones_despite_failures_between_them() {
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
    let wanted = ["applied", "applied", "conflict", "applied", "rejected", "applied"];
    assert_eq!(statuses(&send(&ada, &operations).await), wanted);
    // The same again: what was done is not done again, and what was not fails as before.
    let again = ["duplicate", "duplicate", "conflict", "duplicate", "rejected", "duplicate"];
    assert_eq!(statuses(&send(&ada, &operations).await), again);
    assert_eq!(shown(&ada, &id).await["title"], "four");
}

#[tokio::test]
async fn the_maximum_base_version_is_accepted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let operations = json!([op("delete", &new_id(), Some(i64::MAX), &Value::Null)]);
    assert_eq!(statuses(&send(&ada, &operations).await), ["applied"]);
    assert_eq!(statuses(&send(&ada, &operations).await), ["duplicate"]);
}

/// A trip of some 190 KB.
fn large(title: &str) -> Value {
    let stops: Vec<Value> = (0..90)
        .map(|_| json!({ "name": "s", "latitude": 1, "longitude": 2, "notes": "n".repeat(2_000) }))
        .collect();
    json!({ "title": title, "stops": stops })
}

#[tokio::test]
async fn large_feed_pages_end_early_and_paging_returns_every_trip() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = Vec::new();
    for number in 0..60 {
        let made = ada.post(TRIPS).json(&large(&number.to_string())).await.expect(201).json();
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let gone = ids.remove(30);
    ada.delete(&format!("{TRIPS}/{gone}")).await.expect(204);
    let (mut told, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let path =
            format!("{TRIPS}?limit=100{}", cursor.map_or(String::new(), |one| format!("&cursor={one}")));
        let page = ada.get(&path).await.expect(200);
        assert!(page.body.len() < 12 << 20, "{}", page.body.len());
        let page = page.json();
        told.extend(
            page["items"].as_array().unwrap().iter().map(|trip| trip["id"].as_str().unwrap().to_owned()),
        );
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        assert!(told.len() < 59);
    }
    told.reverse();
    assert_eq!(told, ids);
    let (mut told, mut piece) = (Vec::new(), feed(&ada, None, 500).await);
    loop {
        let changes = piece["changes"].as_array().unwrap();
        told.extend(changes.iter().map(|change| change["id"].as_str().unwrap().to_owned()));
        if piece["has_more"] == false {
            break;
        }
        assert!(changes.len() < 59);
        let cursor = next(&piece).to_owned();
        piece = feed(&ada, Some(&cursor), 500).await;
    }
    ids.push(gone);
    assert_eq!(told, ids);
}

#[tokio::test]
async fn an_oversized_result_list_ends_early_and_the_rest_can_be_resent() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let made = ada.post(TRIPS).json(&large("large")).await.expect(201).json();
    let id = made["id"].as_str().unwrap();
    let mut left: Vec<Value> =
        (1..=120).map(|base| op("update", id, Some(base), &json!({ "notes": base.to_string() }))).collect();
    let mut requests = 0;
    while !left.is_empty() {
        let reply = ada.post(SYNC).json(&json!({ "operations": left })).await.expect(200);
        assert!(reply.body.len() < 9 << 20, "{}", reply.body.len());
        let reply = reply.json();
        let results = reply["results"].as_array().unwrap();
        assert!(!results.is_empty() && statuses(results).iter().all(|status| *status == "applied"));
        for (result, operation) in results.iter().zip(left.drain(..results.len())) {
            assert_eq!(result["op_id"], operation["op_id"]);
        }
        requests += 1;
    }
    assert!(requests > 2, "{requests}");
    assert_eq!(
        (&shown(&ada, id).await["version"], &shown(&ada, id).await["notes"]),
        (&json!(121), &json!("120"))
    );
}
