//! The metrics: their listener, their values, and their bounded labels.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::PASSWORD;
use crate::harness::process::Process;

/// A server process with metrics.
struct Server {
    process: Process,
    metrics: SocketAddr,
    _dir: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let process = Process::serve(dir.path(), &[&["--metrics-listen", "127.0.0.1:0"], args].concat());
        let address = process.banner.lines().find_map(|line| line.trim().strip_prefix("Metrics   http://"));
        let metrics = address.unwrap().trim_end_matches("/metrics").parse().unwrap();
        Self { process, metrics, _dir: dir }
    }

    async fn scrape(&self) -> String {
        let response = self.get("/metrics").await;
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4")
        );
        response.text().await.unwrap()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(format!("http://{}{path}", self.metrics)).send().await.unwrap()
    }

    async fn log_in(&self, password: &str) -> u16 {
        let body = json!({ "identifier": "ada", "password": password });
        self.process
            .call(Method::POST, "/api/v1/auth/login")
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }
}

/// Returns the value of a series.
#[track_caller]
fn value(metrics: &str, series: &str) -> f64 {
    text(metrics, series).parse().unwrap()
}

#[track_caller]
fn text<'a>(metrics: &'a str, series: &str) -> &'a str {
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(series));
    line.unwrap_or_else(|| panic!("{series} is missing:\n{metrics}")).rsplit(' ').next().unwrap()
}

fn attempts(method: &str, result: &str) -> String {
    format!("tripgate_auth_attempts_total{{method=\"{method}\",result=\"{result}\"}}")
}

#[tokio::test]
async fn attempts_to_authenticate_are_counted_by_method_and_result() {
    let server = Server::start();
    let grant = server.process.sign_up("ada").await;
    assert_eq!([server.log_in(PASSWORD).await, server.log_in("not the password").await], [200, 401]);
    let call = |method, path| server.process.call(method, path);
    let basic = call(Method::GET, "/api/v1/auth/verify").basic_auth("ada", Some(PASSWORD));
    assert_eq!(basic.send().await.unwrap().status(), 200);
    for (token, status) in [(grant["refresh_token"].as_str().unwrap(), 200), ("wrong", 401)] {
        let refresh = call(Method::POST, "/api/v1/auth/refresh").json(&json!({ "refresh_token": token }));
        assert_eq!(refresh.send().await.unwrap().status(), status);
    }
    let code = json!({ "flow_id": "01890a5d-ac96-774b-bcce-b302099a8057", "code": "12345678" });
    let wrong = call(Method::POST, "/api/v1/auth/login/code/confirm").json(&code);
    assert_eq!(wrong.send().await.unwrap().status(), 422);
    let rejected = call(Method::GET, "/api/v1/me").bearer_auth("wrong");
    assert_eq!(rejected.send().await.unwrap().status(), 401);
    let metrics = server.scrape().await;
    for (series, expected) in [
        (attempts("password", "success"), 1.0),
        (attempts("password", "invalid_credentials"), 1.0),
        (attempts("basic", "success"), 1.0),
        (attempts("basic", "invalid_credentials"), 0.0),
        (attempts("refresh", "success"), 1.0),
        (attempts("refresh", "invalid_credentials"), 1.0),
        (attempts("mail_code", "invalid_credentials"), 1.0),
        (attempts("passkey", "mfa_required"), 0.0),
        ("tripgate_refreshes_total{outcome=\"rotated\"}".to_owned(), 1.0),
        ("tripgate_access_tokens_rejected_total{reason=\"invalid\"}".to_owned(), 1.0),
        ("tripgate_access_tokens_minted_total".to_owned(), 3.0),
        ("tripgate_password_hash_queue".to_owned(), 0.0),
        ("tripgate_ready{check=\"database\"}".to_owned(), 1.0),
        ("tripgate_ready{check=\"signing_key\"}".to_owned(), 1.0),
        ("tripgate_ready{check=\"clock\"}".to_owned(), 1.0),
        ("http_server_active_requests".to_owned(), 0.0),
    ] {
        assert!((value(&metrics, &series) - expected).abs() < f64::EPSILON, "{series}:\n{metrics}");
    }
    assert!(value(&metrics, "tripgate_password_hash_duration_seconds_count") >= 4.0);
    assert!(value(&metrics, "tripgate_revocation_age_seconds") < 1.0);
    assert!(value(&metrics, "process_resident_memory_bytes") > 1e6);
}

#[tokio::test]
async fn mailed_codes_and_digest_responses_are_counted() {
    let server = Server::start_with(&["--digest", "on"]);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let code = json!({ "flow_id": id, "code": "12345678" });
    let call = server.process.call(Method::POST, "/api/v1/auth/login/code/confirm").json(&code);
    assert_eq!(call.send().await.unwrap().status(), 422);
    let digest = format!(
        "Digest username=\"{id}\", realm=\"tripgate\", uri=\"/api/v1/trips\", algorithm=SHA-256, nonce=\"x\", \
         nc=00000001, cnonce=\"x\", qop=auth, response=\"{}\"",
        "0".repeat(64)
    );
    let call = server.process.call(Method::GET, "/api/v1/trips").header("authorization", digest);
    assert_eq!(call.send().await.unwrap().status(), 401);
    let metrics = server.scrape().await;
    for method in ["mail_code", "personal_token"] {
        assert!(
            (value(&metrics, &attempts(method, "invalid_credentials")) - 1.0).abs() < f64::EPSILON,
            "{method}"
        );
    }
}

#[tokio::test]
async fn requests_are_labelled_by_route_and_unknown_paths_share_one_label() {
    // S-97
    let server = Server::start();
    let grant = server.process.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap();
    for number in 0..200 {
        let path = format!("/api/v1/trips/01a20107-0000-7000-8000-{number:012}");
        let call = server.process.call(Method::GET, &path).bearer_auth(token);
        assert_eq!(call.send().await.unwrap().status(), 404);
        let unknown = server.process.call(Method::GET, &format!("/no-{number}/{number}?q={number}"));
        assert_eq!(unknown.send().await.unwrap().status(), 404);
    }
    let odd = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(server.process.call(odd, "/api/v1/trips").send().await.unwrap().status(), 405);
    let metrics = server.scrape().await;
    let series = |method: &str, route: &str, status: u16| {
        format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",\
             http_response_status_code=\"{status}\",http_route=\"{route}\"}}"
        )
    };
    for (method, route, status, expected) in [
        ("GET", "/api/v1/trips/{id}", 404, 200.0),
        ("GET", "unmatched", 404, 200.0),
        ("POST", "/api/v1/auth/signup", 201, 1.0),
        ("_OTHER", "/api/v1/trips", 405, 1.0),
    ] {
        let found = value(&metrics, &series(method, route, status));
        assert!((found - expected).abs() < f64::EPSILON, "{route}: {found}");
    }
    let routes =
        metrics.lines().filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    assert_eq!(routes.count(), 4, "{metrics}");
    assert!(!metrics.contains("ada") && !metrics.contains(token), "{metrics}");
}

#[tokio::test]
async fn the_listener_for_metrics_serves_nothing_else_and_the_api_serves_no_metrics() {
    let server = Server::start();
    assert_eq!(server.get("/").await.status(), 404);
    assert_eq!(server.get("/api/v1/me").await.status(), 404);
    let api = server.process.call(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(api.status(), 404);
}

#[tokio::test]
async fn neither_many_scrapers_nor_scrapers_that_do_not_read_delay_the_api() {
    let server = Server::start();
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(server.metrics).unwrap();
        // Writing fails if the server has closed the connection to make room for a newer one.
        drop(stream.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20).as_bytes()));
        deaf.push(stream);
    }
    let begin = Instant::now();
    let live = async || server.process.call(Method::GET, "/health/live").send().await.unwrap().status();
    let (scrapes, statuses) = tokio::join!(
        join_all((0..50).map(async |_| server.scrape().await.len())),
        join_all((0..20).map(async |_| live().await)),
    );
    assert!(scrapes.iter().all(|length| *length > 1000));
    assert!(statuses.iter().all(|status| *status == 200));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn throttled_logins_are_counted_as_throttled() {
    let server = Server::start();
    server.process.sign_up("ada").await;
    let mut statuses = Vec::new();
    for _ in 0..15 {
        statuses.push(server.log_in("not the password").await);
    }
    let throttled = statuses.iter().filter(|status| **status == 429).count();
    assert!(throttled > 0, "{statuses:?}");
    let metrics = server.scrape().await;
    let throttled = f64::from(u32::try_from(throttled).unwrap());
    assert!(
        (value(&metrics, &attempts("password", "throttled")) - throttled).abs() < f64::EPSILON,
        "{metrics}"
    );
    assert!(metrics.contains("tripgate_throttled_total{scope="), "{metrics}");
}

/// Lists trips with a token.
async fn list(server: &Server, grant: &Value, query: &str) {
    let call = server.process.call(Method::GET, &format!("/api/v1/trips{query}"));
    let call = call.bearer_auth(grant["access_token"].as_str().unwrap());
    assert_eq!(call.send().await.unwrap().status(), 200);
}

/// Creates a trip whose page has about 3 KB.
async fn create_trip(server: &Server, grant: &Value) {
    let body = json!({ "title": "Lisbon", "notes": "n".repeat(3_000) });
    let call = server.process.call(Method::POST, "/api/v1/trips").json(&body);
    let call = call.bearer_auth(grant["access_token"].as_str().unwrap());
    assert_eq!(call.send().await.unwrap().status(), 201);
}

/// Returns the number of hits, outdated pages and misses, and the size of the cache.
async fn page_cache(server: &Server) -> [u64; 4] {
    let metrics = server.scrape().await;
    let lookups = |result| format!("tripgate_page_cache_lookups_total{{result=\"{result}\"}}");
    [lookups("hit"), lookups("outdated"), lookups("miss"), "tripgate_page_cache_bytes".to_owned()]
        .map(|series| text(&metrics, &series).parse().unwrap())
}

#[tokio::test]
async fn many_different_pages_of_one_user_do_not_remove_the_page_of_another_user_from_the_cache() {
    let server = Server::start_with(&["--page-cache-bytes", "65536"]);
    let (ada, eve) = (server.process.sign_up("ada").await, server.process.sign_up("eve").await);
    for grant in [&ada, &eve] {
        create_trip(&server, grant).await;
    }
    for _ in 0..4 {
        list(&server, &ada, "").await;
    }
    assert_eq!(page_cache(&server).await[..3], [2, 0, 2]);
    create_trip(&server, &ada).await;
    for _ in 0..2 {
        list(&server, &ada, "").await;
    }
    let [hits, outdated, misses, bytes] = page_cache(&server).await;
    assert_eq!([hits, outdated, misses], [3, 1, 2]);
    // Pages that are read once, and pages of searches, are not stored.
    for day in 1..=28 {
        list(&server, &eve, &format!("?starts_from=2027-02-{day:02}")).await;
        list(&server, &eve, "?q=lisbon").await;
    }
    let [.., after] = page_cache(&server).await;
    assert_eq!(after, bytes);
    // Eve's pages are stored when they are read several times. They replace each other, but not Ada's page.
    for limit in 1..=100 {
        for _ in 0..3 {
            list(&server, &eve, &format!("?limit={limit}")).await;
        }
        if limit % 5 == 0 {
            let [hits, ..] = page_cache(&server).await;
            list(&server, &ada, "").await;
            let [hits_after, _, _, bytes] = page_cache(&server).await;
            assert_eq!(hits_after, hits + 1, "{limit}");
            assert!(bytes <= 65_536, "{limit}: {bytes}");
        }
    }
    assert!(page_cache(&server).await[3] > 40_000);
}

#[tokio::test]
async fn a_page_cache_of_size_zero_is_not_used() {
    let server = Server::start_with(&["--page-cache-bytes", "0"]);
    let ada = server.process.sign_up("ada").await;
    create_trip(&server, &ada).await;
    for _ in 0..4 {
        list(&server, &ada, "").await;
    }
    assert_eq!(page_cache(&server).await, [0; 4]);
}
