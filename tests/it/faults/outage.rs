//! Outages of the database. These tests need a database server: see `.ci/with_database.sh`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, TransactionTrait};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tripgate::config::{Secret, Settings};
use url::Url;

use crate::contract::statuses;
use crate::harness::{Client, PASSWORD, Reply, TestApp};

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
    target: SocketAddr,
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
        Self { target, network, sever }
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
        // Ends when a peer closes or the test is over.
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
    let port = listener.local_addr().unwrap().port();
    let mut proxy = None;
    let app = TestApp::with(|settings| {
        change(settings);
        let mut url: Url = settings.database_url.expose().parse().unwrap();
        if url.scheme() == "sqlite" {
            return;
        }
        let default = if url.scheme() == "mysql" { 3306 } else { 5432 };
        let target = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap_or(default)));
        proxy = Some(Proxy::start(listener, target));
        url.set_port(Some(port)).unwrap();
        settings.database_url = Secret::new(url);
    })
    .await;
    proxy.map(|proxy| (app, proxy))
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

/// Asserts the behaviour during an outage.
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
        ada.get("/api/v1/auth/session").await.expect(200);
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

/// Asserts that a replica without database access trusts its in-memory revocations for 10 s, and then rejects
/// every token until it has access again.
async fn assert_staleness_limit(network: Network) {
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
    let direct = app.replica_with(|settings| {
        let mut url: Url = settings.database_url.expose().parse().unwrap();
        url.set_port(Some(proxy.target.port())).unwrap();
        settings.database_url = Secret::new(url);
    });
    let direct = Box::pin(direct).await;
    let (ada, phone) = (app.sign_up("ada").await, app.log_in("ada").await);
    let status = async |client: &Client| client.get("/api/v1/auth/session").await.status;
    assert_eq!([status(&ada).await, status(&phone).await], [200; 2]);
    let begin = Instant::now();
    proxy.set(network);
    let body = json!({ "refresh_token": phone.grant()["refresh_token"] });
    direct.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
    while status(&ada).await == 200 {
        assert!(begin.elapsed() < Duration::from_secs(14), "the replica trusts stale revocations too long");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(begin.elapsed() > Duration::from_secs(8), "{:?}", begin.elapsed());
    for client in [&ada, &phone] {
        client.get("/api/v1/auth/session").await.expect(503).problem("database_unavailable");
    }
    assert_eq!([status(&direct.anonymous().with_grant(ada.grant())).await, status(&ada).await], [200, 503]);
    let begin = Instant::now();
    proxy.set(Network::Open);
    // The revoked session is never accepted in between.
    loop {
        match status(&phone).await {
            401 => break,
            503 => assert!(begin.elapsed() < Duration::from_secs(5), "no recovery after 5 s"),
            other => panic!("{other}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&ada).await, 200);
}

#[tokio::test]
async fn a_disconnected_replica_stops_accepting_sessions_that_another_may_have_revoked() {
    // S-41, S-67
    join(Box::pin(assert_staleness_limit(Network::Cut)), Box::pin(assert_staleness_limit(Network::Stalled)))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_severed_during_requests_never_cause_a_500() {
    // S-67
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
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
async fn a_write_that_times_out_on_a_lock_returns_503_and_is_never_applied() {
    // S-69
    let app = TestApp::start().await;
    let url = app.settings().database_url.expose().to_owned();
    if url.starts_with("sqlite:") {
        return;
    }
    let ada = app.sign_up("ada").await;
    let connection =
        Database::connect(ConnectOptions::new(url).sqlx_logging(false).to_owned()).await.unwrap();
    let lock = connection.begin().await.unwrap();
    lock.execute_unprepared("SELECT id FROM users FOR UPDATE").await.unwrap();
    let calls = (0..3).map(|number| ada.post("/api/v1/trips").json(&json!({ "title": number.to_string() })));
    for reply in join_all(calls.map(IntoFuture::into_future)).await {
        let reply = reply.expect(503);
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
        reply.problem("busy");
    }
    lock.rollback().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(ada.get("/api/v1/trips").await.expect(200).json(), json!({ "items": [] }));
}
