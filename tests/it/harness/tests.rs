//! Tests of the harness itself, because all other tests rely on its checks.

use chrono::TimeDelta;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::conformance::check;
use super::{PASSWORD, PUBLIC_URL, Reply, TestApp, email};

const TRIP: &str = "/api/v1/trips/01890000-0000-7000-8000-000000000000";

fn reply(status: u16, headers: &[(&str, &str)], body: &Value) -> Reply {
    let header = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
        (name.parse().unwrap(), value.parse().unwrap())
    };
    let body = match body {
        Value::Null => Vec::new(),
        body => serde_json::to_vec(body).unwrap(),
    };
    Reply {
        status,
        headers: headers.iter().map(header).collect::<HeaderMap>(),
        body,
        request: "GET /synthetic".to_owned(),
    }
}

const HEADERS: [(&str, &str); 5] = [
    ("content-type", "application/json"),
    ("x-request-id", "r"),
    ("cache-control", "private, no-cache"),
    ("etag", "\"1\""),
    ("date", "Mon, 02 Mar 2026 08:30:00 GMT"),
];

fn trip() -> Value {
    json!({
        "id": "01890000-0000-7000-8000-000000000000",
        "title": "Lisbon",
        "start_date": "2026-05-01",
        "status": "planned",
        "stops": [],
        "version": 1,
        "created_at": "2026-03-02T08:30:00.000Z",
        "updated_at": "2026-03-02T08:30:00.5Z",
    })
}

fn problem(status: u16) -> Value {
    json!({
        "type": "/problems/not-found", "title": "t", "status": status, "detail": "d", "code": "not_found",
        "request_id": "r", "client_action": "none",
    })
}

#[track_caller]
fn fails(method: &Method, path: &str, reply: &Reply, expected: &str) {
    let violation = check(method, path, reply).unwrap_err();
    assert!(violation.contains(expected), "{violation}");
}

fn trip_with(name: &str, value: Value) -> Value {
    let mut trip = trip();
    trip[name] = value;
    trip
}

#[test]
fn a_documented_response_passes_the_conformance_check() {
    let documented = reply(200, &HEADERS, &trip());
    check(&Method::GET, TRIP, &documented).unwrap();
    check(&Method::GET, &format!("{TRIP}?a=b"), &documented).unwrap();
    check(&Method::HEAD, TRIP, &reply(200, &HEADERS, &Value::Null)).unwrap();
    check(&Method::DELETE, TRIP, &reply(204, &HEADERS[1..3], &Value::Null)).unwrap();
}

#[test]
fn an_undocumented_status_fails_the_conformance_check() {
    fails(&Method::GET, TRIP, &reply(202, &HEADERS, &trip()), "get_trip");
    let gone = reply(404, &HEADERS[1..3], &Value::Null);
    fails(&Method::GET, "/api/v1/trips", &gone, "status is not documented");
}

#[test]
fn a_missing_or_undocumented_header_fails_the_conformance_check() {
    let mut more = HEADERS.to_vec();
    more.push(("x-powered-by", "us"));
    fails(&Method::GET, TRIP, &reply(200, &more, &trip()), "x-powered-by");
    let mut allow = HEADERS.to_vec();
    allow.push(("allow", "GET"));
    fails(&Method::GET, TRIP, &reply(200, &allow, &trip()), "allow");
    for missing in ["x-request-id", "cache-control", "etag"] {
        let mut less = HEADERS.to_vec();
        less.retain(|(name, _)| *name != missing);
        fails(&Method::GET, TRIP, &reply(200, &less, &trip()), &format!("{missing} is missing"));
    }
}

#[test]
fn a_header_of_the_wrong_type_fails_the_conformance_check() {
    let mut headers = HEADERS.to_vec();
    headers[0].1 = "application/problem+json";
    headers[3] = ("retry-after", "soon");
    let busy = reply(503, &headers, &problem(503));
    fails(&Method::GET, TRIP, &busy, "retry-after");
}

#[test]
fn an_undocumented_or_missing_field_fails_the_conformance_check() {
    let more = trip_with("owner", json!("x"));
    fails(&Method::GET, TRIP, &reply(200, &HEADERS, &more), "owner");
    let page = json!({ "items": [more] });
    fails(&Method::GET, "/api/v1/trips", &reply(200, &HEADERS, &page), "owner");
    let mut less = trip();
    less.as_object_mut().unwrap().remove("title");
    fails(&Method::GET, TRIP, &reply(200, &HEADERS, &less), "title");
}

#[test]
fn a_field_of_the_wrong_type_or_format_fails_the_conformance_check() {
    for (name, value) in [
        ("id", json!("7")),
        ("title", json!(7)),
        ("destination", json!(null)),
        ("start_date", json!("2026-02-30")),
        ("version", json!("1")),
        ("created_at", json!("yesterday")),
    ] {
        let body = trip_with(name, value);
        fails(&Method::GET, TRIP, &reply(200, &HEADERS, &body), name);
    }
}

#[test]
fn an_undocumented_content_type_fails_the_conformance_check() {
    for kind in ["application/json; charset=utf-8", "text/html", "application/problem+json"] {
        let mut headers = HEADERS.to_vec();
        headers[0].1 = kind;
        fails(&Method::GET, TRIP, &reply(200, &headers, &trip()), kind);
    }
    fails(&Method::GET, TRIP, &reply(200, &HEADERS[1..], &trip()), "content type");
}

#[test]
fn an_undocumented_body_fails_the_conformance_check() {
    let body = reply(204, &HEADERS[1..3], &json!("gone"));
    fails(&Method::DELETE, TRIP, &body, "no body is documented");
    fails(&Method::HEAD, TRIP, &reply(200, &HEADERS, &trip()), "HEAD");
}

#[test]
fn a_request_that_matches_no_documented_operation_may_only_get_404_or_405() {
    let headers = [
        ("content-type", "application/problem+json"),
        ("x-request-id", "r"),
        ("cache-control", "no-store"),
        ("allow", "GET"),
    ];
    check(&Method::POST, TRIP, &reply(405, &headers, &problem(405))).unwrap();
    check(&Method::GET, "/nowhere", &reply(404, &headers[..3], &problem(404))).unwrap();
    let success = reply(200, &HEADERS[..3], &json!({}));
    fails(&Method::GET, "/nowhere", &success, "no operation");
    let mut more = problem(404);
    more["trace"] = json!("at main.rs");
    fails(&Method::GET, "/nowhere", &reply(404, &headers[..3], &more), "trace");
    let html = [("content-type", "text/html"), headers[1], headers[2]];
    fails(&Method::GET, "/nowhere", &reply(404, &html, &problem(404)), "text/html");
}

#[tokio::test]
async fn the_test_client_can_build_every_kind_of_request() {
    let app = TestApp::with(|settings| settings.password_min = 10).await;
    assert_eq!(app.settings().password_min, 10);
    assert_eq!(app.services().clock.now(), app.clock.now());
    let ada = app.sign_up("ada").await;
    assert_eq!(ada.get("/api/v1/me").await.json()["id"], ada.id());
    let anonymous = app.anonymous();
    let verify = anonymous.get("/api/v1/auth/verify").basic(&email("ada"), PASSWORD);
    assert_eq!(verify.await.expect(200).json(), ada.grant()["user"]);
    anonymous.get("/docs").undocumented().await.expect(200);
    anonymous.head("/health/live").await.expect(200);
    anonymous.put("/api/v1/me").await.expect(405).problem("method_not_allowed");
    ada.delete("/api/v1/trips/7").await.expect(404).problem("not_found");
    let invalid = ada
        .patch("/api/v1/me")
        .header("content-type", "application/json")
        .header("x-request-id", "mine")
        .body(r#"{"display_name":""}"#)
        .await
        .expect(422)
        .problem("invalid");
    assert_eq!(invalid.header("x-request-id"), "mine");
    assert_eq!(invalid.field_errors(), [("/display_name".to_owned(), "too_short".to_owned())]);
    ada.with_token("x").get("/api/v1/me").await.problem("invalid_token");
}

#[tokio::test]
async fn a_replica_shares_accounts_and_clock_and_survives_a_stop_of_the_first_server() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let other = app.replica().await;
    assert_ne!(app.address(), other.address());
    app.stop().await;
    other.clock.advance(TimeDelta::minutes(5));
    let other = other.restart().await;
    let ada = other.log_in("ada").await;
    assert!(ada.grant()["server_time"].as_str().unwrap().starts_with("2026-03-02T08:35:00"));
    let narrow = other.log_in_for("ada", "trips:read").await;
    assert_eq!(narrow.grant()["scope"], "trips:read");
    assert_eq!(ada.claims()["iss"], PUBLIC_URL);
}

#[tokio::test]
async fn raw_exchanges_send_and_receive_bytes_unchanged() {
    let app = TestApp::start().await;
    let reply = app.raw("GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(reply.statuses(), [200]);
    assert!(reply.closed && reply.text().ends_with(r#"{"status":"ok"}"#));
    assert_eq!(app.raw("GET /health/live HTTP/1.0\r\n\r\n").await.statuses(), [200]);
}

#[test]
#[should_panic(expected = "a different code, a different content type")]
fn a_problem_with_an_unexpected_code_or_content_type_fails_the_test() {
    let mut other = reply(404, &HEADERS, &problem(404));
    other.headers.insert("cache-control", "no-store".parse().unwrap());
    other.problem("gone");
}
