//! Sends a canary, a conspicuous word, in every part of a request. No error response may contain it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, TestApp, conformance};

/// The canary word. It is detected in upper and lower case, and Base64-encoded.
const WORD: &str = "cAnAry7x7";
/// The canary for numeric fields.
const NUMBER: i64 = 770_077_007_700_770;

const SOME_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// The request headers that get a canary.
const HEADERS: [&str; 12] = [
    "accept",
    "accept-language",
    "authorization",
    "content-type",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "origin",
    "user-agent",
    "x-forwarded-for",
    "x-request-id",
];

/// Fails if an error contains a canary in its body or a header. Returns whether the response is an error.
#[track_caller]
fn check_no_echo(reply: &Reply) -> bool {
    let mut all = String::from_utf8_lossy(&reply.body).to_lowercase();
    for (name, value) in &reply.headers {
        all.push_str(name.as_str());
        all.push_str(&String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    }
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, WORD).to_lowercase();
    for canary in [WORD.to_lowercase(), NUMBER.to_string(), encoded] {
        assert!(reply.status < 400 || !all.contains(&canary), "{} {}: {all}", reply.request, reply.status);
    }
    reply.status >= 400
}

/// An operation of the OpenAPI document. The parameters in `path` are replaced by values.
struct Operation {
    method: Method,
    path: String,
    /// The schema of its JSON body, if it has one.
    schema: Option<&'static Value>,
}

fn operations(id: &str) -> Vec<Operation> {
    let fill = |(template, name, operation): (&str, &str, &'static Value)| {
        let segment = |part| if str::starts_with(part, '{') { id } else { part };
        let schema = operation.pointer("/requestBody/content/application~1json/schema");
        Operation {
            method: name.to_uppercase().parse().unwrap(),
            path: template.split('/').map(segment).collect::<Vec<_>>().join("/"),
            schema: schema.map(conformance::resolved),
        }
    };
    conformance::operations().map(fill).collect()
}

#[tokio::test]
async fn no_error_echoes_a_path_a_query_or_a_header() {
    // S-63
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut errors = 0;
    for client in [&ada, &app.anonymous()] {
        for Operation { method, path, .. } in operations(WORD) {
            errors += u32::from(check_no_echo(&client.call(method, &path).await));
        }
        for Operation { method, path, .. } in operations(SOME_ID) {
            let call = |query: &str| client.call(method.clone(), &format!("{path}{query}"));
            // The parameter names contain no canary, because the pointer of an error contains the name of an
            // unknown parameter.
            for query in ["?limit=X", "?cursor=X", "?token=X", "?x=X", "?limit=1&limit=X"] {
                errors += u32::from(check_no_echo(&call(&query.replace('X', WORD)).await));
            }
            for name in HEADERS {
                // The values contain a space or a non-ASCII byte, because a valid request id is echoed.
                for value in [format!("{WORD} \u{e9}"), format!("Bearer {WORD} x"), format!("Basic {WORD} x")]
                {
                    errors += u32::from(check_no_echo(&call("").header(name, value).await));
                }
            }
            errors += u32::from(check_no_echo(&call("").header(WORD, WORD).await));
            errors += u32::from(check_no_echo(&call("").basic(WORD, WORD).await));
        }
        for path in
            ["/X", "/api/v1/X", "/problems/X", "/docs/X", "/health/X", "/api/v1/trips/a/X", "//X", "/%00X"]
        {
            let reply = client.get(&path.replace('X', WORD)).undocumented().await;
            errors += u32::from(check_no_echo(&reply));
        }
        let odd: Method = WORD.parse().unwrap();
        errors += u32::from(check_no_echo(&client.call(odd, "/api/v1/me").await.expect(405)));
    }
    assert!(errors > 300, "{errors}");
}

#[tokio::test]
async fn no_error_echoes_a_request_body() {
    // S-63
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut errors = 0;
    for Operation { method, path, schema } in operations(SOME_ID) {
        let Some(schema) = schema else { continue };
        let call = || ada.call(method.clone(), &path);
        let values = [
            json!(WORD),
            json!(format!("{WORD}\u{1f980}").repeat(3_000)),
            json!(format!("{WORD}@{WORD}")),
            json!(NUMBER),
            json!(-NUMBER),
            json!([WORD]),
            json!({ "x": WORD }),
            json!([{ "x": NUMBER }]),
        ];
        let mut bodies: Vec<String> = values.iter().map(Value::to_string).collect();
        let known = schema["properties"].as_object().unwrap();
        // The field names contain no canary, because the pointer of an error contains the name of an unknown
        // field.
        for name in known.keys().map(String::as_str).chain(["x"]) {
            for value in &values {
                bodies.push(json!({ name: value }).to_string());
                // The other fields are valid, to reach the checks after schema validation.
                let mut valid =
                    json!({ "password": "a quiet harbour", "identifier": "ada", "title": "Lisbon" });
                valid.as_object_mut().unwrap().retain(|other, _| known.contains_key(other));
                valid[name] = value.clone();
                bodies.push(valid.to_string());
            }
        }
        bodies.extend([
            format!("{{\"{WORD}\":1,\"{WORD}\":2}}"),
            format!("{{\"title\":\"{WORD}\\ud800\"}}"),
            format!("{{\"title\":\"{WORD}\\u0000\"}}"),
            format!("{{\"title\":{WORD}}}"),
            WORD.to_owned(),
            format!("{{\"title\":\"{WORD}"),
        ]);
        for body in bodies {
            let reply = call().header("content-type", "application/json").body(body).await;
            errors += u32::from(check_no_echo(&reply));
        }
        errors += u32::from(check_no_echo(&call().header("content-type", WORD).body(WORD).await));
    }
    assert!(errors > 300, "{errors}");
}

#[tokio::test]
async fn no_response_echoes_a_malformed_request_head() {
    // S-63
    let app = TestApp::start().await;
    for head in [
        "GET /X HTTP/1.1\r\nHost: X X\r\n\r\n",
        "GET /X HTTP/1.1\r\nHost: X\r\nHost: X\r\n\r\n",
        "GET /X HTTP/1.1\r\n\r\n",
        "GET /X HTTP/9.9\r\nHost: X\r\n\r\n",
        "X\r\n\r\n",
        "GET /X HTTP/1.1\r\nHost: a\r\nX X: X\r\n\r\n",
        "GET /\u{e9}X\" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET http://X:X/X HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST /api/v1/trips HTTP/1.1\r\nHost: a\r\nContent-Length: X\r\n\r\n",
        "POST /api/v1/trips HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: X\r\n\r\n",
    ] {
        let reply = app.raw(head.replace('X', WORD)).await;
        assert!(
            reply.closed && !reply.text().to_lowercase().contains(&WORD.to_lowercase()),
            "{}",
            reply.text()
        );
        assert!(reply.statuses().iter().all(|status| (400..500).contains(status)), "{}", reply.text());
    }
}
