//! The SQL statements that the throttle executes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use super::WRONG;
use crate::harness::PASSWORD;
use crate::harness::process::Process;

/// A server that logs its SQL statements.
struct Server {
    process: Process,
    _dir: TempDir,
}

impl Server {
    async fn start(args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let log = ["--log", "info,tripgate::sql=trace", "--log-format", "json"];
        let server = Self { process: Process::serve(dir.path(), &[&log, args].concat()), _dir: dir };
        server.process.sign_up("ada").await;
        server.log_until(&["/api/v1/auth/signup"]).await;
        server
    }

    /// Waits for a line of the log that contains these texts. Returns the log.
    async fn log_until(&self, texts: &[&str]) -> String {
        let begin = Instant::now();
        loop {
            let log = self.process.log();
            if log.lines().any(|line| texts.iter().all(|text| line.contains(text))) {
                return log;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "no line with {texts:?}: {log}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Logs in. Returns the first words of the statements on the buckets of the throttle, sorted.
    async fn log_in(&self, password: &str, status: u16) -> Vec<String> {
        let before = self.process.log().len();
        let call = self.process.call(Method::POST, "/api/v1/auth/login");
        let response = call.json(&json!({ "identifier": "ada", "password": password })).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let id = response.headers()["x-request-id"].to_str().unwrap();
        let log = self.log_until(&[id, "/api/v1/auth/login"]).await;
        let statements = log[before..].lines().filter(|line| line.contains("tripgate::sql"));
        // The sweep of expired buckets can run at any time. Only its statement has a `LIMIT`.
        let of_login =
            statements.filter(|line| line.contains("throttle_buckets") && !line.contains(" LIMIT "));
        let mut verbs: Vec<_> = of_login.map(verb).collect();
        // Sort the statements, because the order of the buckets depends on the secret of the server.
        verbs.sort();
        verbs
    }
}

/// Returns the first word of the statement in a line of the log.
fn verb(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let sql = line["attributes"]["db.query.text"].as_str().unwrap();
    sql.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_writes_throttle_buckets_only_after_a_failed_login_and_reads_none_if_the_limits_are_off() {
    let server = Server::start(&[]).await;
    for _ in 0..2 {
        assert_eq!(server.log_in(PASSWORD, 200).await, ["SELECT"]);
    }
    // A failed login increments three counters: by account and address, by address, and by account. The next
    // successful login resets the first counter. Each of these two logins checks again, before it changes the
    // counters, whether a counter is blocked.
    assert_eq!(server.log_in(WRONG, 401).await, ["INSERT", "INSERT", "INSERT", "SELECT", "SELECT", "UPDATE"]);
    assert_eq!(server.log_in(PASSWORD, 200).await, ["DELETE", "SELECT", "SELECT", "SELECT"]);
    assert_eq!(server.log_in(PASSWORD, 200).await, ["SELECT", "SELECT"]);
    let without_limits = Server::start(&["--limits", "off"]).await;
    assert!(without_limits.log_in(PASSWORD, 200).await.is_empty());
}
