//! Signing keys: every algorithm, rotation while servers run, the publication of the keys, and the master
//! secret that encrypts the keys.

mod commands;
mod discovery;
mod forged;
mod rotation;
mod secret;
mod signers;
mod unknown_kid;

use std::process::Output;
use std::time::Duration;

use tripgate::config::SigningAlg;
use tripgate::secrets::MasterSecret;
use tripgate::tokens::KeyRotation;

use crate::harness::process::{command, finish};
use crate::harness::{Client, TestApp};

/// Every algorithm and its name.
const ALGORITHMS: [(SigningAlg, &str); 4] = [
    (SigningAlg::Es256, "ES256"),
    (SigningAlg::EdDsa, "EdDSA"),
    (SigningAlg::Rs256, "RS256"),
    (SigningAlg::Hs256, "HS256"),
];

async fn signing_with(alg: SigningAlg) -> TestApp {
    TestApp::with(|settings| settings.signing_alg = alg).await
}

/// Starts another server with the same data, changed settings and a separate clock.
async fn start_with_same_data(
    app: &TestApp,
    change: impl FnOnce(&mut tripgate::config::Settings),
) -> TestApp {
    let same = app.settings().clone();
    TestApp::with(|settings| {
        *settings = same;
        change(settings);
    })
    .await
}

/// Returns a `KeyRotation` that works on the database directly, as the command line does.
fn key_rotation(app: &TestApp) -> KeyRotation {
    let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
    KeyRotation::new(&app.services().db, app.clock.clone(), &secret)
}

/// Runs the binary with the database and secret of the running server.
pub(crate) async fn run_command(app: &TestApp, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let settings = app.settings();
    let mut command = command(dir.path(), args);
    command
        .env("TRIPGATE_DATABASE_URL", settings.database_url.expose())
        .env("TRIPGATE_SECRET_FILE", &settings.secret_file);
    // Waiting for a process blocks the thread.
    tokio::task::spawn_blocking(move || finish(&mut command)).await.unwrap()
}

/// Returns a client of the server `app` with the tokens of `client`.
fn client_on(app: &TestApp, client: &Client) -> Client {
    app.anonymous().with_grant(client.grant())
}

/// Waits for the longest time that a server can take to notice that the keys have changed.
async fn wait_for_propagation() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}
