//! Trips: fields and stops, lists, searches, share links, quotas, and conditional and repeated requests.

mod conditions;
mod create;
mod idempotency;
mod list;
mod page_cache;
mod paging;
mod plans;
mod quotas;
mod rules;
mod scopes;
mod search;
mod shared_page;
mod shares;
mod stops;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Call, Client, Reply};

const TRIPS: &str = "/api/v1/trips";
/// An id that no trip and no stop has.
const UNKNOWN_ID: &str = "01890000-0000-7000-8000-000000000000";

fn path(trip: &Value) -> String {
    format!("{TRIPS}/{}", trip["id"].as_str().unwrap())
}

async fn create_trip(client: &Client, body: &Value) -> Value {
    client.post(TRIPS).json(body).await.expect(201).json()
}

fn field_error(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

fn id(trip: &Value) -> String {
    trip["id"].as_str().unwrap().to_owned()
}

/// Returns the titles of the listed trips.
async fn titles(client: &Client, query: &str) -> Vec<String> {
    let list = client.get(&format!("{TRIPS}?{query}")).await.expect(200).json();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|trip| trip["title"].as_str().unwrap().to_owned()).collect()
}

/// Returns a valid stop.
fn stop(name: &str) -> Value {
    json!({ "name": name, "latitude": 38.7165, "longitude": -9.1319 })
}

/// Returns every kind of request that changes a trip with one stop, each with the expected status.
fn changes(client: &Client, trip_path: &str, stop_id: &str) -> Vec<(Call, u16)> {
    let one = format!("{trip_path}/stops/{stop_id}");
    vec![
        (client.patch(trip_path).json(&json!({ "title": "x" })), 200),
        (client.put(trip_path).json(&json!({ "title": "x", "stops": [{ "id": stop_id, "name": "x", "latitude": 0, "longitude": 0 }] })), 200),
        (client.put(&format!("{trip_path}/stops/order")).json(&json!({ "stop_ids": [stop_id] })), 200),
        (client.patch(&one).json(&json!({ "name": "x" })), 200),
        (client.call(Method::DELETE, &one), 204),
        (client.post(&format!("{trip_path}/stops")).json(&stop("x")), 201),
        (client.delete(trip_path), 204),
    ]
}

/// Returns the ids of the stops of a trip, in order.
fn stop_ids(trip: &Value) -> Vec<String> {
    trip["stops"].as_array().unwrap().iter().map(id).collect()
}

async fn etag(client: &Client, trip_path: &str) -> String {
    client.get(trip_path).await.expect(200).header("etag").to_owned()
}

fn count_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}
