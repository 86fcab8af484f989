//! Rotation of the master secret: sessions and running servers are unaffected, and no crash loses a key.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tripgate::config::Secret;
use tripgate::secrets::{MacKey, MasterSecret, Purpose, SecretFile, Vault};
use tripgate::sessions::RefreshToken;

use super::{client_on, key_rotation, run_command, start_with_same_data, wait_for_propagation};
use crate::harness::process::{command, finish, stderr, stdout};
use crate::harness::{Client, TestApp, rows};

fn secret(app: &TestApp) -> MasterSecret {
    MasterSecret::read(&app.settings().secret_file).unwrap()
}

fn lines(app: &TestApp) -> Vec<String> {
    let text = fs::read_to_string(&app.settings().secret_file).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Returns whether a secret in the secret file verifies the MAC of the client's refresh token.
fn verifies(app: &TestApp, client: &Client) -> bool {
    let mac_key = MacKey::from_secret(&secret(app), Purpose::RefreshTokens);
    RefreshToken::decode(client.grant()["refresh_token"].as_str().unwrap(), &mac_key).is_some()
}

/// Returns the number of keys that are encrypted under the current secret.
async fn count_current(app: &TestApp) -> usize {
    let vault = Vault::from_secret(&secret(app), Purpose::KeyRing);
    let keys = rows::signing_keys(app).await;
    keys.iter().filter(|key| vault.is_current(&key.kid, &key.sealed_private_key)).count()
}

#[tokio::test]
async fn rotating_the_master_secret_logs_no_user_out() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for title in ["Lisbon", "Porto"] {
        ada.post("/api/v1/trips").json(&json!({ "title": title })).await.expect(201);
    }
    let page = ada.get("/api/v1/trips?limit=1").await.expect(200).json();
    let next = format!("/api/v1/trips?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let before = lines(&app);
    let output = run_command(&app, &["secret", "rotate"]).await;
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{text}");
    let after = lines(&app);
    assert!(!text.contains(&before[0]) && !text.contains(&after[0]), "{text}");
    assert_eq!(after[1..], [format!("old {}", before[0])]);
    assert_ne!(after[0], before[0]);
    let mode = fs::metadata(&app.settings().secret_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(count_current(&app).await, 2);
    // The running server has only the old secret. It continues to work, even after the next key rotation.
    wait_for_propagation().await;
    app.log_in("ada").await.get(&next).await.expect(200);
    key_rotation(&app).rotate().await.unwrap();
    wait_for_propagation().await;
    ada.get("/api/v1/me").await.expect(200);
    app.log_in("ada").await.get("/api/v1/me").await.expect(200);
    // After a restart, the tokens and the cursor that were issued before the rotation are still valid.
    let app = app.restart().await;
    client_on(&app, &ada).get("/api/v1/me").await.expect(200);
    client_on(&app, &ada).get(&next).await.expect(200);
    assert!(verifies(&app, &ada));
    let again = app.log_in("ada").await;
    again.get("/api/v1/me").await.expect(200);
    assert!(verifies(&app, &again));
    // Without the `old` line in the secret file, only the refresh token from after the rotation is valid.
    fs::write(&app.settings().secret_file, &after[0]).unwrap();
    assert!(verifies(&app, &again) && !verifies(&app, &ada));
}

#[tokio::test]
async fn a_crash_after_the_secret_file_is_written_and_before_the_keys_are_reencrypted_loses_no_key() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    SecretFile::open(&app.settings().secret_file).unwrap().advance().unwrap();
    let interrupted = lines(&app);
    assert_eq!(count_current(&app).await, 0);
    let app = app.restart().await;
    client_on(&app, &ada).get("/api/v1/me").await.expect(200);
    app.log_in("ada").await.get("/api/v1/me").await.expect(200);
    key_rotation(&app).rotate().await.unwrap();
    // The next run of the command completes the interrupted rotation and creates no new secret.
    let output = run_command(&app, &["secret", "rotate"]).await;
    assert!(stdout(&output).starts_with("2 keys were still encrypted under an old secret"), "{output:?}");
    assert_eq!((lines(&app), count_current(&app).await), (interrupted, 3));
    let app = app.restart().await;
    assert!(verifies(&app, &ada));
    client_on(&app, &ada).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn replicas_accept_a_prepared_secret_before_it_is_used() {
    let app = TestApp::start().await;
    let before = lines(&app);
    assert!(run_command(&app, &["secret", "prepare"]).await.status.success());
    let prepared = lines(&app);
    assert_eq!(prepared[0], before[0]);
    let next = prepared[1].strip_prefix("next ").unwrap().to_owned();
    assert!(
        stdout(&run_command(&app, &["secret", "prepare"]).await).contains("already; nothing was changed")
    );
    assert_eq!(lines(&app), prepared);
    // This replica starts with both secrets and is not restarted later.
    let slow = app.replica().await;
    let output = run_command(&app, &["secret", "rotate"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(lines(&app), [next, format!("old {}", before[0])]);
    let app = app.restart().await;
    let ada = app.sign_up("ada").await;
    for title in ["Lisbon", "Porto"] {
        ada.post("/api/v1/trips").json(&json!({ "title": title })).await.expect(201);
    }
    let page = ada.get("/api/v1/trips?limit=1").await.expect(200).json();
    let next = format!("/api/v1/trips?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    client_on(&slow, &ada).get(&next).await.expect(200);
    // The replica that was not restarted can also decrypt a key that is encrypted under the new secret.
    key_rotation(&app).rotate().await.unwrap();
    key_rotation(&app).rotate().await.unwrap();
    wait_for_propagation().await;
    slow.log_in("ada").await.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_secret_in_the_settings_is_rotated_by_keeping_the_old_secret_in_a_second_line() {
    let one = "the first secret of the operator, of enough bytes";
    let two = "the second secret of the operator, of enough bytes";
    let app = TestApp::with(|settings| settings.secret = Some(Secret::new(one))).await;
    let ada = app.sign_up("ada").await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |secret: &str, args: &[&str]| {
        let mut command = command(dir.path(), args);
        command.env("TRIPGATE_DATABASE_URL", app.settings().database_url.expose());
        command.env("TRIPGATE_SECRET", secret);
        tokio::task::spawn_blocking(move || finish(&mut command)).await.unwrap()
    };
    let output = run(one, &["secret", "prepare"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("add a second line"));
    let output = run(one, &["secret", "rotate"]).await;
    assert!(stdout(&output).starts_with("0 keys"), "{output:?}");
    let both = format!("{two}\nold {one}");
    let changed =
        start_with_same_data(&app, |settings| settings.secret = Some(Secret::new(both.clone()))).await;
    client_on(&changed, &ada).get("/api/v1/me").await.expect(200);
    changed.log_in("ada").await.get("/api/v1/me").await.expect(200);
    assert!(stdout(&run(&both, &["secret", "rotate"]).await).starts_with("2 keys"));
    let alone = start_with_same_data(&app, |settings| settings.secret = Some(Secret::new(two))).await;
    alone.log_in("ada").await.get("/api/v1/me").await.expect(200);
    let broken = run(&format!("{one}\n{two}"), &["keys", "rotate"]).await;
    assert_eq!(broken.status.code(), Some(2), "{broken:?}");
}

#[tokio::test]
async fn concurrent_changes_of_the_secret_file_are_rejected() {
    let app = TestApp::start().await;
    let lock = SecretFile::open(&app.settings().secret_file).unwrap();
    let before = lines(&app);
    let output = run_command(&app, &["secret", "rotate"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("failed to lock"), "{}", stderr(&output));
    assert_eq!(lines(&app), before);
    drop(lock);
    assert!(run_command(&app, &["secret", "rotate"]).await.status.success());
}
