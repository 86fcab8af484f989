//! HTTP Digest (RFC 7616) with personal access tokens.

use std::fmt::Write;
use std::process::Command;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tripgate::secrets::sha256;

use super::create;
use crate::harness::{Client, PASSWORD, Reply, TestApp};

const TRIPS: &str = "/api/v1/trips";

async fn with_digest() -> TestApp {
    TestApp::with(|settings| settings.auth_methods.digest = true).await
}

fn hash(text: &str) -> String {
    let mut digits = String::new();
    for byte in sha256(text.as_bytes()) {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}

/// Returns the Digest challenge of a response.
fn challenge(reply: &Reply) -> String {
    let all = reply.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap());
    all.filter(|value| value.starts_with("Digest ")).map(str::to_owned).next().unwrap()
}

fn nonce(reply: &Reply) -> String {
    challenge(reply).split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// The fields of a Digest response.
#[derive(Clone)]
struct Fields {
    method: &'static str,
    username: String,
    password: String,
    uri: String,
    nonce: String,
    nc: String,
    algorithm: &'static str,
    qop: &'static str,
    realm: &'static str,
}

impl Fields {
    fn header(&self) -> String {
        let Self { method, username, password, uri, nonce, nc, algorithm, qop, realm } = self;
        let (a1, a2) = (hash(&format!("{username}:{realm}:{password}")), hash(&format!("{method}:{uri}")));
        let response = hash(&format!("{a1}:{nonce}:{nc}:abc:{qop}:{a2}"));
        format!(
            r#"Digest username="{username}", realm="{realm}", uri="{uri}", algorithm={algorithm}, nonce="{nonce}", nc={nc}, cnonce="abc", qop={qop}, response="{response}""#
        )
    }
}

/// Creates a token for Digest; returns the fields of a valid first request for the list of trips.
async fn valid(app: &TestApp, owner: &Client, scope: &str) -> Fields {
    let token = create(owner, json!({ "name": "x", "scope": scope, "digest": true })).await;
    assert_eq!(token["digest"], true);
    let text = |name: &str| token[name].as_str().unwrap().to_owned();
    Fields {
        method: "GET",
        username: text("id"),
        password: text("token"),
        uri: TRIPS.to_owned(),
        nonce: nonce(&app.anonymous().get(TRIPS).await.expect(401)),
        nc: "00000001".to_owned(),
        algorithm: "SHA-256",
        qop: "auth",
        realm: "tripgate",
    }
}

async fn send(app: &TestApp, fields: &Fields) -> Reply {
    app.anonymous().get(TRIPS).header("authorization", fields.header()).await
}

#[tokio::test]
async fn a_digest_response_is_accepted_once_for_each_nonce_count() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let mut fields = valid(&app, &ada, "trips:read").await;
    let refused = app.anonymous().get(TRIPS).await.expect(401).problem("unauthenticated");
    let offered = challenge(&refused);
    assert!(offered.contains(r#"qop="auth", algorithm=SHA-256"#) && !offered.contains("stale"), "{offered}");
    send(&app, &fields).await.expect(200);
    // A replay is rejected, even on another replica.
    let replica = app.replica().await;
    for server in [&app, &replica] {
        let replay = send(server, &fields).await.expect(401).problem("invalid_credentials");
        assert!(challenge(&replay).contains("stale=true"));
    }
    for (nc, status) in [("00000002", 200), ("00000009", 200), ("00000003", 401), ("0000000A", 200)] {
        nc.clone_into(&mut fields.nc);
        send(&replica, &fields).await.expect(status);
    }
}

#[tokio::test]
async fn exactly_one_of_many_parallel_requests_with_one_nonce_count_succeeds() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let fields = valid(&app, &ada, "trips:read").await;
    let all = (0..20).map(async |_| send(&app, &fields).await.status);
    let statuses = futures_util::future::join_all(all).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 19, "{statuses:?}");
}

#[tokio::test]
async fn an_expired_nonce_and_a_nonce_of_another_server_get_stale_true() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let mut fields = valid(&app, &ada, "trips:read").await;
    let other = with_digest().await;
    let foreign = nonce(&other.anonymous().get(TRIPS).await);
    let foreign = Fields { nonce: foreign, ..fields.clone() };
    assert!(challenge(&send(&app, &foreign).await.expect(401)).contains("stale=true"));
    app.clock.advance(TimeDelta::minutes(5));
    let stale = send(&app, &fields).await.expect(401);
    assert!(challenge(&stale).contains("stale=true"));
    fields.nonce = nonce(&stale);
    send(&app, &fields).await.expect(200);
    // If the password is wrong, the challenge has no `stale=true`, because the client must not repeat the
    // request with a new nonce.
    let wrong = Fields { password: "x".to_owned(), nonce: "x".to_owned(), ..fields };
    assert!(!challenge(&send(&app, &wrong).await.expect(401)).contains("stale"));
}

#[tokio::test]
async fn a_digest_response_with_a_wrong_value_is_refused() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let fields = valid(&app, &ada, "trips:read").await;
    let plain = create(&ada, json!({ "name": "x", "scope": "trips:read" })).await;
    let text = |name: &str| plain[name].as_str().unwrap().to_owned();
    for wrong in [
        Fields { uri: "/api/v1/me".to_owned(), ..fields.clone() },
        Fields { uri: format!("{TRIPS}?limit=1"), ..fields.clone() },
        Fields { method: "POST", ..fields.clone() },
        Fields { algorithm: "MD5", ..fields.clone() },
        Fields { algorithm: "SHA", ..fields.clone() },
        Fields { algorithm: "SHA-256-sess", ..fields.clone() },
        Fields { qop: "auth-int", ..fields.clone() },
        Fields { realm: "other", ..fields.clone() },
        Fields { nc: "1".to_owned(), ..fields.clone() },
        Fields { nc: "00000000".to_owned(), ..fields.clone() },
        Fields { password: text("token"), ..fields.clone() },
        // The id and text of a token that was not created for Digest, and the name and password of the
        // account.
        Fields { username: text("id"), password: text("token"), ..fields.clone() },
        Fields { username: "ada".to_owned(), password: PASSWORD.to_owned(), ..fields.clone() },
        Fields { username: fields.username.to_uppercase(), ..fields.clone() },
    ] {
        let reply = send(&app, &wrong).await.expect(401).problem("invalid_credentials");
        assert!(!challenge(&reply).contains("stale"), "{}", wrong.header());
    }
    for malformed in ["Digest", "Digest x", r#"Digest username="a"#] {
        let reply = app.anonymous().get(TRIPS).header("authorization", malformed).await;
        reply.expect(401).problem("invalid_credentials");
    }
    // The rejected requests have not used up the nonce count of the valid request.
    send(&app, &fields).await.expect(200);
}

#[tokio::test]
async fn digest_works_for_head_and_post_requests_within_the_scopes_of_the_token() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let mut fields = valid(&app, &ada, "trips:read").await;
    fields.method = "HEAD";
    app.anonymous().head(TRIPS).header("authorization", fields.header()).await.expect(200);
    (fields.method, fields.nc) = ("POST", "00000002".to_owned());
    let create = app.anonymous().post(TRIPS).header("authorization", fields.header());
    create.json(&json!({ "title": "Lisbon" })).await.expect(403).problem("insufficient_scope");
}

#[tokio::test]
async fn digest_is_offered_and_accepted_only_if_enabled_and_never_in_place_of_a_password() {
    // S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let fields = valid(&app, &ada, "account trips:read").await;
    let off = app.replica_with(|settings| settings.auth_methods.digest = false).await;
    let reply = send(&off, &fields).await.expect(401).problem("unauthenticated");
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    // A personal access token can neither create another token nor replace a password.
    for (method, path) in [("POST", "/api/v1/auth/tokens"), ("GET", "/api/v1/auth/verify")] {
        let header = Fields { method, uri: path.to_owned(), ..fields.clone() }.header();
        let call = app.anonymous().call(method.parse::<Method>().unwrap(), path);
        call.header("authorization", header).await.expect(401).problem("unauthenticated");
    }
}

#[tokio::test]
async fn a_removed_personal_token_is_refused_in_digest_authentication() {
    // S-93, S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let mut fields = valid(&app, &ada, "trips:read").await;
    send(&app, &fields).await.expect(200);
    ada.delete(&format!("{}/{}", super::TOKENS, fields.username)).await.expect(204);
    fields.nc = "00000002".to_owned();
    send(&app, &fields).await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn an_expired_personal_token_is_refused_in_digest_authentication() {
    // S-93, S-94
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let body =
        json!({ "name": "x", "scope": "trips:read", "digest": true, "expires_at": "2026-03-02T08:31:00Z" });
    let token = create(&ada, body).await;
    let text = |name: &str| token[name].as_str().unwrap().to_owned();
    let fields =
        Fields { username: text("id"), password: text("token"), ..valid(&app, &ada, "trips:read").await };
    app.clock.advance(TimeDelta::seconds(59));
    send(&app, &fields).await.expect(200);
    app.clock.advance(TimeDelta::seconds(1));
    let next = Fields { nc: "00000002".to_owned(), ..fields };
    let refused = send(&app, &next).await.expect(401).problem("invalid_credentials");
    // A new nonce does not help, so the client must not repeat the request.
    assert!(!challenge(&refused).contains("stale"), "{}", challenge(&refused));
}

#[tokio::test]
async fn used_nonces_are_deleted_after_a_week() {
    let app = with_digest().await;
    let ada = app.sign_up("ada").await;
    let fields = valid(&app, &ada, "trips:read").await;
    send(&app, &fields).await.expect(200);
    for (days, left) in [(6, 1), (2, 0)] {
        app.clock.advance(TimeDelta::days(days));
        app.services().personal_tokens.sweep().await.unwrap();
        assert_eq!(crate::harness::rows::digest_nonces(&app).await, left);
    }
}

/// Runs curl; returns the status and the body.
fn curl(args: &[&str]) -> (String, Value) {
    let output = Command::new("curl").args(["-s", "-w", "\n%{http_code}"]).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_authenticates_by_digest() {
    // S-94
    let app = TestApp::with(|settings| {
        settings.auth_methods.digest = true;
        settings.auth_methods.basic = true;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let fields = valid(&app, &ada, "trips:read trips:write").await;
    let user = format!("{}:{}", fields.username, fields.password);
    let url = format!("http://{}{TRIPS}", app.address());
    let (status, list) = curl(&["--digest", "-u", &user, &format!("{url}?limit=5")]);
    assert_eq!((status.as_str(), &list["items"]), ("200", &json!([])));
    let (status, created) = curl(&[
        "--digest",
        "-u",
        &user,
        "-H",
        "Content-Type: application/json",
        "-d",
        r#"{"title":"Lisbon"}"#,
        &url,
    ]);
    assert_eq!((status.as_str(), created["title"].as_str()), ("201", Some("Lisbon")));
    let (status, problem) = curl(&["--digest", "-u", &format!("{}:x", fields.username), &url]);
    assert_eq!((status.as_str(), problem["code"].as_str()), ("401", Some("invalid_credentials")));
}
