//! Checks a JSON value against the schema that the document shows for it.
//!
//! Reports every fault with its JSON pointer, coerces nothing, and never repeats what was sent.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use email_address::EmailAddress;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::local_time::{date, local_time};
use super::path_id::V7;
use super::problem::FieldError;

/// The most faults that are told at once.
pub(super) const MOST: usize = 50;

/// Everything that is wrong with `value`; empty if nothing is.
pub(super) fn check(registry: &Registry, schema: &MetaSchemaRef, value: &Value) -> Vec<FieldError> {
    let mut checker = Checker { registry, faults: Vec::new() };
    checker.check(schema, value, "");
    checker.faults
}

struct Checker<'r> {
    registry: &'r Registry,
    faults: Vec<FieldError>,
}

impl Checker<'_> {
    fn check(&mut self, schema: &MetaSchemaRef, value: &Value, pointer: &str) {
        let registry = self.registry;
        let schema = match schema {
            MetaSchemaRef::Inline(schema) => schema,
            MetaSchemaRef::Reference(name) => match registry.schemas.get(name) {
                Some(schema) => schema,
                None => return,
            },
        };
        if value.is_null() && schema.nullable {
            return;
        }
        for part in &schema.all_of {
            self.check(part, value, pointer);
        }
        if !is_of_type(schema.ty, value) {
            return self.fault(pointer, "wrong_type", format!("must be {}", with_article(schema.ty)));
        }
        if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
            let allowed: Vec<String> = schema.enum_items.iter().map(Value::to_string).collect();
            self.fault(pointer, "not_allowed", format!("must be one of {}", allowed.join(", ")));
        }
        match value {
            Value::String(text) => self.string(schema, text, pointer),
            Value::Number(_) => self.number(schema, value, pointer),
            Value::Array(items) => self.array(schema, items, pointer),
            // A reference with a description is written as parts, of which one alone knows the members.
            Value::Object(members) if !schema.properties.is_empty() => self.object(schema, members, pointer),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
    }

    /// Whether no more is told.
    fn is_full(&self) -> bool {
        self.faults.len() >= MOST
    }

    fn fault(&mut self, pointer: &str, code: &str, detail: String) {
        if self.is_full() {
            return;
        }
        self.faults.push(FieldError { pointer: pointer.to_owned(), code: code.to_owned(), detail });
    }

    fn string(&mut self, schema: &MetaSchema, text: &str, pointer: &str) {
        let length = text.chars().count();
        if let Some(min) = schema.min_length.filter(|min| length < *min) {
            self.fault(pointer, "too_short", format!("must have at least {}", characters(min)));
        }
        if let Some(max) = schema.max_length.filter(|max| length > *max) {
            self.fault(pointer, "too_long", format!("must have at most {}", characters(max)));
        }
        if schema.pattern.as_ref().is_some_and(|pattern| !fits(pattern, text)) {
            let pattern = schema.pattern.as_deref().unwrap_or_default();
            let detail = match schema.format {
                Some("uuid") if pattern == V7 => "must be a UUID of version 7, in lower case".to_owned(),
                Some("uuid") => "must be a UUID, in lower case".to_owned(),
                _ => format!("must fit the pattern {pattern}"),
            };
            return self.fault(pointer, "invalid_format", detail);
        }
        let expected = match schema.format {
            Some("uuid") if text.len() != 36 || Uuid::try_parse(text).is_err() => "a UUID",
            Some("email") if !EmailAddress::is_valid(text) => "an email address, such as ada@example.org",
            Some("naive-date" | "date") if date(text).is_none() => "a calendar date, written YYYY-MM-DD",
            Some("date-time-local") if local_time(text).is_none() => {
                "a local date and time, written YYYY-MM-DDTHH:MM or YYYY-MM-DDTHH:MM:SS"
            }
            _ => return,
        };
        self.fault(pointer, "invalid_format", format!("must be {expected}"));
    }

    fn number(&mut self, schema: &MetaSchema, value: &Value, pointer: &str) {
        let number = value.as_f64().unwrap_or_default();
        if let Some(min) = schema.minimum.filter(|min| number < *min) {
            self.fault(pointer, "too_small", format!("must be at least {min}"));
        }
        if let Some(max) = schema.maximum.filter(|max| number > *max) {
            self.fault(pointer, "too_large", format!("must be at most {max}"));
        }
    }

    fn array(&mut self, schema: &MetaSchema, items: &[Value], pointer: &str) {
        if let Some(max) = schema.max_items.filter(|max| items.len() > *max) {
            return self.fault(pointer, "too_many", format!("must have at most {max} items"));
        }
        let Some(each) = &schema.items else { return };
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.check(each, item, &format!("{pointer}/{index}"));
        }
    }

    fn object(&mut self, schema: &MetaSchema, members: &Map<String, Value>, pointer: &str) {
        for name in schema.required.iter().filter(|name| !members.contains_key(**name)) {
            self.fault(&format!("{pointer}/{name}"), "required", "is required".to_owned());
        }
        for (name, value) in members {
            if self.is_full() {
                return;
            }
            match schema.properties.iter().find(|(known, _)| known == name) {
                Some((known, property)) => self.check(property, value, &format!("{pointer}/{known}")),
                // Its name is what was sent, so it is not repeated: the pointer is to the object.
                None => self.fault(pointer, "unknown_member", unknown(schema)),
            }
        }
    }
}

fn unknown(schema: &MetaSchema) -> String {
    let known: Vec<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
    format!("has a member that is not known or may not be set here; the members are {}", known.join(", "))
}

/// Whether the text fits a pattern of ours; each is compiled once.
fn fits(pattern: &str, text: &str) -> bool {
    static KNOWN: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return regex.is_match(text);
    }
    // A pattern that does not compile is in no document: generating it would have failed its tests.
    let Ok(regex) = Regex::new(pattern) else { return true };
    let fits = regex.is_match(text);
    known.insert(pattern.to_owned(), regex);
    fits
}

fn is_of_type(ty: &str, value: &Value) -> bool {
    match ty {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    }
}

fn with_article(ty: &str) -> String {
    let article = if ty.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {ty}")
}

fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;
    use poem_openapi::types::Type;
    use poem_openapi::{Enum, Object};

    #[derive(Debug, Enum)]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, Object)]
    struct Inner {
        #[oai(validator(max_length = 3))]
        text: String,
    }

    #[derive(Debug, Object)]
    struct Outer {
        #[oai(validator(min_length = 1, max_length = 4))]
        name: String,
        id: Option<Uuid>,
        day: Option<NaiveDate>,
        kind: Option<Kind>,
        #[oai(validator(minimum(value = "1"), maximum(value = "9")))]
        count: Option<u16>,
        #[oai(validator(max_items = 2))]
        inner: Option<Vec<Inner>>,
    }

    fn faults(json: &str) -> Vec<(String, String)> {
        let mut registry = Registry::new();
        Outer::register(&mut registry);
        let value = serde_json::from_str(json).unwrap();
        let faults = check(&registry, &Outer::schema_ref(), &value);
        assert!(faults.iter().all(|fault| !fault.detail.contains("SENT")), "{faults:?}");
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    fn one(pointer: &str, code: &str) -> Vec<(String, String)> {
        vec![(pointer.to_owned(), code.to_owned())]
    }

    #[test]
    fn what_fits_has_no_fault() {
        let json = r#"{"name":"ab","id":"01890a5d-ac96-774b-bcce-b302099a8057","day":"2024-02-29","kind":"One","count":9,"inner":[{"text":"abc"}]}"#;
        assert_eq!(faults(json), vec![]);
        assert_eq!(faults(r#"{"name":"äöüß"}"#), vec![]);
    }

    #[test]
    fn nothing_is_coerced() {
        assert_eq!(faults(r#"{"name":5}"#), one("/name", "wrong_type"));
        assert_eq!(faults(r#"{"name":false}"#), one("/name", "wrong_type"));
        assert_eq!(faults(r#"{"name":null}"#), one("/name", "wrong_type"));
        assert_eq!(faults(r#"{"name":"a","count":"5"}"#), one("/count", "wrong_type"));
        assert_eq!(faults(r#"{"name":"a","count":5.0}"#), one("/count", "wrong_type"));
        assert_eq!(faults("[]"), one("", "wrong_type"));
    }

    #[test]
    fn every_fault_is_told_and_nothing_is_echoed() {
        // S-63
        let json = r#"{"name":"SENTSENT","id":"SENT","day":"2024-02-30","kind":"SENT","count":0,"inner":[{},{"text":"SENT"}],"SENT":1}"#;
        let codes: Vec<String> =
            faults(json).into_iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
        assert_eq!(
            codes,
            [
                "/name too_long",
                "/id invalid_format",
                "/day invalid_format",
                "/kind not_allowed",
                "/count too_small",
                "/inner/0/text required",
                "/inner/1/text too_long",
                " unknown_member",
            ]
        );
        assert_eq!(faults(r#"{"name":"a","inner":[{},{},{}]}"#), one("/inner", "too_many"));
    }

    #[test]
    fn dates_have_one_form() {
        for text in
            ["2024-1-05", "+2024-01-05", "2024-01-05T00:00:00Z", "20240105", "2024-13-01", " 2024-01-05"]
        {
            assert_eq!(
                faults(&format!(r#"{{"name":"a","day":"{text}"}}"#)),
                one("/day", "invalid_format"),
                "{text}"
            );
        }
    }
}
