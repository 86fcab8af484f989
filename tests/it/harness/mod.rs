//! A server of one's own, and clients that talk to it.
//!
//! [`TestApp`] runs the real server in this process, on a free port of the loopback, over a fresh
//! database, under a clock that stands still until a test moves it. Every answer is held against the
//! document ([`conformance`]) before the test sees it.

mod client;
pub(crate) mod conformance;
mod database;
mod raw;
mod reply;
mod seen;
mod served;
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use tempfile::TempDir;
use tripgate::app::App;
use tripgate::clock::Clock;
use tripgate::config::{Secret, Settings};

pub(crate) use client::{Call, Client};
use database::Database;
pub(crate) use raw::RawReply;
pub(crate) use reply::Reply;
use served::Served;

/// The password of everybody whom the harness signs up.
pub(crate) const PASSWORD: &str = "a quiet harbour at dusk";
/// What a deployment would set: both replicas issue tokens under this name.
pub(crate) const PUBLIC_URL: &str = "https://tripgate.test";
/// The time at which every test begins.
const START: &str = "2026-03-02T08:30:00.000Z";
/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// What outlives a single server: replicas share it, and the last of them clears it away.
#[derive(Debug)]
struct Ground {
    settings: Settings,
    // Dropped in this order: the database before the directory in which it may lie.
    _database: Option<Database>,
    _dir: TempDir,
}

/// A running server and the world around it.
#[derive(Debug)]
pub(crate) struct TestApp {
    /// The server's clock: `app.clock.advance(..)` moves it, also for the replicas.
    pub(crate) clock: Clock,
    // Dropped before the database.
    running: Served,
    ground: Arc<Ground>,
    http: reqwest::Client,
}

impl TestApp {
    /// A server with the settings of a test.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose settings were changed first.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = TempDir::new().unwrap();
        let database = Database::create().await;
        let mut settings = Settings::for_tests(dir.path());
        settings.public_url = Some(PUBLIC_URL.to_owned());
        if let Some(database) = &database {
            settings.database_url = Secret::new(database.url());
        }
        change(&mut settings);
        let start: DateTime<Utc> = START.parse().unwrap();
        let ground = Ground { settings, _database: database, _dir: dir };
        Self::on(Arc::new(ground), Clock::fixed(start)).await
    }

    /// One more server over the same database, secret and clock, with an address of its own.
    pub(crate) async fn replica(&self) -> Self {
        Self::on(Arc::clone(&self.ground), self.clock.clone()).await
    }

    /// As [`TestApp::replica`], with settings of its own.
    pub(crate) async fn replica_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.ground.settings.clone();
        change(&mut settings);
        Self::under(&settings, Arc::clone(&self.ground), self.clock.clone()).await
    }

    async fn on(ground: Arc<Ground>, clock: Clock) -> Self {
        let settings = ground.settings.clone();
        Self::under(&settings, ground, clock).await
    }

    async fn under(settings: &Settings, ground: Arc<Ground>, clock: Clock) -> Self {
        let running = Served::start(settings, clock.clone()).await;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { clock, running, ground, http }
    }

    /// Stops the server in good order; the database stays for its replicas.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// Stops the server and starts it again, at another address, over the same database.
    pub(crate) async fn restart(self) -> Self {
        let (ground, clock) = (Arc::clone(&self.ground), self.clock.clone());
        self.stop().await;
        Self::on(ground, clock).await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// The settings that it runs under.
    pub(crate) fn settings(&self) -> &Settings {
        &self.ground.settings
    }

    /// The rooms, for what no client could see or do: a row of the database, a token of another kind.
    pub(crate) fn rooms(&self) -> &App {
        &self.running.app
    }

    /// A client without a credential.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.http, self.running.address)
    }

    /// Signs somebody up with this username and the address `<name>@example.org`: a client with their
    /// token.
    pub(crate) async fn sign_up(&self, name: &str) -> Client {
        let body = json!({
            "username": name,
            "email": email(name),
            "password": PASSWORD,
        });
        let call = self.anonymous().post("/api/v1/auth/signup").json(&body);
        self.anonymous().granted(&call.await.expect(201).json())
    }

    /// Begins one more session of somebody who signed up by [`TestApp::sign_up`].
    pub(crate) async fn log_in(&self, name: &str) -> Client {
        self.enter(&json!({ "identifier": name, "password": PASSWORD })).await
    }

    /// As [`TestApp::log_in`], for a token that has these scopes alone.
    pub(crate) async fn log_in_for(&self, name: &str, scope: &str) -> Client {
        self.enter(&json!({ "identifier": name, "password": PASSWORD, "scope": scope })).await
    }

    async fn enter(&self, body: &serde_json::Value) -> Client {
        let call = self.anonymous().post("/api/v1/auth/login").json(body);
        self.anonymous().granted(&call.await.expect(200).json())
    }

    /// Sends these bytes as they are on a connection of their own.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> RawReply {
        raw::exchange(self.running.address, request.as_ref(), raw::SILENCE).await
    }

    /// Sends these bytes as they are and waits for an answer, which is held against the document as one to
    /// `method` and `path`.
    pub(crate) async fn raw_reply(&self, method: &Method, path: &str, request: &[u8]) -> Reply {
        let reply = raw::exchange(self.running.address, request, PATIENCE).await.reply(method, path);
        let asked = seen::Asked { path, headers: &HeaderMap::new(), body: &[] };
        if let Err(fault) = conformance::check_exchange(method, &asked, &reply) {
            panic!("{fault}");
        }
        reply
    }
}

/// The address of somebody whom the harness signed up.
pub(crate) fn email(name: &str) -> String {
    format!("{name}@example.org")
}

/// How often something random is tried: as the environment says, or seldom enough for every day.
pub(crate) fn rounds(every_day: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "it says how long to test, and is no setting of the server"
    )]
    let said = std::env::var("TRIPGATE_TEST_ROUNDS");
    said.map_or(every_day, |count| count.parse().unwrap())
}
