//! The stops of a trip: a list in travel order, which changes as a whole or stop by stop.

use serde_json::{Value, json};

use super::{TRIPS, UNKNOWN_ID, create_trip, field_error, id, path, stop, stop_ids};
use crate::harness::{Client, TestApp};

const CLIENT_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Creates a trip with stops of these names.
async fn create_trip_with_stops(client: &Client, names: &[&str]) -> Value {
    let stops: Vec<Value> = names.iter().map(|name| stop(name)).collect();
    create_trip(client, &json!({ "title": "Lisbon", "stops": stops })).await
}

fn names(trip: &Value) -> Vec<&str> {
    trip["stops"].as_array().unwrap().iter().map(|stop| stop["name"].as_str().unwrap()).collect()
}

/// Returns pairs of a field and a value, each with the stored value or the error code.
fn field_cases() -> Vec<(&'static str, Value, Result<Value, &'static str>)> {
    let valid = |name, value: Value| (name, value.clone(), Ok(value));
    let mut all = vec![
        valid("name", json!("🦀".repeat(200))),
        valid("notes", json!("")),
        valid("notes", json!("😀".repeat(2000))),
        ("name", json!(""), Err("too_short")),
        ("name", json!("x".repeat(201)), Err("too_long")),
        ("name", json!(null), Err("wrong_type")),
        ("notes", json!("x".repeat(2001)), Err("too_long")),
        ("latitude", json!("1"), Err("wrong_type")),
        ("longitude", json!(null), Err("required")),
        ("latitude", json!(null), Err("required")),
        valid("time_zone", json!("Atlantic/Azores")),
        ("time_zone", json!("Mars/Olympus"), Err("unknown_time_zone")),
        ("time_zone", json!("x".repeat(65)), Err("too_long")),
    ];
    for (field, limit) in [("latitude", 90.0), ("longitude", 180.0)] {
        for coordinate in [limit, -limit, 0.0, 1e-300, 12.345_678_901_234_5] {
            all.push(valid(field, json!(coordinate)));
        }
        for (invalid, code) in
            [(limit + 1e-9, "too_large"), (-limit - 1e-9, "too_small"), (1e300, "too_large")]
        {
            all.push((field, json!(invalid), Err(code)));
        }
    }
    for field in ["arrives_at", "departs_at"] {
        for (text, seconds) in
            [("2027-04-02T09:30", ":00"), ("2028-02-29T23:59:59", ""), ("0001-01-01T00:00", ":00")]
        {
            all.push((field, json!(text), Ok(json!(format!("{text}{seconds}")))));
        }
        all.push((field, json!("0000-01-01T00:00"), Err("out_of_range")));
        for invalid in [
            "",
            "2027-04-02",
            "2027-04-02 09:30",
            "2027-04-02T09:30Z",
            "2027-04-02T09:30:00+01:00",
            "2027-02-29T09:30",
            "2027-04-02T24:00",
            "2027-04-02T09:60",
            "2027-04-02T09:30:60",
            "２０２７-04-02T09:30",
        ] {
            all.push((field, json!(invalid), Err("invalid_format")));
        }
    }
    all
}

#[tokio::test]
async fn each_field_of_a_stop_is_validated_in_every_operation() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip_with_stops(&ada, &["Graça"]).await;
    let (trip_path, first) = (path(&trip), stop_ids(&trip)[0].clone());
    for (field, value, expected) in field_cases() {
        let mut one = stop("Graça");
        one[field] = value.clone();
        let whole = json!({ "title": "Lisbon", "stops": [one] });
        let calls = [
            (ada.post(&format!("{trip_path}/stops")).json(&one), "", false),
            (ada.patch(&format!("{trip_path}/stops/{first}")).json(&json!({ field: value })), "", false),
            (ada.post(TRIPS).json(&whole), "/stops/0", true),
            (ada.patch(&trip_path).json(&json!({ "stops": whole["stops"] })), "/stops/0", true),
            (ada.put(&trip_path).header("if-match", "*").json(&whole), "/stops/0", true),
        ];
        for (call, pointer, is_whole) in calls {
            let reply = call.await;
            match &expected {
                Ok(stored) => {
                    assert!((200..300).contains(&reply.status), "{field} {value}: {}", reply.text());
                    let body = reply.json();
                    let stop = if is_whole { &body["stops"][0] } else { &body };
                    assert_eq!(stop[field], *stored, "{field}");
                    // Clear the times, so that the next value cannot violate the order of the times.
                    if is_whole && id(&body) == id(&trip) {
                        let keep =
                            json!({ "stops": [{ "id": first, "name": "x", "latitude": 0, "longitude": 0 }] });
                        ada.patch(&trip_path).json(&keep).await.expect(200);
                    } else if !is_whole && id(&body) == first {
                        let clear = json!({ "arrives_at": null, "departs_at": null });
                        ada.patch(&format!("{trip_path}/stops/{first}")).json(&clear).await.expect(200);
                    }
                }
                Err(code) => {
                    let errors = reply.expect(422).problem("invalid").field_errors();
                    assert_eq!(errors, field_error(&format!("{pointer}/{field}"), code), "{field} {value}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_change_of_a_stop_increments_the_trip_version() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip_with_stops(&ada, &[]).await;
    let trip_path = path(&trip);
    assert_eq!(trip["stops"], json!([]));
    let mut tags = vec![ada.get(&trip_path).await.header("etag").to_owned()];
    let mut ids = Vec::new();
    for name in ["Graça", "Alfama", "Belém"] {
        let added = ada.post(&format!("{trip_path}/stops")).json(&stop(name)).await.expect(201);
        tags.push(added.header("etag").to_owned());
        ids.push(id(&added.json()));
        assert_eq!(added.header("location"), format!("{trip_path}/stops/{}", ids.last().unwrap()));
    }
    let current = ada.get(&trip_path).await.expect(200);
    assert_eq!(
        (names(&current.json()), &current.json()["version"]),
        (vec!["Graça", "Alfama", "Belém"], &json!(4))
    );
    assert_eq!(current.header("etag"), tags[3]);

    let change = json!({ "name": "Mouraria", "arrives_at": "2027-04-02T09:30", "notes": "late" });
    let changed = ada.patch(&format!("{trip_path}/stops/{}", ids[1])).json(&change).await.expect(200);
    let expected = json!({
        "id": ids[1], "name": "Mouraria", "latitude": 38.7165, "longitude": -9.1319,
        "arrives_at": "2027-04-02T09:30:00", "notes": "late",
    });
    assert_eq!(changed.json(), expected);
    tags.push(changed.header("etag").to_owned());
    let cleared = ada.patch(&format!("{trip_path}/stops/{}", ids[1])).json(&json!({ "notes": null })).await;
    assert!(cleared.expect(200).json().get("notes").is_none());

    let order = json!({ "stop_ids": [ids[2], ids[0], ids[1]] });
    let ordered = ada.put(&format!("{trip_path}/stops/order")).json(&order).await.expect(200);
    assert_eq!(names(&ordered.json()), ["Belém", "Graça", "Mouraria"]);
    tags.push(ordered.header("etag").to_owned());
    let removed = ada.delete(&format!("{trip_path}/stops/{}", ids[0])).await.expect(204);
    tags.push(removed.header("etag").to_owned());
    ada.delete(&format!("{trip_path}/stops/{}", ids[0])).await.expect(404).problem("not_found");
    let last = ada.get(&trip_path).await.expect(200);
    assert_eq!(
        (names(&last.json()), last.header("etag")),
        (vec!["Belém", "Mouraria"], tags.last().unwrap().as_str())
    );
    assert_eq!(last.json()["version"], 8);
    tags.dedup();
    assert_eq!(tags.len(), 7, "{tags:?}");
}

#[tokio::test]
async fn replacing_the_stop_list_preserves_ids_of_existing_stops() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = create_trip_with_stops(&ada, &["Graça", "Alfama"]).await;
    let (trip_path, ids) = (path(&before), stop_ids(&before));
    let existing = json!({ "id": ids[1], "name": "Alfama", "latitude": 1, "longitude": 2 });
    let new_stop = json!({ "id": CLIENT_ID, "name": "Belém", "latitude": 1, "longitude": 2 });
    let after = ada
        .patch(&trip_path)
        .json(&json!({ "stops": [stop("Rossio"), existing, new_stop] }))
        .await
        .expect(200)
        .json();
    assert_eq!(names(&after), ["Rossio", "Alfama", "Belém"]);
    let new = stop_ids(&after);
    assert_eq!((&new[1], new[2].as_str()), (&ids[1], CLIENT_ID));
    assert!(!ids.contains(&new[0]) && new[0] != CLIENT_ID);
    let unchanged = ada.patch(&trip_path).json(&json!({ "title": "Porto" })).await.expect(200).json();
    assert_eq!(unchanged["stops"], after["stops"], "absent stops are unchanged");
    let put = ada
        .put(&trip_path)
        .header("if-match", "*")
        .json(&json!({ "title": "Porto" }))
        .await
        .expect(200)
        .json();
    assert_eq!(put["stops"], json!([]), "absent stops are cleared");
    ada.patch(&trip_path).json(&json!({ "stops": [existing] })).await.expect(200);
    assert_eq!(
        ada.patch(&trip_path).json(&json!({ "stops": null })).await.expect(200).json()["stops"],
        json!([])
    );
    let listed = ada.get(TRIPS).await.json();
    assert_eq!(listed["items"][0]["stops"], json!([]));
}

#[tokio::test]
async fn a_stop_order_must_contain_each_stop_exactly_once() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = create_trip_with_stops(&ada, &["a", "b", "c"]).await;
    let (trip_path, ids) = (path(&before), stop_ids(&before));
    let other = stop_ids(&create_trip_with_stops(&ada, &["d"]).await)[0].clone();
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    let none = UNKNOWN_ID.to_owned();
    for invalid in [
        vec![a, b],
        vec![],
        vec![a, b, b],
        vec![a, b, c, c],
        vec![a, b, &other],
        vec![a, b, c, &other],
        vec![a, b, &none],
    ] {
        let reply = ada.put(&format!("{trip_path}/stops/order")).json(&json!({ "stop_ids": invalid })).await;
        assert_eq!(
            reply.expect(422).problem("invalid").field_errors(),
            field_error("/stop_ids", "not_an_order"),
            "{invalid:?}"
        );
    }
    for (invalid, code) in [(json!("x"), "wrong_type"), (json!(vec!["x"; 501]), "too_many")] {
        let reply = ada.put(&format!("{trip_path}/stops/order")).json(&json!({ "stop_ids": invalid })).await;
        assert_eq!(reply.expect(422).field_errors(), field_error("/stop_ids", code));
    }
    assert_eq!(ada.get(&trip_path).await.json(), before, "rejected orders change nothing");
    let empty = path(&create_trip_with_stops(&ada, &[]).await);
    ada.put(&format!("{empty}/stops/order")).json(&json!({ "stop_ids": [] })).await.expect(200);
}

#[tokio::test]
async fn errors_in_a_stop_list_point_to_the_invalid_value() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = create_trip_with_stops(&ada, &["a"]).await;
    let trip_path = path(&before);
    let with = |field: &str, value: Value| {
        let mut one = stop("x");
        one[field] = value;
        one
    };
    let duplicate = with("id", json!(CLIENT_ID));
    let mut back = with("arrives_at", json!("2027-04-02T09:30"));
    back["departs_at"] = json!("2027-04-02T09:29:59");
    let many = vec![stop("x"); 501];
    let wordy = vec![with("notes", json!("x".repeat(2000))); 100];
    for (stops, pointer, code) in [
        (json!([stop("x"), duplicate, duplicate]), "/stops/2/id", "doubled"),
        (json!([stop("x"), back]), "/stops/1/departs_at", "before_arrival"),
        (json!(many), "/stops", "too_many"),
        (json!(wordy), "/stops", "too_large"),
        (json!([with("id", json!(CLIENT_ID.to_uppercase()))]), "/stops/0/id", "invalid_format"),
        (json!([with("id", json!("01890a5d-ac96-474b-bcce-b302099a8057"))]), "/stops/0/id", "invalid_format"),
        (json!([with("latitude", json!(91))]), "/stops/0/latitude", "too_large"),
        (json!([with("position", json!(1))]), "/stops/0/position", "unknown_member"),
        (json!([{ "name": "x", "latitude": 1 }]), "/stops/0/longitude", "required"),
        (json!({ "0": stop("x") }), "/stops", "wrong_type"),
    ] {
        let whole = json!({ "title": "x", "stops": stops });
        for call in [ada.post(TRIPS), ada.patch(&trip_path), ada.put(&trip_path).header("if-match", "*")] {
            let reply = call.json(&whole).await.expect(422).problem("invalid");
            assert_eq!(reply.field_errors(), field_error(pointer, code));
        }
    }
    let one = format!("{trip_path}/stops/{}", stop_ids(&before)[0]);
    let reply = ada.post(&format!("{trip_path}/stops")).json(&back).await.expect(422);
    assert_eq!(reply.field_errors(), field_error("/departs_at", "before_arrival"));
    ada.patch(&one).json(&json!({ "departs_at": "2027-04-02T09:30" })).await.expect(200);
    let reply = ada.patch(&one).json(&json!({ "arrives_at": "2027-04-02T09:31" })).await.expect(422);
    assert_eq!(
        reply.field_errors(),
        field_error("/arrives_at", "before_arrival"),
        "the error points to the sent field"
    );
    for field in ["id", "trip_id", "position"] {
        ada.patch(&one).json(&json!({ field: CLIENT_ID })).await.expect(422).problem("invalid");
    }
    ada.post(&format!("{trip_path}/stops")).json(&duplicate).await.expect(201);
    ada.post(&format!("{trip_path}/stops")).json(&duplicate).await.expect(409).problem("already_exists");
    assert_eq!(ada.get(&trip_path).await.json()["version"], 3);
    assert_eq!(ada.get(TRIPS).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_trip_has_at_most_500_stops() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let full = create_trip(&ada, &json!({ "title": "x", "stops": vec![stop("x"); 500] })).await;
    let more =
        ada.post(&format!("{}/stops", path(&full))).json(&stop("y")).await.expect(422).problem("invalid");
    assert_eq!(more.field_errors(), field_error("", "too_many"));
    let mut ids = stop_ids(&full);
    ids.reverse();
    let reversed = ada.put(&format!("{}/stops/order", path(&full))).json(&json!({ "stop_ids": ids })).await;
    assert_eq!(stop_ids(&reversed.expect(200).json()), ids);
    ada.delete(&format!("{}/stops/{}", path(&full), ids[0])).await.expect(204);
    ada.post(&format!("{}/stops", path(&full))).json(&stop("y")).await.expect(201);
    let listed = ada.get(TRIPS).await.json();
    assert_eq!(listed["items"][0]["stops"].as_array().unwrap().len(), 500);
}

#[tokio::test]
async fn a_stop_is_found_only_in_its_own_trip() {
    // S-53, S-54
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let (adas, other) =
        (create_trip_with_stops(&ada, &["a"]).await, create_trip_with_stops(&ada, &["b"]).await);
    let eves = create_trip_with_stops(&eve, &["c"]).await;
    for (client, trip, stop_id) in [
        (&ada, &adas, &stop_ids(&other)[0]),
        (&ada, &adas, &UNKNOWN_ID.to_owned()),
        (&ada, &adas, &stop_ids(&adas)[0].to_uppercase()),
        (&eve, &adas, &stop_ids(&adas)[0]),
        (&eve, &adas, &stop_ids(&eves)[0]),
        (&ada, &json!({ "id": UNKNOWN_ID }), &stop_ids(&adas)[0]),
    ] {
        let one = format!("{}/stops/{stop_id}", path(trip));
        client.patch(&one).json(&json!({ "name": "x" })).await.expect(404).problem("not_found");
        client.delete(&one).await.expect(404).problem("not_found");
    }
    eve.post(&format!("{}/stops", path(&adas))).json(&stop("x")).await.expect(404).problem("not_found");
    let order = json!({ "stop_ids": stop_ids(&adas) });
    eve.put(&format!("{}/stops/order", path(&adas))).json(&order).await.expect(404).problem("not_found");
    assert_eq!(ada.get(&path(&adas)).await.json(), adas);
}

#[tokio::test]
async fn a_stop_has_both_coordinates_or_none() {
    // N-26
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip_path = path(&create_trip_with_stops(&ada, &[]).await);
    let stops_path = format!("{trip_path}/stops");
    let hotel = ada.post(&stops_path).json(&json!({ "name": "Hotel" })).await.expect(201).json();
    assert_eq!(hotel, json!({ "id": hotel["id"], "name": "Hotel" }));
    let one = format!("{stops_path}/{}", hotel["id"].as_str().unwrap());
    let only_one = [(json!({ "latitude": 1 }), "/longitude"), (json!({ "longitude": 1 }), "/latitude")];
    for (body, missing) in &only_one {
        let reply = ada.patch(&one).json(body).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), field_error(missing, "required"));
        let mut new = body.clone();
        new["name"] = json!("Hotel");
        let reply = ada.post(&stops_path).json(&new).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors(), field_error(missing, "required"));
    }
    let found =
        ada.patch(&one).json(&json!({ "latitude": 38.5, "longitude": -9.5 })).await.expect(200).json();
    assert_eq!((&found["latitude"], &found["longitude"]), (&json!(38.5), &json!(-9.5)));
    let reply = ada.patch(&one).json(&json!({ "latitude": null })).await.expect(422);
    assert_eq!(reply.field_errors(), field_error("/latitude", "required"));
    let cleared = ada.patch(&one).json(&json!({ "latitude": null, "longitude": null })).await.expect(200);
    assert_eq!(cleared.json(), hotel);
}

#[tokio::test]
async fn a_stop_may_have_its_own_time_zone() {
    // N-26
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = json!({ "title": "Azores", "time_zone": "Europe/Lisbon", "stops": [
        { "name": "Airport", "departs_at": "2027-04-02T09:30" },
        // The local time is earlier than that of the first stop. Stops are in travel order, not ordered by local time.
        { "name": "Ponta Delgada", "time_zone": "Atlantic/Azores", "arrives_at": "2027-04-02T08:55" },
    ] });
    let created = create_trip(&ada, &trip).await;
    assert_eq!(created["stops"][1]["time_zone"], "Atlantic/Azores");
    assert!(created["stops"][0].get("time_zone").is_none());
    let one = format!("{}/stops/{}", path(&created), stop_ids(&created)[1]);
    let cleared = ada.patch(&one).json(&json!({ "time_zone": null })).await.expect(200).json();
    assert!(cleared.get("time_zone").is_none());
    assert_eq!(ada.get(&path(&created)).await.json()["time_zone"], "Europe/Lisbon");
}
