//! The sources of settings: `tripgate.toml`, `.env`, the environment and the command line. Each source
//! overrides the previous sources. This module collects the effective text of every setting with the name
//! that the operator wrote, and rejects unknown names. It does not check values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error;
use super::settings::{PREFIX, SETTINGS, Setting, TEST_PREFIX, find};

/// The file that is read if the operator names no file.
const DEFAULT_FILE: &str = "tripgate.toml";

/// The text of one setting.
#[derive(Clone, Debug)]
pub(super) struct RawValue {
    /// The value as the operator wrote it.
    pub(super) value: String,
    /// The name as the operator wrote it, followed by the source in parentheses.
    pub(super) written: String,
    /// The source of the value.
    pub(super) from: String,
}

/// The input of all sources. Tests pass their own values instead of the real environment.
pub(super) struct Sources<'a> {
    /// The working directory.
    pub(super) dir: &'a Path,
    /// A settings file that must exist and replaces the optional `tripgate.toml`.
    pub(super) file: Option<PathBuf>,
    /// Environment variables.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Values of flags, keyed by the name of the setting.
    pub(super) flags: Vec<(&'static str, String)>,
}

/// The merged texts of all sources.
#[derive(Default)]
pub(super) struct RawSettings {
    /// The values, keyed by the name of the setting.
    pub(super) values: BTreeMap<&'static str, RawValue>,
    /// One line for each problem.
    pub(super) problems: Vec<String>,
    /// The [`LOOKALIKES`] that are set, with their sources.
    lookalikes: Vec<(&'static str, String)>,
}

/// Variables that other programs and hosting platforms use, with the settings that operators confuse them
/// with.
const LOOKALIKES: [(&str, &str); 2] = [("DATABASE_URL", "database_url"), ("PORT", "listen")];

impl Sources<'_> {
    /// Reads all sources, in ascending order of precedence.
    pub(super) fn collect(self) -> RawSettings {
        let mut all = RawSettings::default();
        all.read_file(self.dir, self.file.as_deref());
        all.read_dot_env(&self.dir.join(".env"));
        for (name, value) in self.env {
            all.add_variable(&name, value, "environment");
        }
        for (name, value) in self.flags {
            if let Some(setting) = find(name) {
                let flag = format!("--{}", setting.flag());
                all.put(setting, value, format!("{flag} (command line)"), &flag);
            }
        }
        all
    }
}

impl RawSettings {
    fn put(&mut self, setting: &'static Setting, value: String, written: String, from: &str) {
        let from = from.to_owned();
        self.values.insert(setting.name, RawValue { value, written, from });
    }

    /// Returns a warning for each of the [`LOOKALIKES`] that is set, because it has no effect. Returns no
    /// warning if the corresponding setting is set too.
    pub(super) fn ignored_variables(&self) -> Vec<String> {
        let is_unset = |setting: &str| !self.values.contains_key(setting);
        let setting =
            |name: &str| LOOKALIKES.iter().find(|(known, _)| *known == name).map(|(_, setting)| *setting);
        let warning = |(name, from): &(&'static str, String)| {
            let setting = setting(name).filter(|setting| is_unset(setting)).and_then(find)?;
            let written = setting.env_name();
            Some(format!("{name} ({from}) is set but not used; the setting is {written}"))
        };
        self.lookalikes.iter().filter_map(warning).collect()
    }

    fn read_file(&mut self, dir: &Path, named: Option<&Path>) {
        let path = dir.join(named.unwrap_or(Path::new(DEFAULT_FILE)));
        let label = named.map_or(DEFAULT_FILE.to_owned(), |path| path.display().to_string());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return,
            Err(error) => {
                self.problems.push(format!("{label}: failed to read the file: {error}"));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table(table, &label),
            // Do not use the `Display` of the error, because it quotes the line, which can contain a secret.
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
                let reason = toml_reason(&text, line, error.message());
                self.problems.push(format!("{label}: line {line} is not valid TOML{reason}"));
            }
        }
    }

    fn add_table(&mut self, table: toml::Table, label: &str) {
        for (key, value) in table {
            let written = format!("{} ({label})", key.escape_debug());
            let Some(setting) = find(&key) else {
                let line = error::unknown(&written, &key, |setting| setting.name.to_owned());
                self.problems.push(line);
                continue;
            };
            match to_text(value) {
                Some(value) => self.put(setting, value, written, label),
                None => self.problems.push(format!(
                    "{written}: the value has the wrong type; allowed: {}",
                    setting.kind.allowed()
                )),
            }
        }
    }

    fn read_dot_env(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                self.problems.push(format!(".env: failed to read the file: {error}"));
                return;
            }
        };
        let text = text.trim_start_matches('\u{feff}');
        let mut seen = Vec::new();
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((name, _)) if seen.contains(&name) && name.starts_with(PREFIX) => {
                    self.problems.push(format!("{name} (.env): the name occurs twice"));
                }
                Ok((name, value)) => {
                    self.add_variable(&OsString::from(&name), OsString::from(value), ".env");
                    seen.push(name);
                }
                Err(error) => self.problems.push(invalid_line(text, &error)),
            }
        }
    }

    fn add_variable(&mut self, name: &OsString, value: OsString, from: &str) {
        let name = name.to_string_lossy();
        if let Some((known, _)) = LOOKALIKES.iter().find(|(known, _)| *known == name) {
            self.lookalikes.push((known, from.to_owned()));
        }
        if !name.starts_with(PREFIX) || name.starts_with(TEST_PREFIX) {
            return;
        }
        let written = format!("{} ({from})", name.escape_debug());
        let Some(setting) = SETTINGS.iter().find(|setting| setting.env_name() == name) else {
            self.problems.push(error::unknown(&written, &name, Setting::env_name));
            return;
        };
        match value.into_string() {
            Ok(value) => self.put(setting, value, written, from),
            Err(_) => self
                .problems
                .push(format!("{written}: the value is not UTF-8; allowed: {}", setting.kind.allowed())),
        }
    }
}

/// Returns the reason of a TOML error, in parentheses. Returns an empty text if the reason repeats a part of
/// the value, because this part can be a secret.
fn toml_reason(text: &str, line: usize, message: &str) -> String {
    const MIN_PART: usize = 4;
    let line = text.lines().nth(line - 1).unwrap_or_default();
    let (_, value) = line.split_once('=').unwrap_or(("", line));
    let parts = value.split(|c: char| !c.is_alphanumeric()).filter(|part| part.len() >= MIN_PART);
    let reason = message.lines().next().unwrap_or_default();
    let is_safe = parts.into_iter().all(|part| !reason.contains(part));
    if is_safe && !reason.is_empty() { format!(" ({reason})") } else { String::new() }
}

/// Converts a TOML value to the text that the environment would contain.
fn to_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(value.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<String>> = items
                .into_iter()
                .map(|item| match item {
                    toml::Value::String(text) => Some(text),
                    _ => None,
                })
                .collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

/// Formats the problem of an invalid line. Names the line by its number, because the text of the line can
/// contain a secret.
fn invalid_line(text: &str, error: &dotenvy::Error) -> String {
    let number = match error {
        dotenvy::Error::LineParse(line, _) => {
            let first = line.lines().next().unwrap_or_default();
            text.lines().position(|line| line.starts_with(first))
        }
        _ => None,
    };
    match number {
        Some(index) => format!(".env: line {} is not NAME=value", index + 1),
        None => ".env: a line is not NAME=value".to_owned(),
    }
}
