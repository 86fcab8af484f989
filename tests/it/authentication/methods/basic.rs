//! `TRIPGATE_BASIC_ON_API`: Basic credentials on every operation, with a password, or with a token as the
//! user name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{BASIC, BEARER, challenges, client_with_token, protected};
use crate::harness::{PASSWORD, Reply, TestApp, email, rows};

const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn with_basic() -> TestApp {
    TestApp::with(|settings| settings.auth_methods.basic = true).await
}

async fn me(app: &TestApp, name: &str, password: &str) -> Reply {
    app.anonymous().get("/api/v1/me").basic(name, password).await
}

#[tokio::test]
async fn basic_authentication_works_for_every_operation_and_creates_no_session() {
    // S-17
    let app = with_basic().await;
    let ada = app.sign_up("ada").await;
    for identifier in ["ada", "Ada", &email("ada")] {
        assert_eq!(me(&app, identifier, PASSWORD).await.expect(200).account(), ada.grant()["user"]);
    }
    let anonymous = app.anonymous();
    let call = anonymous.post("/api/v1/trips").basic("ada", PASSWORD).json(&json!({ "title": "Lisbon" }));
    let created = call.await.expect(201).json();
    assert_eq!(ada.get("/api/v1/trips").await.expect(200).json()["items"], json!([created]));
    for (method, path, body) in protected(UNKNOWN_ID) {
        let call = anonymous.call(method, &path).basic("ada", PASSWORD);
        let reply = match &body {
            Some(body) => call.json(body).await,
            None => call.await,
        };
        assert!(![401, 403].contains(&reply.status), "{path}: {}", reply.text());
    }
    assert_eq!(rows::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn an_access_token_is_accepted_as_the_basic_user_name_with_an_empty_password() {
    let app = with_basic().await;
    let ada = app.sign_up("ada").await;
    let sessionless = client_with_token(&app, "ada").await;
    for token in [ada.token(), sessionless.token()] {
        assert_eq!(me(&app, token, "").await.expect(200).account(), ada.grant()["user"]);
    }
    // The scopes of the token apply.
    let narrow = app.log_in_for("ada", "trips:read").await;
    let reply = me(&app, narrow.token(), "").await.expect(403).problem("insufficient_scope");
    assert_eq!(
        challenges(&reply),
        [r#"Bearer realm="tripgate", error="insufficient_scope", scope="account""#]
    );
    app.anonymous().get("/api/v1/trips").basic(narrow.token(), "").await.expect(200);
    // If the password is not empty, the token is treated as a user name, and no user has this name.
    for password in [PASSWORD, "x", ada.token()] {
        me(&app, ada.token(), password).await.expect(401).problem("invalid_credentials");
    }
    me(&app, "ada", ada.token()).await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn basic_credentials_with_a_password_have_no_session_and_those_with_a_token_have_the_session_of_the_token()
 {
    let app = with_basic().await;
    let ada = app.sign_up("ada").await;
    let session = |name: String, password: &'static str| {
        let call = app.anonymous().get("/api/v1/auth/session").basic(&name, password);
        async { call.await.expect(200).json() }
    };
    let by_password = session("ada".to_owned(), PASSWORD).await;
    let now = "2026-03-02T08:30:00.000Z";
    assert_eq!(
        by_password,
        json!({
            "user_id": ada.id(),
            "scope": "account trips:read trips:write",
            "amr": ["pwd"],
            "issued_at": now,
            "expires_at": now,
        })
    );
    let by_token = session(ada.token().to_owned(), "").await;
    assert_eq!(by_token["session_id"], ada.grant()["session_id"]);
    assert_eq!(by_token["expires_at"], "2026-03-02T08:45:00.000Z");
}

#[tokio::test]
async fn missing_or_invalid_credentials_get_a_bearer_and_a_basic_challenge() {
    // S-17, S-29
    let app = with_basic().await;
    let ada = app.sign_up("ada").await;
    for (method, path, _) in protected(UNKNOWN_ID) {
        let reply = app.anonymous().call(method, &path).await.expect(401).problem("unauthenticated");
        assert_eq!(challenges(&reply), [BEARER, BASIC], "{path}");
    }
    let header = |credential: &str| format!("Basic {}", STANDARD.encode(credential));
    let refresh = ada.grant()["refresh_token"].as_str().unwrap();
    for (header, code) in [
        (header(&format!("ada:x{PASSWORD}")), "invalid_credentials"),
        (header(&format!("eve:{PASSWORD}")), "invalid_credentials"),
        (header(&format!(":{PASSWORD}")), "invalid_credentials"),
        (header("ada"), "invalid_credentials"),
        (header("ada:\0"), "invalid_credentials"),
        ("Basic !".to_owned(), "invalid_credentials"),
        ("Basic".to_owned(), "invalid_credentials"),
        (header(":"), "invalid_token"),
        (header("ada:"), "invalid_token"),
        (header(&format!("{}x:", ada.token())), "invalid_token"),
        (header(&format!("{refresh}:")), "invalid_token"),
        ("Bearer x".to_owned(), "invalid_token"),
        ("Digest x".to_owned(), "unauthenticated"),
    ] {
        let call = app.anonymous().get("/api/v1/me").header("authorization", &header);
        let reply = call.await.expect(401).problem(code);
        let received = challenges(&reply);
        assert!(
            matches!(received[..], [bearer, BASIC] if bearer.starts_with(BEARER)),
            "{header}: {received:?}"
        );
        assert_eq!(received[0].contains("invalid_token"), code == "invalid_token", "{header}: {received:?}");
    }
}

#[tokio::test]
async fn basic_authentication_is_rejected_unless_enabled() {
    // S-17
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (method, path, _) in protected(UNKNOWN_ID) {
        for (name, password) in [("ada", PASSWORD), (ada.token(), "")] {
            let reply = app.anonymous().call(method.clone(), &path).basic(name, password).await;
            let reply = reply.expect(401).problem("unauthenticated");
            assert_eq!(challenges(&reply), [BEARER], "{path}");
        }
    }
}

#[tokio::test]
async fn a_request_with_basic_credentials_and_a_bearer_token_is_rejected() {
    // S-30
    let app = with_basic().await;
    let ada = app.sign_up("ada").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("ada:{PASSWORD}")));
    ada.get("/api/v1/me")
        .header("authorization", &basic)
        .await
        .expect(400)
        .problem("conflicting_credentials");
}
