//! Outages of the database. These tests need a database server: see `.ci/with_database.sh`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::FutureExt;
use futures_util::future::join_all;
use reqwest::Method;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tripgate::config::{Secret, Settings};
use tripgate::db::StoreError;
use url::Url;

use crate::contract::statuses;
use crate::harness::process::Process;
use crate::harness::rows;
use crate::harness::{Call, Client, PASSWORD, PUBLIC_URL, Reply, TestApp};

/// The state of the connection to the database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Network {
    Open,
    /// Existing and new connections are closed.
    Cut,
    /// Connections remain open, but no data passes, as with a firewall or a frozen host.
    Stalled,
}

/// A proxy between the server and the database.
#[derive(Debug)]
struct Proxy {
    network: watch::Sender<Network>,
    /// Incremented to close all connections.
    sever: watch::Sender<u32>,
}

impl Proxy {
    fn start(listener: TcpListener, target: SocketAddr) -> Self {
        let (network, state) = watch::channel(Network::Open);
        let (sever, cut) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *state.borrow() != Network::Cut {
                    tokio::spawn(carry(client, target, state.clone(), cut.clone()));
                }
            }
        });
        Self { network, sever }
    }

    fn sever(&self) {
        self.sever.send_modify(|times| *times += 1);
    }

    fn set(&self, network: Network) {
        self.network.send_replace(network);
        if network == Network::Cut {
            self.sever();
        }
    }
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    network: watch::Receiver<Network>,
    mut sever: watch::Receiver<u32>,
) {
    sever.mark_unchanged();
    tokio::select! {
        // `pass` ends when a peer closes the connection or the test is over.
        _ = pass(client, target, network) => {}
        _ = sever.changed() => {}
    }
}

async fn pass(
    mut client: TcpStream,
    target: SocketAddr,
    mut network: watch::Receiver<Network>,
) -> Option<()> {
    network.wait_for(|state| *state != Network::Stalled).await.ok()?;
    let mut database = TcpStream::connect(target).await.ok()?;
    loop {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut database) => return None,
            stalled = network.wait_for(|state| *state == Network::Stalled) => drop(stalled.ok()?),
        }
        network.wait_for(|state| *state != Network::Stalled).await.ok()?;
    }
}

/// Starts a server that reaches its database through a proxy. Returns `None` on SQLite.
async fn behind_proxy(change: impl FnOnce(&mut Settings)) -> Option<(TestApp, Proxy)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut proxy = None;
    let app = TestApp::with(|settings| {
        change(settings);
        proxy = interpose(listener, settings);
    })
    .await;
    let app = app.single().await;
    proxy.map(|proxy| (app, proxy))
}

/// Changes the settings so that the server reaches its database through a proxy. Returns `None` on SQLite.
fn interpose(listener: TcpListener, settings: &mut Settings) -> Option<Proxy> {
    redirect(&listener, settings).map(|target| Proxy::start(listener, target))
}

/// Changes the settings so that the server connects to `listener` instead of its database. Returns the address of
/// the database, or `None` on SQLite.
pub(super) fn redirect(listener: &TcpListener, settings: &mut Settings) -> Option<SocketAddr> {
    let mut url: Url = settings.database_url.expose().parse().unwrap();
    if url.scheme() == "sqlite" {
        return None;
    }
    let port = listener.local_addr().unwrap().port();
    let default = if url.scheme() == "mysql" { 3306 } else { 5432 };
    let target = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap_or(default)));
    url.set_port(Some(port)).unwrap();
    settings.database_url = Secret::new(url);
    Some(target)
}

/// Sends one request of each kind that accesses the database.
async fn all_kinds(ada: &Client, anonymous: &Client) -> Vec<Reply> {
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    let calls = [
        ada.get("/api/v1/trips"),
        ada.get("/api/v1/me"),
        ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })),
        anonymous.post("/api/v1/auth/login").json(&log_in),
        anonymous.get("/api/v1/auth/verify").basic("ada", PASSWORD),
    ];
    join_all(calls.map(IntoFuture::into_future)).await
}

/// Asserts that requests fail with 503 during an outage.
async fn assert_unavailable(app: &TestApp, ada: &Client) {
    let anonymous = app.anonymous();
    for _ in 0..2 {
        let begin = Instant::now();
        for reply in all_kinds(ada, &anonymous).await {
            let problem = reply.expect(503).problem("database_unavailable");
            assert!(problem.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
        let begin = Instant::now();
        anonymous.get("/health/ready").await.expect(503).problem("database_unavailable");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        anonymous.get("/health/live").await.expect(200);
        // After a second without the database, the server rejects tokens, because another replica may have
        // revoked them.
        app.clock.advance(TimeDelta::seconds(1));
        ada.get("/api/v1/auth/session").await.expect(503).problem("database_unavailable");
    }
}

/// Asserts that all requests succeed within 5 s, and continue to succeed.
async fn assert_recovers(app: &TestApp, ada: &Client) {
    let anonymous = app.anonymous();
    let begin = Instant::now();
    while all_kinds(ada, &anonymous).await.iter().any(|reply| reply.status >= 500) {
        assert!(begin.elapsed() < Duration::from_secs(5), "no recovery after 5 s");
        sleep(Duration::from_millis(100)).await;
    }
    for replies in join_all((0..10).map(|_| all_kinds(ada, &anonymous))).await {
        assert!(replies.iter().all(|reply| reply.status < 300), "{replies:?}");
    }
    anonymous.get("/health/ready").await.expect(200);
}

#[tokio::test]
async fn a_database_outage_returns_503_and_needs_no_restart() {
    // S-67
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
    let ada = app.sign_up("ada").await;
    for _ in 0..2 {
        proxy.set(Network::Cut);
        assert_unavailable(&app, &ada).await;
        proxy.set(Network::Open);
        assert_recovers(&app, &ada).await;
    }
}

#[tokio::test]
async fn a_page_cached_before_a_failover_that_lost_writes_is_not_returned_after_the_failover() {
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
    let ada = app.sign_up("ada").await;
    ada.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })).await.expect(201);
    let count = async || ada.get("/api/v1/trips").await.expect(200).json()["items"].as_array().unwrap().len();
    assert_eq!([count().await, count().await], [1, 1]);
    // Delete the trip as if a failover had lost it. The change counter keeps its value.
    rows::delete_trips(&app).await;
    assert_eq!(count().await, 1, "the page comes from the cache");
    proxy.sever();
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn every_operation_with_database_access_returns_503_during_an_outage() {
    // S-67
    let Some((app, proxy)) = behind_proxy(|settings| settings.auth_methods.basic = true).await else {
        return;
    };
    let ada = app.sign_up("ada").await;
    let ids = statuses::create_resources(&app, &ada).await;
    proxy.set(Network::Cut);
    statuses::assert_database_unavailable(&app, &ada, &ids).await;
}

#[tokio::test]
async fn a_frozen_database_delays_no_response_by_more_than_six_seconds() {
    // F-9, F-10, S-108
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
    let ada = app.sign_up("ada").await;
    ada.get("/api/v1/trips").await.expect(200);
    let post = |number: usize| {
        let call = ada.post("/api/v1/trips").json(&json!({ "title": number.to_string() }));
        if number.is_multiple_of(2) { call.header("idempotency-key", format!("key-{number}")) } else { call }
    };
    let timed = |call: Call| async {
        let begin = Instant::now();
        let reply = call.await;
        assert!(begin.elapsed() < Duration::from_secs(6), "{}: {:?}", reply.request, begin.elapsed());
        reply
    };
    let calls: Vec<_> = (0..24).map(|number| tokio::spawn(timed(post(number)))).collect();
    sleep(Duration::from_millis(30)).await;
    proxy.set(Network::Stalled);
    let mut replies = Vec::new();
    for call in calls {
        replies.push(call.await.unwrap());
    }
    for number in [24, 25] {
        timed(post(number)).await.expect(503).problem("database_unavailable");
    }
    proxy.set(Network::Open);
    sleep(Duration::from_secs(1)).await;
    let saved = ada.get("/api/v1/trips?limit=100").await.expect(200).json();
    let saved: Vec<&str> =
        saved["items"].as_array().unwrap().iter().map(|trip| trip["title"].as_str().unwrap()).collect();
    for (number, reply) in replies.iter().enumerate() {
        let is_saved = saved.contains(&number.to_string().as_str());
        match reply.status {
            201 => assert!(is_saved, "{number}"),
            _ if reply.json()["code"] == "outcome_unknown" => {}
            _ => assert!(!is_saved, "{number}: {}", reply.text()),
        }
    }
}

/// Asserts that a replica without database access accepts a revoked token for less than a second. After that,
/// the replica accepts no token until it has access again. Returns how long the replica accepted the revoked
/// token.
async fn assert_revocation_is_never_late(network: Network) -> Option<Duration> {
    let app = TestApp::start_now().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = app.settings().clone();
    let proxy = interpose(listener, &mut settings)?;
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().to_owned();
    let serve = move || Process::serve_over(&path, &settings, &["--public-url", PUBLIC_URL]);
    // Waiting for the start blocks the thread.
    let replica = tokio::task::spawn_blocking(serve).await.unwrap();
    let (ada, phone) = (app.sign_up("ada").await, app.log_in("ada").await);
    let status = async |client: &Client| {
        let call = replica.call(Method::GET, "/api/v1/auth/session").bearer_auth(client.token());
        call.send().await.unwrap().status().as_u16()
    };
    assert_eq!([status(&ada).await, status(&phone).await], [200; 2]);
    proxy.set(network);
    let body = json!({ "refresh_token": phone.grant()["refresh_token"] });
    app.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
    let revoked_at = Instant::now();
    let mut accepted_until = Duration::ZERO;
    while revoked_at.elapsed() < Duration::from_secs(4) {
        match status(&phone).await {
            200 => accepted_until = revoked_at.elapsed(),
            503 => {}
            other => panic!("{other}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!(accepted_until < Duration::from_secs(1), "accepted for {accepted_until:?}");
    assert_eq!(status(&ada).await, 503);
    proxy.set(Network::Open);
    let begin = Instant::now();
    loop {
        match status(&phone).await {
            401 => break,
            503 => assert!(begin.elapsed() < Duration::from_secs(7), "no recovery after 7 s"),
            other => panic!("{other}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&ada).await, 200);
    Some(accepted_until)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_database_access_rejects_a_token_that_was_revoked_a_second_ago() {
    // F-2, S-41, S-67, S-107
    for network in [Network::Cut, Network::Stalled] {
        let accepted = Box::pin(assert_revocation_is_never_late(network)).await;
        println!("{network:?}: a revoked token was accepted for {accepted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_connections_that_break_during_requests_never_cause_a_500() {
    // S-67. Ada logs in more often than the default limit of sessions allows.
    let Some((app, proxy)) = behind_proxy(|settings| settings.quotas.sessions = 100_000).await else {
        return;
    };
    let ada = app.sign_up("ada").await;
    let proxy = Arc::new(proxy);
    let cutter = tokio::spawn({
        let proxy = Arc::clone(&proxy);
        async move {
            for _ in 0..30 {
                sleep(Duration::from_millis(50)).await;
                proxy.sever();
            }
        }
    });
    let mut successes = 0;
    while !cutter.is_finished() {
        for reply in join_all((0..4).map(|_| all_kinds(&ada, &ada))).await.into_iter().flatten() {
            successes += u32::from(reply.status < 300);
            assert!([200, 201, 503].contains(&reply.status), "{} {}", reply.request, reply.text());
        }
    }
    cutter.await.unwrap();
    assert!(successes > 0);
    assert_recovers(&app, &ada).await;
}

#[tokio::test]
async fn a_transaction_that_is_idle_for_ten_seconds_is_never_committed() {
    // F-8, S-107
    let app = TestApp::start().await;
    if app.settings().database_url.expose().starts_with("sqlite:") {
        return;
    }
    let ada = app.sign_up("ada").await;
    let written: Result<(), StoreError> = app
        .services()
        .db
        .write_within(Duration::from_secs(20), (), |tx, ()| {
            let late = async {
                tx.execute_unprepared("UPDATE users SET display_name = 'late'").await?;
                // Wait as if the process were stopped.
                sleep(Duration::from_secs(12)).await;
                Ok(())
            };
            late.boxed()
        })
        .await;
    // The database has closed the connection before the COMMIT.
    assert!(matches!(written, Err(StoreError::OutcomeUnknown(_))), "{written:?}");
    assert_eq!(ada.get("/api/v1/me").await.expect(200).json()["display_name"], json!(null));
}

#[tokio::test]
async fn a_write_that_times_out_on_a_lock_returns_503_and_is_never_applied() {
    // S-69. Use one server, because on Galera a lock has no effect on other nodes.
    let app = TestApp::start().await.single().await;
    let url = app.settings().database_url.expose().to_owned();
    if url.starts_with("sqlite:") {
        return;
    }
    let (ada, eve) = (app.sign_up("ada").await, app.sign_up("eve").await);
    let connection =
        Database::connect(ConnectOptions::new(url).sqlx_logging(false).to_owned()).await.unwrap();
    let lock = connection.begin().await.unwrap();
    lock.execute_unprepared("SELECT id FROM users FOR UPDATE").await.unwrap();
    // The second write of a user waits for the first. A third write could exceed the time limit of a request.
    let calls =
        [&ada, &ada, &eve].map(|client| client.post("/api/v1/trips").json(&json!({ "title": "Lisbon" })));
    for reply in join_all(calls.map(IntoFuture::into_future)).await {
        let reply = reply.expect(503);
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
        reply.problem("busy");
    }
    lock.rollback().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    for client in [&ada, &eve] {
        assert_eq!(client.get("/api/v1/trips").await.expect(200).json(), json!({ "items": [] }));
    }
}
