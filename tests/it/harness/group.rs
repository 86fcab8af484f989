//! Several servers with one database that a test uses as if they were one server.
//!
//! If `TRIPGATE_TEST_REPLICAS` is a number above 1, each test on a database server starts this number of servers, and
//! its clients send each request to the next one. The servers exchange what they have in memory after each
//! request, because a test must not depend on how long this takes. `tests/it/authentication/sessions` and
//! `tests/cluster` check how long it takes. Raw requests, and servers that a test starts itself, are not part of
//! the group.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tripgate::app::App;

/// The servers that receive the requests of a client.
#[derive(Debug)]
pub(super) struct Group {
    addresses: Vec<SocketAddr>,
    /// The servers, if there are several. A client must not keep the only server alive.
    apps: Vec<App>,
    requests: AtomicUsize,
}

impl Group {
    pub(super) fn new(servers: Vec<(SocketAddr, App)>) -> Self {
        let (addresses, mut apps): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
        if apps.len() == 1 {
            apps.clear();
        }
        Self { addresses, apps, requests: AtomicUsize::new(0) }
    }

    /// Returns the address of the server that receives the next request.
    pub(super) fn next_address(&self) -> SocketAddr {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.addresses[request % self.addresses.len()]
    }

    /// Stores the events and the token usage that several servers have in memory, and loads what the other servers
    /// have stored, as the background jobs do.
    pub(super) async fn synchronize(&self) {
        for app in &self.apps {
            // These calls fail while a test makes the database unavailable.
            drop(app.events.flush().await);
            drop(app.sessions.flush_token_usage().await);
            drop(app.personal_tokens.flush_uses().await);
        }
        for app in &self.apps {
            app.tokens.poll().await;
        }
    }
}

/// Returns the number of servers of a test: `TRIPGATE_TEST_REPLICAS`, or 1.
pub(super) fn replicas() -> usize {
    #[expect(clippy::disallowed_methods, reason = "the variable is not a setting of the server")]
    let replicas = std::env::var("TRIPGATE_TEST_REPLICAS");
    replicas.map_or(1, |count| count.parse().unwrap())
}
