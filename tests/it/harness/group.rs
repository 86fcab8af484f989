//! A group of servers on one database, which a test uses like one server.
//!
//! If `TRIPGATE_TEST_REPLICAS` is a number above 1, each test on a database server starts this number of
//! servers, and the clients of the test send each request to the next server. After each request, the servers
//! exchange what they have in memory, so that no test depends on the delay of the background jobs.
//! `tests/it/authentication/sessions` and `tests/cluster` check this delay. Raw requests do not use the
//! group, and servers that a test starts itself do not belong to the group.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tripgate::app::App;

/// The servers that receive the requests of a client.
#[derive(Debug)]
pub(super) struct Group {
    addresses: Vec<SocketAddr>,
    /// The servers. Empty if there is only one, because a client must not keep the only server alive.
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
