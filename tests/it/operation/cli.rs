//! The binary as the operator uses it: files, messages and exit codes.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reqwest::Method;
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::process::{Process, command, finish, run, stderr, stdout};

const CANARY: &str = "cAnAry-7x7-that-is-long-enough-for-a-secret";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Runs a command that must fail with one line on standard error, and returns the line.
#[track_caller]
fn failure(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(output.stdout.is_empty() && text.starts_with("tripgate: "), "{text}");
    text
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test]
async fn the_first_start_creates_its_files_and_prints_their_location() {
    // S-36
    let dir = TempDir::new().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let data = dir.path().join("data");
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("secret")), 0o600);
    assert_eq!(mode(&data.join("tripgate.db")), 0o600);
    let address = server.address;
    let lines: Vec<&str> = server.banner.lines().collect();
    let data = data.canonicalize().unwrap();
    assert_eq!(
        lines,
        [
            format!("Tripgate {}", env!("CARGO_PKG_VERSION")),
            format!("  API   http://{address}/api/v1"),
            format!("  Docs  http://{address}/docs"),
            "  Database  sqlite://data/tripgate.db".to_owned(),
            format!("  Data  {}", data.display()),
        ]
    );
    let secret = fs::read_to_string(data.join("secret")).unwrap();
    let grant = server.sign_up("ada").await;
    server.terminate();
    assert_eq!(server.wait_for_exit().0, Some(0));
    // A second start uses the same files, so the token from the first start remains valid.
    let again = Process::serve(dir.path(), &["--public-url", &format!("http://{address}"), "--docs", "off"]);
    assert!(!again.banner.contains("Docs"));
    assert_eq!(fs::read_to_string(data.join("secret")).unwrap(), secret);
    let token = grant["access_token"].as_str().unwrap();
    let me = again.call(Method::GET, "/api/v1/me").bearer_auth(token).send().await.unwrap();
    assert_eq!(me.status(), 200);
}

#[test]
fn a_start_on_a_used_port_fails_without_side_effects() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let line = failure(dir.path(), &["--listen", &address]);
    assert!(line.contains("already in use") && line.contains(&address), "{line}");
    assert!(is_empty(dir.path()));
}

#[test]
fn all_invalid_settings_are_reported_together_without_secrets() {
    let dir = TempDir::new().unwrap();
    fs::write(
        dir.path().join(".env"),
        format!("TRIPGATE_SMTP_SERVER=smtp://u:{CANARY}@h\nTRIPGATE_LISEN=x\n"),
    )
    .unwrap();
    fs::write(dir.path().join("tripgate.toml"), "password_min = \"two\"\nelephant = 1\n").unwrap();
    let mut serve = command(dir.path(), &["--bcrypt-cost", "99", "--tls-cert", "absent.pem"]);
    serve.env("TRIPGATE_DATABASE_URL", format!("oracle://u:{CANARY}@h/d"));
    serve.env("TRIPGATE_SECRET", "cAnAry-7x7-short").env("TRIPGATE_REQUIRE_MFA", "on");
    let output = finish(&mut serve);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for name in [
        "TRIPGATE_SMTP_SERVER (.env)",
        "TRIPGATE_LISEN (.env)",
        "TRIPGATE_LISTEN?",
        "password_min (tripgate.toml)",
        "elephant (tripgate.toml)",
        "--bcrypt-cost",
        "--tls-cert",
        "TRIPGATE_DATABASE_URL (environment)",
        "TRIPGATE_SECRET (environment)",
        "TRIPGATE_REQUIRE_MFA (environment)",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    assert!(!text.contains("cAnAry"), "{text}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn settings_have_the_precedence_flags_then_environment_then_dot_env_then_configuration_file() {
    let dir = TempDir::new().unwrap();
    let file = "audience = \"toml\"\npassword_min = 9\nbcrypt_cost = 5\naccess_ttl_secs = 61\n";
    fs::write(dir.path().join("tripgate.toml"), file).unwrap();
    let dot_env = "TRIPGATE_PASSWORD_MIN=10\nTRIPGATE_BCRYPT_COST=6\nTRIPGATE_ACCESS_TTL_SECS=62\n";
    fs::write(dir.path().join(".env"), dot_env).unwrap();
    let mut config = command(dir.path(), &["config", "--access-ttl-secs", "64"]);
    config.env("TRIPGATE_BCRYPT_COST", "7").env("TRIPGATE_ACCESS_TTL_SECS", "63");
    let output = finish(&mut config);
    let text = stdout(&output);
    for (name, value, from) in [
        ("audience", "toml", "tripgate.toml"),
        ("password_min", "10", ".env"),
        ("bcrypt_cost", "7", "environment"),
        ("access_ttl_secs", "64", "--access-ttl-secs"),
        ("signup", "open", "default"),
    ] {
        let row = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), [name, value, from]);
    }
}

#[test]
fn the_table_of_settings_hides_every_secret() {
    let dir = TempDir::new().unwrap();
    let mut config = command(dir.path(), &["config"]);
    config.env("TRIPGATE_SECRET", CANARY);
    config.env("TRIPGATE_DATABASE_URL", format!("postgres://u:{CANARY}@h/d?sslpassword={CANARY}"));
    let output = finish(&mut config);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(!text.contains("cAnAry") && text.contains("postgres://u:********@h/d"), "{text}");
    assert!(is_empty(dir.path()));
}

#[test]
fn an_unreachable_database_is_reported_in_one_line_without_the_password() {
    let dir = TempDir::new().unwrap();
    // No test listens on this privileged port. Another test could begin to listen on any other free port.
    let closed = 1;
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://u:{CANARY}@127.0.0.1:{closed}/d");
        let line = failure(dir.path(), &["--listen", "127.0.0.1:0", "--database-url", &url]);
        assert!(line.contains(&format!("127.0.0.1:{closed}")) && !line.contains("cAnAry"), "{line}");
        assert!(line.contains("refused"), "{line}");
    }
}

#[test]
fn an_unusable_data_directory_is_reported_in_one_line() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("data"), "mine").unwrap();
    let line = failure(dir.path(), &["--listen", "127.0.0.1:0"]);
    assert!(line.contains("data directory"), "{line}");
    assert_eq!(fs::read_to_string(dir.path().join("data")).unwrap(), "mine");
}

#[test]
fn a_secret_that_is_too_short_prevents_the_start() {
    // S-36
    let dir = TempDir::new().unwrap();
    let short = CANARY.get(..31).unwrap();
    fs::write(dir.path().join("short"), short).unwrap();
    fs::set_permissions(dir.path().join("short"), Permissions::from_mode(0o600)).unwrap();
    let line = failure(dir.path(), &["--listen", "127.0.0.1:0", "--secret-file", "short"]);
    assert!(line.contains("31 bytes") && line.contains("32"), "{line}");
    let mut serve = command(dir.path(), &["--listen", "127.0.0.1:0"]);
    let output = finish(serve.env("TRIPGATE_SECRET", short));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("31 bytes") && !stderr(&output).contains("cAnAry"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn a_database_with_a_newer_schema_is_rejected_without_changes() {
    // S-77
    let dir = TempDir::new().unwrap();
    assert_eq!(run(dir.path(), &["migrate", "up"]).status.code(), Some(0));
    let url = format!("sqlite://{}", dir.path().join("data/tripgate.db").display());
    let database = Database::connect(url).await.unwrap();
    let newer =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m99990101_000001_from_later', 1)";
    database.execute_unprepared(newer).await.unwrap();
    database.close().await.unwrap();
    for args in [&["--listen", "127.0.0.1:0"][..], &["migrate"], &["migrate", "down"], &["migrate", "status"]]
    {
        let line = failure(dir.path(), args);
        assert!(line.contains("newer schema") && line.contains("m99990101_000001_from_later"), "{line}");
    }
}

#[test]
fn migrations_run_up_and_down_and_report_their_status() {
    let dir = TempDir::new().unwrap();
    let states = |args: &[&str]| {
        let output = run(dir.path(), &[&["migrate"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        text.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for absent in ["status", "down"] {
        let line = failure(dir.path(), &["migrate", absent]);
        assert!(line.contains("there is no database at data/tripgate.db"), "{line}");
        assert!(is_empty(dir.path()), "{absent} created a file");
    }
    let applied = states(&["up"]);
    let count = applied.len();
    assert!(count > 0);
    assert_eq!(applied, vec!["applied"; count]);
    assert_eq!(states(&[]), vec!["applied"; count]);
    let down = states(&["down"]);
    assert_eq!(down.iter().filter(|state| *state == "pending").count(), 1);
    assert_eq!(down.last().unwrap(), "pending");
    assert_eq!(states(&["down", "--steps", &count.to_string()]), vec!["pending"; count]);
    assert_eq!(states(&["up"]), vec!["applied"; count]);
    assert_eq!(states(&["status"]), vec!["applied"; count]);
}

#[test]
fn the_openapi_command_prints_and_checks_the_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for form in ["json", "yaml"] {
        let output = run(root, &["openapi", form]);
        let committed = fs::read_to_string(root.join(format!("openapi/openapi.{form}"))).unwrap();
        assert!(stdout(&output) == committed, "openapi/openapi.{form} is out of date");
    }
    assert_eq!(run(root, &["openapi", "--check"]).status.code(), Some(0));
    let elsewhere = TempDir::new().unwrap();
    let output = run(elsewhere.path(), &["openapi", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("openapi/openapi.json") && stderr(&output).lines().count() == 1);
    assert!(is_empty(elsewhere.path()));
}

#[test]
fn a_breaking_change_of_the_openapi_document_sets_the_exit_status() {
    let dir = TempDir::new().unwrap();
    let mut old = tripgate::http::openapi::document();
    let save = |name: &str, document: &Value| {
        fs::write(dir.path().join(name), document.to_string()).unwrap();
    };
    save("now.json", &old);
    old["paths"]["/api/v1/places"]["get"] = old["paths"]["/api/v1/trips"]["get"].clone();
    save("old.json", &old);
    let unchanged = run(dir.path(), &["openapi", "--diff", "now.json"]);
    assert_eq!((unchanged.status.code(), stdout(&unchanged).as_str()), (Some(0), "no breaking changes\n"));
    let added = run(dir.path(), &["openapi", "--diff", "now.json", "old.json"]);
    assert_eq!(added.status.code(), Some(0));
    let broken = run(dir.path(), &["openapi", "--diff", "old.json"]);
    assert_eq!(
        (broken.status.code(), stdout(&broken).as_str()),
        (Some(1), "GET /api/v1/places: was removed\n")
    );
    assert!(stderr(&broken).contains("1 change breaks"), "{}", stderr(&broken));
    let missing = run(dir.path(), &["openapi", "--diff", "none.json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("failed to read none.json"), "{}", stderr(&missing));
}

#[test]
fn unknown_commands_and_flags_are_rejected() {
    let dir = TempDir::new().unwrap();
    for args in [&["elephant"][..], &["--elephant"], &["serve", "x"], &["migrate", "down", "--steps", "0"]] {
        let output = run(dir.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && stderr(&output).contains("error"), "{args:?}");
    }
    for args in [&["--help"][..], &["-h"], &["--version"], &["help", "migrate"]] {
        assert_eq!(run(dir.path(), args).status.code(), Some(0), "{args:?}");
    }
    assert!(is_empty(dir.path()));
}
