//! Trips under ids that the client has made: with POST, and with PUT.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{NOWHERE, TRIPS, count, etag, fault, make, path};
use crate::harness::TestApp;

/// What is no id that a client may make, in a form that a path can have.
const OTHERS: [&str; 4] = [
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
    let body = json!({ "id": NOWHERE, "title": "Lisbon" });
    let made = ada.post(TRIPS).json(&body).await.expect(201);
    assert_eq!((made.json()["id"].as_str(), made.header("location")), (Some(NOWHERE), path(&body).as_str()));
    ada.post(TRIPS).json(&body).await.expect(409).problem("already_exists");
    // S-53: nobody learns of somebody else's id.
    let hers = eve.post(TRIPS).json(&json!({ "id": NOWHERE, "title": "Porto" })).await.expect(201).json();
    assert_eq!((&hers["id"], &hers["version"]), (&json!(NOWHERE), &json!(1)));
    assert_eq!(ada.get(&path(&body)).await.json(), made.json());
    eve.delete(&path(&body)).await.expect(204);
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [made.json()] }));
    let others = OTHERS.map(str::to_owned);
    let spellings = [
        NOWHERE.to_uppercase().replace('0', "A"),
        NOWHERE.replace('-', ""),
        format!("{{{NOWHERE}}}"),
        String::new(),
    ];
    for wrong in others.into_iter().chain(spellings) {
        let reply = ada.post(TRIPS).json(&json!({ "id": wrong, "title": "x" })).await.expect(422);
        assert_eq!(reply.faults(), fault("/id", "invalid_format"), "{wrong}");
    }
    for wrong in [json!(null), json!(7)] {
        let reply = ada.post(TRIPS).json(&json!({ "id": wrong, "title": "x" })).await.expect(422);
        assert_eq!(reply.faults(), fault("/id", "wrong_type"), "{wrong}");
    }
}

#[tokio::test]
async fn put_with_if_none_match_only_creates() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let place = format!("{TRIPS}/{NOWHERE}");
    let new = |title: &str| json!({ "title": title });
    let made = ada.put(&place).header("if-none-match", "*").json(&new("Lisbon")).await.expect(201);
    assert_eq!((made.header("location"), made.json()["version"].as_i64()), (place.as_str(), Some(1)));
    assert_eq!(made.header("etag"), etag(&ada, &place).await);
    let twice = ada.put(&place).header("if-none-match", "*").json(&new("Porto")).await;
    twice.expect(412).problem("precondition_failed");
    assert_eq!(ada.get(&place).await.json(), made.json());
    let hers = eve.put(&place).header("if-none-match", "*").json(&new("Faro")).await.expect(201);
    assert_eq!(hers.json()["title"], "Faro");
    for wrong in OTHERS {
        let reply = ada.put(&format!("{TRIPS}/{wrong}")).header("if-none-match", "*").json(&new("x")).await;
        assert_eq!(reply.expect(422).problem("invalid").faults(), fault("/id", "invalid_format"), "{wrong}");
    }
    let bare = format!("{TRIPS}/{}", NOWHERE.replace('-', ""));
    ada.put(&bare).header("if-none-match", "*").json(&new("x")).await.expect(404).problem("not_found");
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [made.json()] }));
}

#[tokio::test]
async fn put_requires_if_match_to_overwrite() {
    // S-60
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let whole = json!({
        "title": "Lisbon", "destination": "Portugal", "start_date": "2027-05-10", "end_date": "2027-05-12",
        "time_zone": "Europe/Lisbon", "notes": "tram", "status": "active",
        "stops": [{ "name": "Graça", "latitude": 38.7, "longitude": -9.1 }],
    });
    let before = make(&ada, &whole).await;
    let place = path(&before);
    let tag = etag(&ada, &place).await;
    let put = || ada.put(&place).json(&json!({ "title": "Porto" }));
    put().await.expect(428).problem("precondition_required");
    put().header("if-none-match", &tag).await.expect(428).problem("precondition_required");
    put().header("if-match", &tag).header("if-none-match", "*").await.expect(400).problem("bad_request");
    put().header("if-none-match", "").await.expect(400).problem("bad_request");
    ada.put(&place).header("if-match", &tag).json(&json!({})).await.expect(422).problem("invalid");
    let missing =
        ada.put(&format!("{TRIPS}/{NOWHERE}")).header("if-match", "*").json(&json!({ "title": "x" }));
    missing.await.expect(404).problem("not_found");
    assert_eq!(ada.get(&place).await.json(), before, "nothing was done");
    let after = put().header("if-match", &tag).await.expect(200);
    assert_ne!(after.header("etag"), tag);
    let mut expected = before.clone();
    let members = expected.as_object_mut().unwrap();
    members.retain(|name, _| ["id", "created_at", "updated_at"].contains(&name.as_str()));
    members.extend(
        json!({ "title": "Porto", "status": "planned", "stops": [], "version": 2 })
            .as_object()
            .unwrap()
            .clone(),
    );
    assert_eq!(after.json(), expected, "what is absent is cleared");
    put().header("if-match", &tag).await.expect(412).problem("precondition_failed");
    let back: Value = whole.clone();
    let again = ada.put(&place).header("if-match", "*").json(&back).await.expect(200).json();
    assert_eq!((&again["destination"], &again["version"]), (&json!("Portugal"), &json!(3)));
}

#[tokio::test]
async fn fifty_concurrent_creates_of_one_id_create_one_trip() {
    // S-60
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let ada = app.sign_up("ada").await;
    let there = replica.anonymous().granted(ada.grant());
    let of = |number: usize| if number.is_multiple_of(2) { &ada } else { &there };
    let place = format!("{TRIPS}/{NOWHERE}");
    let puts = (0..50).map(|number| {
        let body = json!({ "title": format!("{number}") });
        of(number).put(&place).header("if-none-match", "*").json(&body).into_future()
    });
    let replies = join_all(puts).await;
    assert_eq!((count(&replies, 201), count(&replies, 412)), (1, 49));
    let won = replies.iter().find(|reply| reply.status == 201).unwrap().json();
    assert_eq!(ada.get(TRIPS).await.json(), json!({ "items": [won] }));

    let other = app.clock.new_id().to_string();
    let posts = (0..50)
        .map(|number| of(number).post(TRIPS).json(&json!({ "id": other, "title": "x" })).into_future());
    let replies = join_all(posts).await;
    assert_eq!((count(&replies, 201), count(&replies, 409)), (1, 49));
}
