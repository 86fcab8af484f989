//! `kill -9` of a server after it has queued an email, and before the email is delivered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::server::{Behaviour, Encryption, MailServer};
use crate::harness::process::Process;
use crate::harness::{PASSWORD, ReceivedMail, TestApp, rows};

/// How long to wait for an email.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Starts the binary, which sends its emails to this mail server.
fn serve(app: &TestApp, dir: &Path, mails: &MailServer) -> Process {
    let url = format!("smtp+plain://localhost:{}", mails.address.port());
    let args = ["--smtp-url", &url, "--public-url", "https://tripgate.test"];
    Process::serve_over(dir, app.settings(), &args)
}

/// Waits until the condition holds.
async fn wait_for(is_met: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_met() {
        assert!(begin.elapsed() < TIMEOUT, "the email did not arrive");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the subjects of the accepted emails by their `Message-ID`.
fn accepted(mails: &MailServer) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for accepted in mails.accepted() {
        let mail = ReceivedMail::parse(&accepted.message);
        found.entry(mail.header("Message-ID").to_owned()).or_default().push(mail.subject().to_owned());
    }
    found
}

async fn post(server: &Process, path: &str, body: &serde_json::Value, status: u16) {
    let response = server.call(Method::POST, path).json(body).send().await.unwrap();
    assert_eq!(response.status(), status, "{path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_no_email_is_lost_and_a_repeated_email_keeps_its_message_id() {
    // S-86. `app` provides the database and the secret. The clock of `app` is behind the system clock, which
    // the killed server uses, so `app` sends none of these emails.
    let app = TestApp::start().await;
    let mails = MailServer::start(Encryption::None, &[]).await;
    let dir = tempfile::TempDir::new().unwrap();

    // Kill the server after the mail server has accepted the email, and before the mail server responds.
    mails.behave(Behaviour::SilentAfterMessage);
    let server = serve(&app, dir.path(), &mails);
    let account = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    post(&server, "/api/v1/auth/signup", &account, 201).await;
    wait_for(|| mails.accepted().len() == 1).await;
    server.kill();
    rows::expire_leases(&app).await;
    mails.behave(Behaviour::Normal);
    let server = serve(&app, dir.path(), &mails);
    wait_for(|| mails.accepted().len() == 2).await;
    let confirmation = ["Confirm your email address"; 2].map(str::to_owned).to_vec();
    assert_eq!(accepted(&mails).into_values().collect::<Vec<_>>(), std::slice::from_ref(&confirmation));

    // Kill the server after it has committed the requests that cause emails, and before the delivery. First
    // wait until the previous delivery is recorded. If the server were killed before that, it would correctly
    // repeat the delivery.
    let begin = Instant::now();
    while !app.services().mail.list().await.unwrap().is_empty() {
        assert!(begin.elapsed() < TIMEOUT, "the delivery was not recorded");
        sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    rows::expire_leases(&app).await;
    mails.behave(Behaviour::Hang);
    let server = serve(&app, dir.path(), &mails);
    let login = json!({ "identifier": "ada", "password": PASSWORD, "device_name": "Tablet" });
    post(&server, "/api/v1/auth/login", &login, 200).await;
    post(&server, "/api/v1/auth/password/forgot", &json!({ "email": "ada@example.org" }), 202).await;
    server.kill();
    rows::expire_leases(&app).await;
    mails.behave(Behaviour::Normal);
    let server = serve(&app, dir.path(), &mails);
    wait_for(|| accepted(&mails).len() == 3).await;
    let mut found: Vec<Vec<String>> = accepted(&mails).into_values().collect();
    found.sort();
    let once = |subject: &str| vec![subject.to_owned()];
    assert_eq!(found, [once("Choose a new password"), confirmation, once("New login to your account")]);
    drop(server);
}
