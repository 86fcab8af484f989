//! The records of administrative commands.

use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tripgate::db::StoreError;
use tripgate::housekeeping;
use tripgate::operators::{self, Action};

use super::{OLD_PASSWORD, run_with_input, users};
use crate::harness::TestApp;
use crate::harness::process::{Process, run, stderr, stdout};

fn audit(app: &TestApp) -> Vec<Value> {
    let output = run_with_input(app, &["audit", "--json"], b"");
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// Runs a command, which must succeed.
fn success(app: &TestApp, args: &[&str], input: &[u8]) -> String {
    let output = run_with_input(app, args, input);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// Returns the command and the subject of each record, the oldest record first.
fn recorded<'a>(records: &'a [Value]) -> Vec<(&'a str, &'a str)> {
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    records.iter().rev().map(|record| (text(&record["command"]), text(&record["subject"]))).collect()
}

#[tokio::test]
async fn every_command_on_users_is_recorded_with_the_name_of_the_operating_system_user() {
    // S-95
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let on_ada = [
        "show",
        "sessions",
        "confirm",
        "disable",
        "enable",
        "end-sessions",
        "mfa-reset",
        "reset-password",
        "mint",
    ];
    for command in on_ada {
        users(&app, &[command, "ada"]).await;
    }
    users(&app, &["delete", "ada", "--yes"]).await;
    users(&app, &["list"]).await;
    let add = ["users", "add", "--username", "brian", "--password-stdin", "--json"];
    let brian: Value = serde_json::from_str(&success(&app, &add, OLD_PASSWORD.as_bytes())).unwrap();
    let file = app.settings().data_dir.join("users.csv");
    fs::write(&file, "email\ngrace@example.org\n").unwrap();
    success(&app, &["users", "import", file.to_str().unwrap()], b"");
    let records = audit(&app);
    // The records of an account remain after the account was deleted.
    let mut expected: Vec<(String, &str)> =
        on_ada.iter().chain(&["delete"]).map(|command| (format!("users {command}"), ada.id())).collect();
    for (command, subject) in
        [("users list", ""), ("users add", brian["id"].as_str().unwrap()), ("users import", "users.csv")]
    {
        expected.push((command.to_owned(), subject));
    }
    let expected: Vec<(&str, &str)> =
        expected.iter().map(|(command, subject)| (command.as_str(), *subject)).collect();
    assert_eq!(recorded(&records), expected);
    let operator = whoami::username().unwrap();
    for row in &records {
        assert!(row["operator"].as_str().unwrap().starts_with(&operator), "{row}");
    }
}

#[tokio::test]
async fn commands_on_keys_clients_invites_the_throttle_the_secret_and_the_epoch_are_recorded() {
    // S-95
    let app = TestApp::start_now().await;
    let run = |args: &[&str]| success(&app, args, b"");
    run(&["keys", "rotate"]);
    let keys = run(&["keys", "list"]);
    let kid = |status: &str| {
        // The keys that the first start creates have the same creation time, so their order is not defined.
        let mut rows = keys.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row[2] == status).unwrap()[0].to_owned()
    };
    let (retired, active) = (kid("retired"), kid("active"));
    run(&["keys", "revoke", "--", &retired]);
    let added = run(&["clients", "add", "gate"]);
    let client = added.lines().next().unwrap().strip_prefix("client_id").unwrap().trim();
    run(&["clients", "remove", client]);
    let invite: Value = serde_json::from_str(&run(&["invites", "add", "--json"])).unwrap();
    let invite = invite["id"].as_str().unwrap();
    run(&["invites", "remove", invite]);
    run(&["throttle", "clear", "--all"]);
    run(&["secret", "rotate"]);
    run(&["epoch", "renew"]);
    let records = audit(&app);
    let expected = [
        ("keys rotate", active.as_str()),
        ("keys revoke", retired.as_str()),
        ("clients add", client),
        ("clients remove", client),
        ("invites add", invite),
        ("invites remove", invite),
        ("throttle clear", ""),
        ("secret rotate", ""),
        ("epoch renew", ""),
    ];
    assert_eq!(recorded(&records), expected);
}

#[test]
fn commands_that_are_not_recorded_in_the_database_are_recorded_in_the_log() {
    // S-95
    let dir = TempDir::new().unwrap();
    drop(Process::serve(dir.path(), &[]));
    let target = format!("sqlite://{}", dir.path().join("copy.db").display());
    for args in [
        &["migrate", "down"][..],
        &["migrate", "up", "--backup-before-migration", "off"],
        &["mail", "test", "ada@example.org"],
        &["secret", "prepare"],
        &["backup", "create"],
        &["copy", "--to", &target],
    ] {
        let output = run(dir.path(), args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let command = args.iter().take_while(|arg| !arg.contains(['@', '-'])).copied().collect::<Vec<_>>();
        let command = format!("command=\"{}\"", command.join(" "));
        let log = stderr(&output);
        assert!(log.contains("event=\"operator_command\"") && log.contains(&command), "{args:?}: {log}");
    }
    let audit = |dir: &Path| -> Value {
        let output = run(dir, &["audit", "--json"]);
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    assert_eq!(audit(dir.path()), json!([]));
    let backup = fs::read_dir(dir.path().join("data/backups")).unwrap().next().unwrap().unwrap().path();
    let output = run(dir.path(), &["backup", "restore", backup.to_str().unwrap(), "--yes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(audit(dir.path())[0]["command"], "backup restore");
}

#[tokio::test]
async fn audit_records_are_deleted_after_400_days() {
    let app = TestApp::start().await;
    let db = &app.services().db;
    let record = async |command: &str| {
        let action = Action::new(&app.clock, command);
        let written: Result<(), StoreError> =
            db.write(action, |tx, action| operators::record(tx, action).boxed()).await;
        written.unwrap();
    };
    record("users list").await;
    app.clock.advance(TimeDelta::milliseconds(1));
    record("users show").await;
    app.clock.advance(operators::RETENTION);
    housekeeping::sweep(app.services().clone()).await;
    let left = operators::list(db, 10).await.unwrap();
    assert_eq!(left.iter().map(|action| &action.command).collect::<Vec<_>>(), ["users show"]);
}

#[tokio::test]
async fn the_log_of_a_command_names_the_operator_and_contains_no_secret() {
    // S-65, S-95
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    for command in ["mint", "reset-password"] {
        let output = run_with_input(&app, &["users", command, "ada"], b"");
        let (secret, log) = (stdout(&output), stderr(&output));
        let operator = whoami::username().unwrap();
        assert!(log.contains("event=\"operator_command\""), "{log}");
        assert!(log.contains(&format!("command=\"users {command}\"")), "{log}");
        assert!(log.contains(&operator) && log.contains(ada.id()), "{log}");
        let secret = secret.lines().next().unwrap();
        let token = secret.rsplit('#').next().unwrap();
        assert!(!log.contains(token), "{log}");
    }
}
