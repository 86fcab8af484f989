//! Paging through the list of trips.

use std::collections::{BTreeMap, HashSet};

use ::entity::trips;
use chrono::TimeDelta;
use sea_orm::{ActiveValue::Set, ConnectOptions, Database, EntityTrait};
use serde_json::json;
use tripgate::app::{self, Creation, StartMode};
use tripgate::config::Secret;
use tripgate::trips::{Query, TripsError};
use uuid::Uuid;

use super::{TRIPS, id};
use crate::harness::{Client, PUBLIC_URL, Reply, TestApp};

async fn create_trips(client: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        let body = json!({ "title": format!("Trip {number}") });
        ids.push(id(&client.post(TRIPS).json(&body).await.expect(201).json()));
    }
    ids
}

fn ids(page: &Reply) -> Vec<String> {
    page.json()["items"].as_array().unwrap().iter().map(id).collect()
}

fn next(page: &Reply) -> Option<String> {
    page.json()["next_cursor"].as_str().map(str::to_owned)
}

async fn page(client: &Client, limit: u64, cursor: Option<&str>) -> Reply {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    client.get(&format!("{TRIPS}?limit={limit}{cursor}")).await.expect(200)
}

/// Returns the ids on all pages.
async fn walk(client: &Client, limit: u64) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(client, limit, cursor.as_deref()).await;
        all.extend(ids(&page));
        cursor = next(&page);
        if cursor.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn the_newest_trip_comes_first_even_within_one_millisecond() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let mut created = create_trips(&ada, 5).await;
    app.clock.advance(TimeDelta::milliseconds(1));
    created.extend(create_trips(&ada, 4).await);
    created.reverse();
    for limit in [1, 2, 4, 5, 8, 9, 10] {
        assert_eq!(walk(&ada, limit).await, created, "{limit} per page");
    }
    ada.patch(&format!("{TRIPS}/{}", created[8])).json(&json!({ "title": "x" })).await.expect(200);
    assert_eq!(walk(&ada, 3).await, created, "a change does not move a trip");
}

#[tokio::test]
async fn a_page_has_the_requested_size_and_links_to_the_next_page() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let empty = ada.get(TRIPS).await.expect(200);
    assert_eq!(empty.json(), json!({ "items": [] }));
    assert_eq!(empty.header("link"), "");
    create_trips(&ada, 101).await;
    for (limit, expected) in [("?limit=1", 1), ("", 20), ("?limit=100", 100)] {
        let first = ada.get(&format!("{TRIPS}{limit}")).await.expect(200);
        assert_eq!(ids(&first).len(), expected);
        let cursor = next(&first).unwrap();
        let link = format!("<{TRIPS}?limit={expected}&cursor={cursor}>; rel=\"next\"");
        assert_eq!(first.header("link"), link);
    }
    let first = page(&ada, 100, None).await;
    let target = first.header("link").split(['<', '>']).nth(1).unwrap();
    let last = ada.get(target).await.expect(200);
    assert_eq!((ids(&last).len(), next(&last), last.header("link")), (1, None, ""));
    ada.delete(&format!("{TRIPS}/{}", ids(&last)[0])).await.expect(204);
    let whole = page(&ada, 100, None).await;
    assert_eq!((ids(&whole).len(), next(&whole), whole.header("link")), (100, None, ""));
}

#[tokio::test]
async fn a_limit_outside_1_to_100_is_rejected() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    for limit in ["0", "101", "-1", "65536", "99999999999999999999", "1.5", "x", "", "1e1", "%31%00"] {
        let reply = ada.get(&format!("{TRIPS}?limit={limit}")).await.expect(422).problem("invalid");
        assert_eq!(reply.field_errors().len(), 1, "{limit}");
        assert_eq!(reply.field_errors()[0].0, "/limit");
    }
}

/// A seeded random number generator.
struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn choose<'a>(&mut self, from: &'a [String]) -> &'a str {
        let at = self.below(u64::try_from(from.len()).unwrap());
        &from[usize::try_from(at).unwrap()]
    }
}

/// Returns a trip with this creation time, which a replica with a different clock could create.
fn aged(owner: Uuid, id: Uuid, created_at: i64) -> trips::ActiveModel {
    trips::ActiveModel {
        owner_id: Set(owner),
        created_at: Set(created_at),
        id: Set(id),
        title: Set("in between".to_owned()),
        status: Set("planned".to_owned()),
        version: Set(1),
        change_seq: Set(1),
        updated_at: Set(created_at),
        ..Default::default()
    }
}

#[tokio::test]
async fn paging_during_inserts_and_deletes_neither_skips_nor_repeats_a_trip() {
    // S-62
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let owner: Uuid = ada.id().parse().unwrap();
    let mut options = ConnectOptions::new(app.settings().database_url.expose());
    let database =
        Database::connect(options.max_connections(1).sqlx_logging(false).to_owned()).await.unwrap();
    let mut random = SplitMix64(20_260_302);
    let start = app.clock.now().timestamp_millis();
    for _ in 0..12 {
        create_trips(&ada, 10).await;
        app.clock.advance(TimeDelta::milliseconds(2));
    }
    let mut present = walk(&ada, 100).await;
    let (mut steady, mut times): (Vec<String>, BTreeMap<String, i64>) = Default::default();
    for (at, id) in present.iter().enumerate() {
        times.insert(id.clone(), start + 2 * (11 - i64::try_from(at / 10).unwrap()));
        if at % 2 == 0 {
            steady.push(id.clone());
        }
    }
    let (mut seen, mut cursor, mut pages) = (Vec::<String>::new(), None, 0);
    loop {
        let page = page(&ada, 1 + random.below(3), cursor.as_deref()).await;
        pages += 1;
        seen.extend(ids(&page));
        cursor = next(&page);
        if cursor.is_none() {
            break;
        }
        let new =
            Uuid::from_u128(u128::from(random.below(u64::MAX)) << 64 | u128::from(random.below(u64::MAX)));
        let created_at = start + i64::try_from(random.below(26)).unwrap();
        trips::Entity::insert(aged(owner, new, created_at)).exec_without_returning(&database).await.unwrap();
        times.insert(new.to_string(), created_at);
        present.push(new.to_string());
        // Delete the trip that the cursor names and a random trip, but no trip that the test expects to find.
        let last = seen.last().unwrap().clone();
        for victim in [last, random.choose(&present).to_owned()] {
            if present.contains(&victim) && !steady.contains(&victim) {
                ada.delete(&format!("{TRIPS}/{victim}")).await.expect(204);
                present.retain(|id| *id != victim);
            }
        }
    }
    assert!(pages >= 50, "{pages} pages");
    let once: HashSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "no trip is listed twice");
    let found: Vec<&String> = seen.iter().filter(|id| steady.contains(id)).collect();
    assert_eq!(found, steady.iter().collect::<Vec<_>>(), "every remaining trip is listed, in order");
    let order: Vec<(i64, Uuid)> = seen.iter().map(|id| (times[id], id.parse().unwrap())).collect();
    assert!(order.is_sorted_by(|newer, older| newer > older));
}

async fn assert_rejected(client: &Client, cursor: &str) {
    let reply = client.get(&format!("{TRIPS}?cursor={cursor}")).await;
    let reply = reply.expect(400).problem("invalid_cursor");
    assert!(cursor.len() < 30 || !reply.text().contains(cursor), "S-63: {}", reply.text());
}

#[tokio::test]
async fn a_modified_cursor_is_rejected() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trips(&ada, 2).await;
    let cursor = next(&page(&ada, 1, None).await).unwrap();
    for (at, current) in cursor.char_indices() {
        for other in ['A', 'z', '7'] {
            if other != current {
                let mut tampered = cursor.clone();
                tampered.replace_range(at..=at, &other.to_string());
                assert_rejected(&ada, &tampered).await;
            }
        }
        assert_rejected(&ada, &cursor[..at]).await;
    }
    let longer =
        [format!("{cursor}A"), format!("{cursor}%3D"), format!("{cursor}{cursor}"), "A".repeat(4000)];
    for other in longer.iter().map(String::as_str).chain(["%00", "1", "null", "..%2F", "%F0%9F%A6%80"]) {
        assert_rejected(&ada, other).await;
    }
    page(&ada, 1, Some(&cursor)).await;
}

#[tokio::test]
async fn another_users_cursor_is_rejected() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    create_trips(&ada, 2).await;
    create_trips(&eve, 2).await;
    let adas_cursor = next(&page(&ada, 1, None).await).unwrap();
    assert_rejected(&eve, &adas_cursor).await;
    let eves_cursor = next(&page(&eve, 1, None).await).unwrap();
    assert_rejected(&ada, &eves_cursor).await;
}

#[tokio::test]
async fn a_cursor_is_valid_after_a_restart_and_on_every_replica() {
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    let created = create_trips(&ada, 3).await;
    let cursor = next(&page(&ada, 1, None).await).unwrap();
    let replica = app.replica().await;
    let on_replica = replica.anonymous().with_grant(ada.grant());
    assert_eq!(ids(&page(&on_replica, 1, Some(&cursor)).await), [created[1].clone()]);
    replica.stop().await;
    let app = app.restart().await;
    let again = app.anonymous().with_grant(ada.grant());
    assert_eq!(ids(&page(&again, 1, Some(&cursor)).await), [created[1].clone()]);
    assert_eq!(walk(&again, 1).await.len(), 3);
}

#[tokio::test]
async fn a_cursor_signed_with_another_secret_is_rejected() {
    // S-56
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trips(&ada, 2).await;
    let owner: Uuid = ada.id().parse().unwrap();
    let mut settings = app.settings().clone();
    settings.secret = Some(Secret::new("another secret, and a long one at that"));
    let mode = StartMode { creation: Creation::First, exclusive: false };
    let other = app::build(&settings, app.clock.clone(), PUBLIC_URL.to_owned(), mode).await.unwrap();
    let cursor = next(&page(&ada, 1, None).await).unwrap();
    let query = |cursor: Option<String>| Query { limit: 1, cursor, ..Query::default() };
    assert!(app.services().trips.listing(owner, query(Some(cursor.clone()))).is_ok());
    let result = other.trips.listing(owner, query(Some(cursor)));
    assert!(matches!(result, Err(TripsError::InvalidCursor)), "{result:?}");
    let first = other.trips.listing(owner, query(None)).unwrap();
    let page = other.trips.rendered_page(first, None, |_, _| Ok(Vec::new())).await.unwrap();
    let foreign_cursor = page.next.unwrap();
    assert_rejected(&ada, &foreign_cursor).await;
    other.db.close().await;
}
