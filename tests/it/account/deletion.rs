//! The deletion of an account: no data of the user remains.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tripgate::housekeeping;
use uuid::Uuid;

use super::everything::{CANARY, EMAIL, Everything, NEW_EMAIL, OWNERS, USERNAME, flush, owned_tables};
use crate::harness::all_tables::{Cell, cells};
use crate::harness::process::Process;
use crate::harness::{PASSWORD, TestApp};

const ME: &str = "/api/v1/me";

/// Returns the values in the database that contain the id of the user in any form, or a text that the user
/// entered.
async fn traces(app: &TestApp, user: Uuid) -> Vec<Cell> {
    let needles = [
        user.as_bytes().to_vec(),
        user.hyphenated().to_string().into_bytes(),
        user.simple().to_string().into_bytes(),
        CANARY.into(),
    ];
    let mut found = cells(app).await;
    found.retain(|cell| needles.iter().any(|needle| cell.contains(needle)));
    found
}

async fn assert_complete(app: &TestApp, user: Uuid) {
    let before = traces(app, user).await;
    let with_owner: BTreeSet<String> = before
        .iter()
        .filter(|cell| OWNERS.contains(&cell.column.as_str()))
        .map(|cell| cell.table.clone())
        .collect();
    assert_eq!(with_owner, owned_tables(app).await, "the scene must fill every table of users' data");
    for text in [NEW_EMAIL, USERNAME] {
        assert!(before.iter().any(|cell| cell.table == "users" && cell.contains(text.as_bytes())), "{text}");
    }
}

#[tokio::test]
async fn no_table_contains_any_data_of_a_deleted_user() {
    // S-28, S-41
    let app = TestApp::start().await;
    let brian = app.sign_up("brian").await;
    let everything = Everything::new(&app).await;
    let (client, user) = (&everything.client, everything.client.id().parse().unwrap());
    assert_complete(&app, user).await;
    client.delete(ME).json(&json!({ "password": PASSWORD })).await.expect(204);
    flush(&app).await;
    let left = traces(&app, user).await;
    assert!(left.is_empty(), "{left:?}");
    let mails = app.services().mail.list().await.unwrap();
    assert!(mails.iter().all(|mail| mail.to.as_deref() != Some(NEW_EMAIL)), "{mails:?}");
    client.get(ME).await.expect(401).problem("invalid_token");
    brian.get(ME).await.expect(200);
    // The background jobs write no data of the deleted user.
    for _ in 0..2 {
        app.clock.advance(TimeDelta::days(8));
        housekeeping::sweep(app.services().clone()).await;
        housekeeping::sweep_sync(app.services().clone()).await;
    }
    assert!(traces(&app, user).await.is_empty());
    let body = json!({ "email": EMAIL, "username": USERNAME, "password": PASSWORD });
    let again = app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201).json();
    assert_ne!(again["user"]["id"], client.id());
}

#[tokio::test]
async fn an_account_with_a_thousand_trips_can_be_deleted() {
    // The statement that deletes the trips changes more pages than SQLite's statement journal holds in
    // memory.
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for _ in 0..2 {
        let create = |_| {
            let trip = json!({ "title": "Lisbon", "notes": "n".repeat(2_000) });
            json!({ "op_id": Uuid::now_v7(), "op": "create", "id": Uuid::now_v7(), "trip": trip })
        };
        let operations: Vec<_> = (0..500).map(create).collect();
        let results = ada.post("/api/v1/sync").json(&json!({ "operations": operations })).await.expect(200);
        assert!(results.json()["results"].as_array().unwrap().iter().all(|one| one["status"] == "applied"));
    }
    ada.delete(ME).json(&json!({ "password": PASSWORD })).await.expect(204);
    ada.get(ME).await.expect(401).problem("invalid_token");
}

#[tokio::test]
async fn deleting_an_account_requires_a_recent_authentication_or_the_password() {
    // S-8, S-85
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    app.clock.advance(TimeDelta::minutes(6));
    ada.delete(ME).await.expect(401).problem("step_up_required");
    let wrong = ada.delete(ME).json(&json!({ "password": "a wrong one" })).await.expect(422);
    assert_eq!(wrong.field_errors(), [("/password".to_owned(), "wrong_password".to_owned())]);
    ada.get(ME).await.expect(200);
    ada.delete(ME).json(&json!({ "password": PASSWORD })).await.expect(204);
    let proof = json!({ "password": PASSWORD });
    let recent = brian.post("/api/v1/me/reauthenticate").json(&proof).await.expect(200).json();
    brian.with_token(recent["access_token"].as_str().unwrap()).delete(ME).await.expect(204);
    for client in [ada, brian] {
        client.get(ME).await.expect(401).problem("invalid_token");
        let refresh = json!({ "refresh_token": client.grant()["refresh_token"] });
        client.post("/api/v1/auth/refresh").json(&refresh).await.expect(401);
    }
    assert!(crate::harness::rows::users(&app).await.is_empty());
}

#[tokio::test]
async fn tokens_of_a_deleted_user_are_refused_on_another_server_and_after_a_restart() {
    // S-28
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let script = app.anonymous().post("/api/v1/auth/tokens").basic("ada", PASSWORD).await.expect(200).json();
    let script = ada.with_token(script["access_token"].as_str().unwrap());
    let replica = app.replica().await;
    let there = |token: &str| replica.anonymous().with_token(token).get("/api/v1/auth/session");
    there(ada.token()).await.expect(200);
    there(script.token()).await.expect(200);
    ada.delete(ME).json(&json!({ "password": PASSWORD })).await.expect(204);
    replica.services().tokens.poll().await;
    for token in [ada.token(), script.token()] {
        there(token).await.expect(401).problem("invalid_token");
    }
    let app = app.restart().await;
    for token in [ada.token(), script.token()] {
        let reply = app.anonymous().with_token(token).get("/api/v1/auth/session").await;
        reply.expect(401).problem("invalid_token");
    }
}

#[tokio::test]
async fn a_deletion_leaves_one_audit_log_line_without_personal_data() {
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up(USERNAME).await;
    let (token, user) = (grant["access_token"].as_str().unwrap(), grant["user"]["id"].as_str().unwrap());
    let name = json!({ "display_name": "Zora Canary" });
    let call = server.call(Method::PATCH, ME).bearer_auth(token).json(&name);
    assert_eq!(call.send().await.unwrap().status(), 200);
    let call = server.call(Method::DELETE, ME).bearer_auth(token);
    assert_eq!(call.json(&json!({ "password": PASSWORD })).send().await.unwrap().status(), 204);
    server.terminate();
    let (code, log) = server.wait_for_exit();
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("account_deleted")).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    assert!(line.contains(user) && line.contains("request_id"), "{line}");
    assert!(!line.contains("client_address") && !line.contains("127.0.0.1"), "{line}");
    assert!(!log.to_lowercase().contains(CANARY), "{log}");
}
