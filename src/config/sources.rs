//! Where settings come from: `tripgate.toml`, `.env`, the environment, the command line, each
//! stronger than the one before. Gathers the winning text of every setting with the name under
//! which the operator wrote it, and refuses names that are no settings. Values are not judged here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error;
use super::settings::{PREFIX, SETTINGS, Setting, TEST_PREFIX, row};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "tripgate.toml";

/// The text of one setting.
#[derive(Clone, Debug)]
pub(super) struct RawValue {
    /// As it was written.
    pub(super) value: String,
    /// The name as the operator wrote it, and where.
    pub(super) written: String,
    /// Where it came from.
    pub(super) from: String,
}

/// Outside input, so that tests need no real environment.
pub(super) struct Sources<'a> {
    /// The working directory.
    pub(super) dir: &'a Path,
    /// A settings file that must exist, in place of `tripgate.toml` that may.
    pub(super) file: Option<PathBuf>,
    /// Environment variables.
    pub(super) env: Vec<(OsString, OsString)>,
    /// Values of flags, by the setting's name.
    pub(super) flags: Vec<(&'static str, String)>,
}

/// What all sources together say.
#[derive(Default)]
pub(super) struct RawSettings {
    /// By the setting's name.
    pub(super) given: BTreeMap<&'static str, RawValue>,
    /// Finished lines.
    pub(super) problems: Vec<String>,
}

impl Sources<'_> {
    /// Reads all layers, the weakest first.
    pub(super) fn gather(self) -> RawSettings {
        let mut all = RawSettings::default();
        all.read_file(self.dir, self.file.as_deref());
        all.read_dot_env(&self.dir.join(".env"));
        for (name, value) in self.env {
            all.add_variable(&name, value, "environment");
        }
        for (name, value) in self.flags {
            if let Some(row) = row(name) {
                let flag = format!("--{}", row.flag());
                all.put(row, value, format!("{flag} (command line)"), &flag);
            }
        }
        all
    }
}

impl RawSettings {
    fn put(&mut self, row: &'static Setting, value: String, written: String, from: &str) {
        let from = from.to_owned();
        self.given.insert(row.name, RawValue { value, written, from });
    }

    fn read_file(&mut self, dir: &Path, named: Option<&Path>) {
        let path = dir.join(named.unwrap_or(Path::new(DEFAULT_FILE)));
        let label = named.map_or(DEFAULT_FILE.to_owned(), |path| path.display().to_string());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return,
            Err(error) => {
                self.problems.push(format!("{label}: the file can't be read: {error}"));
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.add_table(table, &label),
            // Not the error's own Display: that quotes the line, which may hold a secret.
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
                self.problems.push(format!("{label}: line {line} is not TOML"));
            }
        }
    }

    fn add_table(&mut self, table: toml::Table, label: &str) {
        for (key, value) in table {
            let written = format!("{} ({label})", key.escape_debug());
            let Some(row) = row(&key) else {
                let line = error::unknown(&written, &key, |row| row.name.to_owned());
                self.problems.push(line);
                continue;
            };
            match plain(value) {
                Some(value) => self.put(row, value, written, label),
                None => self.problems.push(format!(
                    "{written}: the value is of the wrong kind; allowed: {}",
                    row.takes.allowed()
                )),
            }
        }
    }

    fn read_dot_env(&mut self, path: &Path) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                self.problems.push(format!(".env: the file can't be read: {error}"));
                return;
            }
        };
        let text = text.trim_start_matches('\u{feff}');
        let mut seen = Vec::new();
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                Ok((name, _)) if seen.contains(&name) && name.starts_with(PREFIX) => {
                    self.problems.push(format!("{name} (.env): the name stands there twice"));
                }
                Ok((name, value)) => {
                    self.add_variable(&OsString::from(&name), OsString::from(value), ".env");
                    seen.push(name);
                }
                Err(error) => self.problems.push(bad_line(text, &error)),
            }
        }
    }

    fn add_variable(&mut self, name: &OsString, value: OsString, from: &str) {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || name.starts_with(TEST_PREFIX) {
            return;
        }
        let written = format!("{} ({from})", name.escape_debug());
        let Some(row) = SETTINGS.iter().find(|row| row.env_name() == name) else {
            self.problems.push(error::unknown(&written, &name, Setting::env_name));
            return;
        };
        match value.into_string() {
            Ok(value) => self.put(row, value, written, from),
            Err(_) => self
                .problems
                .push(format!("{written}: the value is not UTF-8; allowed: {}", row.takes.allowed())),
        }
    }
}

/// A TOML value as it would be written in the environment.
fn plain(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
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

/// Names the line by its number; its text may hold a secret.
fn bad_line(text: &str, error: &dotenvy::Error) -> String {
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
