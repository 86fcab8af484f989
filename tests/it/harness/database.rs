//! A database for each test on the server in `TRIPGATE_TEST_DATABASE_URL`.
//!
//! Without that variable, each test uses SQLite in its own directory. The database is dropped at the end of
//! the test, also after a failure.
//!
//! If `TRIPGATE_TEST_DATABASE_NODES` has the URLs of the nodes of a cluster, separated by spaces, the servers of a
//! test use these nodes in turn.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use sea_orm::{ConnectOptions, ConnectionTrait};
use tokio::sync::OnceCell;
use tripgate::db::migrate_up;
use url::Url;

/// The variable with the URL of a maintenance database. The user in the URL is allowed to create databases.
const SERVER: &str = "TRIPGATE_TEST_DATABASE_URL";
/// The variable with the URLs of all nodes of a cluster, the first of which is [`SERVER`].
const NODES: &str = "TRIPGATE_TEST_DATABASE_NODES";
/// The variable that is set if the database server exists only for the tests. The tests may then leave
/// databases on this server.
const IS_TEMPORARY: &str = "TRIPGATE_TEST_DATABASE_IS_TEMPORARY";

/// A database that exists as long as this value.
#[derive(Debug)]
pub(crate) struct Database {
    /// The nodes of the cluster, or the only server.
    nodes: Vec<Url>,
    name: String,
}

/// Returns whether the servers of a test use several nodes of a cluster. Simultaneous changes of one user on
/// several nodes can get 503 `busy`, and the test client then repeats the request, as an app does.
pub(super) fn has_several_nodes() -> bool {
    variable(NODES).is_some()
}

impl Database {
    /// Creates an empty database; returns `None` if the tests run on SQLite.
    pub(crate) async fn create() -> Option<Self> {
        Self::create_with("").await
    }

    /// Creates the database of a Tripgate server. On a temporary PostgreSQL server, the new database is a
    /// copy of a migrated database, because a copy takes less time than the migrations. Copies are valid,
    /// because the migrations write nothing that identifies a database.
    pub(super) async fn create_for_server() -> Option<Self> {
        // Static values are not dropped, so the template remains on the server.
        static TEMPLATE: OnceCell<Database> = OnceCell::const_new();
        if variable(IS_TEMPORARY).is_none() || !variable(SERVER)?.starts_with("postgres") {
            return Self::create().await;
        }
        let migrated = async || {
            let template = Self::create().await.unwrap();
            migrate_up(&template.url()).await.unwrap();
            template
        };
        let template = TEMPLATE.get_or_init(migrated).await;
        Self::create_with(&format!(" TEMPLATE {}", template.name)).await
    }

    async fn create_with(options: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let servers = variable(NODES).or_else(|| variable(SERVER))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let database = Self {
            nodes: servers.split_whitespace().map(|node| node.parse().unwrap()).collect(),
            name: format!("tripgate_test_{}_{number}", std::process::id()),
        };
        let create = format!("CREATE DATABASE {}{options}", database.name);
        run(&database.nodes[0], &[&create]).await;
        for node in &database.nodes[1..] {
            // Wait until the node has the new database. Before that, connections to this database fail.
            run(node, &["SET SESSION wsrep_sync_wait = 1", "SELECT 1"]).await;
        }
        Some(database)
    }

    /// Returns the database URL for the server under test.
    pub(crate) fn url(&self) -> String {
        self.url_for(0)
    }

    /// Returns the database URL for a server of the test. Servers with successive numbers use successive nodes.
    pub(super) fn url_for(&self, number: usize) -> String {
        let mut url = self.nodes[number % self.nodes.len()].clone();
        url.set_path(&self.name);
        url.into()
    }

    fn drop_statement(&self) -> String {
        // The server under test may have open connections, which prevent a plain DROP on PostgreSQL.
        let force = match self.nodes[0].scheme() {
            "mysql" => "",
            _ => " WITH (FORCE)",
        };
        format!("DROP DATABASE {}{force}", self.name)
    }
}

/// Executes statements on one connection to a server.
async fn run(server: &Url, statements: &[&str]) {
    let mut options = ConnectOptions::new(server.as_str());
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await.unwrap();
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "these variables are not settings of the server")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Drop for Database {
    fn drop(&mut self) {
        thread::scope(|scope| {
            let dropped = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(run(&self.nodes[0], &[&self.drop_statement()]));
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
