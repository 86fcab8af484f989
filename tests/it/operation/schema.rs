//! Constraints that the database enforces for every program that writes to it.

use std::future::Future;

use ::entity::{sessions, signing_keys, trip_counters, trips, users};
use chrono::NaiveDate;
use sea_orm::{ActiveValue::Set, ConnectOptions, Database, DatabaseConnection, DbErr, EntityTrait};
use tripgate::accounts::{DISPLAY_NAME_MAX, EMAIL_MAX, USERNAME_MAX, USERNAME_MIN};
use tripgate::db::StoreError;
use tripgate::sessions::{DEVICE_NAME_MAX, USER_AGENT_MAX};
use tripgate::trips::{DESTINATION_MAX, NOTES_MAX, TITLE_MAX};
use uuid::Uuid;

use crate::harness::TestApp;

async fn connect(app: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

/// Returns a valid account.
pub(crate) fn user(number: u128) -> users::ActiveModel {
    let (email, username) = (format!("U{number}@Example.org"), format!("User{number}"));
    users::ActiveModel {
        id: Set(Uuid::from_u128(number)),
        email_key: Set(Some(email.to_lowercase())),
        email: Set(Some(email)),
        email_verified: Set(false),
        username_key: Set(Some(username.to_lowercase())),
        username: Set(Some(username)),
        display_name: Set(None),
        password_hash: Set("$2b$04$none".to_owned()),
        mfa_enabled: Set(false),
        locale: Set(None),
        credentials_version: Set(0),
        lock_count: Set(0),
        disabled_at: Set(None),
        created_at: Set(0),
        updated_at: Set(0),
    }
}

fn session(user: u128, id: u128) -> sessions::ActiveModel {
    sessions::ActiveModel {
        user_id: Set(Uuid::from_u128(user)),
        id: Set(Uuid::from_u128(id)),
        generation: Set(1),
        scope: Set("account".to_owned()),
        amr: Set("pwd".to_owned()),
        device_name: Set(None),
        user_agent: Set(None),
        created_at: Set(0),
        last_seen_at: Set(0),
        idle_expires_at: Set(1),
        expires_at: Set(1),
        rotated_at: Set(0),
        used_generation: Set(0),
        authenticated_at: Set(0),
        access_expires_at: Set(0),
        ended_at: Set(None),
    }
}

fn signing_key(kid: &str, active_slot: Option<i64>) -> signing_keys::ActiveModel {
    signing_keys::ActiveModel {
        kid: Set(kid.to_owned()),
        alg: Set("ES256".to_owned()),
        status: Set("active".to_owned()),
        active_slot: Set(active_slot),
        public_key: Set(vec![4]),
        sealed_private_key: Set(vec![0]),
        created_at: Set(0),
        activated_at: Set(None),
        retired_at: Set(None),
        delete_at: Set(None),
    }
}

fn trip(owner: u128, id: u128) -> trips::ActiveModel {
    trips::ActiveModel {
        owner_id: Set(Uuid::from_u128(owner)),
        created_at: Set(0),
        id: Set(Uuid::from_u128(id)),
        title: Set("Lisbon".to_owned()),
        destination: Set(None),
        start_date: Set(None),
        end_date: Set(None),
        time_zone: Set(None),
        notes: Set(None),
        status: Set("planned".to_owned()),
        version: Set(1),
        change_seq: Set(1),
        updated_at: Set(0),
        ..Default::default()
    }
}

fn day(day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(2026, 5, day)
}

/// The kind of constraint violation.
#[derive(Debug, PartialEq)]
enum Violation {
    Unique,
    ForeignKey,
    Other,
}

async fn violation(what: &str, insert: impl Future<Output = Result<u64, DbErr>>) -> Violation {
    match insert.await.map_err(StoreError::from) {
        Err(StoreError::UniqueViolation(_)) => Violation::Unique,
        Err(StoreError::ForeignKeyViolation(_)) => Violation::ForeignKey,
        Err(StoreError::Other(_)) => Violation::Other,
        other => panic!("{what}: {other:?}"),
    }
}

/// Inserts a valid row with these changes and asserts this constraint violation.
macro_rules! rejects {
    ($database:expr, $table:ident, $violation:ident, $row:expr $(, $column:ident: $value:expr)*) => {
        let row = $table::ActiveModel { $($column: Set($value),)* ..$row };
        let what = stringify!($table $($column $value)*);
        let insert = $table::Entity::insert(row).exec_without_returning($database);
        assert_eq!(violation(what, insert).await, Violation::$violation, "{what}");
    };
}

#[tokio::test]
async fn database_constraints_reject_invalid_account_rows() {
    let app = TestApp::start().await;
    let database = &connect(&app).await;
    users::Entity::insert(user(1)).exec_without_returning(database).await.unwrap();
    users::Entity::insert(user(2)).exec_without_returning(database).await.unwrap();
    sessions::Entity::insert(session(1, 1)).exec_without_returning(database).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    rejects!(database, users, Unique, user(1));
    rejects!(database, users, Unique, user(3), email_key: text("u1@example.org"));
    rejects!(database, users, Unique, user(3), username_key: text("user1"));
    rejects!(database, users, Other, user(3), email: None, email_key: None, username: None,
        username_key: None);
    rejects!(database, users, Other, user(3), email_key: None);
    rejects!(database, users, Other, user(3), username: None);
    rejects!(database, users, Other, user(3), email: Some("x".repeat(EMAIL_MAX + 1)));
    rejects!(database, users, Other, user(3), username: Some("x".repeat(USERNAME_MIN - 1)));
    rejects!(database, users, Other, user(3), username: Some("x".repeat(USERNAME_MAX + 1)));
    rejects!(database, users, Other, user(3), display_name: text(""));
    rejects!(database, users, Other, user(3), display_name: Some("é".repeat(DISPLAY_NAME_MAX + 1)));
    rejects!(database, sessions, ForeignKey, session(7, 2));
    rejects!(database, sessions, Unique, session(2, 1));
    rejects!(database, sessions, Other, session(2, 2), generation: 0);
    rejects!(database, sessions, Other, session(2, 2), device_name: text(""));
    rejects!(database, sessions, Other, session(2, 2), device_name: Some("é".repeat(DEVICE_NAME_MAX + 1)));
    rejects!(database, sessions, Other, session(2, 2), user_agent: Some("x".repeat(USER_AGENT_MAX + 1)));
    rejects!(database, signing_keys, Unique, signing_key("second", Some(1)));
    rejects!(database, signing_keys, Other, signing_key("second", Some(2)));
    rejects!(database, signing_keys, Other, signing_key("second", None), status: "lost".to_owned());
    let two = [signing_key("second", None), signing_key("third", None)];
    signing_keys::Entity::insert_many(two).exec_without_returning(database).await.unwrap();
    assert_eq!(users::Entity::find().all(database).await.unwrap().len(), 2);
    assert_eq!(sessions::Entity::find().all(database).await.unwrap().len(), 1);
}

#[tokio::test]
async fn database_constraints_reject_invalid_trip_rows() {
    let app = TestApp::start().await;
    let database = &connect(&app).await;
    users::Entity::insert_many([user(1), user(2)]).exec_without_returning(database).await.unwrap();
    trips::Entity::insert(trip(1, 1)).exec_without_returning(database).await.unwrap();
    rejects!(database, trips, Unique, trip(1, 1));
    rejects!(database, trips, Unique, trip(1, 1), created_at: 7);
    rejects!(database, trips, ForeignKey, trip(7, 2));
    rejects!(database, trips, Other, trip(1, 2), title: String::new());
    rejects!(database, trips, Other, trip(1, 2), title: "🦀".repeat(TITLE_MAX + 1));
    rejects!(database, trips, Other, trip(1, 2), destination: Some(String::new()));
    rejects!(database, trips, Other, trip(1, 2), destination: Some("x".repeat(DESTINATION_MAX + 1)));
    rejects!(database, trips, Other, trip(1, 2), notes: Some("🦀".repeat(NOTES_MAX + 1)));
    rejects!(database, trips, Other, trip(1, 2), start_date: day(10), end_date: day(9));
    rejects!(database, trips, Other, trip(1, 2), version: 0);
    let counter =
        trip_counters::ActiveModel { owner_id: Set(Uuid::from_u128(1)), value: Set(1), ..Default::default() };
    trip_counters::Entity::insert(counter.clone()).exec_without_returning(database).await.unwrap();
    rejects!(database, trip_counters, Unique, counter.clone());
    rejects!(database, trip_counters, ForeignKey, counter, owner_id: Uuid::from_u128(7));
    // Trips of two owners can have the same id. If the database rejected the id, the rejection would reveal
    // another owner's trip.
    let valid = trips::ActiveModel {
        title: Set("🦀".repeat(TITLE_MAX)),
        notes: Set(Some("🦀".repeat(NOTES_MAX))),
        start_date: Set(day(10)),
        end_date: Set(day(10)),
        ..trip(2, 1)
    };
    trips::Entity::insert(valid).exec_without_returning(database).await.unwrap();
    assert_eq!(trips::Entity::find().all(database).await.unwrap().len(), 2);
}
