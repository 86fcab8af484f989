//! Checks what a server needs: settings, database, secret, clock, mail, proxy and file modes. Compares the
//! server with the other servers that use the same database. Changes nothing.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Settings;
use crate::data_dir::DatabaseRecord;
use crate::db::{self, Db, Integrity, MigrationState, OpenError};
use crate::error_chain::error_chain;
use crate::leases::Leases;
use crate::replicas::{self, Replica, ReplicaMismatch};
use crate::secrets::{MasterSecret, SecretError, mask_url};
use crate::tokens;

/// How long the check of a SQLite database may take.
const INTEGRITY_LIMIT: Duration = Duration::from_secs(10);
/// How long the mail server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The difference between two clocks above which the check warns.
const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(2);
/// The difference between two clocks above which the check fails, because valid tokens are then rejected.
const CLOCK_FAILURE: TimeDelta = TimeDelta::seconds(30);

/// How serious the result of a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// The server runs, but probably not as intended.
    Warning,
    /// The server does not start or does not work.
    Failed,
}

impl Status {
    /// Returns the name in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// How serious the finding is.
    pub status: Status,
    /// What was found, and what to do.
    pub detail: String,
}

fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, status: Status::Ok, detail: detail.into() }
}

fn warning(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, status: Status::Warning, detail: detail.into() }
}

fn failed(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, status: Status::Failed, detail: detail.into() }
}

/// The database, or the reason why the other checks can't use it.
enum Database {
    /// The schema is current.
    Open(Db),
    /// The first start creates the database or its schema.
    New,
    /// The database can't be used, for this reason.
    Unusable(&'static str),
}

impl Database {
    fn opened(&self) -> Result<&Db, &'static str> {
        match self {
            Self::Open(db) => Ok(db),
            Self::New => Err("there is no database yet"),
            Self::Unusable(reason) => Err(reason),
        }
    }
}

const UNREADABLE: Database = Database::Unusable("the database cannot be read");

/// Runs all checks. The settings must be valid.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let clock = Clock::system();
    let (finding, database) = check_database(settings).await;
    let db = database.opened();
    let secret = read_secret(settings);
    let mut findings = vec![check_settings(settings), finding];
    findings.push(check_secret(&secret, &database, &clock).await);
    findings.push(check_clock(db, &clock).await);
    let secret = secret.ok().flatten();
    findings.extend(check_replicas(settings, secret.as_ref(), db.ok(), &clock).await);
    findings.push(check_mail(settings).await);
    findings.push(check_proxy(settings));
    findings.push(check_files(settings));
    if let Database::Open(db) = database {
        db.close().await;
    }
    findings
}

fn check_settings(settings: &Settings) -> Finding {
    match settings.ignored_variables.as_slice() {
        [] => ok("settings", "all settings are valid"),
        ignored => warning("settings", ignored.join("; ")),
    }
}

/// Checks the database. Opens the database only if its schema is current, because opening a database with
/// an older schema migrates the schema.
async fn check_database(settings: &Settings) -> (Finding, Database) {
    const CHECK: &str = "database";
    let url = settings.database_url.expose();
    let shown = mask_url(url);
    let steps = match db::migration_status(url).await {
        Ok(steps) => steps,
        Err(OpenError::NotFound { path }) => return missing_database(settings, &path),
        Err(error) => return (failed(CHECK, error_chain(&error)), UNREADABLE),
    };
    let pending = steps.iter().filter(|step| step.state == MigrationState::Pending).count();
    if pending > 0 {
        let detail = format!("{shown}: {pending} migration steps are pending; the next start applies them");
        let is_new = pending == steps.len();
        let database =
            if is_new { Database::New } else { Database::Unusable("the schema is not current yet") };
        return (warning(CHECK, detail), database);
    }
    let opened = match db::open_existing(url).await {
        Ok(opened) => opened,
        Err(error) => return (failed(CHECK, error_chain(&error)), UNREADABLE),
    };
    let finding = match opened.check_integrity(url, INTEGRITY_LIMIT).await {
        Ok(Integrity::Damaged(fault)) => {
            failed(CHECK, format!("{shown} is damaged ({fault}): restore a backup"))
        }
        Ok(Integrity::Sound) => ok(CHECK, format!("{shown} is reachable, and its schema is current")),
        Ok(Integrity::Unfinished) => ok(
            CHECK,
            format!("{shown} is reachable, and its schema is current; it is too large for a complete check"),
        ),
        Err(error) => failed(CHECK, error_chain(&error)),
    };
    (finding, Database::Open(opened))
}

fn missing_database(settings: &Settings, path: &str) -> (Finding, Database) {
    const CHECK: &str = "database";
    let record = DatabaseRecord::in_dir(&settings.data_dir);
    match record.read() {
        Ok(None) => {
            let detail = format!("there is no database at {path}; the first start creates it");
            (warning(CHECK, detail), Database::New)
        }
        Ok(Some(_)) => {
            let record = record.path().display().to_string();
            let detail =
                format!("{path} is missing, but {record} is from an earlier start: put the database back");
            (failed(CHECK, detail), UNREADABLE)
        }
        Err(error) => (failed(CHECK, error_chain(&error)), UNREADABLE),
    }
}

/// Reads the master secret; `None` if there is none yet.
fn read_secret(settings: &Settings) -> Result<Option<MasterSecret>, SecretError> {
    match &settings.secret {
        Some(secret) => MasterSecret::parse(secret.expose(), "in TRIPGATE_SECRET").map(Some),
        None if settings.secret_file.exists() => MasterSecret::read(&settings.secret_file).map(Some),
        None => Ok(None),
    }
}

async fn check_secret(
    secret: &Result<Option<MasterSecret>, SecretError>,
    database: &Database,
    clock: &Clock,
) -> Finding {
    const CHECK: &str = "secret";
    let secret = match secret {
        Ok(secret) => secret.as_ref(),
        Err(error) => return failed(CHECK, error_chain(error)),
    };
    let db = match (database, secret) {
        (Database::Open(db), _) => db,
        (Database::New, None) => return ok(CHECK, "there is no secret yet; the first start creates it"),
        (Database::New, Some(_)) => return ok(CHECK, "the secret is valid; there are no signing keys yet"),
        (Database::Unusable(reason), None) => {
            let detail = "there is no secret, and it is unknown whether the database has keys that are encrypted \
                          under one";
            return warning(CHECK, format!("{detail}: {reason}"));
        }
        (Database::Unusable(reason), Some(_)) => {
            return ok(CHECK, format!("the secret is valid; not compared with the signing keys: {reason}"));
        }
    };
    let has_keys = match tokens::list_keys(db).await {
        Ok(keys) => !keys.is_empty(),
        Err(error) => return failed(CHECK, error_chain(&error)),
    };
    match secret {
        None if has_keys => failed(
            CHECK,
            "the secret is missing, but the database has keys that are encrypted under it: restore the secret",
        ),
        None => ok(CHECK, "there is no secret yet; the first start creates it"),
        Some(secret) if has_keys => match tokens::can_sign(db, clock.clone(), secret).await {
            Ok(true) => ok(CHECK, "the secret decrypts the signing key"),
            Ok(false) => failed(
                CHECK,
                "the secret does not decrypt the signing key: restore the secret that belongs to this database",
            ),
            Err(error) => failed(CHECK, error_chain(&error)),
        },
        Some(_) => ok(CHECK, "the secret is valid; there are no signing keys yet"),
    }
}

async fn check_clock(db: Result<&Db, &'static str>, clock: &Clock) -> Finding {
    const CHECK: &str = "clock";
    let db = match db {
        Ok(db) => db,
        Err(reason) => return ok(CHECK, format!("not compared: {reason}")),
    };
    let server = match db.now().await {
        Ok(Some(server)) => server,
        Ok(None) => return check_last_work(db, clock).await,
        Err(error) => return failed(CHECK, error_chain(&error)),
    };
    let difference = clock.now() - server;
    let seconds = difference.as_seconds_f64();
    if difference.abs() > CLOCK_FAILURE {
        return failed(
            CHECK,
            format!(
                "the clocks of this machine and of the database differ by {seconds:.1} s: run NTP on both"
            ),
        );
    }
    if difference.abs() > CLOCK_WARNING {
        return warning(
            CHECK,
            format!(
                "the clocks of this machine and of the database differ by {seconds:.1} s: run NTP on both"
            ),
        );
    }
    check_last_work(db, clock).await
}

/// Compares the clock with the time of the last background job of any server.
async fn check_last_work(db: &Db, clock: &Clock) -> Finding {
    const CHECK: &str = "clock";
    match Leases::new(db.clone(), clock.clone()).latest_expiry().await {
        Ok(Some(last)) if last - clock.now() > TimeDelta::minutes(10) => warning(
            CHECK,
            format!("a lease of a server expires at {last}, too far in the future: check the clock"),
        ),
        Ok(_) => ok(CHECK, "the clock agrees with the database"),
        Err(error) => failed(CHECK, error_chain(&error)),
    }
}

/// Lists the servers that use the database, and compares each with a server that has these settings. Returns nothing
/// for SQLite, because only one server uses a SQLite file.
async fn check_replicas(
    settings: &Settings,
    secret: Option<&MasterSecret>,
    db: Option<&Db>,
    clock: &Clock,
) -> Vec<Finding> {
    const CHECK: &str = "replicas";
    let Some(db) = db else { return Vec::new() };
    // With port 0 and without the setting `public_url`, each server has a different public URL.
    let is_fixed = settings.public_url.is_some() || settings.listen.port() != 0;
    let public_url = is_fixed.then(|| settings.public_url(settings.listen));
    let examined = match replicas::examine(db, clock, secret, public_url).await {
        Ok(Some(examined)) => examined,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![failed(CHECK, error_chain(&error))],
    };
    let servers: Vec<String> = examined.servers.iter().map(|server| describe(server, clock)).collect();
    let list = if servers.is_empty() { "no server runs".to_owned() } else { servers.join("; ") };
    let mismatches = examined.mismatches.into_iter().map(|mismatch| match mismatch.kind {
        ReplicaMismatch::Version | ReplicaMismatch::Clock => warning(CHECK, mismatch.detail),
        _ => failed(CHECK, mismatch.detail),
    });
    std::iter::once(ok(CHECK, list)).chain(mismatches).collect()
}

fn describe(server: &Replica, clock: &Clock) -> String {
    let age = clock.shared_now() - server.seen_at;
    format!(
        "{}, version {}, started {}, seen {} s ago, clock {:+.3} s",
        server.name(),
        server.version,
        server.started_at.format("%Y-%m-%dT%H:%M:%SZ"),
        age.num_seconds().max(0),
        server.clock_offset.as_seconds_f64(),
    )
}

/// Checks that the mail server accepts connections. `tripgate mail test` also checks encryption and credentials.
async fn check_mail(settings: &Settings) -> Finding {
    const CHECK: &str = "mail";
    let Some(server) = &settings.mail.smtp else {
        let outbox = settings.data_dir.join("outbox");
        return ok(CHECK, format!("smtp_url is not set: mails are written to {}", outbox.display()));
    };
    let (host, port) = (server.host.as_str(), server.port);
    match timeout(CONNECT_LIMIT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => ok(CHECK, format!("{host}:{port} accepts connections")),
        Ok(Err(error)) => failed(CHECK, format!("cannot reach {host}:{port} ({error}): check smtp_url")),
        Err(_) => failed(CHECK, format!("{host}:{port} does not respond: check smtp_url and the firewall")),
    }
}

fn check_proxy(settings: &Settings) -> Finding {
    const CHECK: &str = "proxy";
    let Some(url) = &settings.public_url else {
        let is_local = settings.listen.ip().is_loopback();
        let detail = "public_url is not set: tokens and links contain the address of the listener";
        return if is_local { ok(CHECK, detail) } else { warning(CHECK, detail) };
    };
    if url.starts_with("http://") && !is_local_url(url) {
        return warning(CHECK, format!("{url} is not encrypted: passwords are readable on the network"));
    }
    let is_behind_proxy = url.starts_with("https://") && settings.tls.is_none();
    if is_behind_proxy && settings.trusted_proxies.is_empty() {
        let detail = "the proxy that terminates TLS is not in trusted_proxies: all clients count as one";
        return warning(CHECK, detail);
    }
    let protocol = if settings.proxy_protocol { "; trusted proxies must use the PROXY protocol" } else { "" };
    ok(CHECK, format!("clients use {url}{protocol}"))
}

fn is_local_url(url: &str) -> bool {
    let host = url.trim_start_matches("http://");
    host.starts_with("localhost")
        || host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

/// Checks that only the owner can read the files.
fn check_files(settings: &Settings) -> Finding {
    const CHECK: &str = "files";
    let mut open = Vec::new();
    let mut check = |path: &Path| {
        // Other checks report a missing file.
        if let Ok(file) = fs::metadata(path) {
            let mode = file.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let wanted = if file.is_dir() { "700" } else { "600" };
                open.push(format!("{} has the mode {mode:o}: set it to {wanted}", path.display()));
            }
        }
    };
    check(&settings.data_dir);
    if settings.secret.is_none() {
        check(&settings.secret_file);
    }
    if let Ok(Some(database)) = db::sqlite_file(settings.database_url.expose()) {
        check(&database);
    }
    if let Some(tls) = &settings.tls {
        check(&tls.key);
    }
    if open.is_empty() {
        ok(CHECK, "only the owner can read the files")
    } else {
        warning(CHECK, open.join("; "))
    }
}
