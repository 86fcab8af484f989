//! Two devices of one user that go offline, edit, lose requests and responses, and resend.
//!
//! The test records which edit created each version of each trip. It asserts that each version was created by
//! one edit, and that no device overwrites a version that it has not seen. No version is missing, and the
//! last version is the version on the server. Both devices end with the server's state, and every operation
//! is applied or reported as a conflict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{TRIPS, feed, new_id, next};
use crate::harness::{Client, TestApp, rounds};

const STEPS: usize = 30;

/// A seeded random number generator (`SplitMix64`).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// For each trip id, the versions that the applied operations have created.
type History = HashMap<String, TripHistory>;

#[derive(Debug, Default)]
struct TripHistory {
    /// The titles by version.
    titles: BTreeMap<i64, String>,
    /// The version that each applied deletion is expected to create. A deletion of a trip that is already
    /// deleted creates no version.
    deletions: BTreeSet<i64>,
}

/// The intended result of an operation (version and title), and the title that was visible before the
/// operation.
type Intent = (i64, Option<String>, Option<String>);

/// For an applied operation: the trip, the base version, and the title that was visible.
type SeenTitle = (String, i64, String);

struct Device {
    client: Client,
    cursor: Option<String>,
    /// The version and title of each trip, as last received.
    server: BTreeMap<String, (i64, String)>,
    /// The operations without a response, in order.
    queue: Vec<(Value, Intent)>,
    /// The outcome of each sent operation.
    outcomes: BTreeMap<String, &'static str>,
    /// The versions on which the applied operations were based, with the titles that were visible.
    seen: Vec<SeenTitle>,
}

impl Device {
    fn new(client: &Client) -> Self {
        let (server, outcomes) = (BTreeMap::new(), BTreeMap::new());
        Self { client: client.clone(), cursor: None, server, queue: Vec::new(), outcomes, seen: Vec::new() }
    }

    /// Returns what the device displays: the received state with the queued operations applied.
    fn visible(&self) -> BTreeMap<String, (i64, String)> {
        let mut visible = self.server.clone();
        for (operation, (version, title, _)) in &self.queue {
            let id = operation["id"].as_str().unwrap().to_owned();
            match title {
                Some(title) => visible.insert(id, (*version, title.clone())),
                None => visible.remove(&id),
            };
        }
        visible
    }

    fn edit(&mut self, random: &mut Random, title: String) {
        let visible: Vec<(String, (i64, String))> = self.visible().into_iter().collect();
        let op_id = new_id();
        let trip = json!({ "title": title });
        if visible.is_empty() || random.one_in(3) {
            let operation = json!({ "op_id": op_id, "op": "create", "id": new_id(), "trip": trip });
            return self.queue.push((operation, (1, Some(title), None)));
        }
        let (id, (base, seen)) = visible[random.below(visible.len())].clone();
        if random.one_in(5) {
            let operation = json!({ "op_id": op_id, "op": "delete", "id": id, "base_version": base });
            return self.queue.push((operation, (base + 1, None, Some(seen))));
        }
        let operation =
            json!({ "op_id": op_id, "op": "update", "id": id, "base_version": base, "trip": trip });
        self.queue.push((operation, (base + 1, Some(title), Some(seen))));
    }

    /// Sends some queued operations. Sometimes the request or the response is lost.
    async fn push(&mut self, random: &mut Random, history: &mut History) {
        if self.queue.is_empty() || random.one_in(4) {
            return;
        }
        let count = 1 + random.below(self.queue.len());
        let operations: Vec<&Value> = self.queue.iter().take(count).map(|(operation, _)| operation).collect();
        let sent = self.client.post("/api/v1/sync").json(&json!({ "operations": operations })).await;
        let results = sent.expect(200).json()["results"].clone();
        if random.one_in(3) {
            return;
        }
        let done: Vec<(Value, Intent)> = self.queue.drain(..count).collect();
        for ((operation, intent), result) in done.into_iter().zip(results.as_array().unwrap()) {
            assert_eq!(operation["op_id"], result["op_id"]);
            self.apply_result(&operation, intent, result, history);
        }
    }

    fn apply_result(&mut self, operation: &Value, intent: Intent, result: &Value, history: &mut History) {
        let (op_id, id) = (operation["op_id"].as_str().unwrap(), operation["id"].as_str().unwrap());
        let (version, title, seen) = intent;
        let outcome = match result["status"].as_str().unwrap() {
            "applied" | "duplicate" => {
                if let Some(seen) = seen {
                    self.seen.push((id.to_owned(), version - 1, seen));
                }
                let versions = history.entry(id.to_owned()).or_default();
                if let Some(title) = &title {
                    let former = versions.titles.insert(version, title.clone());
                    assert_eq!(former, None, "two operations created version {version} of {id}");
                } else {
                    versions.deletions.insert(version);
                }
                if result["status"] == "applied" && title.is_some() {
                    let returned =
                        (result["trip"]["version"].as_i64().unwrap(), result["trip"]["title"].as_str());
                    assert_eq!(returned, (version, title.as_deref()));
                }
                "applied"
            }
            "conflict" => {
                self.discard_dependents(id);
                "reported"
            }
            other => panic!("{other}: {operation} {result}"),
        };
        assert_eq!(self.outcomes.insert(op_id.to_owned(), outcome), None);
        match result.get("trip") {
            Some(trip) => self.store(trip),
            None => drop(self.server.remove(id)),
        }
    }

    /// Discards the queued operations on a trip after a conflict, because the version on which they build may
    /// be an edit of another device.
    fn discard_dependents(&mut self, id: &str) {
        let (others, discarded): (Vec<_>, Vec<_>) =
            self.queue.drain(..).partition(|(operation, _)| operation["id"] != *id);
        self.queue = others;
        for (operation, _) in discarded {
            let op_id = operation["op_id"].as_str().unwrap().to_owned();
            assert_eq!(self.outcomes.insert(op_id, "reported"), None);
        }
    }

    fn store(&mut self, trip: &Value) {
        let text = |name: &str| trip[name].as_str().unwrap().to_owned();
        self.server.insert(text("id"), (trip["version"].as_i64().unwrap(), text("title")));
    }

    /// Reads a page of the feed. Sometimes the response is lost. Returns whether to read again.
    async fn pull(&mut self, random: &mut Random) -> bool {
        let page = feed(&self.client, self.cursor.as_deref(), 1 + random.below(5) as u64).await;
        if random.one_in(4) {
            return true;
        }
        for change in page["changes"].as_array().unwrap() {
            match change.get("trip") {
                Some(trip) => self.store(trip),
                None => drop(self.server.remove(change["id"].as_str().unwrap())),
            }
        }
        self.cursor = Some(next(&page).to_owned());
        page["has_more"] == true
    }
}

async fn run(client: &Client, seed: u64) {
    let mut random = Random(seed);
    let mut history = History::new();
    let mut devices = [Device::new(client), Device::new(client)];
    let mut edits = 0;
    for step in 0..STEPS {
        let device = &mut devices[random.below(2)];
        match random.below(6) {
            0 => device.push(&mut random, &mut history).await,
            1 => drop(device.pull(&mut random).await),
            _ => {
                device.edit(&mut random, format!("{seed}-{step}"));
                edits += 1;
            }
        }
    }
    // From now on, both devices are online until they have sent all edits.
    while devices.iter().any(|device| !device.queue.is_empty()) {
        for device in &mut devices {
            device.push(&mut random, &mut history).await;
        }
    }
    for device in &mut devices {
        let mut idle_reads = 0;
        while idle_reads < 8 {
            idle_reads = if device.pull(&mut random).await { 0 } else { idle_reads + 1 };
        }
    }
    let page = client.get(&format!("{TRIPS}?limit=100")).await.expect(200).json();
    let server_trips: BTreeMap<String, (i64, String)> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trip| {
            let text = |name: &str| trip[name].as_str().unwrap().to_owned();
            (text("id"), (trip["version"].as_i64().unwrap(), text("title")))
        })
        .collect();
    let outcomes: usize = devices.iter().map(|device| device.outcomes.len()).sum();
    assert_eq!(outcomes, edits, "every operation is applied or reported");
    for device in &devices {
        assert_eq!(device.server, server_trips);
    }
    for (id, version, title) in devices.iter().flat_map(|device| &device.seen) {
        assert_eq!(history[id].titles.get(version), Some(title), "an unseen version of {id} was overwritten");
    }
    let remaining: BTreeSet<&String> = server_trips.keys().collect();
    for (id, TripHistory { titles, deletions }) in &history {
        let count = i64::try_from(titles.len()).unwrap();
        assert!(titles.keys().copied().eq(1..=count), "{id}: {titles:?}");
        match server_trips.get(id) {
            Some((version, title)) => {
                assert_eq!((titles.get(version), *version, deletions.len()), (Some(title), count, 0), "{id}");
            }
            None => assert!(deletions.contains(&(count + 1)), "{id}: {titles:?} {deletions:?}"),
        }
    }
    assert!(remaining.iter().all(|id| history.contains_key(*id)));
}

#[tokio::test]
async fn two_devices_reach_the_same_state_and_every_edit_is_applied_or_reported() {
    let app = TestApp::start().await;
    for seed in 0..rounds(60) as u64 {
        println!("run {seed}");
        run(&app.sign_up(&format!("ada{seed}")).await, seed).await;
    }
}
