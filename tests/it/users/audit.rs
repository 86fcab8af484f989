//! The records of administrative commands.

use serde_json::{Value, json};

use super::{OLD_PASSWORD, run_with_input, users};
use crate::harness::TestApp;
use crate::harness::process::{stderr, stdout};

fn audit(app: &TestApp) -> Vec<Value> {
    let output = run_with_input(app, &["audit", "--json"], b"");
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[tokio::test]
async fn every_command_is_recorded_with_the_operating_systems_user() {
    // S-95
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let all = [
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
    for command in all {
        users(&app, &[command, "ada"]).await;
    }
    users(&app, &["delete", "ada", "--yes"]).await;
    users(&app, &["list"]).await;
    let add = ["users", "add", "--username", "brian", "--password-stdin"];
    assert!(run_with_input(&app, &add, OLD_PASSWORD.as_bytes()).status.success());
    for args in [&["keys", "rotate"][..], &["throttle", "clear", "--all"], &["clients", "add", "gate"]] {
        assert!(run_with_input(&app, args, b"").status.success(), "{args:?}");
    }
    let records = audit(&app);
    let commands: Vec<&str> = records.iter().rev().map(|row| row["command"].as_str().unwrap()).collect();
    let mut expected: Vec<String> = all.iter().map(|command| format!("users {command}")).collect();
    for command in ["users delete", "users list", "users add", "keys rotate", "throttle clear", "clients add"]
    {
        expected.push(command.to_owned());
    }
    assert_eq!(commands, expected);
    let operator = whoami::username().unwrap();
    for row in &records {
        assert!(row["operator"].as_str().unwrap().starts_with(&operator), "{row}");
    }
    let about_ada = records.iter().filter(|row| row["subject"] == json!(ada.id())).count();
    assert_eq!(about_ada, all.len() + 1, "the record of a deletion outlives the account");
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
