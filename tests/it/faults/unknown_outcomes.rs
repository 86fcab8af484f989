//! A COMMIT that fails, or whose result is lost: the write may or may not have been committed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};

use super::outage::redirect;
use crate::harness::process::Process;
use crate::harness::{Call, Client, TestApp};

const TRIPS: &str = "/api/v1/trips";
/// The title of the trip whose COMMIT fails.
const DOOMED: &str = "doomed-commit";

/// What happens to the COMMIT of the trip with the title [`DOOMED`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum CommitFault {
    /// The connection breaks before the database receives the COMMIT.
    NotSent,
    /// The connection breaks after the database has executed the COMMIT.
    ResultLost,
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Forwards one connection. Breaks the connection at the COMMIT of the trip, unless another connection was
/// broken before (`is_done`).
async fn carry(
    client: TcpStream,
    target: SocketAddr,
    fault: CommitFault,
    is_done: &AtomicBool,
) -> Option<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_database, mut to_database) = TcpStream::connect(target).await.ok()?.into_split();
    let is_muted = AtomicBool::new(false);
    let requests = async {
        let (mut buffer, mut is_doomed) = (vec![0; 64 * 1024], false);
        loop {
            let count = from_client.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            let bytes = &buffer[..count];
            is_doomed |= contains(bytes, DOOMED);
            if is_doomed && contains(bytes, "COMMIT") && !is_done.swap(true, Ordering::SeqCst) {
                if fault == CommitFault::ResultLost {
                    is_muted.store(true, Ordering::SeqCst);
                    to_database.write_all(bytes).await.ok()?;
                    sleep(Duration::from_millis(300)).await;
                }
                return None::<()>;
            }
            to_database.write_all(bytes).await.ok()?;
        }
    };
    let responses = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_database.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            if !is_muted.load(Ordering::SeqCst) {
                to_client.write_all(&buffer[..count]).await.ok()?;
            }
        }
    };
    tokio::select! {
        end = requests => end,
        end = responses => end,
    }
}

/// Starts a server whose connections to the database go through a proxy. The proxy breaks one of these
/// connections at a COMMIT. Returns `None` on SQLite.
async fn with_broken_commit(fault: CommitFault) -> Option<TestApp> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = None;
    let app = TestApp::with(|settings| {
        target = redirect(&listener, settings);
        if let Some(target) = target {
            tokio::spawn(async move {
                static IS_DONE: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];
                let is_done = &IS_DONE[usize::from(fault == CommitFault::ResultLost)];
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, target, fault, is_done));
                }
            });
        }
    })
    .await;
    target.map(|_| app)
}

async fn titles(client: &Client) -> Vec<String> {
    let list = client.get(TRIPS).await.expect(200).json();
    list["items"].as_array().unwrap().iter().map(|trip| trip["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_lost_commit_has_an_unknown_outcome_and_a_retry_with_an_idempotency_key_creates_one_trip() {
    // F-10, S-108
    for fault in [CommitFault::NotSent, CommitFault::ResultLost] {
        let Some(app) = with_broken_commit(fault).await else { return };
        let ada = app.sign_up("ada").await;
        let post =
            || -> Call { ada.post(TRIPS).header("idempotency-key", "k").json(&json!({ "title": DOOMED })) };
        let lost = post().await.expect(503).problem("outcome_unknown");
        assert_eq!(lost.json()["client_action"], "retry");
        let is_committed = fault == CommitFault::ResultLost;
        assert_eq!(titles(&ada).await.len(), usize::from(is_committed), "{fault:?}");
        let mut again = post().await;
        while again.status == 409 {
            // The server releases the idempotency key in the background.
            sleep(Duration::from_millis(50)).await;
            again = post().await;
        }
        let again = again.expect(201);
        assert_eq!(again.header("idempotency-replayed"), if is_committed { "true" } else { "" });
        assert_eq!(titles(&ada).await, [DOOMED], "{fault:?}");
    }
}

async fn create(server: &Process, token: &str, trip: &Value) -> (u16, Value) {
    let response = server.call(Method::POST, TRIPS).bearer_auth(token).json(trip).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_commit_that_the_disk_refuses_has_an_unknown_outcome_and_a_retry_creates_one_trip() {
    // F-10, S-108
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &["--public-url", "https://tripgate.test"]);
    let token = server.sign_up("ada").await["access_token"].as_str().unwrap().to_owned();
    let trip = json!({ "id": "01a20107-5b48-703c-96db-79a70f5cb3f1", "title": "Lisbon", "notes": "n".repeat(9_000) });
    // A limit at the current size of the write-ahead log makes the next COMMIT fail, because it writes to
    // this log.
    let log = dir.path().join("data/tripgate.db-wal").metadata().unwrap().len();
    server.limit_files(Some(log));
    let (status, problem) = create(&server, &token, &trip).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("outcome_unknown")));
    // The writer can't open the database again, so this request changes nothing.
    let (status, problem) = create(&server, &token, &trip).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("database_unavailable")));
    server.limit_files(None);
    let (status, body) = create(&server, &token, &trip).await;
    assert!(status == 201 || body["code"] == "already_exists", "{body}");
    let (status, body) = create(&server, &token, &trip).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("already_exists")));
    let list = server.call(Method::GET, TRIPS).bearer_auth(&token).send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
