//! The table of settings. An entry contains the name, the default, the allowed values and the help text of a
//! setting. The environment variable, the key in the file, the flag and the error texts are derived from the
//! entry, so they can't disagree.

use std::sync::LazyLock;

use crate::passwords;
use crate::secrets::MIN_BYTES;

/// The prefix of setting names in the environment and in `.env`.
pub const PREFIX: &str = "TRIPGATE_";

/// The prefix of variables for tests. They are not settings and are ignored.
pub const TEST_PREFIX: &str = "TRIPGATE_TEST_";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in `tripgate.toml`, in snake case.
    pub name: &'static str,
    /// The default as an operator would write it, or empty if there is none. Angle brackets refer to the
    /// value of another setting.
    pub default: &'static str,
    /// The kind of values that the setting accepts.
    pub kind: ValueKind,
    /// One line of help.
    pub help: &'static str,
}

/// A kind of values.
#[derive(Debug)]
pub enum ValueKind {
    /// An IP address with a port.
    Address,
    /// An http or https URL, the base of other URLs.
    BaseUrl,
    /// The URL of a database. The URL can contain a password.
    Database,
    /// The master secret.
    Secret,
    /// A path.
    Path,
    /// The path of a readable file.
    File,
    /// The URL of a mail server. The URL can contain a password.
    Smtp,
    /// An email address with or without a name.
    Mailbox,
    /// Any text except the empty text.
    Text,
    /// One of several words.
    OneOf(&'static [&'static str]),
    /// A whole number.
    Number {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// On or off.
    Boolean,
    /// A list of web origins.
    Origins,
    /// A domain name.
    Domain,
    /// A list of origins of web pages and Android apps.
    PasskeyOrigins,
    /// A list of networks of IP addresses.
    Networks,
    /// A list of app ids of Apple.
    AppleApps,
    /// A list of Android packages with the SHA-256 of their certificates.
    AndroidApps,
    /// A filter of log lines.
    Filter,
}

impl ValueKind {
    /// Returns the placeholder in the help of the flag.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Address => "IP:PORT",
            Self::BaseUrl | Self::Database | Self::Smtp => "URL",
            Self::Mailbox => "ADDRESS",
            Self::Secret => "SECRET",
            Self::Path | Self::File => "PATH",
            Self::Text | Self::OneOf(_) => "WORD",
            Self::Number { .. } => "NUMBER",
            Self::Boolean => "ON|OFF",
            Self::Domain => "DOMAIN",
            Self::Origins | Self::PasskeyOrigins => "ORIGINS",
            Self::Networks => "NETWORKS",
            Self::AppleApps | Self::AndroidApps => "APPS",
            Self::Filter => "FILTER",
        }
    }

    /// Describes the allowed values, for error texts.
    pub fn allowed(&self) -> String {
        match self {
            Self::Address => "an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080".into(),
            Self::BaseUrl => {
                "an http or https URL without user, query or fragment, as in https://trips.example".into()
            }
            Self::Database => {
                "sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME".into()
            }
            Self::Smtp => "smtps://USER:PASSWORD@HOST, smtp://USER:PASSWORD@HOST (with STARTTLS) or \
                smtp+plain://localhost"
                .into(),
            Self::Mailbox => "an email address, as in name@example.org or Name <name@example.org>".into(),
            Self::Secret => format!("at least {MIN_BYTES} bytes of text"),
            Self::Path => "a path".into(),
            Self::File => "the path of a readable file".into(),
            Self::Text => "a text without control characters".into(),
            Self::OneOf(accepted) => accepted.join(", "),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Boolean => "on, off (also true, false, 1, 0)".into(),
            Self::Origins => "scheme://host or scheme://host:port, several separated by commas".into(),
            Self::Domain => "a domain name in lower case, as in trips.example".into(),
            Self::PasskeyOrigins => {
                "https://host or https://host:port, or android:apk-key-hash:BASE64URL of the \
                SHA-256 of the signing certificate, several separated by commas"
                    .into()
            }
            Self::Networks => {
                "addresses or networks, as in 10.0.0.0/8 or ::1, several separated by commas".into()
            }
            Self::AppleApps => {
                "team and bundle ids, as in ABCDE12345.org.example.trips, several separated by commas".into()
            }
            Self::AndroidApps => {
                "PACKAGE=SHA256 of the signing certificate, several separated by commas".into()
            }
            Self::Filter => "off, error, warn, info, debug or trace, or target=level, \
                several separated by commas"
                .into(),
        }
    }

    /// Returns whether the value must not appear in errors and in `tripgate config`.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret)
    }
}

impl Setting {
    /// Returns the name in the environment and in `.env`.
    pub fn env_name(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Returns the long flag without its two dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// Returns the setting with this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Returns every setting with the name of its flag. clap requires static names.
pub fn flags() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| SETTINGS.iter().map(Setting::flag).collect());
    SETTINGS.iter().zip(FLAGS.iter().map(String::as_str))
}

const fn setting(name: &'static str, default: &'static str, kind: ValueKind, help: &'static str) -> Setting {
    Setting { name, default, kind, help }
}

const fn number(min: u64, max: u64) -> ValueKind {
    ValueKind::Number { min, max }
}

const QUOTA_MAX: u64 = 1_000_000_000;
const QUOTA_BYTES_MAX: u64 = 1 << 50;
const TEN_YEARS_SECS: u64 = 315_360_000;

/// All settings, in the order in which they are listed.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    setting("listen", "127.0.0.1:8080", ValueKind::Address,
        "Address and port of the API; port 0 selects a free port"),
    setting("public_url", "http://<listen>", ValueKind::BaseUrl,
        "URL of the server for clients: the issuer of tokens and the base of every link"),
    setting("data_dir", "data", ValueKind::Path,
        "Directory of the database and the secret"),
    setting("database_url", "sqlite://<data_dir>/tripgate.db", ValueKind::Database,
        "The database: SQLite, PostgreSQL, MySQL or MariaDB"),
    setting("secret", "", ValueKind::Secret,
        "The master secret; prefer secret_file, because process lists may show this value"),
    setting("secret_file", "<data_dir>/secret", ValueKind::Path,
        "File of the master secret; created at the first start"),
    setting("audience", "tripgate", ValueKind::Text,
        "Audience of access tokens (the aud claim)"),
    setting("signing_alg", "ES256", ValueKind::OneOf(&["ES256", "EdDSA", "RS256", "HS256"]),
        "Signature algorithm of access tokens; a change takes effect at the next start"),
    setting("access_ttl_secs", "900", number(60, 604_800),
        "Lifetime of an access token in seconds"),
    setting("refresh_idle_secs", "5184000", number(60, TEN_YEARS_SECS),
        "Seconds without a refresh after which a session ends"),
    setting("refresh_absolute_secs", "31536000", number(60, TEN_YEARS_SECS),
        "Seconds after login at which a session ends"),
    setting("bcrypt_cost", "12", number(passwords::COST_MIN as u64, passwords::COST_MAX as u64),
        "Work factor of password hashes; each step doubles the time"),
    setting("password_min", "8", number(1, passwords::MAX_BYTES as u64),
        "Minimum number of characters of a new password"),
    setting("signup", "open", ValueKind::OneOf(&["open", "confirm_first", "invite", "closed"]),
        "Whether the API creates accounts; confirm_first: accounts get no tokens before the email address is confirmed; \
         invite: a code from tripgate invites add is required"),
    setting("require_confirmed", "false", ValueKind::Boolean,
        "Require a confirmed email address for everything except /auth and /me"),
    setting("basic_on_api", "false", ValueKind::Boolean,
        "Accept Basic credentials on every call: a password or a personal access token, or an access token as the user name"),
    setting("query_token", "false", ValueKind::Boolean,
        "Accept the access token also as ?token="),
    setting("digest", "off", ValueKind::Boolean,
        "Accept Digest credentials (RFC 7616, SHA-256) on every call, for personal access tokens only"),
    setting("limits", "on", ValueKind::Boolean,
        "Slow down repeated attempts; off only for tests, on a loopback address"),
    setting("trusted_proxies", "", ValueKind::Networks,
        "Proxies whose X-Forwarded-For or Forwarded header names the client"),
    setting("proxy_protocol", "off", ValueKind::Boolean,
        "Require a header of the PROXY protocol, version 2, on each connection of a trusted proxy; the header names the client"),
    setting("smtp_url", "", ValueKind::Smtp,
        "The mail server; without one, mails become files in <data_dir>/outbox"),
    setting("smtp_ca_file", "", ValueKind::File,
        "Additional root certificates (PEM) for the mail server"),
    setting("smtp_timeout_secs", "30", number(1, 600),
        "Seconds to wait for a response of the mail server"),
    setting("mail_from", "", ValueKind::Mailbox,
        "Sender of mails, as in Trips <trips@example.org>; by default no-reply at the host of public_url"),
    setting("mail_per_day", "10000", number(1, QUOTA_MAX),
        "Maximum number of mails that the server queues in a day (UTC)"),
    setting("new_device_mail", "on", ValueKind::Boolean,
        "Report a login on a new device by mail, with a link that ends the session"),
    setting("templates", "", ValueKind::Path,
        "Directory with mail templates that replace the built-in ones"),
    setting("cors_origins", "", ValueKind::Origins,
        "Web origins whose pages may call the API"),
    setting("apple_app_ids", "", ValueKind::AppleApps,
        "iOS apps that open the links in mails and use the passwords and passkeys of this server"),
    setting("android_apps", "", ValueKind::AndroidApps,
        "Android apps that open the links in mails and use the passwords and passkeys of this server"),
    setting("passkey_rp_id", "<host of public_url>", ValueKind::Domain,
        "Domain that passkeys belong to; fixed when the first passkey is registered"),
    setting("passkey_origins", "<origin of public_url>", ValueKind::PasskeyOrigins,
        "Web pages and Android apps that may use passkeys"),
    setting("metrics_listen", "", ValueKind::Address,
        "Address and port of /metrics, in the text format of Prometheus; unset disables it"),
    setting("otlp_endpoint", "", ValueKind::BaseUrl,
        "URL of a collector that receives traces (OTLP over HTTP), as in http://127.0.0.1:4318; unset disables them"),
    setting("tls_cert", "", ValueKind::File,
        "Certificate chain (PEM); with tls_key, the server uses HTTPS"),
    setting("tls_key", "", ValueKind::File,
        "Private key (PEM) of the certificate"),
    setting("log", "info", ValueKind::Filter,
        "Filter of the log lines on stderr"),
    setting("log_format", "text", ValueKind::OneOf(&["text", "json"]),
        "Format of a log line"),
    setting("slow_request_ms", "1000", number(1, 3_600_000),
        "Requests that take longer than this, in milliseconds, are logged as a warning"),
    setting("slow_statement_ms", "500", number(1, 3_600_000),
        "SQL statements that take longer than this, in milliseconds, are logged as a warning"),
    setting("docs", "on", ValueKind::Boolean,
        "Serve the documentation under /docs"),
    setting("hash_wait_secs", "5", number(1, 60),
        "Logins that would wait longer than this for a password hash get 503 immediately"),
    setting("max_connections", "4096", number(1, 100_000),
        "Maximum number of open connections"),
    setting("max_connections_per_address", "1000", number(1, 100_000),
        "Maximum number of open connections of one client address, or of one /64 network for IPv6"),
    setting("page_cache_bytes", "33554432", number(0, QUOTA_BYTES_MAX),
        "Maximum size of the cache of pages of trips in memory, in bytes; 0 disables it"),
    setting("quota_trips", "20000", number(1, QUOTA_MAX),
        "Maximum number of trips of a user"),
    setting("quota_trip_bytes", "67108864", number(1, QUOTA_BYTES_MAX),
        "Maximum size of the texts of a user's trips, in bytes"),
    setting("quota_sessions", "100", number(1, 10_000),
        "Maximum number of sessions of a user; the next login ends the one that is idle longest"),
    setting("quota_idempotency_keys", "10000", number(1, QUOTA_MAX),
        "Maximum number of idempotency keys of a user in a day (UTC)"),
    setting("quota_sync_operations", "50000", number(1, QUOTA_MAX),
        "Maximum number of applied sync operations of a user that are stored"),
    setting("quota_tombstones", "50000", number(1, QUOTA_MAX),
        "Maximum number of stored deletions of a user; sync cursors that are older than the stored deletions get 410"),
    setting("backup_dir", "", ValueKind::Path,
        "Directory of scheduled backups; without it, no scheduled backups are made, and other backups go to <data_dir>/backups"),
    setting("backup_every_secs", "86400", number(60, TEN_YEARS_SECS),
        "Seconds between scheduled backups"),
    setting("backup_keep", "7", number(1, 100_000),
        "Number of backups that remain after a scheduled one"),
    setting("backup_encryption", "off", ValueKind::Boolean,
        "Encrypt backups under a key that is derived from the master secret"),
    setting("backup_before_migration", "on", ValueKind::Boolean,
        "Make a backup before the schema is migrated"),
    setting("shutdown_secs", "8", number(1, 60),
        "Maximum time in seconds for running requests to finish after a signal to stop"),
];
