//! Clocks that jump, or that differ between the server and the database.

mod jumps;
mod processes;
mod shim;

use serde_json::{Value, json};
use tripgate::housekeeping;

use crate::harness::TestApp;

/// Runs all jobs that depend on the time, as the server does every minute.
async fn run_jobs(app: &TestApp) {
    let services = app.services();
    housekeeping::sweep(services.clone()).await;
    housekeeping::rotate_keys(services.clone()).await;
    housekeeping::sweep_sync(services.clone()).await;
}

/// Sends a refresh request; returns the status and the body.
async fn refresh(app: &TestApp, grant: &Value) -> (u16, Value) {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    let reply = app.anonymous().post("/api/v1/auth/refresh").json(&body).await;
    (reply.status, reply.json())
}

async fn log_out(app: &TestApp, grant: &Value) {
    let body = json!({ "refresh_token": grant["refresh_token"] });
    app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
}

/// Returns the status of a request with the access token of a grant.
async fn status(app: &TestApp, grant: &Value) -> u16 {
    app.anonymous().with_grant(grant).get("/api/v1/auth/session").await.status
}
