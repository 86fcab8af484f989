//! The first thing that anybody does.

use serde_json::json;

use crate::harness::TestApp;

#[tokio::test]
async fn somebody_who_signs_up_makes_a_trip_and_finds_it_in_the_list() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let made = ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    let listed = ada.get("/api/v1/trips").await.expect(200).json();
    assert_eq!(listed, json!({ "items": [made.json()] }));
}
