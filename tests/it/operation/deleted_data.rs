//! Deleted data is overwritten in the file of a SQLite database.

use std::fs;

use serde_json::json;

use crate::harness::{PASSWORD, TestApp};

/// A word that occurs in all texts of the deleted user.
const CANARY: &str = "cAnAry7x7";

#[tokio::test]
async fn the_data_of_a_deleted_account_is_not_readable_in_the_sqlite_file() {
    //
    let app = TestApp::start().await;
    if !app.settings().database_url.expose().starts_with("sqlite:") {
        return;
    }
    let eve = app.sign_up("eve").await;
    let body = json!({
        "email": format!("{CANARY}@example.org"), "username": CANARY, "display_name": CANARY,
        "device_name": CANARY, "password": PASSWORD,
    });
    let grant = app.anonymous().post("/api/v1/auth/signup").json(&body).await.expect(201).json();
    let ada = app.anonymous().with_grant(&grant);
    // Long notes fill whole database pages, which become free when the trip is deleted.
    let trip = json!({ "title": CANARY, "destination": CANARY, "notes": format!("{CANARY} ").repeat(900) });
    for _ in 0..20 {
        ada.post("/api/v1/trips").json(&trip).await.expect(201);
        eve.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    }
    let path = app.settings().data_dir.join("tripgate.db");
    let app = app.restart().await;
    assert!(occurs_in(&fs::read(&path).unwrap()), "the data is not in the file");
    let ada = app.anonymous().with_grant(&grant);
    ada.delete("/api/v1/me").json(&json!({ "password": PASSWORD })).await.expect(204);
    // When the server stops, SQLite writes the content of the write-ahead log to the database file.
    let app = app.restart().await;
    assert!(!occurs_in(&fs::read(&path).unwrap()), "deleted data is readable");
    app.anonymous().with_grant(eve.grant()).get("/api/v1/trips").await.expect(200);
}

fn occurs_in(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window.eq_ignore_ascii_case(CANARY.as_bytes()))
}
