//! The keys that sign tokens: every algorithm, their rotation while servers run, what others may read of
//! them, and the secret that seals them.

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

use crate::harness::{Client, TestApp};
use crate::process::{command, finish};

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

/// Another server over the same database whose settings were changed.
async fn beside(app: &TestApp, change: impl FnOnce(&mut tripgate::config::Settings)) -> TestApp {
    let same = app.settings().clone();
    TestApp::with(|settings| {
        *settings = same;
        change(settings);
    })
    .await
}

/// As an operator has it, beside the server.
fn lifecycle(app: &TestApp) -> KeyRotation {
    let secret = MasterSecret::read(&app.settings().secret_file).unwrap();
    KeyRotation::new(&app.rooms().db, app.clock.clone(), &secret)
}

/// The program beside the server, on the same database and secret.
async fn tool(app: &TestApp, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let settings = app.settings();
    let mut command = command(dir.path(), args);
    command
        .env("TRIPGATE_DATABASE_URL", settings.database_url.expose())
        .env("TRIPGATE_SECRET_FILE", &settings.secret_file);
    // The server goes on meanwhile, which runs in this thread.
    tokio::task::spawn_blocking(move || finish(&mut command)).await.unwrap()
}

/// The same token, shown to another server.
fn on(app: &TestApp, client: &Client) -> Client {
    app.anonymous().granted(client.grant())
}

/// As long as a replica may take to learn of a change.
async fn a_second() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}
