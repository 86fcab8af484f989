//! The operations that share the throttle, the setting that turns the throttle off, and `tripgate throttle`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{HOME, WRONG, fail, login, refused, start, succeed};
use crate::contract::authz;
use crate::harness::process::{run, stderr, stdout};
use crate::harness::{Call, PASSWORD, TestApp, email};

fn from_home(call: Call) -> Call {
    call.header("x-forwarded-for", HOME)
}

#[tokio::test]
async fn logins_and_basic_credentials_share_one_throttle() {
    // S-17
    let app = TestApp::with(|settings| {
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        settings.auth_methods.basic = true;
    })
    .await;
    app.sign_up("ada").await;
    let calls = |password: &str| {
        let client = app.anonymous();
        [
            client.get("/api/v1/auth/verify").basic("ada", password),
            client.post("/api/v1/auth/tokens").basic("ada", password),
            client.get("/api/v1/me").basic("ada", password),
        ]
        .map(from_home)
    };
    for _ in 0..3 {
        for call in calls(WRONG) {
            call.await.expect(401).problem("invalid_credentials");
        }
    }
    fail(&app, HOME, "ada", 1).await;
    for call in calls(PASSWORD) {
        refused(call.await);
    }
    refused(login(&app, HOME, "ada", PASSWORD).await);
}

#[tokio::test]
async fn every_secured_operation_refuses_basic_credentials_after_too_many_failures() {
    // S-17
    let app = TestApp::with(|settings| settings.auth_methods.basic = true).await;
    app.sign_up("ada").await;
    fail(&app, HOME, "ada", 10).await;
    let needs_credentials = |needs| ![authz::Needs::Nothing, authz::Needs::Optional].contains(needs);
    for row in authz::ROWS.iter().filter(|(.., needs)| needs_credentials(needs)) {
        if *row == authz::ROWS[0] || row.0 == "introspect_token" || row.0 == "revoke_token" {
            continue;
        }
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        refused(authz::call(&app.anonymous(), row, id).basic("ada", PASSWORD).await);
    }
}

#[tokio::test]
async fn wrong_client_credentials_are_throttled() {
    // S-12, S-43
    let app = start().await;
    let client = app.services().clients.add("a service").await.unwrap();
    let call = |path: &str, secret: &str| {
        from_home(app.anonymous().post(path)).form(&[("token", "x")]).basic(&client.id, secret)
    };
    call("/api/v1/auth/introspect", &client.secret).await.expect(200);
    for path in ["/api/v1/auth/introspect", "/api/v1/auth/revoke"] {
        for _ in 0..5 {
            call(path, "wrong").await.expect(401).problem("invalid_client");
        }
    }
    for path in ["/api/v1/auth/introspect", "/api/v1/auth/revoke"] {
        refused(call(path, &client.secret).await);
    }
}

#[tokio::test]
async fn wrong_passwords_of_a_signed_in_user_are_throttled() {
    // S-12
    let app = start().await;
    let ada = app.sign_up("ada").await;
    let delete = |password: &str| ada.delete("/api/v1/me").json(&json!({ "password": password }));
    for _ in 0..10 {
        delete(WRONG).await.expect(422).problem("invalid");
    }
    let wait = refused(delete(PASSWORD).await);
    let step_up = ada.post("/api/v1/me/reauthenticate").json(&json!({ "password": PASSWORD }));
    refused(step_up.await);
    ada.get("/api/v1/me").await.expect(200);
    succeed(&app, HOME, "ada").await;
    app.clock.advance(TimeDelta::seconds(wait));
    delete(PASSWORD).await.expect(204);
}

#[tokio::test]
async fn sign_ups_that_probe_for_taken_names_are_throttled() {
    // S-12
    let app = start().await;
    app.sign_up("ada").await;
    let sign_up = |name: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        from_home(app.anonymous().post("/api/v1/auth/signup")).json(&body)
    };
    for _ in 0..300 {
        sign_up("ada").await.expect(409);
    }
    refused(sign_up("bob").await);
    app.sign_up("bob").await;
}

#[tokio::test]
async fn nothing_is_throttled_when_the_limits_are_turned_off() {
    let app = TestApp::with(|settings| settings.limits = false).await;
    app.sign_up("ada").await;
    fail(&app, HOME, "ada", 60).await;
    app.log_in("ada").await;
}

#[test]
fn the_limits_can_be_turned_off_only_if_the_server_listens_on_a_loopback_address() {
    let dir = tempfile::TempDir::new().unwrap();
    let refused = run(dir.path(), &["config", "--limits", "off", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("off requires a loopback address in --listen"), "{}", stderr(&refused));
    assert!(run(dir.path(), &["config", "--limits", "off", "--listen", "[::1]:0"]).status.success());
}

#[tokio::test]
async fn the_operator_lists_and_clears_throttled_accounts_and_addresses() {
    // S-12
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let settings = app.settings();
    let secret_file = settings.secret_file.to_str().unwrap();
    let throttle = |args: &[&str]| {
        let common =
            ["--database-url", settings.database_url.expose(), "--secret-file", secret_file, "throttle"];
        run(&settings.data_dir, &[&common, args].concat())
    };
    let list = || -> Vec<Value> { serde_json::from_str(&stdout(&throttle(&["list", "--json"]))).unwrap() };
    assert_eq!(list(), Vec::<Value>::new());
    fail(&app, HOME, "ada", 10).await;
    fail(&app, HOME, "nobody", 10).await;
    let all = list();
    assert_eq!(all.len(), 2, "{all:?}");
    let of_ada = all.iter().find(|row| row["user_id"] == ada.id()).unwrap();
    assert_eq!(
        (&of_ada["limit"], &of_ada["address"], &of_ada["failures"]),
        (&json!("account_and_address"), &json!("127.0.0.1"), &json!(10))
    );
    assert!(of_ada["blocked_until"].is_string() && of_ada["forgotten_at"].is_string());
    assert!(all.iter().any(|row| row.get("user_id").is_none() && row["name_hash"].is_string()));
    let lines = stdout(&throttle(&["list"]));
    assert!(lines.contains(&format!("user={}", ada.id())) && lines.contains("blocked until "), "{lines}");
    refused(login(&app, HOME, "ada", PASSWORD).await);
    let cleared = stdout(&throttle(&["clear", "--account", &email("ada"), "--json"]));
    assert_eq!(cleared, "{\"cleared\":2}\n");
    succeed(&app, HOME, "ada").await;
    refused(login(&app, HOME, "nobody", WRONG).await);
    assert!(throttle(&["clear", "--account", "nobody"]).status.success());
    fail(&app, HOME, "nobody", 10).await;
    assert!(throttle(&["clear", "--address", "127.0.0.1"]).status.success());
    fail(&app, HOME, "nobody", 10).await;
    assert!(throttle(&["clear", "--all"]).status.success());
    assert_eq!(stdout(&throttle(&["list", "--json"])), "[]\n");
    assert_eq!(throttle(&["clear"]).status.code(), Some(2));
    assert_eq!(throttle(&["clear", "--address", "x"]).status.code(), Some(2));
}
