//! Traces: the spans that a collector receives, their parents, and a collector that fails.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::harness::PASSWORD;
use crate::harness::process::{Process, command};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a collector does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Accept,
    Reject,
    Hang,
}

/// A collector of spans on a loopback address.
struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let received = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let received = Arc::clone(&received);
                thread::spawn(move || serve(&stream.unwrap(), mode, &received));
            }
        });
        Self { address, requests }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a span. Returns all spans so far.
    async fn spans_until(&self, is_last: impl Fn(&Span) -> bool) -> Vec<Span> {
        let begin = Instant::now();
        loop {
            let spans = self.spans();
            if spans.iter().any(&is_last) {
                return spans;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "the span did not arrive: {spans:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns all spans so far.
    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let scopes = requests
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// Responds to the requests of one connection.
fn serve(stream: &TcpStream, mode: Mode, received: &Mutex<Vec<ExportTraceServiceRequest>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        assert_eq!(head[0], "post /v1/traces http/1.1");
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()), "{head:?}");
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let status = match mode {
            Mode::Hang => return thread::sleep(Duration::from_mins(1)),
            Mode::Reject => "400 Bad Request",
            Mode::Accept => {
                let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
                received.lock().unwrap().push(request);
                "200 OK"
            }
        };
        let mut writer = stream;
        write!(writer, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

/// Starts a server that sends its spans after `delay_ms`.
fn start_with_delay(dir: &TempDir, endpoint: &str, delay_ms: u32, args: &[&str]) -> Process {
    let mut command = command(dir.path(), &[&["--otlp-endpoint", endpoint], args].concat());
    command.env("TRIPGATE_LISTEN", "127.0.0.1:0").env("TRIPGATE_BCRYPT_COST", "4");
    command.env("OTEL_BSP_SCHEDULE_DELAY", delay_ms.to_string());
    Process::start(command)
}

fn start(dir: &TempDir, endpoint: &str, args: &[&str]) -> Process {
    start_with_delay(dir, endpoint, 50, args)
}

/// Stops the server. Returns its log.
fn stop(server: Process) -> String {
    server.terminate();
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0), "{log}");
    log
}

/// Returns the attributes as text.
fn attributes(list: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    list.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[track_caller]
fn find<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

#[tokio::test]
async fn database_and_password_hash_spans_are_children_of_the_request_span() {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start(Mode::Accept));
    let server = start(&dir, &collector.url(), &["--public-url", "https://trips.example:8443"]);
    let grant = server.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let call = server.call(Method::GET, &format!("/api/v1/trips/{id}?secret=1")).bearer_auth(token);
    assert_eq!(call.header("x-request-id", "mine").send().await.unwrap().status(), 422);
    let call = server.call(Method::GET, &format!("/api/v1/trips/{id}")).bearer_auth(token);
    assert_eq!(call.header("x-request-id", "mine").send().await.unwrap().status(), 404);
    assert_eq!(server.call(Method::GET, "/nowhere").send().await.unwrap().status(), 404);
    // The server sends the spans in the order in which they ended.
    let spans = collector.spans_until(|span| span.name == "GET").await;
    let signup = find(&spans, "POST /api/v1/auth/signup");
    assert!(signup.parent_span_id.is_empty() && signup.kind == 2, "{signup:?}");
    for child in ["password hash", "database write"] {
        let is_child = |span: &&Span| {
            span.name == child && span.parent_span_id == signup.span_id && span.trace_id == signup.trace_id
        };
        assert!(spans.iter().any(|span| is_child(&span)), "{child}: {spans:?}");
    }
    let read = spans.iter().filter(|span| span.name == "GET /api/v1/trips/{id}");
    let read =
        read.map(|span| attributes(&span.attributes)).find(|read| read["http.response.status_code"] == "404");
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "404"),
        ("http.route", "/api/v1/trips/{id}"),
        ("url.path", &format!("/api/v1/trips/{id}")),
        ("url.scheme", "http"),
        ("server.address", "trips.example"),
        ("server.port", "8443"),
        ("network.protocol.version", "1.1"),
        ("operation", "get_trip"),
        ("request_id", "mine"),
        ("user.id", grant["user"]["id"].as_str().unwrap()),
    ];
    assert_eq!(read.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    // A client chooses the path, so the name of a span does not contain a path without a route.
    assert!(!attributes(&find(&spans, "GET").attributes).contains_key("http.route"));
    let requests = collector.requests.lock().unwrap();
    let resource = attributes(&requests[0].resource_spans[0].resource.as_ref().unwrap().attributes);
    assert_eq!(resource["service.name"], "tripgate");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_valid_traceparent_is_the_parent_of_the_request_span_whose_ids_are_in_the_response_and_the_log() {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start(Mode::Accept));
    let server = start(&dir, &collector.url(), &["--log-format", "json"]);
    let get = async |parents: &[&str], id: &str| {
        let mut call = server.call(Method::GET, "/health/live").header("x-request-id", id);
        for parent in parents {
            call = call.header("traceparent", *parent);
        }
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers()["traceresponse"].to_str().unwrap().to_owned()
    };
    let valid = format!("00-{TRACE}-{PARENT}-01");
    let response = get(&[&valid], "sampled").await;
    assert!(response.starts_with(&format!("00-{TRACE}-")) && response.ends_with("-01"), "{response}");
    let unsampled = get(&[&format!("00-{TRACE}-{PARENT}-00")], "unsampled").await;
    assert!(unsampled.starts_with(&format!("00-{TRACE}-")) && unsampled.ends_with("-00"), "{unsampled}");
    let zeros = format!("00-{}-{PARENT}-01", "0".repeat(32));
    let (huge, version) = ("x".repeat(8192), valid.replacen("00", "ff", 1));
    for invalid in
        [vec!["junk"], vec![&*huge], vec![&*zeros], vec![&*version], vec![&*valid, &*valid], vec![""]]
    {
        let response = get(&invalid, "invalid").await;
        assert!(!response.contains(TRACE) && response.ends_with("-01"), "{invalid:?}: {response}");
    }
    let last = get(&[], "last").await;
    let spans = collector.spans_until(|span| last.contains(&hex(&span.span_id))).await;
    let log = stop(server);
    let of_client: Vec<&Span> = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect();
    assert_eq!(of_client.len(), 1, "only the sampled span is exported: {of_client:?}");
    assert_eq!(hex(&of_client[0].parent_span_id), PARENT);
    assert_eq!(response, format!("00-{TRACE}-{}-01", hex(&of_client[0].span_id)));
    let line = log.lines().find(|line| line.contains("\"sampled\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["trace_id"], &line["span_id"]), (&json!(TRACE), &json!(hex(&of_client[0].span_id))));
}

#[tokio::test]
async fn no_span_contains_a_secret() {
    // S-65
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start(Mode::Accept));
    let server = start(&dir, &collector.url(), &["--query-token", "on"]);
    let grant = server.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap().to_owned();
    let refresh = grant["refresh_token"].as_str().unwrap().to_owned();
    let call = |method, path: &str| server.call(method, path).bearer_auth(&token);
    let trip = json!({ "title": "cAnAry", "notes": "cAnAry" });
    let created = call(Method::POST, "/api/v1/trips").json(&trip).send().await.unwrap();
    let created: serde_json::Value = created.json().await.unwrap();
    let share = format!("/api/v1/trips/{}/share", created["id"].as_str().unwrap());
    let shared: serde_json::Value = call(Method::PUT, &share).send().await.unwrap().json().await.unwrap();
    let link = shared["token"].as_str().unwrap().to_owned();
    let opened = server.call(Method::GET, &format!("/api/v1/shared/{link}")).send().await.unwrap();
    assert_eq!(opened.status(), 200);
    let query = server.call(Method::GET, &format!("/api/v1/me?token={token}")).send().await.unwrap();
    assert_eq!(query.status(), 200);
    let body = json!({ "refresh_token": refresh });
    let refreshed = server.call(Method::POST, "/api/v1/auth/refresh").json(&body).send().await.unwrap();
    assert_eq!(refreshed.status(), 200);
    let verified = server.call(Method::GET, "/api/v1/auth/verify").basic_auth("ada", Some(PASSWORD));
    assert_eq!(verified.header("user-agent", "cAnAry").send().await.unwrap().status(), 200);
    collector.spans_until(|span| span.name == "GET /api/v1/auth/verify").await;
    let basic = STANDARD.encode(format!("ada:{PASSWORD}"));
    let secrets = ["cAnAry", PASSWORD, &token, &refresh, &link, &basic, "token="];
    let spans = format!("{:?}", collector.requests.lock().unwrap());
    assert!(spans.contains("/api/v1/shared/{token}") && spans.contains("/api/v1/shared/[long]"), "{spans}");
    for secret in secrets {
        assert!(!spans.contains(secret), "{secret}: {spans}");
    }
}

#[tokio::test]
async fn the_server_sends_the_last_spans_when_it_stops() {
    let (dir, collector) = (TempDir::new().unwrap(), Collector::start(Mode::Accept));
    let server = start_with_delay(&dir, &collector.url(), 3_600_000, &[]);
    assert_eq!(server.call(Method::GET, "/health/live").send().await.unwrap().status(), 200);
    assert!(collector.spans().is_empty());
    let log = stop(server);
    // On a very slow machine, the export of the last spans can exceed the time limit of the stop. The server then
    // logs a warning.
    let is_sent = collector.spans().iter().any(|span| span.name == "GET /health/live");
    assert!(is_sent || log.contains("the last spans were not exported"), "{log}");
}

#[tokio::test]
async fn neither_requests_nor_the_stop_wait_for_an_unavailable_hanging_or_rejecting_collector() {
    // S-73
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (mode, endpoint) in [
        (None, format!("http://{away}")),
        (Some(Mode::Hang), Collector::start(Mode::Hang).url()),
        (Some(Mode::Reject), Collector::start(Mode::Reject).url()),
    ] {
        let dir = TempDir::new().unwrap();
        let server = start(&dir, &endpoint, &[]);
        // The queue holds up to 2,048 spans, and a full batch is sent at once.
        for _ in 0..700 {
            let response = server.call(Method::GET, "/health/live").send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
        let stopping = Instant::now();
        let log = stop(server);
        assert!(stopping.elapsed() < Duration::from_secs(10), "{mode:?}: {:?}", stopping.elapsed());
        let warnings = log.lines().filter(|line| line.contains("failed to export traces")).count();
        let end = log.lines().filter(|line| line.contains("the last spans were not exported")).count();
        assert!(warnings <= 1 && warnings + end >= 1, "{mode:?}: {log}");
        assert!(!log.contains("ERROR"), "{mode:?}: {log}");
    }
}

#[tokio::test]
async fn without_the_setting_otlp_endpoint_there_are_no_traces() {
    let dir = TempDir::new().unwrap();
    let server = start(&dir, "", &[]);
    let call =
        server.call(Method::GET, "/health/live").header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let response = call.send().await.unwrap();
    assert!(!response.headers().contains_key("traceresponse"));
    let log = stop(server);
    assert!(!log.contains("trace_id"), "{log}");
}
