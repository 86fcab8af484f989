//! Listing and showing accounts and sessions.

use serde_json::{Value, json};

use super::{refused, run_with_input, users, users_json};
use crate::harness::process::{stderr, stdout};
use crate::harness::{TestApp, email};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_operator_lists_accounts_with_filters_page_by_page() {
    let app = TestApp::start_now().await;
    for name in ["ada", "brian", "under_score", "underXscore"] {
        app.sign_up(name).await;
    }
    let ada = app.log_in("ada").await;
    ada.patch("/api/v1/me").json(&json!({ "display_name": "Countess LÖVELACE 100%" })).await.expect(200);
    let all = users_json(&app, &["list"]).await;
    assert_eq!(names(&all), ["ada", "brian", "under_score", "underXscore"]);
    for (filter, found) in [
        ("BRI", vec!["brian"]),
        ("ADA@EXAMPLE", vec!["ada"]),
        ("example.org", vec!["ada", "brian", "under_score", "underXscore"]),
        ("countess", vec!["ada"]),
        ("LÖVELACE", vec!["ada"]),
        ("r_s", vec!["under_score"]),
        ("%", vec!["ada"]),
        ("!", vec![]),
        ("\\", vec![]),
        ("' OR 1=1 --", vec![]),
    ] {
        assert_eq!(names(&users_json(&app, &["list", "--filter", filter]).await), found, "{filter}");
    }
    assert_eq!(names(&users_json(&app, &["list", "--unconfirmed"]).await).len(), 4);
    assert_eq!(users_json(&app, &["list", "--disabled"]).await, json!([]));
    let page = run_with_input(&app, &["users", "list", "--limit", "3", "--json"], b"");
    let listed: Value = serde_json::from_str(&stdout(&page)).unwrap();
    let last = listed[2]["id"].as_str().unwrap();
    assert!(
        stderr(&page).contains(&format!("there are more accounts: continue with --after {last}")),
        "{}",
        stderr(&page)
    );
    let rest = users_json(&app, &["list", "--limit", "3", "--after", last]).await;
    assert_eq!(names(&rest), ["underXscore"]);
    let lines = users(&app, &["list"]).await;
    let line = lines.lines().next().unwrap();
    assert!(line.starts_with(ada.id()) && line.contains("ada@example.org  ada"), "{line}");
    assert!(line.contains("(unconfirmed)"), "{line}");
}

#[tokio::test]
async fn the_operator_finds_an_account_by_id_address_and_username() {
    let app = TestApp::start_now().await;
    let ada = app.sign_up("ada").await;
    for name in [ada.id(), "ADA", " Ada@Example.ORG "] {
        let shown = users_json(&app, &["show", name]).await;
        assert_eq!(shown["id"], ada.id());
        assert_eq!((&shown["email"], &shown["username"]), (&json!(email("ada")), &json!("ada")));
        assert_eq!((&shown["sessions"], &shown["personal_tokens"]), (&json!(1), &json!(0)));
        assert_eq!((&shown["disabled"], &shown["has_password"]), (&json!(false), &json!(true)));
    }
    let sessions = users_json(&app, &["sessions", "ada"]).await;
    assert_eq!(sessions[0]["id"], ada.grant()["session_id"]);
    assert!(sessions[0]["last_seen_at"].is_string());
    let shown = users(&app, &["show", "ada"]).await;
    assert!(shown.lines().any(|line| line == "username          ada"), "{shown}");
    for name in ["eve", "", "01890a5d-ac96-774b-bcce-b302099a8057", "a\u{1b}[2Jb"] {
        let error = refused(&app, &["show", "--", name]);
        assert!(error.contains("there is no user") && !error.contains('\u{1b}'), "{error:?}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert_eq!(run_with_input(&app, &["users", "show"], b"").status.code(), Some(2));
}
