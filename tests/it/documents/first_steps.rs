//! The first steps of a new user.

use serde_json::json;

use crate::harness::TestApp;

#[tokio::test]
async fn a_new_user_can_create_a_trip_and_list_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    let listed = ada.get("/api/v1/trips").await.expect(200).json();
    assert_eq!(listed, json!({ "items": [created.json()] }));
}
