//! Tests that a unit of work does not overwrite trips that were changed after the unit of work read them.

use chrono::DateTime;
use uuid::Uuid;

use super::super::unit_of_work::UnitOfWork;
use super::super::{Precondition, Quotas, TripFields, TripsError, UncheckedFields};
use crate::db::{Db, StoreError, open};
use entity::users;
use futures_util::FutureExt;
use sea_orm::{EntityTrait, IntoActiveModel};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const QUOTAS: Quotas = Quotas { trips: 10, trip_bytes: 10_000, tombstones: 10 };

fn titled(title: &str) -> TripFields {
    TripFields::parse(UncheckedFields { title: title.to_owned(), ..UncheckedFields::default() }).unwrap()
}

async fn insert_user(db: &Db, id: Uuid) {
    let user = users::Model {
        id,
        email: None,
        email_key: None,
        email_verified: false,
        username: Some("ada".to_owned()),
        username_key: Some("ada".to_owned()),
        display_name: None,
        password_hash: String::new(),
        mfa_enabled: false,
        locale: None,
        credentials_version: 0,
        lock_count: 0,
        disabled_at: None,
        created_at: 0,
        updated_at: 0,
    };
    let insert = db.write(user, |tx, user| {
        let insert = users::Entity::insert(user.clone().into_active_model());
        async move { insert.exec_without_returning(tx).await.map(|_| ()).map_err(StoreError::from) }.boxed()
    });
    insert.await.unwrap();
}

/// Saves a unit of work that contains changes from before the transaction. Returns whether saving failed with
/// a conflict.
async fn is_conflict(db: &Db, work: UnitOfWork) -> bool {
    let work = Mutex::new(Some(work));
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    let saved: Result<(), TripsError> = db
        .write((), move |tx, ()| {
            let (work, seen) = (work.lock().unwrap().take(), Arc::clone(&seen));
            async move {
                let Some(work) = work else { return Ok(()) };
                let saved = work.save(tx).await;
                let is_conflict = matches!(saved, Err(TripsError::Store(StoreError::Conflict(_))));
                seen.store(is_conflict, Ordering::Relaxed);
                saved
            }
            .boxed()
        })
        .await;
    saved.unwrap();
    refused.load(Ordering::Relaxed)
}

async fn load(db: &Db, owner: Uuid, id: Uuid) -> UnitOfWork {
    let loaded: Result<UnitOfWork, TripsError> = db
        .write((), move |tx, ()| {
            let ids = [id];
            async move { Ok(UnitOfWork::load(tx, owner, &ids, &[], DateTime::UNIX_EPOCH, QUOTAS).await?) }
                .boxed()
        })
        .await;
    loaded.unwrap()
}

#[tokio::test]
async fn a_trip_that_changed_after_it_was_read_is_not_overwritten() {
    // F-14
    let dir = tempfile::tempdir().unwrap();
    let db = open(&format!("sqlite://{}/trips.db", dir.path().display())).await.unwrap();
    let (owner, id) = (Uuid::now_v7(), Uuid::now_v7());
    insert_user(&db, owner).await;
    let mut created = UnitOfWork::new(owner, DateTime::UNIX_EPOCH, QUOTAS);
    created.create(id, titled("Lisbon")).unwrap();
    assert!(!is_conflict(&db, created).await);

    let (mut first, mut second) = (load(&db, owner, id).await, load(&db, owner, id).await);
    for (work, title) in [(&mut first, "Porto"), (&mut second, "Faro")] {
        work.modify(id, &Precondition::Always, |_| Ok(titled(title))).unwrap();
    }
    assert!(!is_conflict(&db, first).await);
    assert!(is_conflict(&db, second).await);
    let stored = load(&db, owner, id).await;
    assert_eq!(stored.find(id).unwrap().fields, titled("Porto"));
}
