//! `tripgate health`, `tripgate doctor`, and the conditions under which a server is not ready.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::TimeDelta;
use serde_json::Value;
use tempfile::TempDir;
use tripgate::housekeeping;

use crate::harness::TestApp;
use crate::harness::process::{Process, command, finish, run, stderr, stdout};

fn health(dir: &Path, address: SocketAddr, args: &[&str]) -> (Option<i32>, String) {
    let listen = address.to_string();
    let output = run(dir, &[&["health", "--listen", &listen], args].concat());
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn the_health_command_succeeds_while_the_server_runs_and_fails_otherwise() {
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let address = server.address;
    assert_eq!(health(dir.path(), address, &[]), (Some(0), "healthy (200)\n".to_owned()));
    assert_eq!(health(dir.path(), address, &["--ready"]).0, Some(0));
    let (code, text) = health(dir.path(), address, &["--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["healthy"], &json["status"]), (Some(0), &Value::from(true), &Value::from(200)));
    server.terminate();
    server.wait_for_exit();
    let (code, text) = health(dir.path(), address, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("http://{address}/health/live")), "{text}");
}

#[test]
fn the_health_command_works_over_tls_with_a_self_signed_certificate() {
    let dir = TempDir::new().unwrap();
    let generated = rcgen::generate_simple_self_signed(["trips.example".to_owned()]).unwrap();
    fs::write(dir.path().join("cert.pem"), generated.cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), generated.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let server = Process::serve(dir.path(), &tls);
    let address = server.address;
    assert_eq!(health(dir.path(), address, &tls), (Some(0), "healthy (200)\n".to_owned()));
    server.terminate();
    server.wait_for_exit();
    let (code, text) = health(dir.path(), address, &tls);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("https://{address}/health/live")), "{text}");
}

#[test]
fn the_health_command_works_if_the_server_requires_a_proxy_header_from_the_loopback_address() {
    let dir = TempDir::new().unwrap();
    let settings = ["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1"];
    let server = Process::serve(dir.path(), &settings);
    assert_eq!(health(dir.path(), server.address, &settings), (Some(0), "healthy (200)\n".to_owned()));
    let elsewhere = ["--proxy-protocol", "on", "--trusted-proxies", "10.0.0.1"];
    assert_eq!(health(dir.path(), server.address, &elsewhere).0, Some(1));
    let other = Process::serve(TempDir::new().unwrap().path(), &elsewhere);
    assert_eq!(health(dir.path(), other.address, &elsewhere).0, Some(0));
}

/// Runs `tripgate doctor`. Returns the exit status, the findings as (check, status), and the output.
fn doctor(dir: &Path, args: &[&str]) -> (Option<i32>, Vec<(String, String)>, String) {
    let output = run(dir, &[&["doctor", "--json"], args].concat());
    let text = stdout(&output);
    let findings: Vec<Value> =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", stderr(&output)));
    let pair = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        (text("check"), text("status"))
    };
    (output.status.code(), findings.iter().map(pair).collect(), text)
}

fn status<'a>(findings: &'a [(String, String)], check: &str) -> &'a str {
    &findings.iter().find(|(known, _)| known == check).unwrap().1
}

#[test]
fn doctor_reports_each_check_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (code, findings, text) = doctor(dir.path(), &[]);
    assert_eq!((code, status(&findings, "database")), (Some(0), "warning"), "{text}");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is created");
    let server = Process::serve(dir.path(), &[]);
    let (code, findings, text) = doctor(dir.path(), &[]);
    let checks: Vec<&str> = findings.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(checks, ["settings", "database", "secret", "clock", "mail", "proxy", "files"]);
    assert!(findings.iter().all(|(_, status)| status == "ok"), "{text}");
    assert_eq!(code, Some(0));
    server.terminate();
    server.wait_for_exit();
    let lines = stdout(&run(dir.path(), &["doctor"]));
    assert_eq!(lines.lines().count(), 7, "{lines}");
}

#[test]
fn doctor_reports_a_wrong_secret_a_readable_database_file_and_an_unreachable_database() {
    // S-36, S-102
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.terminate();
    server.wait_for_exit();
    let secret = dir.path().join("data/secret");
    let original = fs::read(&secret).unwrap();
    fs::write(&secret, "another-secret-that-is-long-enough-to-be-valid\n").unwrap();
    let (code, findings, text) = doctor(dir.path(), &[]);
    assert_eq!((code, status(&findings, "secret")), (Some(1), "failed"), "{text}");
    fs::write(&secret, original).unwrap();
    fs::set_permissions(dir.path().join("data/tripgate.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, findings, text) = doctor(dir.path(), &[]);
    assert_eq!((code, status(&findings, "files")), (Some(0), "warning"), "{text}");
    assert!(text.contains("tripgate.db has the mode 644"), "{text}");
    let (code, findings, text) =
        doctor(dir.path(), &["--database-url", "postgres://me:hunter2@127.0.0.1:1/x"]);
    assert_eq!((code, status(&findings, "database")), (Some(1), "failed"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let mut ignored = command(dir.path(), &["doctor"]);
    let lines = stdout(&finish(ignored.env("PORT", "80")));
    assert!(
        lines.lines().any(|line| line.starts_with("warning  settings") && line.contains("PORT")),
        "{lines}"
    );
}

#[test]
fn doctor_does_not_compare_the_secret_with_the_keys_when_the_database_cannot_be_read() {
    // S-36
    let dir = TempDir::new().unwrap();
    let (_, findings, text) = doctor(dir.path(), &[]);
    assert_eq!(status(&findings, "secret"), "ok", "{text}");
    assert!(text.contains("there is no secret yet; the first start creates it"), "{text}");
    let server = Process::serve(dir.path(), &[]);
    server.terminate();
    server.wait_for_exit();
    let unreachable = ["--database-url", "postgres://me:hunter2@127.0.0.1:1/x"];
    let (_, findings, text) = doctor(dir.path(), &unreachable);
    assert_eq!(status(&findings, "secret"), "ok", "{text}");
    assert!(text.contains("the secret is valid; not compared with the signing keys"), "{text}");
    assert!(!text.contains("there are no signing keys yet"), "{text}");
    fs::remove_file(dir.path().join("data/secret")).unwrap();
    // Without the database, it is unknown whether an earlier start stored signing keys.
    fs::rename(dir.path().join("data/tripgate.db"), dir.path().join("moved.db")).unwrap();
    for args in [&unreachable[..], &[]] {
        let (code, findings, text) = doctor(dir.path(), args);
        assert_eq!((code, status(&findings, "secret")), (Some(1), "warning"), "{text}");
        assert!(!text.contains("the first start creates it"), "{text}");
    }
}

#[tokio::test]
async fn a_server_whose_clock_differs_from_the_clock_of_the_database_is_not_ready() {
    // S-102
    let app = TestApp::start().await;
    app.clock.simulate_database_clock(TimeDelta::hours(1));
    housekeeping::sweep(app.services().clone()).await;
    app.anonymous().get("/health/ready").await.expect(503).problem("wrong_clock");
    app.anonymous().get("/health/live").await.expect(200);
    app.clock.simulate_database_clock(TimeDelta::zero());
    housekeeping::sweep(app.services().clone()).await;
    app.anonymous().get("/health/ready").await.expect(200);
}

#[test]
fn doctor_reports_a_mail_server_that_refuses_connections() {
    let dir = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp+plain://{}", listener.local_addr().unwrap());
    let args = ["--smtp-url", &url, "--mail-from", "trips@example.org"];
    let (_, findings, text) = doctor(dir.path(), &args);
    assert_eq!(status(&findings, "mail"), "ok", "{text}");
    drop(listener);
    let (code, findings, text) = doctor(dir.path(), &args);
    assert_eq!((code, status(&findings, "mail")), (Some(1), "failed"), "{text}");
}
