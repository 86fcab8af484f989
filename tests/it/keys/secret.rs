//! Changing the master secret: nobody is logged out, a server that runs goes on, no crash loses a key.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tripgate::config::Secret;
use tripgate::secrets::{MacKey, MasterSecret, Purpose, SecretFile, Vault};
use tripgate::sessions::RefreshToken;

use super::{a_second, beside, lifecycle, on, tool};
use crate::harness::{Client, TestApp};
use crate::process::{command, finish, stderr, stdout};
use crate::stored;

fn secret(app: &TestApp) -> MasterSecret {
    MasterSecret::read(&app.settings().secret_file).unwrap()
}

fn lines(app: &TestApp) -> Vec<String> {
    let text = fs::read_to_string(&app.settings().secret_file).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Whether the refresh token is one that a server with this secret knows for its own.
fn is_ours(app: &TestApp, client: &Client) -> bool {
    let codes = MacKey::of(&secret(app), Purpose::RefreshTokens);
    RefreshToken::decode(client.grant()["refresh_token"].as_str().unwrap(), &codes).is_some()
}

/// How many keys are sealed under the current secret.
async fn sealed_now(app: &TestApp) -> usize {
    let vault = Vault::of(&secret(app), Purpose::KeyRing);
    let keys = stored::signing_keys(app).await;
    keys.iter().filter(|key| vault.is_current(&key.kid, &key.sealed_private_key)).count()
}

#[tokio::test]
async fn a_new_secret_logs_nobody_out() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for title in ["Lisbon", "Porto"] {
        ada.post("/api/v1/trips").json(&json!({ "title": title })).await.expect(201);
    }
    let page = ada.get("/api/v1/trips?limit=1").await.expect(200).json();
    let next = format!("/api/v1/trips?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let before = lines(&app);
    let done = tool(&app, &["secret", "rotate"]).await;
    let text = format!("{}{}", stdout(&done), stderr(&done));
    assert!(done.status.success(), "{text}");
    let after = lines(&app);
    assert!(!text.contains(&before[0]) && !text.contains(&after[0]), "{text}");
    assert_eq!(after[1..], [format!("old {}", before[0])]);
    assert_ne!(after[0], before[0]);
    let mode = fs::metadata(&app.settings().secret_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sealed_now(&app).await, 2);
    // The server that runs knows only the former one, and goes on, also with the key that follows.
    a_second().await;
    app.log_in("ada").await.get(&next).await.expect(200);
    lifecycle(&app).rotate().await.unwrap();
    a_second().await;
    ada.get("/api/v1/me").await.expect(200);
    app.log_in("ada").await.get("/api/v1/me").await.expect(200);
    // After its restart all that was given out before is good.
    let app = app.restart().await;
    on(&app, &ada).get("/api/v1/me").await.expect(200);
    on(&app, &ada).get(&next).await.expect(200);
    assert!(is_ours(&app, &ada));
    let again = app.log_in("ada").await;
    again.get("/api/v1/me").await.expect(200);
    assert!(is_ours(&app, &again));
    // Without the former line that is over: it was the new one that made the later token.
    fs::write(&app.settings().secret_file, &after[0]).unwrap();
    assert!(is_ours(&app, &again) && !is_ours(&app, &ada));
}

#[tokio::test]
async fn a_crash_between_the_file_and_the_keys_loses_nothing() {
    // S-36
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    SecretFile::open(&app.settings().secret_file).unwrap().advance().unwrap();
    let cut_short = lines(&app);
    assert_eq!(sealed_now(&app).await, 0);
    let app = app.restart().await;
    on(&app, &ada).get("/api/v1/me").await.expect(200);
    app.log_in("ada").await.get("/api/v1/me").await.expect(200);
    lifecycle(&app).rotate().await.unwrap();
    // The next run ends what was begun, and makes nothing new.
    let done = tool(&app, &["secret", "rotate"]).await;
    assert!(stdout(&done).starts_with("2 keys were still encrypted under a former secret"), "{done:?}");
    assert_eq!((lines(&app), sealed_now(&app).await), (cut_short, 3));
    let app = app.restart().await;
    assert!(is_ours(&app, &ada));
    on(&app, &ada).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn replicas_know_a_prepared_secret_before_it_is_used() {
    let app = TestApp::start().await;
    let before = lines(&app);
    assert!(tool(&app, &["secret", "prepare"]).await.status.success());
    let prepared = lines(&app);
    assert_eq!(prepared[0], before[0]);
    let next = prepared[1].strip_prefix("next ").unwrap().to_owned();
    assert!(stdout(&tool(&app, &["secret", "prepare"]).await).contains("already; nothing was changed"));
    assert_eq!(lines(&app), prepared);
    // One that knows both, and is not restarted again.
    let slow = app.replica().await;
    let done = tool(&app, &["secret", "rotate"]).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(lines(&app), [next, format!("old {}", before[0])]);
    let app = app.restart().await;
    let ada = app.sign_up("ada").await;
    for title in ["Lisbon", "Porto"] {
        ada.post("/api/v1/trips").json(&json!({ "title": title })).await.expect(201);
    }
    let page = ada.get("/api/v1/trips?limit=1").await.expect(200).json();
    let next = format!("/api/v1/trips?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    on(&slow, &ada).get(&next).await.expect(200);
    // A key that was made under the new secret signs on the slow one too.
    lifecycle(&app).rotate().await.unwrap();
    lifecycle(&app).rotate().await.unwrap();
    a_second().await;
    slow.log_in("ada").await.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_secret_that_was_given_itself_is_the_operators_to_change() {
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
    let refused = run(one, &["secret", "prepare"]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(stderr(&refused).contains("add a second line"));
    let done = run(one, &["secret", "rotate"]).await;
    assert!(stdout(&done).starts_with("0 keys"), "{done:?}");
    let both = format!("{two}\nold {one}");
    let changed = beside(&app, |settings| settings.secret = Some(Secret::new(both.clone()))).await;
    on(&changed, &ada).get("/api/v1/me").await.expect(200);
    changed.log_in("ada").await.get("/api/v1/me").await.expect(200);
    assert!(stdout(&run(&both, &["secret", "rotate"]).await).starts_with("2 keys"));
    let alone = beside(&app, |settings| settings.secret = Some(Secret::new(two))).await;
    alone.log_in("ada").await.get("/api/v1/me").await.expect(200);
    let broken = run(&format!("{one}\n{two}"), &["keys", "rotate"]).await;
    assert_eq!(broken.status.code(), Some(2), "{broken:?}");
}

#[tokio::test]
async fn two_at_once_do_not_both_change_the_secret() {
    let app = TestApp::start().await;
    let held = SecretFile::open(&app.settings().secret_file).unwrap();
    let before = lines(&app);
    let refused = tool(&app, &["secret", "rotate"]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(stderr(&refused).contains("can't be locked"), "{}", stderr(&refused));
    assert_eq!(lines(&app), before);
    drop(held);
    assert!(tool(&app, &["secret", "rotate"]).await.status.success());
}
