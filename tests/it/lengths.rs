//! How long texts may be: the constants of the rooms, what the document says, what the server takes
//! and what the database takes are the same. The generator's attributes take literals alone, so this
//! is what holds them to the constants.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tripgate::accounts::{DISPLAY_NAME_MAX, EMAIL_MAX, USERNAME_MAX, USERNAME_MIN};
use tripgate::sessions::DEVICE_NAME_MAX;
use tripgate::trips::{
    DESTINATION_MAX, NOTES_MAX, PAGE_MAX, SEARCH_MAX, STOP_NAME_MAX, STOP_NOTES_MAX, STOPS_MAX,
    TIME_ZONE_MAX, TITLE_MAX,
};

use crate::harness::conformance::{document, operations};
use crate::harness::{Client, PASSWORD, Reply, TestApp};

/// Schema, member, fewest and most characters.
const ROWS: [(&str, &str, usize, usize); 23] = [
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
    ("ReplaceTrip", "title", 1, TITLE_MAX),
    ("ReplaceTrip", "destination", 1, DESTINATION_MAX),
    ("ReplaceTrip", "time_zone", 0, TIME_ZONE_MAX),
    ("ReplaceTrip", "notes", 0, NOTES_MAX),
    ("NewStop", "name", 1, STOP_NAME_MAX),
    ("NewStop", "notes", 0, STOP_NOTES_MAX),
    ("UpdateStop", "name", 1, STOP_NAME_MAX),
    ("UpdateStop", "notes", 0, STOP_NOTES_MAX),
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
    let asked = |name: &str| {
        let parameters = list["parameters"].as_array().unwrap();
        &parameters.iter().find(|told| told["name"] == name).unwrap()["schema"]
    };
    assert_eq!(asked("limit")["maximum"], json!(PAGE_MAX));
    assert_eq!(asked("q")["maxLength"], json!(SEARCH_MAX));
    for schema in ["CreateTrip", "UpdateTrip", "ReplaceTrip"] {
        let stops = &document()["components"]["schemas"][schema]["properties"]["stops"];
        assert_eq!(stops["maxItems"], json!(STOPS_MAX), "{schema}");
    }
}

/// The id of the stop that is changed.
const STOP: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

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
        "CreateTrip" | "ReplaceTrip" => json!({ "title": "Lisbon" }),
        "NewStop" => json!({ "name": "Graça", "latitude": 1, "longitude": 2 }),
        _ => json!({}),
    };
    body[member] = Value::from(value);
    let call = match schema {
        "SignUp" => client.post("/api/v1/auth/signup"),
        "LogIn" => client.post("/api/v1/auth/login"),
        "UpdateProfile" => client.patch("/api/v1/me"),
        "CreateTrip" => client.post("/api/v1/trips"),
        "ReplaceTrip" => client.put(trip).header("if-match", "*"),
        "NewStop" => client.post(&format!("{trip}/stops")),
        "UpdateStop" => client.patch(&format!("{trip}/stops/{STOP}")),
        _ => client.patch(trip),
    };
    call.json(&body).await
}

#[tokio::test]
async fn a_text_of_the_most_characters_is_kept_and_one_more_is_refused() {
    for (schema, member, min, max) in ROWS {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let stop = json!({ "id": STOP, "name": "Ribeira", "latitude": 1, "longitude": 2 });
        let body = json!({ "title": "Porto", "stops": [stop] });
        let made = ada.post("/api/v1/trips").json(&body).await.expect(201);
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
