//! How long texts may be: the constants of the rooms, what the document says, what the server takes
//! and what the database takes are the same. The generator's attributes take literals alone, so this
//! is what holds them to the constants.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tripgate::accounts::{DISPLAY_NAME_MAX, EMAIL_MAX, USERNAME_MAX, USERNAME_MIN};
use tripgate::sessions::DEVICE_NAME_MAX;
use tripgate::trips::{DESTINATION_MAX, NOTES_MAX, PAGE_MAX, TIME_ZONE_MAX, TITLE_MAX};

use crate::harness::conformance::{document, operations};
use crate::harness::{Client, PASSWORD, Reply, TestApp};

/// Schema, member, fewest and most characters.
const ROWS: [(&str, &str, usize, usize); 15] = [
    ("SignUp", "email", 0, EMAIL_MAX),
    ("SignUp", "username", USERNAME_MIN, USERNAME_MAX),
    ("SignUp", "display_name", 1, DISPLAY_NAME_MAX),
    ("SignUp", "device_name", 1, DEVICE_NAME_MAX),
    ("LogIn", "device_name", 1, DEVICE_NAME_MAX),
    ("UpdateProfile", "display_name", 1, DISPLAY_NAME_MAX),
    ("UpdateProfile", "username", USERNAME_MIN, USERNAME_MAX),
    ("CreateTrip", "title", 1, TITLE_MAX),
    ("CreateTrip", "destination", 1, DESTINATION_MAX),
    ("CreateTrip", "time_zone", 0, TIME_ZONE_MAX),
    ("CreateTrip", "notes", 0, NOTES_MAX),
    ("UpdateTrip", "title", 1, TITLE_MAX),
    ("UpdateTrip", "destination", 1, DESTINATION_MAX),
    ("UpdateTrip", "time_zone", 0, TIME_ZONE_MAX),
    ("UpdateTrip", "notes", 0, NOTES_MAX),
];

#[test]
fn the_document_says_what_the_constants_say() {
    let mut limited = BTreeSet::new();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        for (member, told) in schema["properties"].as_object().into_iter().flatten() {
            if told["minLength"].is_u64() || told["maxLength"].is_u64() {
                limited.insert((name.as_str(), member.as_str()));
            }
        }
    }
    let known: BTreeSet<_> = ROWS.iter().map(|(schema, member, ..)| (*schema, *member)).collect();
    assert_eq!(limited, known, "a length of the document stands in no row, or a row in no document");
    for (schema, member, min, max) in ROWS {
        let told = &document()["components"]["schemas"][schema]["properties"][member];
        let lengths = (told["minLength"].as_u64().unwrap_or(0), told["maxLength"].as_u64().unwrap());
        assert_eq!(lengths, (min as u64, max as u64), "{schema}.{member}");
        if member == "username" {
            let pattern = format!("^[a-z0-9][a-z0-9._-]{{{},{}}}$", USERNAME_MIN - 1, USERNAME_MAX - 1);
            assert_eq!(told["pattern"], json!(pattern), "{schema}");
        }
    }
    let (_, _, list) = operations().find(|(.., told)| told["operationId"] == "list_trips").unwrap();
    let limit = list["parameters"].as_array().unwrap().iter().find(|told| told["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"], json!(PAGE_MAX));
}

/// So many characters that are as good a value as any; where it can be, each takes two bytes.
fn text(member: &str, length: usize) -> String {
    match member {
        "username" => "u".repeat(length),
        "email" => {
            let domain = ["d".repeat(63), "d".repeat(63), "d".repeat(63)].join(".");
            let rest = format!("@{domain}.org");
            format!("{}{rest}", "e".repeat(length - rest.len()))
        }
        _ => "é".repeat(length),
    }
}

async fn send(client: &Client, trip: &str, schema: &str, member: &str, value: &str) -> Reply {
    let mut body = match schema {
        "SignUp" if member == "username" => json!({ "password": PASSWORD }),
        "SignUp" => json!({ "password": PASSWORD, "username": "brian" }),
        "LogIn" => json!({ "identifier": "ada", "password": PASSWORD }),
        "CreateTrip" => json!({ "title": "Lisbon" }),
        _ => json!({}),
    };
    body[member] = Value::from(value);
    let call = match schema {
        "SignUp" => client.post("/api/v1/auth/signup"),
        "LogIn" => client.post("/api/v1/auth/login"),
        "UpdateProfile" => client.patch("/api/v1/me"),
        "CreateTrip" => client.post("/api/v1/trips"),
        _ => client.patch(trip),
    };
    call.json(&body).await
}

#[tokio::test]
async fn a_text_of_the_most_characters_is_kept_and_one_more_is_refused() {
    for (schema, member, min, max) in ROWS {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let made = ada.post("/api/v1/trips").json(&json!({ "title": "Porto" })).await.expect(201);
        let trip = made.header("location");
        let refused = async |length: usize, code: &str| {
            let reply = send(&ada, trip, schema, member, &text(member, length)).await.expect(422);
            // A pattern may be broken by the same length.
            let first = reply.faults().into_iter().next();
            assert_eq!(first, Some((format!("/{member}"), code.to_owned())), "{schema}");
        };
        refused(max + 1, "too_long").await;
        if min > 0 {
            refused(min - 1, "too_short").await;
        }
        if member == "time_zone" {
            // No zone has so long a name; but it is not the length that is wrong with it.
            refused(max, "unknown_time_zone").await;
            continue;
        }
        let longest = text(member, max);
        let reply = send(&ada, trip, schema, member, &longest).await;
        assert!((200..300).contains(&reply.status), "{schema}.{member}: {}", reply.text());
        // Nothing shows the name of a device yet; the database would have refused it.
        if member != "device_name" {
            let kept = reply.json();
            assert_eq!(kept.get("user").unwrap_or(&kept)[member], longest, "{schema}");
        }
    }
}
