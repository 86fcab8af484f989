//! The migration of existing accounts to the canonical form of email addresses.

use entity::users;
use migration::{Migrator, MigratorTrait};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, EntityTrait, QueryFilter,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::process::{run, stderr};
use crate::harness::{Client, PASSWORD, Reply, TestApp, rows};

/// An account of the previous version: its username, address, key in the previous form, and time of creation.
type Row = (&'static str, &'static str, &'static str, i64);
const ROWS: [Row; 8] = [
    ("younger", "ada@example.org", "ada@example.org", 20),
    ("older", "\"ada\"@example.org", "\"ada\"@example.org", 10),
    // The previous key of the account `ligature` equals the new key of the account `quoted`.
    ("ligature", "ﬁona@example.org", "fiona@example.org", 10),
    ("quoted", "\"fiona\"@example.org", "\"fiona\"@example.org", 20),
    ("domain", "b@MÜNCHEN.de", "b@münchen.de", 10),
    ("verified", "c@xn--mnchen-3ya.de", "c@xn--mnchen-3ya.de", 20),
    ("unverified", "c@münchen.de", "c@münchen.de", 10),
    ("literal", "a@1.2.3.4", "a@1.2.3.4", 10),
];

async fn connect(app: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

/// Creates the accounts of the previous version, and removes the record of the migration step.
async fn create_accounts(app: &TestApp) -> Vec<Client> {
    let mut clients = Vec::new();
    for (name, ..) in ROWS {
        clients.push(app.sign_up(name).await);
    }
    let connection = connect(app).await;
    for (name, address, key, created_at) in ROWS {
        let update = users::Entity::update_many()
            .col_expr(users::Column::Email, Expr::value(address))
            .col_expr(users::Column::EmailKey, Expr::value(key))
            .col_expr(users::Column::EmailVerified, Expr::value(name == "verified"))
            .col_expr(users::Column::CreatedAt, Expr::value(created_at))
            .filter(users::Column::Username.eq(name));
        assert_eq!(update.exec(&connection).await.unwrap().rows_affected, 1);
    }
    forget_step(&connection).await;
    connection.close().await.unwrap();
    clients
}

async fn forget_step(connection: &DatabaseConnection) {
    let steps = Migrator::migrations();
    let step = steps.iter().find(|step| step.name().ends_with("canonical_identifiers")).unwrap();
    let sql = format!("DELETE FROM seaql_migrations WHERE version = '{}'", step.name());
    connection.execute_unprepared(&sql).await.unwrap();
}

/// Runs the pending migration step, and returns the log.
fn migrate(app: &TestApp) -> String {
    let directory = TempDir::new().unwrap();
    let url = app.settings().database_url.expose();
    let output = run(directory.path(), &["migrate", "--database-url", url]);
    let log = stderr(&output);
    assert!(output.status.success(), "{log}");
    log
}

async fn log_in(app: &TestApp, identifier: &str) -> Reply {
    let body = json!({ "identifier": identifier, "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/login").json(&body).await
}

async fn keys(app: &TestApp) -> Vec<(String, String)> {
    let users = rows::users(app).await;
    let mut keys: Vec<_> =
        users.into_iter().map(|user| (user.username.unwrap(), user.email_key.unwrap())).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn the_migration_keeps_a_shared_address_for_the_verified_account_or_else_for_the_oldest() {
    //
    let app = TestApp::start().await;
    let clients = create_accounts(&app).await;
    let id = |name: &str| clients[ROWS.iter().position(|row| row.0 == name).unwrap()].id();
    let log = migrate(&app);
    for (address, owner) in [
        ("ada@example.org", "older"),
        ("\"ADA\"@example.org", "older"),
        ("ﬁona@example.org", "ligature"),
        ("fiona@example.org", "quoted"),
        ("b@xn--mnchen-3ya.de", "domain"),
        ("c@münchen.de", "verified"),
        ("a@1.2.3.4", "literal"),
    ] {
        assert_eq!(log_in(&app, address).await.expect(200).json()["user"]["username"], owner, "{address}");
    }
    for (number, (name, address, ..)) in ROWS.into_iter().enumerate() {
        // An account that can no longer log in by its address still shows the address, keeps its sessions,
        // and can log in by username.
        let me = clients[number].get("/api/v1/me").await.expect(200).json();
        assert_eq!(me["email"], address);
        assert_eq!(log_in(&app, name).await.expect(200).json()["user"]["id"], clients[number].id());
        log_in(&app, &format!("unavailable:{}", clients[number].id())).await.expect(401);
    }
    let reports: Vec<&str> = log.lines().filter(|line| line.contains("same email address")).collect();
    assert_eq!(reports.len(), 2, "{log}");
    for (loser, owner) in [("younger", "older"), ("unverified", "verified")] {
        let is_report = |line: &&str| line.contains(id(loser)) && line.contains(id(owner));
        assert!(reports.iter().any(is_report), "{log}");
    }
    assert!(!log.contains('@') || !log.contains("example.org"), "the log contains an address: {log}");
}

#[tokio::test]
async fn running_the_migration_of_addresses_again_changes_nothing() {
    //
    let app = TestApp::start().await;
    create_accounts(&app).await;
    migrate(&app);
    let first = keys(&app).await;
    let connection = connect(&app).await;
    forget_step(&connection).await;
    connection.close().await.unwrap();
    migrate(&app);
    assert_eq!(keys(&app).await, first);
    let taken: Value = json!({ "email": "ada@example.org", "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/signup").json(&taken).await.expect(409);
}
