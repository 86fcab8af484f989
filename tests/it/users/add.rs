//! Creating accounts.

use serde_json::{Value, json};

use super::{OLD_PASSWORD, event_types, run_with_input, settle};
use crate::harness::process::{stderr, stdout};
use crate::harness::{TestApp, rows};

fn add(app: &TestApp, args: &[&str], input: &[u8]) -> Result<Value, String> {
    let args = [&["users", "add", "--password-stdin", "--json"], args].concat();
    let output = run_with_input(app, &args, input);
    match output.status.code() {
        Some(0) => Ok(serde_json::from_str(&stdout(&output)).unwrap()),
        Some(1) => Err(stderr(&output)),
        _ => panic!("{}", stderr(&output)),
    }
}

#[tokio::test]
async fn an_operator_creates_accounts_even_when_sign_up_is_closed() {
    let app = TestApp::start_now_with(|settings| settings.signup = tripgate::config::Signup::Closed).await;
    let input = format!("{OLD_PASSWORD}\r\nanother line\n");
    let args = ["--email", "Ada@Example.org", "--username", "Ada", "--display-name", "Ada L.", "--confirmed"];
    let ada = add(&app, &args, input.as_bytes()).unwrap();
    assert_eq!((&ada["email"], &ada["email_verified"]), (&json!("Ada@Example.org"), &json!(true)));
    assert_eq!((&ada["username"], &ada["display_name"]), (&json!("Ada"), &json!("Ada L.")));
    settle(&app).await;
    let client = app.log_in("ada").await;
    assert_eq!(client.id(), ada["id"]);
    assert_eq!(event_types(&client).await.last().unwrap(), "signup");
    let brian = add(&app, &["--username", "brian"], OLD_PASSWORD.as_bytes()).unwrap();
    assert_eq!((brian.get("email"), &brian["email_verified"]), (None, &json!(false)));
    assert!(app.can_log_in("brian", OLD_PASSWORD).await);
}

#[tokio::test]
async fn the_command_users_add_rejects_an_account_that_violates_a_rule() {
    // S-5
    let app = TestApp::start_now().await;
    app.sign_up("ada").await;
    let long = "x".repeat(101);
    let good = OLD_PASSWORD.as_bytes();
    for (args, input, reason) in [
        (&[][..], good, "--email or --username"),
        (&["--username", "grace", "--confirmed"], good, "no email address"),
        (&["--email", "ADA@example.org"], good, "another account has"),
        (&["--username", "ADA"], good, "another account has"),
        (&["--email", "nobody"], good, "is not a valid email address"),
        (&["--username", "a b"], good, "is not a valid username"),
        (&["--username", "grace", "--display-name", &long], good, "1 to 100 characters"),
        (&["--username", "grace", "--display-name", "a\tb"], good, "1 to 100 characters"),
        (&["--username", "grace"], b"short", "Password is too short"),
        (&["--username", "grace"], b"", "Password is too short"),
        (&["--username", "grace-hopper"], b"grace-hopper", "must not be the email address or the username"),
        (&["--username", "grace"], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not valid UTF-8"),
        (&["--username", "grace"], &[b'x'; 10_000], "Password is too long"),
    ] {
        let error = add(&app, args, input).unwrap_err();
        assert!(error.contains(reason), "{args:?}: {error}");
    }
    assert_eq!(rows::users(&app).await.len(), 1);
    let args = ["users", "add", "--username", "grace"];
    assert_eq!(run_with_input(&app, &args, good).status.code(), Some(2), "--password-stdin is required");
}
