//! Functions whose writes share one database transaction: each function receives only its own result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::entity::{trip_counters, users};
use futures_util::FutureExt;
use futures_util::future::join_all;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryTrait};
use tripgate::db::{HasStoreError, StoreError};
use uuid::Uuid;

use super::connect;
use crate::harness::TestApp;

/// The error of a function: its own rejection, or a database error.
#[derive(Debug)]
enum JobError {
    Rejected,
    Store(StoreError),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl HasStoreError for JobError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Rejected => None,
            Self::Store(error) => Some(error),
        }
    }
}

fn counter(number: u128) -> trip_counters::ActiveModel {
    trip_counters::ActiveModel { owner_id: Set(Uuid::from_u128(number)), value: Set(1), ..Default::default() }
}

fn user(number: u128) -> users::ActiveModel {
    users::ActiveModel {
        id: Set(Uuid::from_u128(number)),
        username: Set(Some(format!("user{number}"))),
        username_key: Set(Some(format!("user{number}"))),
        email_verified: Set(false),
        password_hash: Set("none".to_owned()),
        locale: Set(None),
        credentials_version: Set(0),
        lock_count: Set(0),
        disabled_at: Set(None),
        created_at: Set(0),
        updated_at: Set(0),
        ..Default::default()
    }
}

/// Asserts that the database contains these users and no counters.
async fn assert_users(app: &TestApp, expected: &[Uuid]) {
    let database = connect(app).await;
    let mut stored: Vec<Uuid> =
        users::Entity::find().all(&database).await.unwrap().into_iter().map(|row| row.id).collect();
    stored.sort();
    assert_eq!(stored, expected);
    assert!(trip_counters::Entity::find().all(&database).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_functions_that_fail_after_a_write_are_rolled_back() {
    // The shared transaction must be split: every third function writes and then fails.
    let app = TestApp::start().await;
    let db = &app.services().db;
    let jobs = (0..150_u128).map(|number| {
        // Each failure splits the shared transaction, which takes long on a slow disk.
        db.write_within(Duration::from_secs(30), number, |tx, number| {
            async move {
                users::Entity::insert(user(*number + 1))
                    .exec_without_returning(tx)
                    .await
                    .map_err(StoreError::from)?;
                match number % 9 {
                    0 => Err(JobError::Rejected),
                    // The database rejects this row: the owner does not exist.
                    3 => Err(trip_counters::Entity::insert(counter(1 << 90))
                        .exec_without_returning(tx)
                        .await
                        .map_err(StoreError::from)
                        .unwrap_err()
                        .into()),
                    6 => Err(JobError::Store(StoreError::conflict())),
                    _ => Ok(*number),
                }
            }
            .boxed()
        })
    });
    let results = join_all(jobs).await;
    let mut expected: Vec<Uuid> = Vec::new();
    for (number, result) in (0_u128..).zip(results) {
        match (number % 9, result) {
            (0, Err(JobError::Rejected))
            | (3, Err(JobError::Store(StoreError::ForeignKeyViolation(_))))
            | (6, Err(JobError::Store(StoreError::Conflict(_)))) => {}
            (_, Ok(value)) if value == number => expected.push(Uuid::from_u128(number + 1)),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    assert_users(&app, &expected).await;
}

#[tokio::test]
async fn only_the_functions_whose_deferred_writes_fail_are_rolled_back() {
    // Deferred writes are sent together. Each function receives only its own error.
    let app = TestApp::start().await;
    let db = &app.services().db;
    let jobs = (0..150_u128).map(|number| {
        // Each failure splits the shared transaction, which takes long on a slow disk.
        db.write_within(Duration::from_secs(30), number, |tx, number| {
            async move {
                let backend = tx.get_database_backend();
                let id = Uuid::from_u128(*number + 1);
                let find = async || users::Entity::find_by_id(id).one(tx).await.map_err(StoreError::from);
                if number % 9 == 6 {
                    // This query first sends the deferred writes. If one of them fails, the query fails too, and
                    // all functions run again in separate transactions.
                    assert_eq!(find().await?, None);
                }
                let mut changes = vec![users::Entity::insert(user(*number + 1)).build(backend)];
                match number % 9 {
                    // The database rejects this row: the owner does not exist.
                    0 => changes.push(trip_counters::Entity::insert(counter(1 << 90)).build(backend)),
                    // The DELETE matches no row.
                    3 => changes
                        .push(trip_counters::Entity::delete_by_id(Uuid::from_u128(1 << 90)).build(backend)),
                    _ => {}
                }
                tx.execute_each(changes).await?;
                if number % 9 == 6 {
                    assert!(find().await?.is_some(), "a function reads its own deferred writes");
                }
                Ok::<_, StoreError>(*number)
            }
            .boxed()
        })
    });
    let results = join_all(jobs).await;
    let mut expected: Vec<Uuid> = Vec::new();
    for (number, result) in (0_u128..).zip(results) {
        match (number % 9, result) {
            (0, Err(StoreError::ForeignKeyViolation(_))) | (3, Err(StoreError::Conflict(_))) => {}
            (_, Ok(value)) if value == number => expected.push(Uuid::from_u128(number + 1)),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    assert_users(&app, &expected).await;
}

#[tokio::test]
async fn a_result_based_on_another_functions_failure_is_discarded() {
    let app = TestApp::start().await;
    let db = &app.services().db;
    let jobs = (0..50_u128).map(|number| {
        db.write(number, |tx, number| {
            async move {
                let backend = tx.get_database_backend();
                if *number == 0 {
                    let change = trip_counters::Entity::insert(counter(1 << 90)).build(backend);
                    tx.execute_each(vec![change]).await?;
                    return Ok(true);
                }
                // The first query after function 0 sends the deferred write of function 0, and fails with the
                // error of that write.
                let id = Uuid::from_u128(*number);
                Ok::<_, StoreError>(users::Entity::find_by_id(id).one(tx).await.is_ok())
            }
            .boxed()
        })
    });
    let mut results = join_all(jobs).await.into_iter();
    assert!(matches!(results.next(), Some(Err(StoreError::ForeignKeyViolation(_)))));
    assert!(results.all(|result| matches!(result, Ok(true))));
}

#[tokio::test]
async fn a_rejected_function_does_not_split_the_shared_transaction() {
    // If the shared transaction were split, some functions would run twice.
    let app = TestApp::start().await;
    let db = &app.services().db;
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..100).map(|_| AtomicU32::new(0)).collect());
    let jobs = (0..100_usize).map(|number| {
        db.write((number, Arc::clone(&runs)), |tx, (number, runs)| {
            async move {
                runs[*number].fetch_add(1, Ordering::Relaxed);
                let id = *number as u128 + 1;
                if number % 2 == 0 {
                    let change = users::Entity::insert(user(id)).build(tx.get_database_backend());
                    return Ok(tx.execute_each(vec![change]).await?);
                }
                let found = users::Entity::find_by_id(Uuid::from_u128(id)).one(tx).await;
                assert_eq!(found.map_err(StoreError::from)?, None);
                Err(JobError::Rejected)
            }
            .boxed()
        })
    });
    let results = join_all(jobs).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(JobError::Rejected))));
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{runs:?}");
}
