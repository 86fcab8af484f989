//! Batches: the operations of one request share transactions, with the same results as single requests.

use serde_json::{Value, json};

use super::dependent_operations::op;
use super::two_devices::Random;
use super::{TRIPS, feed, new_id, send, summarize};
use crate::harness::{Client, TestApp, rounds};

const TRIPS_EACH: usize = 3;
/// The number of operations, which is more than the server applies in one transaction.
const STEPS: usize = 80;

/// Generates operations that each build on the result of the previous ones. They change new trips, and the
/// trips `ids`. The first trip of `ids` is already deleted.
fn generate_operations(random: &mut Random, ids: &[String]) -> Vec<Value> {
    let mut trips: Vec<(&String, i64, bool)> = ids.iter().map(|id| (id, 1, true)).collect();
    trips[0] = (&ids[0], 2, false);
    let new_ids: Vec<String> = (0..TRIPS_EACH).map(|_| new_id()).collect();
    trips.extend(new_ids.iter().map(|id| (id, 0, false)));
    let mut operations = Vec::new();
    for step in 0..STEPS {
        let at = random.below(trips.len());
        let (id, version, exists) = &mut trips[at];
        let title = json!({ "title": format!("step {step}"), "notes": null });
        let stops = json!({ "stops": [{ "id": new_id(), "name": format!("s{step}"), "latitude": 1, "longitude": 2 }] });
        let operation = match (&exists, random.below(3)) {
            (false, _) => op("create", id, None, &title),
            (true, 0) => op("delete", id, Some(*version), &Value::Null),
            (true, 1) => op("update", id, Some(*version), &title),
            (true, _) => op("update", id, Some(*version), &stops),
        };
        *exists = operation["op"] != "delete";
        *version += 1;
        operations.push(operation);
    }
    operations
}

/// Returns the trip without its times.
fn without_times(mut trip: Value) -> Value {
    for when in ["created_at", "updated_at"] {
        drop(trip.as_object_mut().unwrap().remove(when).unwrap());
    }
    trip
}

/// Returns the user's trips without times, and the status of each share link.
async fn state(client: &Client, anonymous: &Client, links: &[String]) -> (Vec<Value>, Vec<u16>) {
    let page = feed(client, None, 500).await;
    let trips = page["changes"].as_array().unwrap().iter();
    let trips = trips.map(|change| change.get("trip").cloned().map_or(Value::Null, without_times)).collect();
    let mut statuses = Vec::new();
    for link in links {
        statuses.push(anonymous.get(&format!("/api/v1/shared/{link}")).await.status);
    }
    (trips, statuses)
}

#[tokio::test]
async fn one_request_with_many_operations_has_the_same_results_as_one_request_for_each_operation() {
    let app = TestApp::start().await;
    for seed in 0..rounds(20) as u64 {
        println!("run {seed}");
        let ada = app.sign_up(&format!("ada{seed}")).await;
        let bea = app.sign_up(&format!("bea{seed}")).await;
        let ids: Vec<String> = (0..TRIPS_EACH).map(|_| new_id()).collect();
        let (mut ada_links, mut bea_links) = (Vec::new(), Vec::new());
        for (client, links) in [(&ada, &mut ada_links), (&bea, &mut bea_links)] {
            for id in &ids {
                client.post(TRIPS).json(&json!({ "id": id, "title": "first" })).await.expect(201);
                let link = client.put(&format!("{TRIPS}/{id}/share")).await.expect(200).json();
                links.push(link["token"].as_str().unwrap().to_owned());
            }
            client.delete(&format!("{TRIPS}/{}", ids[0])).await.expect(204);
        }
        let operations = generate_operations(&mut Random(seed), &ids);
        let mut batched = send(&ada, &json!(operations)).await;
        let mut single = Vec::new();
        for operation in &operations {
            single.extend(send(&bea, &json!([operation])).await);
        }
        for result in batched.iter_mut().chain(&mut single) {
            assert_eq!(result["status"], "applied", "{result}");
            if let Some(trip) = result.as_object_mut().unwrap().remove("trip") {
                result["trip"] = without_times(trip);
            }
        }
        assert_eq!(batched, single);
        let (ada_feed, bea_feed) = (feed(&ada, None, 500).await, feed(&bea, None, 500).await);
        assert_eq!(summarize(&ada_feed), summarize(&bea_feed));
        let anonymous = app.anonymous();
        assert_eq!(state(&ada, &anonymous, &ada_links).await, state(&bea, &anonymous, &bea_links).await);
        // The change counters, with which the entity tags begin, are equal: each operation is counted.
        let etag =
            |client: Client| async move { client.get(TRIPS).await.expect(200).header("etag").to_owned() };
        let count = |etag: String| etag.trim_start_matches('"').split('-').next().unwrap().to_owned();
        assert_eq!(count(etag(ada.clone()).await), count(etag(bea.clone()).await));
    }
}
