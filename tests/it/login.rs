//! Logging in: that nobody learns who has an account, that hashes keep up with the settings, and what
//! a login may ask for.

mod timing;

use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp};
use crate::stored;

const LOGIN: &str = "/api/v1/auth/login";
const VERIFY: &str = "/api/v1/auth/verify";

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

/// All that a client can see of an answer but the name of the request.
fn seen(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
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

/// A second server over the same data, with another cost.
async fn at_cost(app: &TestApp, cost: u32) -> TestApp {
    let settings = app.settings().clone();
    TestApp::with(|s| {
        *s = settings;
        s.bcrypt_cost = cost;
    })
    .await
}

#[tokio::test]
async fn logging_in_gives_a_session_by_either_identifier_whatever_its_case() {
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
                "server_time": "2026-03-02T09:30:00.000Z", "user": ada.grant()["user"],
            })
        );
        assert_ne!(grant["session_id"], ada.grant()["session_id"]);
    }
    assert_eq!(stored::sessions(&app).await.len(), 5);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
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
        let other = try_password(&app, identifier, password).await;
        assert_eq!(seen(&other), seen(&wrong), "{identifier}");
    }
    let wrong = verify(&app, "ada", "another harbour").await.expect(401).problem("invalid_credentials");
    assert_eq!(seen(&verify(&app, "brian", PASSWORD).await), seen(&wrong));
    assert_eq!(stored::sessions(&app).await.len(), 1, "a failed login began a session");
}

#[tokio::test]
async fn two_spellings_of_a_password_are_one_but_case_and_spaces_count() {
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
async fn the_database_holds_a_salted_hash_of_the_configured_cost() {
    // S-9
    let app = TestApp::with(|settings| settings.bcrypt_cost = 5).await;
    app.sign_up("ada").await;
    app.sign_up("brian").await;
    let users = stored::users(&app).await;
    let hashes: Vec<_> = users.iter().map(|user| user.password_hash.as_str()).collect();
    for hash in &hashes {
        assert!(hash.starts_with("$2b$05$") && hash.len() == 60, "{hash}");
    }
    assert_ne!(hashes[0], hashes[1], "the same password has the same hash");
    assert_ne!(hashes[0][7..29], hashes[1][7..29], "the salt is the same");
    assert!(!format!("{users:?}").contains(PASSWORD));
}

#[tokio::test]
async fn another_cost_hashes_again_at_the_next_login_alone() {
    // S-9
    let old = TestApp::start().await;
    old.sign_up("ada").await;
    old.sign_up("brian").await;
    let new = at_cost(&old, 6).await;
    let before = stored::password_hash(&new, "ada").await;
    try_password(&new, "ada", "another harbour").await.expect(401);
    assert_eq!(stored::password_hash(&new, "ada").await, before, "a failed login changed the hash");
    new.log_in("ada").await;
    let after = stored::password_hash(&new, "ada").await;
    assert!(before.starts_with("$2b$04$") && after.starts_with("$2b$06$"), "{before} {after}");
    assert!(stored::password_hash(&new, "brian").await.starts_with("$2b$04$"));
    new.log_in("ada").await;
    assert_eq!(stored::password_hash(&new, "ada").await, after, "it was hashed once more");
    verify(&new, "brian", PASSWORD).await.expect(200);
    assert!(stored::password_hash(&new, "brian").await.starts_with("$2b$06$"));
    // Dear hashes go as their owners come, so that the others need not be as slow for ever.
    old.log_in("ada").await;
    assert!(stored::password_hash(&old, "ada").await.starts_with("$2b$04$"));
    assert!(stored::password_hash(&old, "brian").await.starts_with("$2b$06$"));
}

#[tokio::test]
async fn a_damaged_hash_is_a_failed_login() {
    // S-9
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let good = stored::password_hash(&app, "ada").await;
    let wrong = try_password(&app, "brian", PASSWORD).await.expect(401);
    let cut = &good[..59];
    for damaged in ["x", "$2b$", "$2b$99$abc", "$2b$04$short", cut, "{SHA}deadbeef", PASSWORD, "ö$2b$04$"] {
        stored::set_password_hash(&app, "ada", damaged).await;
        let reply = try_password(&app, "ada", PASSWORD).await;
        assert_eq!(seen(&reply), seen(&wrong), "{damaged}");
        verify(&app, "ada", PASSWORD).await.expect(401).problem("invalid_credentials");
        assert_eq!(stored::password_hash(&app, "ada").await, damaged, "it was written over");
    }
    stored::set_password_hash(&app, "ada", &good).await;
    app.log_in("ada").await;
}

#[tokio::test]
async fn a_login_may_ask_for_less() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for (asked, given) in [
        ("trips:read", "trips:read"),
        ("trips:write account", "account trips:write"),
        ("account trips:read trips:write", "account trips:read trips:write"),
        ("account account", "account"),
    ] {
        let client = app.log_in_for("ada", asked).await;
        assert_eq!(client.grant()["scope"], given);
        let session = client.get("/api/v1/auth/session").await.expect(200).json();
        assert_eq!(session["scope"], given);
    }
    let reader = app.log_in_for("ada", "trips:read").await;
    reader.get("/api/v1/trips").await.expect(200);
    reader.post("/api/v1/trips").json(&json!({ "title": "Rome" })).await.expect(403);
    reader.get("/api/v1/me").await.expect(403).problem("insufficient_scope");
    assert_eq!(reader.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn an_unknown_scope_is_refused() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for scope in ["", " ", "admin", "account admin", "Account", "account  trips:read", "account,trips:read"] {
        let body = json!({ "identifier": "ada", "password": PASSWORD, "scope": scope });
        let reply = send(&app, &body).await.expect(422).problem("invalid");
        assert_eq!(reply.faults(), [("/scope".to_owned(), "not_allowed".to_owned())], "{scope:?}");
    }
    assert_eq!(stored::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn a_device_name_has_1_to_100_characters() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let body = |name: &str| json!({ "identifier": "ada", "password": PASSWORD, "device_name": name });
    let (longest, too_long) = ("ö".repeat(100), "ö".repeat(101));
    for (name, code) in [("", "too_short"), (too_long.as_str(), "too_long")] {
        let reply = send(&app, &body(name)).await.expect(422).problem("invalid");
        assert_eq!(reply.faults(), [("/device_name".to_owned(), code.to_owned())]);
    }
    assert_eq!(stored::sessions(&app).await.len(), 1);
    send(&app, &body("x")).await.expect(200);
    send(&app, &body(&longest)).await.expect(200);
    let mut names: Vec<_> =
        stored::sessions(&app).await.into_iter().filter_map(|row| row.device_name).collect();
    names.sort();
    assert_eq!(names, ["x", longest.as_str()]);
}

#[tokio::test]
async fn a_long_user_agent_is_cut_and_harms_nothing() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let agent = "a".repeat(5000);
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    app.anonymous().post(LOGIN).header("user-agent", agent).json(&body).await.expect(200);
    let lengths: Vec<_> =
        stored::sessions(&app).await.into_iter().filter_map(|row| row.user_agent).map(|a| a.len()).collect();
    assert_eq!(lengths, [512]);
}

#[tokio::test]
async fn members_that_login_does_not_have_are_refused() {
    // S-55, S-63
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    for member in ["username", "email", "user_id", "amr", "grant_type"] {
        let mut body = json!({ "identifier": "ada", "password": PASSWORD });
        body[member] = json!("canary-8c1");
        let reply = send(&app, &body).await.expect(422).problem("invalid");
        assert_eq!(reply.faults(), [(String::new(), "unknown_member".to_owned())], "{member}");
        assert!(!reply.text().contains("canary-8c1") && !reply.text().contains(PASSWORD));
    }
    let reply = send(&app, &json!({})).await.expect(422).problem("invalid");
    let mut faults = reply.faults();
    faults.sort();
    let required = |pointer: &str| (pointer.to_owned(), "required".to_owned());
    assert_eq!(faults, [required("/identifier"), required("/password")]);
    assert_eq!(stored::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn parallel_logins_each_begin_a_session_of_their_own() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let replies = join_all((0..30).map(|_| try_password(&app, "ada", PASSWORD))).await;
    let mut sessions: Vec<_> =
        replies.into_iter().map(|reply| reply.expect(200).json()["session_id"].to_string()).collect();
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 30);
    assert_eq!(stored::sessions(&app).await.len(), 31);
}

#[tokio::test]
async fn more_logins_than_can_be_hashed_are_turned_away_at_once() {
    // S-74
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let settings = app.settings().clone();
    let busy = TestApp::with(|s| {
        *s = settings;
        (s.bcrypt_cost, s.hash_wait_secs) = (12, 3);
    })
    .await;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let replies = join_all((0..24 * cores).map(async |_| {
        let started = Instant::now();
        let reply = try_password(&busy, "ada", "another harbour").await;
        (reply, started.elapsed())
    }))
    .await;
    let (checked, refused): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|(reply, _)| reply.status == 401);
    let mut times = Vec::new();
    for (reply, took) in refused {
        let reply = reply.expect(503).problem("overloaded");
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        assert!((1..60).contains(&seconds), "{seconds}");
        assert_eq!(reply.json()["client_action"], "retry");
        times.push(took);
    }
    times.sort();
    assert!(!checked.is_empty() && times.len() >= 4 * cores, "{} and {}", checked.len(), times.len());
    let median = times[times.len() / 2];
    assert!(median < Duration::from_millis(1500), "turned away after {median:?}");
    assert_eq!(stored::sessions(&app).await.len(), 1);
    // The queue empties, and nothing of it is left behind.
    app.log_in("ada").await;
    for _ in 0..40 {
        if try_password(&busy, "ada", PASSWORD).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the queue does not empty");
}

#[tokio::test]
async fn a_token_tells_whose_it_is_and_how_long_it_is_good() {
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
