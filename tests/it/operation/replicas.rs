//! Several servers on one database with settings that differ.
//!
//! A SQLite file has only one server. On SQLite, the tests check that no server writes a row, or do nothing.

use std::net::SocketAddr;
use std::path::Path;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tripgate::config::Settings;
use tripgate::housekeeping;
use tripgate::secrets::MasterSecret;

use crate::harness::process::{Process, command, finish, stderr, stdout};
use crate::harness::{PUBLIC_URL, TestApp, rows};

const OTHER_URL: &str = "https://other.test";

fn is_on_sqlite(app: &TestApp) -> bool {
    app.settings().database_url.expose().starts_with("sqlite:")
}

async fn code(app: &TestApp) -> String {
    let reply = app.anonymous().get("/health/ready").await;
    if reply.status == 200 { "ready".to_owned() } else { reply.json()["code"].as_str().unwrap().to_owned() }
}

#[tokio::test]
async fn a_running_server_has_a_row_that_does_not_contain_the_secret() {
    // S-111
    let app = TestApp::start().await.single().await;
    let replica = app.replica().await;
    let servers = rows::replicas(&app).await;
    if is_on_sqlite(&app) {
        assert!(servers.is_empty(), "{servers:?}");
        return;
    }
    let addresses: Vec<&str> = servers.iter().map(|row| row.address.as_str()).collect();
    for server in [&app, &replica] {
        assert!(addresses.contains(&server.address().to_string().as_str()), "{addresses:?}");
    }
    let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
    for row in &servers {
        assert_eq!(row.secret_fingerprint, secret.fingerprints()[0]);
        assert_eq!((row.public_url.as_str(), row.version.as_str()), (PUBLIC_URL, env!("CARGO_PKG_VERSION")));
        assert_eq!((row.clock_offset, row.seen_at), (0, app.clock.now().timestamp_millis()));
    }
    app.clock.advance(TimeDelta::seconds(10));
    housekeeping::beat(app.services().clone()).await;
    let seen = rows::replicas(&app).await.into_iter().map(|row| row.seen_at - row.started_at).max();
    assert_eq!(seen, Some(10_000));
    replica.stop().await;
    let servers = rows::replicas(&app).await;
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].address, app.address().to_string());
}

#[tokio::test]
async fn the_later_of_two_servers_with_different_public_urls_is_not_ready() {
    // S-111
    let app = TestApp::start().await;
    app.clock.advance(TimeDelta::seconds(1));
    let other = app.replica_with(|settings| settings.public_url = Some(OTHER_URL.to_owned())).await;
    housekeeping::beat(app.services().clone()).await;
    assert_eq!(code(&app).await, "ready");
    if is_on_sqlite(&app) {
        assert_eq!(code(&other).await, "ready");
        return;
    }
    other.anonymous().get("/health/ready").await.expect(503).problem("wrong_public_url");
    other.anonymous().get("/health/live").await.expect(200);
    app.stop().await;
    housekeeping::beat(other.services().clone()).await;
    assert_eq!(code(&other).await, "ready");
}

#[tokio::test]
async fn servers_with_default_public_urls_are_ready_although_the_urls_differ() {
    let app = TestApp::with(|settings| settings.public_url = None).await;
    app.clock.advance(TimeDelta::seconds(1));
    let other = app.replica().await;
    housekeeping::beat(app.services().clone()).await;
    for server in [&app, &other] {
        assert_eq!(code(server).await, "ready");
    }
}

#[tokio::test]
async fn a_killed_server_is_compared_with_others_for_30_seconds_and_its_row_is_deleted_after_5_minutes() {
    let app = TestApp::start().await.single().await;
    if is_on_sqlite(&app) {
        return;
    }
    let clock = app.clock.clone();
    clock.advance(TimeDelta::seconds(1));
    let other = app.replica_with(|settings| settings.public_url = Some(OTHER_URL.to_owned())).await;
    drop(app);
    clock.advance(TimeDelta::seconds(29));
    housekeeping::beat(other.services().clone()).await;
    assert_eq!(code(&other).await, "wrong_public_url");
    clock.advance(TimeDelta::seconds(2));
    housekeeping::beat(other.services().clone()).await;
    assert_eq!(code(&other).await, "ready");
    clock.advance(TimeDelta::minutes(4));
    housekeeping::beat(other.services().clone()).await;
    housekeeping::sweep(other.services().clone()).await;
    assert_eq!(rows::replicas(&other).await.len(), 2);
    clock.advance(TimeDelta::minutes(1));
    housekeeping::beat(other.services().clone()).await;
    housekeeping::sweep(other.services().clone()).await;
    let servers = rows::replicas(&other).await;
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].public_url, OTHER_URL);
}

#[tokio::test]
async fn a_server_whose_row_was_deleted_writes_it_again() {
    let app = TestApp::start().await.single().await;
    if is_on_sqlite(&app) {
        return;
    }
    let before = rows::replicas(&app).await;
    rows::delete_replicas(&app).await;
    housekeeping::beat(app.services().clone()).await;
    assert_eq!(rows::replicas(&app).await, before);
}

#[tokio::test]
async fn a_heartbeat_is_not_counted_as_a_write_of_the_database() {
    let app = TestApp::start().await;
    let writes = app.services().db.writes();
    housekeeping::beat(app.services().clone()).await;
    assert_eq!(app.services().db.writes(), writes);
}

#[tokio::test]
async fn a_server_is_not_ready_after_a_newer_version_has_migrated_the_database() {
    // S-111
    let app = TestApp::start().await;
    if is_on_sqlite(&app) {
        return;
    }
    rows::add_migration(&app, "m99991231_000001_of_a_newer_version").await;
    housekeeping::beat(app.services().clone()).await;
    app.anonymous().get("/health/ready").await.expect(503).problem("newer_schema");
    app.anonymous().get("/health/live").await.expect(200);
}

/// Runs a command with the database of these settings and with this secret file.
fn run(dir: &Path, settings: &Settings, secret: &Path, args: &[&str]) -> (Option<i32>, String) {
    let url = settings.database_url.expose();
    let common = ["--database-url", url, "--secret-file", secret.to_str().unwrap()];
    let output = finish(&mut command(dir, &[args, common.as_slice()].concat()));
    (output.status.code(), stdout(&output) + &stderr(&output))
}

fn serve(dir: &Path, settings: &Settings, args: &[&str]) -> Process {
    Process::serve_over(dir, settings, &[&["--public-url", PUBLIC_URL], args].concat())
}

/// Runs a test with the settings of a PostgreSQL, MySQL or MariaDB database that no Tripgate server uses.
/// Does nothing on SQLite.
async fn with_unused_database(test: impl FnOnce(&Settings) + Send + 'static) {
    let app = TestApp::start_now().await;
    if is_on_sqlite(&app) {
        return;
    }
    let settings = app.settings().clone();
    let environment = app.stop_and_keep_database().await;
    tokio::task::spawn_blocking(move || test(&settings)).await.unwrap();
    drop(environment);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_the_wrong_secret_does_not_start_beside_others_and_does_not_prevent_their_start() {
    // S-111
    with_unused_database(|settings| {
        let dirs = [(); 2].map(|()| TempDir::new().unwrap());
        let secret = dirs[1].path().join("other");
        std::fs::write(&secret, "another secret, set by mistake, of enough bytes").unwrap();
        let running = serve(dirs[0].path(), settings, &[]);
        let args = ["serve", "--listen", "127.0.0.1:0", "--public-url", PUBLIC_URL];
        let (code, text) = run(dirs[1].path(), settings, &secret, &args);
        assert_eq!(code, Some(2), "{text}");
        let expected = format!("({}) uses this database with another master secret", running.address);
        assert!(text.contains(&expected), "{text}");
        let (code, text) = run(dirs[0].path(), settings, &secret, &["doctor"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("has another master secret"), "{text}");
        // After the first server has stopped, a server with the other secret starts.
        running.terminate();
        running.wait_for_exit();
        let second = Settings { secret_file: secret, ..settings.clone() };
        let started = serve(dirs[1].path(), &second, &[]);
        assert!(started.log().contains("failed to decrypt the signing key"), "{}", started.log());
        // A server with the right secret starts although the server with the wrong secret already runs.
        let right = serve(dirs[0].path(), settings, &[]);
        assert!(right.log().contains("has another master secret"), "{}", right.log());
    })
    .await;
}

/// Returns the metrics of a server.
fn metrics(server: &Process) -> String {
    let address = server.banner.lines().find_map(|line| line.trim().strip_prefix("Metrics   http://"));
    let address: SocketAddr = address.unwrap().trim_end_matches("/metrics").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.request(Method::GET, format!("http://{address}/metrics")).send().await.unwrap();
        response.text().await.unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_between_servers_are_reported_by_the_log_the_metrics_and_doctor() {
    with_unused_database(|settings| {
        let dirs = [(); 2].map(|()| TempDir::new().unwrap());
        let first = serve(dirs[0].path(), settings, &[]);
        let args = ["--public-url", OTHER_URL, "--metrics-listen", "127.0.0.1:0"];
        let second = Process::serve_over(dirs[1].path(), settings, &args);
        let difference = format!("({}) has the public URL {PUBLIC_URL}, not {OTHER_URL}", first.address);
        let log = second.log();
        assert!(log.contains("the servers on this database differ") && log.contains(&difference), "{log}");
        let text = metrics(&second);
        for (series, expected) in [
            ("tripgate_replica_mismatch{kind=\"public_url\"}", 1),
            ("tripgate_replica_mismatch{kind=\"secret\"}", 0),
            ("tripgate_replica_mismatch{kind=\"version\"}", 0),
            ("tripgate_ready{check=\"public_url\"}", 0),
            ("tripgate_ready{check=\"schema\"}", 1),
        ] {
            assert!(text.contains(&format!("{series} {expected}\n")), "{series}: {text}");
        }
        let secret = &settings.secret_file;
        let args = ["doctor", "--json", "--public-url", PUBLIC_URL];
        let (code, text) = run(dirs[0].path(), settings, secret, &args);
        let findings: Vec<Value> = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let replicas: Vec<(&str, &str)> = findings
            .iter()
            .filter(|finding| finding["check"] == "replicas")
            .map(|finding| (finding["status"].as_str().unwrap(), finding["detail"].as_str().unwrap()))
            .collect();
        let [("ok", list), ("failed", found)] = replicas.as_slice() else { panic!("{text}") };
        assert_eq!(code, Some(1), "{text}");
        for server in [&first, &second] {
            assert!(list.contains(&server.address.to_string()), "{list}");
        }
        let expected = format!("({}) has the public URL {OTHER_URL}, not {PUBLIC_URL}", second.address);
        assert!(found.contains(&expected), "{found}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_that_a_server_differs_in_secret_and_schema_and_version_and_clock() {
    let app = TestApp::start_now().await;
    if is_on_sqlite(&app) {
        return;
    }
    rows::add_replica(&app, "0.0.1", -180_000).await;
    let (settings, dir) = (app.settings().clone(), TempDir::new().unwrap());
    let doctor = move || {
        let args = ["doctor", "--public-url", PUBLIC_URL];
        run(dir.path(), &settings, &settings.secret_file, &args)
    };
    let (_, text) = tokio::task::spawn_blocking(doctor).await.unwrap();
    for (status, expected) in [
        ("ok", "a-machine (192.0.2.1:8080), version 0.0.1, "),
        ("failed", "a-machine (192.0.2.1:8080) has another master secret"),
        ("failed", "has the schema m20261122_000001_foundation, not "),
        ("warning", "has the version 0.0.1, not "),
        ("warning", "the clock of a-machine (192.0.2.1:8080) differs by -180.0 s"),
    ] {
        let start = format!("{status:8} replicas ");
        let is_found = |line: &str| line.starts_with(&start) && line.contains(expected);
        assert!(text.lines().any(is_found), "{expected}: {text}");
    }
}
