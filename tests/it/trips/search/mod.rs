//! Searching trips: the matches, the index that finds them, and the effect of a search on other users.

mod cost;
mod index;
mod model;

use serde_json::{Value, json};
use uuid::Uuid;

use super::TRIPS;
use crate::harness::Client;

/// Encodes a query parameter value.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Creates trips by sync, up to 350 per request, and returns their ids.
async fn create_many(client: &Client, trips: &[Value]) -> Vec<String> {
    let mut ids = Vec::new();
    for part in trips.chunks(350) {
        let operation = |trip: &Value| {
            let id = Uuid::now_v7();
            json!({ "op_id": Uuid::now_v7(), "op": "create", "id": id, "trip": trip })
        };
        let operations: Vec<Value> = part.iter().map(operation).collect();
        ids.extend(operations.iter().map(|operation| operation["id"].as_str().unwrap().to_owned()));
        let reply = client.post("/api/v1/sync").json(&json!({ "operations": operations })).await.expect(200);
        let body = reply.json();
        let results = body["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["status"] == "applied"), "{results:?}");
    }
    ids
}

/// Requests a page. Repeats a request that timed out, because a search can take too long on a busy machine.
async fn searched(client: &Client, page: &str) -> Value {
    for _ in 0..9 {
        let reply = client.get(page).await;
        if reply.status != 503 {
            return reply.expect(200).json();
        }
        reply.problem("search_timeout");
    }
    client.get(page).await.expect(200).json()
}

/// Returns the ids of the trips on all pages, in order.
async fn found(client: &Client, q: &str, sort: &str, limit: usize) -> Vec<String> {
    let list = format!("{TRIPS}?q={}&sort={sort}&limit={limit}", encoded(q));
    let (mut ids, mut at) = (Vec::new(), list.clone());
    loop {
        let page = searched(client, &at).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        ids.extend(items.iter().map(super::id));
        let Some(cursor) = page["next_cursor"].as_str() else { return ids };
        assert_eq!(items.len(), limit, "{q}: only the last page is shorter");
        at = format!("{list}&cursor={}", encoded(cursor));
    }
}
