//! `tripgate users`: the commands of the operator, while a server runs.

mod add;
mod audit;
mod credentials;
mod import;
mod list;
mod state;

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;
use tripgate::clock::Clock;

use crate::harness::process::{command, stderr, stdout};
use crate::harness::{Client, PASSWORD, PUBLIC_URL, TestApp};

/// Runs a command with the settings of the server, and `input` as its standard input.
fn run_with_input(app: &TestApp, args: &[&str], input: &[u8]) -> Output {
    let settings = app.settings();
    let mut command = command(settings.data_dir.parent().unwrap(), args);
    command
        .env("TRIPGATE_DATABASE_URL", settings.database_url.expose())
        .env("TRIPGATE_SECRET_FILE", &settings.secret_file)
        .env("TRIPGATE_DATA_DIR", &settings.data_dir)
        .env("TRIPGATE_PUBLIC_URL", PUBLIC_URL)
        .env("TRIPGATE_BCRYPT_COST", "4");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Writing fails if the command reads no input and has closed the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a `users` command, which must succeed. Then makes the server read the changes, which it would
/// otherwise read at its next regular poll.
async fn users(app: &TestApp, args: &[&str]) -> String {
    let output = run_with_input(app, &[&["users"], args].concat(), b"");
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    settle(app).await;
    stdout(&output)
}

/// Runs a `users` command with `--json`, and returns its output.
async fn users_json(app: &TestApp, args: &[&str]) -> Value {
    serde_json::from_str(&users(app, &[args, &["--json"]].concat()).await).unwrap()
}

/// Runs a command that must be refused, and returns its message.
fn refused(app: &TestApp, args: &[&str]) -> String {
    let output = run_with_input(app, &[&["users"], args].concat(), b"");
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{args:?}: {}", stdout(&output));
    stderr(&output)
}

/// Advances the server's clock to the system time, which the commands use, and makes the server read the
/// revocations from the database.
async fn settle(app: &TestApp) {
    app.clock.advance(Clock::system().now() - app.clock.now());
    app.poll().await;
}

/// Returns the types of the events that the user sees, the newest first.
async fn event_types(client: &Client) -> Vec<String> {
    let page = client.get("/api/v1/me/events").await.expect(200).json();
    let items = page["items"].as_array().unwrap();
    items.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// The password of every account that the harness creates.
const OLD_PASSWORD: &str = PASSWORD;
