//! Mistakes of an operator: each message names the cause and what to do.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::process::{Process, command, finish, run, stderr, stdout};

/// Runs a command that must not start, and returns its message.
#[track_caller]
fn failure(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_start_warns_about_variables_that_look_like_settings() {
    // N-16
    let dir = TempDir::new().unwrap();
    let mut serve = command(dir.path(), &["--listen", "127.0.0.1:0"]);
    serve.env("DATABASE_URL", "postgres://u:hunter2@h/d").env("PORT", "9");
    let server = Process::start(serve);
    let log = server.log();
    let line = "DATABASE_URL (environment) is set but not used; the setting is TRIPGATE_DATABASE_URL";
    assert!(log.contains(line), "{log}");
    assert!(
        !log.contains("PORT ") && !log.contains("hunter2"),
        "PORT must be ignored because listen is set, and no value may be shown: {log}"
    );
    assert!(server.banner.contains("  Database  sqlite://data/tripgate.db"), "{}", server.banner);
}

#[test]
fn a_password_that_is_not_percent_encoded_in_a_url_is_reported_as_the_cause() {
    // N-17
    let dir = TempDir::new().unwrap();
    for password in ["p/q", "p?q", "p#q"] {
        let url = format!("postgres://me:{password}@127.0.0.1:1/x");
        let line = failure(dir.path(), &["--database-url", &url]);
        assert!(line.contains("percent-encoded") && !line.contains(password), "{line}");
    }
    let line = failure(dir.path(), &["--database-url", "postgres://me:p%2Fq@127.0.0.1:1/x"]);
    assert!(!line.contains("percent-encoded"), "{line}");
}

#[test]
fn a_file_that_is_not_toml_is_reported_with_the_reason_and_without_values() {
    // N-18, S-65
    let dir = TempDir::new().unwrap();
    for (text, reason) in [
        ("listen = 127.0.0.1:8080\n", "line 1 is not valid TOML ("),
        ("audience = \"a\"\naudience = \"b\"\n", "line 2 is not valid TOML ("),
        ("secret = cAnAry-7x7-secret\n", "line 1 is not valid TOML"),
    ] {
        fs::write(dir.path().join("tripgate.toml"), text).unwrap();
        let line = failure(dir.path(), &["config"]);
        assert!(line.contains(reason) && !line.contains("cAnAry"), "{line}");
    }
}

#[test]
fn the_most_similar_setting_is_suggested_for_an_unknown_name() {
    // N-18
    let dir = TempDir::new().unwrap();
    let mut config = command(dir.path(), &["config"]);
    let text = stderr(&finish(config.env("TRIPGATE_LOG_FROMAT", "json")));
    assert!(text.contains("did you mean TRIPGATE_LOG_FORMAT?"), "{text}");
    let help = stdout(&run(dir.path(), &["start", "--help"]));
    assert!(help.contains("--create"), "`start` is another name of `serve`: {help}");
    assert!(failure(dir.path(), &["servve"]).contains("'serve'"));
}

#[test]
fn a_certificate_file_without_a_certificate_is_reported() {
    // N-18
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("cert.pem"), "not a certificate").unwrap();
    let line = failure(dir.path(), &["--tls-cert", "cert.pem", "--tls-key", "cert.pem"]);
    assert!(line.contains("cert.pem contains no certificate in PEM format"), "{line}");
}

#[test]
fn a_missing_database_directory_is_not_created() {
    // N-19
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("no/such/dir");
    let url = format!("sqlite://{}/x.db", missing.display());
    for args in [&["--listen", "127.0.0.1:0"][..], &["migrate", "up"]] {
        let line = failure(dir.path(), &[args, &["--database-url", &url]].concat());
        assert!(line.contains("does not exist") && line.contains("no/such/dir"), "{line}");
    }
    assert!(!missing.exists());
}

#[test]
fn git_ignores_database_files_and_the_backups_of_the_documented_commands() {
    // N-22
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipes = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let copies = recipes.lines().filter(|line| line.contains("sqlite3") && line.contains(".backup"));
    for line in copies {
        assert!(line.contains(".backup $HOME/"), "the copy must be outside of the working directory: {line}");
    }
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    for pattern in ["/data", "*.db", "*.backup"] {
        assert!(ignored.lines().any(|line| line == pattern), "{pattern}");
    }
}
