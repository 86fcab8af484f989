//! Trips: validation, changes, and access by the owner only.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::{TRIPS, create_trip, field_error, path};
use crate::harness::{Reply, TestApp};

/// The path of a trip that does not exist.
const MISSING: &str = "/api/v1/trips/01890000-0000-7000-8000-000000000000";

/// Returns pairs of a field and a value, each with the error code if the value is invalid.
fn field_cases() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let mut all = vec![
        ("title", json!(""), Some("too_short")),
        ("title", json!("x"), None),
        ("title", json!("é".repeat(200)), None),
        ("title", json!("🦀".repeat(200)), None),
        ("title", json!("🦀".repeat(201)), Some("too_long")),
        ("title", json!(7), Some("wrong_type")),
        ("title", json!(["x"]), Some("wrong_type")),
        ("title", json!(null), Some("wrong_type")),
        ("destination", json!(""), Some("too_short")),
        ("destination", json!("🗺".repeat(200)), None),
        ("destination", json!("x".repeat(201)), Some("too_long")),
        ("destination", json!(false), Some("wrong_type")),
        ("notes", json!(""), None),
        ("notes", json!("😀".repeat(10_000)), None),
        ("notes", json!("x".repeat(10_001)), Some("too_long")),
        ("notes", json!({}), Some("wrong_type")),
        ("status", json!("lost"), Some("not_allowed")),
        ("status", json!("Planned"), Some("not_allowed")),
        ("status", json!(""), Some("not_allowed")),
        ("time_zone", json!("x".repeat(65)), Some("too_long")),
        ("time_zone", json!(60), Some("wrong_type")),
        ("start_date", json!(20_260_510), Some("wrong_type")),
    ];
    for known in ["Europe/Lisbon", "UTC", "Etc/GMT+5", "America/Argentina/ComodRivadavia", "Asia/Calcutta"] {
        all.push(("time_zone", json!(known), None));
    }
    for unknown in ["", "europe/lisbon", "Mars/Olympus", "+01:00", " UTC", "GMT+1", "Europe/../UTC"] {
        all.push(("time_zone", json!(unknown), Some("unknown_time_zone")));
    }
    for known in ["planned", "active", "completed", "archived"] {
        all.push(("status", json!(known), None));
    }
    for date in ["start_date", "end_date"] {
        for valid in ["0001-01-01", "0999-12-31", "2028-02-29", "9999-12-31"] {
            all.push((date, json!(valid), None));
        }
        all.push((date, json!("0000-12-31"), Some("out_of_range")));
        for other in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-3-1",
            "20260301",
            "+2026-03-01",
            "-001-03-01",
            "12026-03-01",
            "2026-03-01T00:00:00Z",
            "2026/03/01",
            " 2026-03-01",
            "２０２６-03-01",
            "today",
        ] {
            all.push((date, json!(other), Some("invalid_format")));
        }
    }
    all
}

#[tokio::test]
async fn each_field_of_a_new_trip_is_validated() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut created = 0;
    for (field, value, error) in field_cases() {
        let mut body = json!({ "title": "Lisbon" });
        body[field] = value.clone();
        let reply = ada.post(TRIPS).json(&body).await;
        let Some(code) = error else {
            let trip = reply.expect(201).json();
            assert_eq!(trip[field], value);
            assert_eq!(ada.get(&path(&trip)).await.expect(200).json(), trip, "{field} is stored");
            created += 1;
            continue;
        };
        let reply = reply.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), field_error(&format!("/{field}"), code), "{field} {value}");
        if let Some(text) = value.as_str().filter(|text| text.len() > 3 && *text != "Planned") {
            assert!(!reply.text().contains(text), "S-63: {}", reply.text());
        }
    }
    let listed = ada.get(&format!("{TRIPS}?limit=100")).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), created, "rejected trips are not created");
}

#[tokio::test]
async fn each_field_of_a_patch_is_validated_by_the_same_rule_as_in_a_new_trip() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut before = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    let trip_path = path(&before);
    for (field, value, error) in field_cases() {
        let reply = ada.patch(&trip_path).json(&json!({ field: value })).await;
        if let Some(code) = error {
            let reply = reply.expect(422).problem("invalid");
            assert_eq!(reply.field_errors(), field_error(&format!("/{field}"), code), "{field} {value}");
        } else {
            before = reply.expect(200).json();
            assert_eq!(before[field], value);
        }
        assert_eq!(ada.get(&trip_path).await.json(), before, "{field} {value}");
        if field.ends_with("_date") && error.is_none() {
            before = ada.patch(&trip_path).json(&json!({ field: null })).await.expect(200).json();
        }
    }
}

#[tokio::test]
async fn server_managed_and_unknown_fields_are_rejected() {
    // S-55
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    for id in [trip["id"].clone(), json!("01890000-0000-7000-8000-000000000000")] {
        for call in [ada.patch(&path(&trip)), ada.put(&path(&trip)).header("if-match", "*")] {
            let reply = call.json(&json!({ "title": "Porto", "id": id })).await.expect(422);
            assert_eq!(reply.field_errors(), field_error("/id", "unknown_member"));
        }
    }
    for (field, value) in [
        ("owner", json!(eve.id())),
        ("owner_id", json!(eve.id())),
        ("version", json!(7)),
        ("change_seq", json!(7)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("updated_at", json!("2020-01-01T00:00:00Z")),
        ("role", json!("admin")),
        ("email_verified", json!(true)),
        ("Title", json!("x")),
        ("", json!(null)),
        ("__proto__", json!({})),
    ] {
        let mut body = json!({ "title": "Porto" });
        body[field] = value;
        let put = ada.put(&path(&trip)).header("if-match", "*");
        for call in [ada.post(TRIPS), ada.patch(&path(&trip)), put] {
            let reply = call.json(&body).await.expect(422).problem("invalid");
            let named = field_error(&format!("/{field}"), "unknown_member");
            assert_eq!(reply.field_errors(), named, "N-7: {field}");
        }
    }
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [trip] }));
    assert_eq!(eve.get(TRIPS).await.json(), json!({ "items": [] }));
}

#[tokio::test]
async fn all_errors_of_a_trip_are_reported_together() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let shape = json!({ "destination": "", "status": "lost", "end_date": "soon", "owner": "me" });
    let mut errors = ada.post(TRIPS).json(&shape).await.expect(422).field_errors();
    errors.sort();
    let expected = [
        ("/destination", "too_short"),
        ("/end_date", "invalid_format"),
        ("/owner", "unknown_member"),
        ("/status", "not_allowed"),
        ("/title", "required"),
    ];
    assert_eq!(errors, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let sense =
        json!({ "title": "x", "start_date": "0000-02-01", "end_date": "0000-01-01", "time_zone": "X" });
    let codes: Vec<String> = ada
        .post(TRIPS)
        .json(&sense)
        .await
        .expect(422)
        .field_errors()
        .into_iter()
        .map(|(_, code)| code)
        .collect();
    assert_eq!(codes, ["out_of_range", "out_of_range", "before_start", "unknown_time_zone"]);
}

#[tokio::test]
async fn a_change_of_either_date_cannot_put_the_end_before_the_start() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let dated = |start: &str, end: &str| json!({ "title": "x", "start_date": start, "end_date": end });
    let reply = ada.post(TRIPS).json(&dated("2026-05-10", "2026-05-09")).await.expect(422);
    assert_eq!(reply.field_errors(), field_error("/end_date", "before_start"));
    create_trip(&ada, &dated("2026-05-10", "2026-05-10")).await;
    let trip = create_trip(&ada, &dated("2026-05-10", "2026-05-12")).await;
    let change = |body: Value| ada.patch(&path(&trip)).json(&body);
    for late in [json!({ "end_date": "2026-05-09" }), json!({ "start_date": "2026-05-13" })] {
        let errors = change(late).await.expect(422).problem("invalid").field_errors();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].1, "before_start");
    }
    assert_eq!(ada.get(&path(&trip)).await.json(), trip);
    change(json!({ "start_date": "2026-06-01", "end_date": "2026-06-02" })).await.expect(200);
    change(json!({ "end_date": null })).await.expect(200);
    change(json!({ "start_date": "2027-01-01" })).await.expect(200);
    change(json!({ "end_date": "2026-12-31" })).await.expect(422);
    let last = change(json!({ "start_date": null, "end_date": "2026-12-31" })).await.expect(200).json();
    assert_eq!((&last["start_date"], &last["end_date"]), (&Value::Null, &json!("2026-12-31")));
}

#[tokio::test]
async fn a_merge_patch_keeps_absent_fields_and_clears_optional_fields_that_are_null() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let whole = json!({
        "title": "Lisbon", "destination": "Portugal", "start_date": "2026-05-10", "end_date": "2026-05-12",
        "time_zone": "Europe/Lisbon", "notes": "tram", "status": "active",
    });
    let mut expected = create_trip(&ada, &whole).await;
    let trip_path = path(&expected);
    for field in ["destination", "end_date", "start_date", "time_zone", "notes"] {
        let changed = ada.patch(&trip_path).json(&json!({ field: null })).await.expect(200).json();
        expected.as_object_mut().unwrap().remove(field);
        expected["version"] = json!(expected["version"].as_i64().unwrap() + 1);
        assert_eq!(changed, expected);
        assert_eq!(ada.get(&trip_path).await.json(), expected);
    }
}

#[tokio::test]
async fn a_patch_that_clears_a_required_field_or_is_not_an_object_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    for field in ["title", "status"] {
        let reply = ada.patch(&path(&trip)).json(&json!({ field: null })).await.expect(422);
        assert_eq!(reply.field_errors(), field_error(&format!("/{field}"), "wrong_type"));
    }
    for other in [json!([]), json!(null), json!("title"), json!([{ "op": "remove", "path": "/title" }])] {
        ada.patch(&path(&trip)).json(&other).await.expect(422).problem("invalid");
    }
    ada.patch(&path(&trip)).await.expect(415).problem("unsupported_media_type");
    assert_eq!(ada.get(&path(&trip)).await.json(), trip);
}

#[tokio::test]
async fn every_change_of_a_trip_increments_its_version_and_sets_updated_at() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = ada.post(TRIPS).json(&json!({ "title": "Lisbon" })).await.expect(201);
    let trip = created.json();
    assert_eq!(created.header("location"), path(&trip));
    assert!(created.header("etag").starts_with("\"1-"));
    assert_eq!(trip["version"], 1);
    assert_eq!(trip["created_at"], "2026-03-02T08:30:00.000Z");
    assert_eq!(trip["updated_at"], trip["created_at"]);
    app.clock.advance(TimeDelta::milliseconds(1));
    for (version, body) in [(2, json!({ "title": "Lisbon" })), (3, json!({ "notes": "n" }))] {
        let changed = ada.patch(&path(&trip)).json(&body).await.expect(200);
        assert!(changed.header("etag").starts_with(&format!("\"{version}-")));
        let changed = changed.json();
        assert_eq!(changed["version"], version);
        assert_eq!(changed["updated_at"], "2026-03-02T08:30:00.001Z");
        assert_eq!(changed["created_at"], trip["created_at"]);
    }
    ada.patch(&path(&trip)).json(&json!({ "title": "" })).await.expect(422);
    app.clock.advance(TimeDelta::minutes(-5));
    ada.patch(&path(&trip)).json(&json!({ "title": "Porto" })).await.expect(200);
    let stored = ada.get(&path(&trip)).await.expect(200);
    assert!(stored.header("etag").starts_with("\"4-"));
    assert_eq!(stored.json()["updated_at"], "2026-03-02T08:30:00.001Z", "`updated_at` never decreases");
    assert_eq!(ada.head(&path(&trip)).await.expect(200).header("etag"), stored.header("etag"));
}

#[tokio::test]
async fn a_deleted_trip_stays_deleted() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let other = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    let trip = create_trip(&ada, &json!({ "title": "Porto" })).await;
    assert!(ada.delete(&path(&trip)).await.expect(204).body.is_empty());
    ada.get(&path(&trip)).await.expect(404).problem("not_found");
    ada.delete(&path(&trip)).await.expect(404).problem("not_found");
    ada.patch(&path(&trip)).json(&json!({ "title": "x" })).await.expect(404).problem("not_found");
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [other] }));
}

/// Returns the status, body and headers of a reply, without the request id and date.
fn comparable(reply: &Reply) -> (u16, Value, Vec<(String, String)>) {
    let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("request_id");
    }
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status, body, headers)
}

#[tokio::test]
async fn another_owners_trip_and_a_missing_trip_get_the_same_404() {
    // S-53, S-54
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let dated = json!({ "title": "Lisbon", "start_date": "2026-05-10", "end_date": "2026-05-12" });
    let trip = create_trip(&ada, &dated).await;
    let eves_trip = create_trip(&eve, &json!({ "title": "Porto" })).await;
    let json = "application/json";
    let large = vec![b' '; 256 * 1024 + 1];
    let bodies: [(&str, &[u8]); 13] = [
        (json, br#"{"title":"mine now"}"#),
        (json, b"{}"),
        (json, br#"{"title":""}"#),
        (json, br#"{"owner":"me"}"#),
        (json, br#"{"start_date":"2026-05-13"}"#),
        (json, br#"{"end_date":"2026-05-09","start_date":"2026-05-10"}"#),
        (json, br#"{"time_zone":"Mars/Olympus"}"#),
        (json, b"{"),
        (json, b""),
        (json, b"{\"title\":\"\xff\"}"),
        ("text/plain", b"{}"),
        ("application/merge-patch+json", b"{}"),
        (json, &large),
    ];
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::PATCH, Method::PUT, Method::POST] {
        for (kind, body) in bodies {
            let send = |path: &str| {
                let call = eve.call(method.clone(), path);
                if matches!(method, Method::GET | Method::HEAD) {
                    return call;
                }
                call.header("content-type", kind).body(body)
            };
            let (foreign, missing) = (send(&path(&trip)).await, send(MISSING).await);
            assert!(foreign.status >= 400, "{method} {body:?}: {}", foreign.status);
            assert_eq!(comparable(&foreign), comparable(&missing), "{method} {body:?}");
        }
    }
    eve.patch(&path(&trip)).json(&json!({})).await.expect(404).problem("not_found");
    eve.delete(&path(&trip)).await.expect(404).problem("not_found");
    eve.get(&path(&trip)).await.expect(404).problem("not_found");
    for tag in ["\"1\"", "*"] {
        eve.patch(&path(&trip)).header("if-match", tag).json(&json!({})).await.expect(404);
        eve.get(&path(&trip)).header("if-none-match", tag).await.expect(404);
    }
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [trip] }));
    assert_eq!(eve.get(TRIPS).await.json(), json!({ "items": [eves_trip] }));
}

#[tokio::test]
async fn an_invalid_trip_id_gets_404() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    let id = trip["id"].as_str().unwrap();
    let (upper, without_hyphens) = (id.to_uppercase(), id.replace('-', ""));
    let spellings =
        [&upper, &without_hyphens, &format!("%7B{id}%7D"), &format!("urn:uuid:{id}"), &format!("{id}%20")];
    let others =
        ["7", "%00", "..%2f", "x'%20OR%201=1--", "01890000-0000-7000-8000-00000000000g", "%F0%9F%A6%80"];
    for id in others.into_iter().chain(spellings.map(String::as_str)) {
        let trip_path = format!("{TRIPS}/{id}");
        ada.get(&trip_path).await.expect(404).problem("not_found");
        ada.patch(&trip_path).json(&json!({})).await.expect(404).problem("not_found");
        ada.delete(&trip_path).await.expect(404).problem("not_found");
    }
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [trip] }));
}
