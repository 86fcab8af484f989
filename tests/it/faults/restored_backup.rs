//! Restoring a backup: clients that have seen changes which the restore lost must notice the loss.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tripgate::clock::Clock;
use tripgate::config::Settings;
use tripgate::epochs::{Epochs, Renewal};
use uuid::Uuid;

use crate::harness::process::{Process, command, finish, stderr, stdout};
use crate::harness::{Client, PASSWORD, Reply, TestApp};

const TRIPS: &str = "/api/v1/trips";
const SYNC: &str = "/api/v1/sync";

/// A copy of a SQLite database.
struct Backup(TempDir);

impl Backup {
    fn path(&self) -> PathBuf {
        self.0.path().join("backup.db")
    }
}

fn database(settings: &Settings) -> PathBuf {
    settings.data_dir.join("tripgate.db")
}

/// Stops the server, copies its database, and starts it again.
async fn back_up(app: TestApp) -> (TestApp, Backup) {
    let backup = Backup(TempDir::new().unwrap());
    let copy = |settings: &Settings| assert!(fs::copy(database(settings), backup.path()).unwrap() > 0);
    let app = app.restart_after(copy).await;
    (app, backup)
}

/// Stops the server, replaces its database by the copy, and starts it again.
async fn restore(app: TestApp, backup: &Backup) -> TestApp {
    let copy = |settings: &Settings| assert!(fs::copy(backup.path(), database(settings)).unwrap() > 0);
    app.restart_after(copy).await
}

/// Starts a server on SQLite. Returns `None` on a database server, which is backed up by its own tools.
async fn start() -> Option<TestApp> {
    let app = TestApp::start().await;
    app.settings().database_url.expose().starts_with("sqlite:").then_some(app)
}

async fn create(client: &Client, title: &str) -> Value {
    client.post(TRIPS).json(&json!({ "title": title })).await.expect(201).json()
}

fn path(trip: &Value) -> String {
    format!("{TRIPS}/{}", trip["id"].as_str().unwrap())
}

async fn rename(client: &Client, trip: &Value, title: &str) -> Reply {
    client.patch(&path(trip)).json(&json!({ "title": title })).await.expect(200)
}

async fn cursor(client: &Client) -> String {
    client.get(SYNC).await.expect(200).json()["next_cursor"].as_str().unwrap().to_owned()
}

async fn send(client: &Client, operations: &Value) -> Vec<Value> {
    let reply = client.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
    reply["results"].as_array().unwrap().clone()
}

fn update(trip: &Value, base: i64) -> Value {
    let (op, patch) = (Uuid::now_v7(), json!({ "title": "from the phone" }));
    json!({ "op_id": op, "op": "update", "id": trip["id"], "base_version": base, "trip": patch })
}

/// Returns a client of the server `app` with the tokens of `client`.
fn moved(app: &TestApp, client: &Client) -> Client {
    app.anonymous().with_grant(client.grant())
}

/// Returns a UUIDv7 of this time.
fn id_at(at: DateTime<Utc>) -> Uuid {
    Clock::fixed(at).new_id()
}

#[tokio::test]
async fn a_write_based_on_a_trip_version_that_was_lost_in_a_restore_overwrites_no_later_change() {
    // F-1, S-99
    let Some(app) = start().await else { return };
    let ada = app.sign_up("ada").await;
    let (trip, same) = (create(&ada, "one").await, create(&ada, "two").await);
    let (app, backup) = back_up(app).await;
    let phone = moved(&app, &ada);
    let lost = rename(&phone, &trip, "lost").await;
    let tag = lost.header("etag").to_owned();
    assert_eq!(lost.json()["version"], 2);
    let list_tag = phone.get(TRIPS).await.expect(200).header("etag").to_owned();
    let app = restore(app, &backup).await;
    let (phone, laptop) = (moved(&app, &ada), moved(&app, &ada));
    // The restore lost one change. This change makes the number of changes the same as before the restore.
    let kept = rename(&laptop, &trip, "from the laptop").await;
    let read = phone.get(&path(&trip)).header("if-none-match", &tag).await.expect(200);
    assert_eq!(read.json()["title"], "from the laptop");
    let write =
        phone.patch(&path(&trip)).header("if-match", &tag).json(&json!({ "title": "from the phone" }));
    write.await.expect(412).problem("precondition_failed");
    phone.get(TRIPS).header("if-none-match", &list_tag).await.expect(200);
    // After the restore, a trip that no device has changed since the backup has a new version too.
    for (trip, base) in [(&trip, 1), (&trip, 2), (&same, 1)] {
        let results = send(&phone, &json!([update(trip, base)])).await;
        assert_eq!(results[0]["status"], "conflict", "{trip} {base}");
        assert_eq!(results[0]["trip"]["id"], trip["id"]);
    }
    let version = kept.json()["version"].as_i64().unwrap();
    assert!(version > 2 && version < 1 << 53, "{version}");
    assert_eq!(send(&phone, &json!([update(&trip, version)])).await[0]["status"], "applied");
    // If the backup is restored again, the changes since the first restore are lost too.
    let second = phone.get(&path(&trip)).await.expect(200);
    let app = restore(app, &backup).await;
    let phone = moved(&app, &ada);
    for title in ["a", "b"] {
        let now = rename(&phone, &trip, title).await;
        assert_ne!(now.json()["version"], second.json()["version"]);
    }
    let base = second.json()["version"].as_i64().unwrap();
    assert_eq!(send(&phone, &json!([update(&trip, base)])).await[0]["status"], "conflict");
}

#[tokio::test]
async fn a_sync_cursor_from_before_a_restore_is_refused_permanently() {
    // F-1, S-99
    let Some(app) = start().await else { return };
    let ada = app.sign_up("ada").await;
    let kept = create(&ada, "kept").await;
    let before = cursor(&ada).await;
    let (app, backup) = back_up(app).await;
    let phone = moved(&app, &ada);
    // A restart alone does not make apps load everything again.
    phone.get(&format!("{SYNC}?cursor={before}")).await.expect(200);
    for number in 0..3 {
        create(&phone, &number.to_string()).await;
    }
    let lost = cursor(&phone).await;
    let app = restore(app, &backup).await;
    let phone = moved(&app, &ada);
    for _ in 0..6 {
        for cursor in [&before, &lost] {
            let reply = phone.get(&format!("{SYNC}?cursor={cursor}")).await;
            reply.expect(410).problem("resync_required");
        }
        create(&phone, "new").await;
    }
    let page = phone.get(SYNC).await.expect(200).json();
    assert_eq!(page["changes"].as_array().unwrap().len(), 7);
    assert_eq!(page["changes"][0]["id"], kept["id"]);
    let next = page["next_cursor"].as_str().unwrap();
    let app = app.restart().await;
    moved(&app, &ada).get(&format!("{SYNC}?cursor={next}")).await.expect(200);
}

#[tokio::test]
async fn a_lost_trip_that_is_created_again_after_a_restore_does_not_reuse_its_old_version() {
    // F-1, S-99
    let Some(app) = start().await else { return };
    let ada = app.sign_up("ada").await;
    let (app, backup) = back_up(app).await;
    let phone = moved(&app, &ada);
    let id = id_at(app.clock.now());
    let body = json!({ "id": id, "title": "lost" });
    let lost = phone.post(TRIPS).json(&body).await.expect(201);
    let (tag, lost) = (lost.header("etag").to_owned(), lost.json());
    let list_tag = phone.get(TRIPS).await.expect(200).header("etag").to_owned();
    app.clock.advance(TimeDelta::minutes(1));
    let app = restore(app, &backup).await;
    let (phone, laptop) = (moved(&app, &ada), moved(&app, &ada));
    phone.get(&path(&lost)).await.expect(404);
    let body = json!({ "title": "from the laptop" });
    laptop.put(&path(&lost)).header("if-none-match", "*").json(&body).await.expect(201);
    phone.get(&path(&lost)).header("if-none-match", &tag).await.expect(200);
    phone.get(TRIPS).header("if-none-match", &list_tag).await.expect(200);
    assert_eq!(send(&phone, &json!([update(&lost, 1)])).await[0]["status"], "conflict");
    // An app that was offline during the restore numbers the versions of a new trip from 1.
    let offline = json!({ "id": id_at(app.clock.now() - TimeDelta::minutes(2)) });
    let create =
        |id: &Value, op: Uuid| json!({ "op_id": op, "op": "create", "id": id, "trip": { "title": "x" } });
    let operations =
        json!([create(&offline["id"], Uuid::now_v7()), update(&offline, 1), update(&offline, 2)]);
    let results = send(&phone, &operations).await;
    assert!(results.iter().all(|result| result["status"] == "applied"), "{results:?}");
    // A trip that is newer than the restore was never lost.
    app.clock.advance(TimeDelta::minutes(1));
    let new = json!({ "id": id_at(app.clock.now()) });
    let results = send(&phone, &json!([create(&new["id"], Uuid::now_v7())])).await;
    assert_eq!(results[0]["trip"]["version"], 1);
}

#[tokio::test]
async fn a_request_that_a_restore_lost_is_executed_once_when_it_is_repeated_with_its_idempotency_key() {
    // F-1
    let Some(app) = start().await else { return };
    let ada = app.sign_up("ada").await;
    let (app, backup) = back_up(app).await;
    let post = |client: &Client| {
        client.post(TRIPS).header("idempotency-key", "k").json(&json!({ "title": "keyed" }))
    };
    post(&moved(&app, &ada)).await.expect(201);
    let app = restore(app, &backup).await;
    let phone = moved(&app, &ada);
    let first = post(&phone).await.expect(201).json();
    assert_eq!(post(&phone).await.expect(201).json(), first);
    assert_eq!(phone.get(TRIPS).await.expect(200).json()["items"], json!([first]));
    let changes = phone.get(SYNC).await.expect(200).json();
    assert_eq!(changes["changes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_epoch_changes_every_trip_version_and_every_etag() {
    // F-1, S-99
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let (trip, gone) = (create(&ada, "one").await, create(&ada, "two").await);
    ada.delete(&path(&gone)).await.expect(204);
    let list_tag = ada.get(TRIPS).await.expect(200).header("etag").to_owned();
    let feed = format!("{SYNC}?cursor={}", cursor(&ada).await);
    ada.get(&feed).await.expect(200);
    app.clock.advance(TimeDelta::minutes(1));
    let epochs = Epochs::new(app.services().db.clone(), app.clock.clone());
    let before = epochs.find().await.unwrap().unwrap();
    let renewed = epochs.renew(Renewal { above_generation: 1 << 50, end_sessions: false }).await.unwrap();
    assert_eq!((renewed.trips, renewed.ended_sessions), (1, 0));
    assert_eq!(renewed.state.database, before.database);
    assert!(renewed.state.generation > 1 << 50 && renewed.state.epoch != before.epoch);
    ada.get(&feed).await.expect(410).problem("resync_required");
    ada.get(TRIPS).header("if-none-match", &list_tag).await.expect(200);
    assert_eq!(send(&ada, &json!([update(&trip, 1)])).await[0]["status"], "conflict");
    let page = ada.get(SYNC).await.expect(200).json();
    for change in page["changes"].as_array().unwrap() {
        assert!(change["version"].as_i64().unwrap() >= 1 << 32, "{change}");
    }
    // A user without trips may have created a first trip that the restore lost.
    create(&eve, "first").await;
    assert!(!eve.get(TRIPS).await.expect(200).header("etag").starts_with("\"1-"));
    let again = epochs.renew(Renewal { above_generation: 0, end_sessions: true }).await.unwrap();
    assert_eq!((again.trips, again.ended_sessions), (2, 2));
    assert!(again.state.generation > renewed.state.generation);
    refresh(&app, ada.grant()).await.expect(401).problem("session_revoked");
}

async fn refresh(app: &TestApp, grant: &Value) -> Reply {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    app.anonymous().post("/api/v1/auth/refresh").json(&body).await
}

async fn session(app: &TestApp, grant: &Value) -> Reply {
    app.anonymous().with_grant(grant).get("/api/v1/auth/session").await
}

#[tokio::test]
async fn users_whose_sessions_the_restore_lost_must_log_in_again() {
    // F-1, S-99
    let Some(app) = start().await else { return };
    let known = app.sign_up("ada").await.grant().clone();
    let refreshed = app.log_in("ada").await.grant().clone();
    let (app, backup) = back_up(app).await;
    let refreshed = refresh(&app, &refreshed).await.expect(200).json();
    let new = app.log_in("ada").await.grant().clone();
    let stranger = app.sign_up("eve").await;
    let sessionless =
        app.anonymous().post("/api/v1/auth/tokens").basic("eve", PASSWORD).await.expect(200).json();
    for grant in [&known, &refreshed, &new, stranger.grant(), &sessionless] {
        session(&app, grant).await.expect(200);
    }
    app.clock.advance(TimeDelta::minutes(1));
    let app = restore(app, &backup).await;
    for grant in [&refreshed, &new, stranger.grant(), &sessionless] {
        for _ in 0..2 {
            session(&app, grant).await.expect(401).problem("invalid_token");
        }
        let write = app.anonymous().with_grant(grant).post(TRIPS).json(&json!({ "title": "x" }));
        write.await.expect(401).problem("invalid_token");
    }
    for grant in [&refreshed, &new, stranger.grant()] {
        refresh(&app, grant).await.expect(401).problem("session_revoked");
    }
    // A device that was offline since the backup can continue its session.
    session(&app, &known).await.expect(200);
    let next = refresh(&app, &known).await.expect(200).json();
    session(&app, &next).await.expect(200);
    let new = app.log_in("ada").await.grant().clone();
    session(&app, &new).await.expect(200);
}

/// Runs a command in the folder of the server, and returns its standard output.
fn tripgate(dir: &TempDir, args: &[&str]) -> String {
    let output = finish(&mut command(dir.path(), args));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

async fn status(server: &Process, path: &str, token: &str) -> u16 {
    server.call(Method::GET, path).bearer_auth(token).send().await.unwrap().status().as_u16()
}

/// Returns the shell commands of a section of the operators' guide, in order.
fn commands_of(section: &str) -> Vec<String> {
    let guide = include_str!("../../../docs/operations.md");
    let section = guide.split("\n### ").find(|text| text.starts_with(section)).unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_documented_restore_procedure_works_for_every_client() {
    // F-1, S-99
    let dir = TempDir::new().unwrap();
    let home = TempDir::new().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tripgate"));
    let sh = |script: &str| {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.parent().unwrap().display());
        let mut sh = std::process::Command::new("sh");
        sh.args(["-euc", script])
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", home.path());
        let output = finish(&mut sh);
        assert_eq!(output.status.code(), Some(0), "{script}: {}", stderr(&output));
    };
    // Keep only the commands that copy the files by hand: `tripgate backup` has its own tests.
    let mut commands = commands_of("Backups");
    commands.retain(|command| !command.contains("tripgate backup"));
    let [back_up, restore] = commands.try_into().unwrap();
    let serve = || Process::serve(dir.path(), &["--public-url", "https://tripgate.test"]);
    let server = serve();
    let ada = server.sign_up("ada").await;
    let token = ada["access_token"].as_str().unwrap();
    let call = |server: &Process, method, path: &str| server.call(method, path).bearer_auth(token);
    let body = |title: &str| json!({ "title": title });
    let created = call(&server, Method::POST, TRIPS).json(&body("one")).send().await.unwrap();
    let trip = created.json::<Value>().await.unwrap();
    let at = path(&trip);
    sh(&back_up);
    let lost = call(&server, Method::PATCH, &at).json(&body("lost")).send().await.unwrap();
    let tag = lost.headers()["etag"].clone();
    let page = call(&server, Method::GET, SYNC).send().await.unwrap().json::<Value>().await.unwrap();
    let feed = format!("{SYNC}?cursor={}", page["next_cursor"].as_str().unwrap());
    let eve = server.sign_up("eve").await;
    // A crash leaves a write-ahead log that does not belong to the backup.
    server.kill();
    server.wait_for_exit();
    sh(&restore);
    let server = serve();
    call(&server, Method::PATCH, &at).json(&body("from the laptop")).send().await.unwrap();
    let read = call(&server, Method::GET, &at).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(read.status(), 200);
    let write = call(&server, Method::PATCH, &at).header("if-match", &tag).json(&body("x")).send().await;
    assert_eq!(write.unwrap().status(), 412);
    let operations = json!({ "operations": [update(&trip, 2)] });
    let sent = call(&server, Method::POST, SYNC).json(&operations).send().await.unwrap();
    assert_eq!(sent.json::<Value>().await.unwrap()["results"][0]["status"], "conflict");
    assert_eq!(status(&server, &feed, token).await, 410);
    assert_eq!(status(&server, TRIPS, eve["access_token"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn an_epoch_can_be_renewed_while_the_server_runs() {
    // F-1, S-99
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let grant = server.sign_up("ada").await;
    let token = grant["access_token"].as_str().unwrap();
    let trip = server.call(Method::POST, TRIPS).bearer_auth(token).json(&json!({ "title": "x" }));
    let trip: Value = trip.send().await.unwrap().json().await.unwrap();
    let page = server.call(Method::GET, SYNC).bearer_auth(token).send().await.unwrap();
    let page: Value = page.json().await.unwrap();
    let feed = format!("{SYNC}?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(status(&server, &feed, token).await, 200);
    let renewed: Value = serde_json::from_str(&tripgate(&dir, &["epoch", "renew", "--json"])).unwrap();
    assert_eq!((&renewed["trips"], &renewed["ended_sessions"]), (&json!(1), &json!(0)));
    assert_eq!(status(&server, &feed, token).await, 410);
    assert_eq!(status(&server, TRIPS, token).await, 200);
    let now = server.call(Method::GET, &path(&trip)).bearer_auth(token).send().await.unwrap();
    assert!(now.json::<Value>().await.unwrap()["version"].as_i64().unwrap() > 1);
    let text = tripgate(&dir, &["epoch", "renew", "--end-sessions"]);
    assert!(text.contains("1 sessions were ended"), "{text}");
    let begin = Instant::now();
    while status(&server, TRIPS, token).await == 200 {
        assert!(begin.elapsed() < Duration::from_secs(1), "the token of an ended session is still accepted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    // The data directory still belongs to the database, so a server starts.
    drop(Process::serve(dir.path(), &[]));
}
