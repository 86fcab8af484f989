//! The one table of settings. A row gives a setting its name, its default, its line of help and
//! the values it takes; the environment name, the key of the file, the flag and the text of a
//! refusal are all derived from the row, so they can't disagree.

use std::sync::LazyLock;

use crate::passwords;
use crate::secrets::MIN_BYTES;

/// What stands before a setting's name in the environment and in `.env`.
pub const PREFIX: &str = "TRIPGATE_";

/// Names that the tests keep for themselves; they are no settings and are passed over.
pub const TEST_PREFIX: &str = "TRIPGATE_TEST_";

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The key in `tripgate.toml`, lower-case snake.
    pub name: &'static str,
    /// The default as an operator would write it; empty for "none". A default made from another
    /// setting is written with that setting in angle brackets.
    pub default: &'static str,
    /// The values it takes.
    pub takes: ValueKind,
    /// One line of help.
    pub help: &'static str,
}

/// The kinds of values.
#[derive(Debug)]
pub enum ValueKind {
    /// An IP address with a port.
    Address,
    /// An http or https URL, the base of others.
    BaseUrl,
    /// The URL of a database; may hold a password.
    Database,
    /// The master secret itself.
    Secret,
    /// A path.
    Path,
    /// The path of a file that can be read.
    File,
    /// Any text but an empty one.
    Text,
    /// One of the words of `now`; those of `later` are known, but not in this version.
    OneOf {
        /// Accepted words.
        now: &'static [&'static str],
        /// Words that have a meaning which this version does not have yet.
        later: &'static [&'static str],
    },
    /// A whole number.
    Number {
        /// Smallest accepted.
        min: u64,
        /// Largest accepted.
        max: u64,
    },
    /// On or off.
    Switch,
    /// A switch which this version can't turn on.
    OffOnly,
    /// Known, but without effect in this version, so that any value is refused.
    Later,
    /// A list of web origins.
    Origins,
    /// A filter of log lines.
    Filter,
}

impl ValueKind {
    /// The placeholder in the help of the flag.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Address => "IP:PORT",
            Self::BaseUrl | Self::Database => "URL",
            Self::Secret => "SECRET",
            Self::Path | Self::File => "PATH",
            Self::Text | Self::OneOf { .. } => "WORD",
            Self::Number { .. } => "NUMBER",
            Self::Switch | Self::OffOnly => "ON|OFF",
            Self::Later => "VALUE",
            Self::Origins => "ORIGINS",
            Self::Filter => "FILTER",
        }
    }

    /// The accepted values in words, for a refusal.
    pub fn allowed(&self) -> String {
        match self {
            Self::Address => "an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080".into(),
            Self::BaseUrl => {
                "an http or https URL without user, query or fragment, as in https://trips.example".into()
            }
            Self::Database => {
                "sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME".into()
            }
            Self::Secret => format!("at least {MIN_BYTES} bytes of text"),
            Self::Path => "a path".into(),
            Self::File => "the path of a file that can be read".into(),
            Self::Text => "a text without control characters".into(),
            Self::OneOf { now, .. } => now.join(", "),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Switch => "on, off (also true, false, 1, 0)".into(),
            Self::OffOnly => "off (also false, 0)".into(),
            Self::Later => "leave it unset".into(),
            Self::Origins => "scheme://host or scheme://host:port, several parted by commas".into(),
            Self::Filter => "off, error, warn, info, debug or trace, or target=level, \
                several parted by commas"
                .into(),
        }
    }

    /// Whether a refusal and `tripgate config` must not show the value.
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret)
    }
}

impl Setting {
    /// The name in the environment and in `.env`.
    pub fn env_name(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The long flag, without its two dashes.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// The row of a name.
pub fn row(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|row| row.name == name)
}

/// Every row beside its flag's name; clap wants names that live as long as the program.
pub fn flags() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| SETTINGS.iter().map(Setting::flag).collect());
    SETTINGS.iter().zip(FLAGS.iter().map(String::as_str))
}

const fn setting(name: &'static str, default: &'static str, takes: ValueKind, help: &'static str) -> Setting {
    Setting { name, default, takes, help }
}

const fn number(min: u64, max: u64) -> ValueKind {
    ValueKind::Number { min, max }
}

const TEN_YEARS_SECS: u64 = 315_360_000;

/// All settings, in the order in which they are listed everywhere.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    setting("listen", "127.0.0.1:8080", ValueKind::Address,
        "Where the API listens; port 0 takes a free one"),
    setting("public_url", "http://<listen>", ValueKind::BaseUrl,
        "What clients call the server: the issuer of tokens and the base of every link"),
    setting("data_dir", "data", ValueKind::Path,
        "Directory of the database and the secret"),
    setting("database_url", "sqlite://<data_dir>/tripgate.db", ValueKind::Database,
        "The database: SQLite, PostgreSQL, MySQL or MariaDB"),
    setting("secret", "", ValueKind::Secret,
        "The master secret itself; better kept in a file, where no process list shows it"),
    setting("secret_file", "<data_dir>/secret", ValueKind::Path,
        "File of the master secret; made at the first start"),
    setting("audience", "tripgate", ValueKind::Text,
        "The audience that access tokens name and must name"),
    setting("signing_alg", "ES256", ValueKind::OneOf { now: &["ES256", "EdDSA", "RS256", "HS256"], later: &[] },
        "Algorithm that signs access tokens; a change takes effect at the start"),
    setting("access_ttl_secs", "900", number(60, 604_800),
        "Life of an access token in seconds"),
    setting("refresh_idle_secs", "5184000", number(60, TEN_YEARS_SECS),
        "A session ends after so many seconds without a refresh"),
    setting("refresh_absolute_secs", "31536000", number(60, TEN_YEARS_SECS),
        "A session ends so many seconds after its login, whatever happens"),
    setting("bcrypt_cost", "12", number(passwords::COST_MIN as u64, passwords::COST_MAX as u64),
        "Work factor of password hashes; each step doubles the time"),
    setting("password_min", "8", number(1, passwords::MAX_BYTES as u64),
        "Characters that a new password must have at least"),
    setting("signup", "open", ValueKind::OneOf { now: &["open", "closed"], later: &["confirm_first"] },
        "Whether new accounts can be made over the API"),
    setting("require_confirmed", "false", ValueKind::OffOnly,
        "Refuse accounts whose address is not confirmed; off only, in this version"),
    setting("basic_on_api", "false", ValueKind::Switch,
        "Take Basic credentials on every call: a password, or a token as the user name"),
    setting("query_token", "false", ValueKind::Switch,
        "Take the access token as ?token= too"),
    setting("limits", "on", ValueKind::Switch,
        "Limits on repeated attempts; this version has none, so on and off are alike"),
    setting("trusted_proxies", "", ValueKind::Later,
        "Proxies whose X-Forwarded-For is believed; not available in this version"),
    setting("smtp_url", "", ValueKind::Later,
        "Mail server; not available in this version"),
    setting("mail_from", "", ValueKind::Later,
        "Sender of mail; not available in this version"),
    setting("cors_origins", "", ValueKind::Origins,
        "Web origins whose pages may call the API"),
    setting("metrics_listen", "", ValueKind::Later,
        "Where metrics are served; not available in this version"),
    setting("tls_cert", "", ValueKind::File,
        "Certificate chain (PEM); together with tls_key the server speaks HTTPS"),
    setting("tls_key", "", ValueKind::File,
        "Private key (PEM) of the certificate"),
    setting("log", "info", ValueKind::Filter,
        "Which log lines are written to stderr"),
    setting("log_format", "text", ValueKind::OneOf { now: &["text", "json"], later: &[] },
        "Form of a log line"),
    setting("docs", "on", ValueKind::Switch,
        "Serve the documentation under /docs"),
    setting("hash_wait_secs", "5", number(1, 60),
        "Logins that would wait longer than this for a password hash get 503 at once"),
    setting("max_connections", "4096", number(1, 100_000),
        "Connections held open at once"),
    setting("shutdown_secs", "8", number(1, 60),
        "Time that running requests have to finish after a signal to stop"),
];
