//! The security events that record the changes that a user makes to the account.

use serde_json::{Value, json};

use crate::harness::{Client, TestApp};

/// Returns the newest event.
async fn newest(client: &Client) -> Value {
    client.get("/api/v1/me/events").await.expect(200).json()["items"][0].clone()
}

#[tokio::test]
async fn a_change_of_the_username_is_recorded_as_an_event_and_other_profile_changes_are_not() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for patch in [json!({ "display_name": "Ada" }), json!({ "username": "ada" })] {
        ada.patch("/api/v1/me").json(&patch).await.expect(200);
        assert_eq!(newest(&ada).await["type"], "signup", "{patch}");
    }
    for patch in [json!({ "username": "Countess" }), json!({ "username": null })] {
        ada.patch("/api/v1/me").json(&patch).await.expect(200);
        let event = newest(&ada).await;
        assert_eq!(event["type"], "username_changed", "{patch}");
        assert_eq!((&event["session_id"], &event["ip"]), (&ada.grant()["session_id"], &json!("127.0.0.1")));
    }
    let page = ada.get("/api/v1/me/events").await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn creating_and_removing_a_personal_access_token_are_recorded_as_events() {
    // S-93
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "name": "script", "scope": "trips:read" });
    let token = ada.post("/api/v1/me/tokens").json(&body).await.expect(201).json();
    let event = newest(&ada).await;
    assert_eq!((&event["type"], &event["session_id"]), (&json!("token_created"), &ada.grant()["session_id"]));
    let path = format!("/api/v1/me/tokens/{}", token["id"].as_str().unwrap());
    ada.delete(&path).await.expect(204);
    assert_eq!(newest(&ada).await["type"], "token_revoked");
    ada.delete(&path).await.expect(404);
    let page = ada.get("/api/v1/me/events").await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 3, "the repeated removal was recorded");
}

#[tokio::test]
async fn creating_new_recovery_codes_is_recorded_as_an_event() {
    // S-91
    let app = TestApp::start().await;
    let ada = app.sign_up_with_totp("ada").await.client;
    assert_eq!(newest(&ada).await["type"], "totp_enabled");
    ada.post("/api/v1/me/recovery-codes").await.expect(200);
    let event = newest(&ada).await;
    assert_eq!(
        (&event["type"], &event["session_id"]),
        (&json!("recovery_codes_created"), &ada.grant()["session_id"])
    );
    let brian = app.sign_up("brian").await;
    brian.post("/api/v1/me/recovery-codes").await.expect(404);
    assert_eq!(newest(&brian).await["type"], "signup");
}
