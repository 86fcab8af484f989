//! Login: it does not reveal which accounts exist, it adapts password hashes to the configured cost, and it
//! validates its input.

mod timing;

use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, rows};

const LOGIN: &str = "/api/v1/auth/login";
const VERIFY: &str = "/api/v1/auth/verify";
const TOKENS: &str = "/api/v1/auth/tokens";

async fn send(app: &TestApp, body: &Value) -> Reply {
    app.anonymous().post(LOGIN).json(body).await
}

async fn try_password(app: &TestApp, identifier: &str, password: &str) -> Reply {
    send(app, &json!({ "identifier": identifier, "password": password })).await
}

async fn verify(app: &TestApp, identifier: &str, password: &str) -> Reply {
    app.anonymous().get(VERIFY).basic(identifier, password).await
}

pub(crate) async fn sign_up_with(app: &TestApp, username: &str, password: &str) {
    let body = json!({ "username": username, "password": password });
    app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201);
}

/// Returns the status, headers and body without the request id and the date, for comparisons.
fn comparable(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let mut body = reply.json();
    body["request_id"] = Value::Null;
    (reply.status, headers, body)
}

/// Starts another server with the same data and another bcrypt cost.
async fn at_cost(app: &TestApp, cost: u32) -> TestApp {
    let settings = app.settings().clone();
    TestApp::with(|s| {
        *s = settings;
        s.bcrypt_cost = cost;
    })
    .await
}

#[tokio::test]
async fn a_login_accepts_email_address_and_username_ignoring_case_and_starts_a_session() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    app.clock.advance(TimeDelta::hours(1));
    for identifier in ["ada", "ADA", "ada@example.org", "Ada@EXAMPLE.org"] {
        let body = json!({ "identifier": identifier, "password": PASSWORD, "device_name": "Pad" });
        let reply = send(&app, &body).await.expect(200);
        assert_eq!(reply.header("cache-control"), "no-store");
        let grant = reply.json();
        assert_eq!(
            grant,
            json!({
                "token_type": "Bearer", "access_token": grant["access_token"], "expires_in": 900,
                "refresh_token": grant["refresh_token"], "refresh_expires_in": 5_184_000,
                "session_id": grant["session_id"], "scope": "account trips:read trips:write",
                "server_time": "2026-03-02T09:30:00.000Z", "device_token": grant["device_token"],
                "user": ada.grant()["user"],
            })
        );
        assert_ne!(grant["session_id"], ada.grant()["session_id"]);
    }
    assert_eq!(rows::sessions(&app).await.len(), 5);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_response() {
    // S-10, S-11
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let wrong = try_password(&app, "ada", "another harbour").await.problem("invalid_credentials");
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    let huge = "x".repeat(5000);
    for (identifier, password) in [
        ("brian", "another harbour"),
        ("brian", PASSWORD),
        ("brian@example.org", PASSWORD),
        ("ada@example.org", "another harbour"),
        ("ada@example.org'--", PASSWORD),
        ("%", PASSWORD),
        ("", ""),
        ("ada", ""),
        ("ada", huge.as_str()),
        (huge.as_str(), PASSWORD),
    ] {
        let response = try_password(&app, identifier, password).await;
        assert_eq!(comparable(&response), comparable(&wrong), "{identifier}");
    }
    let wrong = verify(&app, "ada", "another harbour").await.expect(401).problem("invalid_credentials");
    assert_eq!(comparable(&verify(&app, "brian", PASSWORD).await), comparable(&wrong));
    assert_eq!(rows::sessions(&app).await.len(), 1, "a failed login started a session");
}

#[tokio::test]
async fn passwords_are_normalized_but_case_and_spaces_are_significant() {
    // S-7
    let app = TestApp::start().await;
    sign_up_with(&app, "ada", "Amélie à Lisbonne").await;
    sign_up_with(&app, "brian", "Ame\u{301}lie a\u{300} Lisbonne").await;
    for name in ["ada", "brian"] {
        try_password(&app, name, "Amélie à Lisbonne").await.expect(200);
        try_password(&app, name, "Ame\u{301}lie a\u{300} Lisbonne").await.expect(200);
        for other in
            ["amélie à lisbonne", "Amélie à Lisbonne ", " Amélie à Lisbonne", "Amelie a Lisbonne", "Amélie"]
        {
            try_password(&app, name, other).await.expect(401).problem("invalid_credentials");
        }
    }
}

#[tokio::test]
async fn the_database_contains_a_salted_password_hash_with_the_configured_cost() {
    // S-9
    let app = TestApp::with(|settings| settings.bcrypt_cost = 5).await;
    app.sign_up("ada").await;
    app.sign_up("brian").await;
    let users = rows::users(&app).await;
    let hashes: Vec<_> = users.iter().map(|user| user.password_hash.as_str()).collect();
    for hash in &hashes {
        assert!(hash.starts_with("$2b$05$") && hash.len() == 60, "{hash}");
    }
    assert_ne!(hashes[0], hashes[1], "equal hashes for equal passwords");
    assert_ne!(hashes[0][7..29], hashes[1][7..29], "equal salts");
    assert!(!format!("{users:?}").contains(PASSWORD));
}

#[tokio::test]
async fn after_a_change_of_the_bcrypt_cost_a_successful_login_rehashes_the_password() {
    // S-9
    let old = TestApp::start().await;
    old.sign_up("ada").await;
    old.sign_up("brian").await;
    let new = at_cost(&old, 6).await;
    let before = rows::password_hash(&new, "ada").await;
    try_password(&new, "ada", "another harbour").await.expect(401);
    assert_eq!(rows::password_hash(&new, "ada").await, before, "a failed login changed the hash");
    new.log_in("ada").await;
    let after = rows::password_hash(&new, "ada").await;
    assert!(before.starts_with("$2b$04$") && after.starts_with("$2b$06$"), "{before} {after}");
    assert!(rows::password_hash(&new, "brian").await.starts_with("$2b$04$"));
    new.log_in("ada").await;
    assert_eq!(rows::password_hash(&new, "ada").await, after, "an unnecessary rehash");
    verify(&new, "brian", PASSWORD).await.expect(200);
    assert!(rows::password_hash(&new, "brian").await.starts_with("$2b$06$"));
    // A login also replaces a hash whose cost is above the configured cost. A login of an unknown user takes
    // as long as the most expensive stored hash, so it becomes faster only after all those hashes are
    // replaced.
    old.log_in("ada").await;
    assert!(rows::password_hash(&old, "ada").await.starts_with("$2b$04$"));
    assert!(rows::password_hash(&old, "brian").await.starts_with("$2b$06$"));
}

#[tokio::test]
async fn a_login_with_a_damaged_password_hash_fails() {
    // S-9
    let app = TestApp::with(|settings| settings.limits = false).await;
    app.sign_up("ada").await;
    let good = rows::password_hash(&app, "ada").await;
    let wrong = try_password(&app, "brian", PASSWORD).await.expect(401);
    let cut = &good[..59];
    for damaged in ["x", "$2b$", "$2b$99$abc", "$2b$04$short", cut, "{SHA}deadbeef", PASSWORD, "ö$2b$04$"] {
        rows::set_password_hash(&app, "ada", damaged).await;
        let reply = try_password(&app, "ada", PASSWORD).await;
        assert_eq!(comparable(&reply), comparable(&wrong), "{damaged}");
        verify(&app, "ada", PASSWORD).await.expect(401).problem("invalid_credentials");
        assert_eq!(rows::password_hash(&app, "ada").await, damaged, "the hash was overwritten");
    }
    rows::set_password_hash(&app, "ada", &good).await;
    app.log_in("ada").await;
}

#[tokio::test]
async fn a_login_can_request_only_some_of_the_scopes() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for (requested, granted) in [
        ("trips:read", "trips:read"),
        ("trips:write account", "account trips:write"),
        ("account trips:read trips:write", "account trips:read trips:write"),
        ("account account", "account"),
    ] {
        let client = app.log_in_for("ada", requested).await;
        assert_eq!(client.grant()["scope"], granted);
        let session = client.get("/api/v1/auth/session").await.expect(200).json();
        assert_eq!(session["scope"], granted);
    }
    let reader = app.log_in_for("ada", "trips:read").await;
    reader.get("/api/v1/trips").await.expect(200);
    reader.post("/api/v1/trips").json(&json!({ "title": "Rome" })).await.expect(403);
    reader.get("/api/v1/me").await.expect(403).problem("insufficient_scope");
    assert_eq!(reader.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn an_unknown_scope_is_rejected() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for scope in ["", " ", "admin", "account admin", "Account", "account  trips:read", "account,trips:read"] {
        let body = json!({ "identifier": "ada", "password": PASSWORD, "scope": scope });
        let reply = send(&app, &body).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [("/scope".to_owned(), "not_allowed".to_owned())], "{scope:?}");
    }
    assert_eq!(rows::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn a_device_name_has_1_to_100_characters() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let body = |name: &str| json!({ "identifier": "ada", "password": PASSWORD, "device_name": name });
    let (longest, too_long) = ("ö".repeat(100), "ö".repeat(101));
    for (name, code) in [("", "too_short"), (too_long.as_str(), "too_long")] {
        let reply = send(&app, &body(name)).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [("/device_name".to_owned(), code.to_owned())]);
    }
    assert_eq!(rows::sessions(&app).await.len(), 1);
    send(&app, &body("x")).await.expect(200);
    send(&app, &body(&longest)).await.expect(200);
    let mut names: Vec<_> =
        rows::sessions(&app).await.into_iter().filter_map(|row| row.device_name).collect();
    names.sort();
    assert_eq!(names, ["x", longest.as_str()]);
}

#[tokio::test]
async fn a_long_user_agent_is_truncated() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let agent = "a".repeat(5000);
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    app.anonymous().post(LOGIN).header("user-agent", agent).json(&body).await.expect(200);
    let lengths: Vec<_> =
        rows::sessions(&app).await.into_iter().filter_map(|row| row.user_agent).map(|a| a.len()).collect();
    assert_eq!(lengths, [512]);
}

#[tokio::test]
async fn login_rejects_unknown_and_missing_fields() {
    // S-55, S-63
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for field in ["username", "email", "user_id", "amr", "grant_type"] {
        let mut body = json!({ "identifier": "ada", "password": PASSWORD });
        body[field] = json!("canary-8c1");
        let reply = send(&app, &body).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), [(format!("/{field}"), "unknown_member".to_owned())], "{field}");
        assert!(!reply.text().contains("canary-8c1") && !reply.text().contains(PASSWORD));
    }
    let reply = send(&app, &json!({})).await.expect(422).problem("invalid");
    let mut errors = reply.field_errors();
    errors.sort();
    let required = |pointer: &str| (pointer.to_owned(), "required".to_owned());
    assert_eq!(errors, [required("/identifier"), required("/password")]);
    assert_eq!(rows::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn each_concurrent_login_starts_its_own_session() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let replies = join_all((0..30).map(|_| try_password(&app, "ada", PASSWORD))).await;
    let mut sessions: Vec<_> =
        replies.into_iter().map(|reply| reply.expect(200).json()["session_id"].to_string()).collect();
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 30);
    assert_eq!(rows::sessions(&app).await.len(), 31);
}

#[tokio::test]
async fn logins_are_rejected_at_once_when_the_hash_queue_is_full() {
    // S-74
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let settings = app.settings().clone();
    let busy = TestApp::with(|s| {
        *s = settings;
        (s.bcrypt_cost, s.hash_wait_secs, s.limits) = (12, 1, false);
    })
    .await;
    // Use one server, because each server has its own queue.
    let busy = busy.single().await;
    // Wait until the server checks a password in time. On a busy machine, one hash can take longer than the
    // `hash_wait_secs` of this server.
    while try_password(&busy, "ada", "another harbour").await.status == 503 {}
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let replies = join_all((0..24 * cores).map(async |_| {
        let started = Instant::now();
        let reply = try_password(&busy, "ada", "another harbour").await;
        (reply, started.elapsed())
    }))
    .await;
    let (checked, rejected): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|(reply, _)| reply.status == 401);
    let mut times = Vec::new();
    for (reply, duration) in rejected {
        let reply = reply.expect(503).problem("overloaded");
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        assert!((1..60).contains(&seconds), "{seconds}");
        assert_eq!(reply.json()["client_action"], "retry");
        times.push(duration);
    }
    times.sort();
    assert!(!checked.is_empty() && times.len() >= 4 * cores, "{} and {}", checked.len(), times.len());
    let median = times[times.len() / 2];
    // On a busy machine, rejections and password checks take longer. The limit is therefore at least the time
    // of the slowest check.
    let last_check = checked.iter().map(|(_, duration)| *duration).max().unwrap();
    let limit = last_check.max(Duration::from_millis(1500));
    assert!(median < limit, "the median time until a rejection is {median:?}, which is not below {limit:?}");
    assert_eq!(rows::sessions(&app).await.len(), 1);
    // After the load, the queue becomes empty, and logins succeed again.
    app.log_in("ada").await;
    for _ in 0..40 {
        if try_password(&busy, "ada", PASSWORD).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the queue does not drain");
}

#[tokio::test]
async fn the_session_endpoint_returns_the_owner_and_lifetime_of_a_token() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    app.clock.advance(TimeDelta::minutes(3));
    let ada = app.log_in_for("ada", "trips:read").await;
    app.clock.advance(TimeDelta::minutes(1));
    let session = ada.get("/api/v1/auth/session").await.expect(200).json();
    assert_eq!(
        session,
        json!({
            "user_id": ada.id(), "session_id": ada.grant()["session_id"], "scope": "trips:read",
            "amr": ["pwd"], "issued_at": "2026-03-02T08:33:00.000Z", "expires_at": "2026-03-02T08:48:00.000Z",
        })
    );
    let reply = app.anonymous().get("/api/v1/auth/session").await.expect(401).problem("unauthenticated");
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="tripgate""#);
    app.anonymous().get("/api/v1/auth/session").basic("ada", PASSWORD).await.expect(401);
}

#[tokio::test]
async fn null_for_an_optional_field_of_a_sign_up_or_login_is_treated_as_absent() {
    // N-12
    let app = TestApp::start().await;
    let sign_up = |body: &Value| app.anonymous().post("/api/v1/auth/signup").json(body);
    let body = json!({
        "email": null, "username": "ada", "password": PASSWORD, "display_name": null, "device_name": null,
    });
    let user = sign_up(&body).await.expect(201).json()["user"].clone();
    assert!(user.get("email").is_none() && user.get("display_name").is_none(), "{user}");
    let login = json!({ "identifier": "ada", "password": PASSWORD, "device_name": null, "scope": null });
    app.anonymous().post("/api/v1/auth/login").json(&login).await.expect(200);
    let neither = json!({ "email": null, "username": null, "password": PASSWORD });
    sign_up(&neither).await.expect(422).problem("invalid");
}
