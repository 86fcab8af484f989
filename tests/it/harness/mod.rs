//! A server for each test, and clients that call it.
//!
//! [`TestApp`] runs the real server in the test process, on a free loopback port, with a new database and a
//! clock that only the test advances. Every response is checked against the OpenAPI document
//! ([`conformance`]) before the test receives it.

pub(crate) mod all_tables;
mod client;
pub(crate) mod conformance;
mod coverage;
mod database;
mod group;
mod mails;
pub(crate) mod passkeys;
pub(crate) mod process;
mod raw;
mod reply;
pub(crate) mod rows;
mod server_threads;
mod tests;
pub(crate) mod totp;

use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
pub(crate) use database::Database;
use group::{Group, replicas};
pub(crate) use mails::ReceivedMail;
pub(crate) use raw::RawReply;
pub(crate) use reply::Reply;
use server_threads::ServerThreads;

/// The password of every account that the harness creates.
pub(crate) const PASSWORD: &str = "a quiet harbour at dusk";
/// The public URL of all replicas, which is also the issuer of their tokens.
pub(crate) const PUBLIC_URL: &str = "https://tripgate.test";
/// The time at the start of every test.
const START: &str = "2026-03-02T08:30:00.000Z";
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The state that replicas share. The last replica deletes it.
#[derive(Debug)]
struct Environment {
    settings: Settings,
    /// The number of servers that were started.
    started: AtomicUsize,
    /// The number of servers that receive the requests of the test's clients.
    group: AtomicUsize,
    // The database must be dropped before the directory, which may contain it.
    database: Option<Database>,
    _dir: TempDir,
}

/// A running server and its environment.
#[derive(Debug)]
pub(crate) struct TestApp {
    /// The clock of the server and its replicas; `app.clock.advance(..)` advances it.
    pub(crate) clock: Clock,
    // This field is dropped before the database.
    running: ServerThreads,
    /// The other servers that receive requests of the test's clients.
    others: Vec<ServerThreads>,
    group: Arc<Group>,
    environment: Arc<Environment>,
    http: reqwest::Client,
}

impl TestApp {
    /// Starts a server with the default test settings.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a server with changed settings.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(START.parse().unwrap(), change).await
    }

    async fn start_at(start: DateTime<Utc>, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = TempDir::new().unwrap();
        let database = Database::create_for_server().await;
        let mut settings = Settings::for_tests(dir.path());
        settings.public_url = Some(PUBLIC_URL.to_owned());
        if let Some(database) = &database {
            settings.database_url = Secret::new(database.url());
        }
        change(&mut settings);
        let (started, group) = (AtomicUsize::new(0), AtomicUsize::new(replicas()));
        let environment = Environment { settings, started, group, database, _dir: dir };
        Self::start_group(Arc::new(environment), Clock::fixed(start)).await
    }

    /// Starts a server whose fixed clock has the current time, for tests that run the binary beside it.
    pub(crate) async fn start_now() -> Self {
        Self::start_now_with(|_| {}).await
    }

    /// Does what [`TestApp::start_now`] does, with changed settings.
    pub(crate) async fn start_now_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_at(Clock::system().now(), change).await
    }

    /// Starts another server with the same database, secret and clock, at another address.
    pub(crate) async fn replica(&self) -> Self {
        Self::start_in(Arc::clone(&self.environment), self.clock.clone()).await
    }

    /// Starts a replica with changed settings.
    pub(crate) async fn replica_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.environment.settings.clone();
        change(&mut settings);
        Self::start_with(&settings, Arc::clone(&self.environment), self.clock.clone()).await
    }

    /// Starts the servers that receive the requests of the test's clients.
    async fn start_group(environment: Arc<Environment>, clock: Clock) -> Self {
        let mut app = Self::start_in(environment, clock).await;
        let is_sqlite = app.settings().database_url.expose().starts_with("sqlite:");
        let servers = if is_sqlite { 1 } else { app.environment.group.load(Ordering::Relaxed) };
        for _ in 1..servers {
            app.others.push(app.replica().await.running);
        }
        app.group = Self::group(&app.running, &app.others);
        app
    }

    fn group(first: &ServerThreads, others: &[ServerThreads]) -> Arc<Group> {
        let servers = iter::once(first).chain(others);
        Arc::new(Group::new(servers.map(|server| (server.address, server.app.clone())).collect()))
    }

    /// Stops the other servers of the [group], for a test that depends on the state of one server, or that starts
    /// other servers itself.
    pub(crate) async fn single(mut self) -> Self {
        self.environment.group.store(1, Ordering::Relaxed);
        for server in self.others.drain(..) {
            server.stop().await;
        }
        self.group = Self::group(&self.running, &[]);
        self
    }

    /// Makes the server, and the other servers of the [group], read what other processes have revoked.
    pub(crate) async fn poll(&self) {
        for server in iter::once(&self.running).chain(&self.others) {
            assert!(server.app.tokens.poll().await);
        }
    }

    async fn start_in(environment: Arc<Environment>, clock: Clock) -> Self {
        let settings = environment.settings.clone();
        Self::start_with(&settings, environment, clock).await
    }

    async fn start_with(settings: &Settings, environment: Arc<Environment>, clock: Clock) -> Self {
        let number = environment.started.fetch_add(1, Ordering::Relaxed);
        let mut settings = settings.clone();
        if let Some(database) = &environment.database
            && settings.database_url.expose() == database.url()
        {
            settings.database_url = Secret::new(database.url_for(number));
        }
        let running = ServerThreads::start(settings, clock.clone()).await;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .unwrap();
        let group = Self::group(&running, &[]);
        Self { clock, running, others: Vec::new(), group, environment, http }
    }

    /// Stops the server gracefully. The database remains for the replicas of the server.
    pub(crate) async fn stop(self) {
        for server in self.others {
            server.stop().await;
        }
        self.running.stop().await;
    }

    /// Stops the server gracefully. The returned value keeps the database and the files until it is dropped.
    pub(crate) async fn stop_and_keep_database(self) -> impl Send + use<> {
        let environment = Arc::clone(&self.environment);
        self.stop().await;
        environment
    }

    /// Stops the server and starts it again with the same database, at another address.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Stops the server, changes its files, and starts it again.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Settings)) -> Self {
        let (environment, clock) = (Arc::clone(&self.environment), self.clock.clone());
        self.stop().await;
        change(&environment.settings);
        Self::start_group(environment, clock).await
    }

    /// Stops the server, changes its settings, and starts it again. The server must have no replicas.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let (mut environment, clock) = (Arc::clone(&self.environment), self.clock.clone());
        self.stop().await;
        change(&mut Arc::get_mut(&mut environment).unwrap().settings);
        Self::start_group(environment, clock).await
    }

    /// Returns the address that the server listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Returns the settings of the server.
    pub(crate) fn settings(&self) -> &Settings {
        &self.environment.settings
    }

    /// Returns the services, for operations that the API does not offer.
    pub(crate) fn services(&self) -> &App {
        &self.running.app
    }

    /// Returns a client without credentials.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.http, &self.group)
    }

    /// Creates an account with the username `name` and the address `<name>@example.org`, and returns a
    /// client with its token.
    pub(crate) async fn sign_up(&self, name: &str) -> Client {
        let body = json!({
            "username": name,
            "email": email(name),
            "password": PASSWORD,
        });
        let call = self.anonymous().post("/api/v1/auth/signup").json(&body);
        self.anonymous().with_grant(&call.await.expect(201).json())
    }

    /// Starts another session of an account that [`TestApp::sign_up`] created.
    pub(crate) async fn log_in(&self, name: &str) -> Client {
        self.log_in_with(&json!({ "identifier": name, "password": PASSWORD })).await
    }

    /// Starts another session of an account with this password.
    pub(crate) async fn log_in_with_password(&self, name: &str, password: &str) -> Client {
        self.log_in_with(&json!({ "identifier": name, "password": password })).await
    }

    /// Starts another session, limited to the scopes in `scope`.
    pub(crate) async fn log_in_for(&self, name: &str, scope: &str) -> Client {
        self.log_in_with(&json!({ "identifier": name, "password": PASSWORD, "scope": scope })).await
    }

    /// Returns whether a login with this password and without a second factor succeeds.
    pub(crate) async fn can_log_in(&self, identifier: &str, password: &str) -> bool {
        let body = json!({ "identifier": identifier, "password": password });
        self.anonymous().post("/api/v1/auth/login").json(&body).await.status == 200
    }

    async fn log_in_with(&self, body: &serde_json::Value) -> Client {
        let call = self.anonymous().post("/api/v1/auth/login").json(body);
        self.anonymous().with_grant(&call.await.expect(200).json())
    }

    /// Sends the bytes unchanged on a new connection and returns all received bytes.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> RawReply {
        raw::exchange(self.running.address, request.as_ref(), raw::SILENCE).await
    }

    /// Sends the bytes unchanged and checks the response against the document as a response to `method` and
    /// `path`.
    pub(crate) async fn raw_reply(&self, method: &Method, path: &str, request: &[u8]) -> Reply {
        let reply = raw::exchange(self.running.address, request, TIMEOUT).await.reply(method, path);
        let sent = coverage::SentRequest { path, headers: &HeaderMap::new(), body: &[] };
        if let Err(violation) = conformance::check_exchange(method, &sent, &reply) {
            panic!("{violation}");
        }
        reply
    }
}

/// Returns the email address of an account that the harness created.
pub(crate) fn email(name: &str) -> String {
    format!("{name}@example.org")
}

/// Returns the number of rounds of a randomized test: `TRIPGATE_TEST_ROUNDS`, or `default`.
pub(crate) fn rounds(default: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "the variable controls the tests; it is not a server setting"
    )]
    let rounds = std::env::var("TRIPGATE_TEST_ROUNDS");
    rounds.map_or(default, |count| count.parse().unwrap())
}
