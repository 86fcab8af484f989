//! The documentation pages of problems: each code has one page, and the example on the page equals the real
//! response.

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tripgate::config::Signup;
use tripgate::web::problem::ProblemCode;

use crate::harness::{Client, PASSWORD, Reply, TestApp};

const TRIPS: &str = "/api/v1/trips";
const LOGIN: &str = "/api/v1/auth/login";
const REFRESH: &str = "/api/v1/auth/refresh";

/// Codes that the requests below do not produce. Most of these codes come only from a failing, overloaded or
/// stopping server. The unit tests of the problem pages produce eight of them.
const HARD_TO_PRODUCE: &[ProblemCode] = &[
    // The listener sends this response, not the middleware.
    ProblemCode::HeadersTooLarge,
    ProblemCode::RequestTimeout,
    ProblemCode::IdempotencyInProgress,
    ProblemCode::Internal,
    ProblemCode::Busy,
    ProblemCode::TooManySearches,
    ProblemCode::SearchTimeout,
    ProblemCode::DatabaseUnavailable,
    ProblemCode::OutcomeUnknown,
    ProblemCode::StorageFull,
    // The default quotas are too high for a test.
    ProblemCode::QuotaExceeded,
    ProblemCode::Overloaded,
    ProblemCode::ShuttingDown,
    ProblemCode::NoSigningKey,
    ProblemCode::WrongClock,
    ProblemCode::WrongPublicUrl,
    ProblemCode::NewerSchema,
];

/// The example response of a page.
struct Example {
    status: String,
    headers: Vec<(String, String)>,
    body: Value,
}

async fn example(app: &TestApp, slug: &str) -> Example {
    let page = app.anonymous().get(&format!("/problems/{slug}")).undocumented().await.expect(200);
    let (_, rest) = page.text().split_once("<pre tabindex=\"0\"><code>").unwrap();
    let text = rest.split_once("</code></pre>").unwrap().0;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Example {
        status,
        headers: lines.map(|line| header(line).unwrap()).collect(),
        body: serde_json::from_str(body).unwrap(),
    }
}

#[tokio::test]
async fn every_problem_code_has_exactly_one_page() {
    // S-64
    let app = TestApp::start().await;
    let anonymous = app.anonymous();
    let list = anonymous.get("/problems").undocumented().await.expect(200);
    assert_eq!(list.text().matches("<li><a href=\"problems/").count(), ProblemCode::ALL.len());
    for code in ProblemCode::ALL {
        let slug = code.name().replace('_', "-");
        assert!(list.text().contains(&format!("href=\"problems/{slug}\"")), "{slug}");
        assert!(list.text().contains(&format!("<section id=\"{}\">", code.status())), "{slug}");
        let page = anonymous.get(&format!("/problems/{slug}")).undocumented().await.expect(200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let (prose, _) = page.text().split_once("<pre").unwrap();
        let text = prose.replace("<code>", "`").replace("</code>", "`");
        for words in [code.name(), code.title(), code.explanation(), code.client_action()] {
            assert!(text.contains(words), "{slug}: {words}");
        }
        for part in ["<h2>Why it happens</h2>\n<ul>\n<li>", "<h2>What an app should do</h2>\n<ul>\n<li>"] {
            assert!(prose.contains(part), "{slug}: {part}");
        }
        assert!(!prose.contains('`'), "{slug}");
    }
    for unknown in ["x", "not_found", "NOT-FOUND", "not-found.html", "bad-request-", "init.js"] {
        anonymous.get(&format!("/problems/{unknown}")).undocumented().await.expect(404).problem("not_found");
    }
    let problem = anonymous.get("/api/v1/me").await.expect(401).json();
    anonymous.get(problem["type"].as_str().unwrap()).undocumented().await.expect(200);
}

#[tokio::test]
async fn every_example_on_a_problem_page_equals_the_real_response() {
    let app = TestApp::start().await;
    let mut replies = malformed(&app).await;
    replies.extend(unauthorized(&app).await);
    replies.extend(conflicts(&app).await);
    replies.push(throttled(&app).await);
    let mut codes = Vec::new();
    for reply in replies {
        let real = reply.json();
        let code = real["code"].as_str().unwrap().to_owned();
        let expected = example(&app, &code.replace('_', "-")).await;
        assert!(expected.status.starts_with(&format!("HTTP/1.1 {} ", reply.status)), "{}", expected.status);
        for (name, value) in &expected.headers {
            assert_eq!(reply.header(name), value, "{code}");
        }
        let mut body = expected.body;
        body["request_id"] = real["request_id"].clone();
        if real.get("mfa_token").is_some() {
            body["mfa_token"] = real["mfa_token"].clone();
        }
        assert_eq!(body, real, "{code}");
        codes.push(code);
    }
    let mut all: Vec<String> = ProblemCode::ALL.iter().map(|code| code.name().to_owned()).collect();
    codes.extend(HARD_TO_PRODUCE.iter().map(|code| code.name().to_owned()));
    codes.sort_unstable();
    all.sort_unstable();
    assert_eq!(codes, all);
}

#[tokio::test]
async fn examples_of_problems_that_are_hard_to_produce_use_error_texts_from_the_source() {
    let app = TestApp::start().await;
    let mut source = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                source.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    for code in HARD_TO_PRODUCE {
        let body = example(&app, &code.name().replace('_', "-")).await.body;
        let detail = body["detail"].as_str().unwrap();
        assert!(source.contains(&format!("\"{detail}\"")), "{detail:?} is not in the source");
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["type", "title", "status", "detail", "code", "request_id", "client_action"]);
    }
}

/// Sends requests that violate the rules of HTTP, of JSON or of the API.
async fn malformed(app: &TestApp) -> Vec<Reply> {
    let ada = app.sign_up("ada").await;
    let anonymous = app.anonymous();
    let signup = |body: Value| anonymous.post("/api/v1/auth/signup").json(&body);
    let title = json!({ "title": "Lisbon" });
    let unknown_code = json!({ "flow_id": "01990f2e-7c1a-7d33-9a51-6f0f4b8f2a10", "code": "12345678" });
    vec![
        ada.get(&format!("{TRIPS}?limit=1&limit=2")).await,
        anonymous.post(LOGIN).header("content-type", "application/json").body("{,").await,
        ada.get(TRIPS).header("authorization", "Bearer x").await,
        ada.get(&format!("{TRIPS}?cursor=x")).await,
        ada.post(TRIPS).header("idempotency-key", "").json(&title).await,
        ada.call(Method::PUT, TRIPS).await,
        ada.get(TRIPS).header("accept", "text/html").await,
        anonymous.post(LOGIN).header("content-type", "application/json").body(vec![b' '; 300_000]).await,
        anonymous.post(LOGIN).header("content-type", "text/plain").body("{}").await,
        signup(json!({ "username": "bob", "password": "short" })).await,
        anonymous.post("/api/v1/auth/login/code/confirm").json(&unknown_code).await,
    ]
}

/// Sends requests without a valid or sufficient credential.
async fn unauthorized(app: &TestApp) -> Vec<Reply> {
    let anonymous = app.anonymous();
    let reader = app.log_in_for("ada", "trips:read").await;
    let logged_out = app.log_in("ada").await;
    let refresh = |token: &Value| anonymous.post(REFRESH).json(&json!({ "refresh_token": token }));
    let revoked = logged_out.grant()["refresh_token"].clone();
    anonymous.post("/api/v1/auth/logout").json(&json!({ "refresh_token": revoked })).await.expect(204);
    let stale = app.log_in("ada").await;
    app.clock.advance(TimeDelta::minutes(6));
    let closed = app.replica_with(|settings| settings.signup = Signup::Closed).await;
    let inviting = app.replica_with(|settings| settings.signup = Signup::Invite).await;
    let confirming = app.replica_with(|settings| settings.signup = Signup::ConfirmFirst).await;
    let brian = json!({ "username": "brian", "password": PASSWORD });
    app.sign_up_with_totp("grace").await;
    vec![
        anonymous.post(LOGIN).json(&json!({ "identifier": "grace", "password": PASSWORD })).await,
        confirming.anonymous().post(LOGIN).json(&json!({ "identifier": "ada", "password": PASSWORD })).await,
        anonymous.get("/api/v1/me").await,
        anonymous.post(LOGIN).json(&json!({ "identifier": "ada", "password": "a wrong one" })).await,
        stale.patch("/api/v1/me").json(&json!({ "username": "countess" })).await,
        refresh(&json!("x")).await,
        refresh(&revoked).await,
        anonymous.post("/api/v1/auth/introspect").basic("x", "y").form(&[("token", "z")]).await,
        reader.post(TRIPS).json(&json!({ "title": "Lisbon" })).await,
        closed.anonymous().post("/api/v1/auth/signup").json(&brian).await,
        inviting.anonymous().post("/api/v1/auth/signup").json(&brian).await,
    ]
}

/// Returns the response to the first login that the throttle refuses.
async fn throttled(app: &TestApp) -> Reply {
    let body = json!({ "identifier": "cleo", "password": "another harbour" });
    let login = || app.anonymous().post(LOGIN).json(&body);
    for _ in 0..10 {
        login().await.expect(401);
    }
    login().await
}

/// Sends requests that conflict with the state of the server. The last two requests contain an expired access
/// token and an expired cursor.
async fn conflicts(app: &TestApp) -> Vec<Reply> {
    let ada = app.log_in("ada").await;
    let trip = json!({ "id": "01990f2e-7c1a-7d33-9a51-6f0f4b8f2a10", "title": "Lisbon" });
    ada.post(TRIPS).json(&trip).await.expect(201);
    let path = format!("{TRIPS}/01990f2e-7c1a-7d33-9a51-6f0f4b8f2a10");
    let body = json!({ "title": "Porto" });
    let keyed = |title: &str| ada.post(TRIPS).header("idempotency-key", "k").json(&json!({ "title": title }));
    keyed("Lisbon").await.expect(201);
    let page = ada.get("/api/v1/sync").await.expect(200).json();
    let sync = format!("/api/v1/sync?cursor={}", page["next_cursor"].as_str().unwrap());
    let taken = json!({ "username": "ada", "password": PASSWORD });
    let mut replies = vec![
        ada.get(&format!("{TRIPS}/01990f2e-7c1a-7d33-9a51-6f0f4b8f2a11")).await,
        app.anonymous().post("/api/v1/auth/signup").json(&taken).await,
        ada.post(TRIPS).json(&trip).await,
        ada.put(&path).header("if-match", "\"0\"").json(&body).await,
        ada.put(&path).json(&body).await,
        keyed("Porto").await,
    ];
    app.clock.advance(TimeDelta::hours(1));
    replies.push(ada.get("/api/v1/me").await);
    app.clock.advance(TimeDelta::days(181));
    let late: Client = app.log_in("ada").await;
    replies.push(late.get(&sync).await);
    replies
}
