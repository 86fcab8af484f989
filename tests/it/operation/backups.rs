//! `tripgate backup`: makes, lists, checks and restores backups.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tripgate::config::Settings;

use crate::harness::process::{Process, run, stderr, stdout};
use crate::harness::{TestApp, rows};

/// Runs `tripgate backup` with these settings.
fn backup(settings: &Settings, args: &[&str]) -> Output {
    let (data, secret) = (settings.data_dir.to_str().unwrap(), settings.secret_file.to_str().unwrap());
    let database = settings.database_url.expose();
    let common = ["backup", "--data-dir", data, "--secret-file", secret, "--database-url", database];
    run(&settings.data_dir, &[&common, args].concat())
}

fn json_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).unwrap()
}

fn create(settings: &Settings) -> PathBuf {
    json_of(&backup(settings, &["create", "--json"]))["path"].as_str().unwrap().into()
}

fn is_sqlite(app: &TestApp) -> bool {
    app.settings().database_url.expose().starts_with("sqlite:")
}

/// Returns the content of every file in the directory.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        paths.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

/// Asserts that a command fails with this reason and changes no file, except lock files.
fn assert_refused(settings: &Settings, args: &[&str], reason: &str) {
    let before = files(&settings.data_dir);
    let output = backup(settings, args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    let lock = |all: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
        all.into_iter().filter(|(path, _)| path.extension().is_none_or(|kind| kind != "lock")).collect()
    };
    assert_eq!(lock(files(&settings.data_dir)), lock(before));
}

#[tokio::test]
async fn a_backup_of_a_running_server_can_be_restored_and_the_restore_begins_a_new_epoch() {
    // S-98, S-99
    let app = TestApp::start_now().await.single().await;
    let ada = app.sign_up("ada").await;
    let trip = ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201).json();
    let trip = format!("/api/v1/trips/{}", trip["id"].as_str().unwrap());
    let cursor = ada.get("/api/v1/sync").await.expect(200).json()["next_cursor"].clone();
    // Add the row of a server that has stopped by the time of the restore.
    rows::add_replica(&app, "1.0.0", 0).await;
    let path = create(app.settings());
    let verified = json_of(&backup(app.settings(), &["verify", path.to_str().unwrap(), "--json"]));
    assert_eq!(verified["sound"], true);
    let listed = json_of(&backup(app.settings(), &["list", "--json"]));
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["path"]), (1, &json!(path)));
    let whole = fs::read(&path).unwrap();
    let secret = fs::read_to_string(&app.settings().secret_file).unwrap();
    assert!(!whole.windows(secret.trim().len()).any(|part| part == secret.trim().as_bytes()));
    ada.patch(&trip).json(&json!({ "title": "lost" })).await.expect(200);
    let app = app
        .restart_after(|settings| {
            assert_refused(settings, &["restore", path.to_str().unwrap()], "--yes");
            let restored =
                json_of(&backup(settings, &["restore", path.to_str().unwrap(), "--yes", "--json"]));
            assert_eq!(restored["trips"], 1);
        })
        .await;
    let servers = rows::replicas(&app).await;
    assert!(servers.iter().all(|row| row.address == app.address().to_string()), "{servers:?}");
    let ada = app.anonymous().with_grant(ada.grant());
    assert_eq!(ada.get(&trip).await.expect(200).json()["title"], "Lisbon");
    let stale = ada.get(&format!("/api/v1/sync?cursor={}", cursor.as_str().unwrap())).await;
    stale.expect(410).problem("resync_required");
}

#[tokio::test]
async fn a_restore_into_an_empty_directory_needs_no_confirmation() {
    // S-98
    let app = TestApp::start_now().await;
    if !is_sqlite(&app) {
        return;
    }
    app.sign_up("ada").await;
    let path = create(app.settings());
    let dir = TempDir::new().unwrap();
    let settings = Settings::for_tests(&dir.path().join("data"));
    fs::create_dir(&settings.data_dir).unwrap();
    fs::copy(&app.settings().secret_file, &settings.secret_file).unwrap();
    json_of(&backup(&settings, &["restore", path.to_str().unwrap(), "--json"]));
    let server = Process::serve(dir.path(), &[]);
    let body = json!({ "identifier": "ada", "password": crate::harness::PASSWORD });
    let login = server.call(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    assert_eq!(login.status(), 200);
}

#[tokio::test]
async fn damaged_backups_and_those_of_another_secret_or_a_newer_version_are_refused() {
    // S-98
    let app = TestApp::start_now().await;
    if !is_sqlite(&app) {
        return;
    }
    app.sign_up("ada").await;
    let path = create(app.settings());
    let whole = fs::read(&path).unwrap();
    let dir = TempDir::new().unwrap();
    let changed = dir.path().join("changed.backup");
    let text = changed.to_str().unwrap();
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    let mut newer = whole.clone();
    newer[16] = b'9';
    let other_secret = dir.path().join("secret");
    fs::write(&other_secret, "another secret of at least thirty-two bytes").unwrap();
    app.restart_after(|settings| {
        for (content, reason) in [
            (&whole[..middle], "is truncated"),
            (&flipped, "its checksum is wrong"),
            (&newer, "newer version of Tripgate"),
            (b"SQLite format 3\0", "is not a backup"),
            (b"", "is not a backup"),
        ] {
            fs::write(&changed, content).unwrap();
            for args in [vec!["verify", text], vec!["restore", text, "--yes"]] {
                assert_refused(settings, &args, reason);
            }
        }
        fs::write(&changed, &whole).unwrap();
        let foreign = Settings { secret_file: other_secret.clone(), ..settings.clone() };
        for args in [vec!["verify", text], vec!["restore", text, "--yes"]] {
            assert_refused(&foreign, &args, "another master secret");
        }
        assert_refused(settings, &["restore", "nowhere.backup", "--yes"], "failed to read nowhere.backup");
    })
    .await;
}

#[tokio::test]
async fn a_restore_is_refused_while_a_server_runs() {
    // S-98
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.sign_up("ada").await;
    let created = run(dir.path(), &["backup", "create", "--json"]);
    let path = json_of(&created)["path"].as_str().unwrap().to_owned();
    let refused = run(dir.path(), &["backup", "restore", &path, "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("another server"), "{}", stderr(&refused));
    let ready = server.call(Method::GET, "/health/ready").send().await.unwrap();
    assert_eq!(ready.status(), 200);
}

#[tokio::test]
async fn scheduled_backups_are_made_when_they_are_due_and_the_oldest_are_removed() {
    // S-98
    let dir = TempDir::new().unwrap();
    let backups = dir.path().join("backups");
    let app = TestApp::with(|settings| {
        settings.backups.dir = Some(backups.clone());
        settings.backups.every_secs = 3600;
        settings.backups.keep = 2;
    })
    .await;
    app.sign_up("ada").await;
    let mut counts = Vec::new();
    for minutes in [0, 59, 1, 60, 60] {
        app.clock.advance(TimeDelta::minutes(minutes));
        tripgate::housekeeping::back_up(app.services().clone()).await;
        counts.push(fs::read_dir(&backups).unwrap().count());
    }
    assert_eq!(counts, [1, 1, 2, 2, 2]);
    let names: Vec<_> = app.services().backups.list().unwrap();
    assert!(names[1].path.ends_with("tripgate-20260302T103000Z.backup"), "{names:?}");
    let metrics = tripgate::metrics::render();
    assert!(metrics.contains("tripgate_backups_total{result=\"success\"} 4"), "{metrics}");
}

#[tokio::test]
async fn a_backup_command_that_fails_exits_with_status_1() {
    let app = TestApp::start_now().await;
    let settings = app.settings();
    fs::write(settings.data_dir.join("backups"), "a file").unwrap();
    let failed = backup(settings, &["create"]);
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("failed to write"), "{}", stderr(&failed));
}

#[test]
fn a_backup_is_made_before_a_migration() {
    let dir = TempDir::new().unwrap();
    let migrate = |args: &[&str]| {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    migrate(&["migrate", "up"]);
    let backups = dir.path().join("data/backups");
    assert!(!backups.exists(), "a new database has nothing to back up");
    migrate(&["migrate", "down"]);
    migrate(&["migrate", "up", "--backup-before-migration", "off"]);
    assert!(!backups.exists());
    migrate(&["migrate", "down"]);
    migrate(&["migrate", "up"]);
    assert_eq!(fs::read_dir(&backups).unwrap().count(), 1);
}

/// The bytes at the start of data that zstd has compressed.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|bytes| bytes == part)
}

#[tokio::test]
async fn an_encrypted_backup_can_be_restored_only_with_its_secret() {
    // S-98
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    ada.post("/api/v1/trips").json(&json!({ "title": "The Azores" })).await.expect(201);
    let created = json_of(&backup(app.settings(), &["create", "--json", "--backup-encryption", "on"]));
    assert_eq!(created["encrypted"], true);
    let path = created["path"].as_str().unwrap().to_owned();
    assert!(!contains(&fs::read(&path).unwrap(), &ZSTD), "the content is only compressed");
    assert_eq!(json_of(&backup(app.settings(), &["verify", &path, "--json"]))["sound"], true);
    let unfinished = fs::read_dir(Path::new(&path).parent().unwrap()).unwrap();
    assert_eq!(unfinished.count(), 1, "an unencrypted file remains");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret");
    let app = app
        .restart_after(|settings| {
            let other = Settings { secret_file: file.clone(), ..settings.clone() };
            assert_refused(&other, &["verify", &path], "is encrypted");
            assert_refused(&other, &["create", "--backup-encryption", "on"], "there is no master secret");
            fs::write(&file, "another secret of more than 32 characters").unwrap();
            assert_refused(
                &other,
                &["restore", &path, "--yes"],
                "first restore the secret file under which the backup was made",
            );
            // A former secret still decrypts the backups that it encrypted.
            let secret = fs::read_to_string(&settings.secret_file).unwrap();
            let rotated = format!("another secret of more than 32 characters\nold {}", secret.trim());
            fs::write(&file, rotated).unwrap();
            assert_eq!(json_of(&backup(&other, &["verify", &path, "--json"]))["sound"], true);
            json_of(&backup(settings, &["restore", &path, "--yes", "--json"]));
        })
        .await;
    let trips = app.log_in("ada").await.get("/api/v1/trips").await.expect(200).json();
    assert_eq!(trips["items"][0]["title"], "The Azores");
}

#[tokio::test]
async fn an_unencrypted_backup_is_refused_when_backup_encryption_is_on() {
    // S-98
    let app = TestApp::start_now().await;
    let path = create(app.settings());
    assert!(contains(&fs::read(&path).unwrap(), &ZSTD));
    let verify = ["verify", path.to_str().unwrap(), "--backup-encryption", "on"];
    assert_refused(app.settings(), &verify, "is not encrypted");
}

#[tokio::test]
async fn the_next_backup_removes_unfinished_files_and_is_refused_while_another_backup_runs() {
    // S-98
    let app = TestApp::start_now().await;
    let dir = app.settings().data_dir.join("backups");
    fs::create_dir_all(&dir).unwrap();
    for kind in ["copy", "copy-wal", "dump", "partial"] {
        fs::write(dir.join(format!("tripgate-20200101T000000Z.{kind}")), "unencrypted").unwrap();
    }
    fs::write(dir.join("notes.copy"), "a file of the operator").unwrap();
    let path = create(app.settings());
    let mut left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    assert_eq!(left, [dir.join("notes.copy"), path]);
    let lock = fs::File::open(&dir).unwrap();
    lock.lock().unwrap();
    assert_refused(app.settings(), &["create"], "another backup is being made");
}
