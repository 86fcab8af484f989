//! Email addresses and usernames: which forms are accepted, and which spellings identify the same account.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, email, rows};

const SIGN_UP: &str = "/api/v1/auth/signup";

async fn sign_up(app: &TestApp, body: &Value) -> Reply {
    app.anonymous().post(SIGN_UP).json(body).await
}

async fn with_email(app: &TestApp, address: &str) -> Reply {
    sign_up(app, &json!({ "email": address, "password": PASSWORD })).await
}

async fn with_username(app: &TestApp, name: &str) -> Reply {
    sign_up(app, &json!({ "username": name, "password": PASSWORD })).await
}

async fn log_in(app: &TestApp, identifier: &str) -> Reply {
    let body = json!({ "identifier": identifier, "password": PASSWORD });
    app.anonymous().post("/api/v1/auth/login").json(&body).await
}

/// Asserts that the sign-up is rejected with exactly these errors and creates no account.
async fn assert_rejected(app: &TestApp, body: &Value, errors: &[(&str, &str)]) {
    let before = rows::users(app).await.len();
    let reply = sign_up(app, body).await.expect(422).problem("invalid");
    let found = reply.field_errors();
    let found: Vec<_> = found.iter().map(|(pointer, code)| (pointer.as_str(), code.as_str())).collect();
    assert_eq!(found, errors, "{body}");
    assert_eq!(rows::users(app).await.len(), before, "{body} created an account");
}

#[tokio::test]
async fn identifiers_are_unique_ignoring_case_on_every_replica() {
    // S-50
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    for taken in ["ada@example.org", "ADA@EXAMPLE.ORG", "Ada@Example.Org", "ＡＤＡ@example.org"] {
        let body = json!({ "email": taken, "password": PASSWORD });
        for server in [&app, &replica] {
            let reply = sign_up(server, &body).await.expect(409).problem("identifier_taken");
            assert!(!reply.text().contains(taken), "the input is echoed");
        }
    }
    with_username(&replica, "ada").await.expect(409).problem("identifier_taken");
    let body = json!({ "username": "free", "email": email("ada"), "password": PASSWORD });
    sign_up(&replica, &body).await.expect(409).problem("identifier_taken");
    let users = rows::users(&app).await;
    assert_eq!((users.len(), json!(users[0].id)), (1, ada.grant()["user"]["id"].clone()));
    assert_eq!(rows::sessions(&app).await.len(), 1, "a rejected sign-up created a session");
}

#[tokio::test]
async fn different_spellings_of_one_mailbox_belong_to_one_account() {
    // S-50, A-6
    let app = TestApp::start().await;
    for spellings in [
        ["ada@example.org", "\"ada\"@example.org", "ADA@EXAMPLE.org"],
        ["b@münchen.de", "b@xn--mnchen-3ya.de", "B@MÜNCHEN.DE"],
        ["ΟΔΟΣ@example.org", "οδος@example.org", "οδοσ@example.org"],
        ["straße@example.org", "STRASSE@example.org", "Straße@example.org"],
    ] {
        let user = with_email(&app, spellings[0]).await.expect(201).json()["user"].clone();
        assert_eq!(user["email"], spellings[0], "the address is not stored as entered");
        for spelling in &spellings[1..] {
            with_email(&app, spelling).await.expect(409).problem("identifier_taken");
        }
        for spelling in spellings {
            assert_eq!(log_in(&app, spelling).await.expect(200).json()["user"], user, "{spelling}");
        }
    }
    assert_eq!(rows::users(&app).await.len(), 4);
}

#[tokio::test]
async fn an_address_with_a_ligature_does_not_prevent_a_sign_up_with_the_plain_address() {
    //
    let app = TestApp::start().await;
    for address in ["ﬁona@example.org", "fiona@example.org"] {
        with_email(&app, address).await.expect(201);
    }
    for address in ["ﬁona@example.org", "fiona@example.org"] {
        assert_eq!(log_in(&app, address).await.expect(200).json()["user"]["email"], address);
    }
}

#[tokio::test]
async fn an_email_address_with_an_invisible_code_point_or_an_ip_address_as_domain_is_rejected() {
    // S-50, A-6
    let app = TestApp::start().await;
    for address in [
        "ad\u{115F}a@example.org",
        "ada\u{3164}@example.org",
        "ad\u{200B}a@example.org",
        "ad\u{202E}a@example.org",
        "ada@exam\u{AD}ple.org",
        "a@1.2.3.4",
        "a@[1.2.3.4]",
        "a@[IPv6:2001:db8::1]",
    ] {
        assert_rejected(
            &app,
            &json!({ "email": address, "password": PASSWORD }),
            &[("/email", "invalid_format")],
        )
        .await;
    }
}

#[tokio::test]
async fn a_username_keeps_its_case_and_is_compared_ignoring_case() {
    // N-5
    let app = TestApp::start().await;
    let user = with_username(&app, "Grace12").await.expect(201).json()["user"].clone();
    assert_eq!(user["username"], "Grace12");
    for taken in ["grace12", "GRACE12", "Grace12"] {
        with_username(&app, taken).await.expect(409).problem("identifier_taken");
        assert_eq!(log_in(&app, taken).await.expect(200).json()["user"], user);
    }
    let brian = app.sign_up("brian").await;
    let patch = json!({ "username": "gRACE12" });
    brian.patch("/api/v1/me").json(&patch).await.expect(409).problem("identifier_taken");
    // The owner can change the case of the username.
    let grace = app.anonymous().with_grant(&log_in(&app, "grace12").await.json());
    assert_eq!(grace.patch("/api/v1/me").json(&patch).await.expect(200).json()["username"], "gRACE12");
}

#[tokio::test]
async fn leading_and_trailing_white_space_of_an_identifier_is_removed_in_every_operation() {
    // N-5
    let app = TestApp::with(|settings| settings.auth_methods.basic = true).await;
    let body = json!({ "email": " Ada@example.org\t", "username": "\u{a0}Ada\n", "password": PASSWORD });
    let user = sign_up(&app, &body).await.expect(201).json()["user"].clone();
    assert_eq!((&user["email"], &user["username"]), (&json!("Ada@example.org"), &json!("Ada")));
    for identifier in ["ada", " ada", "ada ", "\tada\r\n", "\u{3000}ada@example.org "] {
        assert_eq!(log_in(&app, identifier).await.expect(200).json()["user"], user, "{identifier:?}");
        for path in ["/api/v1/auth/verify", "/api/v1/me"] {
            let reply = app.anonymous().get(path).basic(identifier, PASSWORD).await.expect(200);
            assert_eq!(reply.account(), user, "{identifier:?}");
        }
        app.anonymous().post("/api/v1/auth/tokens").basic(identifier, PASSWORD).await.expect(200);
    }
    let ada = app.anonymous().with_grant(&log_in(&app, "ada").await.json());
    let changed = ada.patch("/api/v1/me").json(&json!({ "username": " Countess " })).await.expect(200);
    assert_eq!(changed.json()["username"], "Countess");
    log_in(&app, "a da").await.expect(401);
}

#[tokio::test]
async fn a_username_has_3_to_32_ascii_letters_digits_dots_underscores_or_hyphens() {
    let app = TestApp::start().await;
    for name in ["ada lovelace", ".ada", "-ada", "_ada", "ada@example.org", "адa", "adä", "ada\nl"] {
        let body = json!({ "username": name, "password": PASSWORD });
        assert_rejected(&app, &body, &[("/username", "invalid_format")]).await;
    }
    let long = "x".repeat(33);
    for (name, code) in [("ab", "too_short"), (&long, "too_long")] {
        let body = json!({ "username": name, "password": PASSWORD });
        assert_rejected(&app, &body, &[("/username", code), ("/username", "invalid_format")]).await;
    }
    let reply = with_username(&app, "ada lovelace").await.expect(422);
    let detail = reply.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
    assert!(!detail.contains(['^', '[', '{']), "the error shows a regular expression: {detail}"); // N-5
    for name in ["a.b", "9_9", "x-y", "Ada", &long[..32]] {
        with_username(&app, name).await.expect(201);
    }
}

#[tokio::test]
async fn an_invalid_email_address_is_rejected() {
    let app = TestApp::start().await;
    let invalid = ["", "ada", "ada@", "@example.org", "ada@example", "ada @example.org", "a@b@example.org"];
    let tricky = ["ada@example.org\r\nBcc: x@example.org", "Ada <ada@example.org>", "ada@[127.0.0.1]"];
    for text in invalid.into_iter().chain(tricky) {
        let body = json!({ "email": text, "password": PASSWORD });
        assert_rejected(&app, &body, &[("/email", "invalid_format")]).await;
    }
    let reply = with_email(&app, &format!("{}@example.org", "x".repeat(250))).await.expect(422);
    assert!(reply.field_errors().contains(&("/email".to_owned(), "too_long".to_owned())), "{}", reply.text());
    with_email(&app, "ada+trips@sub.example.org").await.expect(201);
}
