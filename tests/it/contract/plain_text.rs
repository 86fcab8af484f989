//! Control characters and characters that change the direction of text are rejected in one-line texts. Notes
//! may have line breaks and tabs.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, conformance, rows};

const TRIPS: &str = "/api/v1/trips";
const OP: &str = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
const TRIP: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Line breaks, a tab, a terminal escape, DEL, a C1 control, a line separator, a bidi override and a bidi
/// isolate.
const FORBIDDEN: [&str; 9] =
    ["\r", "\n", "\t", "\u{1b}", "\u{7f}", "\u{85}", "\u{2028}", "\u{202e}", "\u{2066}"];

#[track_caller]
fn assert_format_error(reply: Reply, pointer: &str, text: &str) {
    let reply = reply.expect(422).problem("invalid");
    assert_eq!(reply.field_errors(), [(pointer.to_owned(), "invalid_format".to_owned())], "{text:?}");
}

fn stop(name: &str) -> Value {
    json!({ "name": name, "latitude": 1, "longitude": 2 })
}

#[tokio::test]
async fn one_line_texts_of_accounts_and_sessions_reject_control_characters() {
    // A-8
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for character in FORBIDDEN {
        let text = format!("A{character}da");
        for field in ["display_name", "device_name"] {
            let mut body = json!({ "username": "brian", "password": PASSWORD });
            body[field] = json!(text);
            let reply = app.anonymous().post("/api/v1/auth/signup").json(&body).await;
            assert_format_error(reply, &format!("/{field}"), &text);
        }
        let body = json!({ "identifier": "ada", "password": PASSWORD, "device_name": text });
        let reply = app.anonymous().post("/api/v1/auth/login").json(&body).await;
        assert_format_error(reply, "/device_name", &text);
        let reply = ada.patch("/api/v1/me").json(&json!({ "display_name": text })).await;
        assert_format_error(reply, "/display_name", &text);
    }
    assert_eq!((rows::users(&app).await.len(), rows::sessions(&app).await.len()), (1, 1));
    let changed =
        ada.patch("/api/v1/me").json(&json!({ "display_name": "עדה \u{200f}👩‍💻" })).await.expect(200);
    assert_eq!(changed.json()["display_name"], "עדה \u{200f}👩‍💻");
}

#[tokio::test]
async fn one_line_texts_of_trips_and_stops_reject_control_characters() {
    // A-8
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "title": "Lisbon", "stops": [stop("Graça")] });
    let trip = ada.post(TRIPS).json(&body).await.expect(201).json();
    let path = format!("{TRIPS}/{}", trip["id"].as_str().unwrap());
    let stop_path = format!("{path}/stops/{}", trip["stops"][0]["id"].as_str().unwrap());
    for character in FORBIDDEN {
        let text = format!("L{character}x");
        for (body, pointer) in [
            (json!({ "title": text }), "/title"),
            (json!({ "title": "x", "destination": text }), "/destination"),
            (json!({ "title": "x", "stops": [stop(&text)] }), "/stops/0/name"),
        ] {
            let put = ada.put(&path).header("if-match", "*");
            for call in [ada.post(TRIPS), put, ada.patch(&path)] {
                assert_format_error(call.json(&body).await, pointer, &text);
            }
            let operation = json!({ "op_id": OP, "op": "create", "id": TRIP, "trip": body });
            let reply =
                ada.post("/api/v1/sync").json(&json!({ "operations": [operation] })).await.expect(200);
            let result = &reply.json()["results"][0];
            assert_eq!(result["status"], "rejected", "{text:?}");
            let error = &result["problem"]["errors"][0];
            assert_eq!(
                (&error["pointer"], &error["code"]),
                (&json!(format!("/trip{pointer}")), &json!("invalid_format"))
            );
        }
        assert_format_error(ada.post(&format!("{path}/stops")).json(&stop(&text)).await, "/name", &text);
        assert_format_error(ada.patch(&stop_path).json(&json!({ "name": text })).await, "/name", &text);
    }
    assert_eq!(ada.get(TRIPS).await.expect(200).json(), json!({ "items": [trip] }));
}

#[tokio::test]
async fn notes_may_have_line_breaks_and_tabs_and_no_other_control_character() {
    // A-8
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let lines = "Monday:\r\n\ttram 28\nTuesday: \u{2067}שלום\u{2069}";
    let mut first = stop("Graça");
    first["notes"] = json!(lines);
    let body = json!({ "title": "Lisbon", "notes": lines, "stops": [first] });
    let trip = ada.post(TRIPS).json(&body).await.expect(201).json();
    assert_eq!((&trip["notes"], &trip["stops"][0]["notes"]), (&json!(lines), &json!(lines)));
    for character in ["\u{8}", "\u{b}", "\u{1b}", "\u{7f}", "\u{85}"] {
        let body = json!({ "title": "x", "notes": format!("a{character}b") });
        assert_format_error(ada.post(TRIPS).json(&body).await, "/notes", character);
    }
}

#[test]
fn the_openapi_document_contains_the_pattern_of_every_text_field() {
    // A-8
    let schemas = conformance::document()["components"]["schemas"].as_object().unwrap();
    let lines = ["title", "destination", "name", "display_name", "device_name"];
    let mut found = 0;
    for (name, schema) in schemas.iter().filter(|(_, schema)| schema["additionalProperties"] == json!(false))
    {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let expected = match field.as_str() {
                "notes" => tripgate::plain_text::NOTES_PATTERN,
                field if lines.contains(&field) => tripgate::plain_text::LINE_PATTERN,
                _ => continue,
            };
            assert_eq!(property["pattern"], expected, "{name}.{field}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
}
