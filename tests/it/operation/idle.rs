//! The load that a server without requests puts on its database.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use crate::harness::Database;
use crate::harness::process::Process;

/// Long enough for one heartbeat, and too short for the jobs that run once a minute.
const SECONDS: usize = 10;

/// Returns the statements in the log, including those that begin and end transactions.
fn statements(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("tripgate::sql")).collect()
}

#[tokio::test]
async fn an_idle_server_sends_at_most_five_statements_a_second_to_its_database() {
    let (dir, database) = (TempDir::new().unwrap(), Database::create().await);
    let url = database.as_ref().map(Database::url);
    let mut args = vec!["--log", "info,tripgate::sql=trace"];
    args.extend(url.iter().flat_map(|url| ["--database-url", url]));
    let server = Process::serve(dir.path(), &args);
    sleep(Duration::from_secs(1)).await;
    let start = server.log().len();
    sleep(Duration::from_secs(SECONDS as u64)).await;
    let log = server.log();
    let sent = statements(&log[start..]);
    assert!(sent.len() <= 5 * SECONDS, "{} statements: {sent:#?}", sent.len());
    let polls = sent.iter().filter(|statement| statement.contains("revocations")).count();
    assert!(polls > SECONDS, "{polls} polls: {sent:#?}");
}
