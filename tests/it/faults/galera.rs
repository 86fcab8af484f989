//! Three servers on the three nodes of a Galera cluster: see `.ci/with_galera.sh`. The test ends with a cluster without a
//! quorum, so it runs alone. Without a cluster, the test passes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use url::Url;

use crate::harness::process::Process;
use crate::harness::{PASSWORD, PUBLIC_URL, rounds};

const TRIPS: &str = "/api/v1/trips";
/// The number of rounds in which the servers start at once on an empty database.
const STARTS: usize = 5;

/// The nodes of the cluster, and the ids of their processes.
#[derive(Debug)]
struct Cluster {
    nodes: Vec<Url>,
    pids: Vec<Pid>,
}

impl Cluster {
    fn from_environment() -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the variable controls the tests; it is not a server setting"
        )]
        let cluster = std::env::var("TRIPGATE_TEST_GALERA").ok()?;
        let parts: Vec<&str> = cluster.split_whitespace().collect();
        let (nodes, pids) = parts.split_at(3);
        let pid = |pid: &&str| Pid::from_raw(pid.parse().unwrap()).unwrap();
        Some(Self {
            nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
            pids: pids.iter().map(pid).collect(),
        })
    }

    /// Creates a database. Returns its URL on each node.
    async fn create_database(&self, name: &str) -> Vec<String> {
        let connection = Database::connect(self.nodes[0].as_str()).await.unwrap();
        connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        connection.close().await.unwrap();
        let url = |node: &Url| {
            let mut url = node.clone();
            url.set_path(name);
            url.into()
        };
        self.nodes.iter().map(url).collect()
    }
}

/// Starts a server on each node at the same time, with one secret.
async fn start(urls: Vec<String>, dir: &TempDir) -> Vec<Process> {
    let starts = urls.into_iter().enumerate().map(|(number, url)| {
        let (own, secret) = (dir.path().join(number.to_string()), dir.path().join("secret"));
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&own).unwrap();
            let secret = secret.to_str().unwrap();
            let args = [
                "--database-url",
                &url,
                "--secret-file",
                secret,
                "--public-url",
                PUBLIC_URL,
                "--log",
                "info",
            ];
            Process::serve(&own, &args)
        })
    });
    join_all(starts).await.into_iter().map(Result::unwrap).collect()
}

async fn send(call: RequestBuilder) -> (StatusCode, String, Value) {
    let response = call.send().await.unwrap();
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    let status = response.status();
    (status, etag.unwrap_or_default(), response.json().await.unwrap_or_default())
}

/// In each round, replaces one version of a trip on three nodes concurrently. Asserts that at most one
/// replacement succeeds and that no successful replacement is lost. Returns the number of successful
/// replacements.
async fn assert_no_lost_update(servers: &[Process], token: &str) -> usize {
    let body = json!({ "title": "first" });
    let create = servers[0].call(Method::POST, TRIPS).bearer_auth(token).json(&body);
    let (status, mut etag, trip) = send(create).await;
    assert_eq!(status, 201);
    let path = format!("{TRIPS}/{}", trip["id"].as_str().unwrap());
    let (mut version, mut replaced) = (1, 0);
    for round in 0..rounds(50) {
        let calls = servers.iter().enumerate().map(|(node, server)| {
            let body = json!({ "title": format!("{round} on {node}") });
            send(server.call(Method::PUT, &path).bearer_auth(token).header("if-match", &etag).json(&body))
        });
        let replies = join_all(calls).await;
        let written: Vec<&Value> =
            replies.iter().filter(|(status, ..)| *status == 200).map(|(_, _, trip)| trip).collect();
        assert!(written.len() <= 1, "round {round}: {replies:?}");
        assert!(replies.iter().all(|(status, ..)| [200, 412, 503].contains(&status.as_u16())), "{replies:?}");
        replaced += written.len();
        version += i64::try_from(written.len()).unwrap();
        for server in servers {
            let (status, new_etag, trip) = send(server.call(Method::GET, &path).bearer_auth(token)).await;
            assert_eq!((status.as_u16(), trip["version"].as_i64()), (200, Some(version)), "round {round}");
            assert!(written.iter().all(|written| **written == trip), "round {round}: {replies:?} {trip}");
            etag = new_etag;
        }
    }
    replaced
}

/// Kills two nodes. Asserts that the third node returns 503 for the requests that it can't process, and never
/// 500. Returns the number of responses with 503.
async fn assert_unavailable_without_quorum(cluster: &Cluster, server: &Process, token: &str) -> u32 {
    for pid in &cluster.pids[1..] {
        kill_process(*pid, Signal::KILL).unwrap();
    }
    let begin = Instant::now();
    let mut unavailable = 0;
    while begin.elapsed() < Duration::from_secs(20) {
        let login = json!({ "identifier": "ada", "password": PASSWORD });
        let calls = [
            server.call(Method::GET, TRIPS).bearer_auth(token),
            server.call(Method::POST, TRIPS).bearer_auth(token).json(&json!({ "title": "Lisbon" })),
            server.call(Method::POST, "/api/v1/auth/login").json(&login),
        ];
        for (status, _, body) in join_all(calls.map(send)).await {
            let code = body["code"].as_str().unwrap_or_default();
            let is_expected = match status.as_u16() {
                200 | 201 => true,
                503 => ["database_unavailable", "outcome_unknown"].contains(&code),
                _ => false,
            };
            assert!(is_expected, "{status} {body}");
            unavailable += u32::from(status == 503);
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(unavailable > 0);
    unavailable
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_on_a_galera_cluster_start_at_once_lose_no_write_and_return_503_without_a_quorum() {
    // F-4, F-5, F-14
    let Some(cluster) = Cluster::from_environment() else { return };
    let mut last = None;
    for number in 0..STARTS {
        let urls = cluster.create_database(&format!("tripgate_galera_{number}")).await;
        let dir = TempDir::new().unwrap();
        let servers = start(urls, &dir).await;
        println!("start {number}: all three servers have started");
        last = Some((servers, dir));
    }
    let (servers, _dir) = last.unwrap();
    let token = servers[0].sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let replaced = assert_no_lost_update(&servers, &token).await;
    println!("{replaced} replacements, none lost");
    let unavailable = assert_unavailable_without_quorum(&cluster, &servers[0], &token).await;
    println!(
        "without a quorum: {unavailable} responses had the status 503, and none had another error status"
    );
}
