//! Statuses that many operations share: each operation returns each of these statuses that the OpenAPI
//! document lists for the operation.
//!
//! A status that only one operation has is tested with the feature of that operation.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use serde_json::Value;
use tripgate::web::batch::BATCH_MAX;

use crate::contract::authz::{Needs, ROWS, Row, call, create_target};
use crate::harness::conformance::operations;
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp};

const SOME_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns the rows of the operations for which the document lists this status.
fn with_status(status: u16) -> impl Iterator<Item = &'static Row> {
    let status = status.to_string();
    let rows: Vec<&Row> =
        ROWS.iter().filter(|row| operation(row)["responses"].get(&status).is_some()).collect();
    assert!(!rows.is_empty(), "no operation lists {status}");
    rows.into_iter()
}

fn operation(row: &Row) -> &'static Value {
    operations()
        .map(|(_, _, operation)| operation)
        .find(|operation| operation["operationId"] == row.0)
        .unwrap()
}

/// Returns the `Authorization` header that the row needs.
async fn credential(app: &TestApp, row: &Row, ada: &Client) -> Option<String> {
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    match row.4 {
        Needs::Nothing | Needs::Optional => None,
        Needs::Basic => Some(basic("ada", PASSWORD)),
        Needs::Service => {
            let gate = app.services().clients.add(&format!("gate-{}", row.0)).await.unwrap();
            Some(basic(&gate.id, &gate.secret))
        }
        Needs::Token | Needs::Scope(_) => Some(format!("Bearer {}", ada.token())),
    }
}

/// Creates a valid request for the row, but without `Accept`, `Content-Type` and body.
async fn request_without_body(app: &TestApp, row: &Row, ada: &Client, id: &str) -> Call {
    request_with_query(app, row, ada, id, "").await
}

/// Creates the request of [`request_without_body`] with a query, which begins with `?`.
async fn request_with_query(app: &TestApp, row: &Row, ada: &Client, id: &str, query: &str) -> Call {
    let path = row.2.replace("{id}", id).replace("{stop_id}", id).replace("{token}", id);
    let call = app.anonymous().call(row.1.clone(), &format!("{path}{query}"));
    match credential(app, row, ada).await {
        Some(credential) => call.header("authorization", credential),
        None => call,
    }
}

async fn call_each(
    status: u16,
    send: impl AsyncFn(&TestApp, &Row, Call) -> Reply,
) -> Vec<(&'static Row, Reply)> {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut replies = Vec::new();
    for row in with_status(status) {
        let (id, _) = create_target(&ada, row.2).await;
        let call = request_without_body(&app, row, &ada, &id).await;
        replies.push((row, send(&app, row, call).await.expect(status)));
    }
    replies
}

fn media_type(row: &Row) -> &'static str {
    let content = &operation(row)["requestBody"]["content"];
    content.as_object().and_then(|content| content.keys().next()).map_or("", String::as_str)
}

#[tokio::test]
async fn every_operation_rejects_malformed_requests_with_400() {
    let app = TestApp::start().await;
    for row in with_status(400) {
        let (method, path) = (&row.1, row.2);
        let request = format!(
            "{method} http://ada@tripgate.test{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        app.raw_reply(method, path, request.as_bytes()).await.expect(400).problem("bad_request");
    }
}

#[tokio::test]
async fn an_unacceptable_accept_header_gets_406_with_the_available_types() {
    let send = async |_: &TestApp, row: &Row, call: Call| {
        let has_page =
            operation(row)["responses"]["200"]["content"].get("text/html; charset=utf-8").is_some();
        call.header("accept", if has_page { "application/xml" } else { "text/html" }).await
    };
    for (row, reply) in call_each(406, send).await {
        let problem = reply.problem("not_acceptable").json();
        assert!(problem["detail"].as_str().unwrap().contains("Accept: application/json"), "{}", row.0);
    }
}

/// Returns the path and the head of a valid request for the row. The `Content-Length` of the request is
/// `length`.
async fn head(app: &TestApp, row: &Row, ada: &Client, length: usize) -> (String, String) {
    let (id, _) = create_target(ada, row.2).await;
    let path = row.2.replace("{id}", &id).replace("{stop_id}", &id);
    let mut head = format!("{} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n", row.1);
    write!(head, "Content-Type: {}\r\nConnection: close\r\n", media_type(row)).unwrap();
    if row.1 == "PUT" {
        head.push_str("If-Match: *\r\n");
    }
    if let Some(credential) = credential(app, row, ada).await {
        write!(head, "Authorization: {credential}\r\n").unwrap();
    }
    (path, format!("{head}\r\n"))
}

#[tokio::test]
async fn a_request_whose_body_does_not_arrive_gets_408() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut pending = Vec::new();
    for row in with_status(408) {
        pending.push((row, head(&app, row, &ada, 99).await));
    }
    let pending =
        pending.iter().map(async |(row, (path, head))| app.raw_reply(&row.1, path, head.as_bytes()).await);
    for reply in join_all(pending).await {
        reply.expect(408).problem("request_timeout");
    }
}

#[tokio::test]
async fn an_oversized_body_gets_413_with_the_limit() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in with_status(413) {
        let (path, head) = head(&app, row, &ada, BATCH_MAX + 1).await;
        let reply = app.raw_reply(&row.1, &path, head.as_bytes()).await.expect(413);
        let problem = reply.problem("content_too_large").json();
        assert!(problem["detail"].as_str().unwrap().contains(" KiB)"), "{}", row.0);
    }
}

#[tokio::test]
async fn an_unsupported_media_type_gets_415_with_the_supported_types() {
    for other in ["text/plain", "application/xml", "application/merge-patch+json", "multipart/form-data"] {
        let replies = call_each(415, async |_, _, call| call.header("content-type", other).body("{}").await);
        for (row, reply) in replies.await {
            let problem = reply.problem("unsupported_media_type").json();
            let expected = format!("Content-Type: {}", media_type(row));
            assert!(
                problem["detail"].as_str().unwrap().contains(&expected),
                "{}: {}",
                row.0,
                problem["detail"]
            );
        }
    }
}

#[tokio::test]
async fn every_operation_with_input_rejects_invalid_input_with_422() {
    let replies = call_each(422, async |app, row, call| match media_type(row) {
        "" => {
            let ada = app.log_in("ada").await;
            request_with_query(app, row, &ada, SOME_ID, "?limit=0").await.await
        }
        "application/json" => call.header("content-type", media_type(row)).body(r#"{"elephant":1}"#).await,
        form => call.header("content-type", form).body("elephant=1").await,
    });
    for (_, reply) in replies.await {
        reply.problem("invalid");
    }
}

#[tokio::test]
async fn every_operation_reports_the_names_of_unknown_query_parameters() {
    // N-20
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS {
        let call = request_with_query(&app, row, &ada, SOME_ID, "?stauts=planned&%6Dore").await;
        let reply = call.await.expect(422).problem("invalid");
        let expected = ["/stauts", "/more"].map(|name| (name.to_owned(), "unknown_parameter".to_owned()));
        assert_eq!(reply.field_errors(), expected, "{}", row.0);
        assert!(reply.text().contains("no query parameters") || reply.text().contains("limit"), "{}", row.0);
    }
    assert_eq!(ada.get("/api/v1/trips").await.json()["items"], serde_json::json!([]), "nothing was changed");
    let long = "x".repeat(65);
    let reply = ada.get(&format!("/api/v1/trips?{long}")).await.expect(422).problem("invalid");
    assert!(!reply.text().contains(&long), "a long name is not repeated");
    let many = (0..150).map(|number| format!("x{number}")).collect::<Vec<_>>().join("&");
    let many = ada.get(&format!("/api/v1/trips?{many}")).await.expect(422).problem("invalid");
    assert_eq!((many.field_errors().len(), &many.json()["errors_truncated"]), (100, &Value::Bool(true)));
}

#[tokio::test]
async fn an_unknown_query_parameter_without_a_credential_gets_401() {
    // N-20
    let app = TestApp::start().await;
    for row in ROWS.iter().filter(|row| !matches!(row.4, Needs::Nothing | Needs::Optional)) {
        let path = row.2.replace("{id}", SOME_ID).replace("{stop_id}", SOME_ID);
        app.anonymous().call(row.1.clone(), &format!("{path}?stauts=planned")).await.expect(401);
    }
}

/// Asserts that every operation with a documented 503 returns this status while the database is unavailable.
/// The test that calls this function is in `outage`, where a test can interrupt the connections to the
/// database.
pub(crate) async fn assert_database_unavailable(app: &TestApp, ada: &Client, ids: &[String]) {
    for (row, id) in with_status(503).zip(ids) {
        // Send a password to `get_session`, because the server verifies a token without the database.
        let reply = if row.0 == "get_session" {
            app.anonymous().call(row.1.clone(), row.2).basic("ada", PASSWORD).await
        } else {
            let call = call(&app.anonymous(), row, id);
            match row.4 {
                Needs::Basic | Needs::Nothing | Needs::Optional => call.basic("ada", PASSWORD).await,
                Needs::Service => call.basic(&ids[ids.len() - 2], &ids[ids.len() - 1]).await,
                Needs::Token | Needs::Scope(_) => call.bearer(ada.token()).await,
            }
        };
        reply.expect(503).problem("database_unavailable");
    }
}

/// Creates the resources for [`assert_database_unavailable`]. Returns a resource id for each row, then the
/// id and secret of a client.
pub(crate) async fn create_resources(app: &TestApp, ada: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for row in with_status(503) {
        ids.push(create_target(ada, row.2).await.0);
    }
    let gate = app.services().clients.add("gate").await.unwrap();
    ids.extend([gate.id, gate.secret]);
    ids
}
