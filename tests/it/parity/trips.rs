//! The rows about what belongs to somebody: a trip here, a trip or a movie there.

use serde_json::{Value, json};

use crate::harness::{Client, TestApp};

const TRIPS: &str = "/api/v1/trips";

async fn make(client: &Client, title: &str) -> Value {
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
async fn making_and_listing_trips_asks_for_a_login() {
    // Rows 4, 6, 82, 83
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = make(&ada, "Lisbon").await;
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
async fn a_trip_belongs_to_whoever_made_it_and_each_lists_their_own() {
    // Rows 5, 7, 93
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    make(&ada, "Lisbon").await;
    make(&ada, "Rome").await;
    // Rows 85, 86: unlike a movie, a trip shares its title with others.
    let brians = make(&brian, "Rome").await;
    assert!(brians["id"].is_string());
    assert_eq!(titles(&ada).await, ["Lisbon", "Rome"]);
    assert_eq!(titles(&brian).await, ["Rome"]);
    assert_eq!(brian.get(&path(&brians)).await.expect(200).json(), brians);
}

#[tokio::test]
async fn the_owner_comes_from_the_token_and_never_from_the_body() {
    // Row 87
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    for member in ["owner", "owner_id", "added_by", "user_id"] {
        let body = json!({ "title": "Lisbon", member: brian.id() });
        ada.post(TRIPS).json(&body).await.expect(422).problem("invalid");
    }
    assert!(titles(&ada).await.is_empty() && titles(&brian).await.is_empty());
}

#[tokio::test]
async fn the_owner_edits_and_deletes_and_the_list_follows() {
    // Rows 88, 89, 94
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (lisbon, rome) = (make(&ada, "Lisbon").await, make(&ada, "Rome").await);
    let changed = ada.patch(&path(&lisbon)).json(&json!({ "title": "Porto" })).await.expect(200).json();
    assert_eq!(changed["title"], "Porto");
    assert_eq!(titles(&ada).await, ["Porto", "Rome"]);
    let reply = ada.delete(&path(&rome)).await.expect(204);
    assert!(reply.body.is_empty());
    assert_eq!(titles(&ada).await, ["Porto"]);
    ada.get(&path(&rome)).await.expect(404).problem("not_found");
}

#[tokio::test]
async fn nobody_else_edits_or_deletes_it() {
    // Rows 90, 91, 92
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    let trip = make(&ada, "Lisbon").await;
    brian.get(&path(&trip)).await.expect(404).problem("not_found");
    brian.patch(&path(&trip)).json(&json!({ "title": "Rome" })).await.expect(404).problem("not_found");
    brian.delete(&path(&trip)).await.expect(404).problem("not_found");
    assert_eq!(ada.get(&path(&trip)).await.expect(200).json(), trip);
}
