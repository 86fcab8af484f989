//! `GET /auth/verify`: how Basic credentials are parsed and checked. A check creates no session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::authentication::login::sign_up_with;
use crate::harness::{PASSWORD, Reply, TestApp, email, rows};

const VERIFY: &str = "/api/v1/auth/verify";
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

async fn verify(app: &TestApp, identifier: &str, password: &str) -> Reply {
    app.anonymous().get(VERIFY).basic(identifier, password).await
}

#[tokio::test]
async fn verifying_basic_credentials_creates_no_session() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for identifier in ["ada", "ada@example.org", "ADA@example.org"] {
        let reply = verify(&app, identifier, PASSWORD).await.expect(200);
        assert_eq!(reply.json(), ada.grant()["user"]);
    }
    assert_eq!(rows::sessions(&app).await.len(), 1);
}

#[tokio::test]
async fn basic_credentials_split_at_the_first_colon() {
    // S-17
    let app = TestApp::start().await;
    sign_up_with(&app, "ada", "harbour:at:dusk").await;
    verify(&app, "ada", "harbour:at:dusk").await.expect(200);
    sign_up_with(&app, "brian", "at the harbour").await;
    verify(&app, "brian:dusk", "at the harbour").await.expect(401).problem("invalid_credentials");
}

#[tokio::test]
async fn basic_credentials_must_be_utf_8() {
    // S-17
    let app = TestApp::start().await;
    sign_up_with(&app, "ada", "Šťastný přístav 🦀").await;
    verify(&app, "ada", "Šťastný přístav 🦀").await.expect(200);
    let latin1 = STANDARD.encode(b"ada:p\xe9t\xe9t\xe9");
    let call = app.anonymous().get(VERIFY).header("authorization", format!("Basic {latin1}"));
    let reply = call.await.expect(401).problem("invalid_credentials");
    assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE);
}

#[tokio::test]
async fn the_name_of_the_authentication_scheme_is_case_insensitive() {
    // S-17
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let encoded = STANDARD.encode(format!("ada:{PASSWORD}"));
    for scheme in ["basic", "BASIC", "bAsIc"] {
        let header = format!("{scheme} {encoded}");
        app.anonymous().get(VERIFY).header("authorization", header).await.expect(200);
    }
    for scheme in ["bearer", "BEARER"] {
        let header = format!("{scheme} {}", ada.token());
        app.anonymous().get("/api/v1/me").header("authorization", header).await.expect(200);
    }
}

#[tokio::test]
async fn malformed_basic_credentials_get_401_with_a_basic_challenge() {
    // S-17
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let valid = STANDARD.encode(format!("ada:{PASSWORD}"));
    let header = |credential: &str| format!("Basic {}", STANDARD.encode(credential));
    let cases = [
        ("Basic".to_owned(), "invalid_credentials"),
        ("Basic ".to_owned(), "invalid_credentials"),
        ("Basic !!!!".to_owned(), "invalid_credentials"),
        (format!("Basic {valid}="), "invalid_credentials"),
        (format!("Basic {valid} x"), "invalid_credentials"),
        (format!("Basic {valid},{valid}"), "invalid_credentials"),
        (header("ada"), "invalid_credentials"),
        (header(""), "invalid_credentials"),
        (header(":"), "invalid_credentials"),
        (header(&format!(":{PASSWORD}")), "invalid_credentials"),
        (header("ada:"), "invalid_credentials"),
        (header(&format!("ada:{PASSWORD}\0")), "invalid_credentials"),
        (header(&format!("ada\0:{PASSWORD}")), "invalid_credentials"),
        (header(&format!("ada:{PASSWORD}\r\n")), "invalid_credentials"),
        (header(&format!("{}:", ada.token())), "invalid_credentials"),
        (header(&format!("token:{}", ada.token())), "invalid_credentials"),
        (header(&format!("ada:{}", ada.grant()["refresh_token"].as_str().unwrap())), "invalid_credentials"),
        (format!("Basic{valid}"), "unauthenticated"),
        (format!("Bearer {}", ada.token()), "unauthenticated"),
        (format!("Digest {valid}"), "unauthenticated"),
        (valid.clone(), "unauthenticated"),
        ("B\u{e4}sic".to_owned(), "unauthenticated"),
        (String::new(), "unauthenticated"),
    ];
    for (header, code) in cases {
        let call = app.anonymous().get(VERIFY).header("authorization", &header);
        let reply = call.await.expect(401).problem(code);
        assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE, "{header}");
    }
    let reply = app.anonymous().get(VERIFY).await.expect(401).problem("unauthenticated");
    assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE);
}

#[tokio::test]
async fn two_authorization_headers_in_a_request_to_verify_are_rejected() {
    // S-30
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{PASSWORD}", email("ada"))));
    let call = app.anonymous().get(VERIFY).header("authorization", &basic).header("authorization", &basic);
    call.await.expect(400).problem("conflicting_credentials");
}
