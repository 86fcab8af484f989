//! Sign-up with an invitation code.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tripgate::config::Signup;
use tripgate::invites::InviteCode;

use crate::harness::process::{run, stderr, stdout};
use crate::harness::{Client, PASSWORD, Reply, TestApp, rows};

async fn start() -> TestApp {
    TestApp::with(|settings| settings.signup = Signup::Invite).await
}

async fn invite(app: &TestApp, uses: u32, ttl: Option<TimeDelta>) -> InviteCode {
    app.services().invites.add(uses, ttl).await.unwrap().1
}

async fn sign_up(client: &Client, username: &str, code: &Value) -> Reply {
    let body = json!({ "username": username, "password": PASSWORD, "invite_code": code });
    client.post("/api/v1/auth/signup").json(&body).await
}

async fn users(app: &TestApp) -> usize {
    rows::users(app).await.len()
}

#[tokio::test]
async fn a_sign_up_requires_an_invite_code_that_the_operator_created() {
    let app = start().await;
    let client = app.anonymous();
    let code = invite(&app, 1, None).await.to_string();
    let wrong = if code.starts_with('a') { code.replacen('a', "b", 1) } else { format!("a{}", &code[1..]) };
    for text in [json!(null), json!(""), json!("a guess"), json!(wrong)] {
        let reply = sign_up(&client, "ada", &text).await.expect(403).problem("invite_required").json();
        assert_eq!(reply["detail"], "Signing up requires a valid invitation code.", "{text}");
    }
    assert_eq!(users(&app).await, 0);
    // The code is accepted in upper case and with spaces.
    let typed = json!(format!(" {} ", code.to_uppercase().replace('-', " ")));
    let grant = sign_up(&client, "ada", &typed).await.expect(201).json();
    client.with_grant(&grant).get("/api/v1/me").await.expect(200);
    sign_up(&client, "brian", &json!(code)).await.expect(403).problem("invite_required");
    // Without a code, the response does not reveal that the name is taken.
    sign_up(&client, "ada", &json!(null)).await.expect(403).problem("invite_required");
    assert_eq!(users(&app).await, 1);
    // A login to an existing account requires no code.
    app.log_in("ada").await;
}

#[tokio::test]
async fn a_rejected_sign_up_does_not_use_up_the_invite_code() {
    let app = start().await;
    let client = app.anonymous();
    let code = json!(invite(&app, 2, None).await.to_string());
    sign_up(&client, "ada", &code).await.expect(201);
    sign_up(&client, "ada", &code).await.expect(409).problem("identifier_taken");
    sign_up(&client, "x", &code).await.expect(422);
    sign_up(&client, "brian", &code).await.expect(201);
    sign_up(&client, "clara", &code).await.expect(403).problem("invite_required");
}

#[tokio::test]
async fn parallel_sign_ups_never_use_an_invite_code_more_often_than_allowed() {
    let app = start().await;
    let replica = app.replica().await;
    for uses in [1, 3] {
        let before = users(&app).await;
        let code = json!(invite(&app, uses, None).await.to_string());
        let clients = [app.anonymous(), replica.anonymous()];
        let attempts = (0..12).map(|number| {
            let (client, code) = (&clients[number % 2], &code);
            async move { sign_up(client, &format!("user-{uses}-{number}"), code).await.status }
        });
        let mut statuses = join_all(attempts).await;
        statuses.sort_unstable();
        let created = usize::try_from(uses).unwrap();
        assert_eq!(statuses, [vec![201; created], vec![403; 12 - created]].concat());
        assert_eq!(users(&app).await, before + created);
        let used = app.services().invites.list().await.unwrap().last().unwrap().used;
        assert_eq!(used, uses);
    }
}

#[tokio::test]
async fn an_expired_or_removed_invite_code_is_refused_and_an_expired_invite_is_deleted_later() {
    let app = start().await;
    let client = app.anonymous();
    let code = json!(invite(&app, 9, Some(TimeDelta::hours(1))).await.to_string());
    let removed = json!(invite(&app, 9, None).await.to_string());
    app.clock.advance(TimeDelta::minutes(59));
    sign_up(&client, "ada", &code).await.expect(201);
    app.clock.advance(TimeDelta::minutes(1));
    sign_up(&client, "brian", &code).await.expect(403).problem("invite_required");
    sign_up(&client, "brian", &removed).await.expect(201);
    let id = app.services().invites.list().await.unwrap()[1].id;
    app.services().invites.remove(id).await.unwrap();
    sign_up(&client, "clara", &removed).await.expect(403).problem("invite_required");
    // An expired invite is listed for 30 days.
    app.services().invites.sweep().await.unwrap();
    assert_eq!(app.services().invites.list().await.unwrap().len(), 1);
    app.clock.advance(TimeDelta::days(31));
    app.services().invites.sweep().await.unwrap();
    assert!(app.services().invites.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wrong_invite_code_counts_as_a_failed_attempt_and_a_missing_one_does_not() {
    // S-12
    let app = start().await;
    let client = app.anonymous();
    sign_up(&client, "ada", &json!(null)).await.expect(403);
    assert_eq!(rows::throttle_buckets(&app).await, 0);
    sign_up(&client, "ada", &json!("aaaa-aaaa-aaaa-aaaa-aaaa")).await.expect(403);
    assert_eq!(rows::throttle_buckets(&app).await, 1);
}

#[tokio::test]
async fn servers_that_require_no_invitation_ignore_the_invite_code() {
    let app = TestApp::start().await;
    sign_up(&app.anonymous(), "ada", &json!("a guess")).await.expect(201);
}

#[tokio::test]
async fn invites_can_be_added_listed_and_removed_while_a_server_runs() {
    // S-95
    let app = TestApp::start_now().await;
    let server = app.replica_with(|settings| settings.signup = Signup::Invite).await;
    let dir = TempDir::new().unwrap();
    let url = app.settings().database_url.expose().to_owned();
    let command = |args: &[&str]| run(dir.path(), &[&["invites"], args, &["--database-url", &url]].concat());
    let json = |args: &[&str]| -> Value {
        let output = command(args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let added = json(&["add", "--uses", "2", "--expires-secs", "3600", "--json"]);
    assert_eq!((&added["uses"], &added["used"]), (&json!(2), &json!(0)));
    assert!(added["created_at"].is_string() && added["expires_at"].is_string(), "{added}");
    for name in ["ada", "brian"] {
        sign_up(&server.anonymous(), name, &added["code"]).await.expect(201);
    }
    sign_up(&server.anonymous(), "clara", &added["code"]).await.expect(403).problem("invite_required");
    let mut expected = added.clone();
    expected.as_object_mut().unwrap().remove("code");
    expected["used"] = json!(2);
    assert_eq!(json(&["list", "--json"]), json!([expected]));
    let second = stdout(&command(&["add"]));
    let [id, code] = second.lines().collect::<Vec<_>>()[..] else { panic!("{second}") };
    let (id, code) = (id.strip_prefix("id    ").unwrap(), code.strip_prefix("code  ").unwrap());
    let list = stdout(&command(&["list"]));
    assert!(list.lines().count() == 2 && list.contains("used 0 of 1  never expires"), "{list}");
    assert!(!list.contains(code), "{list}");
    assert_eq!(stdout(&command(&["remove", id])), format!("removed {id}\n"));
    sign_up(&server.anonymous(), "clara", &json!(code)).await.expect(403).problem("invite_required");
    let again = command(&["remove", id]);
    assert_eq!(
        (again.status.code(), stderr(&again).as_str()),
        (Some(1), "tripgate: no invite with this id\n")
    );
    assert_eq!(command(&["remove", "x"]).status.code(), Some(1));
    let first = added["id"].as_str().unwrap();
    assert_eq!(json(&["remove", first, "--json"]), json!({ "removed": first }));
    assert_eq!(json(&["list", "--json"]), json!([]));
    let audit = run(dir.path(), &["audit", "--json", "--database-url", &url]);
    let records: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let commands: Vec<&str> =
        records.as_array().unwrap().iter().rev().map(|record| record["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["invites add", "invites add", "invites remove", "invites remove"]);
    assert_eq!(records[0]["subject"], added["id"]);
    for usage in [&["add", "--uses", "0"][..], &["add", "--expires-secs", "0"], &["remove"]] {
        assert_eq!(command(usage).status.code(), Some(2), "{usage:?}");
    }
}
