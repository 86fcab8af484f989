//! Typed settings. They come, each layer stronger than the one before, from defaults,
//! `tripgate.toml`, `.env`, the environment and the command line; this is the only place that reads
//! the environment.
//!
//! What always holds: a [`Settings`] that [`Settings::load`] returned is valid as a whole. What is
//! refused: unknown names, bad values and contradictions, all of them reported at once, under the
//! names the operator wrote. No message, table or `Debug` output shows a secret.

mod error;
mod parse;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub use error::ConfigError;
use parse::Parsed;
use settings::SETTINGS;
use sources::{RawSettings, RawValue, Sources};

use crate::secrets::MASK;

/// The id of the global argument that names another settings file.
pub const FILE_ARG: &str = "config";

/// A text that no `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; for its one use, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Who may make an account over the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signup {
    /// Anybody.
    Open,
    /// Nobody.
    Closed,
}

/// The signature algorithm of access tokens (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlg {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with 2048 bits.
    Rs256,
    /// HMAC: no other service can verify.
    Hs256,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The files that make the server speak HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// What is taken as a credential besides `Authorization: Bearer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMethods {
    /// Basic credentials on every call: a password, or a token as the user name.
    pub basic: bool,
    /// An access token as `?token=`.
    pub query_token: bool,
}

/// All settings of this version, valid as a whole. The help of each stands in [`settings::SETTINGS`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// As configured, without a trailing slash; [`Settings::public_url`] fills in the default.
    pub public_url: Option<String>,
    /// Directory of the database, the secret and the secret.
    pub data_dir: PathBuf,
    /// Scheme `sqlite`, `postgres`, `postgresql` or `mysql`; may hold a password.
    pub database_url: Secret,
    /// The master secret, if it was given itself: at least 32 bytes.
    pub secret: Option<Secret>,
    /// Where the master secret is read from, and made, when `secret` is none.
    pub secret_file: PathBuf,
    /// Audience of access tokens.
    pub audience: String,
    /// Signature algorithm of access tokens.
    pub signing_alg: SigningAlg,
    /// Life of an access token in seconds.
    pub access_ttl_secs: u32,
    /// Longest pause between two refreshes in seconds; at most `refresh_absolute_secs`.
    pub refresh_idle_secs: u32,
    /// Life of a session in seconds.
    pub refresh_absolute_secs: u32,
    /// Work factor of password hashes, 4 to 15.
    pub bcrypt_cost: u32,
    /// Least number of characters of a new password.
    pub password_min: usize,
    /// Who may make an account.
    pub signup: Signup,
    /// What is taken as a credential besides `Authorization: Bearer`.
    pub ways_in: AuthMethods,
    /// Kept for operators who set it already; this version limits nothing.
    pub limits: bool,
    /// Origins whose pages may call the API, as browsers send them.
    pub cors_origins: Vec<String>,
    /// HTTPS, if configured.
    pub tls: Option<TlsFiles>,
    /// A filter of log lines, in full valid.
    pub log: String,
    /// The form of a log line.
    pub log_format: LogFormat,
    /// Whether the documentation is served.
    pub docs: bool,
    /// Longest expected wait for a password hash, in seconds, that is still admitted.
    pub hash_wait_secs: u32,
    /// Connections held open at once.
    pub max_connections: usize,
    /// Seconds that running requests have to finish after a signal to stop.
    pub shutdown_secs: u32,
}

/// Valid settings, and where each of them came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// One entry a setting, in the order of the table.
    pub origins: Vec<Origin>,
}

/// What `tripgate config` shows of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The setting's name.
    pub name: &'static str,
    /// Its value; secrets are masked; empty for "none".
    pub value: String,
    /// `default`, the file's name, `.env`, `environment` or the flag.
    pub from: String,
}

impl Settings {
    /// Reads every layer; `args` are the matches of a command built with the flags of
    /// [`settings::flags`] and [`FILE_ARG`].
    pub fn load(args: &ArgMatches) -> Result<Loaded, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
        let env = std::env::vars_os().collect();
        let flags = SETTINGS.iter().filter_map(|row| {
            let value = args.try_get_one::<String>(row.name).ok()??;
            Some((row.name, value.clone()))
        });
        let file = args.try_get_one::<PathBuf>(FILE_ARG).ok().flatten();
        load_from(Sources { dir: Path::new(""), file: file.cloned(), env, flags: flags.collect() })
    }

    /// Defaults for a server inside a test: cheap hashes, a free port, no log.
    pub fn for_tests(data_dir: &Path) -> Self {
        let (settings, _) = read(RawSettings::default());
        let database = sqlite_url(data_dir);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: data_dir.to_owned(),
            database_url: Secret::new(database),
            secret_file: data_dir.join("secret"),
            bcrypt_cost: 4,
            log: "off".to_owned(),
            ..settings
        }
    }

    /// The issuer and the base of every link, without a trailing slash. By default it is made of
    /// `bound`, the address the listener got: that has the real port where `listen` asks for 0.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.public_url {
            Some(url) => url.clone(),
            None => format!("{scheme}://{bound}"),
        }
    }
}

fn load_from(sources: Sources<'_>) -> Result<Loaded, ConfigError> {
    let gathered = sources.gather();
    let given = gathered.given.clone();
    let (settings, problems) = read(gathered);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let origins = SETTINGS
        .iter()
        .map(|row| match given.get(row.name) {
            Some(given) => {
                Origin { name: row.name, value: error::shown(row, &given.value), from: given.from.clone() }
            }
            None => {
                Origin { name: row.name, value: default_shown(row, &settings), from: "default".to_owned() }
            }
        })
        .collect();
    Ok(Loaded { settings, origins })
}

/// The default as it came out, with what it is made of filled in.
fn default_shown(row: &settings::Setting, settings: &Settings) -> String {
    match row.name {
        "public_url" => settings.public_url(settings.listen),
        "database_url" => settings.database_url.expose().to_owned(),
        "secret_file" if settings.secret.is_some() => String::new(),
        "secret_file" => settings.secret_file.display().to_string(),
        _ => row.default.to_owned(),
    }
}

/// The default database. `%` and `?` would be read as parts of a URL.
fn sqlite_url(data_dir: &Path) -> String {
    let dir = data_dir.to_string_lossy();
    let dir = dir.replace('%', "%25").replace('?', "%3F");
    format!("sqlite://{}/tripgate.db", dir.trim_end_matches('/'))
}

/// Reads every setting, so that all problems come out together. The settings are good only if
/// there is no problem.
fn read(gathered: RawSettings) -> (Settings, Vec<String>) {
    let mut r = Reader { gathered };
    r.required("require_confirmed", (), parse::off_only);
    for name in ["trusted_proxies", "smtp_url", "mail_from", "metrics_listen"] {
        r.optional(name, parse::later);
    }
    let data_dir = r.required("data_dir", PathBuf::new(), parse::path);
    let database_url =
        r.optional("database_url", parse::database_url).unwrap_or_else(|| Secret::new(sqlite_url(&data_dir)));
    let secret_file = r.optional("secret_file", parse::path).unwrap_or_else(|| data_dir.join("secret"));
    let cert = r.optional("tls_cert", parse::readable_file);
    let key = r.optional("tls_key", parse::readable_file);
    let fallback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let settings = Settings {
        listen: r.required("listen", fallback, parse::address),
        public_url: r.optional("public_url", parse::base_url),
        database_url,
        secret: r.optional("secret", parse::secret),
        secret_file,
        audience: r.required("audience", String::new(), parse::text),
        signing_alg: r.required("signing_alg", SigningAlg::Es256, parse::signing_alg),
        access_ttl_secs: r.required("access_ttl_secs", 0, parse::number),
        refresh_idle_secs: r.required("refresh_idle_secs", 0, parse::number),
        refresh_absolute_secs: r.required("refresh_absolute_secs", u32::MAX, parse::number),
        bcrypt_cost: r.required("bcrypt_cost", 0, parse::number),
        password_min: r.required("password_min", 0, parse::number),
        signup: r.required("signup", Signup::Closed, parse::signup),
        ways_in: AuthMethods {
            basic: r.required("basic_on_api", false, parse::boolean),
            query_token: r.required("query_token", false, parse::boolean),
        },
        limits: r.required("limits", true, parse::boolean),
        cors_origins: r.optional("cors_origins", parse::origins).unwrap_or_default(),
        tls: cert.zip(key).map(|(cert, key)| TlsFiles { cert, key }),
        log: r.required("log", String::new(), parse::filter),
        log_format: r.required("log_format", LogFormat::Text, parse::log_format),
        docs: r.required("docs", true, parse::boolean),
        hash_wait_secs: r.required("hash_wait_secs", 0, parse::number),
        max_connections: r.required("max_connections", 0, parse::number),
        shutdown_secs: r.required("shutdown_secs", 0, parse::number),
        data_dir,
    };
    r.refuse_contradictions(&settings);
    (settings, r.gathered.problems)
}

struct Reader {
    gathered: RawSettings,
}

impl Reader {
    /// A setting with a default. `fallback` only fills the gap that a problem leaves.
    fn required<T>(
        &mut self,
        name: &'static str,
        fallback: T,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> T {
        let Some(row) = settings::row(name) else {
            return fallback;
        };
        if self.gathered.given.contains_key(name) {
            return self.given(row, parse).unwrap_or(fallback);
        }
        parse(row.default, &row.takes).unwrap_or(fallback)
    }

    /// A setting that may be absent, or whose default is made from others. Where "none" is the
    /// default, an empty text means none, as deployment tools write it.
    fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> Option<T> {
        let row = settings::row(name)?;
        let none = row.default.is_empty() && !row.takes.is_secret();
        let given = self.gathered.given.get(name)?;
        if none && given.value.is_empty() {
            return None;
        }
        self.given(row, parse)
    }

    fn given<T>(
        &mut self,
        row: &settings::Setting,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> Option<T> {
        let RawValue { value, written, .. } = self.gathered.given.get(row.name)?;
        match parse(value, &row.takes) {
            Ok(parsed) => Some(parsed),
            Err(wrong) => {
                let line = error::bad_value(written, row, value, &wrong);
                self.gathered.problems.push(line);
                None
            }
        }
    }

    /// How the operator wrote a setting, if at all; an empty text counts as absent.
    fn written(&self, name: &str) -> Option<&str> {
        let given = self.gathered.given.get(name)?;
        (!given.value.is_empty()).then_some(given.written.as_str())
    }

    fn refuse_contradictions(&mut self, settings: &Settings) {
        let mut found = Vec::new();
        if let (Some(secret), Some(file)) = (self.written("secret"), self.written("secret_file")) {
            found.push(format!("{secret} and {file}: give one of them, not both"));
        }
        for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
            if let (Some(written), None) = (self.written(one), self.written(other)) {
                found.push(format!("{written}: {other} is missing; HTTPS needs both"));
            }
        }
        let (idle, absolute) = (settings.refresh_idle_secs, settings.refresh_absolute_secs);
        if idle > absolute {
            let name = |name| self.written(name).unwrap_or(name).to_owned();
            found.push(format!(
                "{}: {idle} is more than {absolute}, the value of {}; allowed: at most that",
                name("refresh_idle_secs"),
                name("refresh_absolute_secs"),
            ));
        }
        self.gathered.problems.extend(found);
    }
}
