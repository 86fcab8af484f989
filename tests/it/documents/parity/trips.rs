//! The features that concern owned resources: trips in Tripgate, trips and movies in the replaced systems.

use serde_json::{Value, json};

use crate::harness::{Client, TestApp};

const TRIPS: &str = "/api/v1/trips";

async fn create_trip(client: &Client, title: &str) -> Value {
    client.post(TRIPS).json(&json!({ "title": title })).await.expect(201).json()
}

fn path(trip: &Value) -> String {
    format!("{TRIPS}/{}", trip["id"].as_str().unwrap())
}

async fn titles(client: &Client) -> Vec<String> {
    let listed = client.get(TRIPS).await.expect(200).json();
    let items = listed["items"].as_array().unwrap().iter();
    let mut titles: Vec<_> = items.map(|trip| trip["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn trips_require_authentication() {
    // Rows 4, 6, 82, 83
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, "Lisbon").await;
    for client in [app.anonymous(), app.anonymous().with_token("bad")] {
        client.get(TRIPS).await.expect(401);
        client.post(TRIPS).json(&json!({ "title": "Rome" })).await.expect(401);
        client.patch(&path(&trip)).json(&json!({ "title": "Rome" })).await.expect(401);
        client.delete(&path(&trip)).await.expect(401);
    }
    assert_eq!(ada.get(&path(&trip)).await.expect(200).json(), trip);
    assert_eq!(titles(&ada).await, ["Lisbon"]);
}

#[tokio::test]
async fn a_trip_belongs_to_its_creator_and_lists_contain_only_own_trips() {
    // Rows 5, 7, 93
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    create_trip(&ada, "Lisbon").await;
    create_trip(&ada, "Rome").await;
    // Rows 85, 86: unlike the name of a movie, the title of a trip need not be unique.
    let brians = create_trip(&brian, "Rome").await;
    assert!(brians["id"].is_string());
    assert_eq!(titles(&ada).await, ["Lisbon", "Rome"]);
    assert_eq!(titles(&brian).await, ["Rome"]);
    assert_eq!(brian.get(&path(&brians)).await.expect(200).json(), brians);
}

#[tokio::test]
async fn the_owner_of_a_trip_comes_from_the_token_and_never_from_the_body() {
    // Row 87
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    for field in ["owner", "owner_id", "added_by", "user_id"] {
        let body = json!({ "title": "Lisbon", field: brian.id() });
        ada.post(TRIPS).json(&body).await.expect(422).problem("invalid");
    }
    assert!(titles(&ada).await.is_empty() && titles(&brian).await.is_empty());
}

#[tokio::test]
async fn edits_and_deletions_by_the_owner_appear_in_the_list_of_trips() {
    // Rows 88, 89, 94
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (lisbon, rome) = (create_trip(&ada, "Lisbon").await, create_trip(&ada, "Rome").await);
    let changed = ada.patch(&path(&lisbon)).json(&json!({ "title": "Porto" })).await.expect(200).json();
    assert_eq!(changed["title"], "Porto");
    assert_eq!(titles(&ada).await, ["Porto", "Rome"]);
    let reply = ada.delete(&path(&rome)).await.expect(204);
    assert!(reply.body.is_empty());
    assert_eq!(titles(&ada).await, ["Porto"]);
    ada.get(&path(&rome)).await.expect(404).problem("not_found");
}

#[tokio::test]
async fn another_user_can_neither_edit_nor_delete_a_trip() {
    // Rows 90, 91, 92
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    let trip = create_trip(&ada, "Lisbon").await;
    brian.get(&path(&trip)).await.expect(404).problem("not_found");
    brian.patch(&path(&trip)).json(&json!({ "title": "Rome" })).await.expect(404).problem("not_found");
    brian.delete(&path(&trip)).await.expect(404).problem("not_found");
    assert_eq!(ada.get(&path(&trip)).await.expect(200).json(), trip);
}

#[tokio::test]
async fn anyone_with_a_link_can_read_a_shared_trip_but_only_the_owner_can_change_it() {
    // Rows 65, 81, 97
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    let trip = create_trip(&ada, "Lisbon").await;
    let share = ada.put(&format!("{}/share", path(&trip))).await.expect(200).json();
    let shared = format!("/api/v1/shared/{}", share["token"].as_str().unwrap());
    for (client, status) in [(app.anonymous(), 401), (brian, 404)] {
        let reply = client.get(&shared).await.expect(200);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.json()["title"], "Lisbon");
        client.patch(&path(&trip)).json(&json!({ "title": "Rome" })).await.expect(status);
        client.delete(&path(&trip)).await.expect(status);
        client.delete(&shared).await.expect(405).problem("method_not_allowed");
    }
    assert_eq!(ada.get(&path(&trip)).await.expect(200).json(), trip);
    ada.patch(&path(&trip)).json(&json!({ "title": "Porto" })).await.expect(200);
    assert_eq!(app.anonymous().get(&shared).await.expect(200).json()["title"], "Porto");
}
