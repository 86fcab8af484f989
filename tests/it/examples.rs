//! Examples of the document: each request's is sent, and has the success that is documented; each
//! answer's has the form of the real one.
//!
//! An operation without a row fails here, so nobody can add one and forget to try its example.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::conformance::{fits, operations, resolved};
use crate::harness::{Call, Client, Reply, TestApp};

/// Who sends the request.
#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    Grace,
    /// With her password.
    Basic,
    Service,
}
use By::{Basic, Grace, Nobody, Service};

/// What has to be there before, from examples too.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    Account,
    /// The account and a trip of the id that the examples name.
    Trip,
    /// Two trips.
    Trips,
    /// A cursor, then a trip, and one that is gone.
    Deleted,
    /// A trip, and a link to it.
    Shared,
}
use Before::{Account, Deleted, Nothing, Shared, Trip, Trips};

/// Operation id, status, who, what before, and what no example can hold: the query, a header, or a token in
/// place of the one at this pointer.
type Row = (&'static str, u16, By, Before, Extra);

#[derive(Clone, Copy, Debug)]
enum Extra {
    None,
    Query(&'static str),
    Header(&'static str, &'static str),
    /// The token at this pointer into the request.
    Access(&'static str),
    Refresh(&'static str),
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("sign_up", 201, Nobody, Nothing, Extra::None),
    ("log_in", 200, Nobody, Account, Extra::None),
    ("refresh_session", 200, Nobody, Account, Extra::Refresh("/refresh_token")),
    ("log_out", 204, Nobody, Account, Extra::Refresh("/refresh_token")),
    ("create_token", 200, Basic, Account, Extra::None),
    ("get_session", 200, Grace, Account, Extra::None),
    ("verify_credentials", 200, Basic, Account, Extra::None),
    ("get_me", 200, Grace, Account, Extra::None),
    ("update_me", 200, Grace, Account, Extra::None),
    ("delete_me", 204, Grace, Account, Extra::None),
    ("list_sessions", 200, Grace, Account, Extra::None),
    ("end_session", 204, Grace, Account, Extra::None),
    ("end_other_sessions", 204, Grace, Account, Extra::None),
    ("list_trips", 200, Grace, Trips, Extra::Query("?limit=1")),
    ("create_trip", 201, Grace, Account, Extra::None),
    ("get_trip", 200, Grace, Trip, Extra::None),
    ("update_trip", 200, Grace, Trip, Extra::None),
    ("delete_trip", 204, Grace, Trip, Extra::None),
    ("replace_trip", 200, Grace, Trip, Extra::Header("if-match", "*")),
    ("replace_trip", 201, Grace, Account, Extra::Header("if-none-match", "*")),
    ("add_stop", 201, Grace, Trip, Extra::None),
    ("update_stop", 200, Grace, Trip, Extra::None),
    ("remove_stop", 204, Grace, Trip, Extra::None),
    ("order_stops", 200, Grace, Trip, Extra::None),
    ("share_trip", 200, Grace, Trip, Extra::None),
    ("unshare_trip", 204, Grace, Shared, Extra::None),
    ("get_shared_trip", 200, Nobody, Shared, Extra::None),
    ("get_changes", 200, Grace, Deleted, Extra::Query("?cursor={token}")),
    ("send_operations", 200, Grace, Trip, Extra::None),
    ("introspect_token", 200, Service, Account, Extra::Access("/token")),
    ("revoke_token", 200, Service, Account, Extra::Access("/token")),
    ("get_key_set", 200, Nobody, Nothing, Extra::None),
    ("get_server_metadata", 200, Nobody, Nothing, Extra::None),
    ("get_liveness", 200, Nobody, Nothing, Extra::None),
    ("get_readiness", 200, Nobody, Nothing, Extra::None),
];

fn operation(id: &str) -> (&'static str, Method, &'static Value) {
    let mut all = operations();
    let (path, method, operation) = all.find(|(_, _, operation)| operation["operationId"] == id).unwrap();
    (path, method.to_uppercase().parse().unwrap(), operation)
}

/// The media type, schema and example of a body.
fn body(said: &'static Value) -> Option<(&'static str, &'static Value, &'static Value)> {
    let (media, content) = said["content"].as_object()?.iter().next()?;
    Some((media, &content["schema"], &content["example"]))
}

fn asked(id: &str) -> Option<(&'static str, &'static Value, &'static Value)> {
    body(&operation(id).2["requestBody"])
}

fn told(id: &str, status: u16) -> Option<(&'static str, &'static Value, &'static Value)> {
    body(resolved(&operation(id).2["responses"][status.to_string()]))
}

/// A server with what a row needs, and whoever calls it.
struct Scene {
    app: TestApp,
    grace: Client,
    trip: String,
    /// Of the link, or the cursor from before the trips.
    token: String,
}

impl Scene {
    async fn of(before: Before) -> Self {
        let app = TestApp::start().await;
        let mut scene = Self { grace: app.anonymous(), app, trip: String::new(), token: String::new() };
        if matches!(before, Nothing) {
            return scene;
        }
        let sign_up = scene.grace.post("/api/v1/auth/signup").header("user-agent", "Trips/1.4");
        let grant = sign_up.json(asked("sign_up").unwrap().2).await.expect(201).json();
        scene.grace = scene.grace.granted(&grant);
        // The ids that requests name are those of the example of the answer.
        let shown = told("get_trip", 200).unwrap().2;
        scene.trip = format!("/api/v1/trips/{}", shown["id"].as_str().unwrap());
        if matches!(before, Account) {
            return scene;
        }
        if matches!(before, Deleted) {
            let feed = scene.grace.get("/api/v1/sync").await.expect(200).json();
            feed["next_cursor"].as_str().unwrap().clone_into(&mut scene.token);
        }
        let mut new = asked("create_trip").unwrap().2.clone();
        if matches!(before, Trips) {
            scene.grace.post("/api/v1/trips").json(&new).await.expect(201);
        }
        new["id"] = shown["id"].clone();
        new["stops"][0]["id"] = shown["stops"][0]["id"].clone();
        scene.grace.post("/api/v1/trips").json(&new).await.expect(201);
        match before {
            Deleted => {
                let made = scene.grace.post("/api/v1/trips").json(&json!({ "title": "x" })).await.expect(201);
                scene.grace.delete(made.header("location")).await.expect(204);
            }
            Shared => {
                let made = scene.grace.put(&format!("{}/share", scene.trip)).await.expect(200).json();
                made["token"].as_str().unwrap().clone_into(&mut scene.token);
            }
            _ => {}
        }
        scene
    }

    async fn send(&self, row: &Row) -> Reply {
        let (id, _, by, _, extra) = *row;
        let (template, method, _) = operation(id);
        let trip = self.trip.rsplit('/').next().unwrap();
        let this = if template.contains("/sessions/") { "session_id" } else { "" };
        let this = self.grace.grant()[this].as_str().unwrap_or(trip);
        let stop = told("get_trip", 200).unwrap().2["stops"][0]["id"].as_str().unwrap();
        let query = if let Extra::Query(query) = extra { query } else { "" };
        let path = format!("{template}{query}").replace("{id}", this).replace("{stop_id}", stop);
        let mut call = self.call(by, method, &path.replace("{token}", &self.token)).await;
        if let Extra::Header(name, value) = extra {
            call = call.header(name, value);
        }
        let Some((media, _, example)) = asked(id) else { return call.await };
        let mut body = example.clone();
        let token = match extra {
            Extra::Access(at) => Some((at, "access_token")),
            Extra::Refresh(at) => Some((at, "refresh_token")),
            _ => None,
        };
        if let Some((at, which)) = token {
            *body.pointer_mut(at).unwrap() = self.grace.grant()[which].clone();
        }
        if media == "application/json" {
            return call.json(&body).await;
        }
        let members = body.as_object().unwrap().iter();
        let fields: Vec<_> = members.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        call.form(&fields).await
    }

    async fn call(&self, by: By, method: Method, path: &str) -> Call {
        let account = asked("sign_up").unwrap().2;
        let of_account = |name: &str| account[name].as_str().unwrap();
        let nobody = self.app.anonymous();
        match by {
            Nobody => nobody.call(method, path),
            Grace => self.grace.call(method, path),
            Basic => nobody.call(method, path).basic(of_account("email"), of_account("password")),
            Service => {
                let gate = self.app.rooms().clients.add("gate").await.unwrap();
                nobody.call(method, path).basic(&gate.id, &gate.secret)
            }
        }
    }
}

/// The same value with the kind of each text, number and truth in its place.
fn form(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), form(member))).collect(),
        Value::Array(items) => items.iter().map(form).collect(),
        Value::String(text) => json!(kind(text)),
        Value::Number(number) => json!(if number.is_f64() { "number" } else { "integer" }),
        Value::Bool(_) => json!("boolean"),
        Value::Null => Value::Null,
    }
}

fn kind(text: &str) -> &'static str {
    let instant = |text: &str| text.len() == 24 && text.ends_with('Z');
    match text {
        text if text.len() == 36 && text.parse::<uuid::Uuid>().is_ok() => "id",
        text if instant(text) && text.parse::<chrono::DateTime<chrono::Utc>>().is_ok() => "instant",
        text if text.parse::<chrono::NaiveDate>().is_ok() => "day",
        text if text.parse::<chrono::NaiveDateTime>().is_ok() => "local time",
        text if text.starts_with("https://") => "address",
        _ => "text",
    }
}

#[test]
fn every_operation_has_a_row_for_each_success() {
    let documented: BTreeSet<String> = operations()
        .flat_map(|(_, _, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let good = statuses.filter(|status| status.starts_with('2'));
            good.map(move |status| format!("{} {status}", operation["operationId"].as_str().unwrap()))
        })
        .collect();
    let here: BTreeSet<String> = ROWS.iter().map(|(id, status, ..)| format!("{id} {status}")).collect();
    assert_eq!(here, documented);
    assert_eq!(here.len(), ROWS.len(), "two rows are the same");
}

#[test]
fn every_body_of_a_request_and_of_a_success_has_an_example_that_fits() {
    for (id, status, ..) in ROWS {
        let bodies = [("request".to_owned(), asked(id)), (status.to_string(), told(id, *status))];
        for (which, (_, schema, example)) in
            bodies.into_iter().filter_map(|(which, body)| Some((which, body?)))
        {
            assert!(!example.is_null(), "{id}: no example of the {which}");
            fits(schema, example).unwrap_or_else(|fault| panic!("{id}, {which}: {fault}"));
        }
    }
}

#[tokio::test]
async fn the_example_of_each_request_succeeds_and_its_answer_has_the_form_of_the_example() {
    let mut broken = Vec::new();
    for row in ROWS {
        let (id, status, _, before, _) = *row;
        let reply = Scene::of(before).await.send(row).await;
        if reply.status != status {
            broken.push(format!("{id}: {} {}", reply.status, reply.text()));
        } else if let Some((_, _, example)) = told(id, status) {
            let (real, shown) = (form(&reply.json()), form(example));
            if real != shown {
                broken.push(format!("{id} {status}: the answer is {real}\nbut is shown as {shown}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn what_the_example_of_a_request_asks_for_is_what_the_example_of_its_answer_shows() {
    let mut compared = 0;
    for (id, status, ..) in ROWS {
        let (Some((_, _, asked)), Some((_, _, told))) = (asked(id), told(id, *status)) else { continue };
        for (name, value) in asked.as_object().unwrap() {
            let shown = &told[name];
            if !shown.is_null() && !value.is_array() && *name != "refresh_token" {
                assert_eq!(shown, value, "{id}: {name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared}");
}
