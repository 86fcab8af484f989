//! The stops of a trip: one list, in travel order, that changes as a whole or one by one.

use serde_json::{Value, json};

use super::{NOWHERE, TRIPS, fault, id, make, path, stop, stop_ids};
use crate::harness::{Client, TestApp};

const MADE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A trip with stops of these names.
async fn trip(client: &Client, names: &[&str]) -> Value {
    let stops: Vec<Value> = names.iter().map(|name| stop(name)).collect();
    make(client, &json!({ "title": "Lisbon", "stops": stops })).await
}

fn names(trip: &Value) -> Vec<&str> {
    trip["stops"].as_array().unwrap().iter().map(|stop| stop["name"].as_str().unwrap()).collect()
}

/// Everything that a member may be: its value, what it becomes, and the fault that it is, if it is one.
fn members() -> Vec<(&'static str, Value, Result<Value, &'static str>)> {
    let same = |name, value: Value| (name, value.clone(), Ok(value));
    let mut all = vec![
        same("name", json!("🦀".repeat(200))),
        same("notes", json!("")),
        same("notes", json!("😀".repeat(2000))),
        ("name", json!(""), Err("too_short")),
        ("name", json!("x".repeat(201)), Err("too_long")),
        ("name", json!(null), Err("wrong_type")),
        ("notes", json!("x".repeat(2001)), Err("too_long")),
        ("latitude", json!("1"), Err("wrong_type")),
        ("longitude", json!(null), Err("wrong_type")),
    ];
    for (member, most) in [("latitude", 90.0), ("longitude", 180.0)] {
        for fine in [most, -most, 0.0, 1e-300, 12.345_678_901_234_5] {
            all.push(same(member, json!(fine)));
        }
        for (wrong, code) in [(most + 1e-9, "too_large"), (-most - 1e-9, "too_small"), (1e300, "too_large")] {
            all.push((member, json!(wrong), Err(code)));
        }
    }
    for member in ["arrives_at", "departs_at"] {
        for (text, seconds) in
            [("2027-04-02T09:30", ":00"), ("2028-02-29T23:59:59", ""), ("0001-01-01T00:00", ":00")]
        {
            all.push((member, json!(text), Ok(json!(format!("{text}{seconds}")))));
        }
        all.push((member, json!("0000-01-01T00:00"), Err("out_of_range")));
        for wrong in [
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
            all.push((member, json!(wrong), Err("invalid_format")));
        }
    }
    all
}

#[tokio::test]
async fn each_field_of_a_stop_is_validated_in_every_operation() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = trip(&ada, &["Graça"]).await;
    let (place, first) = (path(&trip), stop_ids(&trip)[0].clone());
    for (member, value, wanted) in members() {
        let mut one = stop("Graça");
        one[member] = value.clone();
        let whole = json!({ "title": "Lisbon", "stops": [one] });
        let calls = [
            (ada.post(&format!("{place}/stops")).json(&one), "", false),
            (ada.patch(&format!("{place}/stops/{first}")).json(&json!({ member: value })), "", false),
            (ada.post(TRIPS).json(&whole), "/stops/0", true),
            (ada.patch(&place).json(&json!({ "stops": whole["stops"] })), "/stops/0", true),
            (ada.put(&place).header("if-match", "*").json(&whole), "/stops/0", true),
        ];
        for (call, pointer, is_whole) in calls {
            let reply = call.await;
            match &wanted {
                Ok(becomes) => {
                    assert!((200..300).contains(&reply.status), "{member} {value}: {}", reply.text());
                    let body = reply.json();
                    let shown = if is_whole { &body["stops"][0] } else { &body };
                    assert_eq!(shown[member], *becomes, "{member}");
                    // So that the next value of the other time is not before this one.
                    if is_whole && id(&body) == id(&trip) {
                        let keep =
                            json!({ "stops": [{ "id": first, "name": "x", "latitude": 0, "longitude": 0 }] });
                        ada.patch(&place).json(&keep).await.expect(200);
                    } else if !is_whole && id(&body) == first {
                        let clear = json!({ "arrives_at": null, "departs_at": null });
                        ada.patch(&format!("{place}/stops/{first}")).json(&clear).await.expect(200);
                    }
                }
                Err(code) => {
                    let faults = reply.expect(422).problem("invalid").faults();
                    assert_eq!(faults, fault(&format!("{pointer}/{member}"), code), "{member} {value}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_change_of_a_stop_increments_the_trip_version() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = trip(&ada, &[]).await;
    let place = path(&trip);
    assert_eq!(trip["stops"], json!([]));
    let mut tags = vec![ada.get(&place).await.header("etag").to_owned()];
    let mut ids = Vec::new();
    for name in ["Graça", "Alfama", "Belém"] {
        let added = ada.post(&format!("{place}/stops")).json(&stop(name)).await.expect(201);
        tags.push(added.header("etag").to_owned());
        ids.push(id(&added.json()));
        assert_eq!(added.header("location"), format!("{place}/stops/{}", ids.last().unwrap()));
    }
    let seen = ada.get(&place).await.expect(200);
    assert_eq!((names(&seen.json()), &seen.json()["version"]), (vec!["Graça", "Alfama", "Belém"], &json!(4)));
    assert_eq!(seen.header("etag"), tags[3]);

    let change = json!({ "name": "Mouraria", "arrives_at": "2027-04-02T09:30", "notes": "late" });
    let changed = ada.patch(&format!("{place}/stops/{}", ids[1])).json(&change).await.expect(200);
    let expected = json!({
        "id": ids[1], "name": "Mouraria", "latitude": 38.7165, "longitude": -9.1319,
        "arrives_at": "2027-04-02T09:30:00", "notes": "late",
    });
    assert_eq!(changed.json(), expected);
    tags.push(changed.header("etag").to_owned());
    let cleared = ada.patch(&format!("{place}/stops/{}", ids[1])).json(&json!({ "notes": null })).await;
    assert!(cleared.expect(200).json().get("notes").is_none());

    let order = json!({ "stop_ids": [ids[2], ids[0], ids[1]] });
    let ordered = ada.put(&format!("{place}/stops/order")).json(&order).await.expect(200);
    assert_eq!(names(&ordered.json()), ["Belém", "Graça", "Mouraria"]);
    tags.push(ordered.header("etag").to_owned());
    let removed = ada.delete(&format!("{place}/stops/{}", ids[0])).await.expect(204);
    tags.push(removed.header("etag").to_owned());
    ada.delete(&format!("{place}/stops/{}", ids[0])).await.expect(404).problem("not_found");
    let last = ada.get(&place).await.expect(200);
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
    let before = trip(&ada, &["Graça", "Alfama"]).await;
    let (place, ids) = (path(&before), stop_ids(&before));
    let kept = json!({ "id": ids[1], "name": "Alfama", "latitude": 1, "longitude": 2 });
    let own = json!({ "id": MADE, "name": "Belém", "latitude": 1, "longitude": 2 });
    let after =
        ada.patch(&place).json(&json!({ "stops": [stop("Rossio"), kept, own] })).await.expect(200).json();
    assert_eq!(names(&after), ["Rossio", "Alfama", "Belém"]);
    let new = stop_ids(&after);
    assert_eq!((&new[1], new[2].as_str()), (&ids[1], MADE));
    assert!(!ids.contains(&new[0]) && new[0] != MADE);
    let same = ada.patch(&place).json(&json!({ "title": "Porto" })).await.expect(200).json();
    assert_eq!(same["stops"], after["stops"], "what is absent stays");
    let put =
        ada.put(&place).header("if-match", "*").json(&json!({ "title": "Porto" })).await.expect(200).json();
    assert_eq!(put["stops"], json!([]), "what is absent is cleared");
    ada.patch(&place).json(&json!({ "stops": [kept] })).await.expect(200);
    assert_eq!(
        ada.patch(&place).json(&json!({ "stops": null })).await.expect(200).json()["stops"],
        json!([])
    );
    let listed = ada.get(TRIPS).await.json();
    assert_eq!(listed["items"][0]["stops"], json!([]));
}

#[tokio::test]
async fn a_stop_order_must_contain_each_stop_once() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = trip(&ada, &["a", "b", "c"]).await;
    let (place, ids) = (path(&before), stop_ids(&before));
    let other = stop_ids(&trip(&ada, &["d"]).await)[0].clone();
    let [a, b, c] = [&ids[0], &ids[1], &ids[2]];
    let none = NOWHERE.to_owned();
    for wrong in [
        vec![a, b],
        vec![],
        vec![a, b, b],
        vec![a, b, c, c],
        vec![a, b, &other],
        vec![a, b, c, &other],
        vec![a, b, &none],
    ] {
        let reply = ada.put(&format!("{place}/stops/order")).json(&json!({ "stop_ids": wrong })).await;
        assert_eq!(
            reply.expect(422).problem("invalid").faults(),
            fault("/stop_ids", "not_an_order"),
            "{wrong:?}"
        );
    }
    for (wrong, code) in [(json!("x"), "wrong_type"), (json!(vec!["x"; 501]), "too_many")] {
        let reply = ada.put(&format!("{place}/stops/order")).json(&json!({ "stop_ids": wrong })).await;
        assert_eq!(reply.expect(422).faults(), fault("/stop_ids", code));
    }
    assert_eq!(ada.get(&place).await.json(), before, "nothing was half done");
    let empty = path(&trip(&ada, &[]).await);
    ada.put(&format!("{empty}/stops/order")).json(&json!({ "stop_ids": [] })).await.expect(200);
}

#[tokio::test]
async fn errors_in_a_stop_list_point_to_the_invalid_value() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let before = trip(&ada, &["a"]).await;
    let place = path(&before);
    let with = |member: &str, value: Value| {
        let mut one = stop("x");
        one[member] = value;
        one
    };
    let twice = with("id", json!(MADE));
    let mut back = with("arrives_at", json!("2027-04-02T09:30"));
    back["departs_at"] = json!("2027-04-02T09:29:59");
    let many = vec![stop("x"); 501];
    let wordy = vec![with("notes", json!("x".repeat(2000))); 100];
    for (stops, pointer, code) in [
        (json!([stop("x"), twice, twice]), "/stops/2/id", "doubled"),
        (json!([stop("x"), back]), "/stops/1/departs_at", "before_arrival"),
        (json!(many), "/stops", "too_many"),
        (json!(wordy), "/stops", "too_large"),
        (json!([with("id", json!(MADE.to_uppercase()))]), "/stops/0/id", "invalid_format"),
        (json!([with("id", json!("01890a5d-ac96-474b-bcce-b302099a8057"))]), "/stops/0/id", "invalid_format"),
        (json!([with("latitude", json!(91))]), "/stops/0/latitude", "too_large"),
        (json!([with("position", json!(1))]), "/stops/0", "unknown_member"),
        (json!([{ "name": "x", "latitude": 1 }]), "/stops/0/longitude", "required"),
        (json!({ "0": stop("x") }), "/stops", "wrong_type"),
    ] {
        let whole = json!({ "title": "x", "stops": stops });
        for call in [ada.post(TRIPS), ada.patch(&place), ada.put(&place).header("if-match", "*")] {
            let reply = call.json(&whole).await.expect(422).problem("invalid");
            assert_eq!(reply.faults(), fault(pointer, code));
        }
    }
    let one = format!("{place}/stops/{}", stop_ids(&before)[0]);
    let reply = ada.post(&format!("{place}/stops")).json(&back).await.expect(422);
    assert_eq!(reply.faults(), fault("/departs_at", "before_arrival"));
    ada.patch(&one).json(&json!({ "departs_at": "2027-04-02T09:30" })).await.expect(200);
    let reply = ada.patch(&one).json(&json!({ "arrives_at": "2027-04-02T09:31" })).await.expect(422);
    assert_eq!(reply.faults(), fault("/arrives_at", "before_arrival"), "the one that was sent");
    for member in ["id", "trip_id", "position"] {
        ada.patch(&one).json(&json!({ member: MADE })).await.expect(422).problem("invalid");
    }
    ada.post(&format!("{place}/stops")).json(&twice).await.expect(201);
    ada.post(&format!("{place}/stops")).json(&twice).await.expect(409).problem("already_exists");
    assert_eq!(ada.get(&place).await.json()["version"], 3);
    assert_eq!(ada.get(TRIPS).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_trip_has_at_most_500_stops() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let full = make(&ada, &json!({ "title": "x", "stops": vec![stop("x"); 500] })).await;
    let more =
        ada.post(&format!("{}/stops", path(&full))).json(&stop("y")).await.expect(422).problem("invalid");
    assert_eq!(more.faults(), fault("", "too_many"));
    let mut ids = stop_ids(&full);
    ids.reverse();
    let turned = ada.put(&format!("{}/stops/order", path(&full))).json(&json!({ "stop_ids": ids })).await;
    assert_eq!(stop_ids(&turned.expect(200).json()), ids);
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
    let (mine, other) = (trip(&ada, &["a"]).await, trip(&ada, &["b"]).await);
    let hers = trip(&eve, &["c"]).await;
    for (client, trip, stop_id) in [
        (&ada, &mine, &stop_ids(&other)[0]),
        (&ada, &mine, &NOWHERE.to_owned()),
        (&ada, &mine, &stop_ids(&mine)[0].to_uppercase()),
        (&eve, &mine, &stop_ids(&mine)[0]),
        (&eve, &mine, &stop_ids(&hers)[0]),
        (&ada, &json!({ "id": NOWHERE }), &stop_ids(&mine)[0]),
    ] {
        let one = format!("{}/stops/{stop_id}", path(trip));
        client.patch(&one).json(&json!({ "name": "x" })).await.expect(404).problem("not_found");
        client.delete(&one).await.expect(404).problem("not_found");
    }
    eve.post(&format!("{}/stops", path(&mine))).json(&stop("x")).await.expect(404).problem("not_found");
    let order = json!({ "stop_ids": stop_ids(&mine) });
    eve.put(&format!("{}/stops/order", path(&mine))).json(&order).await.expect(404).problem("not_found");
    assert_eq!(ada.get(&path(&mine)).await.json(), mine);
}
