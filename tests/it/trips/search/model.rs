//! Compares the search with a simple model that scans the folded texts of all trips. Trips, changes and searches are
//! random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use search_index::fold;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{create_many, found};
use crate::harness::{Client, TestApp, rounds};
use crate::trips::{TRIPS, create_trip, id};

const SORTS: [&str; 4] = ["-created_at", "start_date", "-updated_at", "title"];

/// Words that resemble each other, so that searches have matches and near misses.
const WORDS: [&str; 24] = [
    "Porto",
    "porta",
    "portör",
    "ÉVORA",
    "evo",
    "ora",
    "São",
    "Tomé",
    "100%",
    "_fun_",
    "\\o/",
    "'q'",
    "--",
    "a",
    "aa",
    "aaa",
    "b",
    "서울",
    "서",
    "さくら",
    "🦀",
    "🦀🏝",
    "ΟΔΟΣ",
    "Straße",
];

fn text() -> impl Strategy<Value = String> {
    let separator = prop::sample::select(vec!["", " ", "  ", "·", "-"]);
    let word = prop::sample::select(WORDS.to_vec());
    prop::collection::vec((word, separator), 1..12)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, separator)| [word, separator]).collect())
}

/// Generates the title, the destination, the notes and the names of the stops of a trip.
fn trip() -> impl Strategy<Value = (String, Option<String>, Option<String>, Vec<String>)> {
    let title = text().prop_map(|title| if fold(&title).is_empty() { "x".to_owned() } else { title });
    let notes = prop_oneof![text(), text().prop_map(|text| text.repeat(40))];
    (title, prop::option::of(text()), prop::option::of(notes), prop::collection::vec(text(), 0..3))
}

fn body((title, destination, notes, stops): &(String, Option<String>, Option<String>, Vec<String>)) -> Value {
    let stops: Vec<Value> = stops.iter().map(|name| super::super::stop(name.trim())).collect();
    let mut body = json!({ "title": title.trim(), "stops": stops });
    for (field, text) in [("destination", destination), ("notes", notes)] {
        if let Some(text) = text {
            body[field] = json!(text.trim());
        }
    }
    body
}

/// Returns a part of a text of a trip, or `a` if no trip has a text. `which` selects the text; `start` and
/// `length` select the part.
fn query(model: &BTreeMap<String, Value>, which: usize, start: usize, length: usize) -> String {
    let texts: Vec<String> = model.values().flat_map(texts).filter(|text| !text.is_empty()).collect();
    let Some(text) = texts.get(which % texts.len().max(1)) else { return "a".to_owned() };
    let letters: Vec<char> = text.chars().collect();
    let start = start % letters.len();
    letters[start..].iter().take(length).collect()
}

/// Returns the searchable texts of a trip.
fn texts(trip: &Value) -> Vec<String> {
    let stops = trip["stops"].as_array().cloned().unwrap_or_default();
    let fields = [&trip["title"], &trip["destination"], &trip["notes"]];
    let names = stops.iter().map(|stop| stop["name"].as_str().unwrap().to_owned());
    fields.into_iter().filter_map(|field| field.as_str().map(str::to_owned)).chain(names).collect()
}

/// Returns the ids of the matching trips.
fn expected(model: &BTreeMap<String, Value>, q: &str) -> Vec<String> {
    let q = fold(q);
    let is_match = |trip: &Value| texts(trip).iter().any(|text| fold(text).contains(&q));
    model.iter().filter(|(_, trip)| is_match(trip)).map(|(id, _)| id.clone()).collect()
}

struct Random(TestRunner);

impl Random {
    fn pick<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }
}

/// Changes a random trip in one of the ways that the API offers.
async fn change(ada: &Client, model: &mut BTreeMap<String, Value>, random: &mut Random) {
    let fields = body(&random.pick(&trip()));
    let ids: Vec<String> = model.keys().cloned().collect();
    let target = ids[random.pick(&(0..ids.len()))].clone();
    let path = format!("{TRIPS}/{target}");
    let version = async || ada.get(&path).await.expect(200).json()["version"].clone();
    match random.pick(&(0..7_u8)) {
        0 => {
            let created = create_trip(ada, &fields).await;
            model.insert(id(&created), created);
        }
        1 => {
            ada.delete(&path).await.expect(204);
            model.remove(&target);
        }
        2 => {
            let stops = json!({ "stops": fields["stops"] });
            model.insert(target, ada.patch(&path).json(&stops).await.expect(200).json());
        }
        3 => {
            let stop = super::super::stop("Portobello");
            ada.post(&format!("{path}/stops")).json(&stop).await.expect(201);
            model.insert(target, ada.get(&path).await.expect(200).json());
        }
        4 => {
            let operation = json!({ "op_id": Uuid::now_v7(), "op": "update", "id": target,
                "base_version": version().await, "trip": fields });
            sync(ada, &operation).await;
            model.insert(target, ada.get(&path).await.expect(200).json());
        }
        5 => {
            let operation = json!({ "op_id": Uuid::now_v7(), "op": "delete", "id": target,
                "base_version": version().await });
            sync(ada, &operation).await;
            model.remove(&target);
        }
        _ => {
            model.insert(target, ada.patch(&path).json(&fields).await.expect(200).json());
        }
    }
}

async fn sync(ada: &Client, operation: &Value) {
    let body = json!({ "operations": [operation] });
    let reply = ada.post("/api/v1/sync").json(&body).await.expect(200).json();
    assert_eq!(reply["results"][0]["status"], "applied", "{reply}");
}

#[tokio::test]
async fn a_search_finds_exactly_the_trips_that_contain_the_text() {
    //
    let app = TestApp::start().await;
    let ada = app.sign_up("ada").await;
    create_trip(&app.sign_up("eve").await, &json!({ "title": WORDS.join(" ") })).await;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut random = Random(TestRunner::new_with_rng(Config::default(), rng));
    let trips: Vec<Value> = (0..40).map(|_| body(&random.pick(&trip()))).collect();
    let mut model = BTreeMap::new();
    for trip_id in create_many(&ada, &trips).await {
        let trip = ada.get(&format!("{TRIPS}/{trip_id}")).await.expect(200).json();
        model.insert(trip_id, trip);
    }
    let mut matches = 0;
    for round in 0..rounds(60) {
        change(&ada, &mut model, &mut random).await;
        for length in [1, 2, 3, 4, 5, 8, 30, 200] {
            let (which, start) = random.pick(&(0..10_000_usize, 0..10_000_usize));
            let mut q = query(&model, which, start, length);
            if random.pick(&prop::bool::weighted(0.2)) {
                q = random.pick(&text()).chars().take(length).collect();
            }
            if fold(&q).is_empty() {
                continue;
            }
            let (sort, limit) = random.pick(&(prop::sample::select(SORTS.to_vec()), 1..40_usize));
            let mut actual = found(&ada, &q, sort, limit).await;
            actual.sort_unstable();
            let expected = expected(&model, &q);
            assert_eq!(actual, expected, "round {round}, {sort}, {limit}, {q:?}");
            matches += expected.len();
        }
    }
    assert!(matches > 500, "{matches}");
}
