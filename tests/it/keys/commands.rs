//! `tripgate keys`, beside a server that runs.

use super::signers::read;
use super::{a_second, on, tool};
use crate::harness::TestApp;
use crate::process::{stderr, stdout};
use crate::stored;

#[tokio::test]
async fn the_list_shows_every_key_and_nothing_private() {
    let app = TestApp::start().await;
    let listed = tool(&app, &["keys", "list"]).await;
    let text = stdout(&listed);
    assert!(listed.status.success(), "{}", stderr(&listed));
    let head: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["kid", "alg", "status", "created", "activated", "retired", "gone"]);
    let keys = stored::signing_keys(&app).await;
    assert_eq!(text.lines().count(), 1 + keys.len());
    for key in keys {
        let line = text.lines().find(|line| line.starts_with(&key.kid)).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let made = "2026-03-02T08:30:00Z";
        let active = if key.status == "active" { made } else { "-" };
        assert_eq!(words[1..], ["ES256", &key.status, made, active, "-", "-"]);
    }
}

#[tokio::test]
async fn a_rotation_by_hand_logs_nobody_out() {
    // S-33
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let done = tool(&app, &["keys", "rotate"]).await;
    assert!(done.status.success(), "{}", stderr(&done));
    let active = stored::active_key(&app).await.kid;
    assert_eq!(stdout(&done), format!("{active} signs from now on\n"));
    a_second().await;
    let again = app.log_in("ada").await;
    assert_eq!(read(again.token(), 0)["kid"], active);
    for client in [&ada, &again] {
        client.get("/api/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn a_revocation_by_hand_takes_effect_within_a_second() {
    // S-34
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    on(&replica, &ada).get("/api/v1/me").await.expect(200);
    let kid = stored::active_key(&app).await.kid;
    let done = tool(&app, &["keys", "revoke", "--", &kid]).await;
    assert!(done.status.success(), "{}", stderr(&done));
    a_second().await;
    for server in [&app, &replica] {
        on(server, &ada).get("/api/v1/me").await.expect(401);
        server.log_in("ada").await.get("/api/v1/me").await.expect(200);
    }
    for unknown in [kid.as_str(), "nobody\n\u{1b}[2J"] {
        let refused = tool(&app, &["keys", "revoke", "--", unknown]).await;
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{text}");
        assert!(text.contains("there is no key") && text.lines().count() == 1, "{text:?}");
        assert!(!text.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn under_a_wrong_secret_the_commands_refuse_and_make_none() {
    // S-36
    let app = TestApp::start().await;
    let before = stored::signing_keys(&app).await;
    let file = &app.settings().secret_file;
    let right = std::fs::read(file).unwrap();
    std::fs::write(file, "another secret, put there by mistake, of enough bytes\n").unwrap();
    let kid = before[0].kid.clone();
    for args in [&["keys", "rotate"][..], &["keys", "revoke", "--", &kid], &["secret", "rotate"]] {
        let refused = tool(&app, args).await;
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("does not open the signing keys; nothing was changed"), "{text}");
    }
    std::fs::remove_file(file).unwrap();
    let refused = tool(&app, &["keys", "rotate"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(!file.exists(), "a secret was made that opens nothing");
    assert!(tool(&app, &["keys", "list"]).await.status.success());
    std::fs::write(file, right).unwrap();
    assert_eq!(stored::signing_keys(&app).await, before);
}
