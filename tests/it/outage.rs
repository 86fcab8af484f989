//! The database goes away and comes back. Only for databases that are servers: see `.ci/databases`.

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

use crate::harness::{Client, PASSWORD, Reply, TestApp};
use crate::statuses;

/// What the way to the database is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Open,
    /// Connections are closed, new ones too.
    Cut,
    /// Connections stay, but nothing passes: a firewall or a frozen host.
    Stalled,
}

/// Stands between server and database.
#[derive(Debug)]
struct Proxy {
    target: SocketAddr,
    way: watch::Sender<Way>,
    /// Counts up when all connections are to be closed.
    sever: watch::Sender<u32>,
}

impl Proxy {
    fn start(listener: TcpListener, target: SocketAddr) -> Self {
        let (way, on) = watch::channel(Way::Open);
        let (sever, cut) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *on.borrow() != Way::Cut {
                    tokio::spawn(carry(client, target, on.clone(), cut.clone()));
                }
            }
        });
        Self { target, way, sever }
    }

    fn sever(&self) {
        self.sever.send_modify(|times| *times += 1);
    }

    fn set(&self, way: Way) {
        self.way.send_replace(way);
        if way == Way::Cut {
            self.sever();
        }
    }
}

async fn carry(
    client: TcpStream,
    target: SocketAddr,
    way: watch::Receiver<Way>,
    mut sever: watch::Receiver<u32>,
) {
    sever.mark_unchanged();
    tokio::select! {
        // Either end may close, and the test may be over.
        _ = pass(client, target, way) => {}
        _ = sever.changed() => {}
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut way: watch::Receiver<Way>) -> Option<()> {
    way.wait_for(|way| *way != Way::Stalled).await.ok()?;
    let mut database = TcpStream::connect(target).await.ok()?;
    loop {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut database) => return None,
            stalled = way.wait_for(|way| *way == Way::Stalled) => drop(stalled.ok()?),
        }
        way.wait_for(|way| *way != Way::Stalled).await.ok()?;
    }
}

/// A server whose way to its database leads through a proxy; `None` on SQLite, which is no server.
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

/// One of each kind of request that needs the database.
async fn all_kinds(ada: &Client, nobody: &Client) -> Vec<Reply> {
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    let calls = [
        ada.get("/api/v1/trips"),
        ada.get("/api/v1/me"),
        ada.post("/api/v1/trips").json(&json!({ "title": "meanwhile" })),
        nobody.post("/api/v1/auth/login").json(&log_in),
        nobody.get("/api/v1/auth/verify").basic("ada", PASSWORD),
    ];
    join_all(calls.map(IntoFuture::into_future)).await
}

/// What has to hold while the database is away.
async fn assert_away(app: &TestApp, ada: &Client) {
    let nobody = app.anonymous();
    for _ in 0..2 {
        let begin = Instant::now();
        for reply in all_kinds(ada, &nobody).await {
            let told = reply.expect(503).problem("database_unavailable");
            assert!(told.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());
        let begin = Instant::now();
        nobody.get("/health/ready").await.expect(503).problem("database_unavailable");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        nobody.get("/health/live").await.expect(200);
        ada.get("/api/v1/auth/session").await.expect(200);
    }
}

/// Everything works again within 5 s, and stays so.
async fn assert_back(app: &TestApp, ada: &Client) {
    let nobody = app.anonymous();
    let begin = Instant::now();
    while all_kinds(ada, &nobody).await.iter().any(|reply| reply.status >= 500) {
        assert!(begin.elapsed() < Duration::from_secs(5), "it is still away");
        sleep(Duration::from_millis(100)).await;
    }
    for replies in join_all((0..10).map(|_| all_kinds(ada, &nobody))).await {
        assert!(replies.iter().all(|reply| reply.status < 300), "{replies:?}");
    }
    nobody.get("/health/ready").await.expect(200);
}

#[tokio::test]
async fn a_database_that_stops_and_starts_costs_503_and_no_restart() {
    // S-67
    let Some((app, proxy)) = behind_proxy(|_| {}).await else { return };
    let ada = app.sign_up("ada").await;
    for _ in 0..2 {
        proxy.set(Way::Cut);
        assert_away(&app, &ada).await;
        proxy.set(Way::Open);
        assert_back(&app, &ada).await;
    }
}

#[tokio::test]
async fn every_operation_that_needs_the_database_is_503_while_it_is_away() {
    // S-67
    let Some((app, proxy)) = behind_proxy(|settings| settings.ways_in.basic = true).await else { return };
    let ada = app.sign_up("ada").await;
    let ids = statuses::all_there(&app, &ada).await;
    proxy.set(Way::Cut);
    statuses::all_are_away(&app, &ada, &ids).await;
}

/// What a replica remembers is good for 10 s; beyond, it lets nobody in until it can ask again.
async fn assert_cut_off(way: Way) {
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
    proxy.set(way);
    let body = json!({ "refresh_token": phone.grant()["refresh_token"] });
    direct.anonymous().post("/api/v1/auth/logout").json(&body).await.expect(204);
    while status(&ada).await == 200 {
        assert!(begin.elapsed() < Duration::from_secs(14), "it trusts its memory for ever");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(begin.elapsed() > Duration::from_secs(8), "{:?}", begin.elapsed());
    for client in [&ada, &phone] {
        client.get("/api/v1/auth/session").await.expect(503).problem("database_unavailable");
    }
    assert_eq!([status(&direct.anonymous().granted(ada.grant())).await, status(&ada).await], [200, 503]);
    let begin = Instant::now();
    proxy.set(Way::Open);
    // Never in between is what was ended meanwhile good once more.
    loop {
        match status(&phone).await {
            401 => break,
            503 => assert!(begin.elapsed() < Duration::from_secs(5), "it is still away"),
            other => panic!("{other}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&ada).await, 200);
}

#[tokio::test]
async fn a_replica_that_is_cut_off_does_not_go_on_letting_in_whom_another_has_shut_out() {
    // S-41, S-67
    join(Box::pin(assert_cut_off(Way::Cut)), Box::pin(assert_cut_off(Way::Stalled))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_severed_in_mid_flight_never_cost_a_500() {
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
    let mut answered = 0;
    while !cutter.is_finished() {
        for reply in join_all((0..4).map(|_| all_kinds(&ada, &ada))).await.into_iter().flatten() {
            answered += u32::from(reply.status < 300);
            assert!([200, 201, 503].contains(&reply.status), "{} {}", reply.asked, reply.text());
        }
    }
    cutter.await.unwrap();
    assert!(answered > 0);
    assert_back(&app, &ada).await;
}

#[tokio::test]
async fn what_waited_too_long_for_a_lock_is_told_so_and_not_done_afterwards() {
    // S-69
    let app = TestApp::start().await;
    let url = app.settings().database_url.expose().to_owned();
    if url.starts_with("sqlite:") {
        return;
    }
    let ada = app.sign_up("ada").await;
    let holder = Database::connect(ConnectOptions::new(url).sqlx_logging(false).to_owned()).await.unwrap();
    let held = holder.begin().await.unwrap();
    held.execute_unprepared("SELECT id FROM users FOR UPDATE").await.unwrap();
    let calls = (0..3).map(|number| ada.post("/api/v1/trips").json(&json!({ "title": number.to_string() })));
    for reply in join_all(calls.map(IntoFuture::into_future)).await {
        let reply = reply.expect(503);
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
        reply.problem("busy");
    }
    held.rollback().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(ada.get("/api/v1/trips").await.expect(200).json(), json!({ "items": [] }));
}
