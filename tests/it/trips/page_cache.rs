//! The cache of rendered pages: it returns the pages of the database, never an older state, and only to the owner.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use futures_util::future::join_all;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{TRIPS, create_trip, path, titles};
use crate::harness::{Client, TestApp, rounds, rows};

/// The lists that the readers request. Each list contains every trip whose title is a number.
const LISTS: [&str; 6] =
    ["", "?limit=100", "?sort=title", "?sort=-updated_at&limit=60", "?status=planned", "?sort=-start_date"];
/// The number of writers, each of which creates and deletes one trip. With these trips and the 40 other
/// trips, a page with `limit=100` needs several statements.
const WRITERS: usize = 3;

/// The progress of one writer, which numbers its writes. A write with an even number creates the trip with this
/// number as its title. A write with an odd number deletes the trip.
#[derive(Default)]
struct Numbers {
    /// The number of the last write that was sent.
    sent: AtomicI64,
    /// The highest number that a client knows: the server has acknowledged it, or a response has shown it.
    known: AtomicI64,
}

impl Numbers {
    /// Checks the title of the trip, or its absence, in a response to a request that was sent when `known` was
    /// the highest known number.
    fn check(&self, known: i64, title: Option<i64>, list: &str) {
        let sent = self.sent.load(SeqCst);
        let shown = match title {
            Some(number) => number,
            // Only a write with an odd number removes the trip, so the response shows the state after the
            // first odd number from `known` on, or a later state.
            None => known + 1 - known.rem_euclid(2),
        };
        assert!(shown >= known, "{list}: the response shows {title:?}, but {known} was known before");
        assert!(shown <= sent, "{list}: the response shows {title:?}, but only {sent} was sent");
        self.known.fetch_max(shown, SeqCst);
    }
}

/// Returns the id of the writer's trip. It is greater than each id that the server generates.
fn id_of(writer: usize) -> String {
    format!("01ffffff-0000-7000-8000-00000000000{writer}")
}

/// Creates and deletes one trip, each time on the next server.
async fn write(clients: &[Client], numbers: &Numbers, writer: usize, count: i64) {
    let id = id_of(writer);
    let trip_path = format!("{TRIPS}/{id}");
    for number in 2..2 + count {
        let client = &clients[usize::try_from(number).unwrap() % clients.len()];
        numbers.sent.store(number, SeqCst);
        if number % 2 == 1 {
            client.delete(&trip_path).await.expect(204);
        } else {
            // A list in the order `-start_date` reads trips with and without a start date in two statements.
            let first_day = (writer == 0).then_some("2026-05-01");
            let body = json!({ "id": id, "title": number.to_string(), "start_date": first_day });
            client.post(TRIPS).json(&body).await.expect(201);
        }
        numbers.known.fetch_max(number, SeqCst);
    }
}

/// Reads the lists, each time on the next server, until the writers have finished.
async fn read(
    clients: &[Client],
    numbers: &[Numbers],
    seen: &Mutex<HashMap<(String, &'static str), Value>>,
    is_done: &AtomicBool,
    start: usize,
) {
    for turn in start.. {
        if is_done.load(SeqCst) {
            break;
        }
        let (client, list) = (&clients[turn % clients.len()], LISTS[turn / 3 % LISTS.len()]);
        let known: Vec<i64> = numbers.iter().map(|numbers| numbers.known.load(SeqCst)).collect();
        let reply = client.get(&format!("{TRIPS}{list}")).await.expect(200);
        let body = reply.json();
        for (writer, numbers) in numbers.iter().enumerate() {
            let id = id_of(writer);
            let trip = body["items"].as_array().unwrap().iter().find(|trip| trip["id"] == id.as_str());
            let title = trip.map(|trip| trip["title"].as_str().unwrap().parse().unwrap());
            numbers.check(known[writer], title, list);
        }
        // If one statement reads the whole page, the entity tag identifies the content of the page. One
        // statement reads a short page, except in the order `-start_date`.
        if !list.contains("limit") && !list.contains("-start_date") {
            let tag = (reply.header("etag").to_owned(), list);
            let first = seen.lock().unwrap().entry(tag).or_insert_with(|| body.clone()).clone();
            assert_eq!(body, first, "{list}: two contents of one entity tag");
        }
    }
}

/// Races writers and readers of one user on two servers. Checks that no response is older than what was known
/// when the request was sent, from acknowledged writes and from earlier responses of both servers.
async fn race(sizes: [u64; 2], writes: usize) {
    let app = TestApp::with(|settings| settings.page_cache_bytes = sizes[0]).await;
    let replica = app.replica_with(|settings| settings.page_cache_bytes = sizes[1]).await;
    let ada = app.sign_up("ada").await;
    // These trips come after the writers' trips in each list.
    for number in 0..40 {
        create_trip(&ada, &json!({ "title": format!("later {number}") })).await;
    }
    let clients = [ada.clone(), replica.anonymous().with_grant(ada.grant())];
    let numbers: Vec<Numbers> = (0..WRITERS).map(|_| Numbers::default()).collect();
    for numbers in &numbers {
        numbers.sent.store(1, SeqCst);
        numbers.known.store(1, SeqCst);
    }
    let (seen, is_done) = (Mutex::new(HashMap::new()), AtomicBool::new(false));
    let writes = i64::try_from(writes).unwrap();
    let all = (0..WRITERS).map(|writer| write(&clients, &numbers[writer], writer, writes));
    let writing = async {
        join_all(all).await;
        is_done.store(true, SeqCst);
    };
    let reading = join_all((0..4).map(|reader| read(&clients, &numbers, &seen, &is_done, reader)));
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn no_list_is_older_than_a_state_that_a_client_has_already_seen_on_any_server() {
    for sizes in [[32 << 20; 2], [32 << 20, 0], [0; 2]] {
        race(sizes, rounds(60)).await;
    }
}

#[tokio::test]
async fn a_cached_page_equals_the_page_of_a_server_without_a_cache() {
    let app = TestApp::start().await;
    let without = app.replica_with(|settings| settings.page_cache_bytes = 0).await;
    let ada = app.sign_up("ada").await;
    for number in 0..30 {
        create_trip(&ada, &json!({ "title": format!("{number}") })).await;
    }
    let uncached = without.anonymous().with_grant(ada.grant());
    let second = ada.get(&format!("{TRIPS}?limit=3")).await.json()["next_cursor"].clone();
    let second = format!("?limit=3&cursor={}", second.as_str().unwrap());
    for list in
        ["", "?limit=3", "?limit=100", &second, "?sort=-created_at", "?status=active", "?limit=3&sort=title"]
    {
        let at = format!("{TRIPS}{list}");
        let expected = uncached.get(&at).await.expect(200);
        for _ in 0..4 {
            let reply = ada.get(&at).await.expect(200);
            assert_eq!(reply.body, expected.body, "{list}");
            for header in ["etag", "link", "content-type"] {
                assert_eq!(reply.headers.get(header), expected.headers.get(header), "{list}: {header}");
            }
        }
        let tag = expected.header("etag");
        ada.get(&at).header("if-none-match", tag).await.expect(304);
        let other = ada.get(&at).header("if-none-match", "\"other\"").await.expect(200);
        assert_eq!(other.body, expected.body, "{list}");
        assert_eq!(ada.head(&at).await.expect(200).header("etag"), tag, "{list}");
    }
    assert!(app.services().trips.cached_page_bytes() > 0);
    assert_eq!(without.services().trips.cached_page_bytes(), 0);
}

#[tokio::test]
async fn a_cached_page_is_returned_only_to_its_owner_and_only_with_a_valid_token() {
    // S-53
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let phone = app.log_in("ada").await;
    let writer = app.log_in_for("ada", "trips:write").await;
    // The change counters of both users are equal.
    create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    create_trip(&eve, &json!({ "title": "Porto" })).await;
    for _ in 0..4 {
        assert_eq!(titles(&phone, "").await, ["Lisbon"]);
        assert_eq!(titles(&eve, "").await, ["Porto"]);
    }
    writer.get(TRIPS).await.expect(403).problem("insufficient_scope");
    app.anonymous().get(TRIPS).await.expect(401);
    let logout = json!({ "refresh_token": phone.grant()["refresh_token"] });
    phone.post("/api/v1/auth/logout").json(&logout).await.expect(204);
    phone.get(TRIPS).await.expect(401);
    assert_eq!(titles(&ada, "").await, ["Lisbon"]);
    ada.delete("/api/v1/me").json(&json!({ "password": crate::harness::PASSWORD })).await.expect(204);
    ada.get(TRIPS).await.expect(401);
}

#[tokio::test]
async fn a_cached_page_changes_with_each_kind_of_write() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let trip = create_trip(&ada, &json!({ "title": "Lisbon", "stops": [super::stop("Graça")] })).await;
    let (trip_path, stop_id) = (path(&trip), super::stop_ids(&trip)[0].clone());
    for (call, status) in super::changes(&ada, &trip_path, &stop_id) {
        for _ in 0..3 {
            ada.get(TRIPS).await.expect(200);
        }
        let before = ada.get(TRIPS).await.expect(200);
        let tag = super::etag(&ada, &trip_path).await;
        call.header("if-match", &tag).await.expect(status);
        let after = ada.get(TRIPS).await.expect(200);
        assert_ne!(after.body, before.body);
        let current = ada.get(&trip_path).await;
        let shown = after.json()["items"].as_array().unwrap().first().cloned();
        assert_eq!(shown, (current.status == 200).then(|| current.json()));
    }
    let operation = json!({ "operations": [{ "op_id": "01890000-0000-7000-8000-000000000001", "op": "create",
        "id": super::UNKNOWN_ID, "trip": { "title": "offline" } }] });
    for _ in 0..3 {
        assert_eq!(titles(&ada, "").await, Vec::<String>::new());
    }
    ada.post("/api/v1/sync").json(&operation).await.expect(200);
    assert_eq!(titles(&ada, "").await, ["offline"]);
}

#[tokio::test]
async fn a_list_with_damaged_stops_gets_500_and_is_not_cached() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trip(&ada, &json!({ "title": "Lisbon" })).await;
    let database = rows::open(&app).await;
    database.execute_unprepared("UPDATE trips SET stops = '[{'").await.unwrap();
    for _ in 0..3 {
        ada.get(TRIPS).await.expect(500).problem("internal");
    }
    database.execute_unprepared("UPDATE trips SET stops = '[]'").await.unwrap();
    assert_eq!(titles(&ada, "").await, ["Lisbon"]);
}
