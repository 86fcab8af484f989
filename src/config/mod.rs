//! Typed settings. They come from defaults, `tripgate.toml`, `.env`, the environment and the command line, in
//! ascending order of precedence. Only this module reads the environment.
//!
//! A [`Settings`] that [`Settings::load`] returns is valid as a whole. Unknown names, invalid values and
//! contradictions are rejected, and all of them are reported at once, under the names that the operator
//! wrote. No message, table or `Debug` output contains a secret.

mod apps;
mod backups;
mod contradictions;
mod error;
mod mail;
mod masked;
mod parse;
mod passkeys;
mod quotas;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use ipnet::IpNet;

pub use apps::AndroidApp;
pub use backups::BackupSettings;
pub use error::ConfigError;
pub use mail::{MailSettings, SmtpSecurity, SmtpServer};
pub use masked::Secret;
use parse::Parsed;
pub use passkeys::PasskeySettings;
pub use quotas::Quotas;
use settings::SETTINGS;
use sources::{RawSettings, RawValue, Sources};
pub use tls::TlsFiles;

/// The id of the global argument that selects the settings file.
pub const FILE_ARG: &str = "config";

/// Whether the API can create accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signup {
    /// Every client can create an account.
    Open,
    /// Every client can create an account, which gets no tokens before its address is confirmed.
    ConfirmFirst,
    /// Every client with an invitation code can create an account.
    Invite,
    /// The API creates no accounts.
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
    /// HMAC-SHA-256. It has no public key, so other services can't verify tokens.
    Hs256,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for humans.
    Text,
    /// One JSON object per line.
    Json,
}

/// The accepted credentials in addition to `Authorization: Bearer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMethods {
    /// HTTP Basic credentials on every call: an identifier with a password or a personal access token, or an
    /// access token in place of the identifier.
    pub basic: bool,
    /// An access token as `?token=`.
    pub query_token: bool,
    /// A personal access token as HTTP Digest credentials on every call.
    pub digest: bool,
}

/// All settings, valid as a whole. [`settings::SETTINGS`] contains their help texts.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each of them is a setting of its own")]
pub struct Settings {
    /// Address and port of the API.
    pub listen: SocketAddr,
    /// The public URL, without a trailing slash. If absent, [`Settings::public_url()`] returns a default.
    pub public_url: Option<String>,
    /// Directory of the database, the master secret and undelivered mails.
    pub data_dir: PathBuf,
    /// URL with scheme `sqlite`, `postgres`, `postgresql` or `mysql`. The URL can contain a password.
    pub database_url: Secret,
    /// The master secret, if set directly. At least 32 bytes.
    pub secret: Option<Secret>,
    /// File of the master secret, if `secret` is `None`. Created at the first start.
    pub secret_file: PathBuf,
    /// Audience of access tokens.
    pub audience: String,
    /// Signature algorithm of access tokens.
    pub signing_alg: SigningAlg,
    /// Lifetime of an access token in seconds.
    pub access_ttl_secs: u32,
    /// Seconds without a refresh after which a session ends. At most `refresh_absolute_secs`.
    pub refresh_idle_secs: u32,
    /// Seconds after login at which a session ends.
    pub refresh_absolute_secs: u32,
    /// Work factor of password hashes, 4 to 15.
    pub bcrypt_cost: u32,
    /// Minimum number of characters of a new password.
    pub password_min: usize,
    /// Whether the API can create accounts.
    pub signup: Signup,
    /// Whether everything except `/auth` and `/me` requires a confirmed email address.
    pub require_confirmed: bool,
    /// The accepted credentials in addition to `Authorization: Bearer`.
    pub auth_methods: AuthMethods,
    /// Whether repeated attempts are slowed down. Can be off only if `listen` is a loopback address.
    pub limits: bool,
    /// The networks of the proxies that send the client's address in a forwarding header.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of the trusted proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// How mails are sent.
    pub mail: MailSettings,
    /// Web origins whose pages may call the API, in the form that browsers send.
    pub cors_origins: Vec<String>,
    /// The iOS apps in `apple-app-site-association`.
    pub apple_app_ids: Vec<String>,
    /// The Android apps in `assetlinks.json`.
    pub android_apps: Vec<AndroidApp>,
    /// The domain that passkeys belong to, and the origins that may use passkeys, if the operator has set
    /// them.
    pub passkeys: PasskeySettings,
    /// One warning for each variable of the environment that looks like a setting but is not a setting.
    pub ignored_variables: Vec<String>,
    /// Address and port of the metrics, if enabled.
    pub metrics_listen: Option<SocketAddr>,
    /// The URL of the collector of traces, without a trailing slash, if enabled.
    pub otlp_endpoint: Option<String>,
    /// HTTPS, if configured.
    pub tls: Option<TlsFiles>,
    /// A valid filter of log lines.
    pub log: String,
    /// The format of a log line.
    pub log_format: LogFormat,
    /// The duration above which a request is logged as slow.
    pub slow_request: Duration,
    /// The duration from which an SQL statement is logged as slow.
    pub slow_statement: Duration,
    /// Whether to serve the documentation.
    pub docs: bool,
    /// Maximum expected wait for a password hash, in seconds. A request that would wait longer is rejected.
    pub hash_wait_secs: u32,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// The maximum number of open connections of one client address.
    pub max_connections_per_address: usize,
    /// Maximum size of the cache of pages of trips, in bytes. With 0, pages are not cached.
    pub page_cache_bytes: u64,
    /// What one user can store.
    pub quotas: Quotas,
    /// When and where backups are made.
    pub backups: BackupSettings,
    /// Maximum time in seconds for running requests to finish after a signal to stop.
    pub shutdown_secs: u32,
}

/// Valid settings, with the source of each.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// One entry for each setting, in the order of [`settings::SETTINGS`].
    pub origins: Vec<Origin>,
}

/// A setting as `tripgate config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The setting's name.
    pub name: &'static str,
    /// The value, masked if it is a secret. Empty if there is no value.
    pub value: String,
    /// The source: `default`, the file name, `.env`, `environment` or the flag.
    pub from: String,
}

/// Parses a database URL that does not come from the settings.
///
/// # Errors
///
/// The reason why the URL is not valid. It continues a sentence that begins with the URL.
pub fn parse_database_url(text: &str) -> Result<Secret, String> {
    parse::database_url(text, &settings::ValueKind::Database)
}

impl Settings {
    /// Reads the settings from all sources. `args` are the parsed arguments of a command that defines the
    /// flags of [`settings::flags`] and [`FILE_ARG`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all problems.
    pub fn load(args: &ArgMatches) -> Result<Loaded, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
        let env = std::env::vars_os().collect();
        let flags = SETTINGS.iter().filter_map(|setting| {
            let value = args.try_get_one::<String>(setting.name).ok()??;
            Some((setting.name, value.clone()))
        });
        let file = args.try_get_one::<PathBuf>(FILE_ARG).ok().flatten();
        load_from(Sources { dir: Path::new(""), file: file.cloned(), env, flags: flags.collect() })
    }

    /// Returns settings for a server in a test, with cheap hashes, a free port and no log.
    pub fn for_tests(data_dir: &Path) -> Self {
        let (settings, _) = read(RawSettings::default());
        let database = parse::sqlite_url(data_dir);
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

    /// Returns the public URL without a trailing slash. It is the issuer of tokens and the base of every
    /// link. The default uses `bound`, the listener's actual address, because `listen` can have port 0.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.public_url {
            Some(url) => url.clone(),
            None => format!("{scheme}://{bound}"),
        }
    }
}

fn load_from(sources: Sources<'_>) -> Result<Loaded, ConfigError> {
    let raw = sources.collect();
    let values = raw.values.clone();
    let (settings, problems) = read(raw);
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let origins = SETTINGS
        .iter()
        .map(|setting| {
            let (value, from) = match values.get(setting.name) {
                Some(raw) => (error::displayed(setting, &raw.value), raw.from.clone()),
                None => (displayed_default(setting, &settings), "default".to_owned()),
            };
            Origin { name: setting.name, value, from }
        })
        .collect();
    Ok(Loaded { settings, origins })
}

/// Returns the default as `tripgate config` shows it, with the values of other settings filled in.
fn displayed_default(setting: &settings::Setting, settings: &Settings) -> String {
    match setting.name {
        "public_url" => settings.public_url(settings.listen),
        "database_url" => settings.database_url.expose().to_owned(),
        "passkey_rp_id" => settings.passkeys.rp_id(&settings.public_url(settings.listen)),
        "passkey_origins" => settings.passkeys.origins(&settings.public_url(settings.listen)).join(","),
        "secret_file" if settings.secret.is_some() => String::new(),
        "secret_file" => settings.secret_file.display().to_string(),
        _ => setting.default.to_owned(),
    }
}

/// Parses every setting, so that all problems are reported together. The settings are valid only if there are
/// no problems.
fn read(raw: RawSettings) -> (Settings, Vec<String>) {
    let mut r = Reader { raw };
    let data_dir = r.required("data_dir", PathBuf::new(), parse::path);
    let database_url = r
        .optional("database_url", parse::database_url)
        .unwrap_or_else(|| Secret::new(parse::sqlite_url(&data_dir)));
    let secret_file = r.optional("secret_file", parse::path).unwrap_or_else(|| data_dir.join("secret"));
    let tls = TlsFiles::read(&mut r);
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
        require_confirmed: r.required("require_confirmed", false, parse::boolean),
        auth_methods: AuthMethods {
            basic: r.required("basic_on_api", false, parse::boolean),
            query_token: r.required("query_token", false, parse::boolean),
            digest: r.required("digest", false, parse::boolean),
        },
        limits: r.required("limits", true, parse::boolean),
        trusted_proxies: r.optional("trusted_proxies", parse::networks).unwrap_or_default(),
        proxy_protocol: r.required("proxy_protocol", false, parse::boolean),
        mail: mail::read(&mut r),
        cors_origins: r.optional("cors_origins", parse::origins).unwrap_or_default(),
        apple_app_ids: r.optional("apple_app_ids", apps::apple_app_ids).unwrap_or_default(),
        android_apps: r.optional("android_apps", apps::android_apps).unwrap_or_default(),
        passkeys: PasskeySettings::read(&mut r),
        metrics_listen: r.optional("metrics_listen", parse::address),
        otlp_endpoint: r.optional("otlp_endpoint", parse::base_url),
        tls,
        log: r.required("log", String::new(), parse::filter),
        log_format: r.required("log_format", LogFormat::Text, parse::log_format),
        slow_request: r.required("slow_request_ms", Duration::MAX, parse::millis),
        slow_statement: r.required("slow_statement_ms", Duration::MAX, parse::millis),
        docs: r.required("docs", true, parse::boolean),
        hash_wait_secs: r.required("hash_wait_secs", 0, parse::number),
        max_connections: r.required("max_connections", 0, parse::number),
        max_connections_per_address: r.required("max_connections_per_address", 0, parse::number),
        page_cache_bytes: r.required("page_cache_bytes", 0, parse::number),
        quotas: Quotas::read(&mut r),
        ignored_variables: r.raw.ignored_variables(),
        backups: BackupSettings::read(&mut r),
        shutdown_secs: r.required("shutdown_secs", 0, parse::number),
        data_dir,
    };
    r.check_contradictions(&settings);
    (settings, r.raw.problems)
}

struct Reader {
    raw: RawSettings,
}

impl Reader {
    /// Parses a setting with a default. Returns `fallback` if the setting has a problem.
    fn required<T>(
        &mut self,
        name: &'static str,
        fallback: T,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> T {
        let Some(setting) = settings::find(name) else {
            return fallback;
        };
        if self.raw.values.contains_key(name) {
            return self.parse(setting, parse).unwrap_or(fallback);
        }
        parse(setting.default, &setting.kind).unwrap_or(fallback)
    }

    /// Parses a setting that can be absent, or whose default depends on other settings. If it has no default,
    /// an empty text means that it is absent, because deployment tools write absent values like this.
    fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> Option<T> {
        let setting = settings::find(name)?;
        let is_empty_none = setting.default.is_empty() && !setting.kind.is_secret();
        let raw = self.raw.values.get(name)?;
        if is_empty_none && raw.value.is_empty() {
            return None;
        }
        self.parse(setting, parse)
    }

    fn parse<T>(
        &mut self,
        setting: &settings::Setting,
        parse: impl Fn(&str, &settings::ValueKind) -> Parsed<T>,
    ) -> Option<T> {
        let RawValue { value, written, .. } = self.raw.values.get(setting.name)?;
        match parse(value, &setting.kind) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                let line = error::invalid_value(written, setting, value, &reason);
                self.raw.problems.push(line);
                None
            }
        }
    }
}
