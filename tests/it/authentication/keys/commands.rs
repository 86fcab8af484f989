//! `tripgate keys` while a server runs.

use super::signers::read;
use super::{client_on, run_command, wait_for_propagation};
use crate::harness::process::{stderr, stdout};
use crate::harness::{TestApp, rows};

#[tokio::test]
async fn the_command_keys_list_prints_every_key_without_private_key_material() {
    let app = TestApp::start().await;
    let output = run_command(&app, &["keys", "list"]).await;
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    let head: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["kid", "alg", "status", "created", "activated", "retired", "deleted"]);
    let keys = rows::signing_keys(&app).await;
    assert_eq!(text.lines().count(), 1 + keys.len());
    for key in keys {
        let line = text.lines().find(|line| line.starts_with(&key.kid)).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let created = "2026-03-02T08:30:00Z";
        let active = if key.status == "active" { created } else { "-" };
        assert_eq!(words[1..], ["ES256", &key.status, created, active, "-", "-"]);
    }
}

#[tokio::test]
async fn users_stay_logged_in_after_the_command_keys_rotate() {
    // S-33
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let output = run_command(&app, &["keys", "rotate"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let active = rows::active_key(&app).await.kid;
    assert_eq!(stdout(&output), format!("{active} signs from now on\n"));
    wait_for_propagation().await;
    let again = app.log_in("ada").await;
    assert_eq!(read(again.token(), 0)["kid"], active);
    for client in [&ada, &again] {
        client.get("/api/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn the_command_keys_revoke_takes_effect_within_a_second() {
    // S-34
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    client_on(&replica, &ada).get("/api/v1/me").await.expect(200);
    let kid = rows::active_key(&app).await.kid;
    let output = run_command(&app, &["keys", "revoke", "--", &kid]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    wait_for_propagation().await;
    for server in [&app, &replica] {
        client_on(server, &ada).get("/api/v1/me").await.expect(401);
        server.log_in("ada").await.get("/api/v1/me").await.expect(200);
    }
    for unknown in [kid.as_str(), "unknown\n\u{1b}[2J"] {
        let output = run_command(&app, &["keys", "revoke", "--", unknown]).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("there is no key") && text.lines().count() == 1, "{text:?}");
        assert!(!text.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn without_the_correct_master_secret_no_command_rotates_or_revokes_a_key_or_creates_a_secret() {
    // S-36
    let app = TestApp::start().await;
    let before = rows::signing_keys(&app).await;
    let file = &app.settings().secret_file;
    let correct = std::fs::read(file).unwrap();
    std::fs::write(file, "another secret, put there by mistake, of enough bytes\n").unwrap();
    let kid = before[0].kid.clone();
    for args in [&["keys", "rotate"][..], &["keys", "revoke", "--", &kid], &["secret", "rotate"]] {
        let output = run_command(&app, args).await;
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("does not decrypt the signing keys; nothing was changed"), "{text}");
    }
    std::fs::remove_file(file).unwrap();
    let output = run_command(&app, &["keys", "rotate"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!file.exists(), "a new secret was created, which decrypts no key");
    assert!(run_command(&app, &["keys", "list"]).await.status.success());
    std::fs::write(file, correct).unwrap();
    assert_eq!(rows::signing_keys(&app).await, before);
}
