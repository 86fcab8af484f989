//! The caller's own account: its fields and their changes.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::authentication::login::sign_up_with;
use crate::harness::{Client, PASSWORD, Reply, TestApp, email, rows};

const ME: &str = "/api/v1/me";

async fn change(client: &Client, patch: &Value) -> Reply {
    client.patch(ME).json(patch).await
}

/// Returns the account without the field `usage`, which only `GET /me` returns.
async fn me(client: &Client) -> Value {
    let mut account = client.get(ME).await.expect(200).json();
    assert!(account.as_object_mut().unwrap().remove("usage").is_some(), "{account}");
    account
}

/// Asserts that the change is rejected with this error and that the account stays the same.
async fn assert_rejected(client: &Client, patch: &Value, pointer: &str, code: &str) {
    let before = me(client).await;
    let reply = change(client, patch).await.expect(422).problem("invalid");
    // A value that is too short can also have an invalid format, so there may be two errors.
    let errors = reply.field_errors();
    assert!(errors.contains(&(pointer.to_owned(), code.to_owned())), "{patch}: {errors:?}");
    assert!(errors.iter().all(|(other, _)| other == pointer), "{patch}: {errors:?}");
    assert_eq!(me(client).await, before, "{patch}");
}

async fn log_in(app: &TestApp, identifier: &str) -> Reply {
    let body = json!({ "identifier": identifier, "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/login").json(&body).await
}

#[tokio::test]
async fn get_me_returns_the_account_that_the_token_belongs_to() {
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    assert_eq!(me(&ada).await, ada.grant()["user"]);
    assert_eq!(me(&brian).await, brian.grant()["user"]);
    app.anonymous().get(ME).await.expect(401).problem("unauthenticated");
    let reply = ada.head(ME).await.expect(200);
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn a_display_name_is_set_and_cleared() {
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    app.clock.advance(TimeDelta::minutes(7));
    let changed = change(&ada, &json!({ "display_name": "Ada 🦀" })).await.expect(200).json();
    let mut expected = ada.grant()["user"].clone();
    expected["display_name"] = json!("Ada 🦀");
    expected["updated_at"] = json!("2026-03-02T08:37:00.000Z");
    assert_eq!(changed, expected);
    assert_eq!(me(&ada).await, expected);
    let cleared = change(&ada, &json!({ "display_name": null })).await.expect(200).json();
    assert!(cleared.get("display_name").is_none(), "{cleared}");
    assert_eq!(cleared["username"], "ada", "an absent field was cleared");
    assert_eq!(me(&brian).await, brian.grant()["user"], "another user was changed");
}

#[tokio::test]
async fn a_display_name_has_1_to_100_characters() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let longest = "ö".repeat(100);
    assert_rejected(&ada, &json!({ "display_name": "" }), "/display_name", "too_short").await;
    assert_rejected(&ada, &json!({ "display_name": format!("{longest}x") }), "/display_name", "too_long")
        .await;
    assert_rejected(&ada, &json!({ "display_name": 7 }), "/display_name", "wrong_type").await;
    change(&ada, &json!({ "display_name": longest })).await.expect(200);
}

#[tokio::test]
async fn after_a_username_change_the_new_username_logs_in_and_the_old_one_is_free_again() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let changed = change(&ada, &json!({ "username": "countess" })).await.expect(200).json();
    assert_eq!(changed["username"], "countess");
    log_in(&app, "ada").await.expect(401).problem("invalid_credentials");
    for identifier in ["countess", "ada@example.org"] {
        let grant = log_in(&app, identifier).await.expect(200).json();
        assert_eq!(grant["user"]["id"], ada.id());
    }
    // Tokens contain the user id, not the username, so issued tokens stay valid. The old username is free
    // again.
    assert_eq!(me(&ada).await["username"], "countess");
    sign_up_with(&app, "ada", PASSWORD).await;
    assert_ne!(log_in(&app, "ada").await.expect(200).json()["user"]["id"], ada.id());
}

#[tokio::test]
async fn a_taken_username_is_rejected() {
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    let patch = json!({ "username": "ada", "display_name": "Brian" });
    change(&brian, &patch).await.expect(409).problem("identifier_taken");
    assert_eq!(me(&brian).await, brian.grant()["user"], "the rejected patch was partly applied");
    assert_eq!(log_in(&app, "ada").await.expect(200).json()["user"]["id"], ada.id());
    // A change to the current username of the same user is no conflict.
    change(&ada, &json!({ "username": "ada" })).await.expect(200);
}

#[tokio::test]
async fn an_invalid_username_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for name in ["ada l", "-ada", "ada@example.org", "adä"] {
        assert_rejected(&ada, &json!({ "username": name }), "/username", "invalid_format").await;
    }
    assert_rejected(&ada, &json!({ "username": "ab" }), "/username", "too_short").await;
    assert_rejected(&ada, &json!({ "username": "x".repeat(33) }), "/username", "too_long").await;
}

#[tokio::test]
async fn a_username_can_be_cleared_if_the_account_has_an_email_address() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let changed = change(&ada, &json!({ "username": null })).await.expect(200).json();
    assert!(changed.get("username").is_none(), "{changed}");
    log_in(&app, "ada").await.expect(401);
    log_in(&app, &email("ada")).await.expect(200);
}

#[tokio::test]
async fn the_last_identifier_of_an_account_cannot_be_cleared() {
    let app = TestApp::start().await;
    sign_up_with(&app, "ada", PASSWORD).await;
    let grant = log_in(&app, "ada").await.expect(200).json();
    let ada = app.anonymous().with_grant(&grant);
    assert_rejected(&ada, &json!({ "username": null }), "/username", "last_identifier").await;
    assert_rejected(
        &ada,
        &json!({ "username": null, "display_name": "Ada" }),
        "/username",
        "last_identifier",
    )
    .await;
    log_in(&app, "ada").await.expect(200);
}

#[tokio::test]
async fn read_only_and_unknown_fields_are_rejected() {
    // S-55
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    for (field, value) in [
        ("email", json!("new@example.org")),
        ("id", json!(brian.id())),
        ("email_verified", json!(true)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("updated_at", json!("2020-01-01T00:00:00Z")),
        ("role", json!("admin")),
        ("mfa_enabled", json!(false)),
        ("password", json!("another harbour")),
        ("password_hash", json!("$2b$04$")),
        ("", json!(1)),
    ] {
        let patch = json!({ "display_name": "Ada", field: value });
        assert_rejected(&ada, &patch, &format!("/{field}"), "unknown_member").await;
    }
    log_in(&app, "ada").await.expect(200);
    assert_eq!(me(&brian).await, brian.grant()["user"]);
}

#[tokio::test]
async fn the_body_of_a_patch_must_be_a_json_object() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for patch in [json!([]), json!(null), json!("ada"), json!(1)] {
        assert_rejected(&ada, &patch, "", "wrong_type").await;
    }
}

#[tokio::test]
async fn exactly_one_of_many_concurrent_changes_to_the_same_username_succeeds() {
    // S-18
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let mut clients = Vec::new();
    for name in ["ada", "brian", "clara", "dora"] {
        let client = app.sign_up(name).await;
        let other = replica.anonymous().with_grant(client.grant());
        clients.push(if clients.len() % 2 == 0 { client } else { other });
    }
    let patch = json!({ "username": "captain" });
    let replies = futures_util::future::join_all(clients.iter().map(|client| change(client, &patch))).await;
    let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    let users = rows::users(&app).await;
    assert_eq!(users.iter().filter(|user| user.username.as_deref() == Some("captain")).count(), 1);
}
