//! The security events of the account.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, TestApp, rows};

const EVENTS: &str = "/api/v1/me/events";

async fn events(client: &Client) -> Vec<Value> {
    client.get(EVENTS).await.expect(200).json()["items"].as_array().unwrap().clone()
}

async fn types(client: &Client) -> Vec<String> {
    events(client).await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn log_in_on(app: &TestApp, device: &str, user_agent: &str) -> Value {
    let body = json!({ "identifier": "ada", "password": PASSWORD, "device_name": device });
    let call = app.anonymous().post("/api/v1/auth/login").header("user-agent", user_agent);
    call.json(&body).await.expect(200).json()
}

async fn fail_to_log_in(app: &TestApp) {
    let body = json!({ "identifier": "ada", "password": "a wrong one" });
    app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401);
}

#[tokio::test]
async fn the_events_list_logins_failed_logins_and_new_devices_with_ip_address_and_device_name() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let brian = app.sign_up("brian").await;
    app.clock.advance(TimeDelta::minutes(1));
    fail_to_log_in(&app).await;
    app.clock.advance(TimeDelta::minutes(1));
    let grant = log_in_on(&app, "Tablet", "Trips/1.4").await;
    let events = events(&ada).await;
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["new_device", "login_succeeded", "login_failed", "signup"]);
    for event in &events[..2] {
        assert_eq!(event["session_id"], grant["session_id"]);
        assert_eq!((&event["device_name"], &event["user_agent"]), (&json!("Tablet"), &json!("Trips/1.4")));
        assert_eq!((&event["ip"], &event["at"]), (&json!("127.0.0.1"), &json!("2026-03-02T08:32:00.000Z")));
    }
    assert_eq!(events[2]["ip"], "127.0.0.1");
    assert!(events[2].get("session_id").is_none());
    assert_eq!(events[3]["session_id"], ada.grant()["session_id"]);
    assert_eq!(types(&brian).await, ["signup"], "events of another user");
}

#[tokio::test]
async fn a_device_is_new_only_once_and_an_update_of_the_app_does_not_make_it_new() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (device, user_agent, is_new) in [
        ("Tablet", "Trips/1.4", true),
        ("Tablet", "Trips/1.4", false),
        ("Tablet", "Trips/2.0.1", false),
        ("Laptop", "Trips/1.4", true),
    ] {
        log_in_on(&app, device, user_agent).await;
        let newest = &types(&ada).await[0];
        assert_eq!(newest == "new_device", is_new, "{device} {user_agent}: {newest}");
    }
}

#[tokio::test]
async fn ending_a_session_and_logging_out_are_recorded_as_events() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let tablet = log_in_on(&app, "Tablet", "Trips/1.4").await;
    ada.delete(&format!("/api/v1/me/sessions/{}", tablet["session_id"].as_str().unwrap())).await.expect(204);
    let newest = &events(&ada).await[0];
    assert_eq!((&newest["type"], &newest["session_id"]), (&json!("session_ended"), &tablet["session_id"]));
    assert_eq!(newest["device_name"], "Tablet");
    // Ending the session a second time records no event.
    ada.delete(&format!("/api/v1/me/sessions/{}", tablet["session_id"].as_str().unwrap())).await.expect(204);
    assert_eq!(types(&ada).await[..2], ["session_ended", "new_device"]);
    let laptop = log_in_on(&app, "Laptop", "Trips/1.4").await;
    let logout = json!({ "refresh_token": laptop["refresh_token"] });
    app.anonymous().post("/api/v1/auth/logout").json(&logout).await.expect(204);
    assert_eq!(types(&ada).await[..2], ["session_ended", "new_device"]);
}

#[tokio::test]
async fn the_use_of_an_old_refresh_token_is_listed_as_an_event_of_its_session() {
    // S-37
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let tablet = log_in_on(&app, "Tablet", "Trips/1.4").await;
    app.clock.advance(TimeDelta::minutes(1));
    let refresh = |grant: &Value| {
        app.anonymous().post("/api/v1/auth/refresh").json(&json!({ "refresh_token": grant["refresh_token"] }))
    };
    let second = refresh(&tablet).await.expect(200).json();
    refresh(&second).await.expect(200);
    refresh(&tablet).await.expect(401).problem("session_revoked");
    let newest = &events(&ada).await[0];
    assert_eq!(newest["type"], "refresh_token_reuse");
    assert_eq!((&newest["session_id"], &newest["ip"]), (&tablet["session_id"], &json!("127.0.0.1")));
    assert_eq!(newest["at"], "2026-03-02T08:31:00.000Z");
    let kinds = types(&ada).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "refresh_token_reuse").count(), 1, "{kinds:?}");
}

#[tokio::test]
async fn failed_logins_cannot_fill_the_list_of_events() {
    let app = TestApp::with(|settings| {
        settings.access_ttl_secs = 7200;
        // The throttle would refuse most of these attempts.
        settings.limits = false;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let failures = async || types(&ada).await.iter().filter(|kind| *kind == "login_failed").count();
    for _ in 0..5 {
        fail_to_log_in(&app).await;
    }
    assert_eq!(failures().await, 1, "one event a minute for each address");
    for _ in 0..30 {
        app.clock.advance(TimeDelta::seconds(61));
        fail_to_log_in(&app).await;
        ada.get(EVENTS).await;
    }
    assert_eq!(failures().await, 10, "ten events an hour");
}

#[tokio::test]
async fn events_are_listed_in_pages_until_they_are_90_days_old() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let brian = app.sign_up("brian").await;
    for number in 0..4 {
        log_in_on(&app, &format!("Device {number}"), "Trips/1.4").await;
    }
    let all = events(&ada).await;
    assert_eq!(all.len(), 9);
    let mut paged = Vec::new();
    let mut path = format!("{EVENTS}?limit=2");
    loop {
        let page = ada.get(&path).await.expect(200).json();
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
        path = format!("{EVENTS}?limit=2&cursor={cursor}");
        brian.get(&path).await.expect(400).problem("invalid_cursor");
        ada.get(&format!("{path}x")).await.expect(400).problem("invalid_cursor");
    }
    assert_eq!(paged, all);
    for limit in ["0", "101", "x"] {
        ada.get(&format!("{EVENTS}?limit={limit}")).await.expect(422);
    }
    app.clock.advance(TimeDelta::days(91));
    let ada = app.log_in("ada").await;
    assert_eq!(types(&ada).await, ["login_succeeded"]);
}

#[tokio::test]
async fn events_older_than_90_days_are_deleted() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let before = rows::events(&app).await.len();
    assert_eq!(before, 1);
    app.clock.advance(TimeDelta::days(89));
    app.services().events.sweep().await.unwrap();
    assert_eq!(rows::events(&app).await.len(), 1);
    app.clock.advance(TimeDelta::days(2));
    app.services().events.sweep().await.unwrap();
    assert!(rows::events(&app).await.is_empty());
}

/// Begins a flow for the address, and returns the id of the flow with the code from the mail.
async fn begin(app: &TestApp, client: &Client, path: &str, email: &str) -> Value {
    let flow = client.post(path).json(&json!({ "email": email })).await.expect(202).json()["flow_id"].clone();
    json!({ "flow_id": flow, "code": app.mail_to(email).await.code() })
}

#[tokio::test]
async fn confirmations_password_resets_and_changes_of_address_are_recorded_as_events() {
    let app = TestApp::with(|settings| settings.limits = false).await;
    let ada = app.sign_up("ada").await;
    let (old, new, confirm) = ("ada@example.org", "ada@new.example.org", "/api/v1/auth/email/confirm");
    let post = async |path: &str, body: &Value| {
        app.clock.advance(TimeDelta::seconds(1));
        app.anonymous().post(path).json(body).await.expect(204);
    };
    let code = json!({ "flow_id": ada.grant()["flow_id"], "code": app.mail_to(old).await.code() });
    post(confirm, &code).await;
    app.clock.advance(TimeDelta::seconds(1));
    let change = begin(&app, &ada, "/api/v1/me/email", new).await;
    post(confirm, &change).await;
    let undo = json!({ "token": app.mail_to(old).await.token() });
    post("/api/v1/auth/email/undo", &undo).await;
    let mut reset = begin(&app, &app.anonymous(), "/api/v1/auth/password/forgot", old).await;
    reset["new_password"] = json!(PASSWORD);
    post("/api/v1/auth/password/reset", &reset).await;
    app.clock.advance(TimeDelta::seconds(1));
    let ada = app.log_in("ada").await;
    let expected = [
        "password_reset",
        "email_change_undone",
        "email_changed",
        "email_change_requested",
        "email_confirmed",
        "signup",
    ];
    let found = types(&ada).await;
    let found: Vec<&String> = found.iter().filter(|kind| expected.contains(&kind.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(events(&ada).await.last().unwrap()["ip"], "127.0.0.1");
}

#[tokio::test]
async fn an_event_tells_the_owner_of_a_mailbox_that_the_account_was_reclaimed() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    app.clock.advance(TimeDelta::seconds(1));
    let code = begin(&app, &app.anonymous(), "/api/v1/auth/login/code", "ada@example.org").await;
    let grant = app.anonymous().post("/api/v1/auth/login/code/confirm").json(&code).await.expect(200).json();
    let found = types(&app.anonymous().with_grant(&grant)).await;
    assert!(found.iter().any(|kind| kind == "account_claimed"), "{found:?}");
}
