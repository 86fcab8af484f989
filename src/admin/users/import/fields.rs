//! Reads the columns of a record, and checks them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::Fault;
use crate::accounts::{Email, NewAccount, USERNAME_RULE, Username, is_display_name};
use crate::passwords::check_hash;
use crate::strict_json;

/// The columns of a file.
pub(super) const COLUMNS: [&str; 6] =
    ["email", "username", "display_name", "password_hash", "email_verified", "created_at"];
/// The maximum number of JSON values in a record.
const VALUES_MAX: usize = 20;

/// A checked record.
#[derive(Debug, Clone)]
pub(super) struct Imported {
    /// The number of the line of the record.
    pub(super) line: u64,
    pub(super) account: NewAccount,
    /// The hash of the password, if there is one.
    pub(super) hash: Option<String>,
}

/// Reads records in the format of the file.
#[derive(Debug)]
pub(super) enum Reader {
    /// CSV, with the columns of the header; `None` until the header was read.
    Csv(Option<Vec<&'static str>>),
    /// One JSON object in each line.
    JsonLines,
}

impl Reader {
    /// Returns the fields of a record, or `None` for the header.
    pub(super) fn fields(&mut self, bytes: &[u8]) -> Result<Option<Fields>, Faulty> {
        match self {
            Self::JsonLines => json_fields(bytes).map(Some),
            Self::Csv(Some(columns)) => csv_fields(bytes, columns).map(Some),
            Self::Csv(columns) => {
                *columns = Some(header(bytes)?);
                Ok(None)
            }
        }
    }
}

/// What is wrong with a record, and in which column.
pub(super) type Faulty = (Option<&'static str>, String);

/// The unchecked values of a record, in the order of [`COLUMNS`]. An empty value is treated as absent.
#[derive(Debug, Default)]
pub(super) struct Fields([Option<String>; 6]);

fn whole(message: impl Into<String>) -> Faulty {
    (None, message.into())
}

fn column_named(name: &str) -> Option<(usize, &'static str)> {
    COLUMNS.into_iter().enumerate().find(|(_, column)| *column == name)
}

/// Returns the fields of one record of CSV.
fn split(bytes: &[u8]) -> Result<Vec<String>, Faulty> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut records = reader.byte_records();
    let first = records.next().transpose().ok().flatten().unwrap_or_default();
    if records.next().is_some() {
        return Err(whole("contains a carriage return without a line feed"));
    }
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).map_err(|_| whole("is not valid UTF-8"));
    first.iter().map(text).collect()
}

fn header(bytes: &[u8]) -> Result<Vec<&'static str>, Faulty> {
    let mut columns: Vec<&'static str> = Vec::new();
    for name in split(bytes)? {
        let Some((_, column)) = column_named(name.trim()) else {
            return Err(whole(format!("has a column that is none of {}", COLUMNS.join(", "))));
        };
        if columns.contains(&column) {
            return Err((Some(column), "occurs twice in the header".to_owned()));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn csv_fields(bytes: &[u8], columns: &[&'static str]) -> Result<Fields, Faulty> {
    let values = split(bytes)?;
    if values.len() != columns.len() {
        return Err(whole(format!("has {} fields, and the header has {}", values.len(), columns.len())));
    }
    let mut fields = Fields::default();
    for (name, value) in columns.iter().zip(values) {
        fields.set(name, value);
    }
    Ok(fields)
}

fn json_fields(bytes: &[u8]) -> Result<Fields, Faulty> {
    let object: Map<String, Value> = match strict_json::parse(bytes, VALUES_MAX) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(whole("is not a JSON object")),
        Err(error) => return Err(whole(error.to_string())),
    };
    let mut fields = Fields::default();
    for (name, value) in object {
        let Some((_, column)) = column_named(&name) else {
            return Err(whole(format!("has a field that is none of {}", COLUMNS.join(", "))));
        };
        match value {
            Value::Null => {}
            Value::Bool(is_set) if column == "email_verified" => fields.set(column, is_set.to_string()),
            Value::String(text) if column != "email_verified" => fields.set(column, text),
            _ if column == "email_verified" => {
                return Err((Some(column), "must be true or false".to_owned()));
            }
            _ => return Err((Some(column), "must be a string".to_owned())),
        }
    }
    Ok(fields)
}

impl Fields {
    fn set(&mut self, name: &str, text: String) {
        if let Some(field) = column_named(name).and_then(|(at, _)| self.0.get_mut(at)) {
            *field = Some(text).filter(|text| !text.is_empty());
        }
    }

    /// Checks the fields of the record in a line. Reports every fault.
    pub(super) fn check(self, line: u64, now: DateTime<Utc>) -> Result<Imported, Vec<Fault>> {
        let [email, username, display_name, hash, email_verified, created_at] = self.0;
        let mut faults = Vec::new();
        let mut fault = |column: Option<&'static str>, message: &str| {
            faults.push(Fault { line, column, message: message.to_owned() });
        };
        if email.is_none() && username.is_none() {
            fault(None, "has neither an email address nor a username");
        }
        if email.is_none() && hash.is_none() {
            fault(Some("password_hash"), "is required without an email address");
        }
        let is_verified = match email_verified.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "f" | "0") => false,
            Some("true" | "t" | "1") => true,
            Some(_) => {
                fault(Some("email_verified"), "must be true or false");
                false
            }
        };
        if is_verified && email.is_none() {
            fault(Some("email_verified"), "is true without an email address");
        }
        let email = email.map(|text| text.parse::<Email>());
        if matches!(email, Some(Err(_))) {
            fault(Some("email"), "is not a valid email address");
        }
        let username = username.map(|text| text.parse::<Username>());
        if matches!(username, Some(Err(_))) {
            fault(Some("username"), USERNAME_RULE);
        }
        if display_name.as_deref().is_some_and(|name| !is_display_name(name)) {
            fault(Some("display_name"), "must have 1 to 100 characters in one line");
        }
        if let Some(Err(error)) = hash.as_deref().map(check_hash) {
            fault(Some("password_hash"), &error.to_string());
        }
        let created_at = created_at.map_or(Ok(now), |text| instant(&text, now));
        if let Err(message) = created_at {
            fault(Some("created_at"), message);
        }
        match (email.transpose(), username.transpose(), created_at) {
            (Ok(email), Ok(username), Ok(created_at)) if faults.is_empty() => {
                let email_verified = is_verified;
                let account =
                    NewAccount { email, email_verified, username, display_name, locale: None, created_at };
                Ok(Imported { line, account, hash })
            }
            _ => Err(faults),
        }
    }
}

fn instant(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, &'static str> {
    let parsed = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "must be a time with its offset, such as 2026-03-02T08:30:00Z")?;
    match parsed.with_timezone(&Utc) {
        at if at > now => Err("is in the future"),
        at if at < DateTime::UNIX_EPOCH => Err("is before 1970"),
        at => Ok(at),
    }
}
