//! Concurrent writes: every acknowledged change is stored once and counted once.

mod shared_transactions;

use std::collections::BTreeMap;

use ::entity::{sessions, trip_counters, trips, users};
use futures_util::future::join_all;
use sea_orm::{
    ColumnTrait, ConnectOptions, Database, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, PASSWORD, Reply, TestApp, email};

const TRIPS: &str = "/api/v1/trips";

/// Opens a separate connection to the database of the server.
async fn connect(app: &TestApp) -> DatabaseConnection {
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap()
}

fn owner(client: &Client) -> Uuid {
    client.id().parse().unwrap()
}

/// Returns the owner's change counter, or 0 if it does not exist.
async fn counter(database: &DatabaseConnection, owner: Uuid) -> i64 {
    let row = trip_counters::Entity::find_by_id(owner).one(database).await.unwrap();
    row.map_or(0, |row| row.value)
}

/// Returns the owner's trips in the order of their last changes.
async fn trips_of(database: &DatabaseConnection, owner: Uuid) -> Vec<trips::Model> {
    trips::Entity::find()
        .filter(trips::Column::OwnerId.eq(owner))
        .order_by_asc(trips::Column::ChangeSeq)
        .all(database)
        .await
        .unwrap()
}

async fn create_trip(client: &Client, title: &str) -> Value {
    client.post(TRIPS).json(&json!({ "title": title })).await.expect(201).json()
}

fn path(trip: &Value) -> String {
    format!("{TRIPS}/{}", trip["id"].as_str().unwrap())
}

/// Asserts that each reply has this status, and returns the trip id and version in each reply.
fn acknowledged(replies: &[Reply], status: u16) -> Vec<(String, i64)> {
    let of = |reply: &Reply| {
        assert_eq!(reply.status, status, "{}: {}", reply.request, reply.text());
        let trip = reply.json();
        (trip["id"].as_str().unwrap().to_owned(), trip["version"].as_i64().unwrap())
    };
    replies.iter().map(of).collect()
}

/// Creates 50 trips and changes one existing trip 50 times, all concurrently, spread over these clients.
async fn test_concurrent_writes(app: &TestApp, clients: &[Client]) {
    let trip = create_trip(&clients[0], "Lisbon").await;
    let of = |number: usize| &clients[number % clients.len()];
    let creates = (0..50).map(|number| {
        of(number).post(TRIPS).json(&json!({ "title": format!("Trip {number}") })).into_future()
    });
    let changes = (0..50).map(|number| {
        of(number).patch(&path(&trip)).json(&json!({ "notes": format!("{number}") })).into_future()
    });
    let replies = join_all(creates.chain(changes)).await;
    let mut new_trips = acknowledged(&replies[..50], 201);
    assert!(new_trips.iter().all(|(_, version)| *version == 1));
    new_trips.sort();
    new_trips.dedup();
    assert_eq!(new_trips.len(), 50, "each create returns another trip");
    let mut versions: Vec<i64> = acknowledged(&replies[50..], 200).into_iter().map(|one| one.1).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=51).collect::<Vec<_>>(), "each change increments the version once");

    let last = clients[0].get(&path(&trip)).await.json();
    assert_eq!(last["version"], 51);
    let winner = replies[50..].iter().map(Reply::json).find(|changed| changed["version"] == 51);
    assert_eq!(Some(last), winner, "the stored trip equals the response to the last change");

    let database = connect(app).await;
    let owner = owner(&clients[0]);
    assert_eq!(counter(&database, owner).await, 101, "each acknowledged change is counted once");
    let trips = trips_of(&database, owner).await;
    assert_eq!(trips.len(), 51);
    assert!(
        trips.is_sorted_by(|a, b| a.change_seq < b.change_seq),
        "each change has its own sequence number"
    );
    assert!(trips[0].change_seq >= 1 && trips[50].change_seq <= 101);
    let after = create_trip(&clients[0], "Porto").await;
    let newest = trips_of(&database, owner).await.pop().unwrap();
    assert_eq!((newest.id.to_string(), newest.change_seq), (after["id"].as_str().unwrap().to_owned(), 102));
}

#[tokio::test]
async fn all_of_one_hundred_concurrent_writes_are_counted_on_one_server() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    test_concurrent_writes(&app, &[ada]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_one_hundred_concurrent_writes_are_counted_on_two_replicas() {
    // S-69
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.anonymous().with_grant(ada.grant());
    test_concurrent_writes(&app, &[ada, on_replica]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_first_changes_of_a_user_on_two_replicas_are_all_counted() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let database = connect(&app).await;
    for name in ["ada", "bea", "cyd", "dee", "eve"] {
        let here = app.sign_up(name).await;
        let on_replica = replica.anonymous().with_grant(here.grant());
        let of = |client: &Client| client.post(TRIPS).json(&json!({ "title": "x" })).into_future();
        let replies = join_all([of(&here), of(&on_replica), of(&here), of(&on_replica)]).await;
        acknowledged(&replies, 201);
        assert_eq!(counter(&database, owner(&here)).await, 4);
    }
}

#[tokio::test]
async fn exactly_one_of_many_concurrent_deletes_is_counted_and_rejected_writes_are_not() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.anonymous().with_grant(ada.grant());
    let trip = create_trip(&ada, "Lisbon").await;
    let other = create_trip(&ada, "Porto").await;
    let deletes = (0..20).map(|number| {
        let client = if number % 2 == 0 { &ada } else { &on_replica };
        client.delete(&path(&trip)).into_future()
    });
    let mut statuses: Vec<u16> = join_all(deletes).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [204, 404]);
    assert_eq!(statuses[19], 404);
    let database = connect(&app).await;
    assert_eq!(counter(&database, owner(&ada)).await, 3, "two creates and one delete");
    ada.patch(&path(&other)).json(&json!({ "title": "" })).await.expect(422);
    ada.patch(&path(&other)).json(&json!({ "time_zone": "X" })).await.expect(422);
    ada.patch(&path(&trip)).json(&json!({})).await.expect(404);
    ada.get(TRIPS).await.expect(200);
    assert_eq!(counter(&database, owner(&ada)).await, 3, "rejected writes are not counted");
}

#[tokio::test]
async fn each_user_has_an_independent_change_counter() {
    // S-53
    let app = TestApp::start().await;
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let trip = create_trip(&ada, "Lisbon").await;
    create_trip(&eve, "Porto").await;
    eve.patch(&path(&trip)).json(&json!({ "title": "mine" })).await.expect(404);
    eve.delete(&path(&trip)).await.expect(404);
    ada.patch(&path(&trip)).json(&json!({ "title": "Faro" })).await.expect(200);
    let database = connect(&app).await;
    assert_eq!(counter(&database, owner(&ada)).await, 2);
    assert_eq!(counter(&database, owner(&eve)).await, 1);
    let row = trips_of(&database, owner(&ada)).await.remove(0);
    assert_eq!((row.title.as_str(), row.version, row.change_seq), ("Faro", 2, 2));
}

#[tokio::test]
async fn a_failed_write_neither_loses_nor_repeats_other_writes() {
    let app = TestApp::start().await;
    let (ada, bea) = (app.sign_up("ada").await, app.sign_up("bea").await);
    let trip = create_trip(&ada, "Lisbon").await;
    let missing = format!("{TRIPS}/{}", Uuid::from_u128(7));
    let dated = json!({ "title": "x", "start_date": "2026-05-10" });
    let fixed = bea.post(TRIPS).json(&dated).await.expect(201).json();
    let taken = json!({ "username": "ada", "email": email("new"), "password": PASSWORD });
    let mut calls = Vec::new();
    for number in 0..20 {
        let title = json!({ "title": format!("Trip {number}") });
        calls.push(ada.post(TRIPS).json(&title));
        calls.push(ada.patch(&missing).json(&title));
        calls.push(bea.post(TRIPS).json(&title));
        calls.push(bea.patch(&path(&fixed)).json(&json!({ "end_date": "2026-05-09" })));
        calls.push(ada.patch(&path(&trip)).json(&title));
        calls.push(bea.delete(&path(&trip)));
        calls.push(app.anonymous().post("/api/v1/auth/signup").json(&taken));
    }
    let replies = join_all(calls.into_iter().map(IntoFuture::into_future)).await;
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for reply in &replies {
        *counts.entry(reply.status).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(200, 20), (201, 40), (404, 40), (409, 20), (422, 20)]));
    let database = connect(&app).await;
    for (client, count, trip_count) in [(&ada, 41, 21), (&bea, 21, 21)] {
        assert_eq!(counter(&database, owner(client)).await, count);
        let trips = trips_of(&database, owner(client)).await;
        assert_eq!(trips.len(), trip_count);
        assert!(trips.is_sorted_by(|a, b| a.change_seq < b.change_seq));
        let mut titles: Vec<String> = trips.into_iter().map(|row| row.title).collect();
        titles.sort();
        titles.dedup();
        assert!(titles.len() >= 20, "{titles:?}");
    }
    assert_eq!(ada.get(&path(&trip)).await.json()["version"], 21);
    assert_eq!(bea.get(&path(&fixed)).await.json()["version"], 1);
    assert_eq!(users::Entity::find().all(&database).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_data_of_a_deleted_user_is_gone_and_the_token_cannot_write() {
    // S-28
    let app = TestApp::start().await;
    let (ada, bea) = (app.sign_up("ada").await, app.sign_up("bea").await);
    let trip = create_trip(&ada, "Lisbon").await;
    create_trip(&bea, "Porto").await;
    let database = connect(&app).await;
    users::Entity::delete_by_id(owner(&ada)).exec(&database).await.unwrap();
    assert!(trips_of(&database, owner(&ada)).await.is_empty());
    assert_eq!(counter(&database, owner(&ada)).await, 0);
    let sessions_left = sessions::Entity::find().all(&database).await.unwrap();
    assert!(sessions_left.iter().all(|session| session.user_id == owner(&bea)) && sessions_left.len() == 1);

    ada.post(TRIPS).json(&json!({ "title": "x" })).await.expect(401).problem("invalid_token");
    let writes = [
        ada.patch(&path(&trip)).json(&json!({ "title": "x" })).await,
        ada.delete(&path(&trip)).await,
        ada.get(&path(&trip)).await,
    ];
    for reply in writes {
        assert!(matches!(reply.status, 401 | 404), "{}: {}", reply.request, reply.status);
    }
    let list = ada.get(TRIPS).await;
    assert!(list.status == 401 || list.json() == json!({ "items": [] }), "{}", list.text());
    let login = json!({ "identifier": "ada", "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/login").json(&login).await.expect(401).problem("invalid_credentials");
    assert!(trips_of(&database, owner(&ada)).await.is_empty(), "deleted trips stay deleted");
    assert_eq!(counter(&database, owner(&ada)).await, 0);
    assert_eq!(bea.get(TRIPS).await.json()["items"].as_array().unwrap().len(), 1);
}
