//! The features that concern the master secret: the code does not contain it, and the operator configures
//! where it is stored.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::PASSWORD;
use crate::harness::process::{Process, command};

const SECRET: &str = "a secret of the operator with enough bytes";

async fn can_log_in(server: &Process) -> bool {
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let response = server.call(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    response.status() == 200
}

#[tokio::test]
async fn the_secret_can_be_set_in_a_dot_env_file() {
    // Row 78
    let dir = TempDir::new().unwrap();
    let dot_env = dir.path().join(".env");
    fs::write(&dot_env, format!("TRIPGATE_SECRET='{SECRET}'\n")).unwrap();
    let server = Process::serve(dir.path(), &[]);
    server.sign_up("ada").await;
    assert!(!dir.path().join("data/secret").exists(), "a second secret was created");
    drop(server);
    assert!(can_log_in(&Process::serve(dir.path(), &[])).await);
    // Another secret can't decrypt the signing key.
    fs::write(&dot_env, format!("TRIPGATE_SECRET='another {SECRET}'\n")).unwrap();
    assert!(!can_log_in(&Process::serve(dir.path(), &[])).await);
}

#[tokio::test]
async fn an_environment_variable_can_set_the_path_of_the_secret() {
    // Row 79
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("operator.secret");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let serve = || {
        let mut command = command(dir.path(), &["--listen", "127.0.0.1:0", "--bcrypt-cost", "4"]);
        command.env("TRIPGATE_SECRET_FILE", &file);
        Process::start(command)
    };
    let server = serve();
    server.sign_up("ada").await;
    assert!(!dir.path().join("data/secret").exists(), "a second secret was created");
    drop(server);
    assert!(can_log_in(&serve()).await);
    fs::write(&file, format!("another {SECRET}")).unwrap();
    assert!(!can_log_in(&serve()).await);
}
