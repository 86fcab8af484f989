//! The quotas of a user: the number of trips, the size of their texts, and other stored rows.

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tripgate::housekeeping;

use crate::harness::{Client, TestApp};

const TRIPS: &str = "/api/v1/trips";
const SYNC: &str = "/api/v1/sync";
const FIRST: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const SECOND: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

async fn with_trips(max: u32) -> TestApp {
    TestApp::with(|settings| settings.quotas.trips = max).await
}

async fn with_bytes(max: u64) -> TestApp {
    TestApp::with(|settings| settings.quotas.trip_bytes = max).await
}

async fn create(client: &Client, title: &str) -> String {
    let trip = client.post(TRIPS).json(&json!({ "title": title })).await.expect(201).json();
    trip["id"].as_str().unwrap().to_owned()
}

async fn usage(client: &Client) -> Value {
    client.get("/api/v1/me").await.expect(200).json()["usage"].clone()
}

async fn titles(client: &Client) -> Vec<Value> {
    let page = client.get(&format!("{TRIPS}?sort=title")).await.expect(200).json();
    page["items"].as_array().unwrap().iter().map(|trip| trip["title"].clone()).collect()
}

#[tokio::test]
async fn a_trip_over_the_quota_gets_507_and_deleting_one_makes_room() {
    //
    let app = with_trips(2).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let one = create(&ada, "one").await;
    create(&ada, "two").await;
    let refused = ada.post(TRIPS).json(&json!({ "title": "three" })).await.expect(507);
    let problem = refused.problem("quota_exceeded").json();
    assert_eq!(problem["detail"], "You can store at most 2 trips. Delete some to add more.");
    assert_eq!(problem["client_action"], "fix_input");
    let put = ada.put(&format!("{TRIPS}/{FIRST}")).header("if-none-match", "*");
    put.json(&json!({ "title": "three" })).await.expect(507).problem("quota_exceeded");
    assert_eq!(titles(&ada).await, ["one", "two"], "a refused trip was stored");
    create(&bob, "another user's").await;
    let trip = format!("{TRIPS}/{one}");
    ada.patch(&trip).json(&json!({ "notes": "A full account can still be changed." })).await.expect(200);
    ada.delete(&trip).await.expect(204);
    create(&ada, "three").await;
    assert_eq!(titles(&ada).await, ["three", "two"]);
}

#[tokio::test]
async fn parallel_requests_create_no_trip_over_the_quota() {
    //
    for present in [0, 3] {
        let app = with_trips(present + 1).await;
        let ada = app.sign_up("ada").await;
        for _ in 0..present {
            create(&ada, "before").await;
        }
        let body = json!({ "title": "parallel" });
        let replies = join_all((0..50).map(|_| async { ada.post(TRIPS).json(&body).await.status })).await;
        let created = replies.iter().filter(|status| **status == 201).count();
        let refused = replies.iter().filter(|status| **status == 507).count();
        assert_eq!((created, refused), (1, 49), "{replies:?}");
        assert_eq!(usage(&ada).await["trips"], present + 1);
    }
}

#[tokio::test]
async fn a_text_over_the_quota_gets_507_and_stored_texts_can_be_shortened() {
    //
    let app = with_bytes(1000).await;
    let ada = app.sign_up("ada").await;
    let trip = format!("{TRIPS}/{}", create(&ada, "Lisbon").await);
    ada.patch(&trip).json(&json!({ "notes": "n".repeat(900) })).await.expect(200);
    let long = json!({ "notes": "n".repeat(1000) });
    let problem = ada.patch(&trip).json(&long).await.expect(507).problem("quota_exceeded").json();
    let detail = "Your trips can contain at most 1,000 bytes of text in total. \
                  Delete or shorten some to add more.";
    assert_eq!(problem["detail"], detail);
    let etag = ada.get(&trip).await.expect(200).header("etag").to_owned();
    let put = ada.put(&trip).header("if-match", &etag);
    put.json(&json!({ "title": "Lisbon", "notes": "n".repeat(1000) })).await.expect(507);
    let stop = json!({ "name": "s".repeat(150) });
    ada.post(&format!("{trip}/stops")).json(&stop).await.expect(507).problem("quota_exceeded");
    ada.post(TRIPS).json(&json!({ "title": "t".repeat(150) })).await.expect(507);
    assert_eq!(ada.get(&trip).await.expect(200).header("etag"), etag, "a refused change was made");
    ada.patch(&trip).json(&json!({ "notes": "n".repeat(700) })).await.expect(200);
    ada.post(&format!("{trip}/stops")).json(&stop).await.expect(201);
}

#[tokio::test]
async fn after_the_quota_is_lowered_trips_above_it_can_be_shortened_and_deleted() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let (one, two) = (create(&ada, "one").await, create(&ada, "two").await);
    ada.patch(&format!("{TRIPS}/{one}")).json(&json!({ "notes": "n".repeat(500) })).await.expect(200);
    let lowered = app
        .replica_with(|settings| {
            settings.quotas.trips = 1;
            settings.quotas.trip_bytes = 10;
        })
        .await;
    let ada = lowered.anonymous().with_token(ada.token());
    let one = format!("{TRIPS}/{one}");
    ada.patch(&one).json(&json!({ "notes": "n".repeat(501) })).await.expect(507);
    ada.patch(&one).json(&json!({ "notes": "n".repeat(499) })).await.expect(200);
    ada.patch(&one).json(&json!({ "status": "active" })).await.expect(200);
    ada.post(TRIPS).json(&json!({ "title": "three" })).await.expect(507);
    ada.delete(&format!("{TRIPS}/{two}")).await.expect(204);
}

#[tokio::test]
async fn sync_operations_over_the_trip_quota_are_rejected_one_by_one() {
    //
    let app = with_trips(1).await;
    let ada = app.sign_up("ada").await;
    let operation = |op: u8, kind: &str, id: &str| {
        let op_id = format!("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4b{op:02x}");
        match kind {
            "create" => json!({ "op_id": op_id, "op": kind, "id": id, "trip": { "title": kind } }),
            _ => json!({ "op_id": op_id, "op": kind, "id": id, "base_version": 1 }),
        }
    };
    let operations =
        json!([operation(1, "create", FIRST), operation(2, "create", SECOND), operation(3, "delete", FIRST)]);
    let reply = ada.post(SYNC).json(&json!({ "operations": operations })).await.expect(200).json();
    let statuses: Vec<&str> =
        reply["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["applied", "rejected", "applied"]);
    let problem = &reply["results"][1]["problem"];
    assert_eq!((&problem["code"], &problem["status"]), (&json!("quota_exceeded"), &json!(507)));
    // The rejected operation was not stored, so it can be sent again.
    let again = json!({ "operations": [operation(2, "create", SECOND)] });
    let reply = ada.post(SYNC).json(&again).await.expect(200).json();
    assert_eq!(reply["results"][0]["status"], "applied");
    assert_eq!(usage(&ada).await["trips"], 1);
}

#[tokio::test]
async fn get_me_returns_the_number_of_stored_trips_and_bytes_and_the_quotas() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let expected = |trips: u64, bytes: u64| json!({ "trips": trips, "trip_bytes": bytes, "trips_max": 20_000, "trip_bytes_max": 67_108_864 });
    assert_eq!(usage(&ada).await, expected(0, 0));
    let body = json!({ "title": "Zürich", "notes": "a\nb" });
    let trip = ada.post(TRIPS).json(&body).await.expect(201).json();
    // The empty list of stops is stored as `[]`, which has 2 bytes.
    assert_eq!(usage(&ada).await, expected(1, 7 + 3 + 2));
    let trip = format!("{TRIPS}/{}", trip["id"].as_str().unwrap());
    ada.patch(&trip).json(&json!({ "notes": null, "time_zone": "Europe/Zurich" })).await.expect(200);
    assert_eq!(usage(&ada).await, expected(1, 7 + 13 + 2));
    ada.delete(&trip).await.expect(204);
    assert_eq!(usage(&ada).await, expected(0, 0));
    let profile = ada.patch("/api/v1/me").json(&json!({ "display_name": "Ada" })).await.expect(200).json();
    assert_eq!(profile["usage"], Value::Null);
}

#[tokio::test]
async fn requests_with_an_idempotency_key_over_the_daily_quota_get_507() {
    //
    let app = TestApp::with(|settings| settings.quotas.idempotency_keys = 2).await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let body = json!({ "title": "Lisbon" });
    let create = |client: &Client, key: &str| client.post(TRIPS).header("idempotency-key", key).json(&body);
    let first = create(&ada, "one").await.expect(201).json();
    create(&ada, "two").await.expect(201);
    let problem = create(&ada, "three").await.expect(507).problem("quota_exceeded").json();
    assert_eq!(problem["detail"], "The app can add at most 2 entries a day. Please try again tomorrow.");
    assert_eq!(create(&ada, "one").await.expect(201).json(), first, "a repetition counts against the quota");
    create(&bob, "three").await.expect(201);
    ada.post(TRIPS).json(&body).await.expect(201);
    app.clock.advance(TimeDelta::days(1));
    let ada = app.log_in("ada").await;
    create(&ada, "three").await.expect(201);
}

#[tokio::test]
async fn sync_operations_over_the_quota_of_stored_operations_are_rejected_until_old_ones_expire() {
    //
    let app = TestApp::with(|settings| settings.quotas.sync_operations = 2).await;
    let ada = app.sign_up("ada").await;
    let send = async |client: &Client, op: u8, id: &str| {
        let op_id = format!("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4b{op:02x}");
        let operation = json!({ "op_id": op_id, "op": "delete", "id": id, "base_version": 1 });
        let reply = client.post(SYNC).json(&json!({ "operations": [operation] })).await.expect(200).json();
        reply["results"][0].clone()
    };
    assert_eq!(send(&ada, 1, FIRST).await["status"], "applied");
    assert_eq!(send(&ada, 2, FIRST).await["status"], "applied");
    assert_eq!(send(&ada, 2, FIRST).await["status"], "duplicate");
    let rejected = send(&ada, 3, SECOND).await;
    assert_eq!(
        (&rejected["status"], &rejected["problem"]["code"]),
        (&json!("rejected"), &json!("quota_exceeded"))
    );
    app.clock.advance(TimeDelta::days(8));
    housekeeping::sweep_sync(app.services().clone()).await;
    let ada = app.log_in("ada").await;
    assert_eq!(send(&ada, 3, SECOND).await["status"], "applied");
    assert_eq!(send(&ada, 4, SECOND).await["status"], "applied");
    assert_eq!(send(&ada, 5, SECOND).await["status"], "rejected");
}

#[tokio::test]
async fn tombstones_over_the_quota_are_deleted_oldest_first_and_older_cursors_are_rejected() {
    //
    let app = TestApp::with(|settings| settings.quotas.tombstones = 2).await;
    let ada = app.sign_up("ada").await;
    let feed = async |query: &str| ada.get(&format!("{SYNC}?{query}")).await.expect(200).json();
    let cursor = |page: &Value| format!("cursor={}", page["next_cursor"].as_str().unwrap());
    let remove = async |id: &str| drop(ada.delete(&format!("{TRIPS}/{id}")).await.expect(204));
    let mut ids = Vec::new();
    for title in ["one", "two", "three", "four", "five"] {
        ids.push(create(&ada, title).await);
    }
    let before = cursor(&feed("limit=100").await);
    remove(&ids[0]).await;
    let between = cursor(&feed(&before).await);
    remove(&ids[1]).await;
    remove(&ids[2]).await;
    ada.get(&format!("{SYNC}?{before}")).await.expect(410).problem("resync_required");
    assert_eq!(feed(&between).await["changes"].as_array().map(Vec::len), Some(2));
    // An app that starts again without a cursor reads all pages.
    let mut page = feed("limit=1").await;
    let mut changes = 1;
    while page["has_more"] == true {
        page = feed(&format!("limit=1&{}", cursor(&page))).await;
        changes += page["changes"].as_array().unwrap().len();
    }
    assert_eq!(changes, 4, "two trips and two deletions");
}
