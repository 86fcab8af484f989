//! Length limits: the constants of the modules, the document, the server and the database must agree. The
//! attributes of poem-openapi accept only literals, so these tests compare the literals with the constants.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tripgate::accounts::{DISPLAY_NAME_MAX, EMAIL_MAX, LOCALE_MAX, LOCALE_MIN, USERNAME_MAX, USERNAME_MIN};
use tripgate::passkeys;
use tripgate::personal_tokens::NAME_MAX;
use tripgate::sessions::DEVICE_NAME_MAX;
use tripgate::trips::{
    DESTINATION_MAX, NOTES_MAX, PAGE_MAX, SEARCH_MAX, STOP_NAME_MAX, STOP_NOTES_MAX, STOPS_MAX,
    TIME_ZONE_MAX, TITLE_MAX,
};

use crate::harness::conformance::{document, operations};
use crate::harness::passkeys::register;
use crate::harness::{Client, PASSWORD, Reply, TestApp};

/// Schema, field, minimum and maximum number of characters.
const ROWS: [(&str, &str, usize, usize); 33] = [
    ("SignUp", "email", 0, EMAIL_MAX),
    ("SignUp", "username", USERNAME_MIN, USERNAME_MAX),
    ("SignUp", "display_name", 1, DISPLAY_NAME_MAX),
    ("SignUp", "device_name", 1, DEVICE_NAME_MAX),
    ("SignUp", "locale", LOCALE_MIN, LOCALE_MAX),
    ("LogIn", "device_name", 1, DEVICE_NAME_MAX),
    ("LogInByCode", "device_name", 1, DEVICE_NAME_MAX),
    ("AddressRequest", "email", 0, EMAIL_MAX),
    ("UpdateProfile", "display_name", 1, DISPLAY_NAME_MAX),
    ("UpdateProfile", "locale", LOCALE_MIN, LOCALE_MAX),
    ("UpdateProfile", "username", USERNAME_MIN, USERNAME_MAX),
    ("CreatePersonalToken", "name", 1, NAME_MAX),
    ("CreatePasskey", "name", 1, passkeys::NAME_MAX),
    ("RenamePasskey", "name", 1, passkeys::NAME_MAX),
    ("LogInWithPasskey", "device_name", 1, DEVICE_NAME_MAX),
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
    ("NewStop", "time_zone", 0, TIME_ZONE_MAX),
    ("NewStop", "notes", 0, STOP_NOTES_MAX),
    ("UpdateStop", "name", 1, STOP_NAME_MAX),
    ("UpdateStop", "time_zone", 0, TIME_ZONE_MAX),
    ("UpdateStop", "notes", 0, STOP_NOTES_MAX),
];

#[test]
fn the_length_limits_in_the_openapi_document_equal_the_constants_in_the_code() {
    let mut limited = BTreeSet::new();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            if property["minLength"].is_u64() || property["maxLength"].is_u64() {
                limited.insert((name.as_str(), field.as_str()));
            }
        }
    }
    let known: BTreeSet<_> = ROWS.iter().map(|(schema, field, ..)| (*schema, *field)).collect();
    assert_eq!(limited, known, "the rows and the document list different fields");
    for (schema, field, min, max) in ROWS {
        let property = &document()["components"]["schemas"][schema]["properties"][field];
        let lengths = (property["minLength"].as_u64().unwrap_or(0), property["maxLength"].as_u64().unwrap());
        assert_eq!(lengths, (min as u64, max as u64), "{schema}.{field}");
        if field == "username" {
            let pattern = format!("^[A-Za-z0-9][A-Za-z0-9._-]{{{},{}}}$", USERNAME_MIN - 1, USERNAME_MAX - 1);
            assert_eq!(property["pattern"], json!(pattern), "{schema}");
        }
    }
    let (_, _, list) = operations().find(|(.., operation)| operation["operationId"] == "list_trips").unwrap();
    let parameter_schema = |name: &str| {
        let parameters = list["parameters"].as_array().unwrap();
        &parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"]
    };
    assert_eq!(parameter_schema("limit")["maximum"], json!(PAGE_MAX));
    assert_eq!(parameter_schema("q")["maxLength"], json!(SEARCH_MAX));
    for schema in ["CreateTrip", "UpdateTrip", "ReplaceTrip"] {
        let stops = &document()["components"]["schemas"][schema]["properties"]["stops"];
        assert_eq!(stops["maxItems"], json!(STOPS_MAX), "{schema}");
    }
}

/// The id of the updated stop.
const STOP: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Returns a valid value with `length` characters, each of two bytes where the field allows it.
fn text(field: &str, length: usize) -> String {
    match field {
        "username" => "u".repeat(length),
        // The subtags of a language tag have at most 8 characters.
        "locale" => "en-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd".chars().take(length).collect(),
        "email" => {
            let domain = ["d".repeat(63), "d".repeat(63), "d".repeat(63)].join(".");
            let rest = format!("@{domain}.org");
            format!("{}{rest}", "e".repeat(length - rest.len()))
        }
        _ => "é".repeat(length),
    }
}

async fn send(client: &Client, trip: &str, passkey: &str, schema: &str, field: &str, value: &str) -> Reply {
    let mut body = match schema {
        "SignUp" if field == "username" => json!({ "password": PASSWORD }),
        "SignUp" => json!({ "password": PASSWORD, "username": "brian" }),
        "LogIn" => json!({ "identifier": "ada", "password": PASSWORD }),
        "CreatePersonalToken" => json!({ "name": "Export", "scope": "trips:read" }),
        "CreatePasskey" | "LogInWithPasskey" => json!({ "challenge_id": STOP, "credential": {} }),
        "LogInByCode" => json!({ "flow_id": STOP, "code": "12345678" }),
        "CreateTrip" | "ReplaceTrip" => json!({ "title": "Lisbon" }),
        "NewStop" => json!({ "name": "Graça", "latitude": 1, "longitude": 2 }),
        _ => json!({}),
    };
    body[field] = Value::from(value);
    let call = match schema {
        "SignUp" => client.post("/api/v1/auth/signup"),
        "LogIn" => client.post("/api/v1/auth/login"),
        "CreatePersonalToken" => client.post("/api/v1/me/tokens"),
        "CreatePasskey" => client.post("/api/v1/me/passkeys"),
        "RenamePasskey" => client.patch(passkey),
        "LogInWithPasskey" => client.post("/api/v1/auth/passkeys/login"),
        "LogInByCode" => client.post("/api/v1/auth/login/code/confirm"),
        "AddressRequest" => client.post("/api/v1/auth/password/forgot"),
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
async fn a_text_of_the_maximum_length_is_accepted_and_longer_or_too_short_texts_are_rejected() {
    for (schema, field, min, max) in ROWS {
        let app = TestApp::start().await;
        let ada = app.sign_up("ada").await;
        let stop = json!({ "id": STOP, "name": "Ribeira", "latitude": 1, "longitude": 2 });
        let body = json!({ "title": "Porto", "stops": [stop] });
        let created = ada.post("/api/v1/trips").json(&body).await.expect(201);
        let trip = created.header("location");
        let passkey = format!("/api/v1/me/passkeys/{}", register(&ada).await.id);
        let check_rejected = async |length: usize, code: &str| {
            let reply = send(&ada, trip, &passkey, schema, field, &text(field, length)).await.expect(422);
            // Ignore the error of the credential, which is never valid. Compare only the first error of the
            // field, because a value of the wrong length can violate a pattern too.
            let first = reply.field_errors().into_iter().find(|(pointer, _)| pointer != "/credential");
            assert_eq!(first, Some((format!("/{field}"), code.to_owned())), "{schema}");
        };
        check_rejected(max + 1, "too_long").await;
        if min > 0 {
            check_rejected(min - 1, "too_short").await;
        }
        if field == "time_zone" {
            // No zone has such a long name, but the length itself is allowed.
            check_rejected(max, "unknown_time_zone").await;
            continue;
        }
        if ["CreatePasskey", "LogInWithPasskey"].contains(&schema) {
            // The credential is not valid, but the length itself is allowed.
            let reply = send(&ada, trip, &passkey, schema, field, &text(field, max)).await.expect(422);
            assert_eq!(reply.field_errors(), [("/credential".to_owned(), "invalid_format".to_owned())]);
            continue;
        }
        if schema == "LogInByCode" {
            // There is no such flow, but the length itself is allowed.
            send(&ada, trip, &passkey, schema, field, &text(field, max))
                .await
                .expect(422)
                .problem("invalid_code");
            continue;
        }
        let longest = text(field, max);
        let reply = send(&ada, trip, &passkey, schema, field, &longest).await;
        assert!((200..300).contains(&reply.status), "{schema}.{field}: {}", reply.text());
        // The responses for a device name and for an address request do not contain the value. Their success
        // shows that the database accepted the value.
        if field != "device_name" && schema != "AddressRequest" {
            let stored = reply.json();
            assert_eq!(stored.get("user").unwrap_or(&stored)[field], longest, "{schema}");
        }
    }
}
