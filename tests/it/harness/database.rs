//! A database of one's own on the server that `TRIPGATE_TEST_DATABASE_URL` names.
//!
//! Without that variable each test uses SQLite in its own directory. The database is dropped with the
//! test, also with one that fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sea_orm::{ConnectOptions, ConnectionTrait};
use url::Url;

/// Names a maintenance database, of which the user may create others.
const VARIABLE: &str = "TRIPGATE_TEST_DATABASE_URL";

/// Dropped with this value.
#[derive(Debug)]
pub(super) struct Database {
    server: Url,
    name: String,
}

impl Database {
    /// `None` where tests run on SQLite.
    pub(super) async fn create() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "it says where the tests run, and is no setting of the server"
        )]
        let server = std::env::var(VARIABLE).ok()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = Self {
            server: server.parse().unwrap(),
            name: format!("tripgate_test_{}_{number}", std::process::id()),
        };
        database.run(&format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    /// With which the server under test reaches it.
    pub(super) fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    async fn run(&self, statement: &str) {
        let mut options = ConnectOptions::new(self.server.as_str());
        options.max_connections(1).sqlx_logging(false);
        let connection = sea_orm::Database::connect(options).await.unwrap();
        connection.execute_unprepared(statement).await.unwrap();
        connection.close().await.unwrap();
    }

    fn drop_statement(&self) -> String {
        // The server under test may still hold connections: PostgreSQL has to be told to end them.
        let force = match self.server.scheme() {
            "mysql" => "",
            _ => " WITH (FORCE)",
        };
        format!("DROP DATABASE {}{force}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        thread::scope(|scope| {
            let ended = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(self.run(&self.drop_statement()));
            });
            // A test that fails already must not be torn down by a second panic.
            assert!(
                ended.join().is_ok() || thread::panicking(),
                "the database {} could not be dropped",
                self.name
            );
        });
    }
}
