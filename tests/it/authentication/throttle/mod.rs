//! The throttle: after too many failures, further attempts get 429 for some time. The owner of an account is
//! never locked out.
//!
//! The server trusts the tests as a proxy, so each request states the address of its client in
//! `X-Forwarded-For`.

mod attack;
mod buckets;
mod cluster;
mod cost;
mod devices;
mod operations;

use serde_json::json;

use crate::harness::{Call, PASSWORD, Reply, TestApp};

pub(crate) const WRONG: &str = "another harbour";
/// The IP address of most clients in these tests.
const HOME: &str = "203.0.113.1";

/// Starts a server that trusts the test as a proxy.
async fn start() -> TestApp {
    TestApp::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await
}

/// Returns the request of a login from an IP address.
fn login(app: &TestApp, address: &str, name: &str, password: &str) -> Call {
    let body = json!({ "identifier": name, "password": password });
    app.anonymous().post("/api/v1/auth/login").header("x-forwarded-for", address).json(&body)
}

/// Sends `count` logins with a wrong password, and asserts that each of the passwords is compared.
async fn fail(app: &TestApp, address: &str, name: &str, count: usize) {
    for attempt in 0..count {
        let reply = login(app, address, name, WRONG).await;
        assert_eq!(reply.status, 401, "attempt {attempt}: {}", reply.text());
    }
}

/// Asserts that a response refuses an attempt, and returns the seconds to wait.
#[track_caller]
fn refused(reply: Reply) -> i64 {
    let reply = reply.expect(429).problem("too_many_attempts");
    let secs = reply.header("retry-after").parse().unwrap();
    assert!(reply.header("ratelimit").ends_with(&format!(";r=0;t={secs}")), "{:?}", reply.headers);
    assert!(reply.header("ratelimit-policy").contains(";q="), "{:?}", reply.headers);
    secs
}

/// Logs in with the correct password and asserts success.
async fn succeed(app: &TestApp, address: &str, name: &str) {
    login(app, address, name, PASSWORD).await.expect(200);
}
