//! Checks a JSON value against the schema that the OpenAPI document publishes for it.
//!
//! Reports every error with its JSON pointer and a sentence for the user. Coerces nothing, and never repeats
//! the input.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::field_label::field_label;
use super::local_time::local_time;
use super::path_id::V7;
use super::problem::FieldError;
use crate::accounts::{Email, USERNAME_PATTERN};
use crate::calendar_date;
use crate::plain_text::{LINE_PATTERN, NOTES_PATTERN};

/// The maximum number of errors in one response.
pub(super) const MAX_ERRORS: usize = 50;

/// The patterns of the document that have a description for people.
const PATTERNS: [(&str, &str); 4] = [
    (LINE_PATTERN, "must be one line of text without control characters"),
    (NOTES_PATTERN, "must not contain control characters other than line breaks and tabs"),
    (V7, "must be a UUID of version 7, in lower case"),
    (
        USERNAME_PATTERN,
        "must have 3 to 32 letters (A to Z), digits, dots, underscores or hyphens, \
         and begin with a letter or digit",
    ),
];

/// Returns every error in `value`.
pub(super) fn check(registry: &Registry, schema: &MetaSchemaRef, value: &Value) -> Vec<FieldError> {
    let mut checker = Checker { registry, errors: Vec::new() };
    checker.check(schema, value, "");
    checker.errors
}

/// Returns the error for a value that matches the schema and still can't be parsed. The parser's own message
/// is not used, because it may repeat the input.
pub(super) fn unreadable() -> FieldError {
    FieldError::new("", "invalid", "The request body does not have the documented form.")
}

struct Checker<'r> {
    registry: &'r Registry,
    errors: Vec<FieldError>,
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
            return self.report(pointer, "wrong_type", &format!("must be {}", type_name(schema.ty)));
        }
        if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
            self.report(pointer, "not_allowed", &one_of(&schema.enum_items));
        }
        match value {
            Value::String(text) => self.string(schema, text, pointer),
            Value::Number(_) => self.number(schema, value, pointer),
            Value::Array(items) => self.array(schema, items, pointer),
            // A reference with a description is an `all_of`; only the referenced part has the properties.
            Value::Object(fields) if !schema.properties.is_empty() => self.object(schema, fields, pointer),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
    }

    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    /// Adds an error. `violation` is the rest of a sentence that begins with the name of the field.
    fn report(&mut self, pointer: &str, code: &str, violation: &str) {
        if !self.is_full() {
            let detail = format!("{} {violation}.", field_label(pointer));
            self.errors.push(FieldError::new(pointer, code, detail));
        }
    }

    fn string(&mut self, schema: &MetaSchema, text: &str, pointer: &str) {
        let is_identifier =
            schema.format == Some("email") || schema.pattern.as_deref() == Some(USERNAME_PATTERN);
        // The white space around an identifier is not part of it.
        let text = if is_identifier { text.trim() } else { text };
        let length = text.chars().count();
        if let Some(min) = schema.min_length.filter(|min| length < *min) {
            self.report(pointer, "too_short", &too_short(min));
        }
        if let Some(max) = schema.max_length.filter(|max| length > *max) {
            self.report(pointer, "too_long", &format!("is too long. Use at most {}", characters(max)));
        }
        let is_valid = match schema.format {
            Some("uuid") => text.len() == 36 && Uuid::try_parse(text).is_ok(),
            Some("email") => text.parse::<Email>().is_ok(),
            Some("naive-date" | "date") => calendar_date::parse(text).is_some(),
            Some("date-time-local") => local_time(text).is_some(),
            _ => true,
        };
        let pattern = schema.pattern.as_deref();
        if !is_valid || pattern.is_some_and(|pattern| !matches(pattern, text)) {
            self.report(pointer, "invalid_format", expected_form(schema.format, pattern));
        }
    }

    fn number(&mut self, schema: &MetaSchema, value: &Value, pointer: &str) {
        let number = value.as_f64().unwrap_or_default();
        if let Some(min) = schema.minimum.filter(|min| number < *min) {
            self.report(pointer, "too_small", &format!("must be at least {min}"));
        }
        if let Some(max) = schema.maximum.filter(|max| number > *max) {
            self.report(pointer, "too_large", &format!("must be at most {max}"));
        }
    }

    fn array(&mut self, schema: &MetaSchema, items: &[Value], pointer: &str) {
        if let Some(max) = schema.max_items.filter(|max| items.len() > *max) {
            return self.report(pointer, "too_many", &format!("must have at most {max} entries"));
        }
        let Some(each) = &schema.items else { return };
        for (index, item) in items.iter().enumerate() {
            if self.is_full() {
                return;
            }
            self.check(each, item, &format!("{pointer}/{index}"));
        }
    }

    fn object(&mut self, schema: &MetaSchema, fields: &Map<String, Value>, pointer: &str) {
        for name in schema.required.iter().filter(|name| !fields.contains_key(**name)) {
            self.report(&format!("{pointer}/{name}"), "required", "is required");
        }
        for (name, value) in fields {
            if self.is_full() {
                return;
            }
            match schema.properties.iter().find(|(known, _)| known == name) {
                Some((known, property)) => self.check(property, value, &format!("{pointer}/{known}")),
                // The name is input and is not repeated: the pointer names the object.
                None => self.report(pointer, "unknown_member", &unknown_field(schema)),
            }
        }
    }
}

fn unknown_field(schema: &MetaSchema) -> String {
    let known: Vec<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
    format!("has an unknown or read-only field. The accepted fields are: {}", known.join(", "))
}

fn one_of(values: &[Value]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("must be one of: {}", values.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn too_short(min: usize) -> String {
    if min == 1 {
        return "must not be empty".to_owned();
    }
    format!("is too short. Use at least {}", characters(min))
}

/// Describes the form of a text, by its pattern or its format.
fn expected_form(format: Option<&str>, pattern: Option<&str>) -> &'static str {
    if let Some((_, description)) = PATTERNS.iter().find(|(known, _)| Some(*known) == pattern) {
        return description;
    }
    match format {
        Some("uuid") if pattern.is_some() => "must be a UUID, in lower case",
        Some("uuid") => "must be a UUID",
        Some("email") => "is not valid. Use an address such as ada@example.org",
        Some("naive-date" | "date") => "must be a date in the form YYYY-MM-DD, such as 2027-04-02",
        Some("date-time-local") => {
            "must be a local date and time without a time zone, such as 2027-04-02T09:30"
        }
        _ => "contains characters that are not allowed here",
    }
}

/// Returns whether the text matches a pattern of the document. Each pattern is compiled once.
fn matches(pattern: &str, text: &str) -> bool {
    static KNOWN: LazyLock<RwLock<HashMap<String, Regex>>> = LazyLock::new(RwLock::default);
    if let Some(regex) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return regex.is_match(text);
    }
    // The tests of the document ensure that every pattern compiles.
    let Ok(regex) = Regex::new(pattern) else { return true };
    let is_match = regex.is_match(text);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(pattern.to_owned(), regex);
    is_match
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

fn type_name(ty: &str) -> &str {
    match ty {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a JSON object",
        other => other,
    }
}

fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}

/// Returns the schemas that `T` refers to. They are computed once for each type.
pub(super) fn registry<T: Type + 'static>() -> Arc<Registry> {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Registry>>>> = LazyLock::new(RwLock::default);
    let id = TypeId::of::<T>();
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return Arc::clone(known);
    }
    let mut registry = Registry::new();
    T::register(&mut registry);
    let registry = Arc::new(registry);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&registry));
    registry
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

    fn errors(json: &str) -> Vec<(String, String)> {
        let mut registry = Registry::new();
        Outer::register(&mut registry);
        let value = serde_json::from_str(json).unwrap();
        let errors = check(&registry, &Outer::schema_ref(), &value);
        assert!(errors.iter().all(|error| !error.detail.contains("SENT")), "{errors:?}");
        assert!(errors.iter().all(|error| error.detail.ends_with('.')), "{errors:?}");
        errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    fn one(pointer: &str, code: &str) -> Vec<(String, String)> {
        vec![(pointer.to_owned(), code.to_owned())]
    }

    #[test]
    fn a_value_that_matches_the_schema_has_no_errors() {
        let json = r#"{"name":"ab","id":"01890a5d-ac96-774b-bcce-b302099a8057","day":"2024-02-29","kind":"One","count":9,"inner":[{"text":"abc"}]}"#;
        assert_eq!(errors(json), vec![]);
        assert_eq!(errors(r#"{"name":"äöüß"}"#), vec![]);
    }

    #[test]
    fn values_of_another_type_are_rejected() {
        assert_eq!(errors(r#"{"name":5}"#), one("/name", "wrong_type"));
        assert_eq!(errors(r#"{"name":false}"#), one("/name", "wrong_type"));
        assert_eq!(errors(r#"{"name":null}"#), one("/name", "wrong_type"));
        assert_eq!(errors(r#"{"name":"a","count":"5"}"#), one("/count", "wrong_type"));
        assert_eq!(errors(r#"{"name":"a","count":5.0}"#), one("/count", "wrong_type"));
        assert_eq!(errors("[]"), one("", "wrong_type"));
    }

    #[test]
    fn every_error_is_reported_and_no_input_is_repeated() {
        // S-63
        let json = r#"{"name":"SENTSENT","id":"SENT","day":"2024-02-30","kind":"SENT","count":0,"inner":[{},{"text":"SENT"}],"SENT":1}"#;
        let codes: Vec<String> =
            errors(json).into_iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
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
        assert_eq!(errors(r#"{"name":"a","inner":[{},{},{}]}"#), one("/inner", "too_many"));
    }

    #[test]
    fn a_detail_is_a_sentence_for_the_user() {
        // N-13
        let details = |json: &str| -> Vec<String> {
            let mut registry = Registry::new();
            Outer::register(&mut registry);
            let value = serde_json::from_str(json).unwrap();
            check(&registry, &Outer::schema_ref(), &value).into_iter().map(|error| error.detail).collect()
        };
        assert_eq!(details("{}"), ["Name is required."]);
        assert_eq!(details(r#"{"name":""}"#), ["Name must not be empty."]);
        assert_eq!(details(r#"{"name":"abcde"}"#), ["Name is too long. Use at most 4 characters."]);
        assert_eq!(details(r#"{"name":"a","kind":"Six"}"#), ["Kind must be one of: One, Two."]);
        assert_eq!(details(r#"{"name":"a","count":10}"#), ["Count must be at most 9."]);
        assert_eq!(
            details(r#"{"name":"a","day":"tomorrow"}"#),
            ["Day must be a date in the form YYYY-MM-DD, such as 2027-04-02."]
        );
        assert_eq!(details(r#"{"name":"a","inner":[7]}"#), ["Entry 1 of inner must be a JSON object."]);
    }

    #[test]
    fn a_date_in_another_form_is_rejected() {
        for text in
            ["2024-1-05", "+2024-01-05", "2024-01-05T00:00:00Z", "20240105", "2024-13-01", " 2024-01-05"]
        {
            assert_eq!(
                errors(&format!(r#"{{"name":"a","day":"{text}"}}"#)),
                one("/day", "invalid_format"),
                "{text}"
            );
        }
    }
}
