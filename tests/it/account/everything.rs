//! A user who has used every feature, so that every table with users' data has a row of the user.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::all_tables::columns;
use crate::harness::passkeys::{begin_registration, register};
use crate::harness::totp::{Enrolled, enrol, mfa_token};
use crate::harness::{Client, PASSWORD, TestApp};

/// A word that occurs in every text that the user enters.
pub(super) const CANARY: &str = "canary";
pub(super) const EMAIL: &str = "Canary+Owner@example.org";
pub(super) const NEW_EMAIL: &str = "canary+moved@example.org";
pub(super) const USERNAME: &str = "CanaryName";
const AGENT: &str = "CanaryTrips/1.4";
const TRIPS: &str = "/api/v1/trips";

/// The columns that contain the id of a user.
pub(crate) const OWNERS: [&str; 2] = ["user_id", "owner_id"];

/// Returns the tables whose rows belong to a user, from the catalog of the database.
pub(super) async fn owned_tables(app: &TestApp) -> BTreeSet<String> {
    let columns = columns(app).await;
    let owned = columns.into_iter().filter(|(_, column)| OWNERS.contains(&column.as_str()));
    owned.map(|(table, _)| table).collect()
}

/// The user, and what the tests need to log in again.
pub(crate) struct Everything {
    pub(crate) client: Client,
    pub(super) enrolled: Enrolled,
}

async fn sign_up(app: &TestApp) -> Client {
    let body = json!({
        "email": EMAIL, "username": USERNAME, "display_name": "Zora Canary", "locale": "en-GB",
        "device_name": "Canary phone", "password": PASSWORD,
    });
    let call = app.anonymous().post("/api/v1/auth/signup").header("user-agent", AGENT);
    app.anonymous().with_grant(&call.json(&body).await.expect(201).json())
}

async fn log_in(app: &TestApp) -> Client {
    let body = json!({ "identifier": EMAIL, "password": PASSWORD, "device_name": "Canary tablet" });
    let call = app.anonymous().post("/api/v1/auth/login").header("user-agent", AGENT);
    app.anonymous().with_grant(&call.json(&body).await.expect(200).json())
}

/// Confirms the address, changes it, and requests codes that are not used.
async fn use_mails(app: &TestApp, client: &Client) {
    let confirm = "/api/v1/auth/email/confirm";
    let flow = &client.grant()["flow_id"];
    // Skip the newest mail, which reports a new device and has no code.
    let mails = app.mails().await;
    let confirmation = mails.iter().find(|mail| mail.to() == EMAIL && mail.code.is_some()).unwrap();
    let code = json!({ "flow_id": flow, "code": confirmation.code() });
    client.post(confirm).json(&code).await.expect(204);
    let change =
        client.post("/api/v1/me/email").json(&json!({ "email": NEW_EMAIL })).await.expect(202).json();
    let wrong = json!({ "flow_id": change["flow_id"], "code": "00000000" });
    client.post(confirm).json(&wrong).await.expect(422).problem("invalid_code");
    let code = json!({ "flow_id": change["flow_id"], "code": app.mail_to(NEW_EMAIL).await.code() });
    client.post(confirm).json(&code).await.expect(204);
    // From now on, mails cannot be delivered and remain in the queue.
    app.mails().await;
    let outbox = app.settings().data_dir.join("outbox");
    std::fs::rename(&outbox, app.settings().data_dir.join("delivered")).unwrap();
    std::fs::write(outbox, "not a directory").unwrap();
    for _ in 0..2 {
        forgot(app).await;
    }
}

/// Requests a mail that resets the password.
pub(super) async fn forgot(app: &TestApp) {
    let body = json!({ "email": NEW_EMAIL });
    app.anonymous().post("/api/v1/auth/password/forgot").json(&body).await.expect(202);
}

/// Creates, shares and deletes trips, by single requests and by sync.
async fn use_trips(app: &TestApp, client: &Client) {
    let stop = json!({ "name": "Canary wharf", "latitude": 51.5, "longitude": 0, "notes": "canary" });
    let trip = json!({
        "title": "Canary Islands", "destination": "canary", "notes": "canary", "stops": [stop],
        "start_date": "2026-05-01", "end_date": "2026-05-02", "time_zone": "Atlantic/Canary",
    });
    let created = client.post(TRIPS).header("idempotency-key", "canary-1").json(&trip).await.expect(201);
    client.put(&format!("{}/share", created.header("location"))).await.expect(200);
    let gone = client.post(TRIPS).json(&json!({ "title": "canary" })).await.expect(201);
    client.delete(gone.header("location")).await.expect(204);
    let operation = json!({
        "op_id": app.clock.new_id(), "op": "create", "id": app.clock.new_id(), "trip": { "title": "canary" },
    });
    client.post("/api/v1/sync").json(&json!({ "operations": [operation] })).await.expect(200);
}

/// Creates and uses a personal access token.
async fn use_token(app: &TestApp, client: &Client) {
    let body = json!({
        "name": "Canary script", "scope": "trips:read", "digest": true,
        "expires_at": app.clock.now() + TimeDelta::days(400),
    });
    let token = client.post("/api/v1/me/tokens").json(&body).await.expect(201).json();
    client.with_token(token["token"].as_str().unwrap()).get(TRIPS).await.expect(200);
}

/// Registers and uses a passkey, and creates a challenge that is not used.
async fn use_passkey(app: &TestApp, client: &Client) {
    let mut device = register(client).await;
    let body = device.log_in(&app.anonymous()).await;
    app.anonymous().post("/api/v1/auth/passkeys/login").json(&body).await.expect(200);
    begin_registration(client).await;
}

/// Starts a login that waits for the second factor.
async fn start_login(app: &TestApp) {
    let body = json!({ "identifier": NEW_EMAIL, "password": PASSWORD, "device_name": "Canary watch" });
    let call = app.anonymous().post("/api/v1/auth/login").header("user-agent", AGENT);
    call.json(&body).await.expect(401).problem("mfa_required");
}

/// Writes the data that the server collects in memory to the database.
pub(crate) async fn flush(app: &TestApp) {
    let services = app.services();
    services.events.flush().await.unwrap();
    services.sessions.flush_token_usage().await.unwrap();
    services.personal_tokens.flush_uses().await.unwrap();
}

impl Everything {
    pub(crate) async fn new(app: &TestApp) -> Self {
        let client = sign_up(app).await;
        for _ in 0..2 {
            let other = log_in(app).await;
            let end = format!("/api/v1/me/sessions/{}", other.grant()["session_id"].as_str().unwrap());
            client.delete(&end).await.expect(204);
        }
        use_mails(app, &client).await;
        use_trips(app, &client).await;
        use_token(app, &client).await;
        use_passkey(app, &client).await;
        let again = client.post("/api/v1/me/reauthenticate").json(&json!({ "password": PASSWORD }));
        again.await.expect(200);
        let enrolled = enrol(&client, app.clock.now()).await;
        start_login(app).await;
        let body = json!({ "identifier": NEW_EMAIL, "password": "a wrong one" });
        app.anonymous().post("/api/v1/auth/login").json(&body).await.expect(401);
        flush(app).await;
        Self { client, enrolled }
    }

    /// Logs in with the second factor.
    pub(super) async fn log_in_again(&self, app: &TestApp) -> Client {
        let token = mfa_token(&app.anonymous(), NEW_EMAIL).await;
        let code = self.enrolled.authenticator.code_at(app.clock.now());
        let body: Value = json!({ "mfa_token": token, "totp_code": code });
        let grant = app.anonymous().post("/api/v1/auth/login/mfa").json(&body).await.expect(200).json();
        app.anonymous().with_grant(&grant)
    }
}
