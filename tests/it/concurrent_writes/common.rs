//! Functions that share a transaction: each gets what is its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ::entity::{trip_counters, users};
use futures_util::FutureExt;
use futures_util::future::join_all;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryTrait};
use tripgate::db::{HasStoreError, StoreError};
use uuid::Uuid;

use super::direct;
use crate::harness::TestApp;

/// A use-case that changes its mind, or meets the database's refusal.
#[derive(Debug)]
enum Whim {
    Refused,
    Store(StoreError),
}

impl From<StoreError> for Whim {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl HasStoreError for Whim {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Refused => None,
            Self::Store(error) => Some(error),
        }
    }
}

fn key(number: u128) -> trip_counters::ActiveModel {
    trip_counters::ActiveModel { owner_id: Set(Uuid::from_u128(number)), value: Set(1) }
}

fn somebody(number: u128) -> users::ActiveModel {
    users::ActiveModel {
        id: Set(Uuid::from_u128(number)),
        username: Set(Some(format!("user{number}"))),
        username_key: Set(Some(format!("user{number}"))),
        email_verified: Set(false),
        password_hash: Set("none".to_owned()),
        created_at: Set(0),
        updated_at: Set(0),
        ..Default::default()
    }
}

/// Asserts that these users are all that was written.
async fn are_kept(app: &TestApp, expected: &[Uuid]) {
    let database = direct(app).await;
    let mut kept: Vec<Uuid> =
        users::Entity::find().all(&database).await.unwrap().into_iter().map(|row| row.id).collect();
    kept.sort();
    assert_eq!(kept, expected);
    assert!(trip_counters::Entity::find().all(&database).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_function_that_fails_after_a_write_is_rolled_back_alone() {
    // The common transaction has to be split: every third function writes first and fails then.
    let app = TestApp::start().await;
    let db = &app.rooms().db;
    let jobs = (0..150_u128).map(|number| {
        db.write(number, |tx, number| {
            async move {
                users::Entity::insert(somebody(*number + 1))
                    .exec_without_returning(tx)
                    .await
                    .map_err(StoreError::from)?;
                match number % 9 {
                    0 => Err(Whim::Refused),
                    // Refused by the database: there is no such owner.
                    3 => Err(trip_counters::Entity::insert(key(1 << 90))
                        .exec_without_returning(tx)
                        .await
                        .map_err(StoreError::from)
                        .unwrap_err()
                        .into()),
                    6 => Err(Whim::Store(StoreError::conflict())),
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
            (0, Err(Whim::Refused))
            | (3, Err(Whim::Store(StoreError::ForeignKeyViolation(_))))
            | (6, Err(Whim::Store(StoreError::Conflict(_)))) => {}
            (_, Ok(told)) if told == number => expected.push(Uuid::from_u128(number + 1)),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    are_kept(&app, &expected).await;
}

#[tokio::test]
async fn a_function_with_a_failed_deferred_write_is_rolled_back_alone() {
    // Changes that nobody asks about are sent together; a function is told of its own alone.
    let app = TestApp::start().await;
    let db = &app.rooms().db;
    let jobs = (0..150_u128).map(|number| {
        db.write(number, |tx, number| {
            async move {
                let backend = tx.get_database_backend();
                let id = Uuid::from_u128(*number + 1);
                let find = async || users::Entity::find_by_id(id).one(tx).await.map_err(StoreError::from);
                if number % 9 == 6 {
                    // Whatever waits is done before this, and what fails of it has nothing to do with it.
                    assert_eq!(find().await?, None);
                }
                let mut changes = vec![users::Entity::insert(somebody(*number + 1)).build(backend)];
                match number % 9 {
                    // Refused by the database: there is no such owner.
                    0 => changes.push(trip_counters::Entity::insert(key(1 << 90)).build(backend)),
                    // Finds nothing to change.
                    3 => changes
                        .push(trip_counters::Entity::delete_by_id(Uuid::from_u128(1 << 90)).build(backend)),
                    _ => {}
                }
                tx.execute_each(changes).await?;
                if number % 9 == 6 {
                    assert!(find().await?.is_some(), "it sees what it has written");
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
            (_, Ok(told)) if told == number => expected.push(Uuid::from_u128(number + 1)),
            (_, other) => panic!("{number}: {other:?}"),
        }
    }
    are_kept(&app, &expected).await;
}

#[tokio::test]
async fn a_result_based_on_another_functions_failure_is_discarded() {
    let app = TestApp::start().await;
    let db = &app.rooms().db;
    let jobs = (0..50_u128).map(|number| {
        db.write(number, |tx, number| {
            async move {
                let backend = tx.get_database_backend();
                if *number == 0 {
                    let change = trip_counters::Entity::insert(key(1 << 90)).build(backend);
                    tx.execute_each(vec![change]).await?;
                }
                // The first to ask is the first to be told that the change before it has failed.
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
    // Were the common transaction split, some of its functions would run twice.
    let app = TestApp::start().await;
    let db = &app.rooms().db;
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..100).map(|_| AtomicU32::new(0)).collect());
    let jobs = (0..100_usize).map(|number| {
        db.write((number, Arc::clone(&runs)), |tx, (number, runs)| {
            async move {
                runs[*number].fetch_add(1, Ordering::Relaxed);
                let id = *number as u128 + 1;
                if number % 2 == 0 {
                    let change = users::Entity::insert(somebody(id)).build(tx.get_database_backend());
                    return Ok(tx.execute_each(vec![change]).await?);
                }
                let found = users::Entity::find_by_id(Uuid::from_u128(id)).one(tx).await;
                assert_eq!(found.map_err(StoreError::from)?, None);
                Err(Whim::Refused)
            }
            .boxed()
        })
    });
    let results = join_all(jobs).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Whim::Refused))));
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1), "{runs:?}");
}
