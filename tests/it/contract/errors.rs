//! Every error is a problem document that names the error and echoes no input.

use reqwest::Method;
use serde_json::{Value, json};
use tripgate::web::BODY_MAX;

use crate::harness::{Client, TestApp, conformance};

const SOME_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const CHARSETS: [&str; 3] = ["application/json", "application/json; charset=utf-8", "Application/JSON"];

/// Replaces the parameters of a path template with `id`.
fn fill(template: &str, id: &str) -> String {
    let segments = template.split('/').map(|segment| if segment.starts_with('{') { id } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn method(name: &str) -> Method {
    name.to_uppercase().parse().unwrap()
}

/// Returns the method, path and body schema of every operation with a JSON body.
fn json_operations() -> Vec<(Method, String, &'static Value)> {
    let all: Vec<_> = conformance::operations()
        .filter_map(|(path, name, operation)| {
            let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
            Some((method(name), fill(path, SOME_ID), conformance::resolved(schema)))
        })
        .collect();
    assert!(!all.is_empty());
    all
}

async fn send(
    client: &Client,
    method: &Method,
    path: &str,
    body: impl Into<Vec<u8>>,
) -> crate::harness::Reply {
    client.call(method.clone(), path).header("content-type", "application/json").body(body).await
}

#[tokio::test]
async fn every_operation_rejects_a_body_that_is_not_strict_json() {
    // S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let invalid: [&[u8]; 14] = [
        b"",
        b"{",
        b"{}{}",
        b"{'title':1}",
        b"\"\xff\"",
        b"{\"title\":\"\xc3\x28\"}",
        br#"{"title":"\ud800"}"#,
        br#"{"title":"\udc00\ud800"}"#,
        br#"{"title":"a\u0000b"}"#,
        br#"{"a\u0000b":1}"#,
        br#"{"title":1e400}"#,
        br#"{"title":"a","title":"b"}"#,
        br#"{"title":"a","\u0074itle":"b"}"#,
        b"\xef\xbb\xbf{}",
    ];
    let deep = [b"[".repeat(100_000), br#"{"a":"#.repeat(40_000)];
    for (method, path, _) in json_operations() {
        for body in invalid.into_iter().chain(deep.iter().map(Vec::as_slice)) {
            // These operations accept a request without a body.
            let is_optional =
                path == "/api/v1/me" && method == Method::DELETE || path == "/api/v1/auth/passkeys/options";
            if body.is_empty() && is_optional {
                continue;
            }
            send(&ada, &method, &path, body).await.expect(400).problem("invalid_json");
        }
    }
    assert_eq!(ada.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn a_body_that_violates_its_schema_is_rejected_with_a_json_pointer_to_the_violation() {
    // S-58
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let error = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
    for (method, path, schema) in json_operations() {
        for body in ["[]", "null", "7", "\"title\"", "[{}]"] {
            let reply = send(&ada, &method, &path, body).await.expect(422).problem("invalid");
            assert_eq!(reply.field_errors(), [error("", "wrong_type")], "{method} {path} {body}");
        }
        let unknown = send(&ada, &method, &path, r#"{"elephant":1}"#).await.expect(422).problem("invalid");
        assert!(unknown.field_errors().contains(&error("/elephant", "unknown_member")), "{method} {path}");
        for (name, property) in schema["properties"].as_object().unwrap() {
            let wrong =
                if conformance::resolved(property)["type"] == "object" { json!(7) } else { json!({}) };
            let reply = send(&ada, &method, &path, json!({ name: wrong }).to_string()).await.expect(422);
            assert!(
                reply.field_errors().contains(&error(&format!("/{name}"), "wrong_type")),
                "{path} {name}"
            );
        }
    }
}

#[tokio::test]
async fn fields_that_only_the_server_sets_are_rejected() {
    // S-55
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    let trip = created.header("location").to_owned();
    for name in ["owner", "version", "created_at", "updated_at", "role"] {
        for call in [ada.post("/api/v1/trips"), ada.patch(&trip), ada.patch("/api/v1/me")] {
            call.json(&json!({ "title": "x", name: "1" })).await.expect(422).problem("invalid");
        }
    }
    for name in ["id", "email", "email_verified", "mfa_enabled"] {
        ada.patch("/api/v1/me").json(&json!({ name: true })).await.expect(422).problem("invalid");
    }
    assert_eq!(ada.get(&trip).await.json(), created.json());
}

#[tokio::test]
async fn an_unsupported_method_gets_405_with_the_allowed_methods() {
    // S-59
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
    for (template, item) in conformance::document()["paths"].as_object().unwrap() {
        let mut known: Vec<String> =
            item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        if known.contains(&"GET".to_owned()) {
            known.push("HEAD".to_owned());
        }
        known.sort();
        for name in all.into_iter().filter(|name| !known.iter().any(|known| known == name)) {
            let reply = ada.call(method(name), &fill(template, SOME_ID)).await.expect(405);
            let mut allowed: Vec<String> = reply.header("allow").split(", ").map(str::to_owned).collect();
            allowed.sort();
            assert_eq!(allowed, known, "{name} {template}");
            if name != "HEAD" {
                reply.problem("method_not_allowed");
            }
        }
    }
    for page in ["/", "/docs", "/openapi.json", "/problems", "/problems/not-found"] {
        let reply = ada.post(page).await.expect(405).problem("method_not_allowed");
        assert_eq!(reply.header("allow"), "GET, HEAD", "{page}");
    }
}

#[tokio::test]
async fn head_returns_the_headers_of_get_without_a_body() {
    // S-59
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    let trip = created.json()["id"].as_str().unwrap().to_owned();
    let operations = conformance::operations().filter(|(_, name, _)| *name == "get");
    for path in operations.map(|(path, ..)| fill(path, &trip)).chain(["/api/v1/nowhere".to_owned()]) {
        for client in [&ada, &app.anonymous()] {
            let (get, head) = (client.get(&path).await, client.head(&path).await);
            assert_eq!(head.status, get.status, "{path}");
            assert!(head.body.is_empty());
            let metadata = |reply: &crate::harness::Reply| {
                let mut names: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
                // A body that is produced while the client receives it has no length (RFC 9110 §9.3.2).
                names.retain(|name| name != "transfer-encoding");
                names.sort();
                (names, reply.header("content-type").to_owned(), reply.header("etag").to_owned())
            };
            assert_eq!(metadata(&head), metadata(&get), "{path}");
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_malformed_ids_get_404() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for path in
        ["/nowhere", "/api", "/api/v1", "/api/v2/me", "/api/v1/me/x", "/health", "/problems/x", "/docs/x"]
    {
        ada.get(path).undocumented().await.expect(404).problem("not_found");
    }
    for id in ["7", "x", "01890a5d-ac96-774b-bcce-b302099a805", "..", "%2e%2e", "%00", "a%20b", SOME_ID] {
        let path = format!("/api/v1/trips/{id}");
        if id != ".." && id != "%2e%2e" {
            ada.get(&path).await.expect(404).problem("not_found");
            ada.delete(&path).await.expect(404).problem("not_found");
        }
        let raw = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", ada.token());
        assert_eq!(app.raw(format!("{raw}Connection: close\r\n\r\n")).await.statuses(), [404], "{id}");
    }
}

#[tokio::test]
async fn an_accept_header_without_json_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for accept in ["text/html", "application/xml", "application/json;q=0", "image/*"] {
        ada.get("/api/v1/me").header("accept", accept).await.expect(406).problem("not_acceptable");
    }
    for accept in ["application/json", "*/*", "text/html, */*;q=0.1", "application/*"] {
        ada.get("/api/v1/me").header("accept", accept).await.expect(200);
    }
}

#[tokio::test]
async fn a_body_of_another_media_type_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = [
        "text/plain",
        "application/json; charset=latin1",
        "application/vnd.trip+json",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ];
    for (method, path, _) in json_operations() {
        ada.call(method.clone(), &path).body("{}").await.expect(415).problem("unsupported_media_type");
        for kind in other {
            let call = ada.call(method.clone(), &path).header("content-type", kind).body("{}");
            call.await.expect(415).problem("unsupported_media_type");
        }
    }
    for kind in CHARSETS {
        let call = ada.post("/api/v1/trips").header("content-type", kind).body(r#"{"title":"Lisbon"}"#);
        call.await.expect(201);
    }
}

#[tokio::test]
async fn a_body_above_the_size_limit_is_rejected_whether_or_not_it_has_a_content_length() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let head = format!(
        "POST /api/v1/trips HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {}\r\n",
        ada.token()
    );
    // The declared length is enough to reject the request: no byte of the body is sent.
    let declared = app.raw(format!("{head}Content-Length: {}\r\n\r\n", BODY_MAX + 1)).await;
    assert_eq!(declared.statuses(), [413]);
    assert!(declared.text().contains(r#""code":"content_too_large""#));
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let chunks = |count| format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(count));
    let counted = app.raw(chunks(BODY_MAX / 0x1000 + 1)).await;
    assert_eq!(counted.statuses(), [413]);
    let fits = format!("{}12\r\n{{\"title\":\"Lisbon\"}}\r\n0\r\n\r\n", chunks(BODY_MAX / 0x1000 - 1));
    assert_eq!(app.raw(fits).await.statuses(), [201]);
    let mut padded = br#"{"title":"Lisbon"}"#.to_vec();
    padded.resize(BODY_MAX, b' ');
    send(&ada, &Method::POST, "/api/v1/trips", padded).await.expect(201);
}

#[tokio::test]
async fn an_invalid_limit_is_named_in_the_error_and_an_invalid_cursor_gets_400() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for query in
        ["limit=0", "limit=101", "limit=abc", "limit=-1", "limit=1.5", "limit=", "limit=70000", "limit=%00"]
    {
        let reply = ada.get(&format!("/api/v1/trips?{query}")).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors().len(), 1, "{query}");
        assert_eq!(reply.field_errors()[0].0, "/limit", "{query}");
    }
    let long = "A".repeat(8_000);
    for cursor in ["x", "AAAA", "%00", "{}", "", long.as_str()] {
        let reply = ada.get(&format!("/api/v1/trips?cursor={cursor}")).await;
        reply.expect(400).problem("invalid_cursor");
    }
}

#[tokio::test]
async fn an_id_that_is_not_utf_8_gets_404() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    ada.get("/api/v1/trips/%ff").await.expect(404).problem("not_found");
}

#[tokio::test]
async fn a_duplicate_query_parameter_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    ada.get("/api/v1/trips?limit=1&limit=2").await.expect(400).problem("bad_request");
    ada.get("/api/v1/trips?cursor=a&cursor=b").await.expect(400).problem("bad_request");
}

#[tokio::test]
async fn a_valid_request_id_is_echoed_and_an_invalid_one_is_replaced() {
    let app = TestApp::start().await;
    let anonymous = app.anonymous();
    for valid in ["a", "01890a5d-ac96-774b-bcce-b302099a8057", "Root=1-67891233:abc/=+_.", &"x".repeat(128)] {
        for path in ["/api/v1/me", "/health/live", "/nowhere"] {
            let reply = anonymous.get(path).header("x-request-id", valid).await;
            assert_eq!(reply.header("x-request-id"), valid);
        }
    }
    for invalid in ["", "a b", "a\tb", "<script>", "\u{e9}", "a\"b", "a,b", "a%0d", &"x".repeat(129)] {
        let reply =
            anonymous.get("/api/v1/me").header("x-request-id", invalid).await.problem("unauthenticated");
        let id = reply.header("x-request-id");
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{invalid:?} became {id:?}");
    }
    let one = anonymous.get("/health/live").await;
    let other = anonymous.get("/health/live").await;
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test]
async fn every_response_has_a_request_id_and_x_content_type_options_nosniff() {
    let app = TestApp::with(|settings| settings.cors_origins = vec!["https://a.example".to_owned()]).await;
    let ada = app.sign_up("ada").await;
    let paths =
        ["/", "/docs", "/docs/init.js", "/openapi.json", "/problems", "/favicon.ico", "/health/ready"];
    for path in paths.into_iter().chain(["/api/v1/me", "/api/v1/trips/x", "/nowhere"]) {
        for name in ["GET", "HEAD", "POST", "OPTIONS", "TRACE"] {
            let call = ada.call(method(name), path).header("origin", "https://a.example");
            let reply = call.header("access-control-request-method", "POST").undocumented().await;
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{name} {path}");
            assert!(!reply.header("x-request-id").is_empty(), "{name} {path}");
        }
    }
}

#[tokio::test]
async fn a_request_with_an_invalid_host_gets_a_problem_document_with_a_request_id() {
    // S-63
    let app = TestApp::start().await;
    for host in ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n"] {
        let reply = app.raw(format!("GET /health/live HTTP/1.1\r\n{host}\r\n")).await;
        let text = reply.text().to_lowercase();
        assert_eq!(reply.statuses(), [400]);
        assert!(text.contains("x-content-type-options: nosniff"), "{text}");
        assert!(text.contains("x-request-id: ") && !text.contains(r#""request_id":"""#), "{text}");
    }
}
