//! Operations of one request are written together: what comes out is the same as one request each.

use serde_json::{Value, json};

use super::dependent_operations::op;
use super::two_devices::Chance;
use super::{TRIPS, feed, new_id, send, told};
use crate::harness::{Client, TestApp, rounds};

const TRIPS_EACH: usize = 3;
/// More than are done in one transaction.
const STEPS: usize = 80;

/// Operations of which each is made on what those before it leave: of these trips, of which the first is
/// deleted already, and of new ones.
fn story(chance: &mut Chance, ids: &[String]) -> Vec<Value> {
    let mut trips: Vec<(&String, i64, bool)> = ids.iter().map(|id| (id, 1, true)).collect();
    trips[0] = (&ids[0], 2, false);
    let fresh: Vec<String> = (0..TRIPS_EACH).map(|_| new_id()).collect();
    trips.extend(fresh.iter().map(|id| (id, 0, false)));
    let mut operations = Vec::new();
    for step in 0..STEPS {
        let at = chance.below(trips.len());
        let (id, version, is_alive) = &mut trips[at];
        let title = json!({ "title": format!("step {step}"), "notes": null });
        let stops = json!({ "stops": [{ "id": new_id(), "name": format!("s{step}"), "latitude": 1, "longitude": 2 }] });
        let operation = match (&is_alive, chance.below(3)) {
            (false, _) => op("create", id, None, &title),
            (true, 0) => op("delete", id, Some(*version), &Value::Null),
            (true, 1) => op("update", id, Some(*version), &title),
            (true, _) => op("update", id, Some(*version), &stops),
        };
        *is_alive = operation["op"] != "delete";
        *version += 1;
        operations.push(operation);
    }
    operations
}

/// What is told of a trip, but when.
fn timeless(mut trip: Value) -> Value {
    for when in ["created_at", "updated_at"] {
        drop(trip.as_object_mut().unwrap().remove(when).unwrap());
    }
    trip
}

/// The user's trips as they are, and whether the links to those that were there first still show them.
async fn state(client: &Client, anonymous: &Client, links: &[String]) -> (Vec<Value>, Vec<u16>) {
    let piece = feed(client, None, 500).await;
    let trips = piece["changes"].as_array().unwrap().iter();
    let trips = trips.map(|change| change.get("trip").cloned().map_or(Value::Null, timeless)).collect();
    let mut shown = Vec::new();
    for link in links {
        shown.push(anonymous.get(&format!("/api/v1/shared/{link}")).await.status);
    }
    (trips, shown)
}

#[tokio::test]
async fn one_batched_request_equals_many_single_requests() {
    let app = TestApp::start().await;
    for seed in 0..rounds(20) as u64 {
        println!("run {seed}");
        let ada = app.sign_up(&format!("ada{seed}")).await;
        let bea = app.sign_up(&format!("bea{seed}")).await;
        let ids: Vec<String> = (0..TRIPS_EACH).map(|_| new_id()).collect();
        let (mut adas, mut beas) = (Vec::new(), Vec::new());
        for (client, links) in [(&ada, &mut adas), (&bea, &mut beas)] {
            for id in &ids {
                client.post(TRIPS).json(&json!({ "id": id, "title": "first" })).await.expect(201);
                let link = client.put(&format!("{TRIPS}/{id}/share")).await.expect(200).json();
                links.push(link["token"].as_str().unwrap().to_owned());
            }
            client.delete(&format!("{TRIPS}/{}", ids[0])).await.expect(204);
        }
        let operations = story(&mut Chance(seed), &ids);
        let mut at_once = send(&ada, &json!(operations)).await;
        let mut one_by_one = Vec::new();
        for operation in &operations {
            one_by_one.extend(send(&bea, &json!([operation])).await);
        }
        for result in at_once.iter_mut().chain(&mut one_by_one) {
            assert_eq!(result["status"], "applied", "{result}");
            if let Some(trip) = result.as_object_mut().unwrap().remove("trip") {
                result["trip"] = timeless(trip);
            }
        }
        assert_eq!(at_once, one_by_one);
        let (theirs, others) = (feed(&ada, None, 500).await, feed(&bea, None, 500).await);
        assert_eq!(told(&theirs), told(&others));
        let anonymous = app.anonymous();
        assert_eq!(state(&ada, &anonymous, &adas).await, state(&bea, &anonymous, &beas).await);
        // Each operation was counted as a change.
        let tag =
            |client: Client| async move { client.get(TRIPS).await.expect(200).header("etag").to_owned() };
        let count = |tag: String| tag.trim_start_matches('"').split('-').next().unwrap().to_owned();
        assert_eq!(count(tag(ada.clone()).await), count(tag(bea.clone()).await));
    }
}
