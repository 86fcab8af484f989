//! Precedence and validation of settings, without the real environment.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::settings::{SETTINGS, Setting};
use super::*;

/// A working directory with environment variables and flags.
struct Fixture {
    dir: TempDir,
    env: Vec<(OsString, OsString)>,
    flags: Vec<(&'static str, String)>,
    file: Option<PathBuf>,
}

fn fixture() -> Fixture {
    Fixture { dir: TempDir::new().unwrap(), env: Vec::new(), flags: Vec::new(), file: None }
}

impl Fixture {
    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.push((name, value.to_owned()));
        self
    }

    fn named_file(mut self, file: &str) -> Self {
        self.file = Some(file.into());
        self
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load_from(Sources {
            dir: self.dir.path(),
            file: self.file.clone(),
            env: self.env.clone(),
            flags: self.flags.clone(),
        })
    }

    fn problems(&self) -> Vec<String> {
        self.load().map(|_| ()).unwrap_err().problems
    }

    fn displayed(&self, name: &str) -> (String, String) {
        let loaded = self.load().unwrap();
        let origin = loaded.origins.into_iter().find(|o| o.name == name);
        origin.map(|o| (o.value, o.from)).unwrap()
    }
}

fn pair(value: &str, from: &str) -> (String, String) {
    (value.to_owned(), from.to_owned())
}

#[test]
fn settings_come_from_flags_then_the_environment_then_dot_env_then_the_file_then_defaults() {
    let cost = "bcrypt_cost";
    let fixture = fixture();
    assert_eq!(fixture.displayed(cost), pair("12", "default"));
    let fixture = fixture.file("tripgate.toml", "bcrypt_cost = 5\npassword_min = 9");
    assert_eq!(fixture.displayed(cost), pair("5", "tripgate.toml"));
    let fixture = fixture.file(".env", "TRIPGATE_BCRYPT_COST=6\nOTHER=1\n");
    assert_eq!(fixture.displayed(cost), pair("6", ".env"));
    let fixture = fixture.env("TRIPGATE_BCRYPT_COST", "7");
    assert_eq!(fixture.displayed(cost), pair("7", "environment"));
    let fixture = fixture.flag("bcrypt_cost", "8");
    assert_eq!(fixture.displayed(cost), pair("8", "--bcrypt-cost"));
    let settings = fixture.load().unwrap().settings;
    assert_eq!((settings.bcrypt_cost, settings.password_min), (8, 9));
}

#[test]
fn an_invalid_environment_variable_is_ignored_if_a_flag_overrides_it() {
    let fixture = fixture().env("TRIPGATE_LISTEN", "nowhere").flag("listen", "[::1]:0");
    assert_eq!(fixture.load().unwrap().settings.listen.to_string(), "[::1]:0");
}

#[test]
fn all_invalid_settings_are_reported_at_once_by_the_names_that_the_operator_wrote() {
    let fixture = fixture()
        .file("tripgate.toml", "lisen = \"127.0.0.1:1\"\naudience = 1.5\n[server]\n")
        .file(".env", "TRIPGATE_PASSWORD_MIN=72\nTRIPGATE_SIGNUP='confirmed'")
        .env("TRIPGATE_BCRYPT_COST", "3")
        .env("TRIPGATE_PASWORD_MIN", "8")
        .env("TRIPGATE_TEST_DATABASE", "ignored")
        .env("TRIPGATE_DATABASE_URL", "smtp://u:hush@h")
        .flag("refresh_idle_secs", "999999999999");
    let mut problems = fixture.problems();
    problems.sort();
    let text = "; allowed: a text without control characters";
    assert_eq!(
        problems,
        [
            "--refresh-idle-secs (command line): \"999999999999\" is too large; \
             allowed: a whole number from 60 to 315360000"
                .to_owned(),
            "TRIPGATE_BCRYPT_COST (environment): \"3\" is too small; \
             allowed: a whole number from 4 to 15"
                .to_owned(),
            "TRIPGATE_DATABASE_URL (environment): the value has a scheme that is not supported; \
             allowed: sqlite://PATH, postgres://USER:PASSWORD@HOST/NAME or mysql://USER:PASSWORD@HOST/NAME"
                .to_owned(),
            "TRIPGATE_PASSWORD_MIN (.env): \"72\" is too large; \
             allowed: a whole number from 1 to 71"
                .to_owned(),
            "TRIPGATE_PASWORD_MIN (environment): there is no such setting; \
             did you mean TRIPGATE_PASSWORD_MIN?"
                .to_owned(),
            "TRIPGATE_SIGNUP (.env): \"confirmed\" is not one of the known words; \
             allowed: open, confirm_first, invite, closed"
                .to_owned(),
            format!("audience (tripgate.toml): the value has the wrong type{text}"),
            "lisen (tripgate.toml): there is no such setting; did you mean listen?".to_owned(),
            "server (tripgate.toml): there is no such setting; `tripgate --help` lists all of them"
                .to_owned(),
        ]
    );
}

#[test]
fn every_setting_validates_its_value_and_accepts_its_default() {
    for setting in SETTINGS {
        let invalid = fixture().env(&setting.env_name(), "\u{1}?");
        // Almost any text is a valid path.
        if !matches!(setting.kind, settings::ValueKind::Path) {
            let problems = invalid.problems().join("\n");
            assert!(problems.contains("; allowed: "), "{}", setting.name);
        }
        if !setting.default.is_empty() && !setting.default.contains('<') {
            let valid = fixture().env(&setting.env_name(), setting.default);
            assert!(valid.load().is_ok(), "{}", setting.name);
        }
    }
    for path in ["data_dir", "secret_file"] {
        assert_eq!(fixture().flag(path, "").problems().len(), 1);
    }
    let defaults = fixture().load().unwrap().settings;
    assert_eq!(defaults.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(defaults.database_url.expose(), "sqlite://data/tripgate.db");
    assert_eq!(defaults.secret_file, Path::new("data/secret"));
}

#[test]
fn neither_the_table_of_settings_nor_an_error_contains_a_secret() {
    let secret = "a-secret-that-must-never-be-visible";
    let valid =
        fixture().env("TRIPGATE_SECRET", secret).env("TRIPGATE_DATABASE_URL", "postgres://u:hush@h/d");
    assert_eq!(valid.displayed("secret"), pair("********", "environment"));
    assert_eq!(valid.displayed("database_url").0, "postgres://u:********@h/d");
    let loaded = valid.load().unwrap();
    let debug = format!("{loaded:?}");
    assert!(!debug.contains(secret) && !debug.contains("hush"), "{debug}");

    let invalid = fixture()
        .file(".env", "TRIPGATE_SECRET='hush hush\n")
        .file("tripgate.toml", "listen = \"x\"\nsecret = \"hush")
        .env("TRIPGATE_SECRET", "hush")
        .env("TRIPGATE_DATABASE_URL", "oracle:hush")
        .env("TRIPGATE_PUBLIC_URL", "http://u:hush@h");
    let text = invalid.load().map(|_| ()).unwrap_err().to_string();
    assert!(!text.contains("hush"), "{text}");
    assert!(text.starts_with("5 problems"), "{text}");
    assert!(text.contains("tripgate.toml: line 2 is not valid TOML"), "{text}");
    assert!(text.contains(".env: line 1 is not NAME=value"), "{text}");
    assert!(text.contains("TRIPGATE_SECRET (environment): the value has only 4 bytes"));
}

#[test]
fn contradictory_settings_are_rejected() {
    let long = "x".repeat(32);
    let problems = fixture()
        .file("cert.pem", "")
        .env("TRIPGATE_SECRET", &long)
        .flag("secret_file", "elsewhere")
        .env("TRIPGATE_REFRESH_ABSOLUTE_SECS", "600")
        .env("TRIPGATE_TLS_KEY", "/no/such/file")
        .problems();
    let all = problems.join("\n");
    assert_eq!(problems.len(), 4, "{all}");
    assert!(all.contains("TRIPGATE_SECRET (environment) and --secret-file (command line)"));
    assert!(all.contains("TRIPGATE_TLS_KEY (environment): tls_cert is missing"));
    assert!(all.contains("cannot be read: "));
    assert!(all.contains("refresh_idle_secs: 5184000 is greater than 600"));
}

#[test]
fn the_proxy_protocol_requires_trusted_proxies() {
    let on = || fixture().env("TRIPGATE_PROXY_PROTOCOL", "on");
    assert_eq!(
        on().problems(),
        [
            "TRIPGATE_PROXY_PROTOCOL (environment): on requires the addresses of the proxies in trusted_proxies, as in \
             10.0.0.0/8,127.0.0.1"
        ]
    );
    assert!(on().env("TRIPGATE_TRUSTED_PROXIES", "::1").load().is_ok());
    // An invalid list of proxies is not also reported as a missing list.
    assert_eq!(on().env("TRIPGATE_TRUSTED_PROXIES", "proxy").problems().len(), 1);
}

#[test]
fn a_passkey_domain_without_a_matching_web_origin_is_rejected() {
    let of_domain = || fixture().env("TRIPGATE_PASSKEY_RP_ID", "example.org");
    assert_eq!(
        of_domain().problems(),
        [
            "TRIPGATE_PASSKEY_RP_ID (environment): example.org is neither the host of a page in public_url nor a \
             parent domain of it; browsers accept no other domain"
        ]
    );
    assert!(of_domain().flag("public_url", "https://trips.example.org").load().is_ok());
    // An invalid public URL is not also reported as a problem of passkeys.
    assert_eq!(of_domain().flag("public_url", "trips").problems().len(), 1);
    let origins = fixture().env("TRIPGATE_PASSKEY_ORIGINS", "https://example.org");
    let problems = origins.problems().concat();
    assert!(problems.starts_with("passkey_rp_id: 127.0.0.1 is neither"), "{problems}");
    assert!(problems.contains("TRIPGATE_PASSKEY_ORIGINS (environment)"), "{problems}");
}

#[test]
fn the_configuration_file_that_a_flag_names_must_exist_and_replaces_the_default_file() {
    let missing = fixture().named_file("other.toml").problems();
    assert!(missing.concat().starts_with("other.toml: failed to read the file"));
    let fixture = fixture()
        .file("tripgate.toml", "docs = true")
        .file("other.toml", "docs = false\ncors_origins = [\"https://a.example\", \"https://b.example\"]")
        .named_file("other.toml");
    assert_eq!(fixture.displayed("docs"), pair("false", "other.toml"));
    let settings = fixture.load().unwrap().settings;
    assert!(!settings.docs);
    assert_eq!(settings.cors_origins, ["https://a.example", "https://b.example"]);
}

#[test]
fn an_empty_value_of_an_optional_setting_means_that_it_is_not_set() {
    let fixture = fixture().env("TRIPGATE_CORS_ORIGINS", "").env("TRIPGATE_TLS_CERT", "");
    let settings = fixture.load().unwrap().settings;
    assert!(settings.cors_origins.is_empty() && settings.tls.is_none());
}

#[test]
fn the_public_url_defaults_to_the_bound_address() {
    let bound = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
    let settings = Settings::for_tests(Path::new("/tmp/a?b"));
    assert_eq!(settings.public_url(bound), "http://127.0.0.1:4711");
    assert_eq!(settings.database_url.expose(), "sqlite:///tmp/a%3Fb/tripgate.db");
    assert_eq!((settings.bcrypt_cost, settings.log.as_str()), (4, "off"));
    let configured = fixture().env("TRIPGATE_PUBLIC_URL", "https://trips.example/");
    let settings = configured.load().unwrap().settings;
    assert_eq!(settings.public_url(bound), "https://trips.example");
}

/// The documents that are generated from the table of settings: the file, the line before the generated part
/// and the line after it.
const DOCUMENTS: [(&str, &str, &str); 2] = [
    (".env.example", "# <angle brackets> refer to the value of another setting.\n", ""),
    (
        "docs/operations.md",
        "<!-- settings: generated from src/config/settings.rs -->\n",
        "<!-- end of settings -->\n",
    ),
];

fn generated(document: &str) -> String {
    if document == ".env.example" {
        let line = |setting: &Setting| {
            format!("\n# {}.\n# {}={}\n", setting.help, setting.env_name(), setting.default)
        };
        return SETTINGS.iter().map(line).collect();
    }
    let code = |text: &str| if text.is_empty() { "–".to_owned() } else { format!("`{text}`") };
    let row = |setting: &Setting| {
        let (name, default) = (setting.env_name(), code(setting.default));
        format!("| `{name}` | {default} | {}. Values: {}. |\n", setting.help, setting.kind.allowed())
    };
    let rows: String = SETTINGS.iter().map(row).collect();
    format!("\n| name | default | meaning |\n|---|---|---|\n{rows}\n")
}

/// With `TRIPGATE_TEST_WRITE_SETTINGS` set, writes the documents instead of comparing them.
#[test]
fn the_settings_in_the_documents_are_generated_from_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, before, after) in DOCUMENTS {
        let path = root.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let (head, rest) = text.split_once(before).unwrap();
        let tail = if after.is_empty() { "" } else { rest.split_once(after).unwrap().1 };
        let wanted = format!("{head}{before}{}{after}{tail}", generated(file));
        #[expect(clippy::disallowed_methods, reason = "no setting of the server")]
        if std::env::var_os("TRIPGATE_TEST_WRITE_SETTINGS").is_some() {
            fs::write(&path, wanted).unwrap();
        } else {
            assert!(text == wanted, "{file} is stale: see CONTRIBUTING.md, \"Settings\"");
        }
    }
}

#[test]
fn the_sample_configuration_file_changes_no_setting() {
    let fixture = fixture().file(".env", include_str!("../../.env.example"));
    let origins = fixture.load().unwrap().origins;
    assert!(origins.iter().all(|origin| origin.from == "default"));
}
