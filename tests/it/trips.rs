//! Trips: what they may be, their stops, finding them, and who changes what under which condition.

mod conditions;
mod create;
mod list;
mod paging;
mod plans;
mod rules;
mod stops;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Call, Client, Reply};

const TRIPS: &str = "/api/v1/trips";
/// Of no trip and no stop at all.
const NOWHERE: &str = "01890000-0000-7000-8000-000000000000";

fn path(trip: &Value) -> String {
    format!("{TRIPS}/{}", trip["id"].as_str().unwrap())
}

async fn make(client: &Client, body: &Value) -> Value {
    client.post(TRIPS).json(body).await.expect(201).json()
}

fn fault(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

fn id(trip: &Value) -> String {
    trip["id"].as_str().unwrap().to_owned()
}

/// Of everything that is listed there.
async fn titles(client: &Client, query: &str) -> Vec<String> {
    let listed = client.get(&format!("{TRIPS}?{query}")).await.expect(200).json();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|trip| trip["title"].as_str().unwrap().to_owned()).collect()
}

/// A stop that breaks no rule.
fn stop(name: &str) -> Value {
    json!({ "name": name, "latitude": 38.7165, "longitude": -9.1319 })
}

/// Every call that changes the trip at this place, which has one stop.
fn changes(client: &Client, place: &str, stop_id: &str) -> Vec<(Call, u16)> {
    let one = format!("{place}/stops/{stop_id}");
    vec![
        (client.patch(place).json(&json!({ "title": "x" })), 200),
        (client.put(place).json(&json!({ "title": "x", "stops": [{ "id": stop_id, "name": "x", "latitude": 0, "longitude": 0 }] })), 200),
        (client.put(&format!("{place}/stops/order")).json(&json!({ "stop_ids": [stop_id] })), 200),
        (client.patch(&one).json(&json!({ "name": "x" })), 200),
        (client.call(Method::DELETE, &one), 204),
        (client.post(&format!("{place}/stops")).json(&stop("x")), 201),
        (client.delete(place), 204),
    ]
}

/// The ids of the stops of a trip, in its order.
fn stop_ids(trip: &Value) -> Vec<String> {
    trip["stops"].as_array().unwrap().iter().map(id).collect()
}

async fn etag(client: &Client, place: &str) -> String {
    client.get(place).await.expect(200).header("etag").to_owned()
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}
