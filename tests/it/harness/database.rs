//! A database for each test on the server in `TRIPGATE_TEST_DATABASE_URL`.
//!
//! Without that variable, each test uses SQLite in its own directory. The database is dropped at the end of
//! the test, also after a failure.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sea_orm::{ConnectOptions, ConnectionTrait};
use url::Url;

/// The URL of a maintenance database whose user may create databases.
const VARIABLE: &str = "TRIPGATE_TEST_DATABASE_URL";

/// A database that exists as long as this value.
#[derive(Debug)]
pub(crate) struct Database {
    server: Url,
    name: String,
}

impl Database {
    /// Creates a database; returns `None` if the tests run on SQLite.
    pub(crate) async fn create() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "the variable controls the tests; it is not a server setting"
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

    /// Returns the URL for the server under test.
    pub(crate) fn url(&self) -> String {
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
        // The server under test may have open connections, which prevent a plain DROP on PostgreSQL.
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
            let dropped = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(self.run(&self.drop_statement()));
            });
            // A second panic in a failing test would abort the process.
            assert!(
                dropped.join().is_ok() || thread::panicking(),
                "failed to drop the database {}",
                self.name
            );
        });
    }
}
