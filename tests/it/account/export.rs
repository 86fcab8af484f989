//! The export of an account: `GET /me/export`.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::everything::{Everything, NEW_EMAIL, USERNAME, forgot, owned_tables};
use crate::harness::{Client, PASSWORD, Reply, TestApp, rows};

const EXPORT: &str = "/api/v1/me/export";

async fn export(client: &Client) -> Value {
    client.get(EXPORT).await.expect(200).json()
}

fn list<'a>(export: &'a Value, name: &str) -> &'a Vec<Value> {
    export[name].as_array().unwrap_or_else(|| panic!("no {name} in {export}"))
}

fn has(export: &Value, name: &str, field: &str) -> bool {
    list(export, name).iter().any(|record| record.get(field).is_some())
}

/// The tables with rows of users, each with the field of the export that contains its rows. `trip_counters`
/// has no field, because its numbers are computed from other rows. `passkey_challenges` has none, because its
/// random values are valid for only 5 minutes.
const FIELDS: [(&str, Option<&str>); 17] = [
    ("flows", Some("flows")),
    ("idempotency_keys", Some("idempotency_keys")),
    ("known_devices", Some("known_devices")),
    ("outbox", Some("mails")),
    ("passkey_challenges", None),
    ("passkeys", Some("passkeys")),
    ("pending_logins", Some("pending_logins")),
    ("personal_tokens", Some("personal_tokens")),
    ("recovery_codes", Some("recovery_codes_remaining")),
    ("security_events", Some("events")),
    ("sessions", Some("sessions")),
    ("sync_operations", Some("sync_operations")),
    ("totp_secrets", Some("totp")),
    ("trip_counters", None),
    ("trip_shares", Some("shares")),
    ("trip_tombstones", Some("deleted_trips")),
    ("trips", Some("trips")),
];

#[tokio::test]
async fn the_export_contains_a_record_of_every_table_with_rows_of_the_user() {
    let app = TestApp::start().await;
    let everything = Everything::new(&app).await;
    app.clock.advance(TimeDelta::seconds(30));
    let export = export(&everything.client).await;
    let owned = owned_tables(&app).await;
    assert_eq!(owned, FIELDS.iter().map(|(table, _)| (*table).to_owned()).collect(), "FIELDS is incomplete");
    for (table, field) in FIELDS {
        let Some(field) = field else { continue };
        let is_empty = export[field].as_array().is_some_and(Vec::is_empty);
        assert!(!export[field].is_null() && !is_empty, "{table}: {export}");
    }
    assert_eq!(
        (&export["user"]["email"], &export["user"]["username"]),
        (&json!(NEW_EMAIL), &json!(USERNAME))
    );
    assert_eq!((&export["has_password"], &export["recovery_codes_remaining"]), (&json!(true), &json!(10)));
    assert!(export["totp"]["confirmed_at"].is_string());
    for (name, field) in [
        ("sessions", "ended_at"),
        ("sessions", "authenticated_at"),
        ("sessions", "device_name"),
        ("pending_logins", "user_agent"),
        ("passkeys", "last_used_at"),
        ("personal_tokens", "last_used_at"),
        ("flows", "address"),
        ("flows", "used_at"),
        ("flows", "superseded_at"),
        ("mails", "next_attempt_at"),
        ("idempotency_keys", "status"),
    ] {
        assert!(has(&export, name, field), "{name}.{field}: {export}");
    }
    let titles: BTreeSet<&str> =
        list(&export, "trips").iter().map(|trip| trip["title"].as_str().unwrap()).collect();
    assert_eq!(titles, BTreeSet::from(["Canary Islands", "canary"]));
    let shared = list(&export, "trips").iter().find(|trip| trip["title"] == "Canary Islands").unwrap();
    assert_eq!(list(&export, "shares")[0]["trip_id"], shared["id"]);
    assert!(list(&export, "mails").iter().all(|mail| mail["to"] == NEW_EMAIL), "{export}");
    assert!(list(&export, "events").iter().any(|event| event["type"] == "data_exported"), "{export}");
}

#[tokio::test]
async fn the_export_contains_no_credential() {
    // S-65
    let app = TestApp::start().await;
    let everything = Everything::new(&app).await;
    let Everything { client, enrolled } = &everything;
    let trips = client.get("/api/v1/trips?q=islands").await.expect(200).json();
    let link = format!("/api/v1/trips/{}/share", trips["items"][0]["id"].as_str().unwrap());
    let share = client.put(&link).await.expect(200).json();
    let text = client.get(EXPORT).await.expect(200).text().to_lowercase();
    let grant = client.grant();
    let mut secrets = vec![PASSWORD.to_owned(), "$2b$".to_owned(), "tgp_".to_owned()];
    for field in ["access_token", "refresh_token", "device_token", "flow_id"] {
        secrets.push(grant[field].as_str().unwrap().to_lowercase());
    }
    secrets.push(share["token"].as_str().unwrap().to_lowercase());
    secrets.extend(enrolled.recovery_codes.iter().cloned());
    for row in rows::flows(&app).await {
        secrets.push(row.id.to_string());
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn mails_that_failed_and_an_unconfirmed_authenticator_app_are_exported() {
    let app = TestApp::start().await;
    let everything = Everything::new(&app).await;
    app.mails().await;
    app.clock.advance(TimeDelta::days(4));
    app.mails().await;
    let client = everything.log_in_again(&app).await;
    forgot(&app).await;
    app.mails().await;
    let export = export(&client).await;
    for field in ["failed_at", "next_attempt_at"] {
        assert!(has(&export, "mails", field), "{field}: {export}");
    }
    let brian = app.sign_up("brian").await;
    brian.post("/api/v1/me/totp").await.expect(200);
    let totp = self::export(&brian).await["totp"].clone();
    assert!(totp["pending_until"].is_string() && totp.get("confirmed_at").is_none(), "{totp}");
}

#[tokio::test]
async fn the_export_is_an_uncompressed_attachment_that_must_not_be_cached() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let reply = ada.get(EXPORT).header("accept-encoding", "gzip").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename=\"tripgate-export-2026-03-02.json\""
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(reply.headers.get("content-encoding").is_none());
    assert!(ada.head(EXPORT).await.expect(200).body.is_empty());
}

#[tokio::test]
async fn an_export_contains_only_the_data_of_the_caller() {
    // S-53
    let app = TestApp::start().await;
    Everything::new(&app).await;
    let brian = app.sign_up("brian").await;
    let text = brian.get(EXPORT).await.expect(200).text().to_lowercase();
    assert!(!text.contains("canary"), "{text}");
    brian.delete("/api/v1/me").await.expect(204);
    brian.get(EXPORT).await.expect(401).problem("invalid_token");
}

#[tokio::test]
async fn the_export_requires_the_scope_account_and_contains_trips_only_with_the_scope_trips_read() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    assert_eq!(list(&export(&ada).await, "trips").len(), 1);
    let account = export(&app.log_in_for("ada", "account").await).await;
    assert_eq!(list(&account, "sessions").len(), 2);
    for name in ["trips", "deleted_trips", "shares", "idempotency_keys", "sync_operations"] {
        assert!(account.get(name).is_none(), "{account}");
    }
    let reader = app.log_in_for("ada", "trips:read").await;
    reader.get(EXPORT).await.expect(403).problem("insufficient_scope");
}

/// Creates trips by sync, up to 500 in a request.
async fn create_trips(app: &TestApp, client: &Client, count: usize) {
    let ids: Vec<Uuid> = (0..count).map(|_| app.clock.new_id()).collect();
    for batch in ids.chunks(500) {
        let operation =
            |id: &Uuid| json!({ "op_id": id, "op": "create", "id": id, "trip": { "title": "x" } });
        let operations: Vec<Value> = batch.iter().map(operation).collect();
        let sent = client.post("/api/v1/sync").json(&json!({ "operations": operations }));
        assert_eq!(sent.await.expect(200).json()["results"].as_array().unwrap().len(), batch.len());
    }
}

#[tokio::test]
async fn a_long_export_contains_each_trip_once_even_if_other_trips_are_deleted_during_it() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trips(&app, &ada, 1_100).await;
    let before = export(&ada).await;
    assert_eq!((list(&before, "trips").len(), list(&before, "sync_operations").len()), (1_100, 1_100));
    let ids = |export: &Value| -> Vec<Value> {
        list(export, "trips").iter().map(|trip| trip["id"].clone()).collect()
    };
    // The first trip and every hundredth trip after it are deleted while the export runs.
    let doomed: Vec<Value> = ids(&before).into_iter().step_by(100).collect();
    let delete = async |id: &Value| ada.delete(&format!("/api/v1/trips/{}", id.as_str().unwrap())).await;
    let (during, deleted): (Value, Vec<Reply>) =
        tokio::join!(export(&ada), async { join_all(doomed.iter().map(&delete)).await });
    assert!(deleted.iter().all(|reply| reply.status == 204));
    let found = ids(&during);
    let unique: BTreeSet<String> = found.iter().map(Value::to_string).collect();
    assert_eq!(unique.len(), found.len(), "a trip occurs twice");
    let expected = ids(&before).into_iter().filter(|id| !doomed.contains(id)).map(|id| id.to_string());
    for id in expected {
        assert!(unique.contains(&id), "{id} is missing");
    }
}
