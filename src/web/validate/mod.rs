//! Checks a JSON value against the schema that the OpenAPI document publishes for it.
//!
//! Reports each error with its JSON pointer and a sentence for the user. Coerces no value. The sentences
//! never repeat the input.

mod sentences;
mod size;

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use poem_openapi::registry::{MetaDiscriminatorObject, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use regex::Regex;
use serde_json::{Map, Value};
use uuid::Uuid;

pub(super) use self::size::max_values;

use self::sentences::{characters, expected_form, one_of, too_short, type_name};
use super::field_label::field_label;
use super::instant::instant;
use super::local_time::local_time;
use super::problem::{FieldError, MAX_FIELD_ERRORS};
use crate::accounts::{Email, USERNAME_PATTERN};
use crate::calendar_date;

/// The number of errors after which a check stops: one error more than a problem lists, so that the problem
/// can report that there are more.
const MAX_FOUND: usize = MAX_FIELD_ERRORS + 1;
/// The maximum length of an unknown field's name in a pointer, in characters.
const MAX_POINTER_NAME: usize = 64;

/// Returns the errors in `value`, at most [`MAX_FOUND`].
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
        if let Some(discriminator) = &schema.discriminator {
            return self.variant(discriminator, value, pointer);
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
            // A reference with a description has no properties: its `all_of` part has the properties.
            Value::Object(fields) if !schema.properties.is_empty() => self.object(schema, fields, pointer),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
    }

    /// Checks a value of a tagged union against the schema that its tag selects.
    fn variant(&mut self, discriminator: &MetaDiscriminatorObject, value: &Value, pointer: &str) {
        let Some(fields) = value.as_object() else {
            return self.report(pointer, "wrong_type", &format!("must be {}", type_name("object")));
        };
        let at_tag = format!("{pointer}/{}", discriminator.property_name);
        let tag = match fields.get(discriminator.property_name) {
            None => return self.report(&at_tag, "required", "is required"),
            Some(Value::String(tag)) => tag,
            Some(_) => {
                return self.report(&at_tag, "wrong_type", &format!("must be {}", type_name("string")));
            }
        };
        let known = &discriminator.mapping;
        let Some((_, target)) = known.iter().find(|(name, _)| name == tag) else {
            let names: Vec<Value> = known.iter().map(|(name, _)| name.as_str().into()).collect();
            return self.report(&at_tag, "not_allowed", &one_of(&names));
        };
        let name = target.rsplit('/').next().unwrap_or_default();
        self.check(&MetaSchemaRef::Reference(name.to_owned()), value, pointer);
    }

    /// Reports a field that the schema does not have. Only the pointer contains its name, because the
    /// sentence for the user does not repeat input. If the name is too long, the pointer does not contain it
    /// either.
    fn unknown_field(&mut self, schema: &MetaSchema, pointer: &str, name: &str) {
        let known: Vec<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
        let detail = format!(
            "This field is unknown or cannot be changed. The accepted fields are: {}.",
            known.join(", ")
        );
        let is_short = name.chars().count() <= MAX_POINTER_NAME;
        let at = if is_short { format!("{pointer}/{}", escape(name)) } else { pointer.to_owned() };
        if !self.is_full() {
            self.errors.push(FieldError::new(at, "unknown_member", detail));
        }
    }

    fn is_full(&self) -> bool {
        self.errors.len() >= MAX_FOUND
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
        // The white space around an identifier is not part of the identifier.
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
            Some("date-time") => instant(text).is_some(),
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
                None => self.unknown_field(schema, pointer, name),
            }
        }
    }
}

/// Escapes a name for a JSON pointer (RFC 6901 §3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Returns whether the text matches a pattern of the OpenAPI document. Each pattern is compiled once.
fn matches(pattern: &str, text: &str) -> bool {
    static KNOWN: LazyLock<RwLock<HashMap<String, Regex>>> = LazyLock::new(RwLock::default);
    if let Some(regex) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return regex.is_match(text);
    }
    // The tests of the OpenAPI document ensure that every pattern compiles.
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
    fn values_of_a_wrong_type_are_rejected() {
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
                "/SENT unknown_member",
            ]
        );
        assert_eq!(errors(r#"{"name":"a","inner":[{},{},{}]}"#), one("/inner", "too_many"));
    }

    #[test]
    fn each_unknown_field_is_reported_with_its_json_pointer() {
        // N-7
        assert_eq!(
            errors(r#"{"name":"a","nmae":1,"inner":[{"text":"a","a/b~c":1}],"":2}"#),
            [("/nmae", "unknown_member"), ("/inner/0/a~1b~0c", "unknown_member"), ("/", "unknown_member")]
                .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
        );
        let long = "x".repeat(MAX_POINTER_NAME + 1);
        assert_eq!(errors(&format!(r#"{{"name":"a","{long}":1}}"#)), one("", "unknown_member"));
    }

    #[test]
    fn the_detail_of_an_error_is_a_sentence_for_the_user() {
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
    fn a_date_that_is_not_in_the_form_yyyy_mm_dd_is_rejected() {
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
