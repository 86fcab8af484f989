//! `tripgate copy`: copies everything to another database.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use reqwest::Method;
use sea_orm::{ConnectOptions, ConnectionTrait, Database as SeaDatabase, DatabaseConnection};
use serde_json::{Value, json};
use tempfile::TempDir;
use tripgate::config::{Secret, Settings};
use tripgate::data_dir::ServerLock;

use crate::harness::process::{Process, run, stderr, stdout};
use crate::harness::{Client, Database, TestApp, all_tables};

fn copy(settings: &Settings, target: &str, args: &[&str]) -> Output {
    let (data, secret) = (settings.data_dir.to_str().unwrap(), settings.secret_file.to_str().unwrap());
    let database = settings.database_url.expose();
    let common = ["copy", "--data-dir", data, "--secret-file", secret, "--database-url", database];
    run(&settings.data_dir, &[&common[..], &["--to", target], args].concat())
}

/// Copies the database, and returns the report.
fn copied(settings: &Settings, target: &str) -> Value {
    let output = copy(settings, target, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["verified"], true);
    report
}

/// Asserts that a copy is refused with one line.
fn assert_refused(settings: &Settings, target: &str, reason: &str) {
    let output = copy(settings, target, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let lines = stderr(&output);
    assert!(lines.contains(reason) && lines.trim_end().lines().count() == 1, "{lines}");
}

fn inserted(report: &Value, table: &str) -> u64 {
    let found = report["tables"].as_array().unwrap().iter().find(|found| found["table"] == table);
    found.unwrap()["inserted"].as_u64().unwrap()
}

fn sqlite(dir: &Path, name: &str) -> String {
    format!("sqlite://{}", dir.join(name).display())
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    SeaDatabase::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

async fn execute(url: &str, statements: &[&str]) {
    let connection = connect(url).await;
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn create_trip(user: &Client, title: &str) -> String {
    let body = json!({
        "title": title, "destination": "Łódź 🚋", "start_date": "2027-05-01", "end_date": "2027-05-09",
        "notes": "a\nb\t\"c\"", "stops": [{ "name": "Kołobrzeg" }],
    });
    let trip = user.post("/api/v1/trips").json(&body).await.expect(201).json();
    trip["id"].as_str().unwrap().to_owned()
}

async fn log_out(user: &Client) {
    let body = json!({ "refresh_token": user.grant()["refresh_token"] });
    user.post("/api/v1/auth/logout").json(&body).await.expect(204);
}

#[tokio::test]
async fn tokens_cursors_and_etags_stay_valid_when_the_server_moves_to_a_copy() {
    // S-109
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let lost_phone = app.log_in("ada").await;
    log_out(&lost_phone).await;
    let id = create_trip(&ada, "Baltic coast").await;
    let deleted = create_trip(&ada, "Cancelled").await;
    ada.delete(&format!("/api/v1/trips/{deleted}")).await.expect(204);
    let trip = ada.get(&format!("/api/v1/trips/{id}")).await.expect(200);
    let list = ada.get("/api/v1/trips").await.expect(200);
    let cursor = ada.get("/api/v1/sync").await.expect(200).json()["next_cursor"].clone();
    let dir = TempDir::new().unwrap();
    let server = Database::create().await;
    // If the tests run on a database server, copy to SQLite, and then to another database on the server.
    let back = server.as_ref().map_or_else(|| sqlite(dir.path(), "second.db"), Database::url);
    let mut app = app;
    for target in [sqlite(dir.path(), "first.db"), back] {
        app = app
            .restart_with(|settings| {
                let report = copied(settings, &target);
                assert_eq!(report["servers_running"], false);
                assert_eq!(inserted(&report, "trips"), 1);
                settings.database_url = Secret::new(&target);
            })
            .await;
        let ada = app.anonymous().with_grant(ada.grant());
        assert_eq!(ada.get(&format!("/api/v1/trips/{id}")).await.expect(200).text(), trip.text());
        for (path, tag) in [("/api/v1/trips".to_owned(), &list), (format!("/api/v1/trips/{id}"), &trip)] {
            ada.get(&path).header("if-none-match", tag.header("etag")).await.expect(304);
        }
        let sync = ada.get(&format!("/api/v1/sync?cursor={}", cursor.as_str().unwrap())).await.expect(200);
        assert_eq!(sync.json()["changes"], json!([]));
        let found = ada.get("/api/v1/trips?q=BALTIC").await.expect(200).json();
        assert_eq!(found["items"][0]["id"], json!(id));
        let revoked = app.anonymous().with_grant(lost_phone.grant());
        revoked.get("/api/v1/me").await.expect(401);
    }
    let body = json!({ "refresh_token": ada.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/refresh").json(&body).await.expect(200);
    // The numbers that the database generates continue after the copied numbers.
    log_out(&app.log_in("ada").await).await;
    create_trip(&app.log_in("ada").await, "Another").await;
}

#[tokio::test]
async fn a_copy_contains_every_table_of_the_catalog() {
    // S-109
    let app = TestApp::start_now().await;
    let columns = all_tables::columns(&app).await;
    let mut expected: BTreeSet<String> = columns.into_iter().map(|(table, _)| table).collect();
    expected.retain(|table| !table.starts_with("sqlite_"));
    for own in ["seaql_migrations", "tripgate_bootstrap", "replicas"] {
        expected.remove(own);
    }
    assert!(expected.len() >= 26, "{expected:?}");
    let dir = TempDir::new().unwrap();
    let target = sqlite(dir.path(), "copy.db");
    app.restart_after(|settings| {
        let report = copied(settings, &target);
        let tables = report["tables"].as_array().unwrap();
        let name = |table: &Value| table["table"].as_str().unwrap().to_owned();
        assert_eq!(tables.iter().map(name).collect::<BTreeSet<String>>(), expected);
        let again = copied(settings, &target);
        for (first, second) in tables.iter().zip(again["tables"].as_array().unwrap()) {
            assert_eq!((&first["rows"], &first["sha256"]), (&second["rows"], &second["sha256"]));
        }
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_copy_can_be_completed_and_until_then_no_server_starts_on_it() {
    // S-109
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    for title in ["a", "b", "c"] {
        create_trip(&ada, title).await;
    }
    let dir = TempDir::new().unwrap();
    let server = Database::create().await;
    let target = server.as_ref().map_or_else(|| sqlite(dir.path(), "copy.db"), Database::url);
    copied(app.settings(), &target);
    let interrupt = [
        "UPDATE tripgate_copy SET generation = NULL",
        "DELETE FROM feed_epoch",
        "DELETE FROM trips WHERE title = 'b'",
        "UPDATE trips SET title = 'x' WHERE title = 'c'",
    ];
    execute(&target, &interrupt).await;
    let settings = Settings { database_url: Secret::new(&target), ..app.settings().clone() };
    let secret = settings.secret_file.to_str().unwrap();
    let args = ["--database-url", &target, "--secret-file", secret, "--listen", "127.0.0.1:0"];
    let start = run(dir.path(), &args);
    assert_eq!(start.status.code(), Some(2));
    assert!(
        stderr(&start).contains("is an incomplete copy: run `tripgate copy` again"),
        "{}",
        stderr(&start)
    );
    let report = copied(app.settings(), &target);
    assert_eq!((inserted(&report, "trips"), inserted(&report, "users")), (2, 0));
    let app = app.restart_with(|settings| settings.database_url = Secret::new(&target)).await;
    let trips = app.anonymous().with_grant(ada.grant()).get("/api/v1/trips").await.expect(200).json();
    assert_eq!(trips["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_second_copy_contains_the_changes_since_the_first() {
    // S-109
    let app = TestApp::start_now().await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let (kept, gone) = (create_trip(&ada, "kept").await, create_trip(&ada, "gone").await);
    let dir = TempDir::new().unwrap();
    let server = Database::create().await;
    let target = server.as_ref().map_or_else(|| sqlite(dir.path(), "copy.db"), Database::url);
    let file = app.settings().database_url.expose().strip_prefix("sqlite://").map(Path::new);
    // Take the lock that shows that a server runs, because the server in the test process does not take it.
    let lock = file.map(|file| ServerLock::acquire(file).unwrap());
    assert_eq!(copied(app.settings(), &target)["servers_running"], true);
    drop(lock);
    ada.delete(&format!("/api/v1/trips/{gone}")).await.expect(204);
    ada.patch(&format!("/api/v1/trips/{kept}")).json(&json!({ "title": "changed" })).await.expect(200);
    // The two users swap their usernames. In the copy, each new username still belongs to the other user.
    for (user, name) in [(&ada, "carol"), (&bob, "ada"), (&ada, "bob")] {
        user.patch("/api/v1/me").json(&json!({ "username": name })).await.expect(200);
    }
    let app = app
        .restart_with(|settings| {
            let report = copied(settings, &target);
            assert_eq!(report["servers_running"], false);
            settings.database_url = Secret::new(&target);
        })
        .await;
    let ada = app.anonymous().with_grant(ada.grant());
    assert_eq!(ada.get("/api/v1/me").await.expect(200).json()["username"], "bob");
    let trips = ada.get("/api/v1/trips").await.expect(200).json();
    let titles: Vec<_> = trips["items"].as_array().unwrap().iter().map(|trip| &trip["title"]).collect();
    assert_eq!(titles, ["changed"]);
}

#[tokio::test]
async fn a_server_on_an_outdated_copy_begins_a_new_epoch() {
    // S-99, S-109
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    let dir = TempDir::new().unwrap();
    let target = sqlite(dir.path(), "copy.db");
    copied(app.settings(), &target);
    create_trip(&ada, "later").await;
    let cursor = ada.get("/api/v1/sync").await.expect(200).json()["next_cursor"].clone();
    let app = app.restart_with(|settings| settings.database_url = Secret::new(&target)).await;
    let ada = app.anonymous().with_grant(ada.grant());
    let stale = ada.get(&format!("/api/v1/sync?cursor={}", cursor.as_str().unwrap())).await;
    stale.expect(410).problem("resync_required");
}

#[tokio::test]
async fn a_copy_target_with_other_data_is_refused_and_not_changed() {
    // S-109
    let (app, other) = (TestApp::start_now().await, TestApp::start_now().await);
    other.sign_up("eve").await;
    let url = other.settings().database_url.expose().to_owned();
    let app = app.restart_after(|_| {}).await;
    let itself = app.settings().database_url.expose().to_owned();
    assert_refused(app.settings(), &itself, "is the configured database itself");
    // Stop the server of the target first: open connections would be another reason for the refusal.
    let other = other
        .restart_after(|_| assert_refused(app.settings(), &url, "has data of another installation"))
        .await;
    assert_eq!(crate::harness::rows::users(&other).await.len(), 1);
    let dir = TempDir::new().unwrap();
    let foreign = sqlite(dir.path(), "foreign.db");
    execute(&format!("{foreign}?mode=rwc"), &["CREATE TABLE cities (id INTEGER PRIMARY KEY)"]).await;
    assert_refused(app.settings(), &foreign, "has tables of another program (cities)");
    let used = sqlite(dir.path(), "used.db");
    copied(app.settings(), &used);
    execute(&used, &["UPDATE feed_epoch SET generation = generation + 1"]).await;
    assert_refused(app.settings(), &used, "servers have used the target");
    for (target, status) in [("ftp://x", "scheme"), ("sqlite:///nowhere/x/y.db", "does not exist")] {
        let output = copy(app.settings(), target, &[]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(status), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn a_copy_source_that_is_incomplete_or_outdated_is_refused_and_no_target_is_created() {
    // S-109
    let app = TestApp::start_now().await;
    let dir = TempDir::new().unwrap();
    let (source, target) = (sqlite(dir.path(), "source.db"), sqlite(dir.path(), "target.db"));
    copied(app.settings(), &source);
    let settings = Settings { database_url: Secret::new(&source), ..app.settings().clone() };
    execute(&source, &["UPDATE tripgate_copy SET generation = NULL"]).await;
    assert_refused(&settings, &target, "is an incomplete copy: complete the copy first");
    copied(app.settings(), &source);
    let reverted = run(dir.path(), &["migrate", "down", "--database-url", &source]);
    assert_eq!(reverted.status.code(), Some(0), "{}", stderr(&reverted));
    assert_refused(&settings, &target, "has pending migrations");
    assert!(!dir.path().join("target.db").exists());
}

#[tokio::test]
async fn a_copy_target_that_a_server_uses_is_refused() {
    // S-109
    let app = TestApp::start_now().await;
    if let Some(target) = Database::create().await {
        let connection = connect(&target.url()).await;
        assert_refused(app.settings(), &target.url(), "connections use the target");
        connection.close().await.unwrap();
    }
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.call(Method::GET, "/health/live").send().await.unwrap();
    let target = sqlite(dir.path(), "data/tripgate.db");
    assert_refused(app.settings(), &target, "uses the database");
}
