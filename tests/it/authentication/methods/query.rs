//! `TRIPGATE_QUERY_TOKEN`: the access token as `?token=`, accepted only if enabled, never echoed or logged.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{BEARER, challenges, protected};
use crate::harness::process::{Process, over_h2};
use crate::harness::{PASSWORD, TestApp};

const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn with_query() -> TestApp {
    TestApp::with(|settings| {
        settings.auth_methods.query_token = true;
        settings.access_ttl_secs = 180;
    })
    .await
}

#[tokio::test]
async fn every_operation_accepts_a_token_in_the_query_if_query_tokens_are_enabled() {
    // S-30
    let app = with_query().await;
    let ada = app.sign_up("ada").await;
    let anonymous = app.anonymous();
    let me = format!("/api/v1/me?token={}", ada.token());
    assert_eq!(anonymous.get(&me).await.expect(200).account(), ada.grant()["user"]);
    for (method, path, body) in protected(UNKNOWN_ID) {
        let call = anonymous.call(method, &format!("{path}?token={}", ada.token()));
        let reply = match &body {
            Some(body) => call.json(body).await,
            None => call.await,
        };
        assert!(![401, 403].contains(&reply.status), "{path}: {}", reply.text());
    }
    let narrow = app.log_in_for("ada", "trips:read").await;
    let me = format!("/api/v1/me?token={}", narrow.token());
    anonymous.get(&me).await.expect(403).problem("insufficient_scope");
}

#[tokio::test]
async fn an_expired_token_in_the_query_is_rejected() {
    let app = with_query().await;
    let ada = app.sign_up("ada").await;
    let me = format!("/api/v1/me?token={}", ada.token());
    app.clock.advance(TimeDelta::seconds(179));
    app.anonymous().get(&me).await.expect(200);
    app.clock.advance(TimeDelta::seconds(32));
    let reply = app.anonymous().get(&me).await.expect(401).problem("invalid_token");
    assert!(challenges(&reply)[0].starts_with(&format!(r#"{BEARER}, error="invalid_token""#)));
}

#[tokio::test]
async fn an_invalid_query_token_gets_another_error_than_a_missing_token() {
    // S-26, S-29
    let app = with_query().await;
    let ada = app.sign_up("ada").await;
    let refresh = ada.grant()["refresh_token"].as_str().unwrap();
    for invalid in ["", "x", refresh] {
        let reply = app.anonymous().get(&format!("/api/v1/me?token={invalid}")).await;
        reply.expect(401).problem("invalid_token");
    }
    for query in ["", "?", "?Token=x", "?access_token=x"] {
        let reply = app.anonymous().get(&format!("/api/v1/me{query}")).await;
        let reply = reply.expect(401).problem("unauthenticated");
        assert_eq!(challenges(&reply), [BEARER]);
    }
}

#[tokio::test]
async fn a_token_in_the_query_together_with_another_credential_is_rejected() {
    // S-30
    let app = with_query().await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    for (method, path, _) in protected(UNKNOWN_ID) {
        let reply = ada.call(method, &format!("{path}?token={token}")).await;
        reply.expect(400).problem("conflicting_credentials");
    }
    let call = |path: &str| app.anonymous().get(&path.replace('T', token));
    for header in ["", "Basic YWRhOng=", "Digest x", "Bearer bad"] {
        let reply = call("/api/v1/me?token=T").header("authorization", header).await;
        reply.expect(400).problem("conflicting_credentials");
    }
    for path in ["/api/v1/me?token=T&token=T", "/api/v1/me?token=T&token=", "/api/v1/me?token=T&%74oken=x"] {
        call(path).await.expect(400).problem("bad_request");
    }
    // A request with both a query token and a password is rejected. A query token does not replace a
    // password.
    let verify = call("/api/v1/auth/verify?token=T").basic("ada", PASSWORD).await;
    verify.expect(400).problem("conflicting_credentials");
    let tokens = format!("/api/v1/auth/tokens?token={token}");
    app.anonymous().post(&tokens).await.expect(401).problem("unauthenticated");
}

#[tokio::test]
async fn a_token_in_the_query_is_ignored_unless_tokens_in_the_query_are_enabled() {
    // S-30
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for (method, path, _) in protected(UNKNOWN_ID) {
        let reply = app.anonymous().call(method, &format!("{path}?token={}", ada.token())).await;
        reply.expect(401).problem("unauthenticated");
    }
    ada.get(&format!("/api/v1/me?token={}", ada.token())).await.expect(200);
}

#[tokio::test]
async fn links_and_errors_never_contain_the_query_token() {
    // S-63
    let app = with_query().await;
    let ada = app.sign_up("ada").await;
    let token = ada.token();
    let mut created = Vec::new();
    for title in ["Lisbon", "Rome"] {
        let call = app.anonymous().post(&format!("/api/v1/trips?token={token}"));
        created.push(call.json(&json!({ "title": title })).await.expect(201));
    }
    let page = app.anonymous().get(&format!("/api/v1/trips?limit=1&token={token}")).await.expect(200);
    assert!(page.header("link").contains("cursor="), "{}", page.header("link"));
    let missing = app.anonymous().get(&format!("/api/v1/trips/{UNKNOWN_ID}?token={token}")).await.expect(404);
    let invalid = app.anonymous().get(&format!("/api/v1/trips?limit=x&token={token}")).await.expect(422);
    for reply in created.iter().chain([&page, &missing, &invalid]) {
        let text = format!("{:?}{}", reply.headers, reply.text());
        assert!(!text.contains(token) && !text.contains("token="), "{text}");
    }
}

#[tokio::test]
async fn query_tokens_are_not_logged_at_any_level() {
    // S-30, S-65
    for format in ["json", "text"] {
        let dir = TempDir::new().unwrap();
        let args = ["--query-token", "on", "--log", "trace", "--log-format", format];
        let server = Process::serve(dir.path(), &args);
        let grant: Value = server.sign_up("ada").await;
        let token = grant["access_token"].as_str().unwrap();
        for (path, status) in [
            (format!("/api/v1/me?token={token}"), 200),
            (format!("/api/v1/me?token={token}x"), 401),
            (format!("/api/v1/trips?limit=x&token={token}"), 422),
            (format!("/api/v1/trips?token={token}&token={token}"), 400),
            (format!("/nowhere?token={token}"), 404),
        ] {
            let reply = server.call(Method::GET, &path).send().await.unwrap();
            assert_eq!(reply.status(), status);
        }
        let both = server.call(Method::GET, &format!("/api/v1/me?token={token}")).bearer_auth(token);
        assert_eq!(both.send().await.unwrap().status(), 400);
        let response = over_h2(server.address, &format!("token={token}"), "");
        assert!(response.ends_with(br#"{"status":"ok"}"#));
        server.terminate();
        let (code, log) = server.wait_for_exit();
        assert_eq!(code, Some(0));
        assert!(log.contains("TRACE") && log.contains("/api/v1/me"), "the log lacks the requests");
        let signature = token.rsplit('.').next().unwrap();
        for secret in [token, signature, "token="] {
            assert_eq!(log.lines().find(|line| line.contains(secret)), None, "{secret}");
        }
    }
}
