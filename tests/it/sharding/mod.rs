//! The data can be divided by owner: no statement of a request concerns two owners. `docs/scale.md`
//! describes the division.
//!
//! An owned table is a table whose primary key begins with the owner. The catalog of the database lists these
//! tables, so a new table can't be forgotten. The tests use every feature, and record every statement of the
//! server.

mod recorder;
mod scene;
mod statement;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use tripgate::housekeeping;

use crate::account::everything::{Everything, OWNERS, flush};
use crate::harness::TestApp;
use recorder::Recorder;
use statement::{OwnerColumns, named_tables, violations};
use tables::first_key_columns;

/// The request identifies one row by a unique key other than the primary key. The owner is not known before
/// the row is read, so a divided database needs an index over all owners for this key.
const LOOKUP: &str = "finds one row by another unique key";
/// The statement reads independent rows, for requests that wait at the same time. A divided database can read
/// these rows from several parts.
const BATCH: &str = "reads one row for each of several requests";
/// All inserted rows have the same owner, because the query function takes only one owner.
const ROWS_OF_ONE_OWNER: &str = "inserts several rows of one owner";
/// These statements may concern all parts of a divided database.
const BACKGROUND: &str = "belongs to a background job or the start of the server, not to a request";

/// Statements on owned tables that are not restricted to one owner: a part of the SQL text, and the reason.
const EXCEPTIONS: [(&str, &str); 22] = [
    (r#"FROM "users" WHERE "users"."email_key" = ? LIMIT"#, LOOKUP),
    (r#"FROM "users" WHERE "users"."username_key" = ? LIMIT"#, LOOKUP),
    (r#"FROM "sessions" WHERE "sessions"."id" = ? LIMIT"#, LOOKUP),
    (r#"UPDATE "sessions" SET "last_seen_at" = ?, "idle_expires_at" = "#, LOOKUP),
    (r#"FROM "trip_shares" WHERE "trip_shares"."id" = ? AND EXISTS("#, LOOKUP),
    (r#"FROM "personal_tokens" WHERE "personal_tokens"."id" = ? AND EXISTS("#, LOOKUP),
    (r#"FROM "passkeys" WHERE "passkeys"."credential_digest" = ?)"#, LOOKUP),
    (r#""trip_counters"."trip_bytes" FROM "trip_counters" WHERE "trip_counters"."owner_id" IN (?"#, BATCH),
    (r#"INSERT INTO "recovery_codes" ("#, ROWS_OF_ONE_OWNER),
    (r#"INSERT INTO "sync_operations" ("#, ROWS_OF_ONE_OWNER),
    (r#"SELECT "passkeys"."rp_id" FROM "passkeys" LIMIT"#, BACKGROUND),
    (r#"SELECT MAX(SUBSTR(password_hash, 5, 2)) FROM "users" WHERE"#, BACKGROUND),
    (r#"SELECT "sessions"."id" FROM "sessions" WHERE "sessions"."idle_expires_at" < ?"#, BACKGROUND),
    (r#"DELETE FROM "sessions" WHERE "sessions"."id" IN (?"#, BACKGROUND),
    (r#"FROM "security_events" WHERE "security_events"."created_at" <"#, BACKGROUND),
    (r#"FROM "personal_tokens" WHERE "personal_tokens"."expires_at" < ?"#, BACKGROUND),
    (r#"DELETE FROM "personal_tokens" WHERE "personal_tokens"."id" IN (?"#, BACKGROUND),
    (r#"FROM "trip_tombstones" WHERE "trip_tombstones"."deleted_at" < ? LIMIT"#, BACKGROUND),
    (r#"FROM "sync_operations" WHERE "sync_operations"."applied_at" <= ? LIMIT"#, BACKGROUND),
    (
        r#"SELECT "trip_counters"."owner_id" FROM "trip_counters" WHERE "trip_counters"."owner_id" IN (?"#,
        BACKGROUND,
    ),
    (r#"FROM "idempotency_keys" WHERE "idempotency_keys"."expires_at" <= ? LIMIT"#, BACKGROUND),
    (r#"DELETE FROM "idempotency_keys" WHERE (("idempotency_keys"."owner_id" = ? AND"#, BACKGROUND),
];

/// Returns the owned tables with the columns of their owners. An account is its own owner.
fn owned(keys: &BTreeMap<String, String>) -> OwnerColumns {
    let is_owner = |table: &str, column: &str| OWNERS.contains(&column) || (table, column) == ("users", "id");
    keys.clone().into_iter().filter(|(table, column)| is_owner(table, column)).collect()
}

/// Number of times that the background jobs run. Twice is enough if each run succeeds. On a busy machine, a run
/// can fail.
const SWEEPS: usize = 5;

/// Uses every feature, and runs the background jobs after all data has expired.
async fn use_everything(app: &TestApp) {
    scene::hot_paths(app).await;
    Everything::new(app).await;
    flush(app).await;
    app.services().accounts.load_max_hash_cost().await.unwrap();
    for _ in 0..SWEEPS {
        app.clock.advance(TimeDelta::days(400));
        housekeeping::sweep(app.services().clone()).await;
        housekeeping::sweep_sync(app.services().clone()).await;
    }
}

#[tokio::test]
async fn no_statement_of_a_request_concerns_two_owners() {
    let (recorder, _guard) = Recorder::start();
    let app = TestApp::start().await;
    let owners = owned(&first_key_columns(&app).await);
    use_everything(&app).await;
    let statements: BTreeSet<String> = recorder.take().into_iter().collect();
    let mut unused: BTreeSet<&str> = EXCEPTIONS.iter().map(|(text, _)| *text).collect();
    let mut seen = BTreeSet::new();
    let mut broken = Vec::new();
    for sql in &statements {
        let found = violations(sql, &owners);
        if found.is_empty() {
            seen.extend(named_tables(sql, &owners));
            continue;
        }
        let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|(text, _)| sql.contains(text)).collect();
        for (text, _) in &exceptions {
            unused.remove(text);
        }
        if exceptions.is_empty() {
            broken.push(format!(
                "{}:
    {sql}",
                found.join(", ")
            ));
        }
    }
    assert!(broken.is_empty(), "these statements concern several owners:\n{}", broken.join("\n"));
    assert!(unused.is_empty(), "no statement needs these exceptions: {unused:#?}");
    assert_eq!(seen, owners.keys().map(String::as_str).collect(), "the scene must use every owned table");
}

#[tokio::test]
async fn the_document_on_scaling_names_every_table() {
    let app = TestApp::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scale.md");
    let document = fs::read_to_string(path).unwrap();
    let keys = first_key_columns(&app).await;
    let sections: BTreeMap<&str, &str> =
        document.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let owners = owned(&keys);
    for table in keys.keys() {
        let section = if owners.contains_key(table) { "Owned tables" } else { "Global tables" };
        assert!(sections[section].contains(&format!("`{table}`")), "{section:?} does not name {table}");
    }
}
