//! The form of a JSON value: what kinds of values it consists of.

use serde_json::{Value, json};

/// Replaces every string, number and boolean in a value with its kind.
pub(super) fn form(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), form(field))).collect(),
        Value::Array(items) => items.iter().map(form).collect(),
        Value::String(text) => json!(kind(text)),
        Value::Number(number) => json!(if number.is_f64() { "number" } else { "integer" }),
        Value::Bool(_) => json!("boolean"),
        Value::Null => Value::Null,
    }
}

fn kind(text: &str) -> &'static str {
    let instant = |text: &str| text.len() == 24 && text.ends_with('Z');
    match text {
        text if text.len() == 36 && text.parse::<uuid::Uuid>().is_ok() => "id",
        text if instant(text) && text.parse::<chrono::DateTime<chrono::Utc>>().is_ok() => "instant",
        text if text.parse::<chrono::NaiveDate>().is_ok() => "date",
        text if text.parse::<chrono::NaiveDateTime>().is_ok() => "local time",
        text if text.starts_with("https://") => "url",
        _ => "text",
    }
}
