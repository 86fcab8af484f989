//! Files that are missing, emptied or replaced between two starts.

use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::PASSWORD;
use crate::harness::process::{Process, command, finish, run, stderr};

/// Starts a server, creates the account `ada`, and stops the server. Returns its directory.
async fn used() -> TempDir {
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.sign_up("ada").await;
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    dir
}

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join("data/tripgate.db")
}

/// Asserts that the server does not start, and returns the reason.
fn refused(dir: &Path) -> String {
    let output = finish(command(dir, &["--listen", "127.0.0.1:0"]).env("TRIPGATE_BCRYPT_COST", "4"));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let reason = text.lines().last().unwrap().to_owned();
    assert!(reason.starts_with("tripgate: ") && output.stdout.is_empty(), "{text}");
    reason
}

async fn can_log_in(server: &Process) -> bool {
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let response = server.call(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    response.status() == 200
}

#[tokio::test]
async fn a_missing_or_emptied_database_beside_its_data_directory_is_refused() {
    // F-6, S-99
    let dir = used().await;
    let database = database(&dir);
    let saved = fs::read(&database).unwrap();
    fs::remove_file(&database).unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("missing or empty") && reason.contains("serve --create"), "{reason}");
    assert!(!database.exists(), "a refused start must not create a database");
    fs::write(&database, "").unwrap();
    assert!(refused(dir.path()).contains("missing or empty"));
    // Without the record, the secret shows that there was a database.
    fs::remove_file(dir.path().join("data/database.json")).unwrap();
    assert!(refused(dir.path()).contains("data/secret is from an earlier start"));
    let add = run(dir.path(), &["clients", "add", "gate", "--create"]);
    assert_ne!(add.status.code(), Some(0), "{}", stderr(&add));
    assert_eq!(fs::read(&database).unwrap(), b"");
    fs::write(&database, &saved).unwrap();
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
}

#[tokio::test]
async fn a_new_database_beside_an_old_secret_must_be_allowed() {
    // F-6, S-99
    let dir = used().await;
    fs::remove_file(database(&dir)).unwrap();
    let server = Process::serve(dir.path(), &["serve", "--create"]);
    assert!(!can_log_in(&server).await);
    server.sign_up("ada").await;
    drop(server);
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
}

#[tokio::test]
async fn a_foreign_database_is_refused_until_it_is_adopted() {
    // F-6, S-99
    let (dir, other) = (used().await, used().await);
    fs::copy(dir.path().join("data/secret"), other.path().join("data/secret")).unwrap();
    fs::copy(database(&other), database(&dir)).unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("is not the one") && reason.contains("epoch renew"), "{reason}");
    let renewed = run(dir.path(), &["epoch", "renew"]);
    assert_eq!(renewed.status.code(), Some(0), "{}", stderr(&renewed));
    drop(Process::serve(dir.path(), &[]));
}

#[tokio::test]
async fn a_database_whose_secret_is_missing_is_refused() {
    // F-6, S-36
    let dir = used().await;
    let secret = dir.path().join("data/secret");
    fs::remove_file(&secret).unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("secret file") && reason.contains("serve --create"), "{reason}");
    assert!(!secret.exists(), "a refused start must not create a secret");
    let server = Process::serve(dir.path(), &["serve", "--create"]);
    assert!(can_log_in(&server).await, "the new secret must have keys");
}

#[test]
fn a_client_is_not_added_where_there_is_no_database() {
    // N-4
    let dir = TempDir::new().unwrap();
    let add = run(dir.path(), &["clients", "add", "gate"]);
    assert_eq!((add.status.code(), add.stdout.is_empty()), (Some(2), true));
    assert!(stderr(&add).contains("no database") && stderr(&add).contains("--create"), "{}", stderr(&add));
    assert!(!dir.path().join("data").exists());
    let add = run(dir.path(), &["clients", "add", "gate", "--create"]);
    assert_eq!(add.status.code(), Some(0), "{}", stderr(&add));
    // The first start of the server uses this database.
    drop(Process::serve(dir.path(), &[]));
}

#[tokio::test]
async fn a_damaged_record_of_the_database_is_reported() {
    // F-6
    let dir = used().await;
    let record = dir.path().join("data/database.json");
    fs::write(&record, "{").unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("can't read") && reason.contains("epoch renew"), "{reason}");
    let renewed = run(dir.path(), &["epoch", "renew"]);
    assert_eq!(renewed.status.code(), Some(0), "{}", stderr(&renewed));
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
}
