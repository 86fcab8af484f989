//! Signing up: accepted identifiers and passwords, the response, and closed sign-up.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::config::Signup;

use crate::harness::{Client, PASSWORD, Reply, TestApp, email, rows};

const SIGN_UP: &str = "/api/v1/auth/signup";
/// Text that no response may contain.
const SECRET: &str = "canary-Wz4-harbour";

async fn sign_up(app: &TestApp, body: &Value) -> Reply {
    app.anonymous().post(SIGN_UP).json(body).await
}

async fn with_password(app: &TestApp, username: &str, password: &str) -> Reply {
    sign_up(app, &json!({ "username": username, "password": password })).await
}

async fn log_in(app: &TestApp, identifier: &str, password: &str) -> Reply {
    let body = json!({ "identifier": identifier, "password": password });
    app.anonymous().post("/api/v1/auth/login").json(&body).await
}

/// Asserts that the sign-up is rejected with exactly these errors and creates no account.
async fn assert_rejected(app: &TestApp, body: &Value, errors: &[(&str, &str)]) -> Reply {
    let reply = sign_up(app, body).await.expect(422).problem("invalid");
    let found = reply.field_errors();
    let found: Vec<_> = found.iter().map(|(pointer, code)| (pointer.as_str(), code.as_str())).collect();
    assert_eq!(found, errors, "{body}");
    assert!(rows::users(app).await.is_empty(), "{body} created an account");
    reply
}

async fn assert_password_rejected(app: &TestApp, password: &str, code: &str) -> Reply {
    let body = json!({ "username": "ada.lovelace", "email": "countess@example.org", "password": password });
    assert_rejected(app, &body, &[("/password", code)]).await
}

#[tokio::test]
async fn signing_up_returns_a_session_and_the_location_of_the_account() {
    let app = TestApp::start().await;
    let body = json!({
        "email": "Ada@Example.org", "username": "ada", "password": PASSWORD,
        "display_name": "Ada", "device_name": "Ada's phone",
    });
    let reply = sign_up(&app, &body).await.expect(201); // S-31
    assert_eq!(reply.header("location"), "/api/v1/me");
    assert_eq!(reply.header("cache-control"), "no-store");
    let grant = reply.json();
    let user = json!({
        "id": grant["user"]["id"], "email": "Ada@Example.org", "email_verified": false, "username": "ada",
        "display_name": "Ada", "mfa_enabled": false,
        "created_at": "2026-03-02T08:30:00.000Z", "updated_at": "2026-03-02T08:30:00.000Z",
    });
    assert_eq!(
        grant,
        json!({
            "token_type": "Bearer", "access_token": grant["access_token"], "expires_in": 900,
            "refresh_token": grant["refresh_token"], "refresh_expires_in": 5_184_000,
            "session_id": grant["session_id"], "scope": "account trips:read trips:write",
            "server_time": "2026-03-02T08:30:00.000Z", "device_token": grant["device_token"],
            "flow_id": grant["flow_id"], "user": user,
        })
    );
    let ada = app.anonymous().with_grant(&grant);
    assert_eq!(ada.get(reply.header("location")).await.expect(200).account(), user);
    let sessions = rows::sessions(&app).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].device_name.as_deref(), Some("Ada's phone"));
    assert_eq!(json!(sessions[0].id), grant["session_id"]);
}

#[tokio::test]
async fn the_database_contains_neither_the_refresh_token_nor_the_password() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let refresh_token = ada.grant()["refresh_token"].as_str().unwrap();
    let mac = refresh_token.rsplit('.').next().unwrap();
    let rows = format!("{:?}{:?}", rows::users(&app).await, rows::sessions(&app).await);
    assert!(!rows.contains(mac) && !rows.contains(PASSWORD), "{rows}");
}

#[tokio::test]
async fn an_email_address_or_a_username_is_sufficient_to_sign_up() {
    let app = TestApp::start().await;
    let by_email = sign_up(&app, &json!({ "email": email("ada"), "password": PASSWORD })).await;
    let user = by_email.expect(201).json()["user"].clone();
    assert!(user.get("username").is_none() && user.get("display_name").is_none(), "{user}");
    let by_name = with_password(&app, "brian", PASSWORD).await.expect(201).json();
    assert!(by_name["user"].get("email").is_none(), "{by_name}");
    log_in(&app, &email("ada"), PASSWORD).await.expect(200);
    log_in(&app, "brian", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_sign_up_requires_an_email_address_or_a_username() {
    let app = TestApp::start().await;
    assert_rejected(&app, &json!({ "password": PASSWORD }), &[("/email", "required")]).await;
}

#[tokio::test]
async fn all_errors_of_a_sign_up_are_reported_together_without_echoing_input() {
    // S-63
    let app = TestApp::start().await;
    let long = format!("{SECRET}{}", "x".repeat(101));
    let body = json!({
        "username": "Ada!", "email": format!("{SECRET}@"), "password": "zq8-wx7",
        "display_name": "", "device_name": long, "nickname": SECRET,
    });
    let reply = sign_up(&app, &body).await.expect(422).problem("invalid");
    let mut found = reply.field_errors();
    found.sort();
    let expected = [
        ("/device_name", "too_long"),
        ("/display_name", "too_short"),
        ("/email", "invalid_format"),
        ("/nickname", "unknown_member"),
        ("/password", "too_short"),
        ("/username", "invalid_format"),
    ];
    let expected: Vec<_> = expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())).into();
    assert_eq!(found, expected);
    assert!(!reply.text().contains(SECRET), "the input is echoed");
    assert!(rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn unknown_and_read_only_fields_are_rejected() {
    // S-55
    let app = TestApp::start().await;
    for field in ["id", "email_verified", "role", "mfa_enabled", "created_at", "password_hash", "scope"] {
        let mut body = json!({ "username": "ada", "password": PASSWORD });
        body[field] = json!(SECRET);
        let reply = assert_rejected(&app, &body, &[(&format!("/{field}"), "unknown_member")]).await;
        assert!(!reply.text().contains(SECRET), "{field} is echoed");
    }
}

#[tokio::test]
async fn values_of_the_wrong_type_are_rejected_and_not_coerced() {
    let app = TestApp::start().await;
    for value in [json!(12_345_678), json!(true), json!(null), json!(["a quiet harbour"]), json!({})] {
        let body = json!({ "username": "ada", "password": value });
        assert_rejected(&app, &body, &[("/password", "wrong_type")]).await;
    }
}

#[tokio::test]
async fn a_body_with_duplicate_fields_lone_surrogates_or_malformed_json_is_rejected() {
    // S-58
    let app = TestApp::start().await;
    let bodies: [&[u8]; 6] = [
        br#"{"username":"ada","password":"a quiet harbour","password":"another harbour"}"#,
        br#"{"username":"ada","password":"a quiet harbour \ud800"}"#,
        br#"{"username":"ada","password":"a quiet harbour"#,
        b"{\"username\":\"ada\",\"password\":\"a quiet \xff\"}",
        b"username=ada&password=a+quiet+harbour",
        b"",
    ];
    for body in bodies {
        let call = app.anonymous().post(SIGN_UP).header("content-type", "application/json").body(body);
        call.await.expect(400).problem("invalid_json");
    }
    assert!(rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn a_body_with_a_media_type_other_than_json_is_rejected() {
    let app = TestApp::start().await;
    let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let call = app.anonymous().post(SIGN_UP).header("content-type", kind).body(body.clone());
        call.await.expect(415).problem("unsupported_media_type");
    }
    assert!(rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn a_password_below_the_minimum_length_is_rejected() {
    // S-1
    let app = TestApp::start().await;
    let reply = assert_password_rejected(&app, "zq8-wx7", "too_short").await;
    assert!(reply.text().contains("at least 8 characters"), "{}", reply.text());
    // Fourteen bytes, but seven characters.
    assert_password_rejected(&app, "öäüößöä", "too_short").await;
    with_password(&app, "ada", "zq8-wx7v").await.expect(201);
    log_in(&app, "ada", "zq8-wx7v").await.expect(200);
}

#[tokio::test]
async fn the_minimum_password_length_is_configurable() {
    // S-1
    let app = TestApp::with(|settings| settings.password_min = 15).await;
    assert_password_rejected(&app, "fourteen chars", "too_short").await;
    with_password(&app, "ada", "fifteen chars !").await.expect(201);
}

#[tokio::test]
async fn a_password_over_71_bytes_is_rejected_and_never_truncated() {
    // S-2
    let app = TestApp::start().await;
    let longest = "0123456789".repeat(7) + "x";
    for too_long in [format!("{longest}y"), "ö".repeat(36), "🦀".repeat(18)] {
        let reply = assert_password_rejected(&app, &too_long, "too_long").await;
        assert!(reply.text().contains("71 bytes"), "{}", reply.text());
    }
    with_password(&app, "ada", &longest).await.expect(201);
    log_in(&app, "ada", &longest).await.expect(200);
    let cut = &longest[..70];
    for another in [cut.to_owned(), format!("{cut}y"), format!("{longest}y"), format!("{longest}{longest}")] {
        log_in(&app, "ada", &another).await.expect(401).problem("invalid_credentials");
    }
}

#[tokio::test]
async fn a_nul_in_a_password_is_rejected() {
    // S-3
    let app = TestApp::start().await;
    with_password(&app, "ada", "a quiet harbour\0one").await.expect(400).problem("invalid_json");
    assert!(rows::users(&app).await.is_empty());
    with_password(&app, "ada", "a quiet harbour").await.expect(201);
    log_in(&app, "ada", "a quiet harbour\0two").await.expect(400).problem("invalid_json");
}

/// Returns the shortest duration of five requests, which excludes delays of a busy machine.
async fn quickest(client: &Client, path: &str, body: &Value, status: u16) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        client.post(path).json(body).await.expect(status);
        shortest = shortest.min(started.elapsed());
    }
    shortest
}

#[tokio::test]
async fn an_oversized_password_is_rejected_before_hashing() {
    // S-4
    let app = TestApp::with(|settings| settings.bcrypt_cost = 14).await;
    let huge = "correct horse battery staple ".repeat(7000);
    let limit = Duration::from_millis(50);
    let body = json!({ "username": "ada", "password": huge });
    assert!(quickest(&app.anonymous(), SIGN_UP, &body, 422).await < limit);
    let body = json!({ "identifier": "ada", "password": huge });
    assert!(quickest(&app.anonymous(), "/api/v1/auth/login", &body, 401).await < limit);
    assert!(rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn a_body_of_one_megabyte_is_rejected_before_it_is_read() {
    // S-4
    let app = TestApp::with(|settings| settings.bcrypt_cost = 14).await;
    let head = format!(
        "POST {SIGN_UP} HTTP/1.1\r\nHost: tripgate.test\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: 1048576\r\n\r\n{{\"password\":\""
    );
    let started = Instant::now();
    let reply = app.raw(head).await;
    assert_eq!(reply.statuses(), [413]);
    assert!(reply.text().contains("\"code\":\"content_too_large\""), "{}", reply.text());
    assert!(started.elapsed() < Duration::from_secs(4), "the server waited for the body");
    let chunk = format!("40000\r\n{}\r\n", "x".repeat(0x4_0000));
    let chunked = format!(
        "POST {SIGN_UP} HTTP/1.1\r\nHost: tripgate.test\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk.repeat(4)
    );
    assert_eq!(app.raw(chunked).await.statuses(), [413]);
    assert!(rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn common_passwords_and_passwords_equal_to_an_identifier_are_rejected_with_the_reason() {
    // S-5
    let app = TestApp::start().await;
    for common in ["password123", "PassWord123", "iloveyou1", "Tripgate", "TRIPGATE"] {
        let reply = assert_password_rejected(&app, common, "too_common").await;
        assert!(reply.text().contains("too common") && !reply.text().contains(common), "{}", reply.text());
    }
    for identifier in
        ["ada.lovelace", "ADA.Lovelace", "countess@example.org", "Countess@Example.ORG", "Countess"]
    {
        assert_password_rejected(&app, identifier, "same_as_identifier").await;
    }
}

#[tokio::test]
async fn passwords_need_no_mixture_of_letters_digits_and_symbols() {
    // S-6
    let app = TestApp::start().await;
    let passwords = ["only lower case letters", "        ", "🦀🦀🦀🦀🦀🦀🦀🦀", "40917352686", "ñandú y čaj"];
    for (number, password) in passwords.iter().enumerate() {
        let name = format!("user{number}");
        with_password(&app, &name, password).await.expect(201);
        log_in(&app, &name, password).await.expect(200);
    }
}

#[tokio::test]
async fn concurrent_identical_sign_ups_create_one_account() {
    // S-18
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let body = json!({ "email": email("ada"), "password": PASSWORD });
    let replies = join_all((0..20).map(|number| {
        let server = if number % 2 == 0 { &app } else { &replica };
        sign_up(server, &body)
    }))
    .await;
    let (created, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((created.len(), others.len()), (1, 19));
    for reply in others {
        reply.expect(409).problem("identifier_taken");
    }
    assert_eq!(rows::users(&app).await.len(), 1);
    assert_eq!(rows::sessions(&app).await.len(), 1);
    app.anonymous().with_grant(&created[0].json()).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn when_sign_up_is_disabled_sign_ups_get_403_and_existing_users_can_still_log_in() {
    let open = TestApp::start().await;
    open.sign_up("ada").await;
    let settings = open.settings().clone();
    let closed = TestApp::with(|s| {
        *s = settings;
        s.signup = Signup::Closed;
    })
    .await;
    let reply = with_password(&closed, "brian", PASSWORD).await.expect(403).problem("signup_closed");
    assert_eq!(reply.header("www-authenticate"), "", "the challenge suggests a missing scope");
    // The response does not reveal whether the identifier is taken.
    with_password(&closed, "ada", PASSWORD).await.expect(403).problem("signup_closed");
    assert_eq!(rows::users(&closed).await.len(), 1);
    log_in(&closed, "ada", PASSWORD).await.expect(200);
}
