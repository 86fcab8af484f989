//! Errors about unknown fields and invalid values state what is allowed, so a client can correct its request.
//! A malformed or oversized request head gets a problem document. (`statuses` tests unsupported media types
//! and `Accept`.)

use serde_json::{Value, json};

use crate::harness::conformance::{operations, resolved};
use crate::harness::process::over_h2;
use crate::harness::{Client, Reply, TestApp};

const SOME_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns the detail of the field error at this pointer.
#[track_caller]
fn detail(reply: Reply, pointer: &str) -> String {
    let body = reply.expect(422).problem("invalid").json();
    let errors = body["errors"].as_array().unwrap();
    let error = errors.iter().find(|error| error["pointer"] == pointer);
    let error = error.unwrap_or_else(|| panic!("no error for {pointer:?}: {body}"));
    error["detail"].as_str().unwrap().to_owned()
}

async fn send(client: &Client, method: &str, template: &str, body: &Value) -> Reply {
    let path = template.split('/').map(|part| if part.starts_with('{') { SOME_ID } else { part });
    let path = path.collect::<Vec<_>>().join("/");
    client.call(method.to_uppercase().parse().unwrap(), &path).header("if-match", "*").json(body).await
}

#[tokio::test]
async fn the_error_for_an_unknown_field_lists_the_known_fields() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut tried = 0;
    for (path, method, operation) in operations() {
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            continue;
        };
        // N-7
        let detail = detail(send(&ada, method, path, &json!({ "elephant": 1 })).await, "/elephant");
        for (known, _) in resolved(schema)["properties"].as_object().unwrap() {
            assert!(detail.contains(known.as_str()), "{method} {path}: {known} is not in {detail:?}");
        }
        assert!(!detail.contains("elephant"), "{detail}");
        tried += 1;
    }
    assert!(tried > 10, "{tried}");
    // An unknown field of a nested object also gets an error with the allowed fields.
    let stop = json!({ "name": "Belém", "latitude": 1, "longitude": 2, "elephant": 1 });
    let reply = ada.post("/api/v1/trips").json(&json!({ "title": "x", "stops": [stop] })).await;
    let detail = detail(reply, "/stops/0/elephant");
    assert!(detail.contains("arrives_at") && !detail.contains("destination"), "{detail}");
}

#[tokio::test]
async fn an_invalid_value_is_rejected_with_the_allowed_values() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let statuses = "Status must be one of: planned, active, completed, archived.";
    let trip = json!({ "title": "x", "status": "dreamt" });
    assert_eq!(detail(ada.post("/api/v1/trips").json(&trip).await, "/status"), statuses);
    for (query, pointer, expected) in [
        ("status=dreamt", "/status", statuses),
        (
            "sort=size",
            "/sort",
            "Sort must be one of: -created_at, start_date, -start_date, -updated_at, title.",
        ),
        ("limit=many", "/limit", "Limit must be a whole number from 1 to 100."),
        ("limit=101", "/limit", "Limit must be a whole number from 1 to 100."),
        (
            "starts_from=soon",
            "/starts_from",
            "Earliest start date must be a date in the form YYYY-MM-DD, such as 2027-04-02.",
        ),
        ("q=", "/q", "Search text must have 1 to 200 characters."),
    ] {
        let detail = detail(ada.get(&format!("/api/v1/trips?{query}")).await, pointer);
        assert_eq!(detail, expected, "{query}");
        ada.head(&format!("/api/v1/trips?{query}")).await.expect(422);
    }
    let operation = json!({ "op_id": SOME_ID, "op": "merge", "id": SOME_ID });
    let reply = ada.post("/api/v1/sync").json(&json!({ "operations": [operation] })).await.expect(200).json();
    let error = &reply["results"][0]["problem"]["errors"][0];
    assert_eq!(error["pointer"], "/op");
    assert_eq!(error["detail"], "Operation must be one of: create, update, delete.");
}

#[tokio::test]
async fn an_unknown_scope_is_rejected_with_the_known_scopes() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let body = json!({ "identifier": "ada", "password": crate::harness::PASSWORD, "scope": "admin" });
    let detail = detail(app.anonymous().post("/api/v1/auth/login").json(&body).await, "/scope");
    assert_eq!(
        detail,
        "Scope must be one or more of account, trips:read and trips:write, separated by single spaces."
    );
}

#[tokio::test]
async fn a_malformed_or_oversized_request_head_gets_a_problem_document() {
    //
    let app = TestApp::start().await;
    let too_large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200_000));
    for (request, status, code) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n", 400, "bad_request"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        ("GET / HTTP/7.0\r\nHost: a\r\n\r\n", 400, "bad_request"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "bad_request"),
        (&too_large, 431, "headers_too_large"),
        (&long_path, 431, "headers_too_large"),
    ] {
        // If the connection has an earlier request, the response to that request also arrives.
        let first = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
        for (request, before) in [(request.to_owned(), 0), (format!("{first}{request}"), 1)] {
            let reply = app.raw(&request).await;
            assert!(reply.closed, "{}", reply.text());
            assert_eq!(reply.statuses().get(before), Some(&status), "{}", reply.text());
            let text = reply.text();
            let (head, body) = text.rsplit_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            for header in ["content-type: application/problem+json", "x-request-id: ", "connection: close"] {
                assert!(head.contains(header), "{header}: {head}");
            }
            let problem: Value = serde_json::from_str(body).unwrap();
            assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)));
            assert!(head.contains(problem["request_id"].as_str().unwrap()), "{text}");
        }
    }
}

#[tokio::test]
async fn oversized_headers_of_an_http_2_request_get_a_problem_document() {
    // The encoded headers fit into one frame of HTTP/2. They exceed the limit, which counts 32
    // additional bytes for each field (RFC 9113 §6.5.2).
    let app = TestApp::start().await;
    let address = app.address();
    for (size, code) in [(15_000, None), (16_300, Some("headers_too_large"))] {
        let response =
            tokio::task::spawn_blocking(move || over_h2(address, "", &"x".repeat(size))).await.unwrap();
        let body = response.iter().rposition(|byte| *byte == b'{').unwrap();
        let body: Value = serde_json::from_slice(&response[body..]).unwrap();
        assert_eq!(body["code"].as_str(), code, "{body}");
    }
}
