//! `tripgate upgrade --rehearse`: runs the pending migrations on a copy.

use std::fs;
use std::path::Path;
use std::process::Output;

use sea_orm::{ConnectOptions, ConnectionTrait, Database as SeaDatabase};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::process::{run, stderr, stdout};
use crate::harness::{Database, TestApp};

fn rehearse(dir: &Path, args: &[&str]) -> Output {
    run(dir, &[&["upgrade", "--rehearse", "--json"], args].concat())
}

fn report(output: &Output, status: i32) -> Value {
    assert_eq!(output.status.code(), Some(status), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).unwrap()
}

fn migrate(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, &[&["migrate"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[test]
fn an_upgrade_rehearsal_runs_the_pending_migration_steps_only_on_a_copy() {
    // S-110
    let dir = TempDir::new().unwrap();
    migrate(dir.path(), &["up"]);
    let none = report(&rehearse(dir.path(), &[]), 0);
    assert_eq!((none["steps"].as_array().unwrap().len(), &none["succeeded"]), (0, &Value::Bool(true)));
    let before = migrate(dir.path(), &["down", "--steps", "3"]);
    let data = dir.path().join("data");
    let there = files(&data);
    let rehearsed = report(&rehearse(dir.path(), &[]), 0);
    let steps = rehearsed["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &rehearsed["succeeded"]), (3, &Value::Bool(true)));
    assert!(steps.iter().all(|step| step["error"].is_null() && step["seconds"].is_f64()), "{rehearsed}");
    for size in ["database_bytes", "migration_bytes", "backup_bytes"] {
        assert!(rehearsed[size].as_u64().unwrap() > 0, "{rehearsed}");
    }
    assert_eq!(migrate(dir.path(), &["status"]), before);
    assert_eq!(files(&data), there);
}

#[tokio::test]
async fn a_migration_step_that_fails_in_a_rehearsal_is_reported_and_changes_nothing() {
    // S-110
    let dir = TempDir::new().unwrap();
    // Step 15 and all later steps are pending.
    let count = migrate(dir.path(), &["up"]).lines().count() - 14;
    let before = migrate(dir.path(), &["down", "--steps", &count.to_string()]);
    let file = dir.path().join("data/tripgate.db");
    let url = format!("sqlite://{}", file.display());
    let connection =
        SeaDatabase::connect(ConnectOptions::new(url).sqlx_logging(false).to_owned()).await.unwrap();
    let obstacle = "CREATE INDEX throttle_buckets_expires_at ON users (created_at)";
    connection.execute_unprepared(obstacle).await.unwrap();
    connection.close().await.unwrap();
    let there = files(&dir.path().join("data"));
    let output = rehearse(dir.path(), &[]);
    let rehearsed = report(&output, 1);
    let steps = rehearsed["steps"].as_array().unwrap();
    assert_eq!((steps.len(), &rehearsed["succeeded"]), (1, &Value::Bool(false)));
    assert!(steps[0]["error"].as_str().unwrap().contains("throttle_buckets_expires_at"), "{rehearsed}");
    assert!(stderr(&output).contains("do not upgrade this database"), "{}", stderr(&output));
    assert_eq!(migrate(dir.path(), &["status"]), before);
    assert_eq!(files(&dir.path().join("data")), there);
}

#[tokio::test]
async fn an_upgrade_rehearsal_on_a_database_server_needs_an_empty_database() {
    // S-110
    let app = TestApp::start_now().await;
    app.sign_up("ada").await;
    let Some(scratch) = Database::create().await else { return };
    app.restart_after(|settings| {
        let url = settings.database_url.expose();
        let args = ["--database-url", url, "--data-dir", settings.data_dir.to_str().unwrap()];
        let dir = settings.data_dir.as_path();
        assert_eq!(report(&rehearse(dir, &args), 0)["succeeded"], true);
        let before = migrate(dir, &[&["down", "--steps", "2"], &args[..]].concat());
        let refused = rehearse(dir, &args);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("name it with --to URL"), "{}", stderr(&refused));
        let target = scratch.url();
        let to = [&args[..], &["--to", &target]].concat();
        let rehearsed = report(&rehearse(dir, &to), 0);
        assert_eq!(rehearsed["steps"].as_array().unwrap().len(), 2);
        let again = rehearse(dir, &to);
        assert_eq!(again.status.code(), Some(1));
        assert!(stderr(&again).contains("is not empty"), "{}", stderr(&again));
        assert_eq!(migrate(dir, &[&["status"], &args[..]].concat()), before);
    })
    .await;
}
