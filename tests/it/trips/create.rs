//! Creating trips with ids from the client, by POST and by PUT, and with text in every script.

use futures_util::future::join_all;
use serde_json::json;

use super::{TRIPS, UNKNOWN_ID, count_status, create_trip, etag, field_error, path};
use crate::harness::TestApp;

/// UUIDs that a client must not use for a new trip, because they are not UUIDv7: version 4, another variant, nil
/// and max.
const INVALID_IDS: [&str; 4] = [
    "01890a5d-ac96-474b-bcce-b302099a8057",
    "01890a5d-ac96-774b-ccce-b302099a8057",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
];

#[tokio::test]
async fn a_client_may_choose_the_id_of_a_new_trip() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let body = json!({ "id": UNKNOWN_ID, "title": "Lisbon" });
    let created = ada.post(TRIPS).json(&body).await.expect(201);
    assert_eq!(
        (created.json()["id"].as_str(), created.header("location")),
        (Some(UNKNOWN_ID), path(&body).as_str())
    );
    ada.post(TRIPS).json(&body).await.expect(409).problem("already_exists");
    // S-53: the response does not reveal another user's ids.
    let eves = eve.post(TRIPS).json(&json!({ "id": UNKNOWN_ID, "title": "Porto" })).await.expect(201).json();
    assert_eq!((&eves["id"], &eves["version"]), (&json!(UNKNOWN_ID), &json!(1)));
    assert_eq!(ada.get(&path(&body)).await.json(), created.json());
    eve.delete(&path(&body)).await.expect(204);
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [created.json()] }));
    let others = INVALID_IDS.map(str::to_owned);
    let spellings = [
        UNKNOWN_ID.to_uppercase().replace('0', "A"),
        UNKNOWN_ID.replace('-', ""),
        format!("{{{UNKNOWN_ID}}}"),
        String::new(),
    ];
    for invalid in others.into_iter().chain(spellings) {
        let reply = ada.post(TRIPS).json(&json!({ "id": invalid, "title": "x" })).await.expect(422);
        assert_eq!(reply.field_errors(), field_error("/id", "invalid_format"), "{invalid}");
    }
    for invalid in [json!([]), json!(7)] {
        let reply = ada.post(TRIPS).json(&json!({ "id": invalid, "title": "x" })).await.expect(422);
        assert_eq!(reply.field_errors(), field_error("/id", "wrong_type"), "{invalid}");
    }
}

#[tokio::test]
async fn put_with_if_none_match_creates_a_trip_and_never_overwrites_one() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let trip_path = format!("{TRIPS}/{UNKNOWN_ID}");
    let new = |title: &str| json!({ "title": title });
    let created = ada.put(&trip_path).header("if-none-match", "*").json(&new("Lisbon")).await.expect(201);
    assert_eq!(
        (created.header("location"), created.json()["version"].as_i64()),
        (trip_path.as_str(), Some(1))
    );
    assert_eq!(created.header("etag"), etag(&ada, &trip_path).await);
    let twice = ada.put(&trip_path).header("if-none-match", "*").json(&new("Porto")).await;
    twice.expect(412).problem("precondition_failed");
    assert_eq!(ada.get(&trip_path).await.json(), created.json());
    let eves = eve.put(&trip_path).header("if-none-match", "*").json(&new("Faro")).await.expect(201);
    assert_eq!(eves.json()["title"], "Faro");
    for invalid in INVALID_IDS {
        let reply = ada.put(&format!("{TRIPS}/{invalid}")).header("if-none-match", "*").json(&new("x")).await;
        assert_eq!(
            reply.expect(422).problem("invalid").field_errors(),
            field_error("/id", "invalid_format"),
            "{invalid}"
        );
    }
    let without_hyphens = format!("{TRIPS}/{}", UNKNOWN_ID.replace('-', ""));
    ada.put(&without_hyphens)
        .header("if-none-match", "*")
        .json(&new("x"))
        .await
        .expect(404)
        .problem("not_found");
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [created.json()] }));
}

#[tokio::test]
async fn put_requires_the_header_if_match_to_overwrite_a_trip() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let whole = json!({
        "title": "Lisbon", "destination": "Portugal", "start_date": "2027-05-10", "end_date": "2027-05-12",
        "time_zone": "Europe/Lisbon", "notes": "tram", "status": "active",
        "stops": [{ "name": "Graça", "latitude": 38.7, "longitude": -9.1 }],
    });
    let before = create_trip(&ada, &whole).await;
    let trip_path = path(&before);
    let tag = etag(&ada, &trip_path).await;
    let put = || ada.put(&trip_path).json(&json!({ "title": "Porto" }));
    put().await.expect(428).problem("precondition_required");
    put().header("if-none-match", &tag).await.expect(428).problem("precondition_required");
    put().header("if-match", &tag).header("if-none-match", "*").await.expect(400).problem("bad_request");
    put().header("if-none-match", "").await.expect(400).problem("bad_request");
    ada.put(&trip_path).header("if-match", &tag).json(&json!({})).await.expect(422).problem("invalid");
    let missing =
        ada.put(&format!("{TRIPS}/{UNKNOWN_ID}")).header("if-match", "*").json(&json!({ "title": "x" }));
    missing.await.expect(404).problem("not_found");
    assert_eq!(ada.get(&trip_path).await.json(), before, "rejected requests change nothing");
    let after = put().header("if-match", &tag).await.expect(200);
    assert_ne!(after.header("etag"), tag);
    let mut expected = before.clone();
    let fields = expected.as_object_mut().unwrap();
    fields.retain(|name, _| ["id", "created_at", "updated_at"].contains(&name.as_str()));
    fields.extend(
        json!({ "title": "Porto", "status": "planned", "stops": [], "version": 2 })
            .as_object()
            .unwrap()
            .clone(),
    );
    assert_eq!(after.json(), expected, "absent fields are cleared");
    put().header("if-match", &tag).await.expect(412).problem("precondition_failed");
    let again = ada.put(&trip_path).header("if-match", "*").json(&whole).await.expect(200).json();
    assert_eq!((&again["destination"], &again["version"]), (&json!("Portugal"), &json!(3)));
}

#[tokio::test]
async fn fifty_concurrent_creates_of_one_id_create_one_trip() {
    // S-60
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let on_replica = replica.anonymous().with_grant(ada.grant());
    let of = |number: usize| if number.is_multiple_of(2) { &ada } else { &on_replica };
    let trip_path = format!("{TRIPS}/{UNKNOWN_ID}");
    let puts = (0..50).map(|number| {
        let body = json!({ "title": format!("{number}") });
        of(number).put(&trip_path).header("if-none-match", "*").json(&body).into_future()
    });
    let replies = join_all(puts).await;
    assert_eq!((count_status(&replies, 201), count_status(&replies, 412)), (1, 49));
    let winner = replies.iter().find(|reply| reply.status == 201).unwrap().json();
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [winner] }));

    let other = app.clock.new_id().to_string();
    let posts = (0..50)
        .map(|number| of(number).post(TRIPS).json(&json!({ "id": other, "title": "x" })).into_future());
    let replies = join_all(posts).await;
    assert_eq!((count_status(&replies, 201), count_status(&replies, 409)), (1, 49));
}

#[tokio::test]
async fn null_for_an_optional_field_of_a_new_object_is_treated_as_absent() {
    // N-12
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let stop = json!({
        "id": null, "name": "Hotel", "latitude": null, "longitude": null, "time_zone": null,
        "arrives_at": null, "departs_at": null, "notes": null,
    });
    let mut body = json!({
        "title": "Lisbon", "destination": null, "start_date": null, "end_date": null, "time_zone": null,
        "notes": null, "status": null, "stops": null,
    });
    let expected = |trip: &serde_json::Value| {
        let names: Vec<&str> = trip.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["id", "title", "status", "stops", "version", "created_at", "updated_at"]);
        assert_eq!((&trip["status"], &trip["stops"]), (&json!("planned"), &json!([])));
    };
    let path = format!("{TRIPS}/{UNKNOWN_ID}");
    expected(&ada.put(&path).header("if-none-match", "*").json(&body).await.expect(201).json());
    expected(&ada.put(&path).header("if-match", "*").json(&body).await.expect(200).json());
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let operation = json!({ "op_id": id, "op": "create", "id": id, "trip": body });
    let sent = ada.post("/api/v1/sync").json(&json!({ "operations": [operation] })).await.expect(200);
    expected(&sent.json()["results"][0]["trip"]);
    body["id"] = json!(null);
    expected(&create_trip(&ada, &body).await);
    body["stops"] = json!([stop]);
    let with_stop = create_trip(&ada, &body).await["stops"][0].clone();
    let added = ada.post(&format!("{path}/stops")).json(&stop).await.expect(201).json();
    for stop in [&with_stop, &added] {
        assert_eq!(*stop, json!({ "id": stop["id"], "name": "Hotel" }));
    }
    for title in [json!({ "title": null }), json!({ "title": "x", "stops": [{ "name": null }] })] {
        ada.post(TRIPS).json(&title).await.expect(422).problem("invalid");
    }
}

#[tokio::test]
async fn text_in_every_writing_system_is_returned_unchanged() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for text in [
        "👩‍👩‍👧‍👦 🇵🇹 🏳️‍🌈",
        "رحلة إلى القاهرة",
        "מסע לירושלים \u{200f}x",
        "𠜎𠜱𝔘𝔫𝔦",
        "e\u{301} é",
        "\u{10ffff}\u{fffd}\u{feff}",
        "' \" \\ ; -- % _ \\' $1 ?",
        " spaces ",
        "<script>alert(1)</script>&amp;",
    ] {
        let body = json!({ "title": text, "destination": text, "notes": text });
        let trip = create_trip(&ada, &body).await;
        let changed = ada.patch(&path(&trip)).json(&json!({ "notes": format!("{text}{text}") })).await;
        assert_eq!(changed.expect(200).json()["title"], text);
        let stored = ada.get(&path(&trip)).await.json();
        assert_eq!((&stored["title"], &stored["destination"]), (&body["title"], &body["destination"]));
        assert_eq!(stored["notes"], format!("{text}{text}"));
    }
}
