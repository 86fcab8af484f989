//! Two phones of one user that are offline, edit, lose requests and replies, and send again.
//!
//! Beside the server a history is kept of who claims to have made which version of which trip: no version
//! has two authors (nobody overwrote what they had not seen), none is missing, and the last one is what the
//! server shows. Both phones end with the server's state, and every operation was applied or reported.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::{TRIPS, feed, new_id, next};
use crate::harness::{Client, TestApp, rounds};

const STEPS: usize = 30;

/// Numbers that a seed determines (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % most
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Who is said to have done what, by trip.
type History = HashMap<String, Known>;

#[derive(Debug, Default)]
struct Known {
    /// Titles by the versions that they made.
    made: BTreeMap<i64, String>,
    /// Versions that deletions would have made. Of those that found nothing left to delete none did.
    deleted: BTreeSet<i64>,
}

/// What an operation was meant to leave behind: version and title; and the title that was seen when it was
/// made.
type Meant = (i64, Option<String>, Option<String>);

/// Of an applied operation: the trip, the version that it was made on, and the title that was seen.
type Seen = (String, i64, String);

struct Phone {
    client: Client,
    cursor: Option<String>,
    /// As the server has told: version and title.
    server: BTreeMap<String, (i64, String)>,
    /// Not yet answered, in order.
    queue: Vec<(Value, Meant)>,
    /// Operations that were sent, and what became of them.
    fates: BTreeMap<String, &'static str>,
    /// What applied operations were made on.
    seen: Vec<Seen>,
}

impl Phone {
    fn new(client: &Client) -> Self {
        let (server, fates) = (BTreeMap::new(), BTreeMap::new());
        Self { client: client.clone(), cursor: None, server, queue: Vec::new(), fates, seen: Vec::new() }
    }

    /// What the phone shows: the server's state with its own operations over it.
    fn shown(&self) -> BTreeMap<String, (i64, String)> {
        let mut shown = self.server.clone();
        for (operation, (version, title, _)) in &self.queue {
            let id = operation["id"].as_str().unwrap().to_owned();
            match title {
                Some(title) => shown.insert(id, (*version, title.clone())),
                None => shown.remove(&id),
            };
        }
        shown
    }

    fn edit(&mut self, chance: &mut Chance, title: String) {
        let shown: Vec<(String, (i64, String))> = self.shown().into_iter().collect();
        let op_id = new_id();
        let trip = json!({ "title": title });
        if shown.is_empty() || chance.one_in(3) {
            let operation = json!({ "op_id": op_id, "op": "create", "id": new_id(), "trip": trip });
            return self.queue.push((operation, (1, Some(title), None)));
        }
        let (id, (base, seen)) = shown[chance.below(shown.len())].clone();
        if chance.one_in(5) {
            let operation = json!({ "op_id": op_id, "op": "delete", "id": id, "base_version": base });
            return self.queue.push((operation, (base + 1, None, Some(seen))));
        }
        let operation =
            json!({ "op_id": op_id, "op": "update", "id": id, "base_version": base, "trip": trip });
        self.queue.push((operation, (base + 1, Some(title), Some(seen))));
    }

    /// Sends some of what was done; sometimes the request is lost, sometimes the reply.
    async fn push(&mut self, chance: &mut Chance, history: &mut History) {
        if self.queue.is_empty() || chance.one_in(4) {
            return;
        }
        let count = 1 + chance.below(self.queue.len());
        let operations: Vec<&Value> = self.queue.iter().take(count).map(|(operation, _)| operation).collect();
        let sent = self.client.post("/api/v1/sync").json(&json!({ "operations": operations })).await;
        let results = sent.expect(200).json()["results"].clone();
        if chance.one_in(3) {
            return;
        }
        let done: Vec<(Value, Meant)> = self.queue.drain(..count).collect();
        for ((operation, meant), result) in done.into_iter().zip(results.as_array().unwrap()) {
            assert_eq!(operation["op_id"], result["op_id"]);
            self.learn(&operation, meant, result, history);
        }
    }

    fn learn(&mut self, operation: &Value, meant: Meant, result: &Value, history: &mut History) {
        let (op_id, id) = (operation["op_id"].as_str().unwrap(), operation["id"].as_str().unwrap());
        let (version, title, seen) = meant;
        let fate = match result["status"].as_str().unwrap() {
            "applied" | "duplicate" => {
                if let Some(seen) = seen {
                    self.seen.push((id.to_owned(), version - 1, seen));
                }
                let known = history.entry(id.to_owned()).or_default();
                if let Some(title) = &title {
                    let former = known.made.insert(version, title.clone());
                    assert_eq!(former, None, "two have made version {version} of {id}");
                } else {
                    known.deleted.insert(version);
                }
                if result["status"] == "applied" && title.is_some() {
                    let told =
                        (result["trip"]["version"].as_i64().unwrap(), result["trip"]["title"].as_str());
                    assert_eq!(told, (version, title.as_deref()));
                }
                "applied"
            }
            "conflict" => {
                self.withdraw(id);
                "reported"
            }
            other => panic!("{other}: {operation} {result}"),
        };
        assert_eq!(self.fates.insert(op_id.to_owned(), fate), None);
        match result.get("trip") {
            Some(trip) => self.take(trip),
            None => drop(self.server.remove(id)),
        }
    }

    /// What stands on top of an operation that was not applied is not sent: its version may be somebody
    /// else's by then.
    fn withdraw(&mut self, id: &str) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.queue.drain(..).partition(|(operation, _)| operation["id"] != *id);
        self.queue = kept;
        for (operation, _) in gone {
            let op_id = operation["op_id"].as_str().unwrap().to_owned();
            assert_eq!(self.fates.insert(op_id, "reported"), None);
        }
    }

    fn take(&mut self, trip: &Value) {
        let text = |name: &str| trip[name].as_str().unwrap().to_owned();
        self.server.insert(text("id"), (trip["version"].as_i64().unwrap(), text("title")));
    }

    /// Asks what changed; sometimes the reply is lost.
    async fn pull(&mut self, chance: &mut Chance) -> bool {
        let piece = feed(&self.client, self.cursor.as_deref(), 1 + chance.below(5) as u64).await;
        if chance.one_in(4) {
            return true;
        }
        for change in piece["changes"].as_array().unwrap() {
            match change.get("trip") {
                Some(trip) => self.take(trip),
                None => drop(self.server.remove(change["id"].as_str().unwrap())),
            }
        }
        self.cursor = Some(next(&piece).to_owned());
        piece["has_more"] == true
    }
}

async fn run(client: &Client, seed: u64) {
    let mut chance = Chance(seed);
    let mut history = History::new();
    let mut phones = [Phone::new(client), Phone::new(client)];
    let mut edits = 0;
    for step in 0..STEPS {
        let phone = &mut phones[chance.below(2)];
        match chance.below(6) {
            0 => phone.push(&mut chance, &mut history).await,
            1 => drop(phone.pull(&mut chance).await),
            _ => {
                phone.edit(&mut chance, format!("{seed}-{step}"));
                edits += 1;
            }
        }
    }
    // Back online for good.
    while phones.iter().any(|phone| !phone.queue.is_empty()) {
        for phone in &mut phones {
            phone.push(&mut chance, &mut history).await;
        }
    }
    for phone in &mut phones {
        let mut quiet = 0;
        while quiet < 8 {
            quiet = if phone.pull(&mut chance).await { 0 } else { quiet + 1 };
        }
    }
    let page = client.get(&format!("{TRIPS}?limit=100")).await.expect(200).json();
    let theirs: BTreeMap<String, (i64, String)> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trip| {
            let text = |name: &str| trip[name].as_str().unwrap().to_owned();
            (text("id"), (trip["version"].as_i64().unwrap(), text("title")))
        })
        .collect();
    let fates: usize = phones.iter().map(|phone| phone.fates.len()).sum();
    assert_eq!(fates, edits, "every operation was applied or reported");
    for phone in &phones {
        assert_eq!(phone.server, theirs);
    }
    for (id, version, title) in phones.iter().flat_map(|phone| &phone.seen) {
        assert_eq!(history[id].made.get(version), Some(title), "{id} was overwritten unseen");
    }
    let alive: BTreeSet<&String> = theirs.keys().collect();
    for (id, Known { made, deleted }) in &history {
        let count = i64::try_from(made.len()).unwrap();
        assert!(made.keys().copied().eq(1..=count), "{id}: {made:?}");
        match theirs.get(id) {
            Some((version, title)) => {
                assert_eq!((made.get(version), *version, deleted.len()), (Some(title), count, 0), "{id}");
            }
            None => assert!(deleted.contains(&(count + 1)), "{id}: {made:?} {deleted:?}"),
        }
    }
    assert!(alive.iter().all(|id| history.contains_key(*id)));
}

#[tokio::test]
async fn two_devices_converge_and_every_edit_is_applied_or_reported() {
    let app = TestApp::start().await;
    for seed in 0..rounds(60) as u64 {
        println!("run {seed}");
        run(&app.sign_up(&format!("ada{seed}")).await, seed).await;
    }
}
