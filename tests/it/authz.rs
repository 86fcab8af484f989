//! Who may call what: one row an operation, and everything that must not get through.
//!
//! An operation without a row fails here, so nobody can add one and forget to ask who may call it.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::conformance::operations;
use crate::harness::{Call, Client, PASSWORD, Reply, TestApp};

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Needs {
    Nothing,
    Basic,
    /// The credentials of a service.
    Service,
    /// An access token, whatever it is good for.
    Token,
    /// An access token with this scope.
    Scope(&'static str),
}
use Needs::{Basic, Nothing, Scope, Service, Token};

/// Operation id, method, path template, a body that a good call sends, what it needs.
pub(crate) type Row = (&'static str, Method, &'static str, Option<&'static str>, Needs);

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    ("sign_up", Method::POST, "/api/v1/auth/signup", Some(r#"{"username":"bob","password":"a quiet harbour at dawn"}"#), Nothing),
    ("log_in", Method::POST, "/api/v1/auth/login", Some(r#"{"identifier":"ada","password":"a quiet harbour at dusk"}"#), Nothing),
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
    // A condition that holds wherever there is a trip is sent with each PUT.
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
    ("list_sessions", Method::GET, "/api/v1/me/sessions", None, Scope("account")),
    ("end_session", Method::DELETE, "/api/v1/me/sessions/{id}", None, Scope("account")),
    ("end_other_sessions", Method::DELETE, "/api/v1/me/sessions", None, Scope("account")),
    // The last of them, for who has called it can call no more.
    ("delete_me", Method::DELETE, "/api/v1/me", Some(r#"{"password":"a quiet harbour at dusk"}"#), Scope("account")),
    ("introspect_token", Method::POST, "/api/v1/auth/introspect", Some("token=x"), Service),
    ("revoke_token", Method::POST, "/api/v1/auth/revoke", Some("token=x"), Service),
    ("get_key_set", Method::GET, "/.well-known/jwks.json", None, Nothing),
    ("get_server_metadata", Method::GET, "/.well-known/oauth-authorization-server", None, Nothing),
    ("get_liveness", Method::GET, "/health/live", None, Nothing),
    ("get_readiness", Method::GET, "/health/ready", None, Nothing),
];

const SCOPES: [&str; 3] = ["account", "trips:read", "trips:write"];
const CHALLENGE: &str = r#"Bearer realm="tripgate""#;
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;
const SOMEWHERE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Stands in what ada alone may see.
const CANARY: &str = "Ada's secret journey";

fn behind_a_token() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|(.., needs)| matches!(needs, Token | Scope(_)))
}

/// The call of a row, about the thing of this id.
pub(crate) fn call(client: &Client, row: &Row, id: &str) -> Call {
    let (_, method, path, body, _) = row;
    let filled = |text: &str| text.replace("{id}", id).replace("{stop_id}", SOMEWHERE).replace("{token}", id);
    let mut call = client.call(method.clone(), &filled(path));
    if *method == Method::PUT {
        call = call.header("if-match", "*");
    }
    match body {
        Some(json) if json.starts_with('{') => {
            call.header("content-type", "application/json").body(filled(json))
        }
        Some(form) => call.header("content-type", "application/x-www-form-urlencoded").body(*form),
        None => call,
    }
}

/// Makes something of the kind that `{id}` names in this path; gives its id and where it can be seen.
pub(crate) async fn something(owner: &Client, path: &str) -> (String, String) {
    let me = "/api/v1/me".to_owned();
    let of_new_session = async |member: &str| {
        let body = json!({ "identifier": owner.grant()["user"]["username"], "password": PASSWORD });
        let grant = owner.post("/api/v1/auth/login").json(&body).await.expect(200).json();
        grant[member].as_str().unwrap().to_owned()
    };
    match path {
        "/api/v1/auth/refresh" | "/api/v1/auth/logout" => return (of_new_session("refresh_token").await, me),
        "/api/v1/me/sessions/{id}" => return (of_new_session("session_id").await, me),
        "/api/v1/shared/{token}" => {
            let trip = Box::pin(something(owner, "/api/v1/trips/{id}")).await.1;
            let shared = owner.put(&format!("{trip}/share")).await.expect(200).json();
            return (shared["token"].as_str().unwrap().to_owned(), trip);
        }
        _ => {}
    }
    let Some((collection, _)) = path.split_once("/{id}") else {
        return (String::new(), me);
    };
    let body = match collection {
        "/api/v1/trips" => {
            let stop = json!({ "id": SOMEWHERE, "name": CANARY, "latitude": 1, "longitude": 2 });
            json!({ "title": CANARY, "notes": CANARY, "stops": [stop] })
        }
        _ => panic!("say here how something under {collection} is made"),
    };
    let made = owner.post(collection).json(&body).await.expect(201).json();
    let id = made["id"].as_str().unwrap();
    (id.to_owned(), format!("{collection}/{id}"))
}

/// What may differ between two answers that tell the same: the names of the requests.
fn told(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
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
fn every_operation_has_a_row_and_every_row_an_operation() {
    // S-53
    let documented: BTreeSet<String> = operations()
        .map(|(path, method, operation)| {
            let needs = [&operation["security"], &operation["x-required-scopes"]];
            format!("{} {method} {path} {}", operation["operationId"], json!(needs))
        })
        .collect();
    let here: BTreeSet<String> = ROWS
        .iter()
        .map(|(id, method, path, _, needs)| {
            let needs = match needs {
                Nothing => json!([[], null]),
                Basic => json!([[{ "basicAuth": [] }], null]),
                Service => json!([[{ "clientAuth": [] }], null]),
                Token => json!([[{ "bearerAuth": [] }], null]),
                Scope(scope) => json!([[{ "bearerAuth": [] }], [scope]]),
            };
            let method = method.as_str().to_lowercase();
            format!("\"{id}\" {method} {path} {needs}")
        })
        .collect();
    let missing: Vec<_> = documented.difference(&here).collect();
    let superfluous: Vec<_> = here.difference(&documented).collect();
    assert!(
        missing.is_empty() && superfluous.is_empty(),
        "without a row: {missing:#?}\nwithout an operation: {superfluous:#?}"
    );
    assert_eq!(here.len(), ROWS.len(), "two rows are the same");
}

#[tokio::test]
async fn a_call_with_what_its_row_needs_and_nothing_more_succeeds() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let gate = app.rooms().clients.add("gate").await.unwrap();
    for row in ROWS {
        let (name, _, path, _, needs) = row;
        let (id, _) = something(&ada, path).await;
        let reply = match needs {
            Nothing => call(&app.anonymous(), row, &id).await,
            Basic => call(&app.anonymous(), row, &id).basic("ada", PASSWORD).await,
            Service => call(&app.anonymous(), row, &id).basic(&gate.id, &gate.secret).await,
            Token => call(&app.log_in_for("ada", SCOPES[0]).await, row, &id).await,
            Scope(scope) => call(&app.log_in_for("ada", scope).await, row, &id).await,
        };
        assert!((200..300).contains(&reply.status), "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn without_a_token_there_is_a_bare_challenge() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in behind_a_token() {
        let (id, _) = something(&ada, row.2).await;
        let nobody = call(&app.anonymous(), row, &id).await;
        let nobody = nobody.expect(401).problem("unauthenticated");
        assert_eq!(nobody.header("www-authenticate"), CHALLENGE, "{}", row.0);
        // A password is no token; a token in the query is none either.
        let password = call(&app.anonymous(), row, &id).basic("ada", PASSWORD).await;
        let password = password.expect(401).problem("unauthenticated");
        assert_eq!(password.header("www-authenticate"), CHALLENGE, "{}", row.0);
        let query = format!("{}?token={}", row.2.replace("{id}", &id), ada.token());
        let query = app.anonymous().call(row.1.clone(), &query).await;
        query.expect(401).problem("unauthenticated");
    }
}

#[tokio::test]
async fn a_bad_token_is_an_invalid_token_whatever_else_is_sent() {
    // S-19, S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut forged = ada.token().to_owned();
    let last = if forged.pop() == Some('A') { 'g' } else { 'A' };
    forged.push(last);
    let refresh = ada.grant()["refresh_token"].as_str().unwrap();
    for row in behind_a_token() {
        let (id, _) = something(&ada, row.2).await;
        for token in ["x", "a.b.c", "null", forged.as_str(), refresh] {
            let bad = app.anonymous().with_token(token);
            let path = row.2.replace("{id}", &id);
            for reply in [call(&bad, row, &id).await, bad.call(row.1.clone(), &path).body("{").await] {
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
async fn a_token_that_lacks_the_scope_is_told_which() {
    // S-29
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS {
        let Scope(scope) = row.4 else { continue };
        let (id, seen) = something(&ada, row.2).await;
        let before = ada.get(&seen).await.expect(200).json();
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
        assert_eq!(ada.get(&seen).await.expect(200).json(), before, "{}", row.0);
    }
}

#[tokio::test]
async fn two_credentials_in_one_request_are_rejected() {
    // S-30
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for row in ROWS.iter().filter(|(.., needs)| *needs != Nothing) {
        let (id, _) = something(&ada, row.2).await;
        let twice = call(&ada, row, &id).header("authorization", format!("Bearer {}", ada.token()));
        twice.await.expect(400).problem("conflicting_credentials");
        let both = call(&ada, row, &id).header("authorization", "Basic YWRhOng=");
        both.await.expect(400).problem("conflicting_credentials");
    }
}

#[tokio::test]
async fn only_a_password_opens_what_asks_for_basic() {
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
async fn only_a_service_opens_what_asks_for_one() {
    // S-43
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let gate = app.rooms().clients.add("gate").await.unwrap();
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
    // Nor are its credentials good for anything else.
    for row in ROWS.iter().filter(|(.., needs)| matches!(needs, Basic | Token | Scope(_))) {
        let reply = call(&app.anonymous(), row, SOMEWHERE).basic(&gate.id, &gate.secret).await;
        assert_eq!(reply.status, 401, "{}", row.0);
    }
}

#[tokio::test]
async fn a_stranger_is_told_of_someone_elses_thing_what_is_told_of_a_missing_one() {
    // S-53, S-54
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    for row in behind_a_token().filter(|row| row.2.contains("{id}")) {
        let (id, seen) = something(&ada, row.2).await;
        let before = ada.get(&seen).await.expect(200);
        let foreign = call(&eve, row, &id).await.expect(404).problem("not_found");
        let missing = call(&eve, row, &app.clock.new_id().to_string()).await;
        let missing = missing.expect(404).problem("not_found");
        assert_eq!(told(&foreign), told(&missing), "{}", row.0);
        let after = ada.get(&seen).await.expect(200);
        assert_eq!(told(&after), told(&before), "{}", row.0);
    }
}

#[tokio::test]
async fn nothing_that_somebody_else_calls_shows_or_changes_what_is_mine() {
    // S-53
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let (id, trip) = something(&ada, "/api/v1/trips/{id}").await;
    let mine = async || {
        let mut seen = Vec::new();
        for path in [trip.as_str(), "/api/v1/trips", "/api/v1/me"] {
            seen.push(ada.get(path).await.expect(200).json());
        }
        seen
    };
    let before = mine().await;
    for row in behind_a_token() {
        let reply = call(&eve, row, &id).await;
        for secret in [CANARY, id.as_str(), ada.id(), "ada@"] {
            assert!(!reply.text().contains(secret), "{}: {}", row.0, reply.text());
        }
        assert_eq!(mine().await, before, "{}", row.0);
    }
}
