//! Bodies that are costly to parse, and the budget for large bodies.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, TestApp};

const SYNC: &str = "/api/v1/sync";
const ID: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

async fn post(client: &crate::harness::Client, path: &str, body: String) -> Reply {
    client.post(path).header("content-type", "application/json").body(body).await
}

#[tokio::test]
async fn the_maximum_number_of_json_values_in_a_body_depends_on_the_operation() {
    // A-5, S-76
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let junk = |count: usize| format!("[{}0]", "0,".repeat(count));
    let unknown = format!("{{\"x\":{}}}", junk(1_000));
    for path in ["/api/v1/auth/login", "/api/v1/auth/signup", "/api/v1/auth/refresh"] {
        let reply = post(&app.anonymous(), path, unknown.clone()).await.expect(400).problem("invalid_json");
        assert!(reply.text().contains("too many values"), "{}", reply.text());
    }
    let reply = post(&ada, "/api/v1/trips", unknown).await.expect(422).problem("invalid");
    assert!(reply.field_errors().contains(&("/x".to_owned(), "unknown_member".to_owned())));
    post(&ada, "/api/v1/trips", format!("{{\"x\":{}}}", junk(20_000)))
        .await
        .expect(400)
        .problem("invalid_json");
    let item = format!("{{\"operations\":[{{\"op_id\":\"{ID}\",\"x\":{}}}]}}", junk(20_000));
    post(&ada, SYNC, item).await.expect(400).problem("invalid_json");
    let other = format!("{{\"operations\":[],\"x\":{}}}", junk(1_000));
    post(&ada, SYNC, other).await.expect(400).problem("invalid_json");
}

#[tokio::test]
async fn a_response_lists_at_most_100_field_errors() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let unknown: serde_json::Map<String, Value> =
        (0..150).map(|number| (format!("x{number}"), json!(0))).collect();
    let reply = ada.post("/api/v1/trips").json(&Value::Object(unknown.clone())).await.expect(422);
    let reply = reply.problem("invalid");
    assert_eq!((reply.field_errors().len(), &reply.json()["errors_truncated"]), (100, &json!(true)));
    let operation = |_| {
        let trip = json!({ "title": "x", "stops": [unknown] });
        json!({ "op_id": ID, "op": "create", "id": ID, "trip": trip })
    };
    let operations: Vec<Value> = (0..100).map(operation).collect();
    let reply = ada.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
    let results = reply["results"].as_array().unwrap();
    let counts: Vec<usize> =
        results.iter().map(|result| result["problem"]["errors"].as_array().unwrap().len()).collect();
    assert_eq!((counts[0], counts[99], results.len()), (100, 1, 100));
    assert_eq!(results[99]["problem"]["errors_truncated"], true);
    assert!(counts.iter().sum::<usize>() <= 1_100, "{counts:?}");
}

#[tokio::test]
async fn other_requests_are_served_while_a_large_body_waits_for_memory() {
    //
    let app = TestApp::start().await.single().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    // A batch whose body never arrives occupies the memory budget of its user.
    let head = format!(
        "POST {SYNC} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 4000000\r\nConnection: close\r\n\r\n",
        ada.token()
    );
    let stalled = async {
        app.raw_reply(&Method::POST, SYNC, head.as_bytes()).await.expect(408).problem("request_timeout");
    };
    let body = json!({ "operations": [], "x": "x".repeat(3_000_000) });
    let requests = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let large = ada.post(SYNC).json(&body).into_future();
        let others = async {
            ada.post(SYNC).json(&json!({ "operations": [] })).await.expect(200);
            ada.post("/api/v1/trips").json(&json!({ "title": "x" })).await.expect(201);
            eve.post(SYNC).json(&body).await.expect(422);
        };
        let (large, ()) = tokio::join!(large, others);
        let large = large.expect(503).problem("overloaded");
        assert_eq!(large.header("retry-after"), "1");
    };
    tokio::join!(stalled, requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_sync_requests_of_several_users_all_succeed() {
    //
    let app = TestApp::start().await;
    let mut clients = Vec::new();
    for name in ["ada", "eve", "brian"] {
        clients.push(app.sign_up(name).await);
    }
    let send = async |client: &crate::harness::Client| {
        let operation = |number: u128| {
            let op_id = uuid::Uuid::from_u128(number << 64 | 7);
            let id = uuid::Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_0000_0000_0000 + number);
            json!({ "op_id": op_id, "op": "create", "id": id, "trip": { "title": "t", "notes": "n".repeat(9_000) } })
        };
        let operations: Vec<Value> = (1..100).map(operation).collect();
        let reply = client.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
        reply["results"].as_array().unwrap().iter().all(|result| result["status"] == "applied")
    };
    assert!(join_all(clients.iter().map(send)).await.into_iter().all(|all_applied| all_applied));
}
