//! The change feed: it reports every change once, in order.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, Statement};
use tokio::sync::Notify;
use tripgate::db::{StoreError, Tx};

use super::*;

#[tokio::test]
async fn the_feed_reports_each_change_once_and_includes_deletions() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let empty = feed(&ada, None, 10).await;
    assert_eq!((&empty["changes"], &empty["has_more"]), (&json!([]), &json!(false)));
    let (one, two) = (create_trip(&ada, "one").await, create_trip(&ada, "two").await);
    let expected = vec![("upsert".to_owned(), one.clone(), 1), ("upsert".to_owned(), two.clone(), 1)];
    let first = feed(&ada, Some(next(&empty)), 10).await;
    assert_eq!(summarize(&first), expected);
    assert_eq!(first["changes"][0]["trip"], ada.get(&format!("{TRIPS}/{one}")).await.expect(200).json());
    assert_eq!(summarize(&feed(&ada, Some(next(&first)), 10).await), []);
    ada.patch(&format!("{TRIPS}/{one}")).json(&json!({ "title": "x" })).await.expect(200);
    ada.patch(&format!("{TRIPS}/{one}")).json(&json!({ "title": "y" })).await.expect(200);
    ada.delete(&format!("{TRIPS}/{two}")).await.expect(204);
    let second = feed(&ada, Some(next(&first)), 10).await;
    let deleted = ("delete".to_owned(), two.clone(), 2);
    assert_eq!(summarize(&second), [("upsert".to_owned(), one.clone(), 3), deleted]);
    assert!(second["changes"][1].get("trip").is_none());
    // A first sync also reports the deletion, because the app may know the trip from another endpoint.
    let deleted = ("delete".to_owned(), two.clone(), 2);
    assert_eq!(summarize(&feed(&ada, None, 10).await), [("upsert".to_owned(), one.clone(), 3), deleted]);
    // A cursor can be sent again after a lost response: it returns the same changes.
    assert_eq!(feed(&ada, Some(next(&first)), 10).await["changes"], second["changes"]);
    // Other users see none of these changes.
    assert_eq!(summarize(&feed(&app.sign_up("eve").await, None, 10).await), []);
}

#[tokio::test]
async fn a_paged_first_sync_includes_concurrent_changes() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(create_trip(&ada, &number.to_string()).await);
    }
    let deleted_before = create_trip(&ada, "gone").await;
    ada.delete(&format!("{TRIPS}/{deleted_before}")).await.expect(204);
    let page = feed(&ada, None, 3).await;
    assert_eq!((summarize(&page).len(), &page["has_more"]), (3, &json!(true)));
    // Delete one trip that was already returned and one trip that was not, and create a new trip.
    ada.delete(&format!("{TRIPS}/{}", ids[0])).await.expect(204);
    ada.delete(&format!("{TRIPS}/{}", ids[5])).await.expect(204);
    let new = create_trip(&ada, "new").await;
    let (mut all, mut page) = (summarize(&page), page);
    while page["has_more"] == true {
        page = feed(&ada, Some(next(&page)), 3).await;
        all.extend(summarize(&page));
    }
    let expected: Vec<_> = [
        ("upsert", &ids[0], 1),
        ("upsert", &ids[1], 1),
        ("upsert", &ids[2], 1),
        ("upsert", &ids[3], 1),
        ("upsert", &ids[4], 1),
        ("upsert", &ids[6], 1),
        ("delete", &deleted_before, 2),
        ("delete", &ids[0], 2),
        ("delete", &ids[5], 2),
        ("upsert", &new, 1),
    ]
    .map(|(op, id, version)| (op.to_owned(), id.clone(), version))
    .into();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_feed_that_is_read_to_its_end_contains_every_trip_even_if_trips_change_meanwhile() {
    // F-11
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut ids = HashSet::new();
    for number in 0..4 {
        ids.insert(create_trip(&ada, &number.to_string()).await);
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let writers = ids.iter().cloned().map(|id| {
        let (ada, is_done) = (ada.clone(), Arc::clone(&is_done));
        tokio::spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                ada.patch(&format!("{TRIPS}/{id}")).json(&json!({ "notes": "x" })).await.expect(200);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..rounds(200) {
        let page = feed(&ada, None, 10).await;
        let seen: HashSet<String> = summarize(&page).into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(seen, ids, "a trip is missing");
        assert_eq!(page["has_more"], false, "the page is not one snapshot");
        let (mut seen, mut page) = (HashSet::new(), feed(&ada, None, 3).await);
        seen.extend(summarize(&page).into_iter().map(|(_, id, _)| id));
        while page["has_more"] == true {
            page = feed(&ada, Some(next(&page)), 3).await;
            seen.extend(summarize(&page).into_iter().map(|(_, id, _)| id));
        }
        assert_eq!(seen, ids, "a trip is missing");
    }
    is_done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_read_does_not_see_later_changes() {
    // F-11
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trip(&ada, "first").await;
    let steps = Arc::new((Notify::new(), Notify::new()));
    let reading = tokio::spawn({
        let (steps, db) = (Arc::clone(&steps), app.services().db.clone());
        async move {
            let read: Result<(i64, i64), StoreError> = db
                .read_snapshot(steps, |tx, steps| {
                    async move {
                        let before = count_trips(tx).await?;
                        steps.0.notify_one();
                        steps.1.notified().await;
                        Ok((before, count_trips(tx).await?))
                    }
                    .boxed()
                })
                .await;
            read.unwrap()
        }
    });
    steps.0.notified().await;
    create_trip(&ada, "second").await;
    steps.1.notify_one();
    assert_eq!(reading.await.unwrap(), (1, 1));
    let after: Result<i64, StoreError> =
        app.services().db.read_snapshot((), |tx, ()| count_trips(tx).boxed()).await;
    assert_eq!(after.unwrap(), 2);
}

async fn count_trips(tx: &Tx) -> Result<i64, StoreError> {
    let query = Statement::from_string(tx.get_database_backend(), "SELECT COUNT(*) FROM trips");
    Ok(tx.query_one_raw(query).await?.unwrap().try_get_by_index(0)?)
}

#[tokio::test]
async fn a_feed_cursor_is_valid_for_180_days_and_only_for_its_user() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, "one").await;
    create_trip(&ada, "two").await;
    let half = feed(&ada, None, 1).await;
    let cursor = next(&half).to_owned();
    let eve = app.sign_up("eve").await;
    let list = ada.get(&format!("{TRIPS}?limit=1")).await.expect(200).json();
    let list_cursor = list["next_cursor"].as_str().unwrap();
    for (client, invalid) in
        [(&eve, cursor.as_str()), (&ada, list_cursor), (&ada, "x"), (&ada, ""), (&ada, &cursor[1..])]
    {
        let reply = client.get(&format!("{SYNC}?cursor={invalid}")).await;
        reply.expect(400).problem("invalid_cursor");
    }
    ada.get(&format!("{TRIPS}?cursor={cursor}")).await.expect(400).problem("invalid_cursor");
    ada.delete(&format!("{TRIPS}/{trip}")).await.expect(204);
    app.clock.advance(TimeDelta::days(180) - TimeDelta::milliseconds(1));
    housekeeping::sweep_sync(app.services().clone()).await;
    let ada = app.log_in("ada").await;
    let rest = feed(&ada, Some(&cursor), 10).await;
    assert_eq!(summarize(&rest).last().map(|change| change.0.as_str()), Some("delete"));
    let fresh = next(&rest).to_owned();
    app.clock.advance(TimeDelta::milliseconds(1));
    ada.get(&format!("{SYNC}?cursor={cursor}")).await.expect(410).problem("resync_required");
    feed(&ada, Some(&fresh), 10).await;
    assert_eq!(rows::tombstones(&app).await, 1);
    app.clock.advance(TimeDelta::days(2));
    housekeeping::sweep_sync(app.services().clone()).await;
    assert_eq!(rows::tombstones(&app).await, 0);
    // The cursor is newer than the change counter, as after a restored backup.
    rows::set_counter(&app, 1).await;
    let ada = app.log_in("ada").await;
    ada.get(&format!("{SYNC}?cursor={fresh}")).await.expect(410).problem("resync_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_feed_neither_misses_nor_repeats_changes_during_concurrent_writes() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.log_in("ada").await;
    let writing = Arc::new(AtomicBool::new(true));
    let reader = tokio::spawn({
        let (ada, writing) = (on_replica.clone(), Arc::clone(&writing));
        async move {
            let (mut replayed, mut seen) = (BTreeMap::new(), HashSet::new());
            let mut cursor: Option<String> = None;
            loop {
                let last = !writing.load(Ordering::SeqCst);
                let page = feed(&ada, cursor.as_deref(), 7).await;
                for (op, id, version) in summarize(&page) {
                    assert!(seen.insert((id.clone(), version)), "reported twice: {op} {id} {version}");
                    if op == "upsert" {
                        replayed.insert(id, version)
                    } else {
                        replayed.remove(&id)
                    };
                }
                cursor = Some(next(&page).to_owned());
                if last && page["has_more"] == false {
                    return replayed;
                }
            }
        }
    });
    let writers = (0..8).map(|number| {
        let client = if number % 2 == 0 { ada.clone() } else { on_replica.clone() };
        tokio::spawn(async move {
            for round in 0..12 {
                let id = create_trip(&client, "a trip").await;
                let path = format!("{TRIPS}/{id}");
                client.patch(&path).json(&json!({ "title": "changed" })).await.expect(200);
                if round % 3 == number % 3 {
                    client.delete(&path).await.expect(204);
                }
                let op =
                    json!([{ "op_id": id, "op": "create", "id": new_id(), "trip": { "title": "sent" } }]);
                assert_eq!(statuses(&send(&client, &op).await), ["applied"]);
            }
        })
    });
    for done in join_all(writers).await {
        done.unwrap();
    }
    writing.store(false, Ordering::SeqCst);
    let replayed = reader.await.unwrap();
    let all = feed(&ada, None, 500).await;
    let current: BTreeMap<String, i64> = summarize(&all)
        .into_iter()
        .filter(|change| change.0 == "upsert")
        .map(|change| (change.1, change.2))
        .collect();
    assert_eq!((current.len(), summarize(&all).len()), (8 * 12 + 8 * 8, 2 * 8 * 12));
    assert_eq!(replayed, current);
}
