//! The sentences about invalid values. The functions return the rest of a sentence that begins with the name
//! of the field, or a part of this rest.

use serde_json::Value;

use crate::accounts::{LOCALE_PATTERN, USERNAME_PATTERN, USERNAME_RULE};
use crate::plain_text::{LINE_PATTERN, NOTES_PATTERN};
use crate::web::path_id::V7;

/// The patterns of the OpenAPI document that have a description for people.
const PATTERNS: [(&str, &str); 5] = [
    (LINE_PATTERN, "must be one line of text without control characters"),
    (NOTES_PATTERN, "must not contain control characters other than line breaks and tabs"),
    (V7, "must be a UUID of version 7, in lower case"),
    (LOCALE_PATTERN, "must be a language tag, such as de or pt-BR"),
    (USERNAME_PATTERN, USERNAME_RULE),
];

pub(super) fn one_of(values: &[Value]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("must be one of: {}", values.iter().map(text).collect::<Vec<_>>().join(", "))
}

pub(super) fn too_short(min: usize) -> String {
    if min == 1 {
        return "must not be empty".to_owned();
    }
    format!("is too short. Use at least {}", characters(min))
}

/// Returns the rest of the sentence about a text that does not match its pattern or its format.
pub(super) fn expected_form(format: Option<&str>, pattern: Option<&str>) -> &'static str {
    if let Some((_, description)) = PATTERNS.iter().find(|(known, _)| Some(*known) == pattern) {
        return description;
    }
    match format {
        Some("uuid") if pattern.is_some() => "must be a UUID, in lower case",
        Some("uuid") => "must be a UUID",
        Some("email") => "is not valid. Use an address such as ada@example.org",
        Some("naive-date" | "date") => "must be a date in the form YYYY-MM-DD, such as 2027-04-02",
        Some("date-time") => "must be a date and time with a time zone, such as 2027-04-02T09:30:00Z",
        Some("date-time-local") => {
            "must be a local date and time without a time zone, such as 2027-04-02T09:30"
        }
        _ => "contains characters that are not allowed here",
    }
}

pub(super) fn type_name(ty: &str) -> &str {
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

pub(super) fn characters(count: usize) -> String {
    if count == 1 { "1 character".to_owned() } else { format!("{count} characters") }
}
