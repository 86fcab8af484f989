//! The database: migrations, opening, connection settings, query plans and failed writes.

use std::process::{Command, Stdio};
use std::sync::Arc;

use ::entity::{signing_keys, trips, users};
use futures_util::FutureExt;
use futures_util::future::join_all;
use migration::{Migrator, MigratorTrait};
use sea_orm::{
    ColumnTrait, Condition, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend,
    EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Statement, Values,
};
use serde_json::json;
use tokio::sync::Barrier;
use tripgate::db::{self, MigrationState, MigrationStep, OpenError, StoreError, Tx};
use tripgate::secrets::MasterSecret;
use tripgate::tokens::{Alg, Scopes, Subject, Tokens};
use uuid::Uuid;

use crate::harness::{PUBLIC_URL, TestApp};
use crate::operation::schema::user;

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

/// Returns the URL of an empty database, which is deleted when the app is dropped.
async fn empty_database() -> (TestApp, String) {
    let app = TestApp::start().await;
    let url = app.settings().database_url.expose().to_owned();
    if url.starts_with("sqlite:") {
        let path = app.settings().data_dir.join("fresh.db");
        return (app, format!("sqlite://{}", path.display()));
    }
    db::migrate_down(&url, u32::MAX).await.unwrap();
    connect(&url).await.execute_unprepared("DROP TABLE seaql_migrations").await.unwrap();
    (app, url)
}

/// Returns all migration steps, each in the given state.
fn steps(state: MigrationState) -> Vec<MigrationStep> {
    Migrator::migrations().iter().map(|step| MigrationStep { name: step.name().to_owned(), state }).collect()
}

#[tokio::test]
async fn the_schema_migrates_up_down_and_up_again() {
    let (_app, url) = empty_database().await;
    let (applied, pending) = (steps(MigrationState::Applied), steps(MigrationState::Pending));
    if url.starts_with("sqlite:") {
        for result in [db::migration_status(&url).await, db::migrate_down(&url, 1).await] {
            assert!(matches!(result, Err(OpenError::NotFound { .. })), "{result:?}");
        }
    } else {
        // A status query changes nothing, so the second result is the same.
        for _ in 0..2 {
            assert_eq!(db::migration_status(&url).await.unwrap(), pending);
        }
    }
    assert_eq!(db::migrate_up(&url).await.unwrap(), applied);
    let database = connect(&url).await;
    users::Entity::insert(user(1)).exec_without_returning(&database).await.unwrap();
    assert_eq!(db::migrate_up(&url).await.unwrap(), applied);
    assert_eq!(db::migration_status(&url).await.unwrap(), applied);
    assert_eq!(
        users::Entity::find().all(&database).await.unwrap().len(),
        1,
        "a repeated migration deletes no rows"
    );
    assert_eq!(db::migrate_down(&url, u32::MAX).await.unwrap(), pending);
    let database = connect(&url).await;
    assert!(users::Entity::find().all(&database).await.is_err(), "a migration down drops the tables");
    assert_eq!(db::migrate_up(&url).await.unwrap(), applied);
    let opened = db::open(&url).await.unwrap();
    opened.ping().await.unwrap();
    assert!(users::Entity::find().all(&connect(&url).await).await.unwrap().is_empty());
    opened.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_rejected_and_unchanged() {
    // F-4, F-13, S-77
    let (_app, url) = empty_database().await;
    db::migrate_up(&url).await.unwrap();
    let database = connect(&url).await;
    let future = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_future', 0)";
    database.execute_unprepared(future).await.unwrap();
    let error = db::open(&url).await.unwrap_err();
    assert!(matches!(&error, OpenError::Newer { step } if step == "m29990101_000001_future"), "{error}");
    assert!(error.to_string().contains("newer schema"), "{error}");
    let [up, down] = [db::migrate_up(&url).await, db::migrate_down(&url, 1).await];
    for result in [up, down, db::migration_status(&url).await] {
        assert!(matches!(result, Err(OpenError::Newer { .. })), "{result:?}");
    }
    assert!(users::Entity::find().all(&database).await.unwrap().is_empty(), "the tables are unchanged");
}

#[tokio::test]
async fn the_error_for_an_unreachable_database_omits_its_password() {
    // S-65
    for url in ["postgres://me:hunter2@127.0.0.1:1/x", "mysql://me:hunter2@127.0.0.1:1/x"] {
        let error = db::open(url).await.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1/x"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let error = db::open("sqlite:///proc/nowhere/x.db").await.unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_concurrent_opens_of_an_empty_database_succeed() {
    // F-4, F-13, S-77
    let (_app, url) = empty_database().await;
    let opens = (0..10).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { db::open(&url).await })
    });
    for opened in join_all(opens).await {
        let opened = opened.unwrap().unwrap();
        opened.ping().await.unwrap();
        opened.close().await;
    }
    assert_eq!(db::migration_status(&url).await.unwrap(), steps(MigrationState::Applied));
}

#[tokio::test]
async fn four_concurrent_migrations_succeed() {
    // F-4, S-77
    let (app, url) = empty_database().await;
    let start = |_| {
        Command::new(env!("CARGO_BIN_EXE_tripgate"))
            .arg("migrate")
            .env("TRIPGATE_DATABASE_URL", &url)
            .env("TRIPGATE_DATA_DIR", &app.settings().data_dir)
            .current_dir(&app.settings().data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..4).map(start).collect();
    for process in started {
        let ended = process.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(db::migration_status(&url).await.unwrap(), steps(MigrationState::Applied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_replicas_starting_on_an_empty_database_share_one_signing_key() {
    // S-35
    let (app, url) = empty_database().await;
    let mut replicas = Vec::new();
    for _ in 0..10 {
        replicas.push(db::open(&url).await.unwrap());
    }
    let barrier = Arc::new(Barrier::new(replicas.len()));
    let opens = replicas.iter().map(|db| {
        let (db, clock, barrier) = (db.clone(), app.clock.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            // Wait until all replicas are connected, so that every replica finds that no key exists.
            db.ping().await.unwrap();
            barrier.wait().await;
            let secret = MasterSecret::parse(&"secret".repeat(6), "here").unwrap();
            Tokens::open(&db, clock, &secret, PUBLIC_URL.to_owned(), "tripgate".to_owned(), 900, Alg::Es256)
                .await
        })
    });
    let opened: Vec<Tokens> =
        join_all(opens).await.into_iter().map(|tokens| tokens.unwrap().unwrap()).collect();
    let keys = signing_keys::Entity::find().all(&connect(&url).await).await.unwrap();
    let active: Vec<_> = keys.iter().filter(|key| key.active_slot.is_some()).collect();
    assert_eq!((active.len(), active[0].status.as_str()), (1, "active"));
    assert_eq!(keys.len(), 2, "one active key and one standby key");
    for issuer in &opened {
        let token = issuer.mint(subject(&app)).unwrap().token;
        for verifier in &opened {
            verifier.verify(&token).await.unwrap();
        }
    }
    join_all(replicas.iter().map(db::Db::close)).await;
}

fn subject(app: &TestApp) -> Subject {
    Subject {
        user: app.clock.new_id(),
        session: None,
        generation: None,
        scopes: Scopes::all(),
        amr: vec!["pwd".to_owned()],
        authenticated_at: app.clock.now(),
        until: None,
    }
}

async fn pragma(tx: &Tx, name: &str) -> Result<String, StoreError> {
    let statement = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"));
    let row = tx.query_one_raw(statement).await?.unwrap();
    Ok(match row.try_get_by_index::<i64>(0) {
        Ok(number) => number.to_string(),
        Err(_) => row.try_get_by_index(0)?,
    })
}

async fn row_reader_pragma(tx: &Tx, name: &str) -> Result<i64, StoreError> {
    let rows = tx.query_rows(Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"))).await?;
    rows.get(0).unwrap().get(0)
}

#[tokio::test]
async fn sqlite_syncs_commits_enforces_foreign_keys_and_opens_readers_read_only() {
    // S-71
    let app = TestApp::start().await;
    if !app.settings().database_url.expose().starts_with("sqlite:") {
        return;
    }
    let db = &app.services().db;
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("busy_timeout", "5000"),
        ("secure_delete", "1"),
    ] {
        let found = db.write(name, |tx, name| pragma(tx, name).boxed()).await.unwrap();
        assert_eq!(found, value, "{name} of the writer");
    }
    for (name, value) in [("journal_mode", "wal"), ("foreign_keys", "1"), ("busy_timeout", "5000")] {
        let found = db.read(name, |tx, name| pragma(tx, name).boxed()).await.unwrap();
        assert_eq!(found, value, "{name} of a reader");
    }
    for (name, value) in [("foreign_keys", 1), ("busy_timeout", 5000)] {
        let found = db.read(name, |tx, name| row_reader_pragma(tx, name).boxed()).await.unwrap();
        assert_eq!(found, value, "{name} of a thread that reads rows");
    }
    let written: Result<u64, StoreError> = db
        .read((), |tx, ()| {
            async move { Ok(users::Entity::insert(user(1)).exec_without_returning(tx).await?) }.boxed()
        })
        .await;
    assert!(matches!(written, Err(StoreError::Unavailable(_) | StoreError::Other(_))), "{written:?}");
}

/// Returns statements that read trips, like those that the store builds.
fn trip_queries(backend: DbBackend, owner: Uuid) -> Vec<Statement> {
    let page = trips::Entity::find()
        .filter(trips::Column::OwnerId.eq(owner))
        .order_by_desc(trips::Column::CreatedAt)
        .order_by_desc(trips::Column::Id)
        .limit(21);
    let next_page = page.clone().filter(trips::Column::CreatedAt.lte(5000)).filter(
        Condition::any()
            .add(trips::Column::CreatedAt.lt(5000))
            .add(trips::Column::CreatedAt.eq(5000).and(trips::Column::Id.lt(Uuid::from_u128(7)))),
    );
    let one = trips::Entity::find_by_id((owner, Uuid::from_u128(7)));
    vec![
        page.build(backend),
        next_page.build(backend),
        one.clone().build(backend),
        one.lock_exclusive().build(backend),
    ]
}

/// Inserts 50,000 trips, 10,000 for each of five users.
async fn fill(database: &DatabaseConnection) {
    users::Entity::insert_many((1..=5).map(user)).exec_without_returning(database).await.unwrap();
    let (numbers, id, analyze) = match database.get_database_backend() {
        DbBackend::Sqlite => (
            "(WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < 10000) SELECT g FROM n)",
            "randomblob(16)",
            "",
        ),
        DbBackend::Postgres => {
            ("(SELECT generate_series(1, 10000) AS g)", "gen_random_uuid()", "ANALYZE trips")
        }
        _ => (
            "(SELECT seq AS g FROM seq_1_to_10000)",
            "UNHEX(REPLACE(UUID(), '-', ''))",
            "ANALYZE TABLE trips",
        ),
    };
    let fill = format!(
        "INSERT INTO trips (owner_id, created_at, id, title, status, version, change_seq, updated_at) \
         SELECT users.id, n.g, {id}, 'Lisbon', 'planned', 1, n.g, n.g FROM {numbers} AS n CROSS JOIN users"
    );
    database.execute_unprepared(&fill).await.unwrap();
    if !analyze.is_empty() {
        database.execute_unprepared(analyze).await.unwrap();
    }
}

/// Returns the database's query plan for a statement.
async fn plan(database: &DatabaseConnection, statement: Statement) -> String {
    let backend = database.get_database_backend();
    let (explain, columns): (_, &[&str]) = match backend {
        DbBackend::Sqlite => ("EXPLAIN QUERY PLAN", &["detail"]),
        DbBackend::Postgres => ("EXPLAIN", &["QUERY PLAN"]),
        _ => ("EXPLAIN", &["type", "key", "Extra"]),
    };
    let sql = format!("{explain} {}", statement.sql);
    let values = statement.values.unwrap_or(Values(Vec::new()));
    let rows = database.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await.unwrap();
    let text = |row: &sea_orm::QueryResult, column: &&str| {
        row.try_get::<Option<String>>("", column).unwrap().unwrap_or_default()
    };
    let lines = rows.iter().map(|row| columns.iter().map(|column| text(row, column)).collect::<Vec<_>>());
    lines.map(|line| line.join(" | ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_page_query_does_not_scan_fifty_thousand_trips() {
    let app = TestApp::start().await;
    let database = &connect(app.settings().database_url.expose()).await;
    fill(database).await;
    for statement in trip_queries(database.get_database_backend(), Uuid::from_u128(3)) {
        let sql = statement.sql.clone();
        let plan = plan(database, statement).await;
        let (must, must_not): (&[&str], &[&str]) = match database.get_database_backend() {
            DbBackend::Sqlite => (&["SEARCH trips USING", "owner_id=?"], &["SCAN", "TEMP B-TREE"]),
            DbBackend::Postgres => (&["Index Scan", "owner_id ="], &["Seq Scan", "Sort"]),
            _ => (&[""], &["ALL |", "index |", "filesort", "temporary"]),
        };
        assert!(must.iter().all(|part| plan.contains(part)), "{sql}\n{plan}");
        assert!(!must_not.iter().any(|part| plan.contains(part)), "{sql}\n{plan}");
    }
}

#[tokio::test]
async fn a_write_reported_as_failed_is_never_applied_later() {
    // S-69, S-70
    let app = TestApp::start().await;
    let url = app.settings().database_url.expose().to_owned();
    if !url.starts_with("sqlite:") {
        return;
    }
    let ada = app.sign_up("ada").await;
    let other = connect(&url).await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let trip = json!({ "title": "Lisbon" });
    let creations = (0..3).map(|_| async { ada.post("/api/v1/trips").json(&trip).await });
    for reply in join_all(creations).await {
        reply.expect(503).problem("database_unavailable");
    }
    other.execute_unprepared("ROLLBACK").await.unwrap();
    ada.post("/api/v1/trips").json(&trip).await.expect(201);
    let trips = ada.get("/api/v1/trips").await.expect(200).json();
    assert_eq!(trips["items"].as_array().unwrap().len(), 1, "a failed write was applied later");
}
