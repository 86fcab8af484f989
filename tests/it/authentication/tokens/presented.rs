//! Token transport: one `Authorization` header with the `Bearer` scheme, and no other place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::harness::{Client, PASSWORD, TestApp};

const CHALLENGE: &str = r#"Bearer realm="tripgate""#;

#[tokio::test]
async fn another_scheme_is_treated_as_a_missing_credential_and_a_malformed_bearer_token_as_invalid() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let basic = STANDARD.encode(format!("ada:{PASSWORD}"));
    let token_as_name = STANDARD.encode(format!("{}:", ada.token()));
    for header in [
        format!("Basic {basic}"),
        format!("Basic {token_as_name}"),
        format!("Token {}", ada.token()),
        format!("JWT {}", ada.token()),
        format!("Bearer{}", ada.token()),
        format!("Bearer\t{}", ada.token()),
        ada.token().to_owned(),
        "Digest username=\"ada\"".to_owned(),
        "Negotiate".to_owned(),
        "Bear\u{e9}r x".to_owned(),
        String::new(),
    ] {
        let call = app.anonymous().get("/api/v1/me").header("authorization", &header);
        let reply = call.await.expect(401).problem("unauthenticated");
        assert_eq!(reply.header("www-authenticate"), CHALLENGE, "{header}");
    }
    for header in ["Bearer", "Bearer ", "Bearer  ", "Bearer caf\u{e9}", "bearer \u{ff}.\u{ff}.\u{ff}"] {
        let call = app.anonymous().get("/api/v1/me").header("authorization", header);
        call.await.expect(401).problem("invalid_token");
    }
}

#[tokio::test]
async fn two_credentials_in_one_request_are_rejected() {
    // S-30
    let app = TestApp::start().await;
    let (ada, brian) = (app.sign_up("ada").await, app.sign_up("brian").await);
    let bearer = |client: &Client| format!("Bearer {}", client.token());
    let basic = format!("Basic {}", STANDARD.encode(format!("ada:{PASSWORD}")));
    let pairs = [
        (bearer(&ada), bearer(&ada)),
        (bearer(&ada), bearer(&brian)),
        (bearer(&ada), basic.clone()),
        (basic, bearer(&ada)),
        (bearer(&ada), String::new()),
        ("Bearer bad".to_owned(), bearer(&ada)),
    ];
    for (first, second) in pairs {
        let call = app.anonymous().post("/api/v1/trips").json(&json!({ "title": "Whose?" }));
        let call = call.header("authorization", &first).header("authorization", &second);
        let reply = call.await.expect(400).problem("conflicting_credentials");
        assert_eq!(reply.header("www-authenticate"), "");
    }
    // Two credentials in one header are treated as one invalid credential.
    let joined = format!("{}, {}", bearer(&ada), bearer(&ada));
    let call = app.anonymous().get("/api/v1/me").header("authorization", joined);
    call.await.expect(401).problem("invalid_token");
    for client in [ada, brian] {
        assert_eq!(client.get("/api/v1/trips").await.json(), json!({ "items": [] }));
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_a_cookie_or_the_body_is_ignored() {
    // S-30
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for name in ["token", "access_token", "jwt"] {
        let path = format!("/api/v1/me?{name}={}", ada.token());
        let reply = app.anonymous().get(&path).await.expect(401).problem("unauthenticated");
        assert_eq!(reply.header("www-authenticate"), CHALLENGE);
        assert!(!reply.text().contains(ada.token()));
        // If the request has a valid header, the parameter `token` is ignored. The other parameters are
        // unknown, so they are rejected (N-20).
        let status = if name == "token" { 200 } else { 422 };
        ada.get(&format!("/api/v1/me?{name}=bad")).await.expect(status);
    }
    for (header, value) in [
        ("cookie", format!("token={}", ada.token())),
        ("x-access-token", ada.token().to_owned()),
        ("proxy-authorization", format!("Bearer {}", ada.token())),
    ] {
        app.anonymous().get("/api/v1/me").header(header, value).await.expect(401).problem("unauthenticated");
    }
    let body = json!({ "title": "Lisbon", "access_token": ada.token() });
    app.anonymous().post("/api/v1/trips").json(&body).await.expect(401).problem("unauthenticated");
    assert_eq!(ada.get("/api/v1/trips").await.json(), json!({ "items": [] }));
}
