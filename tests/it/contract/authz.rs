//! Authorization: a table of the credentials that each operation requires, and tests that calls without these
//! credentials are rejected.
//!
//! A test fails for an operation without a row, so each new operation needs an authorization test.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

pub(crate) use super::targets::create_target;
use super::targets::{CANARY, STOP_ID};
use crate::harness::conformance::operations;
use crate::harness::totp::enrol;
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp};

/// The credentials that an operation requires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Needs {
    Nothing,
    /// Nothing, but an access token is accepted too.
    Optional,
    Basic,
    /// The credentials of a registered client.
    Service,
    /// An access token with any scope.
    Token,
    /// An access token with this scope.
    Scope(&'static str),
}
use Needs::{Basic, Nothing, Optional, Scope, Service, Token};

/// Operation id, method, path template, a valid body, and the required credentials.
pub(crate) type Row = (&'static str, Method, &'static str, Option<&'static str>, Needs);

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    ("sign_up", Method::POST, "/api/v1/auth/signup", Some(r#"{"username":"bob","password":"a quiet harbour at dawn"}"#), Nothing),
    ("log_in", Method::POST, "/api/v1/auth/login", Some(r#"{"identifier":"ada","password":"a quiet harbour at dusk"}"#), Nothing),
    ("complete_login", Method::POST, "/api/v1/auth/login/mfa", Some(r#"{"mfa_token":"{id}","totp_code":"{code}"}"#), Nothing),
    ("begin_passkey_login", Method::POST, "/api/v1/auth/passkeys/options", None, Nothing),
    ("log_in_with_passkey", Method::POST, "/api/v1/auth/passkeys/login", Some(r#"{"challenge_id":"{id}","credential":{code}}"#), Nothing),
    ("send_login_code", Method::POST, "/api/v1/auth/login/code", Some(r#"{"email":"ada@example.org"}"#), Nothing),
    ("log_in_by_code", Method::POST, "/api/v1/auth/login/code/confirm", Some(r#"{"flow_id":"01890a5d-ac96-774b-bcce-b302099a8057","code":"12345678"}"#), Nothing),
    ("confirm_email", Method::POST, "/api/v1/auth/email/confirm", Some(r#"{"flow_id":"01890a5d-ac96-774b-bcce-b302099a8057","code":"12345678","new_password":"a quiet harbour at dawn"}"#), Optional),
    ("resend_confirmation", Method::POST, "/api/v1/auth/email/resend", Some(r#"{"email":"ada@example.org"}"#), Optional),
    ("undo_email_change", Method::POST, "/api/v1/auth/email/undo", Some(r#"{"token":"x"}"#), Nothing),
    ("forgot_password", Method::POST, "/api/v1/auth/password/forgot", Some(r#"{"email":"ada@example.org"}"#), Nothing),
    ("reset_password", Method::POST, "/api/v1/auth/password/reset", Some(r#"{"flow_id":"01890a5d-ac96-774b-bcce-b302099a8057","code":"12345678","new_password":"a quiet harbour at dawn"}"#), Nothing),
    ("change_email", Method::POST, "/api/v1/me/email", Some(r#"{"email":"new@example.org"}"#), Scope("account")),
    ("refresh_session", Method::POST, "/api/v1/auth/refresh", Some(r#"{"refresh_token":"{id}"}"#), Nothing),
    ("log_out", Method::POST, "/api/v1/auth/logout", Some(r#"{"refresh_token":"{id}"}"#), Nothing),
    ("create_token", Method::POST, "/api/v1/auth/tokens", None, Basic),
    ("get_session", Method::GET, "/api/v1/auth/session", None, Token),
    ("verify_credentials", Method::GET, "/api/v1/auth/verify", None, Basic),
    ("get_me", Method::GET, "/api/v1/me", None, Scope("account")),
    ("update_me", Method::PATCH, "/api/v1/me", Some(r#"{"display_name":"Changed"}"#), Scope("account")),
    ("list_trips", Method::GET, "/api/v1/trips", None, Scope("trips:read")),
    ("create_trip", Method::POST, "/api/v1/trips", Some(r#"{"title":"Changed"}"#), Scope("trips:write")),
    ("get_trip", Method::GET, "/api/v1/trips/{id}", None, Scope("trips:read")),
    ("update_trip", Method::PATCH, "/api/v1/trips/{id}", Some(r#"{"title":"Changed"}"#), Scope("trips:write")),
    ("delete_trip", Method::DELETE, "/api/v1/trips/{id}", None, Scope("trips:write")),
    // Every PUT is sent with `If-Match: *`.
    ("replace_trip", Method::PUT, "/api/v1/trips/{id}", Some(r#"{"title":"Changed"}"#), Scope("trips:write")),
    ("add_stop", Method::POST, "/api/v1/trips/{id}/stops", Some(r#"{"name":"Changed","latitude":1,"longitude":2}"#), Scope("trips:write")),
    ("update_stop", Method::PATCH, "/api/v1/trips/{id}/stops/{stop_id}", Some(r#"{"name":"Changed"}"#), Scope("trips:write")),
    ("remove_stop", Method::DELETE, "/api/v1/trips/{id}/stops/{stop_id}", None, Scope("trips:write")),
    ("order_stops", Method::PUT, "/api/v1/trips/{id}/stops/order", Some(r#"{"stop_ids":["{stop_id}"]}"#), Scope("trips:write")),
    ("share_trip", Method::PUT, "/api/v1/trips/{id}/share", None, Scope("trips:write")),
    ("unshare_trip", Method::DELETE, "/api/v1/trips/{id}/share", None, Scope("trips:write")),
    ("get_shared_trip", Method::GET, "/api/v1/shared/{token}", None, Nothing),
    ("get_changes", Method::GET, "/api/v1/sync", None, Scope("trips:read")),
    ("send_operations", Method::POST, "/api/v1/sync", Some(r#"{"operations":[{"op_id":"6f9619ff-8b86-4011-b42d-00cf4fc964ff","op":"delete","id":"01890a5d-ac96-774b-bcce-b302099a8057","base_version":1}]}"#), Scope("trips:write")),
    ("list_personal_tokens", Method::GET, "/api/v1/me/tokens", None, Scope("account")),
    ("create_personal_token", Method::POST, "/api/v1/me/tokens", Some(r#"{"name":"Changed","scope":"account"}"#), Scope("account")),
    ("delete_personal_token", Method::DELETE, "/api/v1/me/tokens/{id}", None, Scope("account")),
    ("end_reported_session", Method::POST, "/api/v1/auth/session/end", Some(r#"{"token":"x"}"#), Nothing),
    ("begin_passkey_registration", Method::POST, "/api/v1/me/passkeys/options", None, Scope("account")),
    ("create_passkey", Method::POST, "/api/v1/me/passkeys", Some(r#"{"challenge_id":"{id}","credential":{code}}"#), Scope("account")),
    ("list_passkeys", Method::GET, "/api/v1/me/passkeys", None, Scope("account")),
    ("rename_passkey", Method::PATCH, "/api/v1/me/passkeys/{id}", Some(r#"{"name":"Changed"}"#), Scope("account")),
    ("delete_passkey", Method::DELETE, "/api/v1/me/passkeys/{id}", None, Scope("account")),
    ("begin_reauthentication", Method::POST, "/api/v1/me/reauthenticate/options", None, Scope("account")),
    ("list_sessions", Method::GET, "/api/v1/me/sessions", None, Scope("account")),
    ("end_session", Method::DELETE, "/api/v1/me/sessions/{id}", None, Scope("account")),
    ("end_other_sessions", Method::DELETE, "/api/v1/me/sessions", None, Scope("account")),
    ("reauthenticate_me", Method::POST, "/api/v1/me/reauthenticate", Some(r#"{"password":"a quiet harbour at dusk"}"#), Scope("account")),
    ("send_reauthentication_code", Method::POST, "/api/v1/me/reauthenticate/code", None, Scope("account")),
    ("enrol_totp", Method::POST, "/api/v1/me/totp", None, Scope("account")),
    ("confirm_totp", Method::POST, "/api/v1/me/totp/confirm", Some(r#"{"code":"{code}"}"#), Scope("account")),
    ("remove_totp", Method::DELETE, "/api/v1/me/totp", None, Scope("account")),
    ("count_recovery_codes", Method::GET, "/api/v1/me/recovery-codes", None, Scope("account")),
    ("replace_recovery_codes", Method::POST, "/api/v1/me/recovery-codes", None, Scope("account")),
    ("change_password", Method::POST, "/api/v1/me/password", Some(r#"{"current_password":"a quiet harbour at dusk","new_password":"a quiet harbour at dusk"}"#), Scope("account")),
    ("list_events", Method::GET, "/api/v1/me/events", None, Scope("account")),
    ("export_me", Method::GET, "/api/v1/me/export", None, Scope("account")),
    // This row follows all other rows of the account, because the call deletes the account.
    ("delete_me", Method::DELETE, "/api/v1/me", Some(r#"{"password":"a quiet harbour at dusk"}"#), Scope("account")),
    ("introspect_token", Method::POST, "/api/v1/auth/introspect", Some("token=x"), Service),
    ("revoke_token", Method::POST, "/api/v1/auth/revoke", Some("token=x"), Service),
    ("get_key_set", Method::GET, "/.well-known/jwks.json", None, Nothing),
    ("get_server_metadata", Method::GET, "/.well-known/oauth-authorization-server", None, Nothing),
    ("get_liveness", Method::GET, "/health/live", None, Nothing),
    ("get_readiness", Method::GET, "/health/ready", None, Nothing),
];

/// The operations whose body contains a code or token from a mail. The tests of recovery send valid ones.
const WITH_MAILED_PROOF: [&str; 5] =
    ["log_in_by_code", "confirm_email", "undo_email_change", "reset_password", "end_reported_session"];

const SCOPES: [&str; 3] = ["account", "trips:read", "trips:write"];
const CHALLENGE: &str = r#"Bearer realm="tripgate""#;
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

fn token_rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|(.., needs)| matches!(needs, Token | Scope(_)))
}

/// Builds the request of a row for the resource with this id.
pub(crate) fn call(client: &Client, row: &Row, id: &str) -> Call {
    let (_, method, path, body, _) = row;
    // For some resources, `id` has two parts, separated by a space. The second part replaces `{code}`.
    let (id, code) = id.split_once(' ').unwrap_or((id, "000000"));
    let fill = |text: &str| {
        let text = text.replace("{id}", id).replace("{stop_id}", STOP_ID).replace("{token}", id);
        text.replace("{code}", code)
    };
    let mut call = client.call(method.clone(), &fill(path));
    if *method == Method::PUT {
        call = call.header("if-match", "*");
    }
    match body {
        Some(json) if json.starts_with('{') => {
            call.header("content-type", "application/json").body(fill(json))
        }
        Some(form) => call.header("content-type", "application/x-www-form-urlencoded").body(*form),
        None => call,
    }
}

/// Returns the status, headers and body without the request id and the date, for comparisons.
fn comparable(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.json();
    body["request_id"] = Value::Null;
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (reply.status, headers, body)
}

#[test]
fn the_test_table_lists_every_operation_once_with_its_required_credentials() {
    // S-53
    let documented: BTreeSet<String> = operations()
        .map(|(path, method, operation)| {
            let needs = [&operation["security"], &operation["x-required-scopes"]];
            format!("{} {method} {path} {}", operation["operationId"], json!(needs))
        })
        .collect();
    let listed: BTreeSet<String> = ROWS
        .iter()
        .map(|(id, method, path, _, needs)| {
            let needs = match needs {
                Nothing => json!([[], null]),
                Optional => json!([[{ "bearerAuth": [] }, {}], null]),
                Basic => json!([[{ "basicAuth": [] }], null]),
                Service => json!([[{ "clientAuth": [] }], null]),
                Token => json!([[{ "bearerAuth": [] }], null]),
                Scope(scope) => json!([[{ "bearerAuth": [] }], [scope]]),
            };
            let method = method.as_str().to_lowercase();
            format!("\"{id}\" {method} {path} {needs}")
        })
        .collect();
    let missing: Vec<_> = documented.difference(&listed).collect();
    let superfluous: Vec<_> = listed.difference(&documented).collect();
    assert!(
        missing.is_empty() && superfluous.is_empty(),
        "without a row: {missing:#?}\nwithout an operation: {superfluous:#?}"
    );
    assert_eq!(listed.len(), ROWS.len(), "duplicate rows");
}

#[tokio::test]
async fn the_minimum_credentials_of_each_operation_are_sufficient() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let gate = app.services().clients.add("gate").await.unwrap();
    for row in ROWS {
        let (name, _, path, _, needs) = row;
        if ["confirm_totp", "replace_recovery_codes"].contains(name) {
            // After these operations, the account has a second factor, so a password alone is not enough to log in.
            continue;
        }
        let (id, _) = create_target(&ada, path).await;
        let reply = match needs {
            Nothing | Optional => call(&app.anonymous(), row, &id).await,
            Basic => call(&app.anonymous(), row, &id).basic("ada", PASSWORD).await,
            Service => call(&app.anonymous(), row, &id).basic(&gate.id, &gate.secret).await,
            Token => call(&app.log_in_for("ada", SCOPES[0]).await, row, &id).await,
            Scope(scope) => call(&app.log_in_for("ada", scope).await, row, &id).await,
        };
        if WITH_MAILED_PROOF.contains(name) {
            reply.expect(422).problem("invalid_code");
            continue;
        }
        assert!((200..300).contains(&reply.status), "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn the_scope_account_is_sufficient_to_enrol_an_authenticator_app() {
    let app = TestApp::start().await;
    app.sign_up("ada").await;
    let ada = app.log_in_for("ada", "account").await;
    enrol(&ada, app.clock.now()).await;
    ada.post("/api/v1/me/recovery-codes").await.expect(200);
}

#[tokio::test]
async fn a_request_without_a_token_gets_a_challenge_without_an_error_code() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in token_rows() {
        let (id, _) = create_target(&ada, row.2).await;
        let missing = call(&app.anonymous(), row, &id).await;
        let missing = missing.expect(401).problem("unauthenticated");
        assert_eq!(missing.header("www-authenticate"), CHALLENGE, "{}", row.0);
        // Neither a password nor a token in the query is accepted as an access token.
        let password = call(&app.anonymous(), row, &id).basic("ada", PASSWORD).await;
        let password = password.expect(401).problem("unauthenticated");
        assert_eq!(password.header("www-authenticate"), CHALLENGE, "{}", row.0);
        let query = format!("{}?token={}", row.2.replace("{id}", &id), ada.token());
        let query = app.anonymous().call(row.1.clone(), &query).await;
        query.expect(401).problem("unauthenticated");
    }
}

#[tokio::test]
async fn an_invalid_token_gets_401_before_the_body_is_parsed() {
    // S-19, S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut forged = ada.token().to_owned();
    let last = if forged.pop() == Some('A') { 'g' } else { 'A' };
    forged.push(last);
    let refresh = ada.grant()["refresh_token"].as_str().unwrap();
    for row in token_rows() {
        let (id, _) = create_target(&ada, row.2).await;
        for token in ["x", "a.b.c", "null", forged.as_str(), refresh] {
            let invalid = app.anonymous().with_token(token);
            let path = row.2.replace("{id}", &id);
            for reply in [call(&invalid, row, &id).await, invalid.call(row.1.clone(), &path).body("{").await]
            {
                let reply = reply.expect(401).problem("invalid_token");
                let challenge = reply.header("www-authenticate");
                assert!(
                    challenge.starts_with(&format!(r#"{CHALLENGE}, error="invalid_token""#)),
                    "{}: {challenge}",
                    row.0
                );
            }
        }
    }
}

#[tokio::test]
async fn a_missing_scope_is_named_in_the_www_authenticate_header() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS {
        let Scope(scope) = row.4 else { continue };
        let (id, state) = create_target(&ada, row.2).await;
        let before = ada.get(&state).await.expect(200).json();
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let narrow = app.log_in_for("ada", &others.join(" ")).await;
        let reply = call(&narrow, row, &id).await;
        let reply = reply.expect(403).problem("insufficient_scope");
        assert_eq!(
            reply.header("www-authenticate"),
            format!(r#"{CHALLENGE}, error="insufficient_scope", scope="{scope}""#),
            "{}",
            row.0
        );
        assert_eq!(ada.get(&state).await.expect(200).json(), before, "{}", row.0);
    }
}

#[tokio::test]
async fn two_credentials_in_one_request_are_rejected() {
    // S-30
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS.iter().filter(|(.., needs)| *needs != Nothing) {
        let (id, _) = create_target(&ada, row.2).await;
        let twice = call(&ada, row, &id).header("authorization", format!("Bearer {}", ada.token()));
        twice.await.expect(400).problem("conflicting_credentials");
        let both = call(&ada, row, &id).header("authorization", "Basic YWRhOng=");
        both.await.expect(400).problem("conflicting_credentials");
    }
}

#[tokio::test]
async fn operations_with_basic_authentication_accept_only_a_password() {
    // S-17, S-26
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS.iter().filter(|(.., needs)| *needs == Basic) {
        for (client, code) in [(app.anonymous(), "unauthenticated"), (ada.clone(), "unauthenticated")] {
            let reply = call(&client, row, "").await.expect(401).problem(code);
            assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE, "{}", row.0);
        }
        for (identifier, password) in [("ada", "x"), ("nobody", PASSWORD), ("ada", ada.token())] {
            let reply = call(&app.anonymous(), row, "").basic(identifier, password).await;
            let reply = reply.expect(401).problem("invalid_credentials");
            assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE, "{}", row.0);
        }
    }
}

#[tokio::test]
async fn operations_for_registered_clients_accept_only_client_credentials_and_other_operations_reject_them() {
    // S-43
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let gate = app.services().clients.add("gate").await.unwrap();
    for row in ROWS.iter().filter(|(.., needs)| *needs == Service) {
        let mut replies = vec![call(&app.anonymous(), row, "").await, call(&ada, row, "").await];
        for (id, secret) in [
            ("ada", PASSWORD),
            (ada.token(), ""),
            (&gate.id, ""),
            (&gate.id, "x"),
            (&gate.id, &gate.id),
            ("gate", &gate.secret),
            ("", &gate.secret),
            (&gate.secret, &gate.id),
        ] {
            replies.push(call(&app.anonymous(), row, "").basic(id, secret).await);
        }
        for reply in replies {
            let reply = reply.expect(401).problem("invalid_client");
            assert_eq!(reply.header("www-authenticate"), BASIC_CHALLENGE, "{}", row.0);
        }
    }
    // Other operations reject client credentials.
    for row in ROWS.iter().filter(|(.., needs)| matches!(needs, Basic | Token | Scope(_))) {
        let reply = call(&app.anonymous(), row, STOP_ID).basic(&gate.id, &gate.secret).await;
        assert_eq!(reply.status, 401, "{}", row.0);
    }
}

#[tokio::test]
async fn another_users_resource_and_a_missing_resource_return_the_same_404() {
    // S-53, S-54
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    for row in token_rows().filter(|row| row.2.contains("{id}")) {
        let (id, state) = create_target(&ada, row.2).await;
        let before = ada.get(&state).await.expect(200);
        let foreign = call(&eve, row, &id).await.expect(404).problem("not_found");
        let missing = call(&eve, row, &app.clock.new_id().to_string()).await;
        let missing = missing.expect(404).problem("not_found");
        assert_eq!(comparable(&foreign), comparable(&missing), "{}", row.0);
        let after = ada.get(&state).await.expect(200);
        assert_eq!(comparable(&after), comparable(&before), "{}", row.0);
    }
}

#[tokio::test]
async fn requests_of_one_user_neither_show_nor_change_the_data_of_another_user() {
    // S-53
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let (id, trip) = create_target(&ada, "/api/v1/trips/{id}").await;
    let ada_state = async || {
        let mut bodies = Vec::new();
        for path in [trip.as_str(), "/api/v1/trips", "/api/v1/me"] {
            bodies.push(ada.get(path).await.expect(200).json());
        }
        bodies
    };
    let before = ada_state().await;
    for row in token_rows() {
        let reply = call(&eve, row, &id).await;
        for secret in [CANARY, id.as_str(), ada.id(), "ada@"] {
            assert!(!reply.text().contains(secret), "{}: {}", row.0, reply.text());
        }
        assert_eq!(ada_state().await, before, "{}", row.0);
    }
}
