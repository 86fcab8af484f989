//! The address of the client behind a proxy, from forwarding headers and from the PROXY protocol, and the
//! warnings if the settings do not match the proxy.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::process::Process;

/// Sends a login with a wrong password and these headers.
async fn fail_to_log_in(server: &Process, headers: &[(&str, &str)]) {
    let mut call = server.call(Method::POST, "/api/v1/auth/login");
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let body = json!({ "identifier": "nobody", "password": "another harbour" });
    assert_eq!(call.json(&body).send().await.unwrap().status(), 401);
}

/// Stops the server and returns the lines of its log that contain `text`.
fn lines(server: Process, text: &str) -> Vec<String> {
    server.terminate();
    let (_, log) = server.wait_for_exit();
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_log_contains_the_address_that_a_trusted_proxy_forwards() {
    // N-6, S-15, S-84
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
    fail_to_log_in(&server, &[("x-forwarded-for", "192.0.2.9, 203.0.113.7:4711, 10.1.1.1")]).await;
    let long = format!("{}2001:db8::7", "junk, ".repeat(1360));
    fail_to_log_in(&server, &[("x-forwarded-for", &long)]).await;
    fail_to_log_in(&server, &[("forwarded", r#"for="[2001:db8::9]:80";proto=https"#)]).await;
    let found = lines(server, "client_address=");
    for address in ["203.0.113.7", "2001:db8::7", "2001:db8::9"] {
        let of_client: Vec<_> =
            found.iter().filter(|line| line.contains(&format!("client_address={address}"))).collect();
        assert_eq!(of_client.len(), 2, "one access and one audit line for {address}: {found:?}");
        assert!(of_client.iter().any(|line| line.contains("login_failed")), "{of_client:?}");
    }
    assert!(!found.iter().any(|line| line.contains("192.0.2.9")), "{found:?}");
}

#[tokio::test]
async fn forwarding_headers_of_an_untrusted_peer_are_ignored_with_one_warning() {
    // N-6, S-15
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &["--trusted-proxies", "10.0.0.0/8"]);
    for _ in 0..3 {
        fail_to_log_in(&server, &[("x-forwarded-for", "203.0.113.7")]).await;
    }
    server.terminate();
    let (_, log) = server.wait_for_exit();
    assert_eq!(log.matches("ignored forwarding headers").count(), 1, "{log}");
    assert!(!log.contains("203.0.113.7") && log.contains("client_address=127.0.0.1"), "{log}");
}

#[tokio::test]
async fn requests_with_a_host_other_than_the_public_one_cause_one_warning() {
    // N-3
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    fail_to_log_in(&server, &[]).await;
    let probe = server.call(Method::GET, "/health/live").header("host", "10.0.0.5:8080");
    assert_eq!(probe.send().await.unwrap().status(), 200);
    for _ in 0..3 {
        fail_to_log_in(&server, &[("host", "trips.example")]).await;
    }
    let warnings = lines(server, "another host than public_url");
    assert!(warnings.len() == 1 && warnings[0].contains("trips.example"), "{warnings:?}");
}

/// Sends a login with a wrong password on a connection that begins with a PROXY protocol header, which
/// contains the address `client`. Returns the response.
fn fail_to_log_in_as_proxy(server: &Process, client: [u8; 4], headers: &str) -> String {
    let body = json!({ "identifier": "nobody", "password": "another harbour" }).to_string();
    let request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let ports = [[127, 0, 0, 1], [0x12, 0x34, 1, 187]].concat();
    let bytes = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C", &client[..], &ports, request.as_bytes()].concat();
    let mut tcp = TcpStream::connect(server.address).unwrap();
    tcp.write_all(&bytes).unwrap();
    let mut response = String::new();
    tcp.read_to_string(&mut response).unwrap();
    response
}

#[tokio::test]
async fn the_log_contains_the_address_that_a_proxy_sends_by_the_proxy_protocol() {
    // S-15
    let dir = TempDir::new().unwrap();
    let proxies = "127.0.0.1,198.51.100.0/24";
    let server = Process::serve(dir.path(), &["--proxy-protocol", "on", "--trusted-proxies", proxies]);
    let forged = "X-Forwarded-For: 203.0.113.7\r\n";
    assert!(fail_to_log_in_as_proxy(&server, [192, 0, 2, 7], forged).starts_with("HTTP/1.1 401"));
    // The PROXY header contains the address of another trusted proxy, so the forwarding header is used.
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    assert!(fail_to_log_in_as_proxy(&server, [198, 51, 100, 1], forwarded).starts_with("HTTP/1.1 401"));
    let login = server.call(Method::POST, "/api/v1/auth/login").send().await;
    assert!(login.is_err(), "a connection of the proxy without a header got a response");
    server.terminate();
    let (_, log) = server.wait_for_exit();
    for address in ["192.0.2.7", "203.0.113.9"] {
        let count = log.matches(&format!("client_address={address}")).count();
        assert_eq!(count, 2, "one access and one audit line for {address}: {log}");
    }
    assert!(!log.contains("203.0.113.7"), "{log}");
    assert_eq!(log.matches("must use the PROXY protocol").count(), 1, "{log}");
}

#[test]
fn failed_logins_are_counted_by_the_address_that_a_proxy_sends_by_the_proxy_protocol() {
    // S-14, S-15
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &["--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1"]);
    for _ in 0..10 {
        assert!(fail_to_log_in_as_proxy(&server, [192, 0, 2, 7], "").starts_with("HTTP/1.1 401"));
    }
    assert!(fail_to_log_in_as_proxy(&server, [192, 0, 2, 7], "").starts_with("HTTP/1.1 429"));
    assert!(fail_to_log_in_as_proxy(&server, [192, 0, 2, 8], "").starts_with("HTTP/1.1 401"));
}
