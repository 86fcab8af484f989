//! Several servers that start at the same time on one empty database.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use reqwest::Method;
use tempfile::TempDir;
use tripgate::config::Settings;

use crate::harness::process::Process;
use crate::harness::{PUBLIC_URL, TestApp};

/// Starts three servers at the same time. Returns each server, or the reason why it did not start.
fn start_three(
    start: impl Fn(&Path) -> Process + Send + Clone + 'static,
    dirs: [&TempDir; 3],
) -> Vec<Result<Process, String>> {
    let starts = dirs.map(|dir| {
        let (start, dir) = (start.clone(), dir.path().to_owned());
        thread::spawn(move || start(&dir))
    });
    let join = |start: thread::JoinHandle<Process>| {
        start.join().map_err(|panic| match panic.downcast::<String>() {
            Ok(reason) => *reason,
            Err(other) => resume_unwind(other),
        })
    };
    starts.into_iter().map(join).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_servers_that_start_at_once_on_one_sqlite_file_only_one_runs() {
    // N-24
    let dir = TempDir::new().unwrap();
    let serve = |dir: &Path| Process::serve(dir, &["--public-url", PUBLIC_URL]);
    let started = tokio::task::spawn_blocking(move || (start_three(serve, [&dir; 3]), dir));
    let (started, _dir) = started.await.unwrap();
    let (serving, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    let [Ok(server)] = serving.as_slice() else { panic!("{serving:?} {refused:?}") };
    server.sign_up("ada").await;
    for reason in refused.into_iter().filter_map(Result::err) {
        let expected = format!("another server (process {}) uses the database", server.id());
        assert!(reason.contains(&expected), "{reason}");
    }
}

/// Starts three servers at the same time on the database of these settings. The database is empty and on a
/// database server.
fn start_on(settings: &Settings) -> Vec<Process> {
    let settings = settings.clone();
    let dirs = [(); 3].map(|()| TempDir::new().unwrap());
    let serve = move |dir: &Path| Process::serve_over(dir, &settings, &["--public-url", PUBLIC_URL]);
    start_three(serve, dirs.each_ref()).into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_can_start_at_once_on_an_empty_postgresql_mysql_or_mariadb_database() {
    // F-4
    let mut servers = Vec::new();
    let _app = TestApp::with(|settings| {
        if !settings.database_url.expose().starts_with("sqlite:") {
            servers = start_on(settings);
        }
    })
    .await;
    let mut tokens = Vec::new();
    for (number, server) in servers.iter().enumerate() {
        let grant = server.sign_up(&format!("brian{number}")).await;
        tokens.push(grant["access_token"].as_str().unwrap().to_owned());
    }
    // Every server accepts the tokens of the others.
    for (server, token) in servers.iter().flat_map(|server| tokens.iter().map(move |token| (server, token))) {
        let session = server.call(Method::GET, "/api/v1/auth/session").bearer_auth(token);
        assert_eq!(session.send().await.unwrap().status(), 200);
    }
}
