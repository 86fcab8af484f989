//! The examples of the OpenAPI document: each example request is sent and must succeed, and each example
//! response must have the form of the real one.
//!
//! A test fails for an operation without a row, so a new operation can't be added without a test of its
//! examples.

mod scene;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use self::scene::Scene;
use super::forms::form;
use crate::harness::conformance::{operations, resolved, validate};

/// The credentials of the request.
#[derive(Clone, Copy, Debug)]
enum By {
    Anonymous,
    /// Grace's access token.
    Grace,
    /// An access token of Grace that can write trips but not read them.
    Writer,
    /// Grace's password.
    Basic,
    /// A registered client.
    Service,
}
use By::{Anonymous, Basic, Grace, Service, Writer};

/// The state before the request. The tests create this state from examples of other operations.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// No account, on a server with the sign-up mode `confirm_first`.
    ConfirmFirst,
    Account,
    /// The account, and a personal access token.
    PersonalToken,
    /// The account, and a trip with the id in the examples.
    Trip,
    /// Two trips.
    Trips,
    /// A cursor of the change feed. Then a trip is created, and another trip is created and deleted.
    Deleted,
    /// A trip with a share link.
    Shared,
    /// The account, and a passkey.
    Passkey,
    /// The account, with an unconfirmed authenticator app.
    Enrolling,
    /// The account, with an authenticator app.
    Enrolled,
}
use Before::{Account, ConfirmFirst, Deleted, Enrolled, Enrolling, Nothing, Shared, Trip, Trips};

/// Operation id, status, credentials, previous state, and what an example can't contain: a query, a header,
/// or a valid token.
type Row = (&'static str, u16, By, Before, Extra);

#[derive(Clone, Copy, Debug)]
enum Extra {
    None,
    Query(&'static str),
    Header(&'static str, &'static str),
    /// Replaces the value at this JSON pointer in the request by the access token.
    Access(&'static str),
    /// Replaces the value at this JSON pointer in the request by the refresh token.
    Refresh(&'static str),
    /// Replaces the value at this JSON pointer in the request by a code of the authenticator app, and the
    /// `mfa_token` by the `mfa_token` of a login.
    Code(&'static str),
    /// Replaces the challenge and the credential by those for a login with the passkey.
    Passkey,
    /// Replaces the challenge and the credential by those for a new passkey.
    NewPasskey,
    /// Replaces the flow and its code by those of the sign-up.
    SignUpCode,
    /// Replaces the flow and its code by those of a flow that a request to this path begins.
    MailedCode(&'static str),
    /// Replaces the token by the token in the mail that reports a change of address.
    UndoToken,
    /// Replaces the token by the token in the mail that reports a new device.
    DeviceToken,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("sign_up", 201, Anonymous, Nothing, Extra::None),
    ("sign_up", 202, Anonymous, ConfirmFirst, Extra::None),
    ("log_in", 200, Anonymous, Account, Extra::None),
    ("complete_login", 200, Anonymous, Enrolled, Extra::Code("/totp_code")),
    ("begin_passkey_login", 200, Anonymous, Account, Extra::None),
    ("log_in_with_passkey", 200, Anonymous, Before::Passkey, Extra::Passkey),
    ("send_login_code", 202, Anonymous, Account, Extra::None),
    ("log_in_by_code", 200, Anonymous, Account, Extra::MailedCode("/api/v1/auth/login/code")),
    ("confirm_email", 204, Anonymous, Account, Extra::SignUpCode),
    ("resend_confirmation", 202, Anonymous, Account, Extra::None),
    ("undo_email_change", 204, Anonymous, Account, Extra::UndoToken),
    ("forgot_password", 202, Anonymous, Account, Extra::None),
    ("reset_password", 204, Anonymous, Account, Extra::MailedCode("/api/v1/auth/password/forgot")),
    ("change_email", 202, Grace, Account, Extra::None),
    ("refresh_session", 200, Anonymous, Account, Extra::Refresh("/refresh_token")),
    ("log_out", 204, Anonymous, Account, Extra::Refresh("/refresh_token")),
    ("create_token", 200, Basic, Account, Extra::None),
    ("get_session", 200, Grace, Account, Extra::None),
    ("verify_credentials", 200, Basic, Account, Extra::None),
    ("get_me", 200, Grace, Account, Extra::None),
    ("update_me", 200, Grace, Account, Extra::None),
    ("reauthenticate_me", 200, Grace, Account, Extra::None),
    ("send_reauthentication_code", 202, Grace, Account, Extra::None),
    ("change_password", 204, Grace, Account, Extra::None),
    ("list_events", 200, Grace, Account, Extra::None),
    ("export_me", 200, Grace, Shared, Extra::None),
    ("delete_me", 204, Grace, Account, Extra::None),
    ("end_reported_session", 204, Anonymous, Account, Extra::DeviceToken),
    ("list_sessions", 200, Grace, Account, Extra::None),
    ("end_session", 204, Grace, Account, Extra::None),
    ("end_other_sessions", 204, Grace, Account, Extra::None),
    ("list_personal_tokens", 200, Grace, Before::PersonalToken, Extra::None),
    ("create_personal_token", 201, Grace, Account, Extra::None),
    ("delete_personal_token", 204, Grace, Before::PersonalToken, Extra::None),
    ("begin_passkey_registration", 200, Grace, Account, Extra::None),
    ("create_passkey", 201, Grace, Account, Extra::NewPasskey),
    ("list_passkeys", 200, Grace, Before::Passkey, Extra::None),
    ("rename_passkey", 200, Grace, Before::Passkey, Extra::None),
    ("delete_passkey", 204, Grace, Before::Passkey, Extra::None),
    ("begin_reauthentication", 200, Grace, Before::Passkey, Extra::None),
    ("enrol_totp", 200, Grace, Account, Extra::None),
    ("confirm_totp", 200, Grace, Enrolling, Extra::Code("/code")),
    ("remove_totp", 204, Grace, Enrolled, Extra::None),
    ("count_recovery_codes", 200, Grace, Enrolled, Extra::None),
    ("replace_recovery_codes", 200, Grace, Enrolled, Extra::None),
    ("list_trips", 200, Grace, Trips, Extra::Query("?limit=1")),
    ("create_trip", 201, Grace, Account, Extra::None),
    ("create_trip", 204, Writer, Account, Extra::None),
    ("get_trip", 200, Grace, Trip, Extra::None),
    ("update_trip", 200, Grace, Trip, Extra::None),
    ("update_trip", 204, Writer, Trip, Extra::None),
    ("delete_trip", 204, Grace, Trip, Extra::None),
    ("replace_trip", 200, Grace, Trip, Extra::Header("if-match", "*")),
    ("replace_trip", 201, Grace, Account, Extra::Header("if-none-match", "*")),
    ("replace_trip", 204, Writer, Trip, Extra::Header("if-match", "*")),
    ("add_stop", 201, Grace, Trip, Extra::None),
    ("add_stop", 204, Writer, Trip, Extra::None),
    ("update_stop", 200, Grace, Trip, Extra::None),
    ("update_stop", 204, Writer, Trip, Extra::None),
    ("remove_stop", 204, Grace, Trip, Extra::None),
    ("order_stops", 200, Grace, Trip, Extra::None),
    ("order_stops", 204, Writer, Trip, Extra::None),
    ("share_trip", 200, Grace, Trip, Extra::None),
    ("unshare_trip", 204, Grace, Shared, Extra::None),
    ("get_shared_trip", 200, Anonymous, Shared, Extra::None),
    ("get_changes", 200, Grace, Deleted, Extra::Query("?cursor={token}")),
    ("send_operations", 200, Grace, Trip, Extra::None),
    ("introspect_token", 200, Service, Account, Extra::Access("/token")),
    ("revoke_token", 200, Service, Account, Extra::Access("/token")),
    ("get_key_set", 200, Anonymous, Nothing, Extra::None),
    ("get_server_metadata", 200, Anonymous, Nothing, Extra::None),
    ("get_liveness", 200, Anonymous, Nothing, Extra::None),
    ("get_readiness", 200, Anonymous, Nothing, Extra::None),
];

fn operation(id: &str) -> (&'static str, Method, &'static Value) {
    let mut all = operations();
    let (path, method, operation) = all.find(|(_, _, operation)| operation["operationId"] == id).unwrap();
    (path, method.to_uppercase().parse().unwrap(), operation)
}

/// Returns the media type, schema and example of a body.
fn body(described: &'static Value) -> Option<(&'static str, &'static Value, &'static Value)> {
    let (media, content) = described["content"].as_object()?.iter().next()?;
    Some((media, &content["schema"], &content["example"]))
}

fn request_body(id: &str) -> Option<(&'static str, &'static Value, &'static Value)> {
    body(&operation(id).2["requestBody"])
}

fn response_body(id: &str, status: u16) -> Option<(&'static str, &'static Value, &'static Value)> {
    body(resolved(&operation(id).2["responses"][status.to_string()]))
}

#[test]
fn the_examples_of_every_success_status_of_every_operation_are_tested() {
    let documented: BTreeSet<String> = operations()
        .flat_map(|(_, _, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let successes = statuses.filter(|status| status.starts_with('2'));
            successes.map(move |status| format!("{} {status}", operation["operationId"].as_str().unwrap()))
        })
        .collect();
    let listed: BTreeSet<String> = ROWS.iter().map(|(id, status, ..)| format!("{id} {status}")).collect();
    assert_eq!(listed, documented);
    assert_eq!(listed.len(), ROWS.len(), "duplicate rows");
}

#[test]
fn every_request_and_success_body_has_a_valid_example() {
    for (id, status, ..) in ROWS {
        let bodies =
            [("request".to_owned(), request_body(id)), (status.to_string(), response_body(id, *status))];
        for (name, (_, schema, example)) in bodies.into_iter().filter_map(|(name, body)| Some((name, body?)))
        {
            assert!(!example.is_null(), "{id}, {name}: no example");
            validate(schema, example).unwrap_or_else(|violation| panic!("{id}, {name}: {violation}"));
        }
    }
}

#[tokio::test]
async fn each_example_request_succeeds_and_the_response_has_the_form_of_its_example() {
    let mut failures = Vec::new();
    for row in ROWS {
        let (id, status, _, before, _) = *row;
        let reply = Scene::new(before).await.send(row).await;
        if reply.status != status {
            failures.push(format!("{id}: {} {}", reply.status, reply.text()));
        } else if let Some((_, _, example)) = response_body(id, status) {
            let (real, documented) = (form(&reply.json()), form(example));
            if real != documented {
                failures
                    .push(format!("{id} {status}: the response is {real}\nbut the example is {documented}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_example_of_a_response_matches_the_example_of_its_request() {
    let mut compared = 0;
    for (id, status, ..) in ROWS {
        let (Some((_, _, request)), Some((_, _, response))) = (request_body(id), response_body(id, *status))
        else {
            continue;
        };
        for (name, value) in request.as_object().unwrap() {
            let expected = &response[name];
            if !expected.is_null() && !value.is_array() && *name != "refresh_token" {
                assert_eq!(expected, value, "{id}: {name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared}");
}
