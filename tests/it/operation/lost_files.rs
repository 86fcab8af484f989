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
async fn a_server_does_not_start_if_its_former_database_is_missing_or_empty() {
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
    // If `database.json` is missing too, `data/secret` still shows that there was a database.
    fs::remove_file(dir.path().join("data/database.json")).unwrap();
    assert!(refused(dir.path()).contains("data/secret is from an earlier start"));
    let add = run(dir.path(), &["clients", "add", "gate", "--create"]);
    assert_ne!(add.status.code(), Some(0), "{}", stderr(&add));
    assert_eq!(fs::read(&database).unwrap(), b"");
    fs::write(&database, &saved).unwrap();
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
}

#[tokio::test]
async fn a_new_database_with_an_old_secret_requires_the_flag_create() {
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
async fn a_database_of_another_server_is_refused_until_epoch_renew_accepts_it() {
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
fn the_command_clients_add_does_not_create_a_database() {
    // N-4
    let dir = TempDir::new().unwrap();
    let add = run(dir.path(), &["clients", "add", "gate"]);
    assert_eq!((add.status.code(), add.stdout.is_empty()), (Some(2), true));
    assert!(stderr(&add).contains("no database") && stderr(&add).contains("--create"), "{}", stderr(&add));
    assert!(!dir.path().join("data").exists());
    let add = run(dir.path(), &["clients", "add", "gate", "--create"]);
    assert_eq!(add.status.code(), Some(0), "{}", stderr(&add));
    // The first start of the server uses the database that the command created.
    drop(Process::serve(dir.path(), &[]));
}

#[tokio::test]
async fn a_damaged_database_record_in_the_data_directory_is_reported() {
    // F-6
    let dir = used().await;
    let record = dir.path().join("data/database.json");
    fs::write(&record, "{").unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("failed to read") && reason.contains("epoch renew"), "{reason}");
    let renewed = run(dir.path(), &["epoch", "renew"]);
    assert_eq!(renewed.status.code(), Some(0), "{}", stderr(&renewed));
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
}

async fn create(server: &Process, token: &str) -> u16 {
    let body = json!({ "title": "Lisbon", "notes": "n".repeat(2_000) });
    let call = server.call(Method::POST, "/api/v1/trips").bearer_auth(token).json(&body);
    call.send().await.unwrap().status().as_u16()
}

async fn get(server: &Process, path: &str, token: &str) -> u16 {
    server.call(Method::GET, path).bearer_auth(token).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn writes_are_refused_while_the_database_file_is_gone_or_replaced() {
    // N-23, F-6, S-100
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap();
    assert_eq!(create(&server, token).await, 201);
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    fs::rename(&data, &aside).unwrap();
    for _ in 0..3 {
        assert_eq!(create(&server, token).await, 503);
    }
    assert_eq!(get(&server, "/health/ready", token).await, 503);
    assert_eq!(get(&server, "/health/live", token).await, 200);
    assert!(!data.exists(), "the server must not create another database");
    // A copy in place of the database file is not accepted either.
    fs::create_dir(&data).unwrap();
    fs::copy(aside.join("tripgate.db"), data.join("tripgate.db")).unwrap();
    assert_eq!(create(&server, token).await, 503);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&aside, &data).unwrap();
    assert_eq!(create(&server, token).await, 201);
    assert_eq!(get(&server, "/health/ready", token).await, 200);
    server.terminate();
    let (code, log) = server.wait_for_exit();
    assert!(code == Some(0) && log.contains("was deleted or replaced"), "{log}");
}

#[tokio::test]
async fn a_second_server_on_one_sqlite_file_does_not_start_but_commands_run() {
    // N-24
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let reason = refused(dir.path());
    assert!(reason.contains(&format!("another server (process {})", server.id())), "{reason}");
    for args in [["keys", "list"], ["clients", "list"], ["migrate", "status"], ["epoch", "renew"]] {
        let output = run(dir.path(), &args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
    server.kill();
    server.wait_for_exit();
    drop(Process::serve(dir.path(), &[]));
}

#[tokio::test]
async fn a_server_does_not_start_on_a_damaged_database_file() {
    // F-6, S-100
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up("ada").await;
    for _ in 0..100 {
        assert_eq!(create(&server, grant["access_token"].as_str().unwrap()).await, 201);
    }
    server.terminate();
    server.wait_for_exit();
    let database = database(&dir);
    let whole = fs::read(&database).unwrap();
    let record = dir.path().join("data/database.json");
    let crashed = fs::read_to_string(&record).unwrap().replace("\"clean\":true", "\"clean\":false");
    fs::write(&record, crashed).unwrap();
    // Overwrite eight pages. This simulates a torn copy, in which some pages are from a later state of the
    // database.
    let mut torn = whole.clone();
    let (from, to) = (torn.len() / 2, torn.len() / 2 + 8 * 4096);
    torn[from..to].fill(0xa5);
    fs::write(&database, torn).unwrap();
    let reason = refused(dir.path());
    assert!(reason.contains("damaged") && reason.contains("restore a backup"), "{reason}");
    fs::write(&database, whole).unwrap();
    drop(Process::serve(dir.path(), &[]));
}
